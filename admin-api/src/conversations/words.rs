//! What somebody typed into a search box, as a query of Postgres.
//!
//! Invariant: whatever was typed is a query, never an error of Postgres.

use diesel::{
    prelude::*,
    sql_types::{Double, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::http::Problem;

const QUERY_CHARS_MAX: usize = 200;

/// Words that are wanted: as a person types them into a search box, the last one perhaps not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    pub(super) all: String,
    /// Without the last word, where that may go on.
    pub(super) head: String,
    /// The last word as a prefix; empty where it is none.
    pub(super) prefix: String,
}

impl Words {
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let count = text.chars().count();
        if !(1..=QUERY_CHARS_MAX).contains(&count) || text.contains(char::is_control) {
            return Err(Problem::malformed(
                "/query/q",
                "must be 1 to 200 characters, none of them a control character",
            ));
        }
        let (head, last) = text.rsplit_once(char::is_whitespace).unwrap_or(("", text));
        let word = !last.is_empty()
            && last.chars().all(char::is_alphanumeric)
            && text.matches('"').count().is_multiple_of(2);
        let (head, prefix) = if word { (head, format!("{last}:*")) } else { (text, String::new()) };
        Ok(Self { all: text.to_owned(), head: head.to_owned(), prefix })
    }
}

/// The query that the `all`, `head` and `prefix` of words mean as `$1`, `$2` and `$3`.
macro_rules! wanted {
    () => {
        "(websearch_to_tsquery('simple', $1) || (websearch_to_tsquery('simple', $2) && to_tsquery('simple', $3)))"
    };
}
pub(super) use wanted;

/// Words as Postgres understands them.
#[derive(Debug, QueryableByName)]
pub struct Likely {
    /// A `tsquery`.
    #[diesel(sql_type = Text)]
    pub query: String,
    /// Of all messages, those in which it likely finds something, as Postgres guesses.
    #[diesel(sql_type = Double)]
    pub share: f64,
}

/// What a prefix finds holds what the whole word finds, which would be counted twice.
const LIKELY: &str = concat!(
    "SELECT ",
    wanted!(),
    "::text AS query, chat.share_of(CASE $3 WHEN '' THEN websearch_to_tsquery('simple', $1)
        ELSE websearch_to_tsquery('simple', $2) && to_tsquery('simple', $3) END) AS share"
);

impl Words {
    pub async fn likely(&self, connection: &mut AsyncPgConnection) -> Result<Likely, Problem> {
        let Self { all, head, prefix } = self;
        let asked =
            diesel::sql_query(LIKELY).bind::<Text, _>(all).bind::<Text, _>(head).bind::<Text, _>(prefix);
        Ok(asked.get_result(connection).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_may_go_on() {
        let words = |text: &str| Words::parse(text).map(|words| (words.head, words.prefix)).ok();
        assert_eq!(words("refund"), Some((String::new(), "refund:*".into())));
        assert_eq!(words("my refu"), Some(("my".into(), "refu:*".into())));
        assert_eq!(words("a@b.example"), Some(("a@b.example".into(), String::new())));
        assert_eq!(words("\"two words"), Some(("\"two words".into(), String::new())), "an open quote");
        assert_eq!(words("-not "), Some(("-not ".into(), String::new())));
        assert!(words("").is_none() && words("a\u{0}").is_none() && words(&"x".repeat(201)).is_none());
    }
}
