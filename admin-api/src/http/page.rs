//! Pages of lists: `limit`, an opaque `cursor`, and `{data, next_cursor}`.
//!
//! Invariant: a cursor is a position in an order that has no equals, so pages neither overlap nor leave out what
//! was there all the time.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bus_schema::{Timestamp, limits};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Problem;

/// The query parameters of every list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    pub limit: Option<usize>,
    pub cursor: Option<String>,
    pub deleted: Option<bool>,
}

/// Where a page begins, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub limit: usize,
    /// The last of the page before.
    pub after: Option<Position>,
}

/// A place in a list that is ordered by time, then id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub at: Timestamp,
    pub id: Uuid,
}

impl Page {
    pub fn of(limit: Option<usize>, cursor: Option<&str>) -> Result<Self, Problem> {
        let limit = limit.unwrap_or(limits::PAGE_DEFAULT);
        if !(1..=limits::PAGE_MAX).contains(&limit) {
            return Err(Problem::malformed("/query/limit", "must be from 1 to 200"));
        }
        let after = cursor.map(Position::parse).transpose()?;
        Ok(Self { limit, after })
    }

    /// One more than asked for, to see whether there is a next page.
    pub fn rows(&self) -> i64 {
        i64::try_from(self.limit + 1).unwrap_or(i64::MAX)
    }

    /// Where the page ends from above, in a list that is ordered by sequence, latest first.
    pub fn below_seq(&self) -> i64 {
        self.after.map_or(i64::MAX, |position| position.seq())
    }

    /// Makes a page of rows that were read with [`Page::rows`].
    pub fn of_rows<R, T>(
        &self,
        mut rows: Vec<R>,
        place: impl Fn(&R) -> Position,
        show: impl Fn(R) -> T,
    ) -> List<T> {
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next_cursor = rows.last().filter(|_| more).map(|row| place(row).to_string());
        List { data: rows.into_iter().map(show).collect(), next_cursor }
    }
}

impl TryFrom<&PageQuery> for Page {
    type Error = Problem;

    fn try_from(query: &PageQuery) -> Result<Self, Problem> {
        Page::of(query.limit, query.cursor.as_deref())
    }
}

const BYTES: usize = 1 + 8 + 16;
const VERSION: u8 = 1;

impl Position {
    /// In a list that is ordered by sequence: it stands for an id.
    pub fn of_seq(at: Timestamp, seq: i64) -> Self {
        Self { at, id: Uuid::from_u128(u128::from(seq.unsigned_abs())) }
    }

    pub fn seq(&self) -> i64 {
        i64::try_from(self.id.as_u128()).unwrap_or(i64::MAX)
    }

    fn parse(text: &str) -> Result<Self, Problem> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().filter(|b| b.len() == BYTES && b[0] == VERSION);
        let bytes = bytes.ok_or_else(|| Problem::malformed("/query/cursor", "is no cursor of this list"))?;
        let (at, id) = bytes[1..].split_at(8);
        let millis = i64::from_be_bytes(at.try_into().expect("8 bytes"));
        let position =
            Self { at: Timestamp::from_millis(millis), id: Uuid::from_slice(id).expect("16 bytes") };
        let sane = (0..=MILLIS_MAX).contains(&millis);
        sane.then_some(position)
            .ok_or_else(|| Problem::malformed("/query/cursor", "is no cursor of this list"))
    }
}

/// The end of the year 9999; Postgres and the contract's times both reach it.
const MILLIS_MAX: i64 = 253_402_300_799_999;

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.at.millis().to_be_bytes());
        bytes.extend_from_slice(self.id.as_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    pub data: Vec<T>,
    /// Where the next page begins; null at the end.
    pub next_cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_strangers_are_refused() {
        let place = Position { at: Timestamp::from_millis(1_795_222_923_004), id: Uuid::from_u128(7) };
        assert_eq!(Position::parse(&place.to_string()).unwrap(), place);
        let wild = Position { at: Timestamp::from_millis(i64::MIN), ..place };
        for bad in ["", "x", "AA", &wild.to_string(), &place.to_string()[1..]] {
            assert!(Position::parse(bad).is_err(), "{bad}");
        }
        assert!(Page::of(Some(0), None).is_err() && Page::of(Some(201), None).is_err());
    }

    #[test]
    fn a_full_page_says_where_the_next_begins() {
        let page = Page::of(Some(2), None).unwrap();
        let place = |n: &u128| Position { at: Timestamp::default(), id: Uuid::from_u128(*n) };
        let list = page.of_rows(vec![1, 2, 3], place, |n| n);
        assert_eq!((list.data, list.next_cursor), (vec![1, 2], Some(place(&2).to_string())));
        assert_eq!(page.of_rows(vec![1, 2], place, |n| n).next_cursor, None);
    }
}
