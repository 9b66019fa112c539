//! Strangers who ask for anything, well-formed or not, never get a byte of what is none of their business.
//!
//! 2,000 requests, 100,000 in the long run. The seed is printed; `CHATBUS_SEED=…` repeats it.

use bus_schema::{claims::Role, protocol::Action};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    client::{Client, Got, frame, login},
    people::{Caller, People, Target, secrets},
};

/// Requests that go out before an answer is waited for; fewer than may be in flight.
const AT_ONCE: usize = 8;

/// What strangers know, have stolen or make up.
struct Words {
    known: Vec<Value>,
    names: Vec<String>,
}

impl Words {
    fn new(people: &People, target: &Target, stolen: &[Value]) -> Self {
        let world = &people.world;
        let mut known = vec![
            json!(target.conversation),
            json!(target.visitor),
            json!(target.thread),
            json!(target.seq),
            json!(world.tenant),
            json!(world.group),
            json!(world.widget),
            json!(people.tag),
            json!(world.agents[0]),
            json!(world.agents[2]),
            json!(Uuid::now_v7()),
            json!(null),
            json!(true),
            json!(0),
            json!(-1),
            json!(u64::MAX),
            json!(1.5),
            json!(""),
            json!("x".repeat(5_000)),
            json!([]),
            json!({}),
            json!("all"),
            json!("agents"),
            json!("mine"),
            json!("message_deleted"),
            json!("form_filled"),
        ];
        known.extend_from_slice(stolen);
        let payloads = Action::ALL.iter().map(|action| people.payload(*action, target));
        let mut names: Vec<String> = payloads
            .flat_map(|payload| payload.as_object().unwrap().keys().cloned().collect::<Vec<_>>())
            .collect();
        let more =
            ["before_seq", "after_seq", "limit", "cursor", "resume", "retry", "visitor", "initial_event"];
        names.extend(more.map(str::to_owned));
        names.extend(["target_id", "form_event_id", "visibility", "kind", "data", "note"].map(str::to_owned));
        Self { known, names }
    }

    /// Changes something somewhere.
    fn twist(&self, random: &mut StdRng, value: &mut Value) {
        match value {
            Value::Object(map) if !map.is_empty() && random.random_bool(0.8) => {
                let at = random.random_range(0..map.len());
                let key = map.keys().nth(at).unwrap().clone();
                match random.random_range(0..4) {
                    0 => drop(map.remove(&key)),
                    1 => {
                        let name = self.names.choose(random).unwrap().clone();
                        map.insert(name, self.known.choose(random).unwrap().clone());
                    }
                    _ => self.twist(random, map.get_mut(&key).unwrap()),
                }
            }
            other => *other = self.known.choose(random).unwrap().clone(),
        }
    }

    fn request(&self, random: &mut StdRng, people: &People, target: &Target, id: usize) -> Vec<u8> {
        let action = *Action::ALL.choose(random).unwrap();
        // The template of one action is sometimes sent as another.
        let of = if random.random_bool(0.1) { *Action::ALL.choose(random).unwrap() } else { action };
        let mut payload = people.payload(of, target);
        for _ in 0..random.random_range(0..4) {
            self.twist(random, &mut payload);
        }
        let request = json!({ "request_id": id.to_string(), "action": action.name(), "payload": payload });
        let mut text = request.to_string().into_bytes();
        // Few: the third bad frame ends the connection.
        if random.random_bool(0.02) {
            let at = random.random_range(0..text.len());
            text[at] = random.random_range(0x20..0x7f);
        }
        text
    }
}

async fn come(people: &People, caller: Caller, target: &Target, resume: &Value) -> Client {
    let mut client = Client::connect(people.edge.at, None).await.unwrap();
    let token = people.token(caller, target);
    // Another's place to go on from is worth nothing.
    let answer = client.request("login", login(&token, json!({ "resume": resume }))).await;
    assert_eq!(answer["success"], true, "{answer}");
    assert_eq!(secrets(&answer), [""; 0], "{caller:?}: {answer}");
    client
}

#[tokio::test]
async fn no_request_gets_a_stranger_a_byte_of_anothers() {
    let seed =
        std::env::var("CHATBUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("CHATBUS_SEED={seed}");
    let requests = if ops::testing::long() { 100_000 } else { 2_000 };
    let people = People::meet().await;
    let token = people.world.staff_token(people.world.agents[0], Role::Agent);
    let (mut assignee, _) = Client::login(people.edge.at, &token).await;
    let mut target = people.talk(&mut assignee).await;
    people.attach(&mut assignee, &mut target).await;
    let (mut owner, mine) = Client::login(people.edge.at, &target.token).await;
    let page = json!({ "url": "https://shop.example/cave-of-wonders", "title": "Sesame" });
    assert_eq!(owner.request("set_page", page).await["success"], true);
    // Whose business it is sees it all: the secrets are there to be found.
    let told = secrets(&mine);
    assert!(
        ["Sesame", "ali-baba@", "forty-thieves", "open-1"].iter().all(|secret| told.contains(secret)),
        "{told:?}"
    );
    let conv = &mine["conversations"][0];
    let events: Vec<_> = conv["events"].as_array().unwrap().iter().map(|event| event["id"].clone()).collect();
    let mut stolen = events;
    stolen.push(conv["cursor"].clone());
    let words = Words::new(&people, &target, &stolen);
    let resume = json!([{ "conversation_id": target.conversation, "cursor": conv["cursor"] }]);

    let strangers = [Caller::OtherVisitor, Caller::ForeignVisitor, Caller::Outsider, Caller::ForeignAdmin];
    let mut random = StdRng::seed_from_u64(seed);
    let (mut asked, mut frames) = (0, 0);
    while asked < requests {
        let caller = *strangers.choose(&mut random).unwrap();
        let mut client = come(&people, caller, &target, &resume).await;
        'connection: for _ in 0..8 {
            let mut bytes = Vec::new();
            for _ in 0..AT_ONCE {
                asked += 1;
                bytes.extend(frame(0x81, &words.request(&mut random, &people, &target, asked)));
            }
            let end = json!({ "request_id": "end", "action": "ping" }).to_string();
            bytes.extend(frame(0x81, end.as_bytes()));
            client.raw(&bytes).await;
            loop {
                match client.read().await {
                    Got::Frame(frame) => {
                        frames += 1;
                        assert_eq!(secrets(&frame), [""; 0], "{caller:?}: {frame}");
                        let code = frame["payload"]["error"]["code"].as_str();
                        assert_ne!(code, Some("internal"), "{caller:?}: {frame}");
                        if frame["request_id"] == "end" {
                            break;
                        }
                    }
                    Got::Closed(_) | Got::Gone => break 'connection,
                }
            }
        }
    }
    println!("{asked} requests, {frames} frames");
    // And nothing of it was changed, though its agent may have been found away meanwhile.
    let (_, after) = Client::login(people.edge.at, &target.token).await;
    let kept = &after["conversations"][0];
    let events = |conv: &Value| conv["events"].as_array().unwrap().clone();
    let (before, mut now) = (events(conv), events(kept));
    let more = now.split_off(before.len());
    assert!(more.iter().all(|event| event["author"]["type"] == "system"), "{more:?}");
    assert_eq!((now, &kept["visitor"]), (before, &conv["visitor"]));
}
