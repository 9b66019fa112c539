//! Reads that the stream's leader answers: never older than a write that was acknowledged before.
//!
//! Invariant: none of these is answered by a replica that may lag.

use std::{borrow::Cow, time::Duration};

use async_nats::{Client, HeaderMap, RequestErrorKind};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bus_schema::{Epoch, Timestamp, stream::EPOCH_KEY};
use bytes::Bytes;
use rand::random_range;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::sleep;

use super::{Log, READ_WAIT, ReadError, StoredMsg, ack::ApiError};
use crate::wire::{HeaderBlock, Lost};

const NO_MESSAGE_FOUND: u64 = 10037;
/// The stream has no leader at the moment, or the server asked has not heard of the new one.
const NO_LEADER: [u64; 2] = [10008, 10009];
/// An error without a number, from a server that is still starting or already stopping.
const NO_NUMBER: u64 = 0;
/// Tries of one read while the stream has no leader.
const TRIES: u32 = 3;

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Question<'a> {
    Last { last_by_subj: &'a str },
    Next { seq: u64, next_by_subj: &'a str },
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    message: Option<Raw<'a>>,
    #[serde(borrow)]
    error: Option<ApiError<'a>>,
}

#[derive(Deserialize)]
struct Raw<'a> {
    subject: String,
    seq: u64,
    #[serde(borrow, default)]
    hdrs: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

/// Where the stream begins and ends, and how full it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEnd {
    pub first: u64,
    pub last: u64,
    pub bytes: u64,
    /// None where the stream has no limit.
    pub bytes_max: Option<u64>,
    pub replicas: usize,
    /// What the stream was created with, such as its epoch.
    pub metadata: std::collections::HashMap<String, String>,
}

#[derive(Deserialize)]
struct InfoAnswer {
    state: Option<StateAnswer>,
    config: Option<ConfigAnswer>,
    error: Option<InfoError>,
}

#[derive(Deserialize)]
struct InfoError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
struct StateAnswer {
    first_seq: u64,
    last_seq: u64,
    bytes: u64,
}

#[derive(Deserialize)]
struct ConfigAnswer {
    #[serde(default)]
    max_bytes: i64,
    #[serde(default)]
    num_replicas: usize,
    #[serde(default)]
    metadata: std::collections::HashMap<String, String>,
}

impl Log {
    /// The last message of exactly this subject.
    pub async fn last(&self, subject: &str) -> Result<Option<StoredMsg>, ReadError> {
        self.get(&Question::Last { last_by_subj: subject }).await
    }

    /// The first message that matches `filter` after sequence `seq`: what resolves an unknown outcome.
    pub async fn first_after(&self, filter: &str, seq: u64) -> Result<Option<StoredMsg>, ReadError> {
        self.get(&Question::Next { seq: seq + 1, next_by_subj: filter }).await
    }

    /// Like `read`, but from the leader, one request for each message: for the few that a replica lacks.
    pub async fn read_leader(
        &self,
        filter: &str,
        from: u64,
        max: usize,
    ) -> Result<Vec<StoredMsg>, ReadError> {
        let mut found: Vec<StoredMsg> = Vec::new();
        let before = from.saturating_sub(1);
        while found.len() < max {
            let after = found.last().map_or(before, |last| last.seq);
            match self.first_after(filter, after).await? {
                Some(message) => found.push(message),
                None => break,
            }
        }
        Ok(found)
    }

    /// Where the log begins and ends now.
    pub async fn end(&self) -> Result<StreamEnd, ReadError> {
        stream_end(&self.shared.bus.client, &self.shared.stream).await
    }

    /// Which log this is: drawn when its stream was created, so that a log made again is another one.
    pub async fn epoch(&self) -> Result<Epoch, ReadError> {
        let end = self.end().await?;
        end.metadata.get(EPOCH_KEY).and_then(|text| text.parse().ok()).ok_or(ReadError::NoEpoch)
    }

    async fn get(&self, question: &Question<'_>) -> Result<Option<StoredMsg>, ReadError> {
        self.get_from(&self.shared.leader_get, question).await
    }

    /// Asks the leader of the stream that answers on `subject`.
    pub(super) async fn get_from(
        &self,
        subject: &str,
        question: &Question<'_>,
    ) -> Result<Option<StoredMsg>, ReadError> {
        let payload = Bytes::from(serde_json::to_vec(question).map_err(|_| ReadError::Malformed)?);
        for _ in 1..TRIES {
            match self.try_get(subject, payload.clone()).await {
                // An election takes a moment; the question is harmless to repeat.
                Err(ReadError::Unavailable) => sleep(Duration::from_millis(random_range(20..100))).await,
                done => return done,
            }
        }
        self.try_get(subject, payload).await
    }

    async fn try_get(&self, subject: &str, payload: Bytes) -> Result<Option<StoredMsg>, ReadError> {
        let bytes = match &self.wire {
            None => ask(&self.shared.bus.client, subject, payload).await?,
            Some(wire) => {
                let answer = wire.request(subject, &HeaderBlock::default(), &payload, READ_WAIT).await;
                answer.map_err(|lost| match lost {
                    Lost::TimedOut => ReadError::TimedOut,
                    Lost::Disconnected | Lost::NoResponders | Lost::Busy | Lost::Invalid => {
                        ReadError::Unavailable
                    }
                })?
            }
        };
        let answer: Answer<'_> = serde_json::from_slice(&bytes).map_err(|_| ReadError::Malformed)?;
        match (answer.message, answer.error) {
            (Some(raw), None) => raw.read().map(Some).ok_or(ReadError::Malformed),
            (_, Some(error)) if error.err_code == NO_MESSAGE_FOUND => Ok(None),
            (_, Some(error)) => Err(refused(error.err_code, error.description.into_owned())),
            (None, None) => Err(ReadError::Malformed),
        }
    }
}

/// Where any stream begins and ends now.
pub(crate) async fn stream_end(client: &Client, stream: &str) -> Result<StreamEnd, ReadError> {
    let subject = format!("$JS.API.STREAM.INFO.{stream}");
    let answer: InfoAnswer = parse(&ask(client, &subject, Bytes::new()).await?)?;
    if let Some(error) = answer.error {
        return Err(refused(error.err_code, error.description));
    }
    let (state, config) = answer.state.zip(answer.config).ok_or(ReadError::Malformed)?;
    Ok(StreamEnd {
        first: state.first_seq,
        last: state.last_seq,
        bytes: state.bytes,
        bytes_max: u64::try_from(config.max_bytes).ok().filter(|max| *max > 0),
        replicas: config.num_replicas,
        metadata: config.metadata,
    })
}

pub(super) async fn ask(client: &Client, subject: &str, payload: Bytes) -> Result<Bytes, ReadError> {
    let request = async_nats::Request::new().payload(payload).timeout(Some(READ_WAIT));
    match client.send_request(subject.to_owned(), request).await {
        Ok(answer) => Ok(answer.payload),
        Err(error) if error.kind() == RequestErrorKind::TimedOut => Err(ReadError::TimedOut),
        Err(_) => Err(ReadError::Unavailable),
    }
}

pub(super) fn refused(code: u64, text: String) -> ReadError {
    match code {
        NO_NUMBER => ReadError::Unavailable,
        code if NO_LEADER.contains(&code) => ReadError::Unavailable,
        code => ReadError::Refused { code, text },
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ReadError> {
    serde_json::from_slice(bytes).map_err(|_| ReadError::Malformed)
}

impl Raw<'_> {
    fn read(self) -> Option<StoredMsg> {
        Some(StoredMsg {
            subject: self.subject,
            seq: self.seq,
            at: Timestamp::parse(&self.time).ok()?,
            headers: headers(&STANDARD.decode(self.hdrs.as_bytes()).ok()?)?,
            payload: STANDARD.decode(self.data.as_bytes()).ok()?.into(),
        })
    }
}

/// Reads a header block as it is stored: a version line, then `Name: value` lines.
fn headers(block: &[u8]) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for line in std::str::from_utf8(block).ok()?.split("\r\n").skip(1).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        map.append(name.parse::<async_nats::HeaderName>().ok()?, value.trim());
    }
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_without_a_leader_is_unavailable_and_not_broken() {
        for code in [0, 10008, 10009] {
            assert_eq!(refused(code, String::new()), ReadError::Unavailable);
        }
        assert!(matches!(refused(10059, "stream not found".into()), ReadError::Refused { code: 10059, .. }));
    }

    #[test]
    fn stored_headers_are_read() {
        let map = headers(b"NATS/1.0\r\nNats-Msg-Id: a\r\nX:b: c\r\n\r\n").unwrap();
        assert_eq!(map.get("Nats-Msg-Id").unwrap().as_str(), "a");
        assert_eq!(map.get("X").unwrap().as_str(), "b: c");
        assert!(headers(b"").unwrap().is_empty());
        assert!(headers(b"NATS/1.0\r\nnonsense\r\n\r\n").is_none());
    }
}
