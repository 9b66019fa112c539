//! How many files this process and its children may have open.
//!
//! Every connection is one; the default of many systems is meant for programs that have few.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit as far as it may be raised, and answers what it is then; `None` is no limit.
pub fn raise_open_files() -> Option<u64> {
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: now.maximum, maximum: now.maximum };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => wanted.current,
        // macOS refuses what its kernel cannot do; what there was stays.
        Err(_) => now.current,
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Resource, getrlimit};

    #[test]
    fn raising_never_lowers() {
        let before = getrlimit(Resource::Nofile).current;
        let after = super::raise_open_files();
        assert!(after.is_none() || before.is_some_and(|before| after >= Some(before)));
        assert_eq!(getrlimit(Resource::Nofile).current, after);
    }
}
