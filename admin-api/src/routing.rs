//! How threads are routed, as clients write it: the settings of a tenant and of its groups.
//!
//! Invariant: what the router gets has been checked here, down to the name of a time zone.

use bus_schema::{
    config::RoutingSettings,
    hours::{BadHours, Day, Hours, OpenSpan},
    limits::CAPACITY_MAX,
    object,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::{Checks, Problem};

/// Spans of a week.
const SPANS_MAX: usize = 50;

/// What is absent is the tenant's, and then the default; 0 switches it off.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutingBody {
    /// `sticky`: seconds after an assignment for which a visitor's agent is remembered; 604800 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky_s: Option<u32>,
    /// `broadcast`: to how many agents a thread is offered at once; 5 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer_to: Option<u32>,
    /// `broadcast`: seconds until an offer ends; 30 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer_s: Option<u32>,
    /// Seconds after which a thread that waits for wanted skills goes to anyone; 120 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skills_waive_s: Option<u32>,
    /// Threads of one group that an agent holds at most; off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_max: Option<u32>,
    /// Seconds after which an agent who does not answer loses the thread; off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_s: Option<u32>,
    /// So many of those set the agent `not_accepting`, unless they end a chat, set their status or connect anew in
    /// between; 3 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub misses_max: Option<u32>,
    /// Seconds of silence after which a thread is idle; off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_s: Option<u32>,
    /// Seconds after which an idle thread is closed; off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_close_s: Option<u32>,
    /// Seconds after which a thread is closed whose visitor has no connection; off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visitor_gone_s: Option<u32>,
    /// Seconds after which a thread that waits in a queue is closed; off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_s: Option<u32>,
    /// When groups are there; absent: always.
    #[serde(default, deserialize_with = "object::or_null", skip_serializing_if = "Option::is_none")]
    pub hours: Option<HoursBody>,
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoursBody {
    /// A name of the IANA database, such as `Europe/Berlin`.
    pub time_zone: String,
    #[serde(deserialize_with = "object::list")]
    pub open: Vec<OpenBody>,
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenBody {
    /// `mon` to `sun`.
    pub day: Day,
    /// `HH:MM`.
    pub from: String,
    /// `HH:MM`, at most `24:00`; a night is two spans.
    pub to: String,
}

impl RoutingBody {
    pub fn check(&self, checks: &mut Checks) {
        let seconds = [
            ("/routing/sticky_s", self.sticky_s),
            ("/routing/offer_s", self.offer_s),
            ("/routing/skills_waive_s", self.skills_waive_s),
            ("/routing/answer_s", self.answer_s),
            ("/routing/idle_s", self.idle_s),
            ("/routing/idle_close_s", self.idle_close_s),
            ("/routing/visitor_gone_s", self.visitor_gone_s),
            ("/routing/queue_s", self.queue_s),
        ];
        for (pointer, value) in seconds {
            let right = value.is_none_or(|value| value <= RoutingSettings::SECONDS_MAX);
            checks.that(pointer, right, "must be at most a year");
        }
        let most = [
            ("/routing/offer_to", self.offer_to, RoutingSettings::OFFER_TO_MAX),
            ("/routing/agent_max", self.agent_max, CAPACITY_MAX),
            ("/routing/misses_max", self.misses_max, CAPACITY_MAX),
        ];
        for (pointer, value, max) in most {
            checks.that(pointer, value.is_none_or(|value| value <= max), &format!("must be at most {max}"));
        }
        let Some(hours) = &self.hours else { return };
        checks.that("/routing/hours/open", hours.open.len() <= SPANS_MAX, "must have at most 50 spans");
        if let Err(wrong) = hours.clone().into_hours().check() {
            let pointer = match wrong {
                BadHours::TimeZone => "/routing/hours/time_zone".to_owned(),
                BadHours::From { index } => format!("/routing/hours/open/{index}/from"),
                BadHours::To { index } => format!("/routing/hours/open/{index}/to"),
            };
            checks.wrong(&pointer, wrong.to_string());
        }
    }

    pub fn into_settings(self) -> RoutingSettings {
        RoutingSettings {
            sticky_s: self.sticky_s,
            offer_to: self.offer_to,
            offer_s: self.offer_s,
            skills_waive_s: self.skills_waive_s,
            agent_max: self.agent_max,
            answer_s: self.answer_s,
            misses_max: self.misses_max,
            idle_s: self.idle_s,
            idle_close_s: self.idle_close_s,
            visitor_gone_s: self.visitor_gone_s,
            queue_s: self.queue_s,
            hours: self.hours.map(HoursBody::into_hours),
        }
    }
}

impl HoursBody {
    fn into_hours(self) -> Hours {
        let span = |open: OpenBody| OpenSpan { day: open.day, from: open.from, to: open.to };
        Hours { time_zone: self.time_zone, open: self.open.into_iter().map(span).collect() }
    }
}

/// As Postgres keeps it.
pub fn stored(body: RoutingBody) -> serde_json::Value {
    serde_json::to_value(body.into_settings()).expect("settings hold only numbers, strings and lists of them")
}

/// What Postgres keeps.
pub fn meant(stored: &serde_json::Value) -> Result<RoutingSettings, Problem> {
    RoutingSettings::deserialize(stored)
        .map_err(|error| Problem::fault("routing settings in Postgres", &error))
}
