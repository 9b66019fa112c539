//! Who may do what: every action as everyone, about somebody's conversation, held to a table for people to review.
//!
//! `UPDATE=1` writes the table anew. What it may say at all is fixed here: who may not use an action is told
//! `forbidden`, whose business a conversation is not learns nothing of it, and who may not be here does nothing.

use bus_schema::protocol::Action;
use futures::future::join_all;
use ops::testing::held_to;
use serde_json::{Value, json};

use crate::{
    client::{Client, Got, frame, login},
    people::{Caller, People, Target, secrets},
};

const HEAD: &str = "\
# Every action of the socket, as everyone, about a conversation that an agent has: `ok`, or the error's code.
# Made by `UPDATE=1 cargo test -p edge --test it permissions`; review what changes.
";

/// How one caller fares with each action, in the order of the table of actions.
async fn column(people: &People, caller: Caller) -> Vec<String> {
    let (mut assignee, _) = Client::login(
        people.edge.at,
        &people.world.staff_token(people.world.agents[0], bus_schema::claims::Role::Agent),
    )
    .await;
    let mut target = people.talk(&mut assignee).await;
    let mut outcomes = Vec::new();
    for action in Action::ALL {
        if *action == Action::GetAttachment {
            people.attach(&mut assignee, &mut target).await;
        }
        let outcome = if caller.is_barred() {
            barred(people, caller, *action, &target).await
        } else {
            outcome(people, caller, *action, &target).await
        };
        check(caller, *action, &people.payload(*action, &target), &outcome);
        // What was done may have changed it.
        if outcome == "ok" {
            target = people.talk(&mut assignee).await;
        }
        outcomes.push(outcome);
    }
    outcomes
}

async fn outcome(people: &People, caller: Caller, action: Action, target: &Target) -> String {
    let (mut client, logged_in) = Client::login(people.edge.at, &people.token(caller, target)).await;
    let answer = client.request(action.name(), people.payload(action, target)).await;
    if action != Action::Logout {
        client.request("ping", json!({})).await;
    }
    if caller.is_stranger() {
        let frames: Vec<_> = client.seen().chain([&answer, &logged_in]).collect();
        for frame in frames {
            assert_eq!(secrets(frame), [""; 0], "{caller:?} {action:?}: {frame}");
            assert!(!frame.to_string().contains(&target.thread), "{caller:?} {action:?}: {frame}");
        }
    }
    word(&answer)
}

/// A login that is refused, and right behind it what it was for.
async fn barred(people: &People, caller: Caller, action: Action, target: &Target) -> String {
    let mut client = Client::connect(people.edge.at, None).await.unwrap();
    client.push("hello").await;
    let ask = |id: &str, name: &str, payload: Value| {
        let request = json!({ "request_id": id, "action": name, "payload": payload });
        frame(0x81, request.to_string().as_bytes())
    };
    let mut bytes = ask("login", "login", login(&people.token(caller, target), json!({})));
    bytes.extend(ask("wanted", action.name(), people.payload(action, target)));
    client.raw(&bytes).await;
    let refused = client.answer("login").await;
    let Got::Closed(code) = client.closed().await else { panic!("it is closed with a code") };
    assert_eq!(client.seen().next(), None, "nothing is said to whom may not be here");
    format!("{} {code}", word(&refused))
}

fn word(answer: &Value) -> String {
    match answer["success"].as_bool() {
        Some(true) => "ok".to_owned(),
        _ => answer["payload"]["error"]["code"].as_str().unwrap().to_owned(),
    }
}

/// Whether what is asked is about the conversation.
fn names_it(action: Action, payload: &Value) -> bool {
    action == Action::GetAttachment || payload.get("conversation_id").is_some()
}

/// What holds whatever the table says.
fn check(caller: Caller, action: Action, payload: &Value, outcome: &str) {
    let expected = match caller {
        Caller::Banned => "banned 3503",
        Caller::Revoked => "unauthenticated 3502",
        _ if !action.who().allows(caller.role()) => "forbidden",
        _ if caller.is_stranger() && names_it(action, payload) => "not_found",
        _ => return assert_ne!(outcome, "internal", "{caller:?} {action:?}"),
    };
    assert_eq!(outcome, expected, "{caller:?} {action:?}");
}

fn table(columns: &[Vec<String>]) -> String {
    let names = Caller::ALL.map(Caller::name);
    let mut rows = vec![std::iter::once("action").chain(names).map(str::to_owned).collect::<Vec<_>>()];
    for (n, action) in Action::ALL.iter().enumerate() {
        let cells = columns.iter().map(|column| column[n].clone());
        rows.push(std::iter::once(action.name().to_owned()).chain(cells).collect());
    }
    let width = |n: usize| rows.iter().map(|row| row[n].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..=names.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    HEAD.to_owned() + &rows.iter().map(line).collect::<String>()
}

#[tokio::test]
async fn permissions_are_as_the_table_says() {
    let people = People::meet().await;
    let columns = join_all(Caller::ALL.map(|caller| column(&people, caller))).await;
    let found = table(&columns);
    held_to("edge/tests/it/permissions.txt", &found, "cargo test -p edge --test it permissions");
}
