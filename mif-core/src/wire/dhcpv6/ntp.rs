//! NTP Server (RFC 5908 §4): one time source, in a suboption. Several servers are several options.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::{
    EmitError, OptionError, ParseError,
    tlv::{self, Ignored, Tlv},
};
use crate::wire::{self, DomainName};

/// Suboptions (§4.1 to §4.3).
const SERVER_ADDRESS: u16 = 1;
const MULTICAST_ADDRESS: u16 = 2;
const SERVER_NAME: u16 = 3;

/// Option 56.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NtpServer {
    /// A server's address.
    Address(Ipv6Addr),
    /// A group that a server sends to.
    Multicast(Ipv6Addr),
    /// A server's name.
    Name(DomainName),
}

impl NtpServer {
    /// Reads the data of an option. `Ok(None)`: ignored.
    pub(super) fn parse(at: &Tlv<'_>, ignored: &mut Ignored) -> Result<Option<Self>, ParseError> {
        let mut sources = Vec::new();
        for option in tlv::split(at.data, at.offset_of(0))? {
            let source = match option.code {
                SERVER_ADDRESS => address(option.data).and_then(|address| {
                    wire::check_server(address)?;
                    Ok(Self::Address(address))
                }),
                MULTICAST_ADDRESS => address(option.data).and_then(|address| {
                    if address.is_multicast() {
                        Ok(Self::Multicast(address))
                    } else {
                        Err(wire::OptionError::Address { address }.into())
                    }
                }),
                SERVER_NAME => name(option.data).map(Self::Name),
                // §4: unknown suboptions are skipped.
                _ => continue,
            };
            sources.push(source);
        }
        let count = sources.len();
        let source = match sources.pop() {
            Some(source) if count == 1 => source,
            _ => Err(OptionError::TimeSources { count }),
        };
        Ok(ignored.unless(at, source))
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) -> Result<(), EmitError> {
        let (code, data) = match self {
            Self::Address(address) => (SERVER_ADDRESS, address.octets().to_vec()),
            Self::Multicast(address) => (MULTICAST_ADDRESS, address.octets().to_vec()),
            Self::Name(name) => {
                let mut octets = Vec::new();
                name.emit(&mut octets);
                (SERVER_NAME, octets)
            }
        };
        tlv::put(out, code, |out| {
            out.extend_from_slice(&data);
            Ok(())
        })
    }
}

fn address(data: &[u8]) -> Result<Ipv6Addr, OptionError> {
    let octets: Result<[u8; 16], _> = data.try_into();
    octets.map(Ipv6Addr::from).map_err(|_| OptionError::Length { octets: data.len(), expected: "16" })
}

fn name(data: &[u8]) -> Result<DomainName, OptionError> {
    let (name, taken) = DomainName::from_wire(data)?;
    if taken == data.len() {
        Ok(name)
    } else {
        Err(wire::OptionError::NameLength { name: taken, field: data.len() }.into())
    }
}
