//! Rows of schema `config`, each convertible into what the bus and clients get.
//!
//! Words of closed sets are text in Postgres; a row with a word that this build does not know is a fault, not a
//! guess.

use bus_schema::{
    AccountId, ActionTemplateId, AgentId, CannedResponseId, GroupId, SessionId, Shard, TagId, TenantId,
    WidgetId,
    config::{AgentRecord, GroupRecord, IdentityKey, Member, TagRecord, TenantRecord, WidgetRecord},
};
use diesel::prelude::*;
use persister::db::{At, Id, schema::config::*};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{http::Problem, routing::meant};

/// A word of a closed set, as Postgres keeps it.
pub fn word<T: Serialize>(value: T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        other => unreachable!("closed sets serialize to words, not to {other:?}"),
    }
}

/// The word's meaning.
pub fn meaning<T: DeserializeOwned>(word: &str) -> Result<T, Problem> {
    serde_json::from_value(Value::from(word)).map_err(|error| Problem::fault("a word in Postgres", &error))
}

fn revision(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or(0)
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = accounts)]
pub struct AccountRow {
    pub id: Id<AccountId>,
    pub email: String,
    pub password_hash: Option<String>,
    pub created_at: At,
    pub updated_at: At,
    pub deleted_at: Option<At>,
    /// Since when the address is known to be this person's.
    pub email_verified_at: Option<At>,
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = tenants, primary_key(tenant_id), treat_none_as_null = true)]
pub struct TenantRow {
    pub tenant_id: Id<TenantId>,
    pub name: String,
    pub shard: i32,
    pub default_group_id: Option<Id<GroupId>>,
    pub console_origins: Vec<String>,
    pub thread_per_assignment: bool,
    pub routing: Value,
    pub revision: i64,
    pub counter: i64,
    pub created_at: At,
    pub updated_at: At,
    pub deleted_at: Option<At>,
    pub forget_after_days: Option<i32>,
}

impl TenantRow {
    pub fn shard(&self) -> Shard {
        Shard(u16::try_from(self.shard).expect("Postgres checks the range"))
    }

    pub fn record(&self) -> Result<TenantRecord, Problem> {
        Ok(TenantRecord {
            tenant_id: self.tenant_id.0,
            name: self.name.clone(),
            shard: self.shard(),
            default_group_id: self.default_group_id.map(|id| id.0),
            console_origins: self.console_origins.clone(),
            thread_per_assignment: self.thread_per_assignment,
            routing: meant(&self.routing)?,
            revision: revision(self.revision),
            deleted: self.deleted_at.is_some(),
        })
    }
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = agents, primary_key(tenant_id, id), treat_none_as_null = true)]
pub struct AgentRow {
    pub tenant_id: Id<TenantId>,
    pub id: Id<AgentId>,
    pub account_id: Id<AccountId>,
    pub name: String,
    pub role: String,
    pub capacity: i32,
    pub skills: Vec<String>,
    pub avatar_url: Option<String>,
    pub job_title: Option<String>,
    pub revision: i64,
    pub created_at: At,
    pub updated_at: At,
    pub deleted_at: Option<At>,
    /// An invitation waits: the account may not work here yet.
    pub invited_at: Option<At>,
}

impl AgentRow {
    pub fn record(&self) -> Result<AgentRecord, Problem> {
        Ok(AgentRecord {
            agent_id: self.id.0,
            tenant_id: self.tenant_id.0,
            account_id: self.account_id.0,
            name: self.name.clone(),
            role: meaning(&self.role)?,
            capacity: u32::try_from(self.capacity).unwrap_or(0),
            skills: self.skills.clone(),
            avatar_url: self.avatar_url.clone(),
            job_title: self.job_title.clone(),
            revision: revision(self.revision),
            deleted: self.deleted_at.is_some(),
        })
    }
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = groups, primary_key(tenant_id, id), treat_none_as_null = true)]
pub struct GroupRow {
    pub tenant_id: Id<TenantId>,
    pub id: Id<GroupId>,
    pub name: String,
    pub strategy: String,
    pub second_strategy: String,
    pub queue_max: Option<i32>,
    pub when_offline: String,
    pub routing: Value,
    pub revision: i64,
    pub created_at: At,
    pub updated_at: At,
    pub deleted_at: Option<At>,
}

impl GroupRow {
    pub fn record(&self, members: &[MemberRow]) -> Result<GroupRecord, Problem> {
        let members = members.iter().map(MemberRow::member);
        Ok(GroupRecord {
            group_id: self.id.0,
            tenant_id: self.tenant_id.0,
            name: self.name.clone(),
            strategy: meaning(&self.strategy)?,
            second_strategy: meaning(&self.second_strategy)?,
            members: members.collect::<Result<_, Problem>>()?,
            queue_max: self.queue_max.and_then(|max| u32::try_from(max).ok()),
            when_offline: meaning(&self.when_offline)?,
            routing: meant(&self.routing)?,
            revision: revision(self.revision),
            deleted: self.deleted_at.is_some(),
        })
    }
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = tags, primary_key(tenant_id, id), treat_none_as_null = true)]
pub struct TagRow {
    pub tenant_id: Id<TenantId>,
    pub id: Id<TagId>,
    pub name: String,
    pub color: Option<String>,
    pub revision: i64,
    pub created_at: At,
    pub updated_at: At,
    pub deleted_at: Option<At>,
}

impl TagRow {
    pub fn record(&self) -> TagRecord {
        TagRecord {
            tag_id: self.id.0,
            tenant_id: self.tenant_id.0,
            name: self.name.clone(),
            color: self.color.clone(),
            revision: revision(self.revision),
            deleted: self.deleted_at.is_some(),
        }
    }
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = canned_responses, primary_key(tenant_id, id), treat_none_as_null = true)]
pub struct CannedResponseRow {
    pub tenant_id: Id<TenantId>,
    pub id: Id<CannedResponseId>,
    pub shortcut: String,
    pub title: Option<String>,
    pub text: String,
    pub group_id: Option<Id<GroupId>>,
    pub revision: i64,
    pub created_at: At,
    pub updated_at: At,
    pub deleted_at: Option<At>,
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = action_templates, primary_key(tenant_id, id), treat_none_as_null = true)]
pub struct ActionTemplateRow {
    pub tenant_id: Id<TenantId>,
    pub id: Id<ActionTemplateId>,
    pub name: String,
    pub description: Option<String>,
    pub fields: Value,
    pub revision: i64,
    pub created_at: At,
    pub updated_at: At,
    pub deleted_at: Option<At>,
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = group_members)]
pub struct MemberRow {
    pub tenant_id: Id<TenantId>,
    pub group_id: Id<GroupId>,
    pub agent_id: Id<AgentId>,
    pub priority: String,
    pub created_at: At,
}

impl MemberRow {
    pub fn member(&self) -> Result<Member, Problem> {
        Ok(Member { agent_id: self.agent_id.0, priority: meaning(&self.priority)? })
    }
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = widgets, primary_key(tenant_id, id), treat_none_as_null = true)]
pub struct WidgetRow {
    pub tenant_id: Id<TenantId>,
    pub id: Id<WidgetId>,
    pub key: String,
    pub name: String,
    pub allowed_origins: Vec<String>,
    pub default_group_id: Option<Id<GroupId>>,
    pub greeting: Option<String>,
    pub locale: Option<String>,
    pub theme: Value,
    pub identity: Option<Value>,
    pub identity_required: bool,
    pub revision: i64,
    pub created_at: At,
    pub updated_at: At,
    pub deleted_at: Option<At>,
}

impl WidgetRow {
    pub fn identity(&self) -> Result<Option<IdentityKey>, Problem> {
        let key = self.identity.clone().map(serde_json::from_value).transpose();
        key.map_err(|error| Problem::fault("an identity key in Postgres", &error))
    }

    pub fn record(&self) -> Result<WidgetRecord, Problem> {
        Ok(WidgetRecord {
            widget_id: self.id.0,
            tenant_id: self.tenant_id.0,
            key: self.key.clone(),
            name: self.name.clone(),
            allowed_origins: self.allowed_origins.clone(),
            default_group_id: self.default_group_id.map(|id| id.0),
            greeting: self.greeting.clone(),
            locale: self.locale.clone(),
            theme: self.theme.as_object().cloned().unwrap_or_default(),
            identity: self.identity()?,
            identity_required: self.identity_required,
            revision: revision(self.revision),
            deleted: self.deleted_at.is_some(),
        })
    }
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = sessions)]
pub struct SessionRow {
    pub tenant_id: Id<TenantId>,
    pub id: Id<SessionId>,
    pub agent_id: Id<AgentId>,
    pub user_agent: Option<String>,
    pub created_at: At,
    pub last_used_at: At,
    pub expires_at: At,
    pub ended_at: Option<At>,
    pub ended_because: Option<String>,
}

#[cfg(test)]
mod tests {
    use bus_schema::{claims::Role, config::MemberPriority, state::Strategy};

    use super::*;

    #[test]
    fn words_mean_what_they_say() {
        assert_eq!(word(Strategy::RoundRobin), "round_robin");
        assert_eq!(meaning::<MemberPriority>("supervisor").unwrap(), MemberPriority::Supervisor);
        assert_eq!(meaning::<Role>(&word(Role::Admin)).unwrap(), Role::Admin);
        assert!(meaning::<Role>("owner").is_err());
    }
}
