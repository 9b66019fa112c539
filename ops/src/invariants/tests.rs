//! Each invariant is shown to be found when it is broken: a check that cannot fail proves nothing.

use bus_schema::{
    AgentId, Author, Body, IncarnationId, Lane, Shard, TenantId, ThreadId, Visibility, VisitorId, event::*,
    state::*,
};
use uuid::Uuid;

use super::*;

const TENANT: TenantId = TenantId::from_uuid(Uuid::from_u128(1));
const GROUP: GroupId = GroupId::from_uuid(Uuid::from_u128(2));
const ADA: AgentId = AgentId::from_uuid(Uuid::from_u128(3));
const BOB: AgentId = AgentId::from_uuid(Uuid::from_u128(4));

fn conversation(n: u128) -> ConversationId {
    ConversationId::from_uuid(Uuid::from_u128(100 + n))
}

fn thread(n: u128) -> ThreadId {
    ThreadId::from_uuid(Uuid::from_u128(200 + n))
}

/// Writes a log, message by message.
#[derive(Default)]
struct Script(Vec<Logged>);

impl Script {
    fn push(
        mut self,
        subject: Subject,
        conversation: Option<ConversationId>,
        thread: Option<ThreadId>,
        body: Body,
    ) -> Self {
        let seq = self.0.len() as u64 + 1;
        let event = Event {
            id: EventId::from_uuid(Uuid::from_u128(1000 + u128::from(seq))),
            cause: None,
            tenant_id: TENANT,
            conversation_id: conversation,
            thread_id: thread,
            author: Author::SYSTEM,
            client_id: None,
            visibility: Visibility::All,
            body,
        };
        self.0.push(Logged { seq, at: Timestamp::from_millis(1000 * seq as i64), subject, event });
        self
    }

    fn lane(self, n: u128, lane: Lane, t: u128, body: Body) -> Self {
        let conversation = conversation(n);
        let subject = Subject::Conversation { shard: Shard(0), tenant: TENANT, conversation, lane };
        self.push(subject, Some(conversation), Some(thread(t)), body)
    }

    fn started(self, n: u128, t: u128) -> Self {
        let state = life(t, ThreadStatus::Queued, None);
        let body = Started { group_id: Some(GROUP), widget_id: None, source: StartSource::Widget, state };
        self.lane(n, Lane::Life, t, Body::Started(body))
    }

    fn assigned(self, n: u128, t: u128, agent_id: AgentId) -> Self {
        let state = life(t, ThreadStatus::Active, Some(agent_id));
        self.lane(n, Lane::Life, t, Body::Assigned(Assigned { agent_id, group_id: Some(GROUP), state }))
    }

    fn closed(self, n: u128, t: u128) -> Self {
        let state = life(t, ThreadStatus::Closed, None);
        let body = Closed { by: Author::SYSTEM, reason: CloseReason::Resolved, state };
        self.lane(n, Lane::Life, t, Body::Closed(body))
    }

    fn message(self, n: u128, t: u128) -> Self {
        self.lane(n, Lane::Msg, t, Body::Message(Message { text: "hi".to_owned(), quick_replies: vec![] }))
    }

    fn decided(self, n: u128, t: u128, chosen: Option<AgentId>, since_seq: Option<u64>) -> Self {
        let queue = since_seq.map(|seq| QueueEntry {
            group_id: Some(GROUP),
            since: Timestamp::from_millis(seq as i64),
            since_seq: seq,
            reason: QueueReason::AllBusy,
        });
        let rule = if chosen.is_some() { DecisionRule::LeastLoaded } else { DecisionRule::NobodyFree };
        let decision = Decision {
            strategy: Some(Strategy::LeastLoaded),
            config_revision: 1,
            candidates: vec![],
            chosen,
            rule,
            waiting_since: None,
            took_us: 1,
        };
        let state = DeskState {
            thread_id: thread(t),
            queue,
            priority: Priority::Normal,
            skills: vec![],
            skills_waived: false,
            offers: vec![],
            avoid: vec![],
            deadlines: vec![],
            misses: 0,
            last_agent_id: None,
            last_assigned_at: None,
            idle_since: None,
            commands: vec![],
            extra: Extra::new(),
        };
        self.lane(n, Lane::Desk, t, Body::Decided(Decided { decision, state }))
    }

    /// The last decision leaves a thread that not everybody may have.
    fn for_some_only(mut self) -> Self {
        if let Some(Body::Decided(decided)) = self.0.last_mut().map(|logged| &mut logged.event.body) {
            decided.state.skills.push("french".to_owned());
        }
        self
    }

    /// In milliseconds; the nth message is stored in the nth second.
    fn given_at(mut self, millis: i64) -> Self {
        if let Some(Body::Decided(decided)) = self.0.last_mut().map(|logged| &mut logged.event.body) {
            decided.state.last_assigned_at = Some(Timestamp::from_millis(millis));
        }
        self
    }

    fn agent(self, agent_id: AgentId, capacity: u32, holds: &[u128]) -> Self {
        let held = |n: &u128| Held {
            conversation_id: conversation(*n),
            thread_id: thread(*n),
            since: Timestamp::default(),
            group_id: None,
            given_away: false,
        };
        let state = AgentState {
            agent_id,
            status: RoutingStatus::Accepting,
            capacity,
            presence: [(IncarnationId::NIL, Presence { rev: 1, connections: 1 })].into(),
            conversations: holds.iter().map(held).collect(),
            last_assigned_at: None,
            offline_since: None,
            left_at: None,
            misses: 0,
            deleted: false,
            commands: vec![],
            extra: Extra::new(),
        };
        let subject = Subject::Agent { shard: Shard(0), tenant: TENANT, agent: agent_id };
        self.push(subject, None, None, Body::AgentLoad(AgentLoad { state }))
    }

    fn found(self) -> Vec<(Invariant, u64)> {
        let members = [ADA, BOB].map(config::Member::normal).to_vec();
        let group = GroupRecord { members, ..GroupRecord::new(TENANT, GROUP) };
        let report = check(&self.0, &[(GROUP, group)].into());
        report.violations.iter().map(|violation| (violation.invariant, violation.seq)).collect()
    }
}

use bus_schema::config;

fn life(t: u128, status: ThreadStatus, assignee_id: Option<AgentId>) -> LifeState {
    LifeState {
        thread_id: thread(t),
        status,
        group_id: Some(GROUP),
        assignee_id,
        participants: vec![],
        started_at: Timestamp::default(),
        started_seq: None,
        visitor_id: VisitorId::NIL,
        widget_id: None,
        previous_thread_id: None,
        continues: false,
        extra: Extra::new(),
    }
}

#[test]
fn a_good_log_has_no_violations() {
    let log = Script::default()
        .agent(ADA, 1, &[])
        .started(1, 1)
        .message(1, 1)
        .agent(ADA, 1, &[1])
        .assigned(1, 1, ADA)
        .decided(1, 1, Some(ADA), None)
        .started(2, 2)
        .decided(2, 2, None, Some(7))
        .message(1, 1)
        .agent(ADA, 1, &[])
        .closed(1, 1)
        .agent(ADA, 1, &[2])
        .assigned(2, 2, ADA)
        .decided(2, 2, Some(ADA), None);
    assert_eq!(log.found(), []);
}

#[test]
fn one_thread_is_checked() {
    assert_eq!(Script::default().started(1, 1).started(1, 2).found(), [(Invariant::OneThread, 2)]);
}

#[test]
fn closed_is_closed_is_checked() {
    let log = Script::default().started(1, 1).closed(1, 1);
    assert_eq!(Script(log.0.clone()).message(1, 1).found(), [(Invariant::ClosedIsClosed, 3)]);
    assert_eq!(log.closed(1, 1).found(), [(Invariant::ClosedIsClosed, 3)]);
}

#[test]
fn never_over_capacity_is_checked_against_the_message_before() {
    let log = Script::default().agent(ADA, 1, &[]).started(1, 1).started(2, 2);
    let found = Script(log.0.clone()).agent(ADA, 2, &[1, 2]).found();
    assert!(found.contains(&(Invariant::NeverOverCapacity, 4)), "{found:?}");
}

#[test]
fn one_assignee_is_checked() {
    let log = Script::default()
        .agent(ADA, 1, &[])
        .agent(BOB, 1, &[])
        .started(1, 1)
        .agent(ADA, 1, &[1])
        .assigned(1, 1, ADA)
        .decided(1, 1, Some(ADA), None)
        .agent(BOB, 1, &[1]);
    assert_eq!(log.found(), [(Invariant::OneAssignee, 0)]);
}

#[test]
fn one_assignee_is_checked_on_the_way() {
    let served = || {
        let log = Script::default().agent(ADA, 1, &[]).agent(BOB, 1, &[]).started(1, 1);
        log.agent(ADA, 1, &[1]).assigned(1, 1, ADA).decided(1, 1, Some(ADA), None)
    };
    // Given to a second, and taken from the first a little later.
    let twice = served().agent(BOB, 1, &[1]).assigned(1, 1, BOB).decided(1, 1, Some(BOB), None);
    assert_eq!(twice.agent(ADA, 1, &[]).found(), [(Invariant::OneAssignee, 8)]);
    // Closed, and still with the agent for a while.
    let kept = served().closed(1, 1).agent(ADA, 1, &[]);
    assert_eq!(kept.found(), [(Invariant::OneAssignee, 7)]);
    // Nobody holds what one is said to have.
    let nobody = Script::default().started(1, 1).assigned(1, 1, ADA).decided(1, 1, Some(ADA), None);
    assert_eq!(nobody.agent(ADA, 1, &[1]).found(), [(Invariant::OneAssignee, 2)]);
}

#[test]
fn no_idle_queue_is_checked_at_the_end() {
    let log = Script::default().agent(ADA, 1, &[]).started(1, 1).decided(1, 1, None, Some(2));
    assert_eq!(log.found(), [(Invariant::NoIdleQueue, 0)]);
}

/// The second is served before the first.
fn passed_over() -> Script {
    Script::default()
        .started(1, 1)
        .decided(1, 1, None, Some(1))
        .started(2, 2)
        .decided(2, 2, None, Some(3))
        .agent(ADA, 1, &[2])
        .assigned(2, 2, ADA)
        .decided(2, 2, Some(ADA), None)
}

#[test]
fn fifo_is_checked() {
    let log = passed_over();
    assert_eq!(log.found(), [(Invariant::Fifo, 7)]);
}

#[test]
fn fifo_holds_where_the_longest_waiting_goes_first() {
    let log = Script::default()
        .started(1, 1)
        .decided(1, 1, None, Some(1))
        .started(2, 2)
        .decided(2, 2, None, Some(3))
        .agent(ADA, 1, &[1])
        .assigned(1, 1, ADA)
        .decided(1, 1, Some(ADA), None);
    assert_eq!(log.found(), []);
}

#[test]
fn fifo_is_of_what_waited_when_it_was_decided() {
    let is_found = |decided_at| passed_over().given_at(decided_at).found().contains(&(Invariant::Fifo, 7));
    // The first waits in the log since its second message.
    assert!(!is_found(1_999));
    assert!(!is_found(2_000), "in the same millisecond");
    assert!(is_found(2_001));
}

#[test]
fn fifo_lets_pass_what_is_not_for_everybody() {
    let log = Script::default()
        .started(1, 1)
        .decided(1, 1, None, Some(1))
        .for_some_only()
        .started(2, 2)
        .decided(2, 2, None, Some(3))
        .agent(ADA, 1, &[2])
        .assigned(2, 2, ADA)
        .decided(2, 2, Some(ADA), None);
    assert!(!log.found().iter().any(|(invariant, _)| *invariant == Invariant::Fifo));
}

#[test]
fn explained_is_checked() {
    let log = Script::default().started(1, 1).agent(ADA, 1, &[1]).assigned(1, 1, ADA);
    assert_eq!(log.found(), [(Invariant::Explained, 3)]);
}

#[test]
fn acked_is_stored_is_checked() {
    let log = Script::default().started(1, 1).message(1, 1);
    let stored = log.0[1].event.id;
    assert_eq!(check_acked(&log.0, [(stored, 2)]), []);
    assert_eq!(check_acked(&log.0, [(stored, 1), (stored, 9)]).len(), 2);
}
