//! Router Advertisements in, Router Solicitations out.

use std::{
    io::{IoSlice, IoSliceMut},
    net::{Ipv6Addr, SocketAddrV6},
    os::fd::AsRawFd as _,
    sync::Arc,
};

use mif_core::{time::Time, wire::RouterAdvertisement};
use mif_user::{
    clock,
    net::{
        self, Loss, Message,
        ra::{RaSocket, SolicitError},
    },
};
use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt, sockopt,
    },
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;

use crate::namespace::{PATIENCE, address, in_namespace, index, ip};

/// A raw ICMPv6 socket as a router would have, on `isp`.
fn router() -> Socket {
    let socket =
        Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).expect("a raw socket (CAP_NET_RAW)");
    socket.set_multicast_loop_v6(false).expect("the kernel has it");
    socket.join_multicast_v6(&address("ff02::2"), index("isp")).expect("the kernel has it");
    setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true).expect("the kernel has it");
    socket
}

/// Sends an ICMPv6 message out of `isp`, so that it arrives on `wan`; the kernel fills in the checksum.
fn send_from_isp(router: &Socket, bytes: &[u8], hop_limit: i32) {
    let isp = index("isp");
    let all_nodes = SockaddrIn6::from(SocketAddrV6::new(address("ff02::1"), 0, 0, isp));
    let from = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: [0; 16] }, ipi6_ifindex: isp };
    let control = [ControlMessage::Ipv6PacketInfo(&from), ControlMessage::Ipv6HopLimit(&hop_limit)];
    let data = [IoSlice::new(bytes)];
    sendmsg(router.as_raw_fd(), &data, &control, MsgFlags::empty(), Some(&all_nodes)).expect("sent");
}

/// Sends an ICMPv6 message out of `isp` behind a Fragment header although it is whole (RFC 6946).
fn send_atomic_fragment(bytes: &[u8]) {
    /// Next header values (IANA protocol numbers).
    const FRAGMENT: u8 = 44;
    const ICMPV6: u8 = 58;
    /// Octets of a Fragment header (RFC 8200 §4.5).
    const FRAGMENT_HEADER: usize = 8;
    let (source, all_nodes) = (link_local("isp"), address("ff02::1"));
    let whole = RouterAdvertisement::parse(bytes).expect("a good one").advertisement;
    let message = whole.emit_between(source, all_nodes).expect("as it was");
    let length = u16::try_from(FRAGMENT_HEADER + message.len()).expect("a small packet");
    let packet = [
        &[0x60, 0, 0, 0][..],
        &length.to_be_bytes(),
        &[FRAGMENT, 255],
        &source.octets(),
        &all_nodes.octets(),
        // Offset 0, no more fragments, an identification.
        &[ICMPV6, 0, 0, 0, 0, 0, 0, 1],
        &message,
    ]
    .concat();
    // The whole packet is ours (raw(7)).
    let raw = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))
        .expect("a raw socket (CAP_NET_RAW)");
    raw.send_to(&packet, &SocketAddrV6::new(all_nodes, 0, 0, index("isp")).into()).expect("sent");
}

/// An advertisement without options: hop limit 64, preference High, lifetime 1800 s.
const ADVERTISEMENT: [u8; 16] = [0x86, 0, 0, 0, 0x40, 0x08, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];

fn link_local(name: &str) -> Ipv6Addr {
    getifaddrs()
        .expect("addresses")
        .filter(|entry| entry.interface_name == name)
        .filter_map(|entry| Some(entry.address?.as_sockaddr_in6()?.ip()))
        .find(Ipv6Addr::is_unicast_link_local)
        .expect("made when the link came up")
}

fn ethernet_address(name: &str) -> [u8; 6] {
    getifaddrs()
        .expect("addresses")
        .filter(|entry| entry.interface_name == name)
        .find_map(|entry| entry.address?.as_link_addr()?.addr())
        .expect("veth is Ethernet")
}

/// The socket, with its task running beside the test.
fn advertisements() -> (Arc<RaSocket>, mpsc::Receiver<Message>) {
    let socket = Arc::new(RaSocket::open().expect("a raw socket (CAP_NET_RAW)"));
    let (sender, messages) = mpsc::channel(net::CHANNEL_MESSAGES);
    let reader = Arc::clone(&socket);
    tokio::spawn(async move { reader.run(sender).await });
    (socket, messages)
}

#[test]
fn advertisements_arrive_with_what_the_parser_needs() {
    in_namespace(async || {
        let (_socket, mut messages) = advertisements();
        let router = router();
        // Other types do not come; a wrong hop limit does, because to judge it is the parser's work.
        let solicitation = [0x85, 0, 0, 0, 0, 0, 0, 0];
        for (bytes, hop_limit) in [(&solicitation[..], 255), (&ADVERTISEMENT, 255), (&ADVERTISEMENT, 64)] {
            send_from_isp(&router, bytes, hop_limit);
        }
        for hop_limit in [255, 64] {
            let Some(Message::RouterAdvertisement(ra)) = messages.recv().await else {
                panic!("nothing was lost")
            };
            assert_eq!((ra.ifindex, ra.hop_limit), (index("wan"), hop_limit));
            assert_eq!((ra.source, ra.destination), (link_local("isp"), address("ff02::1")));
            assert_eq!((ra.bytes[..2].to_vec(), &ra.bytes[4..]), (vec![0x86, 0], &ADVERTISEMENT[4..]));
            assert_ne!(ra.bytes[2..4], [0, 0], "with the checksum, for the parser to check");
            assert!(ra.received > Time(0) && ra.received <= clock::now());
        }
    });
}

/// RA-6980-5-a: the kernel hands fragmented ones to raw sockets whatever `suppress_frag_ndisc` says; the parser is told.
#[test]
fn fragmented_advertisements_are_marked() {
    /// More than an Ethernet frame: the kernel makes two fragments of it.
    const LARGE: usize = 2048;
    in_namespace(async || {
        let (_socket, mut messages) = advertisements();
        let router = router();
        let unknown = [[250, 1, 0, 0, 0, 0, 0, 0]; (LARGE - ADVERTISEMENT.len()) / 8];
        let large = [&ADVERTISEMENT[..], unknown.as_flattened()].concat();
        send_from_isp(&router, &ADVERTISEMENT, 255);
        send_from_isp(&router, &large, 255);
        send_atomic_fragment(&ADVERTISEMENT);
        for (what, octets, fragmented) in
            [("whole", 16, false), ("two fragments", LARGE, true), ("an atomic fragment", 16, true)]
        {
            let Some(Message::RouterAdvertisement(ra)) = messages.recv().await else {
                panic!("nothing was lost")
            };
            assert_eq!((ra.bytes.len(), ra.fragmented), (octets, fragmented), "{what}");
        }
    });
}

#[test]
fn lost_advertisements_are_counted() {
    /// More than fits: the kernel doubles the buffer, and counts more than 512 octets for the smallest packet.
    const FLOOD: u32 = 10_000;
    in_namespace(async || {
        let (_socket, mut messages) = advertisements();
        let router = router();
        // The runtime has one thread, and it is here: nobody reads meanwhile.
        for _ in 0..FLOOD {
            send_from_isp(&router, &ADVERTISEMENT, 255);
        }
        let (mut received, mut lost, mut sent) = (0, 0, FLOOD);
        while received + lost < sent {
            match messages.try_recv() {
                Ok(Message::RouterAdvertisement(_)) => received += 1,
                Ok(Message::Lost(Loss::RouterAdvertisements(count))) => lost += count,
                Ok(other) => panic!("{other:?}"),
                // The count comes with the next packet that is not lost.
                Err(_) => {
                    send_from_isp(&router, &ADVERTISEMENT, 255);
                    sent += 1;
                    tokio::task::yield_now().await;
                }
            }
        }
        assert!(lost > 0, "{received} of {sent} fit");
        assert_eq!(received + lost, sent);
    });
}

/// RS-4861-6.3.7-a (destination and hop limit), RS-4861-4.1-a (with an address, the option is there).
#[test]
fn solicitations_leave() {
    in_namespace(async || {
        let (socket, _messages) = advertisements();
        let router = router();
        let wan = index("wan");
        socket.send_rs(wan).expect("sent");

        router.set_read_timeout(Some(PATIENCE)).expect("the kernel has it");
        let (mut buffer, mut control) = ([0; 256], nix::cmsg_space!(libc::c_int));
        // Multicast reports and the like may come first.
        let (length, source, hop_limit) = loop {
            let mut data = [IoSliceMut::new(&mut buffer)];
            let packet =
                recvmsg::<SockaddrIn6>(router.as_raw_fd(), &mut data, Some(&mut control), MsgFlags::empty())
                    .expect("the solicitation arrives");
            let hop_limit = packet.cmsgs().expect("they fit").find_map(|message| match message {
                ControlMessageOwned::Ipv6HopLimit(limit) => Some(limit),
                _ => None,
            });
            let (length, source) = (packet.bytes, packet.address.expect("IPv6").ip());
            if buffer[0] == 0x85 {
                break (length, source, hop_limit);
            }
        };
        assert_eq!((source, hop_limit), (link_local("wan"), Some(255)));
        assert_eq!(buffer[4..length], [&[0, 0, 0, 0, 1, 1][..], &ethernet_address("wan")].concat());

        ip("addr flush dev wan");
        let refused = socket.send_rs(wan);
        assert!(matches!(refused, Err(SolicitError::NoAddress)), "{refused:?}");
        ip("link del wan");
        let refused = socket.send_rs(wan);
        assert!(matches!(refused, Err(SolicitError::NoInterface)), "{refused:?}");
    });
}
