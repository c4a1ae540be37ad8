//! Whole worlds: a host, its providers and the internet, ready for a scenario.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, bail};

use crate::{
    events::until_ready,
    family::Family,
    host::Host,
    internet::Internet,
    isp::{ISP_A, ISP_B, Isp},
    netns::{End, Namespace, veth},
    peer::Peer,
    router::{Daemon, LAN, Router, WAN},
    tap::Seen,
};

/// The host's interface to a link with two routers.
pub const SHARED_LINK: &str = "lan0";

/// A host with providers. Everything goes when this is dropped.
#[derive(Debug)]
pub struct World {
    /// The machine that `mif` is for.
    pub host: Host,
    routers: Vec<Router>,
    /// The host's interfaces to the routers.
    uplinks: Vec<&'static str>,
    /// What is behind the routers.
    pub internet: Internet,
    /// Whether the host has its IPv4 addresses.
    ipv4: bool,
    /// The switch between host and routers, where there is one.
    switch: Option<Namespace>,
}

impl World {
    /// A host with one interface to each of two providers, configured from their advertisements.
    ///
    /// # Errors
    /// The lab cannot run here, or the host was not configured in time.
    pub fn two_uplinks(daemon: Daemon) -> Result<Self> {
        let mut world = Self::silent_uplinks()?;
        world.speak(daemon)?;
        Ok(world)
    }

    /// As [`Self::two_uplinks`], before the routers' first advertisement.
    ///
    /// # Errors
    /// The lab cannot run here.
    pub fn silent_uplinks() -> Result<Self> {
        let (host, internet) = (Host::new()?, Internet::new()?);
        let mut routers = Vec::new();
        for isp in [ISP_A, ISP_B] {
            routers.push(Router::new(isp, host.namespace(), &internet)?);
            host.namespace().ip(&format!("link set {} up", isp.name))?;
        }
        let world = Self {
            host,
            routers,
            uplinks: vec![ISP_A.name, ISP_B.name],
            internet,
            ipv4: false,
            switch: None,
        };
        world.wait_for_links()?;
        Ok(world)
    }

    /// A host with one interface ([`SHARED_LINK`]) to a link with the routers of two providers.
    ///
    /// # Errors
    /// As [`Self::two_uplinks`].
    pub fn two_routers_one_link(daemon: Daemon) -> Result<Self> {
        Self::shared_link([ISP_A, ISP_B], daemon)
    }

    /// As [`Self::two_routers_one_link`], but both routers are the first provider's and advertise the same prefix. The second
    /// has the name and number of [`ISP_B`].
    ///
    /// # Errors
    /// As [`Self::two_uplinks`].
    pub fn redundant_gateways(daemon: Daemon) -> Result<Self> {
        Self::shared_link([ISP_A, Isp { name: ISP_B.name, number: ISP_B.number, ..ISP_A }], daemon)
    }

    fn shared_link(isps: [Isp; 2], daemon: Daemon) -> Result<Self> {
        let (host, internet) = (Host::new()?, Internet::new()?);
        let switch = Namespace::new("switch")?;
        let end = |namespace, interface, number| End { namespace, interface, number };
        veth(end(host.namespace(), SHARED_LINK, 0x500), end(&switch, "host", 0x501))?;
        let mut routers = Vec::new();
        for isp in isps {
            routers.push(Router::new(isp, &switch, &internet)?);
        }
        let ports = ["host", ISP_A.name, ISP_B.name]
            .map(|port| format!("link set {port} master switch\nlink set {port} up\n"))
            .concat();
        switch.ip(&format!("link add switch type bridge mcast_snooping 0\nlink set switch up\n{ports}"))?;
        host.namespace().ip(&format!("link set {SHARED_LINK} up"))?;
        let mut world =
            Self { host, routers, uplinks: vec![SHARED_LINK], internet, ipv4: false, switch: Some(switch) };
        world.wait_for_links()?;
        world.speak(daemon)?;
        Ok(world)
    }

    /// Gives the host its IPv4 addresses and default routes too, as NetworkManager makes them of what DHCP servers say: with a
    /// source, and with a metric for each interface, which prefers the first. A world is without until then, but for the far ends.
    ///
    /// # Errors
    /// The kernel refused a step.
    pub fn dual_stack(mut self) -> Result<Self> {
        /// Seconds of a lease.
        const LEASE: u32 = 86_400;
        let mut lines = Vec::new();
        for (isp, link, metric) in self.default_routes_ipv4() {
            let (host, gateway, length) = (isp.host_ipv4(), isp.gateway_ipv4(), isp.lan_ipv4.prefix_len());
            let lease = format!(
                "addr replace {host}/{length} dev {link} metric {metric} valid_lft {LEASE} preferred_lft {LEASE}"
            );
            lines.extend([
                lease,
                // Behind those that are there.
                format!(
                    "route append default via {gateway} dev {link} proto dhcp src {host} metric {metric}"
                ),
            ]);
        }
        self.host.namespace().ip4(&lines.join("\n"))?;
        self.ipv4 = true;
        Ok(self)
    }

    /// Which provider the host uses by which interface, and with which metric of its routes; best first.
    fn default_routes_ipv4(&self) -> Vec<(Isp, &'static str, u32)> {
        /// NetworkManager's for the first Ethernet; the second has one more.
        const METRIC: u32 = 100;
        let links = self.uplinks.iter().zip(METRIC..).cycle();
        let isps = self.routers.iter().map(|router| *router.isp());
        isps.zip(links).map(|(isp, (link, metric))| (isp, *link, metric)).collect()
    }

    /// The families in which the host has addresses.
    pub fn families(&self) -> &'static [Family] {
        if self.ipv4 { &Family::ALL } else { &[Family::Ipv6] }
    }

    fn wait_for_links(&self) -> Result<()> {
        until_ready(self.host.namespace(), &self.uplinks)?;
        for router in &self.routers {
            until_ready(router.namespace(), &[LAN, WAN])?;
            until_ready(self.internet.namespace(), &[router.isp().name])?;
        }
        Ok(())
    }

    /// The host's interfaces to the routers.
    pub fn uplinks(&self) -> &[&'static str] {
        &self.uplinks
    }

    /// Makes every router advertise, and waits until the host is configured.
    ///
    /// # Errors
    /// As [`Self::two_uplinks`].
    pub fn speak(&mut self, daemon: Daemon) -> Result<()> {
        for router in &mut self.routers {
            let advertisement = router.isp().advertisement();
            router.speak(daemon, &advertisement)?;
        }
        for router in &self.routers {
            self.host.wait_for_address(&router.isp().lan)?;
            self.host.wait_for_default_router(router.isp().link_local(), true)?;
        }
        Ok(())
    }

    /// The routers, in the order of their providers.
    pub fn routers(&self) -> &[Router] {
        &self.routers
    }

    /// The router of `isp`.
    ///
    /// # Panics
    /// It has none here.
    pub fn router(&mut self, isp: &Isp) -> &mut Router {
        let mut routers = self.routers.iter_mut();
        routers
            .find(|router| router.isp().number == isp.number)
            .expect("every world has the routers of ISP_A and ISP_B")
    }

    /// The host's address from `isp`.
    ///
    /// # Errors
    /// It has none.
    pub fn source(&self, isp: &Isp) -> Result<Ipv6Addr> {
        self.host.address_in(&isp.lan)?.with_context(|| format!("the host has no address from {}", isp.name))
    }

    /// The host's IPv4 address from `isp`, in a world that is [dual stack](Self::dual_stack).
    pub fn source_ipv4(&self, isp: &Isp) -> Ipv4Addr {
        isp.host_ipv4()
    }

    /// The host's address from `isp`, as applications of `family` write it.
    ///
    /// # Errors
    /// It has none.
    pub fn source_of(&self, family: Family, isp: &Isp) -> Result<IpAddr> {
        match family {
            Family::Ipv6 => Ok(self.source(isp)?.into()),
            Family::Ipv4 | Family::Mapped if self.ipv4 => Ok(family.written(self.source_ipv4(isp))),
            Family::Ipv4 | Family::Mapped => bail!("the host has no IPv4 addresses in this world"),
        }
    }

    /// The packets that a router's filter dropped, at all routers.
    ///
    /// # Errors
    /// A tap lost packets.
    pub fn foreign(&self) -> Result<Vec<Seen>> {
        Ok(self.routers.iter().map(Router::foreign).collect::<Result<Vec<_>>>()?.concat())
    }

    /// Fails unless the filters had nothing to drop.
    ///
    /// # Errors
    /// They had, or a tap lost packets.
    pub fn check_no_foreign(&self) -> Result<()> {
        let foreign = self.foreign()?;
        if !foreign.is_empty() {
            bail!("{} packets went to the wrong provider: {foreign:#?}", foreign.len());
        }
        Ok(())
    }

    /// Forgets all packets and arrivals so far.
    ///
    /// # Errors
    /// A tap lost packets.
    pub fn forget(&self) -> Result<()> {
        self.internet.echo().forget();
        self.routers.iter().try_for_each(|router| router.tap().forget())
    }

    /// Adds a container behind a bridge of the host.
    ///
    /// # Errors
    /// The kernel refused a step.
    pub fn container(&self) -> Result<Peer> {
        Peer::container(self.host.namespace())
    }

    /// Adds a machine to the link with two routers. Its addresses are the first provider's.
    ///
    /// # Errors
    /// There is no such link here, or the kernel refused a step.
    pub fn neighbour(&self) -> Result<Peer> {
        let switch = self.switch.as_ref().context("this world has no link with several routers")?;
        Peer::neighbour(switch, [&ISP_A, &ISP_B])
    }

    /// Makes neighbour discovery at the uplinks find out within seconds that a router is dead, and that it is back, rather than in most
    /// of a minute (neigh/*/ and router_probe_interval in the kernel's ip-sysctl). Until the kernel itself asks a dead one again there
    /// is time for some flows: meanwhile it would keep back what it routes there.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn notice_dead_routers_soon(&self) -> Result<()> {
        const TIMES: [(&str, u32); 3] =
            [("base_reachable_time_ms", 1000), ("delay_first_probe_time", 1), ("retrans_time_ms", 200)];
        for version in ["ipv6", "ipv4"] {
            for uplink in &self.uplinks {
                for (name, value) in TIMES {
                    let key = format!("net/{version}/neigh/{uplink}/{name}");
                    self.host.namespace().sysctl(&key, value)?;
                }
            }
        }
        for uplink in &self.uplinks {
            self.host.namespace().sysctl(&format!("net/ipv6/conf/{uplink}/router_probe_interval"), 4)?;
        }
        Ok(())
    }

    /// Lets a router crash: without a word it hears nothing any more from the host's link, whose carrier stays, and the internet no
    /// longer uses it.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn kill(&mut self, isp: &Isp) -> Result<()> {
        let router = self.router(isp);
        router.fall_silent();
        // A bridge that is down drops what comes in by its ports.
        router.namespace().ip(&format!("link add hole type bridge\nlink set {LAN} master hole"))?;
        self.internet.route("del", isp)
    }

    /// Brings a killed router back: it answers its neighbours and forwards, and does not advertise yet.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn revive(&mut self, isp: &Isp) -> Result<()> {
        self.router(isp).namespace().ip(&format!("link set {LAN} nomaster\nlink del hole"))?;
        self.internet.route("append", isp)
    }

    /// Adds a tunnel with a static route.
    ///
    /// # Errors
    /// The kernel refused a step.
    pub fn tunnel(&self) -> Result<Peer> {
        Peer::tunnel(self.host.namespace())
    }

    /// Adds a VPN that takes all traffic by policy rules of its own.
    ///
    /// # Errors
    /// The kernel refused a step.
    pub fn vpn(&self) -> Result<Peer> {
        self.vpn_for(&[Family::Ipv6, Family::Ipv4])
    }

    /// As [`Self::vpn`], with rules in these versions of IP.
    ///
    /// # Errors
    /// The kernel refused a step.
    pub fn vpn_for(&self, families: &[Family]) -> Result<Peer> {
        Peer::vpn(self.host.namespace(), families)
    }
}
