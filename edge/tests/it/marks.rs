//! How far people have read: marks only grow, are coalesced, and the last one is always stored.

use std::ops::ControlFlow;

use bus_schema::{Event, Lane, claims::Role};
use ops::chat::{Marked, Span, slice};
use serde_json::{Value, json};

use crate::{
    client::{Client, message},
    signals::{Scene, conversation},
    world::World,
};

/// The marks in the log, as `(author, delivered, read)`.
async fn stored(world: &World, id: &Value) -> Vec<(String, u64, u64)> {
    let subject = world.home(conversation(id)).lane(Lane::Mark).to_string();
    let end = world.log.end().await.unwrap().last;
    let mut found = Vec::new();
    slice(&world.log, &subject, Span::new(1, end), |message| {
        let event = Event::decode(&message.payload).unwrap();
        let marked = Marked::of_body(&event.body).unwrap();
        found.push((event.author.kind.name().to_owned(), marked.delivered, marked.read));
        ControlFlow::Continue(())
    })
    .await
    .unwrap();
    found
}

#[tokio::test]
async fn a_mark_is_stored_before_it_is_answered_and_seen_by_all() {
    let Scene { world, edge, id, mut visitor, mut tab, mut staff } = Scene::new().await;
    let sent = staff.request("send_event", message(&id, "a-1", "Hi")).await;
    let seq = sent["payload"]["seq"].as_u64().unwrap();
    let mark = json!({ "conversation_id": id, "up_to_seq": seq });
    let answer = visitor.request("mark_delivered", mark.clone()).await;
    assert_eq!(answer["success"], true, "{answer}");
    assert_eq!(stored(&world, &id).await, [("visitor".to_owned(), seq, 0)]);
    let answer = visitor.request("mark_read", mark.clone()).await;
    assert_eq!(answer["success"], true, "{answer}");
    for client in [&mut visitor, &mut tab, &mut staff] {
        assert_eq!(client.event("delivered").await["event"]["data"]["up_to_seq"], seq);
        assert_eq!(client.event("read").await["event"]["data"]["up_to_seq"], seq);
    }
    // Said before, and lower: nothing new.
    for action in ["mark_delivered", "mark_read"] {
        for up_to in [seq, seq - 1, 0] {
            let mark = json!({ "conversation_id": id, "up_to_seq": up_to });
            assert_eq!(tab.request(action, mark).await["success"], true);
        }
    }
    assert_eq!(stored(&world, &id).await.len(), 2);
    let ahead = json!({ "conversation_id": id, "up_to_seq": seq + 1_000 });
    let answer = visitor.request("mark_read", ahead).await;
    assert_eq!(answer["payload"]["error"]["errors"][0]["pointer"], "/payload/up_to_seq", "{answer}");
    let token = world.staff_token(world.agents[0], Role::Agent);
    let (_again, login) = Client::login(edge.at, &token).await;
    assert_eq!(login["conversations"][0]["marks"][0]["read"], seq);
}

#[tokio::test]
async fn many_marks_become_few_and_the_last_one_is_stored_even_if_the_client_leaves() {
    let Scene { world, edge: _edge, id, mut visitor, mut staff, .. } = Scene::new().await;
    let mut last = 0;
    for n in 0..10 {
        let sent = staff.request("send_event", message(&id, &format!("a-{n}"), "Hi")).await;
        last = sent["payload"]["seq"].as_u64().unwrap();
        visitor.event("message").await;
        visitor.send("mark_read", json!({ "conversation_id": id, "up_to_seq": last })).await;
    }
    drop(visitor);
    let read = loop {
        let push = staff.event("read").await;
        if push["event"]["data"]["up_to_seq"] == last {
            break push;
        }
    };
    assert_eq!(read["event"]["author"]["type"], "visitor");
    let marks = stored(&world, &id).await;
    assert!(marks.len() < 10, "{marks:?}");
    assert!(marks.is_sorted_by_key(|(_, _, read)| *read), "{marks:?}");
}

#[tokio::test]
async fn unread_counts_what_others_said_above_ones_own_mark() {
    let Scene { world, edge, id, mut visitor, mut staff, .. } = Scene::new().await;
    let first = staff.request("send_event", message(&id, "a-1", "One")).await;
    staff.request("send_event", message(&id, "a-2", "Two")).await;
    let unread =
        async |token: &str| Client::login(edge.at, token).await.1["conversations"][0]["unread"].clone();
    let visitor_token = world.session(&edge, [1; 32], json!({})).await["token"].as_str().unwrap().to_owned();
    let agent_token = world.staff_token(world.agents[0], Role::Agent);
    assert_eq!((unread(&visitor_token).await, unread(&agent_token).await), (json!(2), json!(1)));
    let mark = json!({ "conversation_id": id, "up_to_seq": first["payload"]["seq"] });
    assert_eq!(visitor.request("mark_read", mark.clone()).await["success"], true);
    assert_eq!(staff.request("mark_read", mark).await["success"], true);
    assert_eq!((unread(&visitor_token).await, unread(&agent_token).await), (json!(1), json!(0)));
}
