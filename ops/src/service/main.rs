//! What a service's `main` calls.
//!
//! Invariant: returns an exit code of `exit` for every way the process can end.

use std::{future::Future, io::Write as _, pin::Pin, process::ExitCode};

use super::{
    Context, Service,
    checklist::{self, Finding, Further},
    cli::{self, Command},
    exit, healthcheck, lifecycle,
};
use crate::{
    settings::{self, Environment, Settings, names},
    telemetry,
};

/// What an extra sub-command does.
type Work = fn(Context, Vec<String>) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// A sub-command of one service only.
pub struct Extra {
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
    work: Work,
}

impl Extra {
    pub fn new(name: &'static str, doc: &'static str, work: Work) -> Self {
        Self { name, doc, work }
    }
}

/// A service's process: its kind and its extra sub-commands.
pub struct Main {
    service: Service,
    extras: Vec<Extra>,
    further: Option<Further>,
}

/// The `main` of a service without extra sub-commands.
pub fn main<F, Fut>(service: Service, run: F) -> ExitCode
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    Main::new(service).run(run)
}

impl Main {
    pub fn new(service: Service) -> Self {
        Self { service, extras: Vec::new(), further: None }
    }

    /// Adds a sub-command that runs once and ends; a signal cancels its context's `shutdown`.
    pub fn command(mut self, name: &'static str, doc: &'static str, work: Work) -> Self {
        self.extras.push(Extra::new(name, doc, work));
        self
    }

    /// Adds what only this service can check about its environment.
    pub fn check(mut self, further: Further) -> Self {
        self.further = Some(further);
        self
    }

    /// Does what the command line says.
    pub fn run<F, Fut>(self, run: F) -> ExitCode
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future<Output = anyhow::Result<()>>,
    {
        let command = match cli::parse(&self.extras, std::env::args().skip(1)) {
            Ok(command) => command,
            Err(wrong) => {
                say_error(&format!("{}: {wrong}\n{}", self.service, cli::usage(self.service, &self.extras)));
                return exit::exit(exit::BAD_CONFIGURATION);
            }
        };
        match command {
            Command::Help => say(&cli::usage(self.service, &self.extras)),
            Command::Version => say(&format!("{} {}\n", self.service, env!("CARGO_PKG_VERSION"))),
            Command::Run
            | Command::ConfigCheck { .. }
            | Command::ConfigPrint
            | Command::Healthcheck
            | Command::Extra(..) => {
                return exit::exit(self.with_settings(&settings::process_environment(), command, run));
            }
        }
        exit::exit(exit::CLEAN)
    }

    fn with_settings<F, Fut>(&self, environment: &Environment, command: Command, run: F) -> u8
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future<Output = anyhow::Result<()>>,
    {
        let loaded = match settings::load(self.service, environment) {
            Ok(loaded) => loaded,
            Err(invalid) => {
                say_error(&format!("{}: {invalid}\n", self.service));
                return exit::BAD_CONFIGURATION;
            }
        };
        let settings = loaded.settings;
        match command {
            Command::ConfigCheck { offline } => {
                loaded.warnings.iter().for_each(|warning| say_error(&format!("warning: {warning}\n")));
                return self.config_check(&settings, offline);
            }
            Command::ConfigPrint => {
                say(&settings::print(&settings));
                return exit::CLEAN;
            }
            Command::Healthcheck => return self.healthcheck(&settings),
            Command::Run | Command::Extra(..) | Command::Help | Command::Version => {}
        }
        if let Err(problem) = telemetry::start(&settings) {
            say_error(&format!("{}: {}\n", self.service, exit::misconfigured(problem)));
            return exit::BAD_CONFIGURATION;
        }
        loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        install_crypto();
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "cannot start the runtime");
                return exit::INTERNAL;
            }
        };
        let code = match command {
            Command::Extra(at, args) => {
                let (context, failures) = Context::with_failures(settings);
                let work = (self.extras[at].work)(context.clone(), args);
                runtime.block_on(lifecycle::once(context, failures, work))
            }
            _ => runtime.block_on(lifecycle::run(settings, run)),
        };
        // What did not end within the grace time does not hold the process up.
        runtime.shutdown_background();
        code
    }

    fn config_check(&self, settings: &Settings, offline: bool) -> u8 {
        let mut findings = checklist::offline(settings);
        if !offline {
            install_crypto();
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => findings.extend(runtime.block_on(checklist::reach(settings, self.further))),
                Err(error) => findings.push(Finding::of_error(&error.into())),
            }
        }
        let code = checklist::code(settings, &findings);
        say(&checklist::report(findings));
        code
    }

    fn healthcheck(&self, settings: &Settings) -> u8 {
        if self.service == Service::Ops {
            say_error("ops has no operations listener\n");
            return exit::BAD_CONFIGURATION;
        }
        let addr = settings.addr(names::OPS_LISTEN);
        match healthcheck::ask(addr) {
            Ok((ready, text)) => {
                say(&text);
                if ready { exit::CLEAN } else { exit::UNFINISHED }
            }
            Err(error) => {
                say_error(&format!("nothing answers on {addr}: {error}\n"));
                exit::UNFINISHED
            }
        }
    }
}

/// The one TLS provider of the process; a second call changes nothing.
pub fn install_crypto() {
    let _already_installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn say(text: &str) {
    // A closed pipe is the reader's choice.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn say_error(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
