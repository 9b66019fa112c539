//! The router's process.

fn main() -> std::process::ExitCode {
    ops::service::main(ops::service::Service::Router, router::service::run)
}
