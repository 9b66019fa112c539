//! Whether the log is still the one that the watermark was taken from.
//!
//! Invariant: nothing is read on from a log that disagrees: sequences are never renumbered and never skipped.

use bus_schema::{Epoch, stream::EPOCH_KEY, subject};
use ops::log::{Log, ReadError, StoredMsg, StreamEnd};

use crate::{
    batch::{End, decode},
    store::Position,
};

/// Why reading must not go on. People decide what is right; until then nothing is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    #[error("the stream says no epoch: it was not made by `ops provision`")]
    NoEpoch,
    #[error("the log is another one: its epoch is {log}, the read model was made from {kept}")]
    OtherEpoch { kept: Epoch, log: Epoch },
    #[error("the log ends at {last}, before the watermark {watermark}: it lost messages")]
    Shorter { watermark: u64, last: u64 },
    #[error(
        "the log begins at {first}, but the watermark is {watermark}: {missing} messages were never read"
    )]
    BeginsLater { watermark: u64, first: u64, missing: u64 },
    #[error("another event is at the watermark {watermark}: the log was written anew")]
    OtherEvent { watermark: u64 },
}

/// Compares, and gives the log's epoch.
pub fn compare(
    position: Option<&Position>,
    end: &StreamEnd,
    at_watermark: Option<&StoredMsg>,
) -> Result<Epoch, Disagreement> {
    let epoch: Epoch =
        end.metadata.get(EPOCH_KEY).and_then(|text| text.parse().ok()).ok_or(Disagreement::NoEpoch)?;
    let watermark = position.map_or(0, |position| position.end.seq.unsigned_abs());
    if let Some(position) = position {
        if position.epoch != epoch {
            return Err(Disagreement::OtherEpoch { kept: position.epoch, log: epoch });
        }
        if end.last < watermark {
            return Err(Disagreement::Shorter { watermark, last: end.last });
        }
        // Absent: trimmed, which only happens below the watermark.
        let found = at_watermark.filter(|message| message.seq == watermark);
        if found.is_some_and(|message| End::of(message, &decode(message)) != position.end) {
            return Err(Disagreement::OtherEvent { watermark });
        }
    }
    // An empty stream that was never written to begins at 0.
    if end.first > watermark + 1 {
        let missing = end.first - watermark - 1;
        return Err(Disagreement::BeginsLater { watermark, first: end.first, missing });
    }
    Ok(epoch)
}

/// Asks the log's leader and compares.
pub async fn check(
    log: &Log,
    position: Option<&Position>,
) -> Result<(StreamEnd, Result<Epoch, Disagreement>), ReadError> {
    let end = log.end().await?;
    let at_watermark = match position {
        Some(position) => {
            let before = position.end.seq.unsigned_abs().saturating_sub(1);
            log.first_after(&subject::stored_in_shard(log.shard()), before).await?
        }
        None => None,
    };
    let agreed = compare(position, &end, at_watermark.as_ref());
    Ok((end, agreed))
}

#[cfg(test)]
mod tests {
    use bus_schema::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn epoch(n: u128) -> Epoch {
        Epoch::from_uuid(Uuid::from_u128(n))
    }

    fn log(epoch: Epoch, first: u64, last: u64) -> StreamEnd {
        let metadata = [(EPOCH_KEY.to_owned(), epoch.to_string())].into_iter().collect();
        StreamEnd { first, last, bytes: 0, bytes_max: None, replicas: 1, metadata }
    }

    fn stored(seq: u64, at: i64) -> StoredMsg {
        StoredMsg {
            subject: "chat.v1.0.nonsense".to_owned(),
            seq,
            at: Timestamp::from_millis(at),
            headers: Default::default(),
            payload: "{}".into(),
        }
    }

    fn kept(seq: i64) -> Position {
        let subject = "chat.v1.0.nonsense".to_owned();
        Position { epoch: epoch(1), end: End { seq, subject, at: Timestamp::from_millis(5), id: None } }
    }

    #[test]
    fn a_log_that_goes_on_agrees() {
        assert_eq!(compare(None, &log(epoch(1), 0, 0), None), Ok(epoch(1)));
        assert_eq!(compare(None, &log(epoch(1), 1, 9), None), Ok(epoch(1)));
        assert_eq!(compare(Some(&kept(7)), &log(epoch(1), 1, 9), Some(&stored(7, 5))), Ok(epoch(1)));
        let trimmed = compare(Some(&kept(7)), &log(epoch(1), 8, 9), Some(&stored(8, 6)));
        assert_eq!(trimmed, Ok(epoch(1)));
    }

    #[test]
    fn every_disagreement_is_told_apart() {
        let halted = |position: Option<i64>, log: StreamEnd, message: Option<StoredMsg>| {
            compare(position.map(kept).as_ref(), &log, message.as_ref()).unwrap_err()
        };
        let mut nameless = log(epoch(1), 1, 9);
        nameless.metadata.clear();
        assert_eq!(halted(None, nameless, None), Disagreement::NoEpoch);
        let other = Disagreement::OtherEpoch { kept: epoch(1), log: epoch(2) };
        assert_eq!(halted(Some(7), log(epoch(2), 1, 9), Some(stored(7, 5))), other);
        assert_eq!(
            halted(Some(7), log(epoch(1), 1, 6), None),
            Disagreement::Shorter { watermark: 7, last: 6 }
        );
        let later = Disagreement::BeginsLater { watermark: 7, first: 10, missing: 2 };
        assert_eq!(halted(Some(7), log(epoch(1), 10, 12), Some(stored(10, 6))), later);
        let later = Disagreement::BeginsLater { watermark: 0, first: 3, missing: 2 };
        assert_eq!(halted(None, log(epoch(1), 3, 12), None), later);
        let changed = Disagreement::OtherEvent { watermark: 7 };
        assert_eq!(halted(Some(7), log(epoch(1), 1, 9), Some(stored(7, 6))), changed);
    }
}
