//! A model of the bus: a stream with compare-and-set, atomic batches and message ids on one server or three, and a
//! bucket of leases.
//!
//! Held to real servers by `against_real_servers`; time passes only where it is told.

mod leases;
mod stream;

#[cfg(test)]
#[cfg(feature = "service")]
mod against_real_servers;

pub use leases::{Bucket, Kept};
pub use stream::{Begun, Expect, Proposal, Put, Replicas, Stored, Stream};
