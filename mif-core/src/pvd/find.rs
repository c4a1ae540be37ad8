//! How people name a PvD.

use mif_common::abi::PvdIndex;
use thiserror::Error;

/// Why [`find`] found nothing.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum FindError {
    /// No PvD is called so.
    #[error("there is no PvD {wanted:?}; PvDs here: {}", list(.known))]
    Unknown {
        /// What was looked for.
        wanted: String,
        /// The ids of all PvDs.
        known: Vec<String>,
    },
    /// Several ids begin so.
    #[error("{wanted:?} can be any of {}; say more of it", list(.candidates))]
    Ambiguous {
        /// What was looked for.
        wanted: String,
        /// The ids that begin so.
        candidates: Vec<String>,
    },
}

fn list(ids: &[String]) -> String {
    if ids.is_empty() { "none".into() } else { ids.join(", ") }
}

/// The PvD of an id, of an index, or the only one whose id begins so. Case does not matter: domain names are in ids.
///
/// # Errors
/// When there is none, or several.
pub fn find(known: &[(PvdIndex, String)], wanted: &str) -> Result<PvdIndex, FindError> {
    let exact = known.iter().find(|(_, id)| id.eq_ignore_ascii_case(wanted));
    let numbered = || known.iter().find(|(index, _)| index.to_string() == wanted);
    if let Some((index, _)) = exact.or_else(numbered) {
        return Ok(*index);
    }
    let begins = |id: &str| id.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted));
    let candidates: Vec<_> = known.iter().filter(|(_, id)| !wanted.is_empty() && begins(id)).collect();
    let ids = |pvds: &[&(PvdIndex, String)]| pvds.iter().map(|(_, id)| id.clone()).collect();
    match candidates[..] {
        [(index, _)] => Ok(*index),
        [] => Err(FindError::Unknown {
            wanted: wanted.to_owned(),
            known: ids(&known.iter().collect::<Vec<_>>()),
        }),
        _ => Err(FindError::Ambiguous { wanted: wanted.to_owned(), candidates: ids(&candidates) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pvds_by_name() {
        let known: Vec<(PvdIndex, String)> =
            [(1, "eth0/fe80::1"), (2, "eth0/fe80::2"), (3, "eth0"), (12, "Isp.example%eth1")]
                .map(|(index, id)| (index, id.to_owned()))
                .into();
        for (wanted, expected) in [
            ("eth0/fe80::1", Ok(1)),
            ("eth0", Ok(3)),
            ("12", Ok(12)),
            ("isp", Ok(12)),
            ("ISP.EXAMPLE%eth1", Ok(12)),
            ("eth0/", Err("\"eth0/\" can be any of eth0/fe80::1, eth0/fe80::2; say more of it")),
            (
                "wlan0",
                Err(
                    "there is no PvD \"wlan0\"; PvDs here: eth0/fe80::1, eth0/fe80::2, eth0, Isp.example%eth1",
                ),
            ),
            ("", Err("there is no PvD \"\"; PvDs here: eth0/fe80::1, eth0/fe80::2, eth0, Isp.example%eth1")),
        ] {
            let found = find(&known, wanted).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{wanted}");
        }
        assert_eq!(find(&[], "x").expect_err("none").to_string(), "there is no PvD \"x\"; PvDs here: none");
    }
}
