//! How threads are routed, beyond a group's strategy: settings of a tenant and of its groups.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::hours::Hours;

/// What is absent is the tenant's, and then the default; 0 switches it off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingSettings {
    /// For so many seconds after an assignment a sticky group remembers a visitor's agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky_s: Option<u32>,
    /// To how many agents a thread is offered at once, and for how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer_to: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer_s: Option<u32>,
    /// A thread that waits so long for wanted skills goes to anyone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skills_waive_s: Option<u32>,
    /// Threads of one group that an agent holds at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_max: Option<u32>,
    /// An agent who lets a visitor wait so long loses the thread …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_s: Option<u32>,
    /// … and who does it so often is set `not_accepting`; a chat they end, a new status or a new connection starts the
    /// count anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub misses_max: Option<u32>,
    /// A thread in which nobody says anything for so long is idle …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_s: Option<u32>,
    /// … and closed so much later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_close_s: Option<u32>,
    /// A thread whose visitor has no connection for so long is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visitor_gone_s: Option<u32>,
    /// A thread that waits in a queue for so long is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_s: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
}

/// What holds in a group. Absent: switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    pub sticky: Option<Duration>,
    pub offer_to: usize,
    pub offer_for: Duration,
    pub skills_waived_after: Option<Duration>,
    pub agent_max: Option<u32>,
    pub answer_within: Option<Duration>,
    pub misses_max: Option<u32>,
    pub idle_after: Option<Duration>,
    pub idle_closed_after: Option<Duration>,
    pub visitor_gone_after: Option<Duration>,
    pub queue_wait: Option<Duration>,
}

impl RoutingSettings {
    /// No setting in seconds is longer: a year.
    pub const SECONDS_MAX: u32 = 366 * 24 * 3600;
    pub const OFFER_TO_MAX: u32 = 50;

    const STICKY_S: u32 = 7 * 24 * 3600;
    const OFFER_TO: u32 = 5;
    const OFFER_S: u32 = 30;
    const SKILLS_WAIVE_S: u32 = 120;
    const MISSES_MAX: u32 = 3;

    /// Of a group, over its tenant's.
    pub fn rules(&self, tenant: Option<&RoutingSettings>) -> Rules {
        let set = |of: fn(&RoutingSettings) -> Option<u32>| of(self).or_else(|| tenant.and_then(of));
        let on = |of: fn(&RoutingSettings) -> Option<u32>| set(of).filter(|value| *value > 0);
        let seconds = |s: u32| Duration::from_secs(u64::from(s));
        let at_least_one = |value: Option<u32>, default: u32| value.filter(|v| *v > 0).unwrap_or(default);
        let after = |of: fn(&RoutingSettings) -> Option<u32>| on(of).map(seconds);
        let unless_off = |of: fn(&RoutingSettings) -> Option<u32>, default: u32| {
            Some(set(of).unwrap_or(default)).filter(|value| *value > 0)
        };
        Rules {
            sticky: unless_off(|r| r.sticky_s, Self::STICKY_S).map(seconds),
            offer_to: at_least_one(set(|r| r.offer_to), Self::OFFER_TO).min(Self::OFFER_TO_MAX) as usize,
            offer_for: seconds(at_least_one(set(|r| r.offer_s), Self::OFFER_S)),
            skills_waived_after: unless_off(|r| r.skills_waive_s, Self::SKILLS_WAIVE_S).map(seconds),
            agent_max: on(|r| r.agent_max),
            answer_within: after(|r| r.answer_s),
            misses_max: unless_off(|r| r.misses_max, Self::MISSES_MAX),
            idle_after: after(|r| r.idle_s),
            idle_closed_after: after(|r| r.idle_close_s),
            visitor_gone_after: after(|r| r.visitor_gone_s),
            queue_wait: after(|r| r.queue_s),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_groups_word_goes_before_its_tenants_and_nought_switches_off() {
        let tenant = RoutingSettings {
            answer_s: Some(60),
            queue_s: Some(600),
            skills_waive_s: Some(0),
            ..RoutingSettings::default()
        };
        let group = RoutingSettings {
            answer_s: Some(0),
            idle_s: Some(30),
            offer_to: Some(0),
            ..RoutingSettings::default()
        };
        let rules = group.rules(Some(&tenant));
        assert_eq!((rules.answer_within, rules.queue_wait), (None, Some(Duration::from_secs(600))));
        assert_eq!((rules.idle_after, rules.skills_waived_after), (Some(Duration::from_secs(30)), None));
        assert_eq!((rules.offer_to, rules.misses_max), (5, Some(3)));
        assert_eq!(rules.sticky, Some(Duration::from_secs(604_800)));
    }
}
