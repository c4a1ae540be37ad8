//! Datagrams that a socket holds back (UDP_CORK, MSG_MORE) while its cgroup gets a strict policy: no hook is asked when they leave, and
//! tc egress drops them.

use anyhow::{Context as _, Result, ensure};
use mif_tests::{
    deadline::{PATIENCE, bounded},
    flow::Report,
    packet::UDP,
    ways::{Stage, attach},
};
use mif_user::mode::Mode;

/// Each ends with a datagram that waits, and lets it go when it is told to.
const HELD: [&str; 4] = [
    "udp cork bind={a} send-to={server} wait uncork",
    "udp cork device=isp-a send-to={server} wait uncork",
    "udp cork send-to={server} wait uncork",
    // Connected to the one, which it holds a datagram for, then to the other.
    "udp bind={a} connect={server} cork send-to={server} wait uncork",
];

#[test]
fn are_dropped_when_they_leave() {
    bounded(6 * PATIENCE, || {
        let stage = Stage::new()?;
        let daemon = stage.site.daemon::<&str>([])?;
        stage.site.wait_for_routers()?;
        let mut held = Vec::new();
        for cgroup in [&stage.free, &stage.strict] {
            for &family in stage.world.families() {
                for text in HELD {
                    let mut application = stage.play(cgroup, family, text)?;
                    let report: Report = application.report()?;
                    ensure!(report.arrived, "{family}, `{text}`: {report:?}");
                    held.push((family, text, application));
                }
            }
        }
        // Beside them the host says that nobody waits for an answer any more.
        let by_a = || -> Result<Vec<_>> {
            let seen = stage.world.routers()[0].tap().seen()?;
            Ok(seen.into_iter().filter(|seen| seen.headers.protocol == UDP).collect())
        };
        let strict = held.split_off(held.len() / 2);
        attach(&daemon, &stage.strict, Mode::Strict)?;
        stage.world.forget()?;
        for (family, text, mut application) in strict {
            application.again().with_context(|| format!("{family}, `{text}`"))?;
            ensure!(by_a()?.is_empty(), "{family}, `{text}`: {:#?}", by_a()?);
        }
        // The same without a policy: they do leave, by that provider.
        let count = held.len();
        for (family, text, mut application) in held {
            application.again().with_context(|| format!("{family}, `{text}`"))?;
        }
        ensure!(by_a()?.len() == count, "{} of {count}", by_a()?.len());
        daemon.stop()
    });
}
