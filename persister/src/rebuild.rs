//! `persister rebuild`: the read model once more, from the log alone, beside the one that is kept.
//!
//! Invariant: the same code as `run`, into an empty schema; the kept one is only read.

use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use bus_schema::Shard;
use diesel_async::SimpleAsyncConnection as _;
use ops::{log::Log, nats, provision, service::Context, settings::names};
use tokio_util::sync::CancellationToken;

use crate::{
    agree,
    db::{Options, Pool, connect, migrations, roles, schema},
    reader::Reader,
    store::{self, Position},
    writer::{Refusals, Writer},
};

/// The schema that is filled.
pub const TARGET: &str = "chat_rebuild";

/// Says how far it is after this many messages.
const REPORT_EVERY: u64 = 100_000;

pub async fn rebuild(context: Context, args: Vec<String>) -> anyhow::Result<()> {
    ensure!(args.is_empty(), "rebuild takes no arguments");
    let rebuild = Rebuild::open(&context).await?;
    rebuild.empty().await?;
    rebuild.catch_up_all().await?;
    tracing::info!(schema = TARGET, "rebuilt; `persister check` compares it with the one that is kept");
    Ok(())
}

/// A schema being filled from the log.
pub struct Rebuild {
    url: String,
    pub kept: Pool,
    pub target: Pool,
    logs: Vec<Log>,
    shutdown: CancellationToken,
}

impl Rebuild {
    pub async fn open(context: &Context) -> anyhow::Result<Self> {
        let url = context.settings.secret(names::DATABASE_URL).to_owned();
        let options = Options::new("rebuild").working_as(roles::PERSISTER).patient();
        let kept = Pool::open(&url, &options, 1)?;
        let target = Pool::open(&url, &options.in_schema(TARGET).repeatable(), 1)?;
        migrations::verify(&mut *kept.get().await?).await?;
        let bus = nats::connect(context, "persister").await?;
        let shards = provision::shards(&context.settings).into_iter();
        let logs = shards.map(|shard| Log::new(bus.clone(), shard)).collect();
        Ok(Self { url, kept, target, logs, shutdown: context.shutdown.clone() })
    }

    /// Drops what an earlier rebuild left, and makes the tables anew.
    pub async fn empty(&self) -> anyhow::Result<()> {
        self.drop().await?;
        migrations::run_chat_in(&self.url, TARGET).await.context("make the tables")?;
        Ok(())
    }

    /// Removes the schema again.
    pub async fn drop(&self) -> anyhow::Result<()> {
        let mut connection = connect(&self.url, &Options::new("rebuild").patient()).await?;
        connection.batch_execute(&format!("DROP SCHEMA IF EXISTS {TARGET} CASCADE")).await?;
        Ok(())
    }

    /// Reads each log up to where the kept read model stands; to its end where nothing is kept.
    pub async fn catch_up_all(&self) -> anyhow::Result<()> {
        for log in &self.logs {
            let kept = store::position(&mut *self.kept.get().await?, log.shard()).await?;
            self.catch_up(log, kept.map(|position| position.end.seq.unsigned_abs())).await?;
        }
        Ok(())
    }

    /// Up to exactly the position of each shard that is kept.
    pub async fn catch_up_to(&self, kept: &[(Shard, Position)]) -> anyhow::Result<()> {
        for (shard, position) in kept {
            let log = self.logs.iter().find(|log| log.shard() == *shard);
            let log =
                log.with_context(|| format!("shard {shard} is kept, but not among the settings' shards"))?;
            self.catch_up(log, Some(position.end.seq.unsigned_abs())).await?;
        }
        Ok(())
    }

    async fn catch_up(&self, log: &Log, until: Option<u64>) -> anyhow::Result<()> {
        let shard = log.shard();
        let position = store::position(&mut *self.target.get().await?, shard).await?;
        let (end, agreed) = agree::check(log, position.as_ref()).await?;
        let epoch = agreed.context("the log cannot make the whole read model")?;
        let until = until.unwrap_or(end.last);
        let mut done = position.as_ref().map_or(0, |position| position.end.seq.unsigned_abs());
        if done > until {
            bail!("schema {TARGET} is ahead of the kept one: run `persister rebuild` again");
        }
        let (began, from, refusals) = (Instant::now(), done, Refusals::default());
        let mut reader = Reader::open(log, shard, done).await?.until(until);
        let mut writer = Writer::new(&self.target, shard, epoch, position, &refusals);
        while done < until && reader.pending() > 0 {
            let Some(batch) = self.shutdown.run_until_cancelled(reader.next()).await else {
                bail!("stopped before the end");
            };
            let batch = batch?;
            if batch.is_empty() {
                break;
            }
            writer.write_beside(batch, reader.fill()).await?;
            let before = done;
            done = writer.position.as_ref().map_or(done, |position| position.end.seq.unsigned_abs());
            if done / REPORT_EVERY != before / REPORT_EVERY {
                tracing::info!(%shard, done, until, "rebuilding");
            }
        }
        let (seconds, read) = (began.elapsed().as_secs_f64(), done - from);
        let per_second = (read as f64 / seconds.max(f64::EPSILON)).round();
        tracing::info!(%shard, done, read, seconds, per_second, "read up to the kept watermark");
        Ok(())
    }
}

/// The schema that is kept.
pub const KEPT: &str = schema::CHAT;
