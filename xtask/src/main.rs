//! The project tasks: `cargo xtask --help`.

fn main() {}
