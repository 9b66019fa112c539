//! The events of one conversation as a correct widget shows them.
//!
//! Invariant: entries are in the order of `seq` and unique by `id`. A client cannot see gaps (`seq` is not contiguous):
//! it trusts the server, and counts what a correct server never does.

use std::collections::{HashMap, VecDeque};

use bus_schema::EventId;

use super::wire::EventHead;

/// An event as it came, with what lists are kept by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub seq: u64,
    pub id: EventId,
    /// The event's bytes as the server sent them.
    pub raw: Box<str>,
}

impl Entry {
    pub fn new(head: &EventHead<'_>, raw: &str) -> Self {
        Self { seq: head.seq, id: head.id, raw: raw.into() }
    }

    pub fn decode(&self) -> Result<bus_schema::event::Seen, bus_schema::event::DecodeError> {
        bus_schema::event::Seen::decode(self.raw.as_bytes())
    }
}

/// What became of an event that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    Appended,
    /// Inserted by its `seq`; the push said `late`.
    Late,
    /// Inserted by its `seq`, though the push did not say `late`: a fault of the server.
    Disordered,
    /// Its id was there already.
    Repeated,
}

/// How often each thing happened that needs explaining.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListCounts {
    pub late: u64,
    pub disordered: u64,
    pub repeated: u64,
    /// Entries given up to stay within the bound.
    pub dropped: u64,
}

/// Entries in the order of `seq`, at most `keep` of them (the newest).
#[derive(Debug)]
pub struct EventList {
    entries: VecDeque<Entry>,
    ids: HashMap<EventId, u64>,
    keep: usize,
    /// Highest sequence ever seen, also of entries that are not kept.
    last_seq: u64,
    pub has_more: bool,
    pub counts: ListCounts,
}

impl EventList {
    pub fn new(keep: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            ids: HashMap::new(),
            keep,
            last_seq: 0,
            has_more: false,
            counts: ListCounts::default(),
        }
    }

    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    pub const fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Takes a pushed event.
    pub fn push(&mut self, head: &EventHead<'_>, raw: &str, late: bool) -> Applied {
        let applied = if head.seq > self.last_seq {
            Applied::Appended
        } else if self.ids.contains_key(&head.id) || (self.keep == 0 && head.seq == self.last_seq) {
            Applied::Repeated
        } else if late {
            Applied::Late
        } else {
            Applied::Disordered
        };
        let applied =
            if self.keep > 0 && !self.insert(Entry::new(head, raw)) { Applied::Repeated } else { applied };
        self.last_seq = self.last_seq.max(head.seq);
        match applied {
            Applied::Appended => {}
            Applied::Late => self.counts.late += 1,
            Applied::Disordered => self.counts.disordered += 1,
            Applied::Repeated => self.counts.repeated += 1,
        }
        applied
    }

    /// A snapshot or reset: what was there is gone.
    pub fn replace(&mut self, entries: Vec<Entry>, has_more: bool) {
        self.entries.clear();
        self.ids.clear();
        self.last_seq = 0;
        self.merge(entries);
        self.has_more |= has_more;
    }

    /// A page, which may overlap with what is there.
    pub fn merge(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.last_seq = self.last_seq.max(entry.seq);
            if self.keep > 0 {
                self.insert(entry);
            }
        }
    }

    /// Inserts by `seq`; false if the id was there. Of two copies the one with the lower `seq` stays.
    fn insert(&mut self, entry: Entry) -> bool {
        if let Some(&seq) = self.ids.get(&entry.id) {
            if seq <= entry.seq {
                return false;
            }
            self.entries.retain(|kept| kept.seq != seq);
        }
        let fresh = self.ids.insert(entry.id, entry.seq).is_none();
        match self.entries.back() {
            Some(last) if last.seq > entry.seq => {
                let at = self.entries.partition_point(|kept| kept.seq < entry.seq);
                self.entries.insert(at, entry);
            }
            _ => self.entries.push_back(entry),
        }
        if self.entries.len() > self.keep
            && let Some(oldest) = self.entries.pop_front()
        {
            self.ids.remove(&oldest.id);
            self.has_more = true;
            self.counts.dropped += 1;
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn raw(seq: u64, id: u128) -> String {
        format!(
            r#"{{"seq":{seq},"at":"2026-11-21T01:02:03.004Z","v":1,"kind":"message","id":"{}","author":{{"type":"system","id":"{}"}},"data":{{"text":"x"}}}}"#,
            Uuid::from_u128(id),
            Uuid::nil()
        )
    }

    fn push(list: &mut EventList, seq: u64, id: u128, late: bool) -> Applied {
        let raw = raw(seq, id);
        list.push(&EventHead::read(&raw).unwrap(), &raw, late)
    }

    fn entry(seq: u64, id: u128) -> Entry {
        let raw = raw(seq, id);
        Entry::new(&EventHead::read(&raw).unwrap(), &raw)
    }

    fn seqs(list: &EventList) -> Vec<u64> {
        list.entries().map(|entry| entry.seq).collect()
    }

    #[test]
    fn pushes_append_and_late_ones_are_inserted() {
        let mut list = EventList::new(10);
        assert_eq!(push(&mut list, 3, 3, false), Applied::Appended);
        assert_eq!(push(&mut list, 7, 7, false), Applied::Appended);
        assert_eq!(push(&mut list, 5, 5, true), Applied::Late);
        assert_eq!(push(&mut list, 4, 4, false), Applied::Disordered);
        assert_eq!(seqs(&list), [3, 4, 5, 7]);
        assert_eq!((list.counts.late, list.counts.disordered), (1, 1));
    }

    #[test]
    fn an_id_is_shown_once_at_its_lowest_seq() {
        let mut list = EventList::new(10);
        push(&mut list, 3, 1, false);
        assert_eq!(push(&mut list, 9, 1, false), Applied::Repeated);
        assert_eq!((seqs(&list), list.last_seq()), (vec![3], 9));
        assert_eq!(push(&mut list, 2, 1, true), Applied::Repeated);
        assert_eq!(seqs(&list), [2]);
    }

    #[test]
    fn snapshots_replace_and_pages_overlap() {
        let mut list = EventList::new(10);
        push(&mut list, 3, 3, false);
        list.replace(vec![entry(8, 8), entry(9, 9)], true);
        assert_eq!((seqs(&list), list.has_more), (vec![8, 9], true));
        list.merge(vec![entry(6, 6), entry(8, 8)]);
        assert_eq!(seqs(&list), [6, 8, 9]);
    }

    #[test]
    fn the_newest_are_kept_within_the_bound() {
        let mut list = EventList::new(2);
        for seq in 1..=4 {
            push(&mut list, seq, seq.into(), false);
        }
        assert_eq!((seqs(&list), list.has_more, list.counts.dropped), (vec![3, 4], true, 2));
        let mut none = EventList::new(0);
        assert_eq!(push(&mut none, 1, 1, false), Applied::Appended);
        assert_eq!((none.entries().len(), none.last_seq()), (0, 1));
        assert_eq!(push(&mut none, 1, 1, false), Applied::Repeated);
    }

    proptest! {
        #[test]
        fn whatever_comes_the_list_is_ordered_and_unique(pushes: Vec<(u8, u8, bool)>, keep in 1_usize..20) {
            let mut list = EventList::new(keep);
            for (seq, id, late) in pushes {
                push(&mut list, seq.into(), id.into(), late);
                let entries: Vec<_> = list.entries().collect();
                prop_assert!(entries.len() <= keep);
                prop_assert!(entries.windows(2).all(|two| two[0].seq <= two[1].seq));
                let ids: std::collections::HashSet<_> = entries.iter().map(|entry| entry.id).collect();
                prop_assert_eq!(ids.len(), entries.len());
            }
        }
    }
}
