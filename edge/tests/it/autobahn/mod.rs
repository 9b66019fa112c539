//! The cases 1 to 7 and 10 of Autobahn's test suite for WebSocket servers, against the edge's own socket.
//!
//! The suite wants an echo, which an edge is not. Its texts go as the name of an action: there is no such action, and
//! the answer says the name back. What cannot be a request is answered with the push `error`, which shows as well
//! that the message came whole. Cases that differ from the suite say why in their row. Groups 9 (speed), 12 and 13
//! (compression, which the edge does not offer) are not here.

mod closing;
mod framing;
mod row;
mod utf8;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use futures::{StreamExt as _, stream};
use serde_json::Value;
use tokio::time::timeout;

use crate::{client::Client, world::World};
use row::{End, Row, Seen, Step, masked};

const AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_socket_does_what_rfc_6455_asks_in_each_case_of_autobahn() {
    let world = World::new().await;
    let edge = world.edge().await;
    let at = edge.at;
    let failed: Vec<String> = stream::iter(all())
        .map(|row| async move { play(at, &row).await.err().map(|error| format!("{}: {error}", row.number)) })
        .buffer_unordered(AT_ONCE)
        .filter_map(async |failure| failure)
        .collect()
        .await;
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn every_case_of_the_groups_has_one_row() {
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for row in all() {
        let (group, last) = row.number.rsplit_once('.').unwrap();
        groups.entry(group.to_owned()).or_default().push(last.parse().unwrap());
    }
    let counts: Vec<(&str, usize)> = groups
        .iter()
        .map(|(group, numbers)| {
            assert_eq!(*numbers, (1..=numbers.len()).collect::<Vec<_>>(), "{group}");
            (group.as_str(), numbers.len())
        })
        .collect();
    let suite = "1.1 8, 1.2 8, 10.1 1, 2 11, 3 7, 4.1 5, 4.2 5, 5 20, 6.1 3, 6.10 3, 6.11 5, 6.12 8, 6.13 5, \
                 6.14 10, 6.15 1, 6.16 3, 6.17 5, 6.18 5, 6.19 5, 6.2 4, 6.20 7, 6.21 8, 6.22 34, 6.23 7, 6.3 2, \
                 6.4 4, 6.5 5, 6.6 11, 6.7 4, 6.8 2, 6.9 4, 7.1 6, 7.13 2, 7.3 6, 7.5 1, 7.7 13, 7.9 9";
    let found: Vec<String> = counts.iter().map(|(group, count)| format!("{group} {count}")).collect();
    assert_eq!(found.join(", "), suite);
    assert!(all().iter().filter_map(|row| row.deviates).all(|why| !why.is_empty()));
}

fn all() -> Vec<Row> {
    [framing::rows(), utf8::rows(), closing::rows()].into_iter().flatten().collect()
}

/// Plays one case on a connection of its own.
async fn play(at: SocketAddr, row: &Row) -> Result<(), String> {
    let mut client = Client::connect(at, None).await.map_err(|status| format!("refused with {status}"))?;
    client.socket.set_nodelay(true).unwrap();
    match next(&mut client).await? {
        Seen::Hello => {}
        other => return Err(format!("{other:?} instead of hello")),
    }
    let mut expected = row.expect.iter();
    for step in &row.send {
        match step {
            Step::Bytes(bytes) => client.raw(bytes).await,
            Step::Chopped(bytes, size) => {
                for piece in bytes.chunks(*size) {
                    client.raw(piece).await;
                }
            }
            Step::Await => hear(&mut client, expected.next().unwrap()).await?,
        }
    }
    for wanted in expected {
        hear(&mut client, wanted).await?;
    }
    let last = match row.end {
        End::ByClient => {
            client.raw(&masked(0x88, &1000_u16.to_be_bytes())).await;
            Seen::Closed(Some(1000))
        }
        End::Closed(code) => Seen::Closed(code),
    };
    hear(&mut client, &last).await?;
    hear(&mut client, &Seen::Gone).await
}

async fn hear(client: &mut Client, wanted: &Seen) -> Result<(), String> {
    match next(client).await? {
        seen if seen == *wanted => Ok(()),
        seen => Err(format!("{seen:?} instead of {wanted:?}")),
    }
}

async fn next(client: &mut Client) -> Result<Seen, String> {
    let frame = timeout(PATIENCE, client.wire()).await.map_err(|_| "nothing was heard".to_owned())?;
    let Some((first, payload)) = frame else { return Ok(Seen::Gone) };
    match first {
        0x81 => {
            let frame: Value = serde_json::from_slice(&payload).map_err(|error| error.to_string())?;
            match (frame["type"].as_str(), frame["action"].as_str()) {
                (Some("push"), Some("hello")) => Ok(Seen::Hello),
                (Some("push"), Some("error")) => Ok(Seen::NoRequest),
                (Some("response"), Some(action)) => Ok(Seen::Echo(action.to_owned())),
                _ => Err(format!("an unforeseen frame: {frame}")),
            }
        }
        0x8a => Ok(Seen::Pong(payload)),
        0x88 => Ok(Seen::Closed(payload.get(..2).map(|two| u16::from_be_bytes([two[0], two[1]])))),
        other => Err(format!("an unforeseen first byte {other:#x}")),
    }
}
