//! Why a process ended, as an exit code that supervisors and people can act on.
//!
//! Invariant: the code says who must act: 64 the one who configures, 69 the one who runs the servers, 70 us.

use std::process::ExitCode;

use crate::settings::{Invalid, Problem};

pub const CLEAN: u8 = 0;
/// The drain deadline passed, or a second signal came.
pub const UNFINISHED: u8 = 1;
pub const BAD_CONFIGURATION: u8 = 64;
pub const UNAVAILABLE: u8 = 69;
pub const INTERNAL: u8 = 70;

/// A server that is needed is missing or too old.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {fix}")]
pub struct Unavailable {
    pub what: String,
    /// What would mend it, as an instruction.
    pub fix: String,
}

impl Unavailable {
    pub fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }
}

/// The exit code for an error, by the first cause that has one.
pub fn code_of(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if cause.is::<Unavailable>() {
            return UNAVAILABLE;
        }
        if cause.is::<Invalid>() {
            return BAD_CONFIGURATION;
        }
    }
    INTERNAL
}

/// An error about one setting that shows only when it is used, such as a key file that is no key.
pub fn misconfigured(problem: Problem) -> Invalid {
    Invalid(vec![problem])
}

pub(super) fn exit(code: u8) -> ExitCode {
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_code_is_found_under_any_context() {
        let missing =
            anyhow::Error::new(Unavailable::new("no bus", "start it")).context("connect").context("start");
        assert_eq!(code_of(&missing), UNAVAILABLE);
        let invalid: Result<(), _> = Err(Invalid(Vec::new()));
        assert_eq!(code_of(&invalid.context("load").unwrap_err()), BAD_CONFIGURATION);
        assert_eq!(code_of(&anyhow::anyhow!("surprise")), INTERNAL);
    }
}
