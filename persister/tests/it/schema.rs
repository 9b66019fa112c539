//! What must hold of the schemas themselves, whatever tables they have.

use std::fmt::Write as _;

use diesel::{QueryableByName, sql_types::Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use ops::testing::Postgres;
use persister::db::{Options, Pool, connect, migrations};

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

async fn lines(connection: &mut AsyncPgConnection, query: &str) -> Vec<String> {
    let rows: Vec<Line> = diesel::sql_query(query).load(connection).await.unwrap();
    rows.into_iter().map(|row| row.line).collect()
}

/// Everything that migrations can change in our schemas, as text.
async fn dump(connection: &mut AsyncPgConnection) -> String {
    let mut out = String::new();
    for query in [
        "SELECT format('%s.%s.%s %s %s %s', table_schema, table_name, column_name, udt_name, is_nullable, column_default) AS line
           FROM information_schema.columns WHERE table_schema IN ('chat', 'config') ORDER BY 1",
        "SELECT indexdef AS line FROM pg_indexes WHERE schemaname IN ('chat', 'config') ORDER BY 1",
        "SELECT format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) AS line
           FROM pg_constraint WHERE connamespace::regnamespace::text IN ('chat', 'config') ORDER BY 1",
    ] {
        for line in lines(connection, query).await {
            writeln!(out, "{line}").unwrap();
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_go_up_and_down_and_up_to_the_same_schema() {
    let database = Postgres::shared().await.database().await;
    let ran = migrations::run(&database.url()).await.unwrap();
    assert!(ran.iter().any(|name| name.starts_with("chat ")), "{ran:?}");
    let mut connection = connect(&database.url(), &Options::new("test")).await.unwrap();
    migrations::verify(&mut connection).await.unwrap();
    let first = dump(&mut connection).await;

    assert_eq!(migrations::run(&database.url()).await.unwrap(), Vec::<String>::new());
    migrations::revert_all(&database.url()).await.unwrap();
    let left = dump(&mut connection).await;
    assert!(left.lines().all(|line| line.contains("__diesel_schema_migrations")), "{left}");
    let refused = migrations::verify(&mut connection).await.unwrap_err();
    assert_eq!(ops::service::code_of(&refused.into()), 69);

    migrations::run(&database.url()).await.unwrap();
    assert_eq!(dump(&mut connection).await, first);
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
