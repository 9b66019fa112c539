//! Where the services' binaries are, for this command links none of them.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::service::Unavailable;

/// A service's binary: in `CHATBUS_BIN_DIR`, else beside this one.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program")?;
    let named = std::env::var_os("CHATBUS_BIN_DIR").filter(|dir| !dir.is_empty());
    let path = named.map_or_else(|| own.with_file_name(name), |dir| PathBuf::from(dir).join(name));
    if path.is_file() {
        return Ok(path);
    }
    let what = format!("{} is not there", path.display());
    Err(Unavailable::new(what, "build all binaries: cargo build --workspace --bins").into())
}
