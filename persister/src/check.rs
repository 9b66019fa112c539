//! `persister check`: is the read model the log? (`read-model-is-the-log`)
//!
//! Invariant: both schemas stand at the same place of the log while they are compared: the kept watermark is
//! locked, so a running persister waits, and says that it is not ready if that takes long.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use bus_schema::Shard;
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Integer, Text},
};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _};
use ops::service::Context;
use serde::Serialize;

use crate::{
    rebuild::{KEPT, Rebuild, TARGET},
    store::{self, Position},
};

/// Differing rows that are named for each table.
const SAMPLES_MAX: i64 = 3;
/// Enough of a row to see its key: `tenant_id` and the column after it.
const SAMPLE_CHARS: usize = 76;

/// How a table compares.
#[derive(Debug, PartialEq, Eq, QueryableByName, Serialize)]
pub struct Compared {
    #[diesel(sql_type = Text)]
    pub table: String,
    #[diesel(sql_type = BigInt)]
    pub kept: i64,
    #[diesel(sql_type = BigInt)]
    pub rebuilt: i64,
    #[diesel(sql_type = BigInt)]
    pub only_kept: i64,
    #[diesel(sql_type = BigInt)]
    pub only_rebuilt: i64,
    /// The beginnings of some rows that differ.
    #[diesel(sql_type = Array<Text>)]
    pub samples: Vec<String>,
}

impl Compared {
    fn is_same(&self) -> bool {
        self.only_kept == 0 && self.only_rebuilt == 0
    }
}

pub async fn check(context: Context, args: Vec<String>) -> anyhow::Result<()> {
    let json = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--json"] => true,
        _ => bail!("check takes no arguments but --json"),
    };
    let rebuild = Rebuild::open(&context).await?;
    rebuild.empty().await?;
    // Most of the work, while a running persister goes on.
    rebuild.catch_up_all().await?;
    let tables = compare(&rebuild).await?;
    report(&tables, json)?;
    let differing = tables.iter().filter(|table| !table.is_same()).count();
    if differing > 0 {
        bail!(
            "{differing} tables of schema {KEPT} differ from what the log says; {TARGET} is left to look at"
        );
    }
    rebuild.drop().await
}

async fn compare(rebuild: &Rebuild) -> anyhow::Result<Vec<Compared>> {
    let mut connection = rebuild.kept.get().await?;
    connection
        .transaction(async |connection| -> anyhow::Result<Vec<Compared>> {
            let kept = locked(connection).await?;
            rebuild.catch_up_to(&kept).await?;
            let mut tables = Vec::new();
            for table in tables_of(connection).await? {
                tables.push(compare_table(connection, &table).await?);
            }
            Ok(tables)
        })
        .await
}

/// The kept positions; nobody moves them before the end of the transaction.
async fn locked(connection: &mut AsyncPgConnection) -> anyhow::Result<Vec<(Shard, Position)>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Integer)]
        shard: i32,
    }
    let query = diesel::sql_query(format!("SELECT shard FROM {KEPT}.watermark ORDER BY shard FOR UPDATE"));
    let rows: Vec<Row> = query.load(connection).await?;
    let mut kept = Vec::new();
    for row in rows {
        let shard = Shard(u16::try_from(row.shard).context("a shard's number")?);
        kept.extend(store::position(connection, shard).await?.map(|position| (shard, position)));
    }
    Ok(kept)
}

async fn tables_of(connection: &mut AsyncPgConnection) -> anyhow::Result<Vec<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let query = diesel::sql_query(
        "SELECT c.relname::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = $1 AND c.relkind = 'r' AND c.relname <> '__diesel_schema_migrations' ORDER BY 1",
    );
    let rows: Vec<Row> = query.bind::<Text, _>(KEPT).load(connection).await?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// Compares whole rows as text: every column of every row counts.
async fn compare_table(connection: &mut AsyncPgConnection, table: &str) -> anyhow::Result<Compared> {
    let query = diesel::sql_query(format!(
        "WITH kept AS (SELECT t::text AS line FROM {KEPT}.{table} t),
              rebuilt AS (SELECT t::text AS line FROM {TARGET}.{table} t),
              only_kept AS (SELECT line FROM kept EXCEPT ALL SELECT line FROM rebuilt),
              only_rebuilt AS (SELECT line FROM rebuilt EXCEPT ALL SELECT line FROM kept)
         SELECT $1::text AS \"table\", (SELECT count(*) FROM kept) AS kept, (SELECT count(*) FROM rebuilt) AS rebuilt,
                (SELECT count(*) FROM only_kept) AS only_kept, (SELECT count(*) FROM only_rebuilt) AS only_rebuilt,
                ARRAY(SELECT left(line, {SAMPLE_CHARS}) FROM (TABLE only_kept UNION ALL TABLE only_rebuilt) d
                       ORDER BY 1 LIMIT {SAMPLES_MAX}) AS samples"
    ));
    Ok(query.bind::<Text, _>(table).get_result(connection).await?)
}

fn report(tables: &[Compared], json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, tables)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "{:<16} {:>10} {:>10}  result", "table", "kept", "rebuilt")?;
    for Compared { table, kept, rebuilt, only_kept, only_rebuilt, samples } in tables {
        let result = match (only_kept, only_rebuilt) {
            (0, 0) => "same".to_owned(),
            _ => format!("DIFFERS: {only_kept} rows only kept, {only_rebuilt} only rebuilt"),
        };
        writeln!(out, "{table:<16} {kept:>10} {rebuilt:>10}  {result}")?;
        for sample in samples {
            writeln!(out, "    {sample}…")?;
        }
    }
    Ok(())
}
