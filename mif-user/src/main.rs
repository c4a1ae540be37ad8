//! The `mif` binary.

fn main() -> std::process::ExitCode {
    mif_user::cli::main()
}
