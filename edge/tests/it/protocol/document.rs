//! `docs/protocol.md`: its tables are the code's, and its examples are frames.

use std::collections::BTreeSet;

use bus_schema::protocol::{Action, PushAction};
use serde_json::Value;

use super::{
    docs,
    frames::{self, Known},
    hold, tables,
};

const NAME: &str = "protocol.md";
const BEGIN: &str = "<!-- table: ";
const END: &str = "<!-- end of table -->\n";

#[test]
fn the_tables_are_those_of_the_code() {
    let committed = std::fs::read_to_string(docs(NAME)).unwrap();
    let mut made = String::new();
    let mut rest = committed.as_str();
    let mut missing: BTreeSet<&str> = tables::ALL.iter().map(|(name, _)| *name).collect();
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (name, after) = after.split_once(" -->\n").unwrap();
        let (_, table) = tables::ALL.iter().find(|(known, _)| *known == name).expect("a table of this name");
        missing.remove(name);
        made.push_str(&format!("{before}{BEGIN}{name} -->\n\n{}\n{END}", table()));
        // A table that was never made has no end.
        rest = match after.split_once(END) {
            Some((old, after)) if !old.contains(BEGIN) => after,
            _ => after,
        };
    }
    made.push_str(rest);
    assert!(missing.is_empty(), "{missing:?} stand nowhere");
    hold(NAME, &made);
}

#[test]
fn every_example_is_a_frame_and_every_action_and_push_has_one() {
    let mut known = BTreeSet::new();
    for example in examples() {
        let frame: Value =
            serde_json::from_str(&example).unwrap_or_else(|error| panic!("{error}: {example}"));
        known.insert(frames::read(&frame).unwrap_or_else(|error| panic!("{error}: {example}")));
    }
    for action in Action::ALL {
        // Its frame stands in the text.
        let is_shown = known.contains(&Known::Request(*action)) || *action == Action::Logout;
        assert!(is_shown, "{} has no example", action.name());
        let has_answer = known.contains(&Known::Answer(*action)) || says_nothing(*action);
        assert!(has_answer, "the answer to {} has no example", action.name());
    }
    for push in PushAction::ALL {
        assert!(known.contains(&Known::Push(*push)), "{} has no example", push.name());
    }
}

/// Answers that are empty, or shown with another action.
fn says_nothing(action: Action) -> bool {
    matches!(action.answer(super::Shaped), ops::testing::shape::Shape::Object(object) if object.fields.is_empty())
        || matches!(action, Action::StartThread | Action::Rate | Action::SetStatus)
}

fn examples() -> Vec<String> {
    let text = std::fs::read_to_string(docs(NAME)).unwrap();
    let blocks = text.split("```json\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned()).collect()
}
