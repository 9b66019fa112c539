//! A tenant's configuration as routing needs it. An older revision never replaces a newer one.

use std::{collections::BTreeMap, time::Duration};

use bus_schema::{
    AgentId, GroupId, Timestamp, WidgetId,
    command::Command,
    config::{
        AgentRecord, GroupRecord, MemberPriority, Record, RecordId, RoutingSettings, Rules, TenantRecord,
    },
    hours::Hours,
    state::{AgentState, Strategy},
};

use super::{settings::UNSEEN_MAX, slot::QueueId};

/// How a queue picks an agent by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Automatic {
    LeastLoaded,
    RoundRobin,
}

impl Automatic {
    /// What a configured strategy comes down to without offers and remembered agents; none where agents take.
    fn of(first: Strategy, second: Strategy) -> Option<Self> {
        match (first, second) {
            (Strategy::Manual, _) => None,
            (Strategy::RoundRobin, _) | (Strategy::Sticky | Strategy::Broadcast, Strategy::RoundRobin) => {
                Some(Automatic::RoundRobin)
            }
            (Strategy::LeastLoaded | Strategy::Sticky | Strategy::Broadcast, _) => {
                Some(Automatic::LeastLoaded)
            }
        }
    }
}

#[derive(Debug, Default)]
pub struct Config {
    /// The newest revision of any record.
    pub revision: u64,
    tenant: Option<TenantRecord>,
    groups: BTreeMap<GroupId, GroupRecord>,
    agents: BTreeMap<AgentId, AgentRecord>,
    widgets: BTreeMap<WidgetId, (u64, Option<GroupId>)>,
    member_of: BTreeMap<AgentId, BTreeMap<GroupId, MemberPriority>>,
}

/// What a record changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Changed {
    Nothing,
    /// What all groups go by.
    Tenant,
    Agent(AgentId),
    /// A group, and everyone who was or is a member.
    Group(GroupId, Vec<AgentId>),
}

impl Config {
    pub fn apply(&mut self, record: Record) -> Changed {
        self.revision = self.revision.max(record.revision());
        match record {
            Record::Tenant(new) => {
                if self.tenant.as_ref().is_some_and(|old| old.revision > new.revision) {
                    return Changed::Nothing;
                }
                let before = self.tenant.as_ref().map(|old| old.routing.clone()).unwrap_or_default();
                let same = before == new.routing;
                self.tenant = Some(new);
                if same { Changed::Nothing } else { Changed::Tenant }
            }
            Record::Widget(new) => {
                let default = new.default_group_id.filter(|_| !new.deleted);
                let entry = self.widgets.entry(new.widget_id).or_insert((0, None));
                if entry.0 <= new.revision {
                    *entry = (new.revision, default);
                }
                Changed::Nothing
            }
            Record::Agent(new) => {
                let id = new.agent_id;
                if self.agents.get(&id).is_some_and(|old| old.revision > new.revision || *old == new) {
                    return Changed::Nothing;
                }
                self.agents.insert(id, new);
                Changed::Agent(id)
            }
            Record::Group(new) => self.apply_group(new),
            // Threads are routed without regard to their tags.
            Record::Tag(_) => Changed::Nothing,
        }
    }

    fn apply_group(&mut self, new: GroupRecord) -> Changed {
        let id = new.group_id;
        let old = self.groups.get(&id);
        if old.is_some_and(|old| old.revision > new.revision || *old == new) {
            return Changed::Nothing;
        }
        let mut touched: Vec<AgentId> =
            old.into_iter().flat_map(|old| old.members.iter().map(|member| member.agent_id)).collect();
        for agent in &touched {
            if let Some(groups) = self.member_of.get_mut(agent) {
                groups.remove(&id);
            }
        }
        for member in new.members.iter().filter(|_| !new.deleted) {
            self.member_of.entry(member.agent_id).or_default().insert(id, member.priority);
            touched.push(member.agent_id);
        }
        touched.sort_unstable();
        touched.dedup();
        self.groups.insert(id, new);
        Changed::Group(id, touched)
    }

    /// A group that exists now.
    pub fn group(&self, id: GroupId) -> Option<&GroupRecord> {
        self.groups.get(&id).filter(|group| !group.deleted)
    }

    pub fn groups(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.groups.values().filter(|group| !group.deleted).map(|group| group.group_id)
    }

    /// Who gets an active thread from somebody gets a thread of its own.
    pub fn thread_per_assignment(&self) -> bool {
        self.tenant.as_ref().is_some_and(|tenant| tenant.thread_per_assignment)
    }

    /// Records that a command depends on and that were never seen, so that they may have been made just now.
    pub fn unseen(&self, command: &Command) -> Vec<RecordId> {
        let (groups, agents, widget) = match command {
            Command::Admit { group_id, widget_id, .. } => (*group_id, Vec::new(), *widget_id),
            Command::Transfer { group_id, agent_id, .. } => (*group_id, Vec::from_iter(*agent_id), None),
            Command::ListConversations { group_id, .. } => (*group_id, Vec::new(), None),
            Command::Assign { agent_id, .. } | Command::SetStatus { agent_id, .. } => {
                (None, vec![*agent_id], None)
            }
            Command::Presence { agents, .. } => {
                let connected = agents.iter().filter(|report| report.connections > 0);
                (None, connected.map(|report| report.agent_id).take(UNSEEN_MAX).collect(), None)
            }
            _ => return Vec::new(),
        };
        let starts = matches!(command, Command::Admit { .. });
        let tenant = (starts && self.tenant.is_none()).then_some(RecordId::Tenant);
        let of_widget = widget.and_then(|id| self.widgets.get(&id)).and_then(|(_, group)| *group);
        let of_tenant = self.tenant.as_ref().and_then(|tenant| tenant.default_group_id);
        let default = of_widget.or(of_tenant).filter(|_| starts && groups.is_none());
        let groups = groups.into_iter().chain(default).filter(|id| !self.groups.contains_key(id));
        let agents = agents.into_iter().filter(|id| !self.agents.contains_key(id));
        let widget = widget.filter(|id| !self.widgets.contains_key(id));
        let named = groups.map(RecordId::Group).chain(agents.map(RecordId::Agent));
        tenant.into_iter().chain(widget.map(RecordId::Widget)).chain(named).collect()
    }

    pub fn agent(&self, id: AgentId) -> Option<&AgentRecord> {
        self.agents.get(&id)
    }

    /// Where threads of a group wait. Those of a group that was deleted wait where everyone serves; those of one that
    /// is not known yet, in its own queue.
    pub fn queue_of(&self, group: Option<GroupId>) -> QueueId {
        group.filter(|id| self.groups.get(id).is_none_or(|group| !group.deleted))
    }

    pub fn automatic(&self, queue: QueueId) -> Option<Automatic> {
        let Some(id) = queue else { return Some(Automatic::LeastLoaded) };
        let group = self.group(id)?;
        Automatic::of(group.strategy, group.second_strategy)
    }

    pub fn strategy(&self, queue: QueueId) -> Option<Strategy> {
        match queue {
            None => Some(Strategy::LeastLoaded),
            Some(id) => self.group(id).map(|group| group.strategy),
        }
    }

    /// Threads wait there until somebody accepts an offer.
    pub fn offers(&self, queue: QueueId) -> bool {
        self.strategy(queue) == Some(Strategy::Broadcast)
    }

    /// For how long a visitor's agent is remembered there.
    pub fn sticky(&self, queue: QueueId) -> Option<Duration> {
        (self.strategy(queue) == Some(Strategy::Sticky)).then(|| self.rules(queue).sticky).flatten()
    }

    /// What holds for threads in this queue.
    pub fn rules(&self, queue: QueueId) -> Rules {
        let tenant = self.tenant.as_ref().map(|tenant| &tenant.routing);
        match queue.and_then(|id| self.group(id)) {
            Some(group) => group.routing.rules(tenant),
            None => RoutingSettings::default().rules(tenant),
        }
    }

    /// When the queue is served; none: always.
    pub fn hours(&self, queue: QueueId) -> Option<&Hours> {
        let group = self.group(queue?)?;
        let of_tenant = self.tenant.as_ref().and_then(|tenant| tenant.routing.hours.as_ref());
        group.routing.hours.as_ref().or(of_tenant)
    }

    pub fn is_open(&self, queue: QueueId, at: Timestamp) -> bool {
        self.hours(queue).is_none_or(|hours| hours.is_open(at))
    }

    /// The agent may hold one more of this queue's threads.
    pub fn has_room(&self, queue: QueueId, state: &AgentState) -> bool {
        let of_tenant = || self.tenant.as_ref().and_then(|tenant| tenant.routing.agent_max);
        let of_group = |id| self.group(id).and_then(|group| group.routing.agent_max);
        let below = |id| {
            let max = of_group(id).or_else(of_tenant).filter(|max| *max > 0);
            max.is_none_or(|max| state.held_in(id) < max)
        };
        state.has_room() && queue.is_none_or(below)
    }

    /// The queues an agent may serve, with the place they have there; automatic ones or not.
    pub fn queues_of(&self, agent: AgentId) -> impl Iterator<Item = (QueueId, MemberPriority)> + '_ {
        let groups = self.member_of.get(&agent).into_iter().flatten();
        let own = groups.map(|(group, priority)| (Some(*group), *priority));
        own.chain(std::iter::once((None, MemberPriority::Normal)))
    }

    pub fn is_member(&self, agent: AgentId, queue: QueueId) -> bool {
        let Some(group) = queue else { return true };
        self.member_of.get(&agent).is_some_and(|groups| groups.contains_key(&group))
    }

    /// Where a start goes that names this group and widget. An unknown group is the caller's mistake.
    pub fn start_group(
        &self,
        requested: Option<GroupId>,
        widget: Option<WidgetId>,
    ) -> Result<Option<GroupId>, GroupId> {
        if let Some(id) = requested {
            return self.group(id).map(|_| Some(id)).ok_or(id);
        }
        let of_widget = widget.and_then(|id| self.widgets.get(&id)).and_then(|(_, group)| *group);
        let of_tenant = self.tenant.as_ref().and_then(|tenant| tenant.default_group_id);
        Ok([of_widget, of_tenant].into_iter().flatten().find(|id| self.group(*id).is_some()))
    }
}
