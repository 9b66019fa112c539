//! Which problems a route can answer with.
//!
//! Invariant: what follows from a line of the table (a token, an id in the path, a body, `If-Match`) is derived from
//! it, and a line names only what is its own. The tests of the service hold every problem they meet to this.

use std::collections::{BTreeMap, BTreeSet};

use bus_schema::ErrorCode::{
    self, AgentUnavailable, AlreadyAssigned, AlreadyExists, Conflict, Forbidden, GroupOffline,
    IdempotencyMismatch, InvalidRequest, NotFound, NotParticipant, OverCapacity, PreconditionFailed,
    QueueFull, RateLimited, ThreadClosed, Timeout, TooLarge, Unauthenticated, Unavailable,
    UnsupportedMediaType,
};

use super::Route;
use crate::access::Access;

/// Where passwords, codes and links are tried.
pub(super) const TRIES: &[ErrorCode] = &[RateLimited];
/// Where a login fails, or needs more.
pub(super) const ENTERS: &[ErrorCode] =
    &[Unauthenticated, ErrorCode::MfaRequired, ErrorCode::TenantRequired, RateLimited];
/// A new tenant, by whom has an account or by somebody new.
pub(super) const REGISTERS: &[ErrorCode] = &[Unauthenticated, Forbidden, AlreadyExists, RateLimited];
/// Who comes with a refresh token.
pub(super) const REFRESHES: &[ErrorCode] = &[Unauthenticated];
/// What changes an account, by a password, a code or a link.
pub(super) const CHANGES_ACCOUNT: &[ErrorCode] = &[Conflict, RateLimited];
/// What turns the second factor on.
pub(super) const SECOND_FACTOR: &[ErrorCode] = &[AlreadyExists, Conflict, RateLimited];
/// What turns it off.
pub(super) const NO_FACTOR: &[ErrorCode] = &[NotFound, RateLimited];
/// An agent who is made, and who may be invited by mail.
pub(super) const MAKES_AGENT: &[ErrorCode] = &[AlreadyExists, RateLimited];
/// A mail to somebody.
pub(super) const INVITES: &[ErrorCode] = &[Conflict, RateLimited];
/// What agents say of themselves through the router.
pub(super) const SETS_STATUS: &[ErrorCode] = &[AgentUnavailable, RateLimited, Timeout];
/// Names and keys that another one may have.
pub(super) const TAKEN: &[ErrorCode] = &[AlreadyExists];
/// What the state does not allow now.
pub(super) const STATE: &[ErrorCode] = &[Conflict];
/// What the router is asked.
pub(super) const ASKS: &[ErrorCode] = &[RateLimited, Timeout];
/// A command about the open thread.
pub(super) const COMMANDS: &[ErrorCode] = &[Conflict, ThreadClosed, NotParticipant, RateLimited, Timeout];
/// One that gives the thread to somebody.
pub(super) const ASSIGNS: &[ErrorCode] =
    &[Conflict, ThreadClosed, AlreadyAssigned, AgentUnavailable, OverCapacity, RateLimited, Timeout];
/// One that hands it on.
pub(super) const TRANSFERS: &[ErrorCode] = &[
    Conflict,
    ThreadClosed,
    NotParticipant,
    AgentUnavailable,
    OverCapacity,
    QueueFull,
    GroupOffline,
    RateLimited,
    Timeout,
];
/// An event of a participant.
pub(super) const SAYS: &[ErrorCode] = &[Conflict, ThreadClosed, NotParticipant, Timeout];
/// How far somebody has read.
pub(super) const MARKS: &[ErrorCode] = &[NotParticipant, Timeout];

/// The codes of one status. A value that is wrong is `invalid_request` with 422.
pub type Problems = BTreeMap<u16, BTreeSet<ErrorCode>>;

/// What every route may answer, whatever it does.
pub const ALWAYS: [ErrorCode; 3] = [ErrorCode::Internal, Unavailable, Timeout];

impl Route {
    /// What it may answer besides success, by status; of [`ALWAYS`] only what its line expects.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::new();
        let mut add = |status: u16, code| {
            problems.entry(status).or_default().insert(code);
        };
        let derived = self.derived();
        for code in derived.into_iter().chain(self.refuses.iter().copied()) {
            add(code.status(), code);
        }
        if self.takes.is_some() || self.refuses.contains(&InvalidRequest) {
            add(INVALID_VALUE, InvalidRequest);
        }
        problems
    }

    fn derived(&self) -> BTreeSet<ErrorCode> {
        let staff = matches!(self.access, Access::Staff(_));
        let waits = self.query.iter().any(|query| query.name == "min_seq");
        let rules: [(bool, &[ErrorCode]); 7] = [
            (staff, &[Unauthenticated, Forbidden]),
            (self.path_params().next().is_some(), &[NotFound]),
            (!self.query.is_empty(), &[InvalidRequest]),
            (self.takes.is_some(), &[InvalidRequest, TooLarge, UnsupportedMediaType]),
            (self.if_match || self.no_revision.is_some(), &[PreconditionFailed]),
            (self.idempotent, &[InvalidRequest, Conflict, TooLarge, IdempotencyMismatch]),
            (waits, &[Timeout]),
        ];
        rules.into_iter().filter(|(holds, _)| *holds).flat_map(|(_, codes)| codes).copied().collect()
    }
}

/// A body that is understood, with a value that cannot be.
const INVALID_VALUE: u16 = 422;
