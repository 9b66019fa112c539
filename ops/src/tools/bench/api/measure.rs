//! An open loop: questions at fixed instants, whatever becomes of the ones before; latency from the intended instant.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{sync::Semaphore, task::JoinSet, time::sleep_until};

use super::{
    super::schedule::Draw,
    made::Made,
    routes::{As, Ask},
};

/// Unanswered questions; one more is counted as failed.
const IN_FLIGHT_MAX: usize = 256;
/// Questions before those that count: connections, caches, plans.
const WARM_UP: usize = 10;
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const PRECISION: u8 = 3;

/// How one kind of question was answered.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub name: &'static str,
    pub by: As,
    pub asked: usize,
    /// Not answered with 200, or not asked at all because too many were unanswered.
    pub failed: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    pub bytes: usize,
    pub aim_ms: u64,
}

impl Figure {
    pub fn meets_its_aim(&self) -> bool {
        self.failed == 0 && self.p99_ms <= self.aim_ms as f64
    }
}

/// Asks for `seconds` at `rate` per second.
pub async fn measure(
    http: &reqwest::Client,
    url: &str,
    token: &str,
    made: &Made,
    ask: &Ask,
    (rate, seconds): (f64, f64),
) -> anyhow::Result<Figure> {
    let mut draw = Draw::new(0x0a51);
    let mut bytes = 0;
    for _ in 0..WARM_UP {
        let answer = get(http, url, token, &ask.path(made, &mut draw)).await;
        bytes = answer.with_context(|| ask.name)?;
    }
    let asked = (rate * seconds) as usize;
    let room = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let (mut waiting, began, mut failed) = (JoinSet::new(), Instant::now(), 0);
    for number in 0..asked {
        let due = began + Duration::from_secs_f64(number as f64 / rate);
        sleep_until(due.into()).await;
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            failed += 1;
            continue;
        };
        let (http, url, token, path) =
            (http.clone(), url.to_owned(), token.to_owned(), ask.path(made, &mut draw));
        waiting.spawn(async move {
            let answered = get(&http, &url, &token, &path).await;
            drop(place);
            answered.map(|_| due.elapsed())
        });
    }
    let mut times = Histogram::<u64>::new(PRECISION)?;
    while let Some(done) = waiting.join_next().await {
        match done? {
            Ok(took) => times.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))?,
            Err(_) => failed += 1,
        }
    }
    let ms = |us: u64| us as f64 / 1e3;
    Ok(Figure {
        name: ask.name,
        by: ask.by,
        asked,
        failed,
        p50_ms: ms(times.value_at_quantile(0.5)),
        p99_ms: ms(times.value_at_quantile(0.99)),
        max_ms: ms(times.max()),
        bytes,
        aim_ms: ask.aim_ms,
    })
}

/// One question; the length of its answer.
pub async fn get(http: &reqwest::Client, url: &str, token: &str, path: &str) -> anyhow::Result<usize> {
    let request = http.get(format!("{url}{path}")).bearer_auth(token).timeout(ANSWER_WITHIN);
    let answer = request.send().await?;
    let status = answer.status();
    let body = answer.bytes().await?;
    ensure!(status == 200, "{path}: {status} {}", String::from_utf8_lossy(&body));
    Ok(body.len())
}
