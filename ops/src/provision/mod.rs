//! Creates the streams and buckets that `bus_schema::stream` defines, and says where those that exist differ.
//!
//! Invariant: nothing here removes a message or narrows a limit: what exists is only ever widened, and what
//! cannot be widened is reported.

mod compare;
mod shape;

pub use compare::Difference;

use async_nats::jetstream::{self, Context, context::GetStreamErrorKind, stream::Config};
use bus_schema::{Shard, stream};

use crate::{
    nats::Bus,
    service::Unavailable,
    settings::{Settings, names},
};

/// What the installation is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub shards: Vec<Shard>,
    pub replicas: usize,
    /// Size limit of each log.
    pub log_bytes_max: u64,
    /// Size limit of the object store of files.
    pub files_bytes_max: u64,
}

/// What was found and done, one entry for each stream, bucket and object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The stream's name; a bucket's is `KV_<bucket>`, an object store's `OBJ_<store>`.
    pub stream: String,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Created,
    Same,
    /// These were widened.
    Changed(Vec<Difference>),
    /// These differ, and changing them is for people to decide.
    Differs(Vec<Difference>),
    Missing,
}

#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    #[error("look up stream {stream}")]
    Look { stream: String, source: jetstream::context::GetStreamError },
    #[error("create stream {stream}")]
    Create { stream: String, source: jetstream::context::CreateStreamError },
    #[error("change stream {stream}")]
    Change { stream: String, source: jetstream::context::UpdateStreamError },
    #[error("streams and buckets are not as they should be")]
    NotAsPlanned(#[source] Unavailable),
}

impl Plan {
    pub fn from_settings(settings: &Settings) -> Self {
        Self {
            shards: shards(settings),
            replicas: usize::try_from(settings.int(names::NATS_REPLICAS)).expect("at most 5"),
            log_bytes_max: settings.int(names::STREAM_BYTES_MAX),
            files_bytes_max: settings.int(names::FILES_BYTES_MAX),
        }
    }

    fn configs(&self) -> Vec<Config> {
        let logs = self.shards.iter().map(|shard| shape::log(&stream::log(*shard), self));
        let buckets = stream::BUCKETS.iter().map(|bucket| shape::bucket(bucket, self));
        let objects = stream::OBJECTS.iter().map(|store| shape::objects(store, self));
        logs.chain(buckets).chain(objects).collect()
    }
}

/// The shards of the settings.
pub fn shards(settings: &Settings) -> Vec<Shard> {
    settings.ints(names::SHARDS).into_iter().map(Shard).collect()
}

/// Creates what is missing and widens what is narrower than planned.
pub async fn apply(bus: &Bus, plan: &Plan) -> Result<Vec<Item>, ProvisionError> {
    let context = jetstream::new(bus.client.clone());
    let mut items = Vec::new();
    for wanted in plan.configs() {
        let stream = wanted.name.clone();
        let outcome = match look(&context, &stream).await? {
            None => create(&context, wanted).await?,
            Some(found) => widen(&context, wanted, found).await?,
        };
        items.push(Item { stream, outcome });
    }
    Ok(items)
}

/// Says what is missing or different, and changes nothing.
pub async fn inspect(bus: &Bus, plan: &Plan) -> Result<Vec<Item>, ProvisionError> {
    let context = jetstream::new(bus.client.clone());
    let mut items = Vec::new();
    for wanted in plan.configs() {
        let outcome = match look(&context, &wanted.name).await? {
            None => Outcome::Missing,
            Some(found) => outcome_of(compare::differences(&wanted, &found)),
        };
        items.push(Item { stream: wanted.name, outcome });
    }
    Ok(items)
}

/// What a service does at its start: everything it needs is there, or it ends with 69 and the fix.
pub async fn verify(bus: &Bus, shards: &[Shard]) -> Result<(), ProvisionError> {
    let plan = Plan { shards: shards.to_vec(), replicas: 1, log_bytes_max: 0, files_bytes_max: 0 };
    let mut wrong = Vec::new();
    for item in inspect(bus, &plan).await? {
        match item.outcome {
            Outcome::Missing => wrong.push(format!("{} is missing", item.stream)),
            Outcome::Differs(differences) => {
                // Size and replicas are the operator's choice, not part of what services rely on.
                let serious = differences.iter().filter(|difference| !difference.is_size());
                wrong.extend(serious.map(|difference| format!("{}: {difference}", item.stream)));
            }
            Outcome::Created | Outcome::Same | Outcome::Changed(_) => {}
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(ProvisionError::NotAsPlanned(Unavailable::new(wrong.join("; "), "run: ops provision")))
}

async fn look(context: &Context, stream: &str) -> Result<Option<Config>, ProvisionError> {
    let failed = |source| ProvisionError::Look { stream: stream.to_owned(), source };
    match context.get_stream(stream).await {
        Ok(found) => Ok(Some(found.cached_info().config.clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(inner)
                if inner.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(None)
            }
            _ => Err(failed(error)),
        },
    }
}

async fn create(context: &Context, mut wanted: Config) -> Result<Outcome, ProvisionError> {
    let stream = wanted.name.clone();
    if wanted.republish.is_some() {
        // Drawn once: a log that is made again is another log, and says so.
        wanted.metadata.insert(stream::EPOCH_KEY.to_owned(), uuid::Uuid::now_v7().to_string());
    }
    let replicas = wanted.num_replicas;
    match context.create_stream(wanted).await {
        Ok(_) => {
            tracing::info!(stream, replicas, "created");
            Ok(Outcome::Created)
        }
        // Another process was quicker; it draws the epoch.
        Err(source) => match look(context, &stream).await? {
            Some(_) => Ok(Outcome::Same),
            None => Err(ProvisionError::Create { stream, source }),
        },
    }
}

async fn widen(context: &Context, wanted: Config, found: Config) -> Result<Outcome, ProvisionError> {
    let differences = compare::differences(&wanted, &found);
    let widening: Vec<_> = differences.iter().filter(|difference| difference.widens).cloned().collect();
    if !widening.is_empty() {
        let stream = found.name.clone();
        let changed = compare::widened(found, &wanted);
        context.update_stream(changed).await.map_err(|source| ProvisionError::Change { stream, source })?;
    }
    let left: Vec<_> = differences.into_iter().filter(|difference| !difference.widens).collect();
    Ok(if left.is_empty() && !widening.is_empty() { Outcome::Changed(widening) } else { outcome_of(left) })
}

fn outcome_of(differences: Vec<Difference>) -> Outcome {
    if differences.is_empty() { Outcome::Same } else { Outcome::Differs(differences) }
}
