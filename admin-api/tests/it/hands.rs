//! A thread from hand to hand, with a real router: what is wanted of it, who is given it, and what is told of that.

use std::time::Duration;

use bus_schema::{
    Shard,
    claims::Role,
    command::{Actor, Command},
};
use ops::{
    log::Log,
    testing::{Process, wait_for},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    chat::{Chat, persister},
    routing::{connects, router},
    world::{BusServer, Got, Person, World},
};

const SOON: Duration = Duration::from_secs(30);

/// One group with two agents who have a connection and accept no chats yet.
struct Floor {
    world: World,
    log: Log,
    ann: Person,
    bob: Person,
    eve: Person,
    group: String,
    _router: Process,
    _server: BusServer,
}

impl Floor {
    async fn open(group: Value) -> Self {
        let server = BusServer::start().await;
        let world = World::on(&server).await;
        persister(&world).await;
        let router = router(&world).await;
        let ann = world.register("acme").await;
        let [bob, eve] = [world.agent(&ann, "bob", "agent").await, world.agent(&ann, "eve", "agent").await];
        let group = world.post(&ann, "/v1/groups", group).await.is(201).id();
        for agent in [&bob, &eve] {
            let member = format!("/v1/groups/{group}/members/{}", agent.id);
            world.call(Method::PUT, &ann, &member, json!({})).await.is(200);
            connects(&world, agent).await;
        }
        let log = Log::new(world.bus().await, Shard(0));
        Self { world, log, ann, bob, eve, group, _router: router, _server: server }
    }

    async fn accepts(&self, agent: &Person) {
        let accepting = json!({ "status": "accepting" });
        self.world.call(Method::PUT, agent, "/v1/auth/status", accepting).await.is(200);
    }

    /// A visitor begins, and what is told once the router has decided on it.
    async fn begins(&self) -> Chat {
        let chat = Chat::start(&self.log, &self.ann.tenant, Some(&self.group), "hello").await;
        self.told(&chat, |told| told.iter().any(|entry| entry["kind"] == "decided")).await;
        chat
    }

    /// Everything that was done, once it is what is waited for.
    async fn told(&self, chat: &Chat, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let path = format!("/v1/conversations/{}/routing", chat.id());
        wait_for(SOON, "the story to be told", async || {
            let got = self.world.get(&self.ann, &path).await;
            let told = got.body["data"].as_array().cloned().unwrap_or_default();
            if enough(&told) { Ok(told) } else { Err(got.body.to_string()) }
        })
        .await
    }

    async fn wants(&self, who: &Person, chat: &Chat, what: &str, body: Value) -> Got {
        let path = format!("/v1/conversations/{}/{what}", chat.id());
        self.world.call(Method::PUT, who, &path, body).await
    }

    /// Who has it now, by the log.
    async fn assignee(&self, chat: &Chat) -> Option<String> {
        let life = ops::chat::life(&self.log, chat.home).await.unwrap().unwrap();
        life.state.assignee_id.map(|id| id.to_string())
    }
}

fn kinds(told: &[Value]) -> Vec<&str> {
    told.iter().map(|entry| entry["kind"].as_str().unwrap()).collect()
}

fn of_kind<'a>(told: &'a [Value], kind: &str) -> Vec<&'a Value> {
    told.iter().filter(|entry| entry["kind"] == kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_nobody_answers_in_time_is_told_from_hand_to_hand() {
    let group = json!({ "name": "Support", "is_default": true, "routing": { "answer_s": 2 } });
    let floor = Floor::open(group).await;
    let chat = floor.begins().await;
    floor.accepts(&floor.bob).await;
    let lost = floor.told(&chat, |told| !of_kind(told, "unanswered").is_empty()).await;
    assert_eq!(
        kinds(&lost)[..7],
        ["started", "queued", "decided", "assigned", "decided", "agent_lost", "unanswered"]
    );
    floor.accepts(&floor.eve).await;
    let told = floor.told(&chat, |told| of_kind(told, "assigned").len() == 2).await;

    let seqs: Vec<_> = told.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted(), "{seqs:?}");
    let queued = &told[1];
    assert_eq!(queued["data"]["reason"], "no_agent_accepting", "{queued}");
    assert_eq!(queued["author"]["type"], "system");
    let (bob, eve) = (json!(floor.bob.id), json!(floor.eve.id));
    let decided = of_kind(&told, "decided");
    assert_eq!((&decided[0]["chosen"], &decided[0]["decision"]["chosen"]), (&json!(null), &json!(null)));
    let last = decided.last().unwrap();
    for (entry, agent) in [(&decided[1], &bob), (last, &eve)] {
        assert_eq!((&entry["rule"], &entry["chosen"]), (&json!("least_loaded"), agent), "{entry}");
        assert_eq!(entry["data"], json!({}), "the decision stands beside what else was said");
    }
    let passed_over = last["decision"]["candidates"].as_array().unwrap();
    let refused = passed_over.iter().find(|candidate| candidate["agent_id"] == bob).unwrap();
    assert_eq!(refused["refused"], "passed_on", "{last}");
    let agent_lost = of_kind(&told, "agent_lost")[0];
    assert_eq!(agent_lost["data"], json!({ "agent_id": bob, "reason": "unanswered" }));
    assert_eq!(of_kind(&told, "unanswered")[0]["data"], json!({ "agent_id": bob }));
    assert_eq!(of_kind(&told, "assigned")[1]["data"]["agent_id"], eve);
    for entry in &told {
        let is_decision = entry["kind"] == "decided";
        assert_eq!((entry["rule"].is_string(), entry["decision"].is_object()), (is_decision, is_decision));
        assert_eq!((&entry["thread_id"], entry["data"].get("state")), (&json!(chat.thread()), None));
    }
    // Each is told of the decision that gave it to them, also who has it no longer.
    let path = format!("/v1/conversations/{}/routing", chat.id());
    for (agent, entry) in [(&floor.bob, decided[1]), (&floor.eve, last)] {
        let got = floor.world.get(agent, &path).await.is(200).body["mine"].clone();
        assert_eq!((&got["seq"], &got["chosen"]), (&entry["seq"], &json!(agent.id)), "{got}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wanted_of_a_thread_says_who_is_given_it() {
    let floor = Floor::open(json!({ "name": "Support", "is_default": true })).await;
    let chat = floor.begins().await;
    let latin = json!({ "skills": ["latin"] });
    let done = floor.wants(&floor.ann, &chat, "skills", latin.clone()).await.is(200);
    assert_eq!(done.body, json!({ "thread_id": chat.thread(), "skills": ["latin"] }));
    let urgent = json!({ "priority": "urgent", "thread_id": chat.thread() });
    let done = floor.wants(&floor.ann, &chat, "priority", urgent.clone()).await.is(200);
    assert_eq!(done.body, json!({ "thread_id": chat.thread(), "priority": "urgent" }));
    for (what, body) in [("skills", latin), ("priority", urgent)] {
        floor.wants(&floor.bob, &chat, what, body.clone()).await.problem(403, "forbidden");
        let mut other = body;
        other["thread_id"] = json!("0190f3c2-5b7e-7c3a-9d4e-1f2a3b4c5d6e");
        floor.wants(&floor.ann, &chat, what, other).await.problem(409, "conflict");
    }
    let many: Vec<String> = (0..51).map(|n| n.to_string()).collect();
    for (skills, pointer) in [(json!(many), "/skills"), (json!(["a", "a"]), "/skills/1")] {
        let refused = floor.wants(&floor.ann, &chat, "skills", json!({ "skills": skills })).await;
        assert_eq!(refused.problem(422, "invalid_request").body["errors"][0]["pointer"], pointer);
    }

    floor.accepts(&floor.bob).await;
    let path = format!("/v1/conversations/{}/routing", chat.id());
    let waits = wait_for(SOON, "the one without it to be refused", async || {
        let waits = floor.world.get(&floor.ann, &path).await.body["waits"].clone();
        let candidates = waits["decision"]["candidates"].as_array().cloned().unwrap_or_default();
        let bob = candidates.into_iter().find(|candidate| candidate["agent_id"] == json!(floor.bob.id));
        if bob.is_some_and(|bob| bob["refused"] == "lacks_skill") { Ok(waits) } else { Err(waits) }
    })
    .await;
    assert_eq!((&waits["thread_id"], &waits["reason"]), (&json!(chat.thread()), &json!("no_skilled_agent")));
    assert!(waits["decision"]["config_revision"].as_u64() > Some(0), "{waits}");
    let learned = json!({ "skills": ["greek", "latin"] });
    floor.world.patch(&floor.ann, &format!("/v1/agents/{}", floor.eve.id), learned).await.is(200);
    floor.accepts(&floor.eve).await;
    let told = floor.told(&chat, |told| !of_kind(told, "assigned").is_empty()).await;
    assert_eq!(of_kind(&told, "assigned")[0]["data"]["agent_id"], json!(floor.eve.id));
    let wished = of_kind(&told, "skills_set")[0];
    assert_eq!(wished["data"], json!({ "skills": ["latin"] }));
    assert_eq!(wished["author"], json!({ "type": "agent", "id": floor.ann.id }));
    assert_eq!(of_kind(&told, "priority_set")[0]["data"], json!({ "priority": "urgent" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_are_told_with_who_declined() {
    let floor = Floor::open(json!({ "name": "Support", "is_default": true, "strategy": "broadcast" })).await;
    floor.accepts(&floor.bob).await;
    let chat = Chat::start(&floor.log, &floor.ann.tenant, Some(&floor.group), "hello").await;
    let told = floor.told(&chat, |told| !of_kind(told, "offered").is_empty()).await;
    let offered = of_kind(&told, "offered")[0];
    assert_eq!(offered["data"]["agent_ids"], json!([floor.bob.id]));
    assert!(offered["data"]["expires_at"].is_string(), "{offered}");
    let decline = Command::Decline { conversation_id: chat.home.conversation, thread_id: None };
    let actor = Actor::agent(floor.bob.id.parse().unwrap(), Role::Agent);
    let request = ops::chat::command(actor, decline);
    ops::chat::ask(floor.log.bus(), Shard(0), chat.home.tenant, &request, SOON).await.unwrap();
    let told = floor.told(&chat, |told| !of_kind(told, "declined").is_empty()).await;
    let declined = of_kind(&told, "declined")[0];
    assert_eq!(declined["data"], json!({ "agent_id": floor.bob.id }));
    assert_eq!(declined["author"], json!({ "type": "agent", "id": floor.bob.id }));
    assert!(declined["seq"].as_u64() > offered["seq"].as_u64());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hands_a_thread_on_leaves_a_note_and_who_may_not_leaves_none() {
    let floor = Floor::open(json!({ "name": "Support", "is_default": true })).await;
    floor.accepts(&floor.bob).await;
    let chat = floor.begins().await;
    let base = format!("/v1/conversations/{}", chat.id());
    let transfer = format!("{base}/transfer");
    let to_eve = |note: &str| json!({ "agent_id": floor.eve.id, "note": note });
    let bob = Some(floor.bob.id.clone());
    wait_for(SOON, "bob to have it", async || floor.assignee(&chat).await == bob).await;

    // Eve does not accept chats; and then bob has nothing to say.
    let refused = floor.world.post(&floor.bob, &transfer, to_eve("Too early")).await;
    refused.problem(409, "agent_unavailable");
    floor.accepts(&floor.eve).await;
    let refused = floor.world.post(&floor.bob, &transfer, to_eve(" ")).await.problem(400, "invalid_request");
    assert_eq!(refused.body["errors"][0]["pointer"], "/note", "{:?}", refused.body);
    assert_eq!(floor.assignee(&chat).await, bob);

    let hand_on = async || {
        let request = floor.world.request(Method::POST, &transfer).bearer_auth(&floor.bob.token);
        let request = request.header("idempotency-key", "hand-1").json(&to_eve("Mind the step"));
        floor.world.send(request).await.is(200)
    };
    let done = hand_on().await;
    assert_eq!(done.body["assignee_id"], json!(floor.eve.id), "{:?}", done.body);
    assert_eq!(hand_on().await.body, done.body, "the same once more");
    let seq = done.body["note"]["seq"].as_u64().unwrap();
    assert!(seq > done.body["seq"].as_u64().unwrap(), "the note follows the transfer: {:?}", done.body);
    let events = floor.world.get(&floor.eve, &format!("{base}/events?min_seq={seq}")).await.is(200).body;
    let notes: Vec<_> =
        events["data"].as_array().unwrap().iter().filter(|event| event["visibility"] == "agents").collect();
    let notes: Vec<_> = notes.into_iter().filter(|event| event["kind"] == "message").collect();
    assert_eq!(notes.len(), 1, "{notes:#?}");
    assert_eq!(
        (&notes[0]["seq"], &notes[0]["data"]["text"], &notes[0]["author"]["id"], &notes[0]["thread_id"]),
        (&json!(seq), &json!("Mind the step"), &json!(floor.bob.id), &json!(chat.thread()))
    );
    // Without one there is none.
    let back = floor.world.post(&floor.eve, &transfer, json!({ "agent_id": floor.bob.id })).await.is(200);
    assert_eq!((back.body.get("note"), back.body.get("note_error")), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_thread_is_reopened_by_its_name_or_as_the_last() {
    let floor = Floor::open(json!({ "name": "Support", "is_default": true })).await;
    let chat = floor.begins().await;
    let base = format!("/v1/conversations/{}", chat.id());
    let act =
        async |what: &str, body: Value| floor.world.post(&floor.ann, &format!("{base}/{what}"), body).await;
    let first = json!({ "thread_id": chat.thread() });
    act("reopen", first.clone()).await.problem(409, "conflict");
    act("close", json!({})).await.is(200);
    act("reopen", json!({ "thread_id": "0190f3c2-5b7e-7c3a-9d4e-1f2a3b4c5d6e" }))
        .await
        .problem(409, "conflict");
    let second = act("reopen", first.clone()).await.is(200).body["thread_id"].clone();
    assert_ne!(second, chat.thread());
    act("close", json!({})).await.is(200);
    act("reopen", first).await.problem(409, "conflict");
    let third = act("reopen", json!({})).await.is(200).body;
    assert!(third["thread_id"].is_string() && third["thread_id"] != second, "{third}");
    let life = ops::chat::life(&floor.log, chat.home).await.unwrap().unwrap();
    assert_eq!(json!(life.state.previous_thread_id), second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_waits_in_its_own_group_where_who_is_named_cannot_take_it() {
    let floor = Floor::open(json!({ "name": "Support", "is_default": true })).await;
    floor.accepts(&floor.bob).await;
    let chat = floor.begins().await;
    let bob = Some(floor.bob.id.clone());
    wait_for(SOON, "bob to have it", async || floor.assignee(&chat).await == bob).await;
    let transfer = format!("/v1/conversations/{}/transfer", chat.id());
    let to_eve = |queue: bool| json!({ "agent_id": floor.eve.id, "queue": queue });
    floor.world.post(&floor.bob, &transfer, to_eve(false)).await.problem(409, "agent_unavailable");
    let done = floor.world.post(&floor.bob, &transfer, to_eve(true)).await.is(200).body;
    assert_eq!((&done["assignee_id"], &done["thread_id"]), (&Value::Null, &json!(chat.thread())), "{done}");
    let told = floor.told(&chat, |told| !of_kind(told, "transferred").is_empty()).await;
    let to = &of_kind(&told, "transferred")[0]["data"]["to"];
    assert_eq!((&to["agent_id"], &to["group_id"]), (&Value::Null, &json!(floor.group)), "{to}");
    floor.accepts(&floor.eve).await;
    let eve = Some(floor.eve.id.clone());
    wait_for(SOON, "eve to have it", async || floor.assignee(&chat).await == eve).await;
}
