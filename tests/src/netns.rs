//! Network namespaces without a name: they live as long as a descriptor, a thread or a process holds them.

use std::{
    ffi::OsStr,
    fmt, fs,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    panic,
    path::PathBuf,
    process::{self, Command, Stdio},
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};

use crate::{footprint::Footprint, need};

/// A network namespace. Copies of this are the same namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: Arc<str>,
    fd: Arc<OwnedFd>,
}

impl Namespace {
    /// A new one with its loopback up, and without duplicate address detection: addresses are usable at once.
    ///
    /// # Errors
    /// The lab cannot run here; the message says what it lacks.
    pub fn new(name: &str) -> Result<Self> {
        Footprint::get()?;
        let made = thread::scope(|scope| scope.spawn(unshared).join()).expect("unshared does not panic");
        let fd = made
            .with_context(|| format!("make the network namespace {name} (unshare, needs CAP_SYS_ADMIN)"))?;
        let namespace = Self { name: name.into(), fd: Arc::new(fd) };
        // The larger of `all` and the interface's value counts, and new interfaces copy `default`.
        for scope in ["all", "default"] {
            namespace.sysctl(&format!("net/ipv6/conf/{scope}/accept_dad"), 0)?;
            // A new namespace would have the machine's.
            namespace.sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"), 0)?;
        }
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// The name, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path that leads other processes to it, for `ip link ... netns` and `nsenter --net=`.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", process::id(), self.fd.as_raw_fd()).into()
    }

    /// Runs `work` on a thread that is inside. Sockets that it opens stay in the namespace.
    ///
    /// # Panics
    /// `work` did.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            self.enter().expect("a namespace that is held can be entered");
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panicked| panic::resume_unwind(panicked))
    }

    /// A command whose process will be inside.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("PATH", need::search_path());
        let fd = Arc::clone(&self.fd);
        // SAFETY: between fork and exec only setns(2) is called, on a descriptor that the closure holds.
        unsafe { command.pre_exec(move || Ok(setns(fd.as_fd(), CloneFlags::CLONE_NEWNET)?)) };
        command
    }

    /// Runs lines of iproute2 commands (without the words `ip -6`) in one go.
    ///
    /// # Errors
    /// One of them failed; the message has it and what `ip` said. The lines before it were carried out.
    pub fn ip(&self, batch: &str) -> Result<()> {
        self.ip_batch("-6", batch)
    }

    /// As [`Self::ip`], for IPv4 (without the words `ip -4`).
    ///
    /// # Errors
    /// As [`Self::ip`].
    pub fn ip4(&self, batch: &str) -> Result<()> {
        self.ip_batch("-4", batch)
    }

    fn ip_batch(&self, family: &str, batch: &str) -> Result<()> {
        let mut child = self
            .command("ip")
            .args([family, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start ip")?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // A failed line makes `ip` end before it has read all; its status tells more than the broken pipe.
        let _ = stdin.write_all(batch.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().context("wait for ip")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("ip {family} in {} failed: {}\nthe lines were:\n{batch}", self.name, said.trim());
        }
        Ok(())
    }

    /// What `ip ARGS` prints, for messages to people.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn ip_show(&self, args: &[&str]) -> Result<String> {
        let output = self.command("ip").args(args).output().context("start ip")?;
        if !output.status.success() {
            bail!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Sets a kernel parameter; `key` with slashes, as `net/ipv6/conf/all/forwarding`.
    ///
    /// # Errors
    /// There is no such parameter or the kernel refused the value.
    pub fn sysctl(&self, key: &str, value: impl fmt::Display) -> Result<()> {
        let (path, value) = (format!("/proc/sys/{key}"), value.to_string());
        // /proc/sys/net shows each thread the parameters of its own namespace.
        self.run(|| fs::write(&path, &value)).with_context(|| format!("{}: set {key} to {value}", self.name))
    }

    /// Reads a file of `/proc/net` as it is inside, for instance `if_inet6`.
    ///
    /// # Errors
    /// There is no such file.
    pub fn proc_net(&self, file: &str) -> Result<String> {
        let path = format!("/proc/thread-self/net/{file}");
        let read = || {
            let mut text = String::new();
            fs::File::open(&path)?.read_to_string(&mut text).map(|_| text)
        };
        self.run(read).with_context(|| format!("{}: read {path}", self.name))
    }

    fn enter(&self) -> nix::Result<()> {
        setns(self.fd.as_fd(), CloneFlags::CLONE_NEWNET)
    }
}

/// Takes the calling thread to a new namespace and returns that.
fn unshared() -> std::io::Result<OwnedFd> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    Ok(fs::File::open("/proc/thread-self/ns/net")?.into())
}

/// One end of a veth.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Where it lies.
    pub namespace: &'a Namespace,
    /// Its name there.
    pub interface: &'a str,
    /// Tells it from all other ends of the lab. Its link-layer address and its index are made of it, so that SLAAC addresses are
    /// the same in every run; and because no other end has that index, the kernel notices at once that a cable is plugged in.
    /// (With equal indices at both ends it takes up to a second: linkwatch_urgent_event in net/core/link_watch.c.)
    pub number: u16,
}

/// Lays a cable between two namespaces; both ends are down.
///
/// # Errors
/// A name is taken.
pub fn veth(a: End<'_>, b: End<'_>) -> Result<()> {
    let words = |end: &End<'_>| {
        let [high, low] = end.number.to_be_bytes();
        // 02: locally administered.
        format!("{} index {} address 02:00:00:00:{high:02x}:{low:02x}", end.interface, end.number)
    };
    a.namespace.ip(&format!(
        "link add {} type veth peer name {} netns {}",
        words(&a),
        words(&b),
        b.namespace.path().display(),
    ))
}

/// Whether an address has meaning on one link only: packets from or to it are not forwarded.
pub fn is_link_scope(address: impl Into<IpAddr>) -> bool {
    match address.into() {
        IpAddr::V4(address) => is_link_scope_ipv4(address),
        IpAddr::V6(address) => is_link_scope_ipv6(address),
    }
}

fn is_link_scope_ipv4(address: Ipv4Addr) -> bool {
    // 224.0.0.0/24 is the Local Network Control Block (RFC 5771 §4).
    address.octets().starts_with(&[224, 0, 0])
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_unspecified()
        || address.is_loopback()
}

fn is_link_scope_ipv6(address: Ipv6Addr) -> bool {
    /// Scope of a multicast address (RFC 4291 §2.7): 2 is link-local, 1 interface-local.
    const LINK_LOCAL_SCOPE: u16 = 2;
    match address.segments()[0] {
        first if first & 0xff00 == 0xff00 => first & 0xf <= LINK_LOCAL_SCOPE,
        first => first & 0xffc0 == 0xfe80 || address.is_unspecified() || address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_scope() {
        let table = [
            ("fe80::1", true),
            ("febf::1", true),
            ("fec0::1", false),
            ("ff02::1", true),
            ("ff01::1", true),
            ("ff05::2", false),
            ("::", true),
            ("::1", true),
            ("2001:db8::1", false),
            ("169.254.0.1", true),
            ("224.0.0.22", true),
            ("239.0.0.1", false),
            ("255.255.255.255", true),
            ("0.0.0.0", true),
            ("127.0.0.1", true),
            ("198.18.10.1", false),
        ];
        for (address, expected) in table {
            assert_eq!(is_link_scope(address.parse::<IpAddr>().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn a_namespace_has_parameters_and_interfaces_of_its_own() {
        let (one, two) = (Namespace::new("one").unwrap(), Namespace::new("two").unwrap());
        one.sysctl("net/ipv6/conf/all/forwarding", 1).unwrap();
        let forwarding = || fs::read_to_string("/proc/sys/net/ipv6/conf/all/forwarding").unwrap();
        assert_eq!((one.run(forwarding).trim(), two.run(forwarding).trim()), ("1", "0"));

        let end = |namespace, number| End { namespace, interface: "cable", number };
        veth(end(&one, 0x10), end(&two, 0x11)).unwrap();
        assert!(one.proc_net("dev").unwrap().contains("cable"));
        assert!(two.proc_net("dev").unwrap().contains("cable"));
    }

    #[test]
    fn a_failed_line_is_told() {
        let error =
            Namespace::new("one").unwrap().ip("link set lo up\nlink set nowhere up").unwrap_err().to_string();
        assert!(error.contains("nowhere"), "{error}");
    }
}
