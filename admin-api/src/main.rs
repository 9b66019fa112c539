//! The admin-api process.

use ops::service::Service;

fn main() -> std::process::ExitCode {
    ops::service::main(Service::AdminApi, admin_api::run)
}
