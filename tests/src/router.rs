//! A provider's router: forwards, filters by source (BCP 38), counts what it filtered, advertises.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use mif_core::wire::RouterAdvertisement;

use crate::{
    internet::Internet,
    isp::Isp,
    netns::{End, Namespace, veth},
    ra_sender::RaSender,
    radvd::Radvd,
    tap::{Seen, Tap},
};

/// The router's interface to the host.
pub const LAN: &str = "lan";
/// The router's interface to the internet.
pub const WAN: &str = "wan";

/// Who speaks for the routers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Daemon {
    /// The real radvd.
    Radvd,
    /// The lab's own sender, which needs nothing and can say everything.
    Embedded,
}

/// A router between the host and the internet.
#[derive(Debug)]
pub struct Router {
    isp: Isp,
    namespace: Namespace,
    tap: Tap,
    voice: Option<Voice>,
}

#[derive(Debug)]
enum Voice {
    Radvd(Radvd),
    Embedded(RaSender),
}

impl Router {
    /// A router whose cable to the host's side ends in `link` as an interface called like the provider. It is silent.
    ///
    /// # Errors
    /// The kernel refused a step.
    pub fn new(isp: Isp, link: &Namespace, internet: &Internet) -> Result<Self> {
        let namespace = Namespace::new(isp.name)?;
        namespace.sysctl("net/ipv6/conf/all/forwarding", 1)?;
        namespace.sysctl("net/ipv4/conf/all/forwarding", 1)?;
        let end = |namespace, interface, number| End { namespace, interface, number };
        /// Set in the host's end of a cable, where the router's has the provider's number.
        const HOST_SIDE: u16 = 0x100;
        veth(end(&namespace, LAN, isp.number), end(link, isp.name, isp.number | HOST_SIDE))?;
        // The link-local address on the host's link is fixed: easier to read than one made from a link-layer address.
        const NO_LINK_LOCAL: u8 = 1;
        namespace.sysctl(&format!("net/ipv6/conf/{LAN}/addr_gen_mode"), NO_LINK_LOCAL)?;
        // The filter is two policy rules, which only forwarded packets meet: those for the router itself and for multicast
        // groups are found in table local, whose rule comes first. (One rule with `not` would not do: it inverts `iif` as
        // well, see fib_rule_match in the kernel's net/core/fib_rules.c.) Blackhole and not prohibit: such filters are silent.
        namespace.ip(&format!(
            "rule add pref 10 iif {LAN} from {own} lookup main\n\
             rule add pref 11 iif {LAN} blackhole\n\
             addr add {link_local}/64 dev {LAN} nodad\n\
             addr add {address}/{length} dev {LAN} nodad\n\
             link set {LAN} up",
            own = isp.prefix,
            link_local = isp.link_local(),
            address = isp.router_address(),
            length = isp.lan.prefix_len(),
        ))?;
        namespace.ip4(&format!(
            "rule add pref 10 iif {LAN} from {own} lookup main\n\
             rule add pref 11 iif {LAN} blackhole\n\
             addr add {address}/{length} dev {LAN}",
            own = isp.prefix_ipv4,
            address = isp.gateway_ipv4(),
            length = isp.lan_ipv4.prefix_len(),
        ))?;
        internet.connect(&isp, &namespace, WAN)?;
        let tap = Tap::new(&namespace, LAN)?;
        Ok(Self { isp, namespace, tap, voice: None })
    }

    /// Whose it is.
    pub fn isp(&self) -> &Isp {
        &self.isp
    }

    /// Where it runs.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Every packet that came from the host, before the filter.
    pub fn tap(&self) -> &Tap {
        &self.tap
    }

    /// The packets that came from the host with a source that is not the provider's: the filter dropped them.
    ///
    /// # Errors
    /// See [`Tap::seen`].
    pub fn foreign(&self) -> Result<Vec<Seen>> {
        let mut seen = self.tap.seen()?;
        seen.retain(|packet| self.is_foreign(packet.headers.source));
        Ok(seen)
    }

    /// Whether the filter drops this source.
    pub fn is_foreign(&self, source: IpAddr) -> bool {
        !self.isp.owns(source)
    }

    /// Starts to advertise by `daemon`; one that spoke before is killed.
    ///
    /// # Errors
    /// The daemon did not start, or has no words for what it shall say.
    pub fn speak(&mut self, daemon: Daemon, advertisement: &RouterAdvertisement) -> Result<()> {
        self.voice = None;
        self.voice = Some(match daemon {
            Daemon::Radvd => Voice::Radvd(Radvd::start(&self.namespace, LAN, advertisement)?),
            Daemon::Embedded => {
                let sender = RaSender::new(&self.namespace, LAN)?;
                sender.advertise(advertisement.emit()?)?;
                Voice::Embedded(sender)
            }
        });
        Ok(())
    }

    /// Changes what it advertises, at once.
    ///
    /// # Errors
    /// It was silent, or as [`Self::speak`].
    pub fn advertise(&mut self, advertisement: &RouterAdvertisement) -> Result<()> {
        match self.voice.as_mut().with_context(|| format!("{} does not advertise yet", self.isp.name))? {
            Voice::Radvd(radvd) => radvd.advertise(advertisement).map(|_| ()),
            Voice::Embedded(sender) => sender.advertise(advertisement.emit()?),
        }
    }

    /// Stops to advertise, after an advertisement of router lifetime 0 (RFC 4861 §6.2.5).
    ///
    /// # Errors
    /// The daemon did not take its leave.
    pub fn withdraw(&mut self) -> Result<()> {
        match self.voice.take() {
            None => Ok(()),
            Some(Voice::Radvd(radvd)) => radvd.stop().map(|_| ()),
            Some(Voice::Embedded(sender)) => {
                let mut last = self.isp.advertisement();
                last.header.router_lifetime = 0;
                sender.send(&last.emit()?)
            }
        }
    }

    /// Stops to advertise without a word, as in a power cut. It goes on forwarding.
    pub fn fall_silent(&mut self) {
        self.voice = None;
    }
}
