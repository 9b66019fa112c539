//! The conversation that is played: data, checked before anything is sent.

use std::path::Path;

use anyhow::{Context as _, ensure};
use bus_schema::{event::AuthorType, limits::Limits};
use serde::{Deserialize, Serialize};

const BUILT_IN: &str = include_str!("../../../demo/conversation.json");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    Visitor,
    Agent,
}

impl Speaker {
    pub const fn author(self) -> AuthorType {
        match self {
            Self::Visitor => AuthorType::Visitor,
            Self::Agent => AuthorType::Agent,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The visitor's name.
    pub visitor: String,
    pub email: String,
    /// The first line is the visitor's, and opens the conversation.
    pub lines: Vec<(Speaker, String)>,
}

impl Script {
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let text = match file {
            Some(file) => {
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
            }
            None => BUILT_IN.to_owned(),
        };
        let script: Self = serde_json::from_str(&text).context("the conversation does not read as one")?;
        let opens = script.lines.first().is_some_and(|(speaker, _)| *speaker == Speaker::Visitor);
        ensure!(opens, "a conversation begins with a line of the visitor");
        let longest = script.lines.iter().map(|(_, text)| text.len()).max().unwrap_or_default() as u64;
        ensure!(longest <= Limits::default().text_bytes, "a line is longer than a message may be");
        Ok(script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_conversation_is_long_and_both_talk() {
        let script = Script::load(None).unwrap();
        assert!(script.lines.len() >= 40);
        for speaker in [Speaker::Visitor, Speaker::Agent] {
            assert!(script.lines.iter().filter(|(who, _)| *who == speaker).count() >= 15);
        }
    }
}
