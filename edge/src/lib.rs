//! The WebSocket front door: authenticate, deliver the log, resume, shed.

#![forbid(unsafe_code)]

mod feed;
mod socket;
