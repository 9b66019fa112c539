//! The `edge` process.

use std::process::ExitCode;

use ops::service::Service;

fn main() -> ExitCode {
    ops::service::main(Service::Edge, edge::run)
}
