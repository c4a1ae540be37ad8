//! What the targets of `fuzz_targets` share.
//!
//! The pinned toolchain builds them, with `RUSTC_BOOTSTRAP=1` for the sanitizer's flags. From the root of the workspace:
//!
//! ```text
//! cargo install cargo-fuzz --locked
//! mkdir -p tests/fuzz/corpus/nd_option
//! RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz nd_option \
//!     tests/fuzz/corpus/nd_option tests/fuzz/seeds/nd_option -- -max_total_time=60
//! ```
//!
//! The first folder takes what the fuzzer finds, the second one is only read. `cargo fuzz list --fuzz-dir tests/fuzz`
//! names the targets.

pub mod dhcpv6;

use mif_core::wire::{NdOption, OptionList, UNIT};

/// An option of this type with this data, padded with zeros, its length right: the fuzzer need not guess it. What does
/// not fit the longest option is cut off.
#[must_use]
pub fn frame(kind: u8, data: &[u8]) -> Vec<u8> {
    let data = &data[..data.len().min(mif_core::wire::OPTION_MAX - 2)];
    let mut option = [&[kind, 0], data].concat();
    option.resize(option.len().next_multiple_of(UNIT), 0);
    option[1] = u8::try_from(option.len() / UNIT).expect("at most 255 units");
    option
}

/// Reads a list of options. What is read can be sent, in no more octets, and comes back the same.
///
/// # Panics
/// When it does not: that is the fuzzer's find.
pub fn options(octets: &[u8]) {
    let Ok(list) = OptionList::parse(octets) else { return };
    assert!(list.options.len() + list.ignored.len() <= octets.len() / UNIT, "more options than units");
    assert!(list.ignored.iter().all(|ignored| octets[ignored.offset] == ignored.kind), "wrong place");
    let emitted = emit(&list.options);
    assert!(emitted.len() <= octets.len(), "{} octets of {}", emitted.len(), octets.len());
    let again = OptionList { options: list.options, ignored: vec![] };
    assert_eq!(OptionList::parse(&emitted), Ok(again));
}

fn emit(options: &[NdOption]) -> Vec<u8> {
    let mut octets = Vec::new();
    for option in options {
        let start = octets.len();
        option.emit(&mut octets).expect("what was received can be sent");
        assert_eq!(octets.len() - start, option.buffer_len());
    }
    octets
}
