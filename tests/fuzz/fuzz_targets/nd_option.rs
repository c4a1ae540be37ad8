//! One option of any type in a frame that is right, and the same octets as a list of options.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    mif_fuzz::options(octets);
    if let Some((&kind, data)) = octets.split_first() {
        mif_fuzz::options(&mif_fuzz::frame(kind, data));
    }
});
