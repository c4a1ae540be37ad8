//! A host whose uplinks have DHCPv6 servers, and what is looked at there.

use std::net::Ipv6Addr;

use anyhow::{Context as _, Result};
use mif_core::{
    pvd::PvdSnapshot,
    wire::{NdOption, RouterAdvertisement},
};
use mif_user::state::{Dhcpv6Client, State};

use super::{DhcpServer, Offer, Program};
use crate::{
    cgroup::Cgroup,
    flow::{Flow, Kind},
    internet::{SERVERS, at_echo},
    isp::Isp,
    mif::Site,
    router::{Daemon as Speaker, LAN},
    world::World,
};

/// What a router advertises where addresses come from DHCPv6 (M): its prefix is on the link, and nobody makes addresses of it.
#[must_use]
pub fn managed(isp: &Isp) -> RouterAdvertisement {
    let mut advertisement = isp.advertisement();
    advertisement.header.managed = true;
    for option in &mut advertisement.options {
        if let NdOption::PrefixInformation(prefix) = option {
            prefix.autonomous = false;
        }
    }
    advertisement
}

/// A world, and a site for its daemons.
#[derive(Debug)]
pub struct Scene {
    /// The world.
    pub world: World,
    /// The cgroup of its flows.
    pub cgroup: Cgroup,
    /// Where daemons run.
    pub site: Site,
}

impl Scene {
    /// A world where nobody speaks yet.
    ///
    /// # Errors
    /// The lab cannot run here.
    pub fn silent() -> Result<Self> {
        Self::of(World::silent_uplinks()?)
    }

    /// With a site in this world.
    ///
    /// # Errors
    /// As [`Site::new`].
    pub fn of(world: World) -> Result<Self> {
        let cgroup = Cgroup::new("host")?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        Ok(Self { world, cgroup, site })
    }

    /// Lets a provider's router ask hosts to get addresses from a server, and starts that beside it.
    ///
    /// # Errors
    /// One of the two did not start.
    pub fn serve(&mut self, isp: &Isp, program: Program, offer: &Offer) -> Result<DhcpServer> {
        let router = self.world.router(isp);
        let server = DhcpServer::start(router.namespace(), LAN, program, offer)?;
        router.speak(Speaker::Radvd, &managed(isp))?;
        Ok(server)
    }

    /// Waits until the client of an interface is as `look` wants it.
    ///
    /// # Errors
    /// It was not in time.
    pub fn client<T>(
        &self,
        interface: &str,
        what: &str,
        mut look: impl FnMut(&Dhcpv6Client) -> Option<T>,
    ) -> Result<T> {
        let of = |state: &State| {
            state.dhcpv6.iter().find(|client| client.interface == interface).and_then(&mut look)
        };
        let found = self.site.wait_for_state(&format!("{what} on {interface}"), of);
        found.with_context(|| self.told())
    }

    /// Waits until a PvD is as `look` wants it.
    ///
    /// # Errors
    /// It was not in time.
    pub fn pvd<T>(&self, id: &str, what: &str, mut look: impl FnMut(&PvdSnapshot) -> Option<T>) -> Result<T> {
        let of = |state: &State| state.pvds.iter().find(|pvd| pvd.id == id).and_then(&mut look);
        self.site.wait_for_state(&format!("{what} in {id}"), of).with_context(|| self.told())
    }

    /// Waits for an address of the provider's subnet at the host.
    ///
    /// # Errors
    /// There was none in time.
    pub fn address(&self, isp: &Isp) -> Result<Ipv6Addr> {
        self.world.host.wait_for_address(&isp.lan).with_context(|| self.told())
    }

    /// Opens flows that leave it to the host which source they have, and checks that they have this one.
    ///
    /// # Errors
    /// One of them has not, or did not arrive.
    pub fn uses(&self, source: Ipv6Addr) -> Result<()> {
        for kind in [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected] {
            let report = self.world.host.place(&self.cgroup).open(&Flow::new(kind, at_echo(SERVERS[0])))?;
            anyhow::ensure!(
                report.arrived && report.source() == Some(source.into()),
                "{kind:?} does not use {source}: {report:?}"
            );
        }
        self.world.check_no_foreign()
    }

    /// What the daemon says, for messages to people.
    fn told(&self) -> String {
        let says = |what| self.site.says([what]).unwrap_or_else(|error| format!("{error:#}"));
        format!("mif status:\n{}\nmif pvd:\n{}", says("status"), says("pvd"))
    }
}
