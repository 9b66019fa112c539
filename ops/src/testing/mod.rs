//! The test rig: real servers of one's own, real faults, real processes.
//!
//! Nothing started here outlives the test process, and no directory does, also when it is killed with -9. A missing
//! server is a failure that says how to mend it, never a skip.

mod cluster;
mod committed;
mod database;
mod fuzz;
mod got;
mod nats;
mod postgres;
mod process;
mod proxy;
mod s3;
pub mod schemas;
mod scratch;
pub mod shape;
mod shim;
mod totp;
mod wait;

pub use cluster::NatsCluster;
pub use committed::held_to;
pub use database::Database;
pub use fuzz::{Corpus, Fuzzed, fuzz};
pub use got::Got;
pub use nats::{NatsOptions, NatsServer};
pub use postgres::Postgres;
pub use process::{Process, ProcessBuilder, program};
pub use proxy::{Direction, Fault, FaultProxy};
pub use s3::S3Server;
pub use scratch::Scratch;
pub use shim::{LiveShim, Tampered};
pub use totp::totp;
pub use wait::{Condition, wait_for};

pub use crate::dev::guard::Signal;
pub use crate::dev::nats::Sync;

/// Whether this is the long run (`sh ops/test.sh --long`).
pub fn long() -> bool {
    std::env::var_os("CHATBUS_LONG").is_some_and(|value| value == "1")
}
