//! The `mif` binary.

fn main() {}
