//! `tenant-walls` in the source: nobody looks past the wall of a tenant but for a reason that stands here.
//!
//! Handlers read and write through `App::within`, `App::writing` and `App::change`, which show Postgres one tenant. The
//! pool itself sees all: each use of it is counted, so that another one is thought about.

use std::{collections::BTreeMap, fs, path::Path};

/// File, how often it names the pool or a transaction of all tenants, and why it must.
const PAST_THE_WALL: [(&str, usize, &str); 28] = [
    ("access.rs", 1, "whether a token counts is asked before its tenant is believed"),
    ("agents/write.rs", 1, "an address may have an account already, in another tenant"),
    ("api_tokens/verify.rs", 1, "which tenant a token is of is found by its hash"),
    ("app.rs", 6, "makes the ways through the wall"),
    ("auth/account_change.rs", 2, "an account's password and sessions are those of all its tenants"),
    ("auth/enter.rs", 6, "which tenants an account works in is what is asked"),
    ("auth/invitation.rs", 1, "a link out of a mail says which tenant"),
    ("auth/login.rs", 1, "an account is found by its address"),
    ("auth/me.rs", 1, "the second factor is the account's, in all its tenants"),
    ("auth/mfa/mod.rs", 1, "the second factor is the account's, in all its tenants"),
    ("auth/oidc/bind.rs", 3, "an identity is an account's, and finds its invitations"),
    ("auth/oidc/flow.rs", 2, "a login under way is of no tenant yet"),
    ("auth/refresh.rs", 1, "which session a token is of is found by its hash"),
    ("auth/register.rs", 3, "makes a tenant"),
    ("auth/reset.rs", 3, "an account is found by its address, or by a link out of a mail"),
    ("auth/session.rs", 2, "removes what has ended, of all tenants"),
    ("bus/compare.rs", 1, "compares the records of all tenants with the bus"),
    ("bus/history.rs", 1, "how far the read model is, and what it could not read, is the shard's"),
    ("bus/publish.rs", 3, "publishes the changes of all tenants"),
    ("db/change.rs", 4, "begins in the tenant that it is for, or that an account of others makes"),
    ("db/within.rs", 5, "is the wall"),
    ("health.rs", 5, "asks whether Postgres is there"),
    ("http/origins.rs", 2, "reads all tenants' console origins"),
    ("lib.rs", 4, "starts the service, and removes what has ended"),
    ("mail/sender.rs", 2, "sends the mails of all tenants"),
    ("read_model.rs", 1, "how far the read model is, is the shard's"),
    ("tenant.rs", 1, "has all tenants' console origins read, once one has changed"),
    ("visitors/lapse.rs", 1, "whose turn it is to forget visitors is asked of all tenants"),
];

fn uses(of: &Path, root: &Path, found: &mut BTreeMap<String, usize>) {
    for entry in fs::read_dir(of).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            uses(&path, root, found);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let words = code
            .flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':' && c != '.'));
        let is_one = |word: &&str| {
            let parts: Vec<&str> = word.split(['.', ':']).collect();
            word.split('.').skip(1).any(|part| part == "pool")
                || parts.contains(&"Pool")
                || word.ends_with("Within::all")
        };
        let count = words.filter(is_one).count();
        if count > 0 {
            found.insert(path.strip_prefix(root).unwrap().display().to_string(), count);
        }
    }
}

#[test]
fn tenant_walls_only_these_modules_look_past_them_each_for_its_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    uses(&root, &root, &mut found);
    let known: BTreeMap<String, usize> =
        PAST_THE_WALL.iter().map(|(file, uses, _)| ((*file).to_owned(), *uses)).collect();
    let differ = |(file, uses): (&String, &usize)| {
        let listed = known.get(file).copied().unwrap_or(0);
        (listed != *uses).then(|| format!("{file} names the pool {uses} times, {listed} are known here"))
    };
    let mut differing: Vec<String> = found.iter().filter_map(differ).collect();
    let gone = known.keys().filter(|file| !found.contains_key(*file));
    differing.extend(gone.map(|file| format!("{file} does not name it any more")));
    assert!(
        differing.is_empty(),
        "use App::within, writing or change, or say why not:\n{}",
        differing.join("\n")
    );
}
