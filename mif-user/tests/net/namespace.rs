//! A network namespace with the two ends of one link.

use std::{
    collections::BTreeSet,
    io::Write as _,
    net::Ipv6Addr,
    process::{Command, Stdio},
    time::Duration,
};

use mif_core::pvd::event::Event;
use mif_user::net::{Message, netlink};
use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
};

use crate::watch::Watch;

/// Far more than any of this takes; a test that hangs is a failure, not a wait.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test in a fresh network namespace with the interfaces `wan` and `isp`, joined to each other and up.
pub fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        assert!(nix::unistd::geteuid().is_root(), "this test makes network namespaces: run it as root");
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace (CAP_SYS_ADMIN)");
        // Duplicate detection takes a second, in which addresses may not be used; the kernel's own solicitations would
        // be taken for ours.
        for (key, value) in [("accept_dad", "0"), ("router_solicitations", "0")] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/default/{key}"), value).expect("IPv6");
        }
        ip("link add wan type veth peer name isp");
        ip("link set wan up");
        ip("link set isp up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let body = async {
            usable_link_locals().await;
            test().await;
        };
        runtime
            .block_on(async { tokio::time::timeout(PATIENCE, body).await.expect("within the time limit") });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Waits until both interfaces have a link-local address that may be used.
pub async fn usable_link_locals() {
    let (mut watch, first) = Watch::start(netlink::RECEIVE_BUFFER).await;
    let mut missing = BTreeSet::from([index("wan"), index("isp")]);
    let mut take = |message: &Message| {
        if let Message::Event(Event::Address(at)) = message
            && at.address.is_unicast_link_local()
            && !at.tentative
        {
            missing.remove(&at.ifindex);
        }
        missing.is_empty()
    };
    if !first.iter().any(&mut take) {
        while !take(&watch.next().await) {}
    }
    watch.stop().await;
}

/// `ip -6 ARGUMENTS`, which must succeed, in the calling thread's namespace.
pub fn ip(arguments: &str) {
    let status = Command::new("ip").arg("-6").args(arguments.split(' ')).status().expect("iproute2");
    assert!(status.success(), "ip -6 {arguments}");
}

/// Many commands of `ip -6` or `ip -4` at once.
pub fn ip_batch(family: &str, commands: &str) {
    let mut child =
        Command::new("ip").args([family, "-batch", "-"]).stdin(Stdio::piped()).spawn().expect("iproute2");
    child.stdin.take().expect("piped").write_all(commands.as_bytes()).expect("ip reads");
    assert!(child.wait().expect("ip ends").success());
}

pub fn index(name: &str) -> u32 {
    if_nametoindex(name).expect("the interface exists")
}

pub fn address(text: &str) -> Ipv6Addr {
    text.parse().expect("a literal")
}
