//! Removing messages for good, which only erasing does.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    Log, ReadError,
    ack::ApiError,
    leader::{ask, refused},
};

#[derive(Serialize)]
struct Question<'a> {
    filter: &'a str,
    seq: u64,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    purged: u64,
    #[serde(borrow)]
    error: Option<ApiError<'a>>,
}

impl Log {
    /// Removes what matches `filter` with a sequence below `below`; gives how many messages went. Doing it again does
    /// no harm. Needs a right that only one service has.
    pub async fn purge(&self, filter: &str, below: u64) -> Result<u64, ReadError> {
        let subject = format!("$JS.API.STREAM.PURGE.{}", self.shared.stream);
        let question =
            serde_json::to_vec(&Question { filter, seq: below }).expect("a text and a number encode");
        let answer = ask(&self.shared.bus.client, &subject, Bytes::from(question)).await?;
        let answer: Answer<'_> = serde_json::from_slice(&answer).map_err(|_| ReadError::Malformed)?;
        match answer.error {
            Some(error) => Err(refused(error.err_code, error.description.into_owned())),
            None => Ok(answer.purged),
        }
    }
}
