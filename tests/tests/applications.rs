//! Applications run where they are put and see what the network does to them.

use std::time::Duration;

use mif_tests::{
    cgroup::Cgroup,
    deadline::bounded,
    family::{Family, canonical},
    flow::{Flow, Kind},
    internet::{SERVERS, at_echo},
    isp::{ISP_A, ISP_B},
    router::Daemon,
    world::World,
};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_process_is_in_its_cgroup_from_the_start() {
    bounded(LIMIT, || {
        let world = World::silent_uplinks()?;
        let parent = Cgroup::new("parent")?;
        let child = parent.child("child")?;
        let output = world.host.place(&child).command("cat")?.arg("/proc/self/cgroup").output()?;
        let text = String::from_utf8(output.stdout)?;
        // The line of cgroup2 (cgroups(7)).
        let own = text.lines().find_map(|line| line.strip_prefix("0::")).expect("cgroup2 is always there");
        assert!(
            child.path().ends_with(own.trim_start_matches('/')),
            "{own} is not {}",
            child.path().display()
        );
        assert_ne!(parent.id()?, child.id()?);
        Ok(())
    });
}

#[test]
fn the_report_says_what_the_far_end_saw() {
    bounded(LIMIT, || {
        let world = World::two_uplinks(Daemon::Embedded)?.dual_stack()?;
        for family in Family::ALL {
            for kind in [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected, Kind::UdpPktinfo] {
                world.internet.echo().forget();
                let flow = Flow::new(kind, at_echo(family.servers()[1]));
                let report = world.host.place(None).open(&flow)?;
                let arrivals = world.internet.echo().arrivals();
                let [arrival] = &arrivals[..] else { panic!("{flow:?}: {arrivals:?}") };
                assert_eq!(report.local.map(canonical), Some(arrival.source), "{flow:?}");
                assert_eq!(report.local.map(|local| Family::of(local.ip())), Some(family), "{flow:?}");
                assert_eq!(arrival.transport, kind.transport());
                assert_eq!(arrival.destination, canonical(flow.destination));
            }
        }
        Ok(())
    });
}

/// An open flow keeps its source when the network changes under it: what it does then is what a later test asks `mif` about.
#[test]
fn an_open_flow_goes_on() {
    bounded(LIMIT, || {
        let mut world = World::two_uplinks(Daemon::Embedded)?;
        let source = world.source(&ISP_A)?;
        let flow = Flow {
            stay: true,
            ..Flow::new(Kind::UdpConnected, at_echo(SERVERS[0])).from(source).by(ISP_A.name)
        };
        let mut application = world.host.place(None).start(&flow)?;
        let first = application.report()?;
        assert!(first.arrived, "{first:?}");
        world.router(&ISP_B).withdraw()?;
        world.host.wait_for_default_router(ISP_B.link_local(), false)?;
        assert_eq!(application.again()?, first);
        Ok(())
    });
}

#[test]
fn failures_have_their_errno() {
    bounded(LIMIT, || {
        const ENETUNREACH: i32 = 101;
        const ECONNREFUSED: i32 = 111;
        let world = World::silent_uplinks()?;
        let nobody = ["[::1]:9", "127.0.0.1:9", "[::ffff:127.0.0.1]:9"];
        for (family, nobody) in Family::ALL.into_iter().zip(nobody) {
            let (nobody, server) = (nobody.parse()?, at_echo(family.servers()[0]));
            let table = [
                (Flow::new(Kind::Tcp, nobody), ECONNREFUSED),
                (Flow::new(Kind::UdpConnected, nobody), ECONNREFUSED),
                (Flow::new(Kind::Tcp, server), ENETUNREACH),
                (Flow::new(Kind::UdpUnconnected, server), ENETUNREACH),
            ];
            for (flow, errno) in table {
                let report = world.host.place(None).open(&flow)?;
                assert_eq!((report.arrived, report.errno), (false, Some(errno)), "{flow:?}: {report:?}");
            }
        }
        Ok(())
    });
}
