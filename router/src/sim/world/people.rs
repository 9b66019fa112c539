//! Visitors who start, write and leave; agents who come and go, answer, take, pass on and close; supervisors.

use super::{Payload, World, agenda::To, setting::GROUPS};
use crate::sim::{
    bugs::Bug,
    bus::{Expect, Put},
    names,
};
use bus_schema::{
    AgentId, Author, ConversationId, GroupId, Lane, TenantId, ThreadId,
    claims::Role,
    command::{Actor, Answer, Command, CommandRequest, Outcome, View},
    error::ErrorCode,
    limits::{ADMIT_WAIT_MS, COMMAND_WAIT_MS},
    state::{CloseReason, LifeState, Priority, RoutingStatus},
};

const ACK_WAIT_MS: u64 = 3_000;
/// Open threads in one answer.
const LISTED_MAX: u32 = 50;

impl World {
    pub fn begin_people(&mut self) {
        for n in self.setting.agents() {
            let edge = self.random.below(self.edges.len());
            if self.random.chance(800) {
                self.connect(edge, names::agent(n), 1);
            }
        }
        self.after(50, To::World, "a visitor", World::visitor_acts);
        self.after(60, To::World, "staff", World::staff_acts);
    }

    fn visitor_acts(&mut self) {
        if self.calm {
            return;
        }
        let next = self.random.between(1, 2 * self.setting.visitors_every);
        self.after(next, To::World, "a visitor", World::visitor_acts);
        let n = self.draw_visitor();
        let open = self.ledger.open(names::conversation(n)).cloned();
        let what = self.random.below(10);
        if open.is_some() && what == 2 {
            return self.visitor_goes(n);
        }
        self.visitor_comes(n);
        match (open, what) {
            (None, _) => self.start(n),
            (Some(_), 0) => self.start(n),
            (Some(life), 1) => {
                let (conversation_id, reason) = (names::conversation(n), CloseReason::ClosedByVisitor);
                let thread_id = Some(life.thread_id);
                let command = Command::Close { conversation_id, thread_id, reason };
                self.command(n, Actor::visitor(names::visitor(n)), command);
            }
            (Some(life), _) => self.say(n, &life, Author::visitor(names::visitor(n))),
        }
    }

    /// An edge asks whether the group takes it, and lets it start where nobody says no.
    fn start(&mut self, n: u128) {
        let edge = self.random.below(self.edges.len());
        let group_id = match self.random.below(6) {
            0 => None,
            1 | 2 => Some(2),
            _ => Some(1),
        };
        let group_id = group_id.map(|group| names::group(names::of_tenant(names::tenant_number(n), group)));
        if !self.edges[edge].up {
            return;
        }
        let (to, tenant) = (self.to_edge(edge), names::tenant(n));
        let conversation_id = names::conversation(n);
        let admit = Command::Admit { conversation_id, group_id, widget_id: None };
        let request = self.request(n, Actor::visitor(names::visitor(n)), admit);
        self.ask(to, tenant, request, ADMIT_WAIT_MS, move |world, outcome| match outcome {
            Some(Outcome::Rejected { error }) if !is_open(error.code) => world.idle = true,
            _ => world.write_start(edge, n, group_id),
        });
    }

    /// A start, as an edge writes it that has read the last state.
    fn write_start(&mut self, edge: usize, n: u128, group: Option<GroupId>) {
        let conversation = names::conversation(n);
        let subject = self.subject(conversation, Lane::Life);
        // Now and then what it read is old.
        let back = usize::from(self.random.chance(100));
        let seqs: Vec<u64> = self.stream.after(subject, 0).map(|stored| stored.seq).collect();
        let expected = seqs.len().checked_sub(1 + back).map_or(0, |at| seqs[at]);
        if back == 0 && self.ledger.open(conversation).is_some() {
            return;
        }
        let thread = ThreadId::from_uuid(self.draw_id_of(n));
        let event = names::started(n, thread, group, self.at());
        let expect = Expect::Own(expected);
        let put = Put { subject, expect, msg_id: None, payload: Payload::new(&event, None) };
        self.send(edge, put);
    }

    /// Something is said in a thread that its author believes to be open.
    fn say(&mut self, n: u128, life: &LifeState, author: Author) {
        let edge = self.random.below(self.edges.len());
        let conversation = names::conversation(n);
        let life_subject = self.subject(conversation, Lane::Life);
        let fence = self.stream.last_seq(life_subject);
        let id = self.draw_id();
        let event = names::said(n, life.thread_id, author, id);
        let expect = match self.plan.bug {
            Some(Bug::FenceDropped) => Expect::Anything,
            _ => Expect::Of(life_subject, fence),
        };
        let subject = self.subject(conversation, Lane::Msg);
        let put = Put { subject, expect, msg_id: Some(id), payload: Payload::new(&event, None) };
        self.send(edge, put);
    }

    /// A write of an edge, which is not repeated: whoever wants it does it again, knowing what there is.
    fn send(&mut self, edge: usize, put: Put<std::rc::Rc<Payload>>) {
        if self.edges[edge].up {
            let to = self.to_edge(edge);
            let ask = move |world: &mut World, reply| world.publish(vec![put], reply);
            self.call(to, ACK_WAIT_MS, "an edge's write", ask, |_, _| {});
        }
    }

    fn staff_acts(&mut self) {
        if self.calm {
            return;
        }
        let next = self.random.between(1, 2 * self.setting.staff_every);
        self.after(next, To::World, "staff", World::staff_acts);
        let n = self.draw_agent();
        match self.random.below(20) {
            0..3 => self.moves(n),
            3..9 => self.replies(n),
            9..12 => {
                let accepts = self.random.chance(850);
                let status = if accepts { RoutingStatus::Accepting } else { RoutingStatus::NotAccepting };
                let agent_id = names::agent(n);
                let command = Command::SetStatus { agent_id, status };
                self.command(n, Actor::agent(agent_id, Role::Agent), command);
            }
            12 => self.closes_own(n),
            _ => self.asks(n),
        }
    }

    /// Connections come and go; some agents have several.
    fn moves(&mut self, n: u128) {
        let agent = names::agent(n);
        let edge = self.random.below(self.edges.len());
        if !self.edges[edge].up {
            return;
        }
        let connections = match self.edges[edge].connects(agent) {
            true => u32::try_from(self.random.below(3)).unwrap_or(0),
            false => 1,
        };
        self.connect(edge, agent, connections);
        if connections == 0 {
            self.comes_back(agent);
        }
    }

    /// Who lost a connection is soon back, or later, or not at all.
    pub fn comes_back(&mut self, agent: AgentId) {
        if self.random.chance(800) {
            let away = self.random.between(100, 12_000);
            self.after(away, To::World, "an agent is back", move |world| {
                let up: Vec<usize> = (0..world.edges.len()).filter(|n| world.edges[*n].up).collect();
                if let Some(edge) = world.random.pick(&up).copied() {
                    world.connect(edge, agent, 1);
                }
            });
        }
    }

    fn replies(&mut self, n: u128) {
        let agent = names::agent(n);
        let held = self.ledger.held(agent);
        let Some(conversation) = self.random.pick(&held).copied() else { return };
        let Some(life) = self.ledger.open(conversation).cloned() else { return };
        let Some(visitor) = self.numbers.get(&conversation).copied() else { return };
        self.say(visitor, &life, Author::agent(agent));
    }

    fn closes_own(&mut self, n: u128) {
        let agent = names::agent(n);
        let held = self.ledger.held(agent);
        let Some(conversation_id) = self.random.pick(&held).copied() else { return };
        let thread_id = self.ledger.open(conversation_id).map(|life| life.thread_id);
        let reason = CloseReason::ClosedByAgent;
        let command = Command::Close { conversation_id, thread_id, reason };
        self.command(n, Actor::agent(agent, Role::Agent), command);
    }

    fn asks(&mut self, n: u128) {
        // Now and then of another tenant's conversations, agents and groups.
        let theirs = if self.random.chance(40) { self.draw_agent() } else { n };
        let tenant = self.tenant_setting(theirs).clone();
        let visitors: Vec<u128> = tenant.visitors().collect();
        let Some(visitor) = self.random.pick(&visitors).copied() else { return };
        let conversation_id = names::conversation(visitor);
        let other = if self.random.chance(40) { self.draw_agent() } else { n };
        // Commands name the thread that their sender saw last.
        let thread_id = self.ledger.last_thread(conversation_id);
        if thread_id.is_none() {
            return;
        }
        let (me, agent_id) = (Actor::agent(names::agent(n), Role::Agent), names::agent(other));
        let of_tenant = |of: u128, n| names::of_tenant(names::tenant_number(of), n);
        let supervisor = Actor::agent(names::agent(of_tenant(n, 900)), Role::Supervisor);
        let (actor, command) = match self.random.below(18) {
            0..4 => {
                let take = Command::Take { conversation_id, thread_id };
                // Others see it as well.
                let rivals: Vec<u128> = tenant.agents().collect();
                if self.random.chance(400)
                    && let Some(rival) = self.random.pick(&rivals).copied()
                {
                    self.command(rival, Actor::agent(names::agent(rival), Role::Agent), take.clone());
                }
                (me, take)
            }
            4 => {
                let me = Actor::agent(names::agent(n), Role::Supervisor);
                (me, Command::Take { conversation_id, thread_id })
            }
            5 | 6 => (supervisor, Command::Assign { conversation_id, thread_id, agent_id }),
            7 | 8 => {
                let (agent_id, group_id) = match self.random.below(2) {
                    0 => (Some(agent_id), None),
                    _ => (None, Some(names::group(of_tenant(other, self.random.one_of(GROUPS))))),
                };
                let queue = self.random.chance(500);
                let by = if self.random.chance(500) { supervisor } else { me };
                (by, Command::Transfer { conversation_id, thread_id, agent_id, group_id, queue })
            }
            9 => (me, Command::Join { conversation_id, thread_id }),
            10 => (me, Command::Leave { conversation_id, thread_id }),
            11 => (supervisor, Command::Reopen { conversation_id, thread_id }),
            12 => {
                let of = [Priority::Low, Priority::Normal, Priority::High, Priority::Urgent];
                let priority = of[self.random.below(of.len())];
                (supervisor, Command::SetPriority { conversation_id, thread_id, priority })
            }
            13 => {
                let skills = vec!["first".to_owned(); self.random.below(2)];
                (supervisor, Command::SetSkills { conversation_id, thread_id, skills })
            }
            14 => (me, Command::Decline { conversation_id, thread_id }),
            15 => {
                let (view, group_id) = (View::All, None);
                (supervisor, Command::ListConversations { view, group_id, limit: LISTED_MAX, cursor: None })
            }
            16 if self.random.chance(500) => (me, Command::ListAgents),
            16 => (me, Command::ListGroups),
            _ => {
                let reason = CloseReason::Resolved;
                (supervisor, Command::Close { conversation_id, thread_id, reason })
            }
        };
        self.command(n, actor, command);
    }

    /// A command of somebody of this number's tenant.
    fn command(&mut self, n: u128, actor: Actor, command: Command) {
        let edge = self.random.below(self.edges.len());
        if !self.edges[edge].up {
            return;
        }
        let (to, tenant, request) = (self.to_edge(edge), names::tenant(n), self.request(n, actor, command));
        let asked = request.clone();
        self.ask(to, tenant, request, COMMAND_WAIT_MS, move |world, outcome| {
            world.answered(tenant, &asked, outcome);
        });
    }

    /// What an answer says is so, and stays so.
    fn answered(&mut self, tenant: TenantId, request: &CommandRequest, outcome: Option<Outcome>) {
        let (id, about) = (request.command_id, conversation_of(&request.command));
        if let Some(outcome) = &outcome {
            let said = serde_json::to_vec(outcome).expect("an outcome is JSON");
            self.keep_apart(tenant, &said, "an answer");
        }
        let stranger = about.filter(|about| self.tenant(*about) != tenant);
        if let (Some(stranger), Some(Outcome::Accepted { .. })) = (stranger, &outcome) {
            self.violate("tenant-walls", format!("{tenant} did {} on {stranger}", request.command.name()));
        }
        let done = self.ledger.done(id);
        // Where it was sent again, another router may still be at the first one.
        let once = self.tries.remove(&id) == Some(1);
        match outcome {
            Some(Outcome::Rejected { error }) if once && !is_open(error.code) => {
                if done {
                    self.violate(
                        "one-outcome",
                        format!("{} {id} is done, and was refused: {error:?}", request.command.name()),
                    );
                }
                self.refused.insert(id);
            }
            Some(Outcome::Accepted { answer: Answer::Thread { seq, .. } }) => {
                let stored = self.stream.get(seq).map(|stored| stored.subject);
                if stored != about.map(|id| self.subject(id, Lane::Life)) {
                    self.violate(
                        "acked-is-stored",
                        format!("{} {id} is said to be at {seq}", request.command.name()),
                    );
                }
            }
            _ => {}
        }
    }
}

/// It may have happened, or may yet.
fn is_open(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Timeout | ErrorCode::Unavailable)
}

fn conversation_of(command: &Command) -> Option<ConversationId> {
    match command {
        Command::Take { conversation_id, .. }
        | Command::Decline { conversation_id, .. }
        | Command::Assign { conversation_id, .. }
        | Command::Transfer { conversation_id, .. }
        | Command::Join { conversation_id, .. }
        | Command::Leave { conversation_id, .. }
        | Command::Close { conversation_id, .. }
        | Command::Reopen { conversation_id, .. }
        | Command::SetPriority { conversation_id, .. }
        | Command::SetSkills { conversation_id, .. } => Some(*conversation_id),
        _ => None,
    }
}
