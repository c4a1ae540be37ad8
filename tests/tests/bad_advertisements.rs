//! Router Advertisements that no router should send, and floods of them: counted, shown, and without effect on the
//! routers that are real.

use std::{
    fs,
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use mif_core::{
    pvd::limits::{PREFIXES_PER_PVD, ROUTERS_PER_LINK},
    time::Deadline,
    wire::{NdOption, PrefixInformation, RaHeader, RouterAdvertisement},
};
use mif_tests::{
    deadline::{Deadline as Patience, PATIENCE, bounded},
    enforced::{Enforced, Lab, check_words},
    isp::{ISP_A, ISP_B},
    ra_sender::{Forged, RaSender},
    router::LAN,
};
use mif_user::state::State;
use nix::unistd::{SysconfVar, sysconf};

/// What a flood has of everything.
const FLOOD: usize = 10_000;
/// Prefixes that fit into an advertisement of 1500 octets.
const PREFIXES_PER_MESSAGE: usize = 40;
/// Memory of the daemon, KiB.
const RESIDENT_MAX: u64 = 40 << 10;
/// Of the time in which nothing happens, the daemon uses less than one part in this many.
const IDLE_SHARE: u32 = 4;

/// Seconds that mean for ever (RFC 4861 §4.6.2).
const INFINITY: u32 = u32::MAX;

fn forger(lab: &mut Lab) -> Result<RaSender> {
    RaSender::new(lab.world.router(&ISP_A).namespace(), LAN)
}

fn advertisement(router_lifetime: u16, options: Vec<NdOption>) -> Result<Vec<u8>> {
    let header = RaHeader { cur_hop_limit: 64, router_lifetime, ..RaHeader::default() };
    Ok(RouterAdvertisement { header, options }.emit()?)
}

fn prefix(number: u16, valid_lifetime: u32, preferred_lifetime: u32) -> NdOption {
    let prefix = Ipv6Addr::new(0x2001, 0xdb8, 0xf, number, 0, 0, 0, 0);
    NdOption::PrefixInformation(PrefixInformation {
        prefix: ipnet::Ipv6Net::new_assert(prefix, 64),
        on_link: true,
        autonomous: true,
        router_address: false,
        valid_lifetime,
        preferred_lifetime,
    })
}

fn refused(state: &State, what: &str) -> u64 {
    state.refused.get(what).copied().unwrap_or(0)
}

/// Sends a last word behind all that was sent, and waits until the daemon has read it: then it has read all.
fn wait_until_read(lab: &Lab, forger: &RaSender) -> Result<()> {
    let before = refused(&lab.site.state()?, LAST_WORD);
    forger.send_forged(&Forged {
        hop_limit: 1,
        ..Forged::new(&advertisement(0, vec![])?, ISP_A.link_local())
    })?;
    lab.site.until_state("the last advertisement", |state| (refused(state, LAST_WORD) > before).then_some(()))
}

/// The counter of what has a wrong hop limit, as the last word has.
const LAST_WORD: &str = "advertisement-hop-limit";

/// Wrong checksums, and what the socket's buffer has no place for.
const DROPPED_BY_KERNEL: &str = "advertisement-dropped-by-kernel";

/// The answers for the routers that are real.
fn real(lab: &Lab) -> Result<Enforced> {
    let mut enforced = lab.site.enforced()?;
    let ours = |address: &Ipv6Addr| ISP_A.prefix.contains(address) || ISP_B.prefix.contains(address);
    enforced.sources.retain(|address, _| ours(address));
    enforced.decisions.retain(|(_, prefix), _| prefix.prefix_len() == 0 || ours(&prefix.network()));
    Ok(enforced)
}

#[test]
fn what_is_malformed_is_counted_and_has_no_effect() {
    bounded(6 * PATIENCE, || {
        let mut lab = Lab::new()?;
        let forger = forger(&mut lab)?;
        let _daemon = lab.daemon()?;
        let before = lab.site.enforced()?;

        let good = advertisement(1800, vec![prefix(0, 1800, 1800)])?;
        let with = |at: usize, octet: u8| {
            let mut message = good.clone();
            message[at] = octet;
            message
        };
        /// Octets of the header (RFC 4861 §4.2); the length of the first option is the one after.
        const HEADER: usize = 16;
        let other = "fe80::bad".parse()?;
        let global: Ipv6Addr = "2001:db8:bad::1".parse()?;
        let (wrong_code, no_length, long) = (with(1, 1), with(HEADER + 1, 0), with(HEADER + 1, 5));
        let table: [(&str, Forged<'_>); 8] = [
            ("hop-limit", Forged { hop_limit: 254, ..Forged::new(&good, other) }),
            ("source-not-link-local", Forged::new(&good, global)),
            ("dropped-by-kernel", Forged { right_checksum: false, ..Forged::new(&good, other) }),
            ("wrong-code", Forged::new(&wrong_code, other)),
            ("zero-length-option", Forged::new(&no_length, other)),
            ("option-overrun", Forged::new(&long, other)),
            ("message-too-short", Forged::new(&good[..12], other)),
            ("trailing-octets", Forged::new(&good[..HEADER + 4], other)),
        ];
        let total = |state: &State| state.refused.values().sum::<u64>();
        for (name, packet) in table {
            let name = format!("advertisement-{name}");
            let earlier = lab.site.state()?;
            forger.send_forged(&packet)?;
            wait_until_read(&lab, &forger)?;
            let state = lab.site.state()?;
            // It counts once, and so does the last word, which has the name of the first packet.
            ensure!(total(&state) == total(&earlier) + 2, "{name}: {:?}", state.refused);
            let expected = refused(&earlier, &name) + 1 + u64::from(name == LAST_WORD);
            ensure!(refused(&state, &name) == expected, "{name}: {:?}", state.refused);
            let json: serde_json::Value = serde_json::from_str(&lab.site.says(["status", "--json"])?)?;
            ensure!(json["refused"][&name] == expected, "{name}: {}", json["refused"]);
            check_words("status", &lab.site.says(["status"])?, &[&format!("{name}: {expected}")])?;
            ensure!(lab.site.enforced()? == before, "{name}");
        }
        lab.check_flows("malformed advertisements")
    });
}

#[test]
fn absurd_lifetimes_are_taken_as_the_rfcs_say() {
    bounded(6 * PATIENCE, || {
        let mut lab = Lab::new()?;
        let forger = forger(&mut lab)?;
        let _daemon = lab.daemon()?;
        let sources = lab.site.enforced()?.sources;
        let stranger: Ipv6Addr = "fe80::bad".parse()?;
        let lan = ISP_A.advertisement().options;
        // The real router, for ever; a stranger's prefix, preferred for longer than it is valid.
        let table = [
            (advertisement(u16::MAX, forever(&lan))?, ISP_A.link_local()),
            (advertisement(0, vec![prefix(1, 1, INFINITY), prefix(2, 0, INFINITY)])?, stranger),
        ];
        for (message, source) in &table {
            forger.send_forged(&Forged::new(message, *source))?;
        }
        wait_until_read(&lab, &forger)?;
        let state = lab.site.state()?;
        ensure!(refused(&state, "preferred-over-valid") == 2, "{:?}", state.refused);
        check_words("status", &lab.site.says(["status"])?, &["preferred-over-valid: 2"])?;
        let id = format!("{}/{}", ISP_A.name, ISP_A.link_local());
        let a = state.pvds.iter().find(|pvd| pvd.id == id).context("isp-a is known")?;
        let lan =
            a.prefixes.iter().find(|prefix| prefix.prefix == ISP_A.lan).context("its prefix is known")?;
        ensure!([lan.meaning.valid_until, lan.meaning.preferred_until] == [Deadline::NEVER; 2], "{lan:?}");
        let until = a.routers[0].said.default_until.context("it is a default router")?;
        let left = until.remaining(state.written).context("65535 is no infinity here")?.as_secs();
        ensure!((65_000..=65_535).contains(&left), "{left} s");
        ensure!(lab.site.enforced()?.sources == sources, "{:?}", lab.site.enforced()?.sources);
        lab.check_flows("absurd lifetimes")
    });
}

fn forever(options: &[NdOption]) -> Vec<NdOption> {
    let forever = |option: &NdOption| match option {
        NdOption::PrefixInformation(prefix) => NdOption::PrefixInformation(PrefixInformation {
            valid_lifetime: INFINITY,
            preferred_lifetime: INFINITY,
            ..*prefix
        }),
        other => other.clone(),
    };
    options.iter().map(forever).collect()
}

/// What a process uses.
struct Usage {
    /// CPU time, clock ticks.
    ticks: u64,
    /// Memory, KiB.
    resident: u64,
}

fn usage(pid: u32) -> Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(") ").context("a name")?.1.split(' ').collect();
    /// Fields 14 and 15 of proc_pid_stat(5), where this list begins with field 3.
    const TIMES: std::ops::Range<usize> = 14 - 3..16 - 3;
    let ticks = fields[TIMES].iter().map(|field| field.parse::<u64>()).sum::<Result<u64, _>>()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(Usage { ticks, resident: resident.trim().trim_end_matches(" kB").parse()? })
}

/// After a flood: the daemon answers, is small and quiet, and the real routers' flows arrive.
fn check_survival(lab: &Lab, pid: u32, before: &Enforced) -> Result<()> {
    let cgroup = lab.cgroup.child("after")?;
    let path = cgroup.path().to_str().context("UTF-8")?;
    lab.site.says(["policy", "attach", path, "--pvd", &format!("{}/", ISP_B.name)])?;
    lab.site.says(["policy", "detach", path])?;
    ensure!(real(lab)? == *before, "{:#?}\nis not\n{before:#?}", real(lab)?);
    let ticks_per_second = sysconf(SysconfVar::CLK_TCK)?.context("CLK_TCK")?.unsigned_abs();
    let deadline = Patience::new("the daemon to become quiet after a flood");
    // What the flood did to the kernel's own tables may still come in; the flows must not mind.
    loop {
        let (before, start) = (usage(pid)?.ticks, Instant::now());
        lab.check_flows("a flood")?;
        let used = Duration::from_millis((usage(pid)?.ticks - before) * 1000 / ticks_per_second);
        if used <= start.elapsed() / IDLE_SHARE {
            break;
        }
        deadline.left()?;
    }
    let Usage { resident, .. } = usage(pid)?;
    ensure!(resident < RESIDENT_MAX, "{resident} KiB");
    ensure!(real(lab)? == *before, "{:#?}\nis not\n{before:#?}", real(lab)?);
    Ok(())
}

#[test]
fn ten_thousand_prefixes() {
    bounded(9 * PATIENCE, || {
        let mut lab = Lab::new()?;
        let forger = forger(&mut lab)?;
        let daemon = lab.daemon()?;
        let before = real(&lab)?;
        let numbers: Vec<u16> = (0..u16::try_from(FLOOD)?).collect();
        for (sent, some) in numbers.chunks(PREFIXES_PER_MESSAGE).enumerate() {
            let options = some.iter().map(|number| prefix(*number, 7200, 7200)).collect();
            forger.send_forged(&Forged::new(&advertisement(0, options)?, "fe80::bad".parse()?))?;
            // The socket's queue is not what is tested here.
            if sent % 50 == 49 {
                wait_until_read(&lab, &forger)?;
            }
        }
        wait_until_read(&lab, &forger)?;
        let state = lab.site.state()?;
        let beyond = (FLOOD - PREFIXES_PER_PVD) as u64;
        ensure!(refused(&state, "prefixes") == beyond, "{:?}", state.refused);
        check_words("status", &lab.site.says(["status"])?, &[&format!("prefixes: {beyond}")])?;
        check_survival(&lab, daemon.id(), &before)
    });
}

#[test]
fn ten_thousand_routers() {
    bounded(9 * PATIENCE, || {
        let mut lab = Lab::new()?;
        let forger = forger(&mut lab)?;
        let daemon = lab.daemon()?;
        let before = real(&lab)?;
        let host = lab.world.host.namespace().clone();
        // The kernel's neighbour table is shared by all namespaces: entries of an interface without ARP are given up whenever
        // another one needs the place.
        host.ip(&format!("link set {} arp off", ISP_A.name))?;
        let message = advertisement(1800, vec![])?;
        for number in 0..FLOOD {
            let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xbad, 0, 0, u16::try_from(number)?);
            forger.send_forged(&Forged::new(&message, router))?;
            if number % 500 == 499 {
                wait_until_read(&lab, &forger)?;
            }
        }
        wait_until_read(&lab, &forger)?;
        host.ip(&format!("link set {} arp on", ISP_A.name))?;
        let state = lab.site.state()?;
        // The real router had its place already. The kernel has default routes by them, and these count as well.
        let beyond = (FLOOD - (ROUTERS_PER_LINK - 1)) as u64;
        let counted = refused(&state, "routers");
        ensure!(counted >= beyond, "{:?}", state.refused);
        ensure!(refused(&state, DROPPED_BY_KERNEL) == 0, "{:?}", state.refused);
        check_words("status", &lab.site.says(["status"])?, &["routers: "])?;
        let on_link = state.pvds.iter().filter(|pvd| pvd.link == ISP_A.name).count();
        ensure!(on_link == ROUTERS_PER_LINK, "{on_link} PvDs");
        check_survival(&lab, daemon.id(), &before)
    });
}
