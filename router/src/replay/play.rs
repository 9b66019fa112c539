//! Plays a recording through a core of its own, in its own time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::Duration,
};

use bus_schema::{
    AgentId, Author, Body, ConversationId, Event, EventId, GroupId, IncarnationId, Lane, Shard, Subject,
    ThreadId, Timestamp, Visibility,
    claims::Role,
    command::{Actor, Command, PresenceReport},
    config::{AgentRecord, Record, RoutingSettings},
    event::Started,
    state::{CloseReason, Extra, LifeState, Priority, StartSource, Strategy, ThreadStatus},
};

use super::{
    measure::{Figures, Measure},
    recording::{Episode, Recording, Shift},
};
use crate::{
    alone::Alone,
    routing::{Input, Message, Settings},
};

/// Where every agent is connected.
const EDGE: IncarnationId = IncarnationId::NIL;
/// No step of time is longer, so that nothing comes due long before it is looked at.
const STEP_MAX: Duration = Duration::from_secs(1);

/// What is other than it was.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub strategy: Option<Strategy>,
    pub capacity: Option<u32>,
}

/// What happens next; of the same instant, what ends comes before what begins.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    End(ThreadId),
    Shift(usize),
    GiveUp(ThreadId),
    Start(ThreadId),
}

/// Groups in which nobody is given a thread by a rule: what people would do there no log tells of.
pub fn left_to_people(records: &[Record], change: Change) -> BTreeSet<GroupId> {
    let people = |record: &Record| match record {
        Record::Group(group) if !group.deleted => {
            let strategy = change.strategy.unwrap_or(group.strategy);
            matches!(strategy, Strategy::Manual | Strategy::Broadcast).then_some(group.group_id)
        }
        _ => None,
    };
    records.iter().filter_map(people).collect()
}

struct Player<'a> {
    recording: &'a Recording,
    alone: Alone,
    due: BinaryHeap<Reverse<(Timestamp, Action)>>,
    measure: Measure,
    change: Change,
    agents: BTreeMap<AgentId, AgentRecord>,
    revision: u64,
    usual: Duration,
}

/// Plays it, with this configuration changed like this, and says what came of it. Time alone ends nothing: when a
/// visitor gave up or fell silent is in the recording.
pub fn play(
    recording: &Recording,
    records: &[Record],
    change: Change,
    settings: Settings,
    from: Timestamp,
) -> Figures {
    let began = recording.shifts.first().map(|shift| shift.at).into_iter();
    let began = began.chain(recording.episodes.values().map(|episode| episode.started)).min();
    let people = left_to_people(records, change);
    let by_rules = |episode: &&Episode| episode.group.is_none_or(|group| !people.contains(&group));
    let mut player = Player {
        recording,
        alone: Alone::new(settings, began.unwrap_or(from)),
        due: BinaryHeap::new(),
        measure: Measure::new(from, BTreeSet::new()),
        change,
        agents: records.iter().filter_map(agent_of).collect(),
        revision: records.iter().map(Record::revision).max().unwrap_or(0),
        usual: recording.usual(),
    };
    player.alone.input(Input::Lease { incarnation: EDGE, alive: true }, &mut |_, _| {});
    for record in records {
        let record = player.changed(record.clone());
        player.alone.input(Input::Config(record), &mut |_, _| {});
    }
    let shifts = (0..recording.shifts.len()).map(|at| (recording.shifts[at].at, Action::Shift(at)));
    let episodes = recording.episodes.values().filter(by_rules);
    let starts = episodes.map(|episode| (episode.started, Action::Start(episode.thread)));
    player.due.extend(shifts.chain(starts).map(Reverse));
    while let Some(Reverse((at, action))) = player.due.pop() {
        if at > recording.end {
            break;
        }
        player.pass(at);
        player.act(action);
    }
    player.pass(recording.end);
    player.measure.figures(recording.end)
}

impl Player<'_> {
    fn changed(&self, record: Record) -> Record {
        // What time would do is in the recording.
        let patient = |routing: &RoutingSettings| RoutingSettings {
            answer_s: Some(0),
            idle_s: Some(0),
            idle_close_s: Some(0),
            queue_s: Some(0),
            visitor_gone_s: Some(0),
            ..routing.clone()
        };
        match record {
            Record::Tenant(mut tenant) => {
                tenant.routing = patient(&tenant.routing);
                tenant.thread_per_assignment = false;
                Record::Tenant(tenant)
            }
            Record::Group(mut group) => {
                group.routing = patient(&group.routing);
                group.strategy = self.change.strategy.unwrap_or(group.strategy);
                Record::Group(group)
            }
            Record::Agent(mut agent) => {
                agent.capacity = self.change.capacity.unwrap_or(agent.capacity);
                Record::Agent(agent)
            }
            Record::Widget(_) | Record::Tag(_) => record,
        }
    }

    /// Time goes by until then.
    fn pass(&mut self, until: Timestamp) {
        while self.alone.now < until {
            let due = self
                .alone
                .routing
                .poll_timeout()
                .unwrap_or(until)
                .max(self.alone.now.plus(Duration::from_millis(1)));
            self.alone.now = due.min(self.alone.now.plus(STEP_MAX)).min(until);
            self.tell(|alone, stored| alone.input(Input::Tick, stored));
        }
    }

    fn act(&mut self, action: Action) {
        let recording = self.recording;
        match action {
            Action::Shift(at) => self.shift(recording.shifts[at]),
            Action::Start(thread) => self.start(&recording.episodes[&thread]),
            Action::End(thread) => self.close(&recording.episodes[&thread], false),
            Action::GiveUp(thread) => self.close(&recording.episodes[&thread], true),
        }
    }

    /// Runs the core, and looks at what it decides: who is given a thread works on it as long as it took.
    fn tell<T>(&mut self, act: impl FnOnce(&mut Alone, &mut dyn FnMut(&Message, Timestamp)) -> T) -> T {
        let (measure, due, recording, usual) = (&mut self.measure, &mut self.due, self.recording, self.usual);
        let mut stored = |message: &Message, at: Timestamp| {
            measure.see(&message.event, at);
            let Some(state) = message.event.body.life_state() else { return };
            let given = matches!(message.event.body, Body::Assigned(_) | Body::Transferred(_));
            if given && state.assignee_id.is_some() {
                let episode = recording.episodes.get(&state.thread_id);
                // Who was still at it when the log ended is at it until then.
                let takes = episode.map_or(usual, |episode| match (episode.handled, episode.patience) {
                    (Some(handled), _) => handled,
                    (None, Some(_)) => usual,
                    (None, None) => recording.end.since(at) + STEP_MAX,
                });
                due.push(Reverse((at.plus(takes), Action::End(state.thread_id))));
            }
        };
        act(&mut self.alone, &mut stored)
    }

    fn shift(&mut self, shift: Shift) {
        let Shift { tenant, agent, connected, status, capacity, .. } = shift;
        self.revision += 1;
        let capacity = self.change.capacity.unwrap_or(capacity);
        // Or one of whom the configuration knows nothing any more.
        let known = self.agents.get(&agent).cloned();
        let known = known.unwrap_or_else(|| AgentRecord::new(tenant, agent, capacity));
        let record = AgentRecord { capacity, revision: self.revision, deleted: false, ..known };
        let rev = self.revision;
        self.tell(|alone, stored| {
            alone.input(Input::Config(Record::Agent(record)), stored);
            let report = PresenceReport { agent_id: agent, rev, connections: u32::from(connected) };
            let report = Command::Presence { incarnation: EDGE, agents: vec![report] };
            alone.command(tenant, Actor::SYSTEM, report, stored);
            let chose = Command::SetStatus { agent_id: agent, status };
            alone.command(tenant, Actor::agent(agent, Role::Agent), chose, stored);
        });
    }

    fn start(&mut self, episode: &Episode) {
        let (shard, event) = (Shard(0), started(episode, self.alone.now));
        let subject = Subject::Conversation {
            shard,
            tenant: episode.tenant,
            conversation: episode.conversation,
            lane: Lane::Life,
        };
        // Another thread of the conversation takes longer than it did: its visitor has come to the next matter.
        self.send(episode, |conversation_id| Command::Close {
            conversation_id,
            thread_id: None,
            reason: CloseReason::Resolved,
        });
        self.measure.see(&event, self.alone.now);
        self.tell(|alone, stored| alone.log(subject, event, stored));
        if let Some(patience) = episode.patience {
            self.due.push(Reverse((episode.started.plus(patience), Action::GiveUp(episode.thread))));
        }
        if episode.priority != Priority::default() {
            let (priority, thread_id) = (episode.priority, Some(episode.thread));
            self.send(episode, |conversation_id| Command::SetPriority {
                conversation_id,
                thread_id,
                priority,
            });
        }
        if !episode.skills.is_empty() {
            let (skills, thread_id) = (episode.skills.clone(), Some(episode.thread));
            self.send(episode, |conversation_id| Command::SetSkills { conversation_id, thread_id, skills });
        }
    }

    fn close(&mut self, episode: &Episode, gives_up: bool) {
        // Who is being served by now stays.
        if gives_up && self.alone.routing.is_active(episode.tenant, episode.conversation) {
            return;
        }
        let (thread_id, reason) = (Some(episode.thread), CloseReason::Resolved);
        self.send(episode, |conversation_id| Command::Close { conversation_id, thread_id, reason });
    }

    fn send(&mut self, episode: &Episode, command: impl FnOnce(ConversationId) -> Command) {
        let (tenant, command) = (episode.tenant, command(episode.conversation));
        // A refusal is an answer: the thread is over, or another one is open.
        let _outcome = self.tell(|alone, stored| alone.command(tenant, Actor::SYSTEM, command, stored));
    }
}

fn agent_of(record: &Record) -> Option<(AgentId, AgentRecord)> {
    match record {
        Record::Agent(agent) => Some((agent.agent_id, agent.clone())),
        _ => None,
    }
}

fn started(episode: &Episode, at: Timestamp) -> Event {
    let state = LifeState {
        thread_id: episode.thread,
        status: ThreadStatus::Queued,
        group_id: episode.group,
        assignee_id: None,
        participants: Vec::new(),
        started_at: at,
        started_seq: None,
        visitor_id: episode.visitor,
        widget_id: None,
        previous_thread_id: None,
        continues: false,
        extra: Extra::new(),
    };
    let start = Started { group_id: episode.group, widget_id: None, source: StartSource::Widget, state };
    Event {
        id: EventId::from_uuid(episode.thread.uuid()),
        cause: None,
        tenant_id: episode.tenant,
        conversation_id: Some(episode.conversation),
        thread_id: Some(episode.thread),
        author: Author::visitor(episode.visitor),
        client_id: None,
        visibility: Visibility::All,
        body: Body::Started(start),
    }
}
