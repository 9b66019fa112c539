//! The protocol's two papers, held to the code: `docs/protocol.md` and `docs/asyncapi.json`.
//!
//! `UPDATE=1 cargo test -p edge --test it protocol` writes what is generated anew.

mod asyncapi;
mod document;
pub mod frames;
mod tables;

use std::path::PathBuf;

use bus_schema::protocol::TypeVisitor;
use ops::testing::{
    held_to,
    shape::{Shape, shape_of},
};
use serde::{Serialize, de::DeserializeOwned};

/// Asks a type of a table for its shape.
#[derive(Clone, Copy)]
pub struct Shaped;

impl TypeVisitor for Shaped {
    type Out = Shape;

    fn visit<T: Serialize + DeserializeOwned>(self) -> Shape {
        shape_of::<T>()
    }
}

fn docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

/// Compares a committed file with what the code says; `UPDATE=1` writes it.
fn hold(name: &str, made: &str) {
    held_to(&format!("docs/{name}"), made, "cargo test -p edge --test it protocol");
}
