//! The address selection policy of the file, and whether networks' count (RFC 6724 §2.1, RFC 7078 §3).

use ipnet::IpNet;
use mif_core::{
    family::mapped_net,
    pvd::limits::POLICY_ROWS_PER_PVD,
    select::{
        policy_table::{
            PolicyTable, Row,
            in_force::{Reach, Settings, Use},
        },
        rfc6724::Privacy,
    },
};
use serde::Deserialize;
use toml::Spanned;

use super::file::Mistake;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileAddressSelection {
    #[serde(default)]
    distributed: UseName,
    #[serde(default)]
    reach: ReachName,
    privacy: Option<PrivacyName>,
    rows: Option<Vec<Spanned<FileRow>>>,
}

/// [`Use`]; through a string, for a message in this file's words.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(try_from = "String")]
struct UseName(Use);

impl TryFrom<String> for UseName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "unless-configured" => Ok(Self(Use::UnlessConfigured)),
            "always" => Ok(Self(Use::Always)),
            "never" => Ok(Self(Use::Never)),
            _ => {
                Err(format!("`{name}` is not known here, expected `unless-configured`, `always` or `never`"))
            }
        }
    }
}

/// [`Reach`], in the same way.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(try_from = "String")]
struct ReachName(Reach);

impl TryFrom<String> for ReachName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "pvd" => Ok(Self(Reach::Pvd)),
            "host" => Ok(Self(Reach::Host)),
            _ => Err(format!("`{name}` is not known here, expected `pvd` or `host`")),
        }
    }
}

/// [`Privacy`], in the same way.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct PrivacyName(Privacy);

impl TryFrom<String> for PrivacyName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "temporary" => Ok(Self(Privacy::Temporary)),
            "public" => Ok(Self(Privacy::Public)),
            _ => Err(format!("`{name}` is not known here, expected `temporary` or `public`")),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRow {
    prefix: PrefixText,
    precedence: u8,
    label: u8,
}

/// A prefix of either family, as people write it.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct PrefixText(IpNet);

impl TryFrom<String> for PrefixText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|_| format!("`{text}` is no prefix, expected one such as `2001:db8::/32`"))
    }
}

impl FileAddressSelection {
    /// What no single value shows: that there are as many rows as there may be, each prefix once.
    pub(super) fn check(self) -> Result<Settings, Mistake> {
        let mut rows: Vec<Row> = Vec::new();
        for given in self.rows.iter().flatten() {
            let FileRow { prefix: PrefixText(prefix), precedence, label } = given.as_ref();
            let prefix = mapped_net(*prefix).into();
            let message = if rows.iter().any(|row| row.prefix == prefix) {
                "a second row of this prefix, expected one"
            } else if rows.len() == POLICY_ROWS_PER_PVD {
                "more rows than a policy table may have here, expected 64 at most"
            } else {
                rows.push(Row { prefix, precedence: *precedence, label: *label });
                continue;
            };
            return Err(Mistake { at: given.span(), message: message.into() });
        }
        Ok(Settings {
            table: (!rows.is_empty()).then(|| PolicyTable::new(rows)),
            distributed: self.distributed.0,
            reach: self.reach.0,
            privacy: self.privacy.map(|PrivacyName(privacy)| privacy),
        })
    }
}

const _: () = assert!(POLICY_ROWS_PER_PVD == 64, "the message says so");
