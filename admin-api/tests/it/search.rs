//! Search over what was said, and the lists that use it.

use serde_json::{Value, json};

use crate::{chat::Chat, conversations::desk};

fn texts(body: &Value) -> Vec<&str> {
    body["data"].as_array().unwrap().iter().map(|hit| hit["highlight"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn search_finds_what_the_caller_may_see_and_marks_it() {
    let desk = desk().await;
    let mut ours =
        Chat::start(&desk.log, &desk.ann.tenant, Some(&desk.group), "my <b>parcel</b> is late").await;
    ours.says("the parcels number is 4711, a@b.example").await;
    let mut theirs = Chat::start(&desk.log, &desk.ann.tenant, None, "another parcel").await;
    theirs.assigned(&desk.eve).await;
    let note = json!({ "event": { "kind": "message", "client_id": "n", "visibility": "agents", "data": { "text": "parcel lost" } } });
    let noted = desk.say(&desk.bob, &format!("/v1/conversations/{}/events", ours.id()), note).await.is(201);
    let seq = noted.body["seq"].as_u64().unwrap();
    let search = async |who, query: &str| {
        desk.world.get(who, &format!("/v1/search?min_seq={seq}&q={query}")).await.is(200).body
    };
    let all = search(&desk.ann, "parcel").await;
    assert_eq!(
        texts(&all),
        [
            "<mark>parcel</mark> lost",
            "another <mark>parcel</mark>",
            "the <mark>parcels</mark> number is 4711, a@b.example",
            "my &lt;b&gt;<mark>parcel</mark>&lt;/b&gt; is late",
        ],
        "the latest first, an unfinished last word finds longer ones"
    );
    assert_eq!(
        (&all["data"][0]["visibility"], &all["data"][1]["visibility"]),
        (&json!("agents"), &json!("all"))
    );
    assert_eq!(all["data"][3]["author"]["type"], "visitor");
    assert_eq!(texts(&search(&desk.bob, "parcel").await).len(), 3, "not what Eve has");
    assert_eq!(texts(&search(&desk.eve, "parcel").await), ["another <mark>parcel</mark>"]);
    for (query, found) in [
        ("parcel%20late", 1),
        ("late%20parcel", 1),
        ("%22parcel%20number%22", 0),
        ("%22parcel%20lost%22", 1),
        ("parcel%20-late%20", 2),
        ("a@b.example", 1),
        ("47", 1),
        ("nothing", 0),
        ("'%22%5C&", 0),
        ("%3A*%26%7C", 0),
    ] {
        assert_eq!(texts(&search(&desk.ann, query).await).len(), found, "{query}");
    }
    let page = search(&desk.ann, "parcel&limit=3").await;
    let next = page["next_cursor"].as_str().unwrap();
    assert_eq!(texts(&search(&desk.ann, &format!("parcel&limit=3&cursor={next}")).await).len(), 1);
    for bad in ["", "?q=", "?q=%00", "?q=a&limit=0"] {
        desk.world.get(&desk.ann, &format!("/v1/search{bad}")).await.problem(400, "invalid_request");
    }

    let one = async |who, id: &str, query: &str| {
        desk.world.get(who, &format!("/v1/conversations/{id}/search?min_seq={seq}&q={query}")).await
    };
    assert_eq!(texts(&one(&desk.bob, &ours.id(), "parcel").await.is(200).body).len(), 3);
    one(&desk.bob, &theirs.id(), "parcel").await.problem(404, "not_found");
    let list = async |query: &str| desk.list(&desk.ann, query, seq).await.len();
    assert_eq!((list("&q=late").await, list("&q=parcel").await, list("&q=nothing").await), (1, 2, 0));

    let mallory = desk.world.register("mallory").await;
    assert_eq!(texts(&search(&mallory, "parcel").await).len(), 0);
    one(&mallory, &ours.id(), "parcel").await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_edited_or_deleted_is_found_as_it_stands_now() {
    let desk = desk().await;
    let mut chat = Chat::start(&desk.log, &desk.ann.tenant, Some(&desk.group), "hello").await;
    chat.assigned(&desk.bob).await;
    let path = format!("/v1/conversations/{}/events", chat.id());
    let mut said = Vec::new();
    for text in ["your parcel is on its way", "it comes tomorrow"] {
        said.push(desk.say(&desk.bob, &path, json!({ "content": text })).await.is(201).body);
    }
    let event = |n: usize| format!("/v1/events/{}", said[n]["event_id"].as_str().unwrap());
    let at = |n: usize| format!("?min_seq={}", said[n]["seq"]);
    desk.world.get(&desk.bob, &format!("{path}{}", at(1))).await.is(200);

    let other = json!({ "text": "your letter is on its way" });
    desk.world.patch(&desk.ann, &event(0), other.clone()).await.problem(403, "forbidden");
    desk.world.patch(&desk.eve, &event(0), other.clone()).await.problem(404, "not_found");
    desk.world.patch(&desk.bob, &event(0), json!({ "text": " " })).await.problem(422, "invalid_request");
    desk.world.patch(&desk.bob, &event(0), other).await.is(200);
    desk.world.delete(&desk.eve, &event(1)).await.problem(404, "not_found");
    let deleted = desk.world.delete(&desk.bob, &event(1)).await.is(200);
    let seq = deleted.body["seq"].as_u64().unwrap();
    let find = async |word: &str| {
        let got = desk.world.get(&desk.ann, &format!("/v1/search?min_seq={seq}&q={word}")).await.is(200);
        got.body["data"].as_array().unwrap().len()
    };
    assert_eq!((find("parcel").await, find("letter").await, find("tomorrow").await), (0, 1, 0));
    desk.world.delete(&desk.bob, &event(1)).await.problem(409, "conflict");

    let hello = desk.world.get(&desk.bob, &path).await.is(200);
    let hello =
        hello.body["data"].as_array().unwrap().iter().find(|e| e["data"]["text"] == "hello").unwrap().clone();
    let hello = format!("/v1/events/{}", hello["id"].as_str().unwrap());
    desk.world.delete(&desk.bob, &hello).await.problem(403, "forbidden");
    desk.world.delete(&desk.ann, &hello).await.is(200);
    chat.closed().await;
    desk.world.patch(&desk.bob, &event(0), json!({ "text": "late" })).await.problem(409, "thread_closed");

    let transcript = format!("/v1/conversations/{}/transcript?min_seq={}", chat.id(), chat.seq);
    let got = desk
        .world
        .request(reqwest::Method::GET, &transcript)
        .bearer_auth(&desk.bob.token)
        .send()
        .await
        .unwrap();
    assert_eq!(got.headers()["content-type"], "text/plain; charset=utf-8");
    let text = got.text().await.unwrap();
    assert!(text.contains("] (agent) bob: your letter is on its way\n"), "{text}");
    assert!(!text.contains("tomorrow") && !text.contains("hello"), "{text}");
    desk.world.get(&desk.eve, &transcript).await.problem(404, "not_found");
}
