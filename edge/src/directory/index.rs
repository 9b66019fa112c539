//! One immutable index of all records, replaced whole when any of them changes.
//!
//! Invariant: readers see one state of the configuration; a deleted record is found by nobody.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use arc_swap::{ArcSwap, Guard};
use bus_schema::{
    AgentId, Author, AuthorType, GroupId, TagId, TenantId, WidgetId,
    config::{AgentRecord, GroupRecord, Record, TagRecord, TenantRecord, WidgetRecord},
    protocol::Person,
};
use tokio::sync::watch;

use super::Origin;

/// The current index; cheap to share.
#[derive(Debug, Default)]
pub struct Directory {
    current: ArcSwap<Index>,
    /// Counts the indexes there have been.
    changes: watch::Sender<u64>,
}

impl Directory {
    pub fn now(&self) -> Guard<Arc<Index>> {
        self.current.load()
    }

    pub fn set(&self, records: &BTreeMap<String, Record>) {
        self.current.store(Arc::new(Index::new(records)));
        self.changes.send_modify(|count| *count += 1);
    }

    /// Grows with every change, after it can be seen.
    pub fn version(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Wakes whoever must look again when anything changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

#[derive(Debug, Default)]
pub struct Index {
    tenants: HashMap<TenantId, TenantRecord>,
    widgets: HashMap<WidgetId, WidgetRecord>,
    by_key: HashMap<String, WidgetId>,
    groups: HashMap<GroupId, GroupRecord>,
    agents: HashMap<(TenantId, AgentId), AgentRecord>,
    tags: HashMap<(TenantId, TagId), TagRecord>,
    deleted_agents: HashSet<(TenantId, AgentId)>,
    deleted_tenants: HashSet<TenantId>,
    deleted_widgets: HashSet<WidgetId>,
    /// Every origin that some widget or console lists.
    origins: HashSet<String>,
}

impl Index {
    fn new(records: &BTreeMap<String, Record>) -> Self {
        let mut index = Self::default();
        for record in records.values() {
            match record.clone() {
                Record::Tenant(tenant) if !tenant.deleted => {
                    index.origins.extend(tenant.console_origins.iter().cloned());
                    index.tenants.insert(tenant.tenant_id, tenant);
                }
                Record::Widget(widget) if !widget.deleted => {
                    index.origins.extend(widget.allowed_origins.iter().cloned());
                    index.by_key.insert(widget.key.clone(), widget.widget_id);
                    index.widgets.insert(widget.widget_id, widget);
                }
                Record::Group(group) if !group.deleted => {
                    index.groups.insert(group.group_id, group);
                }
                Record::Tag(tag) if !tag.deleted => {
                    index.tags.insert((tag.tenant_id, tag.tag_id), tag);
                }
                Record::Agent(agent) if !agent.deleted => {
                    index.agents.insert((agent.tenant_id, agent.agent_id), agent);
                }
                Record::Agent(agent) => {
                    index.deleted_agents.insert((agent.tenant_id, agent.agent_id));
                }
                Record::Tenant(tenant) => {
                    index.deleted_tenants.insert(tenant.tenant_id);
                }
                Record::Widget(widget) => {
                    index.deleted_widgets.insert(widget.widget_id);
                }
                Record::Group(_) | Record::Tag(_) => {}
            }
        }
        index
    }

    pub fn tenant(&self, id: TenantId) -> Option<&TenantRecord> {
        self.tenants.get(&id)
    }

    /// A widget of a tenant that is there.
    pub fn widget(&self, tenant: TenantId, id: WidgetId) -> Option<&WidgetRecord> {
        let widget = self.widgets.get(&id).filter(|widget| widget.tenant_id == tenant)?;
        self.tenants.contains_key(&tenant).then_some(widget)
    }

    pub fn widget_by_key(&self, key: &str) -> Option<(&WidgetRecord, &TenantRecord)> {
        let widget = self.widgets.get(self.by_key.get(key)?)?;
        Some((widget, self.tenants.get(&widget.tenant_id)?))
    }

    pub fn group(&self, tenant: TenantId, id: GroupId) -> Option<&GroupRecord> {
        self.groups.get(&id).filter(|group| group.tenant_id == tenant)
    }

    pub fn tag(&self, tenant: TenantId, id: TagId) -> Option<&TagRecord> {
        self.tags.get(&(tenant, id))
    }

    pub fn groups_of_tenant(&self, tenant: TenantId) -> impl Iterator<Item = &GroupRecord> {
        self.groups.values().filter(move |group| group.tenant_id == tenant)
    }

    /// Where a thread from this widget begins unless another group is asked for: the widget's, else the tenant's.
    pub fn default_group(&self, tenant: TenantId, widget: WidgetId) -> Option<GroupId> {
        let of_widget = self.widget(tenant, widget).and_then(|widget| widget.default_group_id);
        let of_tenant = self.tenant(tenant).and_then(|tenant| tenant.default_group_id);
        [of_widget, of_tenant].into_iter().flatten().find(|group| self.group(tenant, *group).is_some())
    }

    /// Groups of which the agent is a member, whatever the priority.
    pub fn groups_of_agent(&self, tenant: TenantId, agent: AgentId) -> Vec<GroupId> {
        let mut groups: Vec<GroupId> = self
            .groups_of_tenant(tenant)
            .filter(|group| group.members.iter().any(|member| member.agent_id == agent))
            .map(|group| group.group_id)
            .collect();
        groups.sort_unstable();
        groups
    }

    pub fn agent(&self, tenant: TenantId, id: AgentId) -> Option<&AgentRecord> {
        self.agents.get(&(tenant, id))
    }

    /// Known to be removed; one that is not known yet is not.
    pub fn is_deleted_tenant(&self, id: TenantId) -> bool {
        self.deleted_tenants.contains(&id)
    }

    /// Known to be removed, or with its tenant; one that is not known yet is not.
    pub fn is_deleted_widget(&self, tenant: TenantId, id: WidgetId) -> bool {
        self.is_deleted_tenant(tenant) || self.deleted_widgets.contains(&id)
    }

    /// Known to be removed; one that is not known yet is not.
    pub fn is_deleted_agent(&self, tenant: TenantId, id: AgentId) -> bool {
        self.deleted_agents.contains(&(tenant, id))
    }

    /// Some widget or console lists it.
    pub fn lists_origin(&self, origin: &Origin) -> bool {
        origin.is_listed(|listed| self.origins.contains(listed))
    }

    /// Who an author is, as everyone may see it. Visitors' names are in their records.
    pub fn person(&self, tenant: TenantId, author: Author, visitor_name: Option<&str>) -> Person {
        let nobody =
            Person { kind: author.kind, id: author.id, name: None, avatar_url: None, job_title: None };
        match author.kind {
            AuthorType::Visitor => Person { name: visitor_name.map(str::to_owned), ..nobody },
            AuthorType::Agent => match self.agent(tenant, AgentId::from_uuid(author.id)) {
                Some(agent) => Person {
                    name: Some(agent.name.clone()),
                    avatar_url: agent.avatar_url.clone(),
                    job_title: agent.job_title.clone(),
                    ..nobody
                },
                None => nobody,
            },
            AuthorType::Bot | AuthorType::System => nobody,
        }
    }
}
