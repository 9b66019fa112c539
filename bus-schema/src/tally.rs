//! What a reader of a thread has come to: everybody's marks, and what is unread. A cursor carries it, so that a resume
//! asks nobody what the client knew already.
//!
//! Invariant: it is what a snapshot at the same position says. Events may be taken in any order, but for the beginning
//! of a thread, which comes before what is of the thread.

use uuid::Uuid;

use crate::{
    Author, AuthorType,
    cursor::{BadCursor, pop_varint, push_varint},
    protocol::MarkView,
};

/// People whose marks a cursor carries; of more it carries nothing, and a resume reads the log.
pub const PEOPLE_MAX: usize = 4;
/// Unread messages that a cursor carries.
pub const UNREAD_MAX: usize = 16;
/// Unread messages that are kept in memory: once they are read, cursors carry the tally again.
const KEPT_MAX: usize = 256;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// First sequence of the thread.
    pub started_seq: u64,
    /// In the order of their authors.
    pub marks: Vec<MarkView>,
    /// Sequences of what others said above the reader's read mark, ascending.
    pub unread: Vec<u64>,
    /// There is more than the reader was shown at first.
    pub has_more: bool,
}

/// What an event changes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    Nothing,
    /// Something that counts as unread for all but its author.
    Said(Author),
    Marked(MarkView),
    /// The state of a thread.
    Thread {
        started_seq: u64,
        has_previous: bool,
    },
    /// It cannot be read.
    Unreadable,
}

impl Tally {
    /// Takes an event for `reader`; without one, for somebody who takes no part, for whom nothing is unread. None: what
    /// it comes to is not known any more.
    #[must_use]
    pub fn with(mut self, reader: Option<Author>, seq: u64, fact: Fact) -> Option<Self> {
        match fact {
            Fact::Unreadable => return None,
            Fact::Thread { started_seq, has_previous } if started_seq > self.started_seq => {
                self = Self { started_seq, has_more: has_previous, ..Self::default() };
            }
            // Of an earlier thread, or nothing that counts.
            _ if seq < self.started_seq => {}
            Fact::Nothing | Fact::Thread { .. } => {}
            Fact::Marked(mark) => self.mark(reader, mark),
            Fact::Said(author) if self.is_unread(reader, seq, author) => {
                if let Err(at) = self.unread.binary_search(&seq) {
                    self.unread.insert(at, seq);
                }
                if self.unread.len() > KEPT_MAX {
                    return None;
                }
            }
            Fact::Said(_) => {}
        }
        Some(self)
    }

    fn is_unread(&self, reader: Option<Author>, seq: u64, author: Author) -> bool {
        reader.is_some_and(|reader| author != reader && seq > self.read_by(reader))
    }

    fn mark(&mut self, reader: Option<Author>, mark: MarkView) {
        match self.marks.binary_search_by_key(&mark.author, |known| known.author) {
            Ok(at) => {
                let known = &mut self.marks[at];
                known.delivered = known.delivered.max(mark.delivered);
                known.read = known.read.max(mark.read);
            }
            Err(at) => self.marks.insert(at, mark),
        }
        if reader == Some(mark.author) {
            let read = self.read_by(mark.author);
            self.unread.retain(|seq| *seq > read);
        }
    }

    fn read_by(&self, author: Author) -> u64 {
        self.marks.iter().find(|mark| mark.author == author).map_or(0, |mark| mark.read)
    }

    /// Whether a cursor has room for it.
    pub const fn fits(&self) -> bool {
        self.marks.len() <= PEOPLE_MAX && self.unread.len() <= UNREAD_MAX
    }

    pub(crate) fn push_to(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.has_more));
        push_varint(out, self.started_seq);
        out.push(self.marks.len() as u8);
        for MarkView { author, delivered, read } in &self.marks {
            out.push(match author.kind {
                AuthorType::Visitor => 0,
                AuthorType::Agent => 1,
                AuthorType::Bot => 2,
                AuthorType::System => 3,
            });
            out.extend_from_slice(author.id.as_bytes());
            push_varint(out, *delivered);
            push_varint(out, *read);
        }
        out.push(self.unread.len() as u8);
        let mut before = 0;
        for seq in &self.unread {
            push_varint(out, seq - before);
            before = *seq;
        }
    }

    pub(crate) fn pop_from(bytes: &mut &[u8]) -> Result<Self, BadCursor> {
        let has_more = match pop_byte(bytes)? {
            0 => false,
            1 => true,
            _ => return Err(BadCursor),
        };
        let started_seq = pop_varint(bytes)?;
        let people = usize::from(pop_byte(bytes)?);
        let marks: Vec<MarkView> = (0..people.min(PEOPLE_MAX))
            .map(|_| {
                let kind = match pop_byte(bytes)? {
                    0 => AuthorType::Visitor,
                    1 => AuthorType::Agent,
                    2 => AuthorType::Bot,
                    3 => AuthorType::System,
                    _ => return Err(BadCursor),
                };
                let (id, rest) = bytes.split_at_checked(16).ok_or(BadCursor)?;
                *bytes = rest;
                let id = Uuid::from_slice(id).map_err(|_| BadCursor)?;
                let (delivered, read) = (pop_varint(bytes)?, pop_varint(bytes)?);
                Ok(MarkView { author: Author { kind, id }, delivered, read })
            })
            .collect::<Result<_, _>>()?;
        let messages = usize::from(pop_byte(bytes)?);
        let mut before = 0_u64;
        let unread: Vec<u64> = (0..messages.min(UNREAD_MAX))
            .map(|_| {
                before = before.checked_add(pop_varint(bytes)?).ok_or(BadCursor)?;
                Ok(before)
            })
            .collect::<Result<_, _>>()?;
        let sorted = marks.is_sorted_by(|a, b| a.author < b.author) && unread.is_sorted_by(|a, b| a < b);
        if people > PEOPLE_MAX || messages > UNREAD_MAX || !sorted {
            return Err(BadCursor);
        }
        Ok(Self { started_seq, marks, unread, has_more })
    }
}

fn pop_byte(bytes: &mut &[u8]) -> Result<u8, BadCursor> {
    let (byte, rest) = bytes.split_first().ok_or(BadCursor)?;
    *bytes = rest;
    Ok(*byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    const ME: Author = person(1);

    const fn person(n: u128) -> Author {
        Author { kind: AuthorType::Agent, id: Uuid::from_u128(n) }
    }

    fn facts() -> impl Strategy<Value = Vec<(u64, Fact)>> {
        let one = (0..4_u8, 0..3_u128, 0..60_u64).prop_map(|(what, who, up_to)| match what {
            0 => Fact::Nothing,
            1 => Fact::Said(person(who)),
            _ => Fact::Marked(MarkView {
                author: person(who),
                delivered: up_to,
                read: if what == 2 { 0 } else { up_to },
            }),
        });
        vec(one, 0..40).prop_map(|facts| (10..).zip(facts).collect())
    }

    fn fold(start: Tally, facts: &[(u64, Fact)]) -> Tally {
        facts.iter().fold(start, |tally, (seq, fact)| tally.with(Some(ME), *seq, *fact).unwrap())
    }

    /// The same, reckoned from the whole.
    fn reckoned(started_seq: u64, facts: &[(u64, Fact)]) -> Tally {
        let (mut marks, mut said) = (std::collections::BTreeMap::new(), Vec::new());
        for (seq, fact) in facts {
            match fact {
                Fact::Marked(mark) => {
                    let known = marks.entry(mark.author).or_insert(*mark);
                    known.delivered = known.delivered.max(mark.delivered);
                    known.read = known.read.max(mark.read);
                }
                Fact::Said(author) if *author != ME => said.push(*seq),
                _ => {}
            }
        }
        let read = marks.get(&ME).map_or(0, |mark| mark.read);
        said.retain(|seq| *seq > read);
        said.sort_unstable();
        Tally { started_seq, marks: marks.into_values().collect(), unread: said, has_more: false }
    }

    proptest! {
        #[test]
        fn it_is_what_the_whole_comes_to_in_any_order(
            (facts, shuffled) in facts().prop_flat_map(|facts| (Just(facts.clone()), Just(facts).prop_shuffle())),
        ) {
            let begin = Tally { started_seq: 10, ..Tally::default() };
            prop_assert_eq!(&fold(begin.clone(), &facts), &reckoned(10, &facts));
            prop_assert_eq!(fold(begin, &shuffled), reckoned(10, &facts));
        }

        #[test]
        fn a_new_thread_begins_anew(before in facts(), after in facts()) {
            let begun = (100, Fact::Thread { started_seq: 100, has_previous: true });
            let after: Vec<_> = after.into_iter().map(|(seq, fact)| (seq + 100, fact)).collect();
            let mut all = before.clone();
            all.push(begun);
            all.extend(&after);
            // The state of the same thread changes nothing, nor does what is late of the one before.
            all.push((300, begun.1));
            all.extend(before);
            let expected = Tally { has_more: true, ..reckoned(100, &after) };
            prop_assert_eq!(fold(Tally { started_seq: 10, ..Tally::default() }, &all), expected);
        }

        #[test]
        fn what_fits_comes_back(facts in facts(), has_more: bool, started_seq: u64) {
            let tally = Tally { started_seq, has_more, ..reckoned(0, &facts) };
            prop_assume!(tally.fits());
            let mut bytes = Vec::new();
            tally.push_to(&mut bytes);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(Tally::pop_from(&mut rest), Ok(tally));
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn too_much_to_keep_is_not_known() {
        let mut tally = Some(Tally::default());
        for seq in 1..=KEPT_MAX as u64 {
            tally = tally.unwrap().with(Some(ME), seq, Fact::Said(person(2)));
        }
        assert_eq!(tally.clone().unwrap().unread.len(), KEPT_MAX);
        assert!(!tally.clone().unwrap().fits());
        assert_eq!(tally.clone().unwrap().with(Some(ME), 1_000, Fact::Said(person(2))), None);
        assert_eq!(tally.unwrap().with(Some(ME), 1_000, Fact::Unreadable), None);
    }
}
