//! Whether a tenant's groups would find somebody, as the router says, for visitors who are about to write.
//!
//! Invariant: what is told is at most [`FRESH`] old where nobody of the tenant is connected here, and follows the
//! router's signals where somebody is; without the router's word a start would wait.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bus_schema::{
    GroupId, Shard, TenantId,
    command::{Actor, Answer, Command},
    protocol::GroupStatus,
};
use ops::{chat, nats::Bus};
use tokio::time::Instant;

/// How long an answer counts.
const FRESH: Duration = Duration::from_secs(10);
/// How long a page waits for the router.
const ANSWER_WAIT: Duration = Duration::from_millis(250);

/// By tenant; as many as there are tenants with a widget that is asked for.
#[derive(Debug, Default)]
pub struct Groups {
    tenants: Mutex<HashMap<TenantId, Known>>,
}

#[derive(Debug, Default)]
struct Known {
    groups: BTreeMap<GroupId, GroupStatus>,
    /// Counts until then without being followed.
    until: Option<Instant>,
    followed: bool,
}

impl Groups {
    /// All groups of a tenant of which something is known; asks the router where nobody follows it.
    pub async fn of(&self, bus: &Bus, shard: Shard, tenant: TenantId) -> BTreeMap<GroupId, GroupStatus> {
        {
            let mut tenants = self.lock();
            let known = tenants.entry(tenant).or_default();
            let now = Instant::now();
            if known.followed || known.until.is_some_and(|until| now < until) {
                return known.groups.clone();
            }
            // One page asks; the others take what was known until it is answered.
            known.until = Some(now + FRESH);
        }
        if let Ok(groups) = ask(bus, shard, tenant, ANSWER_WAIT).await {
            self.replace(tenant, groups, &BTreeSet::new());
        }
        self.lock().get(&tenant).map(|known| known.groups.clone()).unwrap_or_default()
    }

    pub fn get(&self, tenant: TenantId, group: GroupId) -> Option<GroupStatus> {
        self.lock().get(&tenant)?.groups.get(&group).copied()
    }

    /// The router's word on one group; says whether it is news.
    pub fn set(&self, tenant: TenantId, group: GroupId, status: GroupStatus) -> bool {
        self.lock().entry(tenant).or_default().groups.insert(group, status) != Some(status)
    }

    /// The router's word on all of them, which is older than what is known of those `touched`; gives what is news.
    pub fn replace(
        &self,
        tenant: TenantId,
        mut groups: BTreeMap<GroupId, GroupStatus>,
        touched: &BTreeSet<GroupId>,
    ) -> Vec<(GroupId, GroupStatus)> {
        let mut tenants = self.lock();
        let known = tenants.entry(tenant).or_default();
        let newer = known.groups.iter().filter(|(group, _)| touched.contains(*group));
        groups.extend(newer.map(|(group, status)| (*group, *status)));
        let before = std::mem::replace(&mut known.groups, groups);
        let news = known.groups.iter().filter(|(group, status)| before.get(*group) != Some(*status));
        news.map(|(group, status)| (*group, *status)).collect()
    }

    /// Whether signals keep it as it is from now on.
    pub fn follow(&self, tenant: TenantId, followed: bool) {
        let mut tenants = self.lock();
        let known = tenants.entry(tenant).or_default();
        (known.followed, known.until) = (followed, None);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Known>> {
        // Each change is one insert or assignment, so a panic elsewhere cannot leave it half done.
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub async fn ask(
    bus: &Bus,
    shard: Shard,
    tenant: TenantId,
    wait: Duration,
) -> Result<BTreeMap<GroupId, GroupStatus>, bus_schema::ErrorBody> {
    let request = chat::command(Actor::SYSTEM, Command::ListGroups);
    match chat::ask(bus, shard, tenant, &request, wait).await? {
        Answer::Groups { groups } => Ok(groups),
        _ => Err(bus_schema::ErrorCode::Internal.into()),
    }
}
