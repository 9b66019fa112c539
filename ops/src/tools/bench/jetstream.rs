//! The limit that the bus sets: publishing alone, at the same size, sync setting and window.

use std::{
    collections::VecDeque,
    future::IntoFuture as _,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use async_nats::jetstream::{self, context::PublishAckFuture, stream};
use bytes::Bytes;
use serde::Serialize;

use super::{
    procs::{Procs, used},
    spread::{Quantiles, Spread},
};
use crate::{log::Log, nats::Bus};

const SUBJECTS: u64 = 100;

#[derive(Debug, Clone, Serialize)]
pub struct Alone {
    pub payload_bytes: usize,
    pub window: usize,
    /// One publish at a time.
    pub single: Quantiles,
    /// `window` publishes without an answer.
    pub rate: f64,
    pub windowed: Quantiles,
    /// Of nats-server.
    pub cpu_us_per_message: f64,
}

/// How it is measured.
pub struct Terms {
    pub payload_bytes: usize,
    pub window: usize,
    /// Copies of the stream, as the log has.
    pub replicas: usize,
    pub each: Duration,
}

/// How many copies of the log there are.
pub async fn replicas(log: &Log) -> anyhow::Result<usize> {
    let context = jetstream::new(log.bus().client.clone());
    let stream = context.get_stream(log.stream()).await.context("cannot read the log's stream")?;
    Ok(stream.cached_info().config.num_replicas)
}

/// Publishes into a stream of its own on the same server, and removes it.
pub async fn measure(bus: &Bus, procs: &Procs, terms: &Terms) -> anyhow::Result<Alone> {
    let context = jetstream::new(bus.client.clone());
    let name = format!("BENCH_{:08x}", rand::random::<u32>());
    let config = stream::Config {
        name: name.clone(),
        subjects: vec![format!("bench.{name}.*")],
        storage: stream::StorageType::File,
        num_replicas: terms.replicas,
        ..stream::Config::default()
    };
    context.create_stream(config).await.context("cannot make a stream to publish into")?;
    let measured = publish(&context, &name, procs, terms).await;
    context.delete_stream(&name).await.context("cannot remove the stream")?;
    measured
}

async fn publish(
    context: &jetstream::Context,
    name: &str,
    procs: &Procs,
    &Terms { payload_bytes, window, each, .. }: &Terms,
) -> anyhow::Result<Alone> {
    let payload = Bytes::from(vec![b'x'; payload_bytes]);
    let subject = |n: u64| format!("bench.{name}.{}", n % SUBJECTS);
    let (mut single, mut sent, start) = (Spread::new(), 0_u64, Instant::now());
    while start.elapsed() < each {
        let began = Instant::now();
        context.publish(subject(sent), payload.clone()).await?.await?;
        single.record_ns(nanos(began));
        sent += 1;
    }
    let (mut windowed, mut acked) = (Spread::new(), 0_u64);
    let mut flying: VecDeque<(Instant, PublishAckFuture)> = VecDeque::with_capacity(window);
    let nats = procs.named("nats-server");
    let (before, start) = (nats.cpu(), Instant::now());
    while start.elapsed() < each {
        flying.push_back((Instant::now(), context.publish(subject(sent), payload.clone()).await?));
        sent += 1;
        if flying.len() >= window
            && let Some((began, ack)) = flying.pop_front()
        {
            ack.into_future().await?;
            windowed.record_ns(nanos(began));
            acked += 1;
        }
    }
    for (began, ack) in flying {
        ack.into_future().await?;
        windowed.record_ns(nanos(began));
        acked += 1;
    }
    let (took, cpu) = (start.elapsed(), used(&before, &nats.cpu()));
    Ok(Alone {
        payload_bytes,
        window,
        single: single.quantiles(),
        rate: acked as f64 / took.as_secs_f64(),
        windowed: windowed.quantiles(),
        cpu_us_per_message: cpu.get("nats-server").copied().unwrap_or(0) as f64 / acked.max(1) as f64,
    })
}

fn nanos(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
