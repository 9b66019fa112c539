//! Conversations whose lanes are all in use, over an edge that hears the log badly.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bus_schema::{Audience, ConversationId, claims::Role};
use futures::future::join_all;
use ops::testing::wait_for;
use serde_json::{Value, json};

use crate::{
    client::{Client, Got, message},
    signals::conversation,
    world::{Edge, World},
};

/// A last copy that is lost is found within 12 s; machines may be slow.
const WHOLE_WITHIN: Duration = Duration::from_secs(48);

/// What one connection has of its conversations: sequences in the order in which they came, and which said `late`.
#[derive(Debug, Default)]
struct List {
    seqs: Vec<u64>,
    late: usize,
}

type Lists = Arc<Mutex<BTreeMap<ConversationId, List>>>;

/// Visitors with one agent, all of whom write at one edge and read at the other.
pub struct Lanes {
    visitors: Vec<(Value, Client)>,
    agent: Client,
    read_by_visitors: Lists,
    read_by_agent: Lists,
}

impl Lanes {
    pub async fn open(world: &World, [calm, shaken]: &[Edge; 2], count: u8) -> Self {
        let (read_by_visitors, read_by_agent) = (Lists::default(), Lists::default());
        let mut visitors = Vec::new();
        for key in 0..count {
            let session = world.session(calm, [key; 32], json!({ "initial_message": "Hello" })).await;
            let id = session["conversation"]["id"].clone();
            world.assign(conversation(&id), world.agents[0]).await;
            let token = session["token"].as_str().unwrap();
            visitors.push((id, Client::login(calm.at, token).await.0));
            let (reader, login) = Client::login(shaken.at, token).await;
            follow(reader, &login, &read_by_visitors);
        }
        let token = world.staff_token(world.agents[0], Role::Agent);
        let (agent, _) = Client::login(calm.at, &token).await;
        let (reader, login) = Client::login(shaken.at, &token).await;
        follow(reader, &login, &read_by_agent);
        assert_eq!(read_by_agent.lock().unwrap().len(), usize::from(count));
        Self { visitors, agent, read_by_visitors, read_by_agent }
    }

    /// In each round everybody says something, and marks what the others said; the agent notes something.
    pub async fn fill(&mut self, rounds: usize) {
        for round in 0..rounds {
            let asked = self.visitors.iter_mut().map(async |(id, visitor)| {
                let said = visitor.stored(message(id, &format!("v-{round}"), "words")).await;
                let seq = said["payload"]["seq"].clone();
                // It is answered with the next second's mark: what is said meanwhile is later.
                visitor.send("mark_read", json!({ "conversation_id": id, "up_to_seq": seq })).await;
                (id.clone(), seq)
            });
            for (id, seq) in join_all(asked).await {
                let mut note = message(&id, &format!("n-{round}"), "between us");
                note["event"]["visibility"] = json!("agents");
                self.agent.send("mark_delivered", json!({ "conversation_id": id, "up_to_seq": seq })).await;
                self.agent.stored(note).await;
                self.agent.stored(message(&id, &format!("a-{round}"), "an answer")).await;
            }
        }
    }

    /// Waits until everybody has all of it. Each list is then the log's slice for its reader, and `late` was said of
    /// exactly what came after something later; how many did.
    pub async fn are_the_logs_slices(mut self, world: &World) -> usize {
        // The answer to a request that is sent last comes after those to all marks.
        for (id, visitor) in &mut self.visitors {
            let last = json!({ "conversation_id": id, "up_to_seq": 1 });
            assert_eq!(visitor.request("mark_delivered", last).await["success"], true);
        }
        let mut late = 0;
        for (lists, audience) in
            [(&self.read_by_visitors, Audience::All), (&self.read_by_agent, Audience::Staff)]
        {
            wait_for(WHOLE_WITHIN, "each list to be the log's slice", async || {
                for (id, _) in &self.visitors {
                    let id = conversation(id);
                    let stored = world.log.read(&world.home(id).stored(audience), 1, 100_000).await.unwrap();
                    let stored: Vec<u64> = stored.iter().map(|message| message.seq).collect();
                    let mut has = lists.lock().unwrap()[&id].seqs.clone();
                    has.sort_unstable();
                    if has != stored {
                        return Err(format!("{audience:?}: {has:?} of {stored:?}"));
                    }
                }
                Ok(())
            })
            .await;
            late += lists.lock().unwrap().values().map(|list| list.late).sum::<usize>();
        }
        late
    }
}

/// Reads on and on, beginning with what the login answered.
fn follow(mut reader: Client, login: &Value, lists: &Lists) {
    for conv in login["conversations"].as_array().unwrap() {
        let seqs = conv["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap());
        let list = List { seqs: seqs.collect(), late: 0 };
        lists.lock().unwrap().insert(conversation(&conv["id"]), list);
    }
    let lists = lists.clone();
    tokio::spawn(async move {
        while let Got::Frame(frame) = reader.read_on().await {
            if frame["action"] != "event" {
                continue;
            }
            let payload = &frame["payload"];
            let (seq, says_late) = (payload["event"]["seq"].as_u64().unwrap(), payload["late"] == true);
            let mut lists = lists.lock().unwrap();
            let list = lists.get_mut(&conversation(&payload["conversation_id"])).unwrap();
            let is_late = list.seqs.iter().any(|earlier| *earlier > seq);
            assert_eq!(says_late, is_late, "{frame} after {:?}", list.seqs);
            list.seqs.push(seq);
            list.late += usize::from(is_late);
        }
    });
}
