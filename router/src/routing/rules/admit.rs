//! Whether a thread may start: by the tenant's budget of open threads, and by what would become of it in its group.
//!
//! The budget is as of the moment of the question: starts that are on their way at the same time may exceed it by their
//! number, and what started without being asked about stays.

use std::collections::BTreeSet;

use bus_schema::{
    ErrorBody, ErrorCode, GroupId, WidgetId,
    command::{Answer, Outcome},
    state::CloseReason,
};

use super::{
    super::{settings::START_AFTER, shared::Shared, tenant::Tenant},
    announce::inadmissible,
    refused,
};

/// May a thread start in this group now?
pub fn admit(
    tenant: &Tenant,
    group: Option<GroupId>,
    widget: Option<WidgetId>,
    shared: &mut Shared,
) -> Outcome {
    let group_id = match tenant.config.start_group(group, widget) {
        Ok(group) => group,
        Err(_) => return refused(ErrorCode::NotFound, "no such group"),
    };
    let open = || tenant.open.values().map(BTreeSet::len).sum::<usize>();
    if shared.settings.open_max.is_some_and(|most| open() >= most) {
        shared.counters.over_budget += 1;
        let error = ErrorBody::new(ErrorCode::RateLimited, "too many conversations are open");
        return error.after(START_AFTER).into();
    }
    let (queue, now) = (tenant.config.queue_of(group_id), shared.now);
    let served = tenant.queues.get(&queue).is_some_and(|entry| !entry.eligible.is_empty())
        && tenant.config.is_open(queue, now)
        && !tenant.config.offers(queue);
    match inadmissible(tenant, queue, now).filter(|_| !served) {
        Some(CloseReason::QueueFull) => ErrorBody::from(ErrorCode::QueueFull).into(),
        Some(_) => ErrorBody::from(ErrorCode::GroupOffline).into(),
        None => Outcome::Accepted { answer: Answer::Admitted { group_id } },
    }
}
