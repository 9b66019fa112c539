//! What edges show of a conversation is the same from Postgres as from the log.

use bus_schema::{
    AgentId, Audience, Author, Body, ClientId, Event, EventId, Lane, Shard, TagId, ThreadId, Visibility,
    event::{Delivered, Message, MessageDeleted, MessageEdited, Read, Tagged, Untagged},
};
use ops::{
    chat::{self, Draft, PageRequest, Sight},
    log::{Log, Write, raise_horizon},
};
use uuid::Uuid;

use crate::{
    chat::Chat,
    conversations::{Desk, desk},
    world::Person,
};

/// Numbers that look random, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

struct Talk<'a> {
    chat: Chat,
    agent: &'a Person,
    said: Vec<(EventId, u64)>,
    tags: Vec<TagId>,
    /// Each send, and where it is stored.
    sent: Vec<(Draft, u64)>,
}

impl Talk<'_> {
    fn agent(&self) -> Author {
        Author::agent(self.agent.id.parse::<AgentId>().unwrap())
    }

    async fn send(&mut self, author: Author, visibility: Visibility, body: Body) -> u64 {
        let draft = Draft {
            home: self.chat.home,
            author,
            client_id: ClientId::new(Uuid::now_v7().simple().to_string()).unwrap(),
            visibility,
            body,
            thread: None,
            retry: false,
            cause: None,
        };
        let sent = chat::send(&self.chat.log, &draft, None, |_| Ok(())).await.unwrap();
        self.said.push((sent.event_id, sent.seq));
        self.sent.push((draft, sent.seq));
        sent.seq
    }

    async fn put(&mut self, author: Author, lane: Lane, body: Body) -> u64 {
        let event = Event {
            id: EventId::from_uuid(Uuid::now_v7()),
            cause: None,
            tenant_id: self.chat.home.tenant,
            conversation_id: Some(self.chat.home.conversation),
            thread_id: Some(self.chat.state.thread_id),
            author,
            client_id: None,
            visibility: if lane == Lane::Note { Visibility::Agents } else { Visibility::All },
            body,
        };
        let write = Write::new(self.chat.home.lane(lane).to_string(), event.encode());
        self.chat.log.publish(write).await.unwrap().seq
    }

    /// Somebody does something.
    async fn step(&mut self, dice: &mut Dice) -> u64 {
        let who = if dice.roll(2) == 0 { self.agent() } else { Author::visitor(self.chat.visitor) };
        let (agent, visibility) = (self.agent(), Visibility::All);
        let text = "é".repeat(dice.roll(60) as usize + 1);
        let (target_id, up_to_seq) = self.said[dice.roll(self.said.len() as u64) as usize];
        let message = Body::Message(Message { text: text.clone(), quick_replies: Vec::new() });
        match dice.roll(10) {
            0 => self.put(who, Lane::Mark, Body::Delivered(Delivered { up_to_seq })).await,
            1 => self.put(who, Lane::Mark, Body::Read(Read { up_to_seq })).await,
            2 => {
                let tag_id = TagId::from_uuid(Uuid::now_v7());
                self.tags.push(tag_id);
                self.put(agent, Lane::Note, Body::Tagged(Tagged { tag_id })).await
            }
            3 if !self.tags.is_empty() => {
                let tag_id = self.tags.remove(0);
                self.put(agent, Lane::Note, Body::Untagged(Untagged { tag_id })).await
            }
            4 => self.send(agent, Visibility::Agents, message).await,
            5 => self.put(who, Lane::Msg, Body::MessageEdited(MessageEdited { target_id, text })).await,
            6 => {
                let deleted = MessageDeleted { target_id, purge: false };
                self.put(who, Lane::Msg, Body::MessageDeleted(deleted)).await
            }
            _ => self.send(who, visibility, message).await,
        }
    }
}

/// What edges show from a log.
async fn shown(talk: &Talk<'_>, log: &Log, dice: &mut Dice, times: usize) -> Vec<String> {
    let from = chat::life(log, talk.chat.home).await.unwrap().unwrap().started_seq();
    shown_from(talk, log, from, dice, times).await
}

/// The same, where no snapshot is of a position below `from`.
async fn shown_from(talk: &Talk<'_>, log: &Log, from: u64, dice: &mut Dice, times: usize) -> Vec<String> {
    let home = talk.chat.home;
    let life = chat::life(log, home).await.unwrap().unwrap();
    let horizon = log.horizon().await.unwrap();
    let end = chat::tail(log, home, Audience::Staff).await.unwrap().end();
    let mut all = Vec::new();
    for _ in 0..times {
        for (audience, viewer) in
            [(Audience::All, Author::visitor(talk.chat.visitor)), (Audience::Staff, talk.agent())]
        {
            let seq = from + dice.roll(end + 1 - from);
            let position = [seq; Lane::ALL.len()];
            let sight =
                Sight { home, audience, life: &life, position: &position, viewer, horizon, events: true };
            let snapshot = chat::snapshot(log, &sight).await.unwrap();
            all.push(format!("{audience:?} at {seq}: {snapshot:?}"));
            let (place, limit) = (dice.roll(end + 2), dice.roll(60) as usize + 1);
            for (before, after) in [(Some(place), None), (None, Some(place))] {
                let request = PageRequest { home, audience, before, after, limit };
                let page = chat::page(log, &request).await.unwrap();
                let text = format!("{page:?}");
                assert!(audience == Audience::Staff || !text.contains("\"visibility\":\"agents\""), "{text}");
                all.push(format!("{audience:?} {before:?} {after:?} {limit}: {text}"));
            }
        }
    }
    all
}

/// A conversation of two threads.
async fn talk<'a>(desk: &'a Desk, dice: &mut Dice) -> Talk<'a> {
    let chat = Chat::start(&desk.log, &desk.ann.tenant, Some(&desk.group), "hello").await;
    let mut talk = Talk { chat, agent: &desk.bob, said: Vec::new(), tags: Vec::new(), sent: Vec::new() };
    for thread in 0..2 {
        talk.chat.assigned(&desk.bob).await;
        let message = Body::Message(Message { text: "hi".into(), quick_replies: Vec::new() });
        talk.send(talk.agent(), Visibility::All, message).await;
        for _ in 0..130 {
            let seq = talk.step(dice).await;
            talk.chat.seq = talk.chat.seq.max(seq);
        }
        if thread == 0 {
            talk.chat.closed().await;
            talk.chat = talk.chat.again(&desk.group, "me again").await;
        }
    }
    talk
}

#[tokio::test(flavor = "multi_thread")]
async fn what_edges_show_from_postgres_is_what_they_show_from_the_log() {
    let desk = desk().await;
    let mut dice = Dice(7);
    let talk = talk(&desk, &mut dice).await;
    // The read model has it all.
    desk.list(&desk.ann, "", talk.chat.seq).await;
    for search_max in [0, 3, 40] {
        let seed = dice.roll(1_000);
        let from_log = shown(&talk, &desk.log.searching(u64::MAX), &mut Dice(seed), 25).await;
        let bounded = Log::new(desk.log.bus().clone(), Shard(0)).searching(search_max);
        let bounded = shown(&talk, &bounded, &mut Dice(seed), 25).await;
        for (bounded, from_log) in bounded.iter().zip(&from_log) {
            assert_eq!(bounded, from_log, "searched {search_max}, seed {seed}");
        }
    }
    // It was Postgres that answered: what changes there, shows.
    let postgres = desk.world.postgres().await;
    let tenant: Uuid = desk.ann.tenant.parse().unwrap();
    let spoken = "UPDATE chat.events SET payload = replace(payload, 'é', 'è') WHERE tenant_id = $1";
    assert!(postgres.execute(spoken, &[&tenant]).await.unwrap() > 0);
    let from_log = shown(&talk, &desk.log.searching(u64::MAX), &mut Dice(1), 5).await;
    let again = |found: &[String]| found.join(" ").replace('è', "é");
    let bounded = Log::new(desk.log.bus().clone(), Shard(0)).searching(0);
    let found = shown(&talk, &bounded, &mut Dice(1), 5).await;
    assert!(found != from_log && again(&found) == from_log.join(" "));
    // What the read model could not take in is in the log alone, and is shown.
    let subject = talk.chat.home.lane(Lane::Msg).to_string();
    let first = chat::life(&desk.log, talk.chat.home).await.unwrap().unwrap().started_seq() as i64 + 5;
    let parked = "INSERT INTO chat.parked (tenant_id, shard, seq, at, subject, reason, payload)
        VALUES ($1, 0, $2, now(), $3, 'unreadable', '')";
    postgres.execute(parked, &[&tenant, &first, &subject]).await.unwrap();
    let forgotten = "DELETE FROM chat.events WHERE tenant_id = $1 AND seq >= $2";
    assert!(postgres.execute(forgotten, &[&tenant, &first]).await.unwrap() > 0);
    let bounded = Log::new(desk.log.bus().clone(), Shard(0)).searching(0);
    let found = shown(&talk, &bounded, &mut Dice(1), 5).await;
    assert_eq!(again(&found), from_log.join(" "));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_trimmed_is_shown_from_postgres_as_it_was_from_the_log() {
    let desk = desk().await;
    let mut dice = Dice(11);
    let talk = talk(&desk, &mut dice).await;
    desk.list(&desk.ann, "", talk.chat.seq).await;
    let home = talk.chat.home;
    let began = chat::life(&desk.log, home).await.unwrap().unwrap().started_seq();
    // In the middle of the open thread, and of what it was tagged with.
    let horizon = began + (talk.chat.seq - began) / 2;
    let before = shown_from(&talk, &desk.log.searching(u64::MAX), horizon, &mut Dice(3), 40).await;
    assert!(before.iter().any(|text| text.contains("TagId")), "some thread has tags");

    raise_horizon(desk.log.bus(), Shard(0), horizon).await.unwrap();
    let mut purged = 0;
    for lane in [Lane::Msg, Lane::Note, Lane::Mark] {
        purged += desk.log.purge(&home.lane(lane).to_string(), horizon).await.unwrap();
    }
    assert!(purged > 100, "{purged} are in Postgres alone");
    for search_max in [0, 40, u64::MAX] {
        let log = Log::new(desk.log.bus().clone(), Shard(0)).searching(search_max);
        let after = shown_from(&talk, &log, horizon, &mut Dice(3), 40).await;
        for (after, before) in after.iter().zip(&before) {
            assert_eq!(after, before, "searched {search_max}");
        }
    }
    // What was said there is found there when it is sent again, whichever thread is named.
    let log = Log::new(desk.log.bus().clone(), Shard(0));
    log.horizon().await.unwrap();
    let below: Vec<_> = talk.sent.iter().filter(|(_, seq)| *seq < horizon).collect();
    for (draft, seq) in [below[0], below[below.len() / 2], below[below.len() - 1]] {
        for thread in [None, Some(ThreadId::from_uuid(Uuid::now_v7()))] {
            let again = Draft { thread, retry: true, ..draft.clone() };
            let sent = chat::send(&log, &again, None, |_| Ok(())).await.unwrap();
            assert_eq!((sent.seq, sent.duplicate), (*seq, true));
        }
    }
}
