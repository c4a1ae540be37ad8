//! Who may make the client ask: Reconfigure messages and the key that proves who sent them (RFC 8415 §16.11, §18.2.11, §20.4).
//!
//! A server that a client tells that it accepts Reconfigure messages sends a key in its Reply, in the clear: it proves that a later
//! Reconfigure comes from whoever was the server then, and nothing more. Without a key no Reconfigure counts. The key is kept in
//! memory only: after a restart a Reconfigure has no effect until the next Reply with a key.

use core::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;

use super::answer::Discarded;
use crate::wire::dhcpv6::{
    Authentication, DhcpOption, Message, MessageType, Rkap,
    authentication::{RKAP_LEN, digest_at},
};

/// A server's key.
#[derive(Clone, Eq, PartialEq)]
pub struct Key {
    server: Vec<u8>,
    key: [u8; RKAP_LEN],
    /// Of the last message that counted.
    replay_detection: u64,
}

impl fmt::Debug for Key {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, replay_detection, .. } = self;
        let mut shown = f.debug_struct("Key");
        shown.field("server", server).field("replay_detection", replay_detection).finish_non_exhaustive()
    }
}

impl Key {
    /// The key that a Reply of this server carries, if it does.
    #[must_use]
    pub fn of(reply: &Message, server: &[u8]) -> Option<Self> {
        let Authentication { replay_detection, .. } = authentication(reply)?;
        match authentication(reply)?.rkap()? {
            Rkap::Key(key) => Some(Self { server: server.into(), key, replay_detection: *replay_detection }),
            Rkap::Digest(_) => None,
        }
    }

    /// HMAC-MD5 over the datagram with zeros in the place of the digest.
    fn mac(&self, datagram: &[u8], digest: core::ops::Range<usize>) -> Hmac<Md5> {
        let mut mac = Hmac::<Md5>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        let (before, behind) = (&datagram[..digest.start], &datagram[digest.end..]);
        mac.update(before);
        mac.update(&[0; RKAP_LEN]);
        mac.update(behind);
        mac
    }

    /// Writes the digest into a datagram, in which there are zeros: what a server does.
    #[cfg(any(test, feature = "testing"))]
    pub fn sign(&self, datagram: &mut [u8]) {
        if let Some(digest) = digest_at(datagram) {
            let mac = self.mac(datagram, digest.clone()).finalize().into_bytes();
            datagram[digest].copy_from_slice(&mac);
        }
    }
}

/// What a Reconfigure asks for: a Renew, a Rebind or an Information-request.
///
/// # Errors
/// Why it does not count.
pub fn check(
    message: &Message,
    datagram: &[u8],
    client_id: &[u8],
    key: Option<&mut Key>,
) -> Result<MessageType, Discarded> {
    let (mut server, mut client, mut asked) = (None, None, None);
    for option in &message.options {
        match option {
            DhcpOption::ServerId(duid) => server = Some(&duid[..]),
            DhcpOption::ClientId(duid) => client = Some(&duid[..]),
            DhcpOption::ReconfigureMessage(kind) => asked = Some(MessageType::from(*kind)),
            _ => {}
        }
    }
    let server = server.ok_or(Discarded::NoServerId)?;
    if client != Some(client_id) {
        return Err(Discarded::ClientId);
    }
    let asked = asked.ok_or(Discarded::ReconfigureMessage)?;
    if !matches!(asked, MessageType::Renew | MessageType::Rebind | MessageType::InformationRequest) {
        return Err(Discarded::ReconfigureMessage);
    }
    let key = key.filter(|key| key.server == server).ok_or(Discarded::NoReconfigureKey)?;
    let authentication = authentication(message).ok_or(Discarded::Unauthenticated)?;
    let (Some(Rkap::Digest(digest)), Some(at)) = (authentication.rkap(), digest_at(datagram)) else {
        return Err(Discarded::Unauthenticated);
    };
    // In constant time.
    key.mac(datagram, at).verify_slice(&digest).map_err(|_| Discarded::Unauthenticated)?;
    // §20.3; after the digest, so that no forged counter moves it.
    if authentication.replay_detection <= key.replay_detection {
        return Err(Discarded::Replayed);
    }
    key.replay_detection = authentication.replay_detection;
    Ok(asked)
}

fn authentication(message: &Message) -> Option<&Authentication> {
    message.options.iter().find_map(|option| match option {
        DhcpOption::Authentication(authentication) => Some(authentication),
        _ => None,
    })
}
