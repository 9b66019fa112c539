//! A reader behind any network ends with the log's slice.

use bus_schema::{Audience, Lane};
use proptest::prelude::*;

use super::{Action, Asked, Copy, Entry, Feed, Wanted};

/// The log of one conversation, and a replica that may be behind.
#[derive(Debug, Default, Clone)]
struct Log {
    entries: Vec<Copy<u64>>,
}

impl Log {
    fn append(&mut self, lane: Lane, skip: u64) {
        let seq = self.entries.last().map_or(0, |copy| copy.entry.seq) + 1 + skip;
        let last = |lane: Lane| self.entries.iter().rev().find(|c| c.entry.lane == lane).map(|c| c.entry.seq);
        let fence = matches!(lane, Lane::Msg | Lane::Note).then(|| last(Lane::Life).unwrap_or(0));
        let previous = last(lane).unwrap_or(0);
        self.entries.push(Copy { entry: Entry { lane, seq, item: seq }, previous, fence });
    }

    /// One answer: at most `batch` entries, from a server that has the first `have` entries.
    fn read(&self, audience: Audience, from: u64, have: usize, batch: usize) -> (Vec<Entry<u64>>, bool) {
        let all: Vec<_> = self.entries[..have]
            .iter()
            .map(|copy| copy.entry.clone())
            .filter(|entry| entry.seq >= from && audience.lanes().contains(&entry.lane))
            .collect();
        let ended = all.len() <= batch;
        (all.into_iter().take(batch).collect(), ended)
    }

    fn end(&self, lane: Lane) -> Option<(Lane, u64)> {
        self.entries.iter().rev().find(|copy| copy.entry.lane == lane).map(|copy| (lane, copy.entry.seq))
    }

    fn tail(&self, audience: Audience, have: usize) -> Vec<(Lane, u64)> {
        let last = |lane| self.entries[..have].iter().rev().find(|c| c.entry.lane == lane);
        audience.lanes().iter().filter_map(|lane| last(*lane).map(|copy| (*lane, copy.entry.seq))).collect()
    }
}

/// A reader of a feed, that checks each delivery against what it had.
#[derive(Debug, Default)]
struct Reader {
    got: Vec<(Lane, u64, bool)>,
    /// The position that came with each.
    positions: Vec<[u64; Lane::ALL.len()]>,
    wanted: Option<Wanted>,
    /// The ends of the lanes are asked for.
    looked: bool,
}

impl Reader {
    fn take(&mut self, actions: &mut Vec<Action<u64>>) {
        for action in actions.drain(..) {
            match action {
                Action::Deliver { entry, late, position } => {
                    let highest = self.got.iter().map(|(_, seq, _)| *seq).max().unwrap_or(0);
                    assert_eq!(late, entry.seq < highest, "late is said exactly when it is");
                    let before = self.got.iter().rev().find(|(lane, ..)| *lane == entry.lane);
                    assert!(before.is_none_or(|(_, seq, _)| *seq < entry.seq), "a lane ascends");
                    self.got.push((entry.lane, entry.seq, late));
                    self.positions.push(position);
                }
                Action::Read(wanted) => {
                    assert!(!self.asks(), "one read at a time");
                    self.wanted = Some(wanted);
                }
                Action::Look => {
                    assert!(!self.asks(), "one read at a time");
                    self.looked = true;
                }
            }
        }
    }

    fn asks(&self) -> bool {
        self.wanted.is_some() || self.looked
    }

    fn slice(&self) -> Vec<(Lane, u64)> {
        let mut got: Vec<_> = self.got.iter().map(|(lane, seq, _)| (*lane, *seq)).collect();
        got.sort_by_key(|(_, seq)| *seq);
        got
    }
}

/// A look lane after lane: what was delivered before it, and the ends told until now.
type Look = (u64, Vec<Option<(Lane, u64)>>);

#[derive(Debug, Clone)]
enum Step {
    Append {
        lane: usize,
        skip: u64,
    },
    /// The live copy of the n-th entry comes, again or out of turn.
    Live(usize),
    /// The next copy that never came, comes.
    NextLive,
    /// The next copy is lost.
    Drop,
    /// An answer to the read under way, from a server that lacks the last few entries.
    Answer {
        lag: usize,
        batch: usize,
    },
    ReadFails,
    TailCheck {
        lag: usize,
    },
    /// The leader tells the end of the next lane, as it is now; with that of the last one the look is over.
    NextEnd,
    Unverify,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_usize..5, 0_u64..3).prop_map(|(lane, skip)| Step::Append { lane, skip }),
        6 => Just(Step::NextLive),
        1 => (0_usize..64).prop_map(Step::Live),
        1 => Just(Step::Drop),
        4 => (0_usize..3, 1_usize..6).prop_map(|(lag, batch)| Step::Answer { lag, batch }),
        1 => Just(Step::ReadFails),
        1 => (0_usize..3).prop_map(|lag| Step::TailCheck { lag }),
        4 => Just(Step::NextEnd),
        1 => Just(Step::Unverify),
    ]
}

fn answer(
    feed: &mut Feed<u64>,
    reader: &mut Reader,
    log: &Log,
    audience: Audience,
    lag: usize,
    batch: usize,
) {
    let mut out = Vec::new();
    if std::mem::take(&mut reader.looked) {
        let have = log.entries.len().saturating_sub(lag);
        feed.on_ends(&log.tail(audience, have), &mut out);
        return reader.take(&mut out);
    }
    let Some(wanted) = reader.wanted.take() else { return };
    let lag = if wanted.leader { 0 } else { lag };
    let have = log.entries.len().saturating_sub(lag);
    let (entries, ended) = log.read(audience, wanted.from, have, batch);
    feed.on_read(entries, ended, &mut out);
    reader.take(&mut out);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_reader_ends_with_the_logs_slice(
        before in 0_usize..10,
        staff: bool,
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let audience = if staff { Audience::Staff } else { Audience::All };
        let mut log = Log::default();
        for n in 0..before {
            log.append(Lane::ALL[n % 5], 0);
        }
        let position = log.tail(audience, before).iter().map(|(_, seq)| *seq).max().unwrap_or(0);
        let mut feed = Feed::at(audience, position);
        let (mut reader, mut out, mut next) = (Reader::default(), Vec::new(), before);
        let mut look: Option<Look> = None;
        let hears = |copy: &Copy<u64>| audience.lanes().contains(&copy.entry.lane);
        for step in steps {
            match step {
                Step::Append { lane, skip } => log.append(Lane::ALL[lane], skip),
                Step::NextLive if next < log.entries.len() => {
                    let copy = log.entries[next].clone();
                    next += 1;
                    if hears(&copy) {
                        feed.on_live(copy, &mut out);
                    }
                }
                Step::Live(n) if !log.entries.is_empty() => {
                    let copy = log.entries[n % log.entries.len()].clone();
                    if hears(&copy) {
                        feed.on_live(copy, &mut out);
                    }
                }
                Step::Drop if next < log.entries.len() => next += 1,
                Step::Answer { lag, batch } => answer(&mut feed, &mut reader, &log, audience, lag, batch),
                Step::ReadFails if reader.asks() => {
                    (reader.wanted, reader.looked) = (None, false);
                    feed.on_read_failed();
                }
                Step::TailCheck { lag } => {
                    let have = log.entries.len().saturating_sub(lag);
                    feed.on_tail(&log.tail(audience, have), Asked::AtOnce, &mut out);
                }
                Step::NextEnd => {
                    let (highest, mut ends) = look.take().unwrap_or_else(|| (feed.highest(), Vec::new()));
                    ends.push(log.end(audience.lanes()[ends.len()]));
                    if ends.len() < audience.lanes().len() {
                        look = Some((highest, ends));
                    } else {
                        let tail: Vec<_> = ends.into_iter().flatten().collect();
                        feed.on_tail(&tail, Asked::EachOfLeader { highest }, &mut out);
                    }
                }
                Step::Unverify => feed.unverify(),
                _ => {}
            }
            reader.take(&mut out);
        }
        // The network heals: one look at the leader's tail brings everything.
        while reader.asks() {
            answer(&mut feed, &mut reader, &log, audience, 0, 100);
        }
        let asked = Asked::EachOfLeader { highest: feed.highest() };
        feed.on_tail(&log.tail(audience, log.entries.len()), asked, &mut out);
        reader.take(&mut out);
        while reader.asks() {
            answer(&mut feed, &mut reader, &log, audience, 0, 3);
        }
        let expected: Vec<_> = log
            .entries
            .iter()
            .filter(|copy| hears(copy) && copy.entry.seq > position)
            .map(|copy| (copy.entry.lane, copy.entry.seq))
            .collect();
        // Whoever is cut off after any delivery, and reads on from its position, misses nothing.
        for (n, position) in reader.positions.iter().enumerate() {
            let had = &reader.got[..=n];
            let passed = expected.iter().filter(|(lane, seq)| *seq <= position[lane.index()]);
            for (lane, seq) in passed {
                prop_assert!(had.iter().any(|(_, got, _)| got == seq), "{lane:?} {seq} was passed");
            }
        }
        prop_assert_eq!(reader.slice(), expected);
        prop_assert!(feed.is_verified() && !feed.is_reading());
    }
}

fn copy(lane: Lane, seq: u64, previous: u64, fence: Option<u64>) -> Copy<u64> {
    Copy { entry: Entry { lane, seq, item: seq }, previous, fence }
}

fn delivered(actions: &[Action<u64>]) -> Vec<u64> {
    let seq = |action: &Action<u64>| match action {
        Action::Deliver { entry, .. } => Some(entry.seq),
        Action::Read(_) | Action::Look => None,
    };
    actions.iter().filter_map(seq).collect()
}

fn wanted(actions: &[Action<u64>]) -> Option<Wanted> {
    actions.iter().find_map(|action| match action {
        Action::Read(wanted) => Some(*wanted),
        Action::Deliver { .. } | Action::Look => None,
    })
}

fn looks(actions: &[Action<u64>]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Look))
}

#[test]
fn messages_in_turn_are_delivered_without_a_read() {
    let (mut feed, mut out) = (Feed::at(Audience::All, 10), Vec::new());
    feed.on_live(copy(Lane::Msg, 11, 9, Some(10)), &mut out);
    feed.on_live(copy(Lane::Mark, 12, 0, None), &mut out);
    feed.on_live(copy(Lane::Msg, 15, 11, Some(10)), &mut out);
    assert_eq!((delivered(&out), wanted(&out)), (vec![11, 12, 15], None));
    // Purging lowers the previous one: no gap.
    feed.on_live(copy(Lane::Msg, 16, 2, Some(10)), &mut out);
    assert_eq!(delivered(&out), [11, 12, 15, 16]);
}

#[test]
fn a_gap_an_unknown_fence_and_doubt_read_first() {
    let reads = |verified: bool, live: Copy<u64>| {
        let (mut feed, mut out) = (Feed::at(Audience::All, 10), Vec::new());
        if !verified {
            feed.unverify();
        }
        let seq = live.entry.seq;
        feed.on_live(live, &mut out);
        assert_eq!(wanted(&out), Some(Wanted { from: 11, up_to: seq, leader: false }));
        assert!(delivered(&out).is_empty());
    };
    reads(true, copy(Lane::Msg, 15, 13, Some(10)));
    reads(true, copy(Lane::Msg, 15, 9, Some(12)));
    reads(true, copy(Lane::Life, 15, 12, None));
    reads(false, copy(Lane::Msg, 15, 9, Some(10)));
    reads(false, copy(Lane::Life, 15, 9, None));
}

#[test]
fn life_is_read_up_to_only_where_another_lane_has_something_before_it() {
    let look = |ends: &[(Lane, u64)], doubted: bool| {
        let (mut feed, mut out) = (Feed::at(Audience::All, 10), Vec::new());
        feed.on_live(copy(Lane::Life, 15, 9, None), &mut out);
        // What comes meanwhile waits.
        feed.on_live(copy(Lane::Msg, 16, 9, Some(15)), &mut out);
        assert_eq!((looks(&out), out.len()), (true, 1));
        if doubted {
            feed.unverify();
        }
        out.clear();
        feed.on_ends(ends, &mut out);
        (delivered(&out), wanted(&out), feed.complete_to())
    };
    let read = Some(Wanted { from: 11, up_to: 15, leader: false });
    assert_eq!(look(&[(Lane::Msg, 10), (Lane::Life, 15)], false), (vec![15, 16], None, 15));
    assert_eq!(look(&[(Lane::Life, 15)], false), (vec![15, 16], None, 15), "the other lanes are empty");
    assert_eq!(look(&[(Lane::Mark, 13), (Lane::Life, 15)], false), (vec![], read, 10));
    assert_eq!(look(&[(Lane::Msg, 10), (Lane::Life, 9)], false), (vec![], read, 10), "a replica that lags");
    assert_eq!(
        look(&[(Lane::Msg, 10), (Lane::Life, 19)], false),
        (vec![15, 16], None, 15),
        "one that is ahead"
    );
    assert_eq!(look(&[(Lane::Msg, 16), (Lane::Life, 15)], false), (vec![], read, 10), "it may lie before");
    assert_eq!(look(&[(Lane::Msg, 10), (Lane::Life, 15)], true), (vec![], read, 10));
}

#[test]
fn a_replica_that_lags_is_asked_again_and_then_the_leader() {
    let (mut feed, mut out) = (Feed::at(Audience::All, 10), Vec::new());
    feed.on_live(copy(Lane::Life, 15, 13, None), &mut out);
    for leader in [false, true] {
        out.clear();
        feed.on_read(Vec::new(), true, &mut out);
        assert_eq!(wanted(&out), Some(Wanted { from: 11, up_to: 15, leader }));
    }
    out.clear();
    let entry = |lane, seq| Entry { lane, seq, item: seq };
    feed.on_read(vec![entry(Lane::Msg, 13), entry(Lane::Life, 15)], true, &mut out);
    assert_eq!(delivered(&out), [13, 15]);
    assert_eq!(feed.complete_to(), 15);
}

#[test]
fn a_flood_during_a_read_is_bounded_and_read_afterwards() {
    let (mut feed, mut out) = (Feed::at(Audience::All, 0), Vec::new());
    for seq in 2..3_000 {
        feed.on_live(copy(Lane::Msg, seq, seq - 1, None), &mut out);
    }
    assert_eq!((wanted(&out).map(|wanted| wanted.up_to), out.len()), (Some(2), 1));
    out.clear();
    let entry = |seq| Entry { lane: Lane::Msg, seq, item: seq };
    feed.on_read(vec![entry(1), entry(2)], true, &mut out);
    assert_eq!(delivered(&out).len(), 2 + super::core::WAITING_MAX);
    assert_eq!(wanted(&out).map(|wanted| wanted.up_to), Some(2_999));
}
