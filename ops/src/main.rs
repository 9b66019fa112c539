//! The `ops` command.

fn main() -> std::process::ExitCode {
    ops::tools::main()
}
