//! Files that code makes and people review: committed, and held to what the code makes now.

use std::{fs, path::Path};

/// Compares the committed file at `path`, from the root of the workspace, with what is `made` now. With `UPDATE=1` it is
/// written instead.
///
/// Panics where they differ, with the command that writes it.
#[track_caller]
pub fn held_to(path: &str, made: &str, command: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(file.parent().expect("it is joined to a directory"))
            .expect("its directory is made");
        fs::write(&file, made).expect("it is written");
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == made, "{path} is old: run UPDATE=1 {command}, and review what changes");
}
