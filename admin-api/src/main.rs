//! The admin-api process.

use ops::service::{Main, Service};

fn main() -> std::process::ExitCode {
    Main::new(Service::AdminApi)
        .check(|settings| Box::pin(admin_api::checklist(settings)))
        .run(admin_api::run)
}
