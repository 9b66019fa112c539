//! What the server's refusals of a write mean.
//!
//! Invariant: they are told apart by number alone; their texts change between versions.

/// A real mismatch; on one replica also a repeat of what was stored.
pub const WRONG_LAST_SEQUENCE: u64 = 10071;
/// On a cluster: another write with this expectation subject is in flight.
pub const EXPECTATION_IN_FLIGHT: u64 = 10164;
pub const MSG_ID_IN_FLIGHT: u64 = 10158;
pub const STREAM_LIMIT: u64 = 10077;
/// The whole server is out of room, or the account is.
const RESOURCES: [u64; 3] = [10023, 10047, 10028];
/// Nothing of a batch is stored: part of it was lost on the way, or too many are under way.
const BATCH_INCOMPLETE: u64 = 10176;
const BATCH_TOO_MANY: [u64; 2] = [10210, 10211];
/// The stream has no leader at the moment.
pub const NO_LEADER: u64 = 10008;

/// Why a write was refused, and with that what its writer may believe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The expectation does not hold.
    Mismatch,
    /// Not stored; the same may be a few milliseconds later.
    InFlight,
    /// The same message id is on its way.
    DuplicateInFlight,
    Full,
    /// An earlier copy of it may be stored or not.
    Unknown,
    Other,
}

impl Refusal {
    pub const fn of(code: u64) -> Self {
        match code {
            WRONG_LAST_SEQUENCE => Refusal::Mismatch,
            EXPECTATION_IN_FLIGHT => Refusal::InFlight,
            MSG_ID_IN_FLIGHT => Refusal::DuplicateInFlight,
            STREAM_LIMIT => Refusal::Full,
            NO_LEADER => Refusal::Unknown,
            // Nothing is stored, and the same again may well be.
            _ if code == BATCH_INCOMPLETE || among(&BATCH_TOO_MANY, code) => Refusal::InFlight,
            _ if among(&RESOURCES, code) => Refusal::Full,
            _ => Refusal::Other,
        }
    }

    /// Whether the same write may succeed a few milliseconds later.
    pub const fn is_contention(self) -> bool {
        matches!(self, Refusal::InFlight | Refusal::DuplicateInFlight)
    }
}

const fn among(codes: &[u64], code: u64) -> bool {
    let mut at = 0;
    while at < codes.len() {
        if codes[at] == code {
            return true;
        }
        at += 1;
    }
    false
}
