//! Tags, marks, what is unread, and conversations as they were.

use std::time::Duration;

use ops::testing::wait_for;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    chat::Chat,
    conversations::{desk, ids},
    world::Got,
};

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_set_taken_away_filtered_by_and_set_on_many() {
    let desk = desk().await;
    let tag = desk.world.post(&desk.ann, "/v1/tags", json!({ "name": "refund" })).await.is(201).id();
    let first = Chat::start(&desk.log, &desk.ann.tenant, Some(&desk.group), "one").await;
    let second = Chat::start(&desk.log, &desk.ann.tenant, Some(&desk.group), "two").await;
    let path = |chat: &Chat, tag: &str| format!("/v1/conversations/{}/tags/{tag}", chat.id());
    let put = async |who, path: &str| desk.world.call(Method::PUT, who, path, json!(null)).await;
    put(&desk.bob, &path(&first, &tag)).await.is(204);
    put(&desk.bob, &path(&first, &tag)).await.is(204);
    put(&desk.eve, &path(&first, &tag)).await.problem(404, "not_found");
    put(&desk.bob, &path(&first, &desk.group)).await.problem(404, "not_found");
    let bulk = json!({ "ids": [first.id(), second.id(), desk.group], "action": "tag", "tag_id": tag });
    let got = desk.world.post(&desk.bob, "/v1/conversations/bulk", bulk).await.is(200);
    let results = got.body["results"].as_array().unwrap();
    let outcome: Vec<_> = results
        .iter()
        .map(|one| (one["success"].as_bool().unwrap(), one["status"].as_u64().unwrap()))
        .collect();
    assert_eq!(outcome, [(true, 200), (true, 200), (false, 404)]);
    assert_eq!((&results[2]["error"]["code"], &results[0]["id"]), (&json!("not_found"), &json!(first.id())));

    // Each is answered as it would be by itself.
    let assign = json!({ "ids": [first.id(), second.id()], "action": "assign", "agent_id": desk.eve.id });
    let got = desk.world.post(&desk.bob, "/v1/conversations/bulk", assign).await.is(200);
    for one in got.body["results"].as_array().unwrap() {
        assert_eq!((&one["status"], &one["error"]["code"]), (&json!(403), &json!("forbidden")));
    }
    let too_many: Vec<_> = (0..101).map(|_| uuid::Uuid::now_v7()).collect();
    let too_many = json!({ "ids": too_many, "action": "tag", "tag_id": tag });
    let got =
        desk.world.post(&desk.bob, "/v1/conversations/bulk", too_many).await.problem(422, "invalid_request");
    assert_eq!(got.body["errors"][0]["pointer"], "/ids");

    let end = desk.log.end().await.unwrap().last;
    let tagged = format!("&tag_id={tag}");
    assert_eq!(ids(&desk.list(&desk.ann, &tagged, end).await).len(), 2);
    desk.world.delete(&desk.bob, &path(&second, &tag)).await.is(204);
    let end = desk.log.end().await.unwrap().last;
    let left = desk.list(&desk.ann, &tagged, end).await;
    assert_eq!(ids(&left), [first.id()]);
    assert_eq!(left[0]["thread"]["tags"], json!([tag]));
    for (field, bad) in [
        ("/ids", json!({ "ids": [], "action": "close" })),
        ("/ids/1", json!({ "ids": [first.id(), first.id()], "action": "close" })),
        ("/tag_id", json!({ "ids": [first.id()], "action": "tag" })),
        ("/tag_id", json!({ "ids": [first.id()], "action": "tag", "tag_id": desk.group })),
        ("/agent_id", json!({ "ids": [first.id()], "action": "assign" })),
    ] {
        let got =
            desk.world.post(&desk.ann, "/v1/conversations/bulk", bad).await.problem(422, "invalid_request");
        assert_eq!(got.body["errors"][0]["pointer"], field);
    }
    let now = desk.world.get(&desk.ann, &format!("/v1/conversations/{}", first.id())).await.is(200);
    let last = now.body["last_at"].as_str().unwrap();
    assert_eq!(desk.list(&desk.ann, &format!("&from={last}"), end).await.len(), 2);
    assert_eq!(desk.list(&desk.ann, &format!("&to={last}"), end).await.len(), 0);
    desk.world.get(&desk.ann, "/v1/conversations?from=yesterday").await.problem(400, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unread_shrinks_as_one_reads() {
    let desk = desk().await;
    let mut chat = Chat::start(&desk.log, &desk.ann.tenant, Some(&desk.group), "one").await;
    chat.assigned(&desk.bob).await;
    chat.says("two").await;
    chat.says("three").await;
    let events = desk
        .world
        .get(&desk.bob, &format!("/v1/conversations/{}/events?min_seq={}", chat.id(), chat.seq))
        .await;
    let events = events.is(200).body["data"].clone();
    let of = |text: &str| {
        let event = events.as_array().unwrap().iter().find(|event| event["data"]["text"] == text).unwrap();
        event["id"].as_str().unwrap().to_owned()
    };
    let unread = async |who| {
        let end = desk.log.end().await.unwrap().last;
        let got = desk.world.get(who, &format!("/v1/unread-count?min_seq={end}")).await.is(200).body;
        (got["unread"].as_i64().unwrap(), got["conversations"].as_i64().unwrap())
    };
    assert_eq!((unread(&desk.bob).await, unread(&desk.ann).await), ((3, 1), (0, 0)));
    let read = async |who, id: &str| {
        desk.world.call(Method::PUT, who, &format!("/v1/events/{id}/read"), json!(null)).await
    };
    read(&desk.bob, &of("two")).await.is(200);
    assert_eq!(unread(&desk.bob).await, (1, 1));
    read(&desk.bob, &of("one")).await.is(200);
    assert_eq!(unread(&desk.bob).await, (1, 1), "marks only grow");
    read(&desk.ann, &of("two")).await.problem(403, "not_participant");
    read(&desk.eve, &of("two")).await.problem(404, "not_found");
    let all = format!("/v1/conversations/{}/read-all", chat.id());
    desk.world.post(&desk.bob, &all, json!(null)).await.is(200);
    assert_eq!(unread(&desk.bob).await, (0, 0));
    desk.world.post(&desk.ann, &all, json!(null)).await.problem(403, "not_participant");
}

/// What is stored from now on is later than what is stored already.
async fn a_later_millisecond() {
    let then = chrono::Utc::now().timestamp_millis();
    wait_for(Duration::from_secs(5), "the clock to go on", async || {
        chrono::Utc::now().timestamp_millis() > then
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_shown_as_it_was() {
    let desk = desk().await;
    let tag = desk.world.post(&desk.ann, "/v1/tags", json!({ "name": "refund" })).await.is(201).id();
    let mut chat = Chat::start(&desk.log, &desk.ann.tenant, Some(&desk.group), "one").await;
    let said = chat.seq;
    a_later_millisecond().await;
    let path = format!("/v1/conversations/{}/tags/{tag}", chat.id());
    desk.world.call(Method::PUT, &desk.bob, &path, json!(null)).await.is(204);
    chat.assigned(&desk.bob).await;
    let assigned = chat.seq;
    a_later_millisecond().await;
    chat.says("two").await;
    a_later_millisecond().await;
    chat.closed().await;
    let then = async |query: &str| -> Got {
        desk.world
            .get(&desk.ann, &format!("/v1/conversations/{}?min_seq={}{query}", chat.id(), chat.seq))
            .await
    };
    let said_then = |body: &Value| -> Vec<String> {
        let events = body["events"].as_array().unwrap().iter();
        events.filter_map(|event| event["data"]["text"].as_str().map(str::to_owned)).collect()
    };
    let now = then("").await.is(200).body;
    assert_eq!(now["thread"]["status"], "closed");
    let first = then(&format!("&at_seq={said}")).await.is(200).body;
    assert_eq!(
        (&first["thread"]["status"], &first["thread"]["assignee_id"]),
        (&json!("queued"), &Value::Null)
    );
    assert_eq!((said_then(&first), &first["thread"]["tags"]), (vec!["one".to_owned()], &json!([])));
    let later = then(&format!("&at_seq={assigned}")).await.is(200).body;
    assert_eq!(
        (&later["thread"]["status"], &later["thread"]["assignee_id"]),
        (&json!("active"), &json!(desk.bob.id))
    );
    assert_eq!((said_then(&later).len(), &later["thread"]["tags"]), (1, &json!([tag])));
    assert_eq!(later["visitor"]["name"], "Vera");
    // The same as now, once there is nothing later; but who was there then is not stored.
    let mut end = then(&format!("&at_seq={}", u64::MAX)).await.is(200).body;
    assert_eq!((&now["visitor"]["online"], &end["visitor"]["online"]), (&json!(false), &json!(null)));
    end["visitor"]["online"] = json!(false);
    for field in
        ["thread", "visitor", "participants", "events", "unread", "last_seq", "last_at", "created_at"]
    {
        assert_eq!(end[field], now[field], "{field}");
    }
    let when = |which: &dyn Fn(&Value) -> bool| {
        let found = now["events"].as_array().unwrap().iter().find(|event| which(event)).unwrap();
        found["at"].as_str().unwrap().to_owned()
    };
    for (when, status, assignee, said, tags) in [
        (when(&|event| event["data"]["text"] == "one"), "queued", json!(null), vec!["one"], json!([])),
        (when(&|event| event["kind"] == "assigned"), "active", json!(desk.bob.id), vec!["one"], json!([tag])),
        (
            when(&|event| event["data"]["text"] == "two"),
            "active",
            json!(desk.bob.id),
            vec!["one", "two"],
            json!([tag]),
        ),
    ] {
        let then = then(&format!("&at={when}")).await.is(200).body;
        let thread = &then["thread"];
        assert_eq!((&thread["status"], &thread["assignee_id"]), (&json!(status), &assignee), "{when}");
        assert_eq!(
            (said_then(&then), &thread["tags"]),
            (said.iter().map(|&text| text.to_owned()).collect(), &tags),
            "{when}"
        );
    }
    then("&at_seq=0").await.problem(404, "not_found");
    then("&at=2001-01-01T00:00:00.000Z").await.problem(404, "not_found");
    then("&at=2001-01-01T00:00:00.000Z&at_seq=1").await.problem(400, "invalid_request");
    desk.world
        .get(&desk.eve, &format!("/v1/conversations/{}?at_seq={said}", chat.id()))
        .await
        .problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_as_it_was_counts_all_of_a_long_thread() {
    /// More than were ever read at once.
    const SAID: i64 = 25_000;
    let desk = desk().await;
    let tag = desk.world.post(&desk.ann, "/v1/tags", json!({ "name": "refund" })).await.is(201).id();
    let mut chat = Chat::start(&desk.log, &desk.ann.tenant, Some(&desk.group), "one").await;
    let path = format!("/v1/conversations/{}/tags/{tag}", chat.id());
    desk.world.call(Method::PUT, &desk.bob, &path, json!(null)).await.is(204);
    chat.assigned(&desk.bob).await;
    let home = format!("/v1/conversations/{}", chat.id());
    desk.world.get(&desk.bob, &format!("{home}?min_seq={}", chat.seq)).await.is(200);
    // Every message, and every mark of a second person, as the persister writes them.
    let more = "INSERT INTO chat.events (tenant_id, seq, at, id, lane, subject_id, conversation_id, thread_id, kind,
                                         author_type, author_id, visibility, payload)
        SELECT e.tenant_id, e.seq + 1000000 + n, now(), gen_random_uuid(), e.lane, e.subject_id, e.conversation_id,
               e.thread_id, e.kind, e.author_type, e.author_id, e.visibility, e.payload
          FROM chat.events e, generate_series(1, $1::bigint) n WHERE e.kind = 'message'";
    desk.world.postgres().await.execute(more, &[&SAID]).await.unwrap();
    let then = desk.world.get(&desk.bob, &format!("{home}?at_seq={}", i64::MAX)).await.is(200).body;
    assert_eq!(then["thread"]["tags"], json!([tag]));
    assert_eq!(then["unread"], SAID + 1);
    assert_eq!(then["has_more"], true);
}
