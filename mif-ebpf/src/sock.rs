//! The socket hooks.

use core::mem;

use aya_ebpf::{
    bindings::bpf_sock,
    helpers::generated::{bpf_get_netns_cookie, bpf_set_retval, bpf_setsockopt},
    programs::SockAddrContext,
};
use mif_common::{
    Reason,
    abi::{Config, Hook, NO_PVD, SocketState},
    decide::{self, Outcome, Rule, Socket, Verdict},
};

use crate::{
    PROCEED, cookie,
    family::{self, Family},
    maps,
    report::{self, Subject},
    tables::{self, CurrentTask, Maps},
    unicast_if,
};

/// A sock_addr program refuses the call.
const REFUSE: i32 = 0;
/// `errno.h`
const ENETUNREACH: i32 = 101;
/// `errno.h`
const EADDRNOTAVAIL: i32 = 99;
/// `asm-generic/socket.h`
const SOL_SOCKET: i32 = 1;
/// `asm-generic/socket.h`: bind to an interface by its index.
const SO_BINDTOIFINDEX: i32 = 62;
/// `linux/net.h`
const SOCK_STREAM: u32 = 1;

pub fn connect<F: Family>(ctx: &SockAddrContext) -> Option<i32> {
    let (config, mut socket) = socket::<F>(ctx)?;
    let noted = recall(ctx, &mut socket);
    if !noted {
        note_own_interface(ctx)?;
    }
    if let Some(reason) = decide::exempt(&socket.destination) {
        // After the hook the kernel takes `::` for `::1` (`__ip6_datagram_connect`, `tcp_v6_connect`).
        let is_own = socket.destination.is_loopback() || socket.destination.is_unspecified();
        if release(ctx, &socket, noted) || !is_own {
            report::count(reason, NO_PVD, 0);
            return None;
        }
        return Some(stuck());
    }
    let rule = Rule::of(&Maps, config, &socket.destination, &CurrentTask);
    // An interface that a hook bound is given back where another one is chosen.
    if !is_stream(ctx) {
        socket.unicast_if = unicast_if::chosen(ctx, &socket.destination);
    }
    let mut outcome = decide::connect(&Maps, &rule, &socket);
    match outcome.verdict {
        Verdict::Apply => apply(ctx, &rule, &socket, noted, &mut outcome),
        // The socket is on its way somewhere else than when a hook bound its interface.
        Verdict::Pass if !matches!(outcome.reason, Reason::Consistent | Reason::Observed) => {
            if !release(ctx, &socket, noted) && matches!(outcome.reason, Reason::NotOurs) {
                return Some(stuck());
            }
        }
        Verdict::Pass | Verdict::Refuse => {}
    }
    Some(conclude(F::CONNECT, &outcome, &rule, &socket, ENETUNREACH))
}

pub fn sendmsg<F: Family>(ctx: &SockAddrContext) -> Option<i32> {
    let (config, mut socket) = socket::<F>(ctx)?;
    if let Some(reason) = decide::exempt(&socket.destination) {
        report::count(reason, NO_PVD, 0);
        return None;
    }
    // Of nearly every datagram the socket is bound to nothing, and there is nothing that a note could be about. A binding
    // is not this datagram's to change.
    if socket.is_bound() {
        recall(ctx, &mut socket);
    }
    let rule = Rule::of(&Maps, config, &socket.destination, &CurrentTask);
    if socket.ifindex == 0 {
        socket.unicast_if = unicast_if::chosen(ctx, &socket.destination);
    }
    let named = F::message_source(ctx);
    if !named.is_unspecified() {
        socket.source = named;
    }
    let outcome = decide::sendmsg(&Maps, &rule, &socket);
    if matches!(outcome.verdict, Verdict::Apply) {
        F::set_message_source(ctx, &outcome.source);
    }
    Some(conclude(F::SENDMSG, &outcome, &rule, &socket, ENETUNREACH))
}

pub fn bind<F: Family>(ctx: &SockAddrContext) -> Option<i32> {
    let config = config(ctx)?;
    let address = F::address(ctx);
    cookie::note(ctx, config, &address);
    // Most servers bind to no address; and what is of no interest to any policy is none of ours either.
    if address.is_unspecified() {
        return None;
    }
    let rule = Rule::of(&Maps, config, &address, &CurrentTask);
    let outcome = decide::bind(&Maps, &rule, &address);
    if !matches!(outcome.verdict, Verdict::Refuse) {
        // The source is the application's, and so is an interface that it has bound or will bind; also where the socket stays
        // without a port (IP_BIND_ADDRESS_NO_PORT).
        maps::SOCKET.get_or_insert_ptr_mut(ctx, Some(&mut SocketState::default()));
        return None;
    }
    let socket = Socket { source: address, ..Socket::default() };
    Some(conclude(F::BIND, &outcome, &rule, &socket, EADDRNOTAVAIL))
}

/// Whether this is TCP or its kind. Asked of the context each time: for the verifier the answers have nothing to do with each other.
#[inline(always)]
fn is_stream(ctx: &SockAddrContext) -> bool {
    // SAFETY: the context is valid for the program's run.
    unsafe { (*ctx.sock_addr).type_ == SOCK_STREAM }
}

/// The configuration, where there is one and the socket lives in the namespace that it is for.
#[inline(always)]
fn config(ctx: &SockAddrContext) -> Option<&'static Config> {
    let Some(config) = tables::config() else {
        report::count(Reason::NotConfigured, NO_PVD, 0);
        return None;
    };
    // SAFETY: the context is the one the program was called with.
    if unsafe { bpf_get_netns_cookie(ctx.sock_addr.cast()) } != config.netns_cookie {
        report::count(Reason::OtherNamespace, NO_PVD, 0);
        return None;
    }
    Some(config)
}

/// Makes a note of an interface that the application bound. Reads the socket anew, so that the verifier does not walk all that follows
/// for each answer.
#[inline(always)]
fn note_own_interface(ctx: &SockAddrContext) -> Option<()> {
    let socket = bound(ctx)?;
    if socket.has_application_interface(is_stream(ctx)) {
        maps::SOCKET.get_or_insert_ptr_mut(ctx, Some(&mut SocketState::default()));
    }
    Some(())
}

/// The socket as it is, and the configuration; `None` where it is none of our business.
#[inline(always)]
fn socket<F: Family>(ctx: &SockAddrContext) -> Option<(&'static Config, Socket)> {
    let config = config(ctx)?;
    let destination = F::address(ctx);
    let socket = Socket { destination, ..bound(ctx)? };
    Some((config, socket))
}

/// What the socket is bound to.
#[inline(always)]
fn bound(ctx: &SockAddrContext) -> Option<Socket> {
    // SAFETY: every sock_addr context has its socket; the verifier checks the null test.
    let sk: &bpf_sock = unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk.as_ref()? };
    Some(Socket {
        source: family::bound_address(sk),
        ifindex: sk.bound_dev_if,
        has_port: sk.src_port != 0,
        ..Socket::default()
    })
}

/// Finds out what a hook did to the socket before, and whether there is a note of it.
#[inline(always)]
fn recall(ctx: &SockAddrContext, socket: &mut Socket) -> bool {
    // SAFETY: the pointer is the storage of this socket, null without one.
    let note = unsafe { maps::SOCKET.get_ptr_mut(ctx).as_ref() };
    match note {
        Some(ours) => socket.ours = *ours,
        None => socket.presume_ours(&Maps, is_stream(ctx)),
    }
    note.is_some()
}

/// Takes back the interface that a hook bound, for a destination that is not ours to decide: loopback, the host itself, a
/// container. What the application bound stays. False: the kernel lets nobody without CAP_NET_RAW do that
/// (`sock_bindtoindex_locked`).
#[inline(always)]
fn release(ctx: &SockAddrContext, socket: &Socket, noted: bool) -> bool {
    if !socket.has_our_interface(&Maps, noted) {
        return true;
    }
    if !set_interface(ctx, 0) {
        return false;
    }
    // SAFETY: the pointer is the storage of this socket, null without one.
    if noted && let Some(ours) = unsafe { maps::SOCKET.get_ptr_mut(ctx).as_mut() } {
        ours.ifindex = 0;
    }
    true
}

/// Refuses a connect to the host itself on a socket that is bound to an interface which leads elsewhere: nothing that it sends would
/// arrive. Not inlined, and without an event, for the verifier's sake.
#[inline(never)]
fn stuck() -> i32 {
    report::count(Reason::DeviceFailed, NO_PVD, 0);
    // SAFETY: the helper only stores the value.
    unsafe { bpf_set_retval(-ENETUNREACH) };
    REFUSE
}

/// Binds source and interface. The source first: an interface without the source would be *source of one PvD on the
/// interface of another* for whoever comes after us.
#[inline(always)]
fn apply(ctx: &SockAddrContext, rule: &Rule, socket: &Socket, noted: bool, outcome: &mut Outcome) {
    // The kernel lets nobody without CAP_NET_RAW exchange an interface (`sock_bindtoindex_locked`): then the source stays too.
    let exchanged = outcome.ifindex != 0 && socket.ifindex != 0;
    if exchanged && !set_interface(ctx, outcome.ifindex) {
        *outcome = rule.failed(Reason::DeviceFailed, outcome.pvd);
        return;
    }
    if !outcome.source.is_unspecified() && !family::bind(ctx, outcome.source) {
        *outcome = rule.failed(Reason::BindFailed, outcome.pvd);
        return;
    }
    if outcome.ifindex != 0 && !exchanged && !set_interface(ctx, outcome.ifindex) {
        if rule.strict() {
            *outcome = rule.failed(Reason::DeviceFailed, outcome.pvd);
            return;
        }
        outcome.ifindex = 0;
        outcome.reason = Reason::DeviceFailed;
    }
    if !noted && socket.is_ours_alone() {
        return;
    }
    let mut state = SocketState {
        source: if outcome.source.is_unspecified() { socket.ours.source } else { outcome.source },
        ifindex: if outcome.ifindex == 0 { socket.ours.ifindex } else { outcome.ifindex },
    };
    let stored = maps::SOCKET.get_or_insert_ptr_mut(ctx, Some(&mut state));
    if !stored.is_null() {
        // SAFETY: not null, so it is this socket's storage.
        unsafe { *stored = state };
    }
}

#[inline(always)]
fn set_interface(ctx: &SockAddrContext, ifindex: u32) -> bool {
    let mut value = ifindex;
    // SAFETY: the value lives on this stack and has the length given.
    unsafe {
        bpf_setsockopt(
            ctx.sock_addr.cast(),
            SOL_SOCKET,
            SO_BINDTOIFINDEX,
            (&raw mut value).cast(),
            mem::size_of::<u32>() as i32,
        ) == 0
    }
}

#[inline(always)]
fn conclude(hook: Hook, outcome: &Outcome, rule: &Rule, socket: &Socket, errno: i32) -> i32 {
    let subject =
        Subject { hook, source: socket.source, destination: socket.destination, ifindex: socket.ifindex };
    report::outcome(outcome, rule, &subject, 0);
    if matches!(outcome.verdict, Verdict::Refuse) {
        // SAFETY: the helper only stores the value.
        unsafe { bpf_set_retval(-errno) };
        return REFUSE;
    }
    PROCEED
}
