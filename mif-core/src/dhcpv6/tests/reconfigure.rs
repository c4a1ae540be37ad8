//! Reconfigure: only with the key of the server (RFC 8415 §16.11, §18.2.11, §20.4).

use super::*;
use crate::{
    dhcpv6::reconfigure::Key,
    wire::dhcpv6::{Authentication, Rkap},
};

const KEY: [u8; 16] = *b"sixteen octets !";
/// Of the Reply that carried the key.
const COUNTER: u64 = 100;

fn with_key(answer: Answer) -> Answer {
    answer.with(DhcpOption::Authentication(Authentication::of_rkap(COUNTER, Rkap::Key(KEY))))
}

/// A client with a lease and a key, or with information and a key.
fn informed_of_the_key(settings: Settings) -> Bench {
    let mut bench = Bench::new(settings);
    if bench.client.settings().mode == Mode::Stateful {
        bench.send(MessageType::Solicit);
        bench.hear(bench.answer(MessageType::Advertise).with(DhcpOption::Preference(255)).with(ia(lease(1))));
        bench.send(MessageType::Request);
        bench.hear(with_key(bench.answer(MessageType::Reply)).with(ia(lease(1))).with(dns()));
    } else {
        bench.send(MessageType::InformationRequest);
        bench.hear(with_key(bench.answer(MessageType::Reply)).with(dns()));
    }
    assert_eq!(bench.client.asking(), None);
    bench
}

/// A Reconfigure that asks for a message of this kind, with zeros for a digest.
fn reconfigure(kind: MessageType, counter: u64) -> Answer {
    let options = vec![
        DhcpOption::ClientId(DUID.into()),
        DhcpOption::ServerId(SERVER.into()),
        DhcpOption::ReconfigureMessage(kind.into()),
        DhcpOption::Authentication(Authentication::of_rkap(counter, Rkap::Digest([0; 16]))),
    ];
    Answer(Message { kind: MessageType::Reconfigure, transaction_id: Default::default(), options })
}

/// Signs with a key and tells the client.
fn tell(bench: &mut Bench, answer: &Answer, key: [u8; 16]) -> Result<(), &'static str> {
    let reply = Authentication::of_rkap(0, Rkap::Key(key));
    let options = vec![DhcpOption::Authentication(reply)];
    let reply = Message { kind: MessageType::Reply, transaction_id: Default::default(), options };
    let key = Key::of(&reply, &SERVER).expect("a key");
    let mut octets = answer.0.emit(&DraftCodes::default()).expect("it fits");
    key.sign(&mut octets);
    let heard = bench.client.receive(&octets, bench.now, &mut || bench.draw);
    heard.map(|_| ()).map_err(|discarded| discarded.name())
}

/// The client says that it takes such messages, where a server may answer with a key (§21.20).
#[test]
fn it_is_accepted() {
    let mut bench = Bench::bound();
    bench.wait(50);
    for (message, expected) in [
        (Bench::new(stateful()).send(MessageType::Solicit), true),
        (Bench::new(information()).send(MessageType::InformationRequest), true),
        (bench.send(MessageType::Renew), true),
        (
            {
                bench.client.release(bench.now, &mut || 0);
                bench.send(MessageType::Release)
            },
            false,
        ),
    ] {
        assert_eq!(message.options.contains(&DhcpOption::ReconfigureAccept), expected, "{message:?}");
    }
}

/// RFC 2202 test case 2 by way of the option: HMAC-MD5 is what this is.
#[test]
fn the_digest_is_hmac_md5() {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut mac = Hmac::<md5::Md5>::new_from_slice(b"Jefe").expect("of any length");
    mac.update(b"what do ya want for nothing?");
    let digest = u128::from_be_bytes(mac.finalize().into_bytes().into());
    assert_eq!(digest, 0x750c_783e_6ab0_b503_eaa8_6e31_0a5d_b738);
}

/// What is asked for is sent: to whom, and when.
#[test]
fn what_is_asked_for() {
    use MessageType::{InformationRequest, Rebind, Renew};
    for (settings, asked, names_server) in [
        (stateful(), Renew, true),
        (stateful(), Rebind, false),
        (stateful(), InformationRequest, true),
        (information(), InformationRequest, true),
    ] {
        let mut bench = informed_of_the_key(settings.clone());
        assert_eq!(tell(&mut bench, &reconfigure(asked, COUNTER + 1), KEY), Ok(()));
        let sent = bench.send(asked);
        let server = sent.options.contains(&DhcpOption::ServerId(SERVER.into()));
        assert_eq!(server, names_server, "{asked:?}");
        // Until it is answered, others have no effect (§18.2.11).
        assert_eq!(
            tell(&mut bench, &reconfigure(asked, COUNTER + 2), KEY),
            Err("reconfigure-untimely"),
            "{asked:?}"
        );
        let leased = bench.addresses();
        let answer = bench.answer(MessageType::Reply).with(dns());
        bench.hear(if asked == InformationRequest { answer } else { answer.with(ia(lease(1))) });
        assert_eq!((bench.client.asking(), bench.addresses()), (None, leased), "{asked:?}");
        // At rest again, and renewed in time.
        let next = if settings.mode == Mode::Stateful { Renew } else { InformationRequest };
        bench.send(next);
    }
}

/// Everything else is discarded, and counts for nothing.
#[test]
fn what_does_not_count() {
    use MessageType::{Renew, Request};
    let right = || reconfigure(Renew, COUNTER + 1);
    let cases: Vec<(&str, Answer, [u8; 16], &str)> = vec![
        ("D6-8415-16.11-a: another key", right(), [1; 16], "reconfigure-unauthenticated"),
        ("D6-8415-20.3-a: the counter of the key", reconfigure(Renew, COUNTER), KEY, "reconfigure-replayed"),
        ("an older one", reconfigure(Renew, 1), KEY, "reconfigure-replayed"),
        ("no authentication", right().without(code::AUTHENTICATION), KEY, "reconfigure-unauthenticated"),
        (
            "a key in the place of a digest",
            with_key(right().without(code::AUTHENTICATION)),
            KEY,
            "reconfigure-unauthenticated",
        ),
        ("no server", right().without(code::SERVER_ID), KEY, "no-server-id"),
        ("another server", right().from(OTHER), KEY, "no-reconfigure-key"),
        ("no client", right().without(code::CLIENT_ID), KEY, "client-id"),
        ("nothing is asked for", right().without(code::RECONFIGURE_MESSAGE), KEY, "reconfigure-message"),
        ("a message of no use", reconfigure(Request, COUNTER + 1), KEY, "reconfigure-message"),
    ];
    let mut bench = informed_of_the_key(stateful());
    for (row, message, key, reason) in cases {
        assert_eq!(tell(&mut bench, &message, key), Err(reason), "{row}");
        assert_eq!(bench.client.asking(), None, "{row}");
    }
    assert_eq!(tell(&mut bench, &right(), KEY), Ok(()), "forged ones have not moved the counter");
    assert_eq!(tell(&mut bench, &right(), KEY), Err("reconfigure-replayed"));

    // Without a key none counts, and without leases there is nothing to renew.
    let mut bench = Bench::bound();
    assert_eq!(tell(&mut bench, &right(), KEY), Err("no-reconfigure-key"));
    let mut bench = informed_of_the_key(information());
    assert_eq!(tell(&mut bench, &right(), KEY), Err("reconfigure-untimely"));
}

/// A server that wants to be asked and then is silent keeps the client from nothing.
#[test]
fn the_server_is_silent() {
    let mut bench = informed_of_the_key(stateful());
    assert_eq!(tell(&mut bench, &reconfigure(MessageType::InformationRequest, COUNTER + 1), KEY), Ok(()));
    let began = bench.now;
    bench.send(MessageType::InformationRequest);
    // T1 is 50 s after the lease.
    loop {
        let message = bench.step();
        if message.kind == MessageType::Renew {
            break;
        }
        assert_eq!(message.kind, MessageType::InformationRequest);
    }
    assert_eq!(began.until(bench.now).as_secs(), 50);

    let mut bench = informed_of_the_key(information());
    assert_eq!(tell(&mut bench, &reconfigure(MessageType::InformationRequest, COUNTER + 1), KEY), Ok(()));
    for _ in 0..10 {
        let message = bench.send(MessageType::InformationRequest);
        assert!(message.options.contains(&DhcpOption::ServerId(SERVER.into())));
    }
    let message = bench.send(MessageType::InformationRequest);
    assert!(!message.options.contains(&DhcpOption::ServerId(SERVER.into())), "any server");
}
