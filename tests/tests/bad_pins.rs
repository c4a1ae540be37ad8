//! What another daemon, a dead one or somebody else left: it is adopted, replaced, kept aside or refused, and nothing
//! that was enforced stops being so.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use mif_tests::{
    deadline::{PATIENCE, bounded},
    enforced::{Lab, check_words},
    footprint::Folder,
};
use mif_user::{control, state::State};

/// What is pinned, with the identity of each file.
fn pins(directory: &Path) -> Result<BTreeSet<(String, u64)>> {
    use std::os::unix::fs::MetadataExt as _;
    let mut found = BTreeSet::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let (path, inode) =
                (entry.as_ref().map(fs::DirEntry::path), entry.as_ref().map(|e| e.metadata()));
            let (Ok(path), Ok(Ok(metadata))) = (path, inode) else { continue };
            found.insert((path.display().to_string(), metadata.ino()));
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(found)
}

#[test]
fn a_second_daemon_is_refused_and_the_first_goes_on() {
    bounded(6 * PATIENCE, || {
        let lab = Lab::new()?;
        let daemon = lab.daemon()?;
        let before = (lab.site.enforced()?, pins(&lab.site.pins())?);
        let pid = format!("process {}", daemon.id());
        let cgroup = lab.site.cgroup().to_str().context("UTF-8")?;
        for args in [&["daemon", "--cgroup", cgroup][..], &["detach", "--all"]] {
            let said = lab.site.complains(args)?;
            check_words(args[0], &said, &["runs already", &pid, "daemon.lock"])?;
            ensure!((lab.site.enforced()?, pins(&lab.site.pins())?) == before, "{said}");
        }
        // Nor with a state directory of its own: the maps are the same.
        let elsewhere = Folder::new("second")?;
        let mut second = lab.site.command(["daemon", "--cgroup", cgroup, "--state-dir"])?;
        let refused = second.arg(elsewhere.path()).output()?;
        ensure!(!refused.status.success());
        check_words("another state directory", &String::from_utf8_lossy(&refused.stderr), &["runs already"])?;
        ensure!((lab.site.enforced()?, pins(&lab.site.pins())?) == before);
        // A policy where no hook runs would be a promise that nobody keeps.
        let outside = mif_tests::cgroup::Cgroup::new("outside")?;
        let outside = outside.path().to_str().context("UTF-8")?;
        let said = lab.site.complains(["policy", "attach", outside, "--pvd", "isp-a", "--mode", "strict"])?;
        check_words("a cgroup outside", &said, &[outside, cgroup, "attached to"])?;
        // The first still answers and still enforces.
        lab.site.says(["policy", "attach", cgroup, "--pvd", "isp-a,isp-b"])?;
        lab.site.says(["policy", "detach", cgroup])?;
        lab.check_flows("a second daemon")?;
        daemon.stop()
    });
}

#[test]
fn stale_pins_are_adopted_or_replaced_without_a_loss() {
    bounded(9 * PATIENCE, || {
        let lab = Lab::new()?;
        let confined = lab.cgroup.child("confined")?;
        let daemon = lab.daemon()?;
        let cgroup = confined.path().to_str().context("UTF-8")?;
        lab.site.says(["policy", "attach", cgroup, "--pvd", "isp-a", "--mode", "strict"])?;
        let before = lab.site.enforced()?;
        daemon.kill()?;
        ensure!(control::socket(lab.site.state_dir()).exists(), "a killed daemon leaves its socket");

        let larger = lab.site.state_dir().join("larger.toml");
        fs::write(&larger, "[limits]\npvds = 300\n")?;
        let larger = larger.to_str().context("UTF-8")?;
        let path = |name: &str| lab.site.pins().join(name);
        type Damage<'a> = &'a dyn Fn() -> Result<()>;
        let remove = |name: &'static str| move |pins: &Path| Ok(fs::remove_file(pins.join(name))?);
        let (no_program, no_map) = (remove("programs/connect6"), remove("maps/STATS"));
        let table: [(&str, Damage<'_>, &[&str], &str); 6] = [
            ("a dead daemon", &|| Ok(()), &[], "adopted"),
            ("another size", &|| Ok(()), &["--config", larger], "replaced"),
            ("the old size", &|| Ok(()), &[], "replaced"),
            ("a program's pin gone", &|| no_program(&lab.site.pins()), &[], "program connect6 is missing"),
            ("a map's pin gone", &|| no_map(&lab.site.pins()), &[], "map STATS is missing"),
            (
                "a map of another form",
                &|| Ok(fs::rename(path("maps/GATE"), path("maps/CONFIG"))?),
                &[],
                "map CONFIG has another shape",
            ),
        ];
        for (what, damage, args, says) in table {
            damage().context(what)?;
            let daemon = lab.site.daemon(args).context(what)?;
            lab.wait_for_routers()?;
            check_words(what, &daemon.log()?, &[says])?;
            ensure!(
                lab.site.enforced()? == before,
                "{what}: {:#?}\nis not\n{before:#?}",
                lab.site.enforced()?
            );
            daemon.kill()?;
        }
        lab.check_flows("all of it")
    });
}

#[test]
fn foreign_pins_are_refused_and_left_alone() {
    bounded(6 * PATIENCE, || {
        let lab = Lab::new()?;
        lab.daemon()?.stop()?;
        let before = lab.site.enforced()?;
        for foreign in ["theirs", "maps/THEIRS"] {
            let path = lab.site.pins().join(foreign);
            fs::create_dir(&path)?;
            let kept = pins(&lab.site.pins())?;
            let cgroup = lab.site.cgroup().to_str().context("UTF-8")?;
            for args in [&["daemon", "--cgroup", cgroup][..], &["detach", "--all"]] {
                let said = lab.site.complains(args)?;
                check_words(foreign, &said, &[foreign, "which mif did not make", "--bpffs"])?;
                ensure!(pins(&lab.site.pins())? == kept, "{said}");
            }
            // What is installed beside them is still read.
            check_words("status", &lab.site.says(["status"])?, &["isp-a", "isp-b"])?;
            ensure!(lab.site.enforced()? == before);
            fs::remove_dir(&path)?;
        }
        lab.check_flows("foreign pins")
    });
}

#[test]
fn damaged_files_are_kept_aside_and_cost_no_policy() {
    bounded(9 * PATIENCE, || {
        let lab = Lab::new()?;
        let confined = lab.cgroup.child("confined")?;
        let cgroup = confined.path().to_str().context("UTF-8")?;
        let daemon = lab.daemon()?;
        lab.site.says(["policy", "attach", cgroup, "--pvd", "isp-a", "--mode", "strict"])?;
        let before = lab.site.enforced()?;
        daemon.stop()?;
        for name in ["state.json", "policies.json", "advertisements.json"] {
            let path = lab.site.state_dir().join(name);
            let whole = fs::read(&path).with_context(|| name.to_owned())?;
            let half = &whole[..whole.len() / 2];
            fs::write(&path, half)?;
            // Readers show what the maps have.
            let read = lab.site.mif(["status"])?;
            ensure!(read.status.success(), "{name}: {}", String::from_utf8_lossy(&read.stderr));

            let daemon = lab.site.daemon::<&str>([])?;
            lab.wait_for_routers()?;
            let bad = format!("{name}.bad");
            let words = [name, "is not what was written there", "kept as", bad.as_str()];
            check_words("the log", &daemon.log()?, &words)?;
            check_words("status", &lab.site.says(["status"])?, &words)?;
            ensure!(fs::read(lab.site.state_dir().join(&bad))? == half, "{bad} is another file");
            ensure!(
                lab.site.enforced()? == before,
                "{name}: {:#?}\nis not\n{before:#?}",
                lab.site.enforced()?
            );
            daemon.stop()?;
        }
        // A second start finds nothing wrong any more, and the policy is still there.
        let daemon = lab.daemon()?;
        let State { problems, policies, .. } = lab.site.state()?;
        ensure!(problems.is_empty() && policies.len() == 1, "{problems:?} {policies:?}");
        lab.check_flows("damaged files")?;
        daemon.stop()?;
        // Nothing of it stays.
        lab.site.says(["detach", "--all"])?;
        let left: Vec<_> = fs::read_dir(lab.site.state_dir())?.flatten().map(|entry| entry.path()).collect();
        ensure!(!left.iter().any(|path| path.extension().is_some_and(|end| end == "bad")), "{left:?}");
        Ok(())
    });
}
