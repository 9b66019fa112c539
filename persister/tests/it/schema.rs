//! What must hold of the schemas themselves, whatever tables they have.

use std::collections::{BTreeMap, BTreeSet};

use diesel::{QueryableByName, sql_types::Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use ops::testing::{Postgres, wait_for};
use persister::db::{Options, Pool, connect, migrations};
use serde_json::{Map, Value};

use crate::{
    filling::{self, Table},
    world::SOON,
};

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

async fn lines(connection: &mut AsyncPgConnection, query: &str) -> Vec<String> {
    let rows: Vec<Line> = diesel::sql_query(query).load(connection).await.unwrap();
    rows.into_iter().map(|row| row.line).collect()
}

/// Everything that migrations can change in our schemas, as text. Of rights counts who has which, however they came to it.
async fn dump(connection: &mut AsyncPgConnection) -> BTreeSet<String> {
    let rights = |acl: &str| format!("ARRAY(SELECT unnest({acl})::text ORDER BY 1)");
    let rights_or = |acl: &str, kind: char, owner: &str| {
        rights(&format!("coalesce({acl}, acldefault('{kind}', {owner}))"))
    };
    let mut out = BTreeSet::new();
    for query in [
        format!(
            "SELECT format('column %s.%s %s collation=%s required=%s generated=%s identity=%s %s %s %s', c.oid::regclass,
                    a.attname, format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation, a.attnotnull,
                    a.attgenerated, a.attidentity, pg_get_expr(d.adbin, d.adrelid), {}, col_description(c.oid, a.attnum))
                    AS line
               FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
               LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
              WHERE c.relnamespace::regnamespace::text IN ('chat', 'config') AND c.relkind NOT IN ('i', 't')
                AND a.attnum > 0 AND NOT a.attisdropped",
            rights("coalesce(a.attacl, '{}')"),
        ),
        "SELECT format('index %s valid=%s', pg_get_indexdef(i.indexrelid), i.indisvalid) AS line
           FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
          WHERE c.relnamespace::regnamespace::text IN ('chat', 'config')"
            .to_owned(),
        "SELECT format('statistics %s', pg_get_statisticsobjdef(oid)) AS line
           FROM pg_statistic_ext WHERE stxnamespace::regnamespace::text IN ('chat', 'config')"
            .to_owned(),
        "SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) AS line
           FROM pg_constraint WHERE connamespace::regnamespace::text IN ('chat', 'config')"
            .to_owned(),
        format!(
            "SELECT format('relation %s %s %s rls=%s,%s %s %s %s', oid::regclass, relkind, reloptions, relrowsecurity,
                    relforcerowsecurity, relowner::regrole, {}, obj_description(oid, 'pg_class')) AS line
               FROM pg_class WHERE relnamespace::regnamespace::text IN ('chat', 'config') AND relkind <> 't'",
            rights_or("relacl", 'r', "relowner"),
        ),
        "SELECT format('view %s.%s %s', schemaname, viewname, definition) AS line
           FROM pg_views WHERE schemaname IN ('chat', 'config')"
            .to_owned(),
        "SELECT format('policy %s.%s %s %s %s %s %s %s', schemaname, tablename, policyname, permissive, roles, cmd, qual,
                with_check) AS line
           FROM pg_policies WHERE schemaname IN ('chat', 'config')"
            .to_owned(),
        "SELECT format('trigger %s %s', pg_get_triggerdef(t.oid), tgenabled) AS line
           FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
          WHERE c.relnamespace::regnamespace::text IN ('chat', 'config') AND NOT t.tgisinternal"
            .to_owned(),
        format!(
            "SELECT format('function %s %s %s %s', pg_get_functiondef(oid), proowner::regrole, {},
                    obj_description(oid, 'pg_proc')) AS line
               FROM pg_proc WHERE pronamespace::regnamespace::text IN ('chat', 'config') AND prokind <> 'a'",
            rights_or("proacl", 'f', "proowner"),
        ),
        format!(
            "SELECT format('type %s %s %s %s %s', typname, typtype, typowner::regrole, {},
                    ARRAY(SELECT enumlabel FROM pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder)) AS line
               FROM pg_type t WHERE typnamespace::regnamespace::text IN ('chat', 'config')",
            rights_or("typacl", 'T', "typowner"),
        ),
        format!(
            "SELECT format('schema %s %s %s', nspname, nspowner::regrole, {}) AS line
               FROM pg_namespace WHERE nspname IN ('chat', 'config')",
            rights_or("nspacl", 'n', "nspowner"),
        ),
        format!(
            "SELECT format('rights of what is made %s %s %s %s', defaclnamespace::regnamespace, defaclrole::regrole,
                    defaclobjtype, {}) AS line FROM pg_default_acl",
            rights("defaclacl"),
        ),
    ] {
        out.extend(lines(connection, &query).await);
    }
    out
}

#[track_caller]
fn assert_same(is: &BTreeSet<String>, should: &BTreeSet<String>, at: &str) {
    let [more, less]: [Vec<_>; 2] = [is.difference(should).collect(), should.difference(is).collect()];
    assert!(more.is_empty() && less.is_empty(), "{at}: there is {more:#?}, there was {less:#?}");
}

/// Every row of every table.
async fn rows(connection: &mut AsyncPgConnection) -> BTreeMap<String, Vec<Map<String, Value>>> {
    let mut found = BTreeMap::new();
    for Table { name, .. } in filling::tables(connection).await {
        let query = format!("SELECT to_jsonb(t)::text AS line FROM {name} t ORDER BY t");
        let rows = lines(connection, &query).await;
        found.insert(name, rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect());
    }
    found
}

/// Tables and columns come and go; what is in all others stays.
#[track_caller]
fn assert_kept(
    before: &BTreeMap<String, Vec<Map<String, Value>>>,
    after: &BTreeMap<String, Vec<Map<String, Value>>>,
    at: &str,
) {
    for (table, before) in before {
        let Some(after) = after.get(table) else { continue };
        assert_eq!(before.len(), after.len(), "rows of {table}: {at}");
        for (before, after) in before.iter().zip(after) {
            for (column, value) in before {
                assert!(
                    after.get(column).is_none_or(|now| now == value),
                    "{table}.{column}: {at}: {after:?}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_migration_goes_up_and_down_and_up_over_rows_and_to_the_same_schema() {
    let database = Postgres::shared().await.database().await;
    let url = database.url();
    let mut connection = connect(&url, &Options::new("test")).await.unwrap();
    // Nothing is left to run or take back: makes the schemas themselves and the tables that keep the versions.
    for schema in migrations::SCHEMAS {
        assert_eq!(migrations::step_down(&url, schema).await.unwrap(), None);
    }
    let empty = dump(&mut connection).await;
    for schema in migrations::SCHEMAS {
        let (mut before, mut ran) = (dump(&mut connection).await, 0);
        loop {
            filling::refill(&mut connection).await;
            let filled = rows(&mut connection).await;
            let Some(version) = migrations::step_up(&url, schema).await.unwrap() else { break };
            let (up, up_rows) = (dump(&mut connection).await, rows(&mut connection).await);
            assert_ne!(up, before, "{schema} {version} changes something");
            assert_kept(&filled, &up_rows, &version);
            assert_eq!(migrations::step_down(&url, schema).await.unwrap().as_ref(), Some(&version));
            assert_same(&dump(&mut connection).await, &before, &format!("{schema} {version} taken back"));
            let down_rows = rows(&mut connection).await;
            assert_kept(&up_rows, &down_rows, &format!("{version} taken back"));
            assert_eq!(migrations::step_up(&url, schema).await.unwrap().as_ref(), Some(&version));
            assert_same(&dump(&mut connection).await, &up, &format!("{schema} {version} once more"));
            assert_kept(&down_rows, &rows(&mut connection).await, &format!("{version} once more"));
            (before, ran) = (up, ran + 1);
        }
        assert!(ran > 0, "{schema}");
    }
    let filled = rows(&mut connection).await;
    assert!(filled.len() > 20 && filled.values().all(|rows| rows.len() == 2), "{filled:?}");
    migrations::verify(&mut connection).await.unwrap();
    assert_eq!(migrations::run(&url).await.unwrap(), Vec::<String>::new());

    for schema in migrations::SCHEMAS {
        while migrations::step_down(&url, schema).await.unwrap().is_some() {}
    }
    assert_same(&dump(&mut connection).await, &empty, "all taken back");
    let refused = migrations::verify(&mut connection).await.unwrap_err();
    assert_eq!(ops::service::code_of(&refused.into()), 69);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_migrates_second_waits_for_the_first_without_holding_it_up() {
    let database = Postgres::shared().await.database().await;
    let url = database.url();
    let mut first = connect(&url, &Options::new("test")).await.unwrap();
    // The lock's number is the same for ever.
    let lock = "SELECT pg_advisory_lock(7163082359828738817)::text AS line";
    lines(&mut first, lock).await;
    let waits = tokio::spawn({
        let url = url.clone();
        async move { migrations::run(&url).await }
    });
    let asks = "SELECT query AS line FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'chatbus-migrate'";
    wait_for(SOON, "the second to wait", async || {
        let asked = lines(&mut first, asks).await;
        if asked.iter().any(|query| query.contains("pg_try_advisory_lock")) { Ok(()) } else { Err(asked) }
    })
    .await;
    // An index made concurrently waits for all who are inside a statement.
    diesel::sql_query("CREATE TABLE public.t (n int)").execute(&mut first).await.unwrap();
    diesel::sql_query("CREATE INDEX CONCURRENTLY ON public.t (n)").execute(&mut first).await.unwrap();
    assert!(!waits.is_finished());
    drop(first);
    assert!(!waits.await.unwrap().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_whose_making_failed_is_made_by_the_next_run() {
    let database = Postgres::shared().await.database().await;
    let url = database.url();
    migrations::run(&url).await.unwrap();
    let mut back = Vec::new();
    let mut connection = connect(&url, &Options::new("test")).await.unwrap();
    let indexes = "SELECT format('%s valid=%s', c.relname, i.indisvalid) AS line
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE c.relnamespace = 'chat'::regnamespace ORDER BY 1";
    let whole = lines(&mut connection, indexes).await;
    while !back.iter().any(|version: &String| version.starts_with("20261122164001")) {
        back.push(migrations::step_down(&url, "chat").await.unwrap().unwrap());
    }
    // As a run that was killed leaves it: there, of this name, and of no use.
    let twice =
        "INSERT INTO chat.visitors (tenant_id, id, conversation_id, custom, verified, banned, first_seen_at,
            last_seen_at, seq)
        SELECT md5('t')::uuid, md5(n::text)::uuid, md5('c')::uuid, '{}', false, false, now(), now(), n
        FROM generate_series(1, 2) n";
    diesel::sql_query(twice).execute(&mut connection).await.unwrap();
    let failing = "CREATE UNIQUE INDEX CONCURRENTLY visitors_known ON chat.visitors (tenant_id)";
    diesel::sql_query(failing).execute(&mut connection).await.unwrap_err();
    let left = lines(&mut connection, indexes).await;
    assert!(left.contains(&"visitors_known valid=f".to_owned()), "{left:?}");

    let ran = migrations::run(&url).await.unwrap();
    assert_eq!(ran.len(), back.len(), "{ran:?}");
    assert_eq!(lines(&mut connection, indexes).await, whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_run_by_many_at_once_run_once() {
    let database = Postgres::shared().await.database().await;
    let url = database.url();
    let all = futures::future::join_all((0..4).map(|_| migrations::run(&url))).await;
    let ran: Vec<String> = all.into_iter().flat_map(Result::unwrap).collect();
    let mut once = ran.clone();
    once.dedup();
    assert_eq!(ran, once);
    assert!(!ran.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_has_a_tenant_first_and_no_key_leads_out() {
    let database = Postgres::shared().await.database().await;
    migrations::run(&database.url()).await.unwrap();
    let pool = Pool::open(&database.url(), &Options::new("test"), 2).unwrap();
    let mut connection = pool.get().await.unwrap();
    let tenantless = lines(
        &mut connection,
        "SELECT format('%s.%s', n.nspname, c.relname) AS line
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname IN ('chat', 'config') AND c.relkind = 'r' AND c.relname <> '__diesel_schema_migrations'
            AND coalesce(obj_description(c.oid, 'pg_class'), '') NOT LIKE 'no tenant: %'
            AND NOT EXISTS (SELECT FROM pg_attribute a JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
                             WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.attnotnull
                               AND k.conkey[1] = a.attnum)",
    )
    .await;
    assert_eq!(tenantless, Vec::<String>::new(), "tables without tenant_id first in their primary key");
    let outward = lines(
        &mut connection,
        "SELECT format('%s: %s', conrelid::regclass, conname) AS line FROM pg_constraint k
           JOIN pg_class c ON c.oid = k.confrelid
          WHERE k.contype = 'f' AND k.connamespace <> c.relnamespace
             OR k.contype = 'f' AND k.connamespace::regnamespace::text = 'chat'",
    )
    .await;
    assert_eq!(outward, Vec::<String>::new(), "foreign keys that lead out of their schema, or any in chat");
}

/// Lists of the HTTP API: the table, what all of a page's rows have in common, and then what orders them.
const LISTS: [(&str, &[&str]); 15] = [
    ("chat.conversations", &["tenant_id", "last_at", "id"]),
    ("chat.conversations", &["tenant_id", "assignee_id", "last_at", "id"]),
    ("chat.conversations", &["tenant_id", "group_id", "last_at", "id"]),
    ("chat.visitors", &["tenant_id", "last_seen_at", "id"]),
    ("chat.threads", &["tenant_id", "conversation_id", "started_seq"]),
    ("chat.events", &["tenant_id", "conversation_id", "seq"]),
    ("chat.messages", &["tenant_id", "conversation_id", "seq"]),
    ("chat.messages", &["tenant_id", "seq"]),
    ("chat.decisions", &["tenant_id", "conversation_id", "seq"]),
    ("config.sessions", &["tenant_id", "agent_id", "created_at", "id"]),
    ("config.devices", &["tenant_id", "agent_id", "created_at", "id"]),
    ("config.audit_log", &["tenant_id", "at", "id"]),
    ("config.audit_log", &["tenant_id", "actor_id", "at", "id"]),
    ("config.audit_log", &["tenant_id", "entity", "at", "id"]),
    ("config.audit_log", &["tenant_id", "entity_id", "at", "id"]),
];

async fn migrated() -> (ops::testing::Database<'static>, AsyncPgConnection) {
    let database = Postgres::shared().await.database().await;
    migrations::run(&database.url()).await.unwrap();
    let connection = connect(&database.url(), &Options::new("test")).await.unwrap();
    (database, connection)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lists_named_here_and_all_things_have_an_index_in_their_order() {
    let (_database, mut connection) = migrated().await;
    // An index of part of the rows serves if it leaves out only those that no list shows.
    let indexes = lines(
        &mut connection,
        "SELECT format('%s.%s(%s)', c.relnamespace::regnamespace, t.relname,
                string_agg(a.attname, ',' ORDER BY array_position(i.indkey::int2[], a.attnum))) AS line
           FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
           JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
          WHERE c.relnamespace::regnamespace::text IN ('chat', 'config')
            AND coalesce(pg_get_expr(i.indpred, i.indrelid), '') !~ '[<>=]'
          GROUP BY i.indexrelid, c.relnamespace, t.relname",
    )
    .await;
    // What is made, changed, deleted and restored is listed in the order in which it was made.
    let things = lines(
        &mut connection,
        "SELECT format('%s.%s', table_schema, table_name) AS line FROM information_schema.columns
          WHERE table_schema = 'config' AND column_name IN ('revision', 'deleted_at') AND table_name <> 'tenants'
          GROUP BY 1 HAVING count(*) = 2",
    )
    .await;
    assert!(things.len() >= 7, "{things:?}");
    let in_order: &[&str] = &["tenant_id", "created_at", "id"];
    let things = things.iter().map(|table| (table.as_str(), in_order));
    for (table, columns) in LISTS.into_iter().chain(things) {
        let wanted = format!("{table}({}", columns.join(","));
        let there = indexes
            .iter()
            .any(|index| index.strip_prefix(&wanted).is_some_and(|rest| rest.starts_with([',', ')'])));
        assert!(there, "no index begins with {wanted}: {indexes:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_level_security_is_forced_on_every_table() {
    let (_database, mut connection) = migrated().await;
    let open = lines(
        &mut connection,
        "SELECT c.oid::regclass::text AS line FROM pg_class c
          WHERE c.relnamespace::regnamespace::text IN ('chat', 'config') AND c.relkind = 'r'
            AND c.relname <> '__diesel_schema_migrations'
            AND coalesce(obj_description(c.oid, 'pg_class'), '') NOT LIKE 'no tenant: %'
            AND NOT (c.relrowsecurity AND c.relforcerowsecurity)",
    )
    .await;
    assert_eq!(open, Vec::<String>::new(), "tables that `wall_in` was not called for");
}
