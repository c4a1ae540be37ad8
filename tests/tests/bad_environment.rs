//! A machine that lacks something: the daemon says what and touches nothing, `mif doctor` says what to do. All of it is
//! missing for the child process alone.

use std::{
    ffi::CString,
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, bail, ensure};
use mif_tests::{
    deadline::{PATIENCE, bounded},
    enforced::{Lab, check_words},
    footprint::Folder,
};
use nix::{
    libc,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    unistd::{Gid, Uid, setgid, setgroups, setuid},
};
use serde_json::Value;

/// `nobody` on Linux (`overflowuid`).
const NOBODY: u32 = 65_534;

/// What a child process lacks.
enum Lacks {
    /// Root.
    Root,
    /// These capabilities (`linux/capability.h`), for good.
    Capabilities(&'static [libc::c_int]),
    /// These mounts.
    Mounts(Vec<CString>),
    /// What is in this folder.
    Folder(&'static std::ffi::CStr),
}

const CAP_NET_ADMIN: libc::c_int = 12;
const CAP_NET_RAW: libc::c_int = 13;
/// Stands in for CAP_BPF and CAP_PERFMON.
const CAP_SYS_ADMIN: libc::c_int = 21;
const CAP_BPF: libc::c_int = 39;

impl Lacks {
    /// Takes it from `command`. Between fork and exec there are only system calls on what the closure owns.
    fn apply(self, command: &mut Command) {
        let step = move || match &self {
            Self::Root => {
                setgroups(&[])?;
                setgid(Gid::from_raw(NOBODY))?;
                Ok(setuid(Uid::from_raw(NOBODY))?)
            }
            Self::Capabilities(capabilities) => {
                for capability in *capabilities {
                    // SAFETY: prctl(2) with two numbers. Out of the bounding set, execve(2) does not give it to root.
                    if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, *capability) } < 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                }
                Ok(())
            }
            Self::Mounts(places) => {
                own_mounts()?;
                places.iter().try_for_each(|place| Ok(umount2(place.as_c_str(), MntFlags::MNT_DETACH)?))
            }
            Self::Folder(place) => {
                own_mounts()?;
                Ok(mount(
                    None::<&std::ffi::CStr>,
                    *place,
                    Some(c"tmpfs"),
                    MsFlags::empty(),
                    None::<&std::ffi::CStr>,
                )?)
            }
        };
        // SAFETY: the closure makes system calls and allocates nothing.
        unsafe { command.pre_exec(step) };
    }
}

/// Mounts of this process's own: what it does to them, nobody else sees.
fn own_mounts() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&std::ffi::CStr>, c"/", None::<&std::ffi::CStr>, private, None::<&std::ffi::CStr>)
}

/// Where cgroup2 is mounted, the innermost first.
fn cgroup2_mounts() -> Result<Vec<CString>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mut places = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        if let (Some(place), Some("cgroup2")) = (fields.next(), fields.next()) {
            places.insert(0, CString::new(place)?);
        }
    }
    Ok(places)
}

/// A lab whose daemon has ended, with a copy of `mif` that everybody may run.
struct Machine {
    lab: Lab,
    program: PathBuf,
    _folder: Folder,
}

impl Machine {
    fn new() -> Result<Self> {
        let lab = Lab::new()?;
        lab.daemon()?.stop()?;
        let folder = Folder::new("bin")?;
        let program = folder.path().join("mif");
        // By another process: a test beside this one may fork while this one writes, and hold the file open until it has executed
        // something; until then nobody may execute the copy (ETXTBSY).
        let mut install = Command::new("install");
        install.args(["-m", "755"]).arg(mif_tests::need::sibling("mif")?).arg(&program);
        ensure!(install.status()?.success(), "{install:?} failed");
        Ok(Self { lab, program, _folder: folder })
    }

    fn run(&self, lacks: Lacks, pins: &Path, args: &[&str]) -> Result<Output> {
        let mut command = self.lab.world.host.namespace().command(&self.program);
        command.arg("--bpffs").arg(pins).arg("--state-dir").arg(self.lab.site.state_dir()).args(args);
        lacks.apply(&mut command);
        Ok(command.output()?)
    }

    /// What `mif ARGS` complains of.
    fn complaint(&self, lacks: Lacks, args: &[&str]) -> Result<String> {
        let output = self.run(lacks, &self.lab.site.pins(), args)?;
        if output.status.success() {
            bail!("mif {args:?} succeeded: {}", String::from_utf8_lossy(&output.stdout));
        }
        Ok(String::from_utf8(output.stderr)?)
    }

    /// The check of this name in `mif doctor --json`: verdict, and what was found with the remedy.
    fn doctor(&self, lacks: Lacks, name: &str) -> Result<(String, String)> {
        self.doctor_at(&self.lab.site.pins(), lacks, name)
    }

    /// As [`Self::doctor`], with another pin directory.
    fn doctor_at(&self, pins: &Path, lacks: Lacks, name: &str) -> Result<(String, String)> {
        let output = self.run(lacks, pins, &["doctor", "--json"])?;
        let checks: Vec<Value> = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let check = checks.iter().find(|check| check["check"] == name).context(name.to_owned())?;
        let verdict = check["verdict"].as_str().context("a verdict")?.to_owned();
        let missing = checks.iter().any(|check| check["verdict"] == "missing");
        ensure!(missing != output.status.success(), "doctor: {} but {checks:?}", output.status);
        Ok((verdict, format!("{} -> {}", check["found"], check["remedy"])))
    }
}

#[test]
fn without_privileges_the_daemon_says_which_and_touches_nothing() {
    bounded(6 * PATIENCE, || {
        let machine = Machine::new()?;
        let before = machine.lab.site.enforced()?;
        let cgroup = machine.lab.site.cgroup().to_str().context("UTF-8")?;
        type Row = (fn() -> Lacks, &'static [&'static str]);
        let table: [Row; 4] = [
            (|| Lacks::Root, &["CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_PERFMON"]),
            (|| Lacks::Capabilities(&[CAP_SYS_ADMIN, CAP_BPF]), &["CAP_BPF"]),
            (|| Lacks::Capabilities(&[CAP_NET_ADMIN]), &["CAP_NET_ADMIN"]),
            (|| Lacks::Capabilities(&[CAP_NET_RAW]), &["CAP_NET_RAW"]),
        ];
        for (lacks, names) in table {
            let said = machine.complaint(lacks(), &["daemon", "--cgroup", cgroup])?;
            check_words("daemon", &said, names)?;
            check_words("daemon", &said, &["without", "run it as root"])?;
            let (verdict, found) = machine.doctor(lacks(), "privileges")?;
            ensure!(verdict == "missing", "{verdict}: {found}");
            check_words("doctor", &found, names)?;
            check_words("doctor", &found, &["run it as root, or with sudo"])?;
            ensure!(machine.lab.site.enforced()? == before, "{said}");
        }
        // CAP_SYS_ADMIN does for CAP_BPF.
        let (verdict, found) = machine.doctor(Lacks::Capabilities(&[CAP_BPF]), "privileges")?;
        ensure!(verdict == "ok", "{found}");
        // What reads says it, too.
        for args in [&["status"][..], &["map"], &["pvd"], &["policy", "list"], &["explain", "2001:db8::1"]] {
            check_words(args[0], &machine.complaint(Lacks::Root, args)?, &["run this as root"])?;
        }
        let attach = ["policy", "attach", cgroup, "--pvd", "isp-a"];
        check_words("attach", &machine.complaint(Lacks::Root, &attach)?, &["no daemon answers at"])?;
        let (_, pins) = machine.doctor(Lacks::Root, "pins")?;
        check_words("doctor", &pins, &["run this as root"])?;
        machine.lab.check_flows("all of it")
    });
}

#[test]
fn without_cgroup2_bpffs_or_btf_it_is_said_and_nothing_is_touched() {
    bounded(6 * PATIENCE, || {
        let machine = Machine::new()?;
        let before = machine.lab.site.enforced()?;
        let cgroup = machine.lab.site.cgroup().to_str().context("UTF-8")?;
        let no_cgroup2 = || Ok::<_, anyhow::Error>(Lacks::Mounts(cgroup2_mounts()?));
        let words = ["no cgroup2 file system is mounted", "mount -t cgroup2 none /sys/fs/cgroup"];
        for args in [
            &["daemon"][..],
            &["daemon", "--cgroup", cgroup],
            &["policy", "attach", cgroup, "--pvd", "isp-a"],
            &["exec", "--pvd", "isp-a", "--", "true"],
        ] {
            check_words(&args.join(" "), &machine.complaint(no_cgroup2()?, args)?, &words)?;
        }
        let (verdict, found) = machine.doctor(no_cgroup2()?, "cgroup2")?;
        ensure!(verdict == "missing", "{verdict}");
        check_words("doctor", &found, &words)?;

        // A folder of another file system in place of bpffs.
        let folder = Folder::new("no-bpffs")?;
        let no_bpffs = folder.path().join("mif");
        let output = machine.run(Lacks::Capabilities(&[]), &no_bpffs, &["daemon", "--cgroup", cgroup])?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1), "{said}");
        let place = folder.path().to_str().context("UTF-8")?;
        check_words("daemon", &said, &[place, "is not on a bpf file system", "mount -t bpf"])?;
        ensure!(!no_bpffs.exists(), "{} was made", no_bpffs.display());
        let (verdict, found) = machine.doctor_at(&no_bpffs, Lacks::Capabilities(&[]), "bpffs")?;
        ensure!(verdict == "missing", "{verdict}");
        check_words("doctor", &found, &[place, "is not in a bpf file system", "mount -t bpf"])?;
        let not_mounted = Lacks::Folder(c"/sys/fs");
        let (verdict, found) = machine.doctor_at(Path::new("/sys/fs/bpf/mif"), not_mounted, "bpffs")?;
        ensure!(verdict == "note", "{verdict}");
        check_words("doctor", &found, &["not mounted at /sys/fs/bpf", "the daemon mounts it"])?;

        let (verdict, found) = machine.doctor(Lacks::Folder(c"/sys/kernel/btf"), "BTF")?;
        check_words("doctor", &found, &["no /sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"])?;
        let (programs, _) = machine.doctor(Lacks::Folder(c"/sys/kernel/btf"), "programs")?;
        ensure!(
            (verdict.as_str(), programs.as_str()) == ("warning", "ok"),
            "BTF {verdict}, programs {programs}: a kernel that takes the programs can work"
        );
        ensure!(machine.lab.site.enforced()? == before);
        machine.lab.check_flows("all of it")
    });
}

/// Without BTF the daemon works, and says what it does not see then, and what does not hold.
#[test]
fn without_btf_the_daemon_works() {
    bounded(6 * PATIENCE, || {
        let lab = Lab::new()?;
        let daemon =
            lab.site.daemon_with::<&str>([], |command| Lacks::Folder(c"/sys/kernel/btf").apply(command))?;
        lab.wait_for_routers()?;
        let log = daemon.log()?;
        let warnings: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
        ensure!(warnings.len() == 2, "{log}");
        let words = ["IPV6_UNICAST_IF is not seen", "interfaces that appear while no daemon runs", "vmlinux"];
        check_words("the log", &log, &words)?;
        check_words("status", &lab.site.says(["status"])?, &words)?;
        lab.check_flows("a start without BTF")
    });
}
