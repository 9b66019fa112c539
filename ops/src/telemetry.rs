//! Log lines: human on a terminal, JSON elsewhere.
//!
//! Invariant: set up at most once per process, and before anything that logs.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::settings::{Problem, Settings, Source, names, table};

/// Starts logging as the settings say. A second call in one process, as in tests, changes nothing.
pub fn start(settings: &Settings) -> Result<(), Problem> {
    let directives = settings.text(names::LOG);
    let filter = EnvFilter::try_new(directives).map_err(|error| Problem {
        variable: format!("{}{}", table::PREFIX, names::LOG),
        shown: Some(directives.to_owned()),
        source: Source::Environment,
        fix: format!("must be tracing directives such as info,edge=debug: {error}"),
    })?;
    let json = match settings.text(names::LOG_FORMAT) {
        "json" => true,
        "human" => false,
        _ => !std::io::stderr().is_terminal(),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let writer = std::io::stderr;
    let _already_started = if json {
        let layer = fmt::layer().json().flatten_event(true).with_current_span(false).with_writer(writer);
        registry.with(layer).try_init()
    } else {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        registry.with(fmt::layer().with_ansi(colour).with_writer(writer)).try_init()
    };
    log_panics();
    Ok(())
}

/// A panic is a log line like any other, so that it reaches wherever logs go.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(panic.place = place, panic.text = text, "a task panicked");
    }));
}
