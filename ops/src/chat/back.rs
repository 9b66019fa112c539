//! Reading what matches one filter from its end towards its beginning, at the cost of what is wanted.
//!
//! Invariant: the pieces that it gives follow each other downwards without a hole between or in them. The server reads
//! upwards alone, and says how many messages follow: from that a place is found to read a piece from. A count that is
//! wrong, as on a replica that lags, costs another read and no message.

use std::ops::ControlFlow;

use super::{Span, lanes::Part, slice};
use crate::log::{Log, READ_BYTES_MAX, ReadError, StoredMsg};

/// So many more than wanted may be read, and at most as many again, which spares looking for the exact place.
const SLACK: usize = 64;
/// Bytes that a piece is meant to have at most: where messages are long, fewer are wanted.
const PIECE_BYTES: usize = READ_BYTES_MAX * 3 / 4;
/// Questions for one place; afterwards the best that is known is taken.
const QUESTIONS_MAX: u32 = 40;

/// A way down.
#[derive(Debug)]
pub struct Back<'a> {
    log: &'a Log,
    filter: String,
    /// Where it ends.
    floor: u64,
    /// What is above was given already.
    up_to: u64,
    begun: bool,
    /// Messages of a piece.
    most: usize,
}

impl<'a> Back<'a> {
    /// From the end of `part` down to its beginning.
    pub fn new(log: &'a Log, part: Part) -> Self {
        let Part { filter, span } = part;
        Self { log, filter, floor: span.from.max(1), up_to: span.up_to, begun: false, most: usize::MAX }
    }

    /// Everything was given.
    pub const fn is_over(&self) -> bool {
        self.up_to < self.floor
    }

    /// The next piece, ascending: at least `want` messages, unless they are long, it is the last one, or a count was
    /// wrong.
    pub async fn piece(&mut self, want: usize) -> Result<Vec<StoredMsg>, ReadError> {
        if self.is_over() {
            return Ok(Vec::new());
        }
        // Most conversations are short: all of it at once, unless it turns out to be long.
        if !std::mem::replace(&mut self.begun, true) {
            match self.whole(want + SLACK).await? {
                Ok(all) => {
                    self.up_to = self.floor - 1;
                    return Ok(all);
                }
                Err(long) => self.most = (PIECE_BYTES / long.bytes_each.max(1)).max(1),
            }
        }
        let (from, expected) = self.place(want.min(self.most)).await?;
        let mut found = Vec::new();
        let span = Span::new(from, self.up_to).about(expected.saturating_add(1));
        slice(self.log, &self.filter, span, |message| {
            found.push(message);
            ControlFlow::Continue(())
        })
        .await?;
        self.up_to = from - 1;
        Ok(found)
    }

    /// Everything, where it is not more than `most` and no more than a piece may have.
    async fn whole(&self, most: usize) -> Result<Result<Vec<StoredMsg>, Long>, ReadError> {
        let (mut found, mut bytes, mut is_more) = (Vec::new(), 0, false);
        // One more than wanted, so that an answer which is full is known to be whole.
        let span = Span::new(self.floor, self.up_to).about(most.saturating_add(1));
        slice(self.log, &self.filter, span, |message| {
            is_more = found.len() == most || bytes >= PIECE_BYTES;
            if is_more {
                return ControlFlow::Break(());
            }
            bytes += message.payload.len();
            found.push(message);
            ControlFlow::Continue(())
        })
        .await?;
        Ok(if is_more { Err(Long { bytes_each: bytes / found.len().max(1) }) } else { Ok(found) })
    }

    /// A sequence from which on there are at least `want` messages, and not many more, with their number.
    async fn place(&self, want: usize) -> Result<(u64, usize), ReadError> {
        let above = self.up_to.saturating_add(1);
        let ((_, all), (_, rest)) = tokio::try_join!(self.ahead(self.floor), self.ahead(above))?;
        let mut search = Search::new(want as u64, self.floor, all.saturating_sub(rest), above);
        for _ in 0..QUESTIONS_MAX {
            let Some(at) = search.question() else { break };
            let (first, ahead) = self.ahead(at).await?;
            search.answer(at, first, ahead.saturating_sub(rest));
        }
        let Mark { seq, messages } = search.low;
        Ok((seq, usize::try_from(messages).unwrap_or(usize::MAX)))
    }

    /// The first message from `from` on, and how many there are.
    async fn ahead(&self, from: u64) -> Result<(u64, u64), ReadError> {
        let piece = self.log.piece(&self.filter, from, 1).await?;
        let first = piece.messages.first().map_or(from, |first| first.seq);
        Ok((first, piece.messages.len() as u64 + piece.pending))
    }
}

/// There is more than a piece of it.
#[derive(Debug, Clone, Copy)]
struct Long {
    bytes_each: usize,
}

/// So many messages from a sequence on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    seq: u64,
    messages: u64,
}

/// The search for a place between one with enough messages and one with too few.
#[derive(Debug)]
struct Search {
    want: u64,
    low: Mark,
    high: Mark,
    /// The next question halves, so that a conversation that was busy in bursts is no worse than its logarithm.
    halve: bool,
}

impl Search {
    const fn new(want: u64, floor: u64, messages: u64, above: u64) -> Self {
        let (low, high) = (Mark { seq: floor, messages }, Mark { seq: above, messages: 0 });
        Self { want, low, high, halve: false }
    }

    /// Where to count next; none: `low` is good enough.
    fn question(&mut self) -> Option<u64> {
        let Self { want, low, high, .. } = *self;
        let width = high.seq.saturating_sub(low.seq);
        let slack = want.min(SLACK as u64);
        if low.messages <= want + slack || width < 2 {
            return None;
        }
        let halve = self.halve;
        self.halve = !halve;
        let down = if halve {
            width / 2
        } else {
            // Where it would be if the messages were spread evenly.
            let wanted = u128::from(want + slack / 2 - high.messages);
            let share = u128::from(width) * wanted / u128::from(low.messages - high.messages).max(1);
            u64::try_from(share).unwrap_or(width)
        };
        Some(high.seq - down.clamp(1, width - 1))
    }

    /// From `at` on there are so many messages, the first of them at `first`.
    const fn answer(&mut self, at: u64, first: u64, messages: u64) {
        if messages >= self.want {
            // A replica that lags may name one that is not among those wanted.
            let seq = if first < self.high.seq { first } else { at };
            self.low = Mark { seq, messages };
        } else {
            self.high = Mark { seq: at, messages };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn search(seqs: &[u64], want: u64, up_to: u64) -> (Mark, u32) {
        let count = |at: u64| seqs.iter().filter(|seq| (at..=up_to).contains(*seq)).count() as u64;
        let mut search = Search::new(want, 1, count(1), up_to + 1);
        let mut questions = 0;
        while let Some(at) = search.question() {
            questions += 1;
            let first = seqs.iter().copied().find(|seq| *seq >= at).unwrap_or(at);
            search.answer(at, first, count(at));
        }
        (search.low, questions)
    }

    proptest! {
        #[test]
        fn enough_is_found_and_not_much_more(
            gaps in proptest::collection::vec(prop_oneof![1_u64..3, 1_u64..100_000], 0..1_500),
            want in 1_u64..250,
            cut in 0.0..1.0_f64,
        ) {
            let seqs: Vec<u64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let up_to = (seqs.last().copied().unwrap_or(1) as f64 * cut) as u64 + 1;
            let there = seqs.iter().filter(|seq| **seq <= up_to).count() as u64;
            let (low, questions) = search(&seqs, want, up_to);
            let found = seqs.iter().filter(|seq| (low.seq..=up_to).contains(*seq)).count() as u64;
            prop_assert_eq!(found, low.messages);
            prop_assert!(found >= want.min(there));
            prop_assert!(found <= want + SLACK as u64);
            prop_assert!(questions <= QUESTIONS_MAX, "{questions} questions");
        }
    }

    #[test]
    fn an_even_conversation_takes_few_questions() {
        let seqs: Vec<u64> = (1..=100_000).map(|n| n * 37).collect();
        let (low, questions) = search(&seqs, 51, 3_700_000);
        assert!(questions <= 2 && low.messages <= 51 + SLACK as u64, "{questions} {low:?}");
    }
}
