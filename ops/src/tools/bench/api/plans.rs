//! How Postgres answers each question: its own plans, as it ran them, and whether one reads a large table through.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use serde::Serialize;

use super::{
    super::schedule::Draw,
    made::Made,
    measure::get,
    routes::ASKS,
    world::{People, World},
};

/// A table with more rows than this is large.
const LARGE: f32 = 10_000.0;
/// What Postgres takes reading a row to cost at least, unless told otherwise.
const CPU_TUPLE_COST: f32 = 0.01;
/// Postgres writes a plan when it is done with a statement, which may be after the answer.
const SETTLE: Duration = Duration::from_millis(100);
const SETTLES_MAX: usize = 50;
/// Every statement of every connection that begins from now on.
const TELL: &str = "ALTER DATABASE chatbus SET session_preload_libraries = 'auto_explain';
    ALTER DATABASE chatbus SET auto_explain.log_min_duration = 0;
    ALTER DATABASE chatbus SET auto_explain.log_analyze = on;
    ALTER DATABASE chatbus SET auto_explain.log_buffers = on;
    ALTER DATABASE chatbus SET auto_explain.log_timing = off;
    ALTER DATABASE chatbus SET auto_explain.log_nested_statements = on";

/// The plans of one kind of question.
#[derive(Debug, Clone, Serialize)]
pub struct Plans {
    pub name: &'static str,
    pub path: String,
    /// As `EXPLAIN (ANALYZE, BUFFERS)` writes them, those that look at large tables.
    pub plans: Vec<String>,
    /// Large tables that one of them reads from one end to the other.
    pub read_through: Vec<String>,
}

/// Asks each question once and keeps what Postgres says of it. Needs an admin-api that starts after [`tell`].
pub async fn keep(world: &World, made: &Made, people: &mut People) -> anyhow::Result<Vec<Plans>> {
    let large = large_tables(world).await?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let mut log = Log::open(&world.postgres.log())?;
    let mut all = Vec::new();
    for ask in ASKS {
        let path = ask.path(made, &mut Draw::new(1));
        let who = people.who(ask.by);
        world.refresh(who).await?;
        log.settled().await?;
        get(&http, &world.url, &who.token, &path).await.context(ask.name)?;
        let said = log.settled().await?;
        let plans: Vec<String> =
            plans(&said).into_iter().filter(|plan| large.iter().any(|table| mentions(plan, table))).collect();
        let read_through = large.iter().filter(|table| plans.iter().any(|plan| reads_through(plan, table)));
        all.push(Plans { name: ask.name, path, read_through: read_through.cloned().collect(), plans });
    }
    Ok(all)
}

/// From now on Postgres writes every plan into its log.
pub async fn tell(world: &World) -> anyhow::Result<()> {
    let sql = world.postgres.sql().await?;
    sql.batch_execute("LOAD 'auto_explain'")
        .await
        .context("this Postgres lacks auto_explain: install its contrib modules")?;
    for statement in TELL.split(';') {
        sql.batch_execute(statement).await?;
    }
    Ok(())
}

async fn large_tables(world: &World) -> anyhow::Result<Vec<String>> {
    let query = "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND reltuples > $1
        AND relnamespace::regnamespace::text IN ('chat', 'config')";
    let rows = world.postgres.sql().await?.query(query, &[&LARGE]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The plans in a piece of Postgres's log: after `plan:`, every line that begins with a tab.
fn plans(said: &str) -> Vec<String> {
    let mut plans = Vec::new();
    let mut lines = said.lines().peekable();
    while let Some(line) = lines.next() {
        if !(line.contains("duration: ") && line.ends_with("plan:")) {
            continue;
        }
        let mut plan = String::new();
        while let Some(line) = lines.next_if(|line| line.starts_with('\t')) {
            plan.push_str(line.trim_start_matches('\t'));
            plan.push('\n');
        }
        plans.push(plan);
    }
    plans
}

fn mentions(plan: &str, table: &str) -> bool {
    plan.lines().any(|line| line.contains(" on ") && line.split(' ').any(|word| word == table))
}

/// Whether it reads the table from one end to the other; as bad is an index whose rows are then mostly thrown away. What is
/// only explained is not read.
fn reads_through(plan: &str, table: &str) -> bool {
    if plan.starts_with("Query Text: EXPLAIN") {
        return false;
    }
    if most_thrown_away(plan) > LARGE && mentions(plan, table) {
        return true;
    }
    let scan = format!("Seq Scan on {table} ");
    // A small table of the other schema may have the same name; what reading all of it costs tells them apart.
    let cost = |line: &str| line.split_once("..")?.1.split(' ').next()?.parse::<f32>().ok();
    let is_large = |line: &str| cost(line).is_none_or(|cost| cost > LARGE * CPU_TUPLE_COST);
    plan.lines().any(|line| line.contains(&scan) && is_large(line))
}

/// Rows that one step reads and throws away, in all of its loops: Postgres says how many for each.
fn most_thrown_away(plan: &str) -> f32 {
    let (mut loops, mut most) = (1.0, 0.0_f32);
    for line in plan.lines() {
        if let Some((_, times)) = line.split_once(" loops=") {
            loops = times.trim_end_matches(')').parse().unwrap_or(1.0);
        }
        let each = line.trim().strip_prefix("Rows Removed by Filter: ");
        most = most.max(each.and_then(|each| each.parse().ok()).map_or(0.0, |each: f32| each * loops));
    }
    most
}

/// What is added to a file.
struct Log(File);

impl Log {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let mut file = File::open(path).with_context(|| format!("read {}", path.display()))?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self(file))
    }

    /// Everything since the last look, once nothing more comes.
    async fn settled(&mut self) -> anyhow::Result<String> {
        let mut said = Vec::new();
        for _ in 0..SETTLES_MAX {
            tokio::time::sleep(SETTLE).await;
            if self.0.read_to_end(&mut said)? == 0 {
                break;
            }
        }
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_cut_out_of_the_log_and_a_scan_of_a_large_table_is_seen() {
        let said = "2026-11-21 LOG:  duration: 0.1 ms  plan:\n\tQuery Text: SELECT 1\n\tLimit\n\t  ->  Seq Scan on messages m  (cost=0.00..896303.26 rows=9 width=8)\n\
            2026-11-21 LOG:  duration: 0.2 ms  plan:\n\tIndex Scan using tags_by_name on tags  (cost=0)\nother\n";
        let plans = plans(said);
        assert_eq!(plans.len(), 2);
        assert!(reads_through(&plans[0], "messages") && !reads_through(&plans[0], "message"));
        assert!(!reads_through(&plans[1], "tags") && mentions(&plans[1], "tags"));
        let filtered = "Index Scan using messages_in_order on messages m\n  Rows Removed by Filter: 65339\n";
        assert!(reads_through(filtered, "messages") && !reads_through(filtered, "tags"));
        let of_the_other_schema = "Limit\n  ->  Seq Scan on tags  (cost=0.01..1.02 rows=1 width=103)\n";
        assert!(!reads_through(of_the_other_schema, "tags"));
        let explained = format!("Query Text: EXPLAIN SELECT 1\n{}", plans[0]);
        assert!(!reads_through(&explained, "messages"));
    }

    #[test]
    fn what_is_thrown_away_a_little_in_each_of_many_loops_is_seen() {
        let probed = |loops: u32| {
            format!(
                "Limit  (actual rows=3.00 loops=1)
  ->  Nested Loop  (actual rows=3.00 loops=1)
        ->  Index Scan Backward using visitors_known on visitors  (actual rows={loops}.00 loops=1)
              Index Cond: (tenant_id = '1'::uuid)
        ->  Index Scan using conversations_pkey on conversations c  (actual rows=0.00 loops={loops})
              Index Cond: (id = visitors.conversation_id)
              Filter: (group_id = '2'::uuid)
              Rows Removed by Filter: 1
              Buffers: shared hit=7
  ->  Index Scan using tags_present on tags  (actual rows=1.00 loops=1)
        Rows Removed by Filter: 20
"
            )
        };
        for table in ["conversations", "visitors"] {
            assert!(reads_through(&probed(500_000), table));
            assert!(!reads_through(&probed(2_000), table));
        }
        assert!(!reads_through(&probed(500_000), "messages"));
    }
}
