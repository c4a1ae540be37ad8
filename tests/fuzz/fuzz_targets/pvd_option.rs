//! A PvD option, from its flags on, in a frame that is right: name, inner header and nested options.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mif_core::wire::kind;

fuzz_target!(|data: &[u8]| mif_fuzz::options(&mif_fuzz::frame(kind::PVD, data)));
