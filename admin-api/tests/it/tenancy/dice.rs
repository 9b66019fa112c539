//! Requests by chance: routes, callers, ids and everything else that a request is made of.
//!
//! Invariant: a request follows from the seed, its number and the two tenants alone. What it writes is never a word of
//! the tenant under attack, so such a word in an answer was leaked.

use std::fmt::Write as _;

use admin_api::routes::QueryKind;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    bodies::body,
    targets::{Param, Place, Side, Slot, Target},
    tenant::{Ids, Tenant, file},
};

/// Who asks; all but the insider come from outside the tenant under attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    Nobody,
    Garbage,
    Revoked,
    Visitor,
    Agent,
    Supervisor,
    Admin,
    Bot,
    /// A visitor of the tenant under attack, who reads.
    Insider,
}

const CALLERS: [(Caller, u32); 9] = [
    (Caller::Nobody, 5),
    (Caller::Garbage, 2),
    (Caller::Revoked, 5),
    (Caller::Visitor, 13),
    (Caller::Agent, 15),
    (Caller::Supervisor, 10),
    (Caller::Admin, 30),
    (Caller::Bot, 15),
    (Caller::Insider, 5),
];
const JUNK: [&str; 12] = [
    "0",
    "null",
    "-1",
    "%00",
    "..%2F..%2Fagents",
    "'%20OR%201=1--",
    "00000000-0000-0000-0000-000000000000",
    "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
    "%F0%9F%92%A5",
    "*",
    "me",
    "online",
];
/// Each costs a hash.
const HASHING: [&str; 7] = [
    "register",
    "login",
    "change_password",
    "prepare_totp",
    "reset_password",
    "accept_invitation",
    "create_agent",
];
const RARELY: f64 = 0.05;
/// It ends the caller's session for all that follow.
const ENDING: &str = "logout";
const HARDLY_EVER: f64 = 0.005;
/// What one waits for at most once in a while.
const FAR: f64 = 0.002;

/// A request, before it is sent.
#[derive(Debug)]
pub struct Throw {
    pub target: usize,
    pub caller: Caller,
    pub side: Side,
    pub method: Method,
    /// Path and query.
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Option<Vec<u8>>,
}

impl Throw {
    /// All of it, to see what an answer may repeat.
    pub fn everything(&self) -> String {
        let body = self.body.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        format!("{} {:?} {body}", self.path, self.headers)
    }
}

pub struct Dice<'a> {
    rng: StdRng,
    targets: &'a [Target],
    attacked: &'a Tenant,
    /// Whence the callers come.
    own: &'a Tenant,
    number: u64,
}

impl<'a> Dice<'a> {
    pub fn new(seed: u64, number: u64, targets: &'a [Target], attacked: &'a Tenant, own: &'a Tenant) -> Self {
        let rng = StdRng::seed_from_u64(seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        Self { rng, targets, attacked, own, number }
    }

    fn maybe(&mut self, chance: f64) -> bool {
        self.rng.random_bool(chance)
    }

    fn one<'t, T: ?Sized>(&mut self, of: &[&'t T]) -> &'t T {
        of[self.rng.random_range(0..of.len())]
    }

    pub fn throw(mut self) -> Throw {
        let caller = self.caller();
        let at = self.target(caller);
        let target = &self.targets[at];
        let ids = self.ids(target);
        let mut path = target.filled(&ids);
        if self.maybe(0.03) {
            path.push_str(["/", "//", "/x", "/%2e%2e", ";a=b"][self.rng.random_range(0..5)]);
        }
        let query = self.query(target, &ids);
        path.push_str(&query);
        let method = if self.maybe(0.03) { Method::POST } else { target.method.clone() };
        // Who is inside may read only: what they wrote would change what is attacked.
        let method = if caller == Caller::Insider { Method::GET } else { method };
        let mut headers = self.headers(caller);
        let body = self.body(target, &ids, &mut headers).filter(|_| method != Method::GET);
        Throw { target: at, caller, side: target.side, method, path, headers, body }
    }

    fn caller(&mut self) -> Caller {
        let all: u32 = CALLERS.iter().map(|(_, weight)| weight).sum();
        let mut at = self.rng.random_range(0..all);
        for (caller, weight) in CALLERS {
            if at < weight {
                return caller;
            }
            at -= weight;
        }
        unreachable!("the weights add up")
    }

    fn target(&mut self, caller: Caller) -> usize {
        let visitors = matches!(caller, Caller::Visitor | Caller::Insider);
        loop {
            let at = self.rng.random_range(0..self.targets.len());
            let target = &self.targets[at];
            let rare = HASHING.contains(&target.name)
                // Visitors are let in at the edge.
                || (visitors && target.side == Side::Admin);
            let chance = match (rare, target.name) {
                (_, ENDING) => HARDLY_EVER,
                (true, _) => RARELY,
                (false, _) => 1.0,
            };
            if self.maybe(chance) {
                return at;
            }
        }
    }

    /// An id for each kind; half of them of the tenant under attack.
    fn ids(&mut self, target: &Target) -> Ids {
        let mut ids = self.own.ids.clone();
        for slot in &target.slots {
            let id = self.id(slot.kind);
            ids.insert(slot.kind, id);
        }
        // Who has the key of a widget is its visitor.
        ids.insert("widget_key", self.own.ids["widget_key"].clone());
        ids
    }

    fn id(&mut self, kind: &'static str) -> String {
        let (attacked, own) = (self.attacked, self.own);
        match self.rng.random_range(0..100) {
            0..50 => attacked.ids[kind].clone(),
            50..58 => {
                let people = [&attacked.admin.id, &attacked.agent.id, &attacked.other.conversation];
                let others = attacked.ids.iter().filter(|(kind, _)| **kind != "widget_key");
                let any: Vec<&str> =
                    others.map(|(_, id)| id.as_str()).chain(people.map(String::as_str)).collect();
                self.one(&any).to_owned()
            }
            58..88 => own.ids[kind].clone(),
            88..94 => uuid::Uuid::from_u128(self.rng.random()).to_string(),
            _ => self.one(&JUNK).to_owned(),
        }
    }

    fn query(&mut self, target: &Target, ids: &Ids) -> String {
        let mut query = String::new();
        for param in &target.query {
            if param.required || self.maybe(0.3) {
                let value = self.value(*param, target, ids);
                let and = if query.is_empty() { '?' } else { '&' };
                write!(query, "{and}{}={value}", param.name).unwrap();
            }
        }
        if self.maybe(0.05) {
            let and = if query.is_empty() { '?' } else { '&' };
            write!(query, "{and}tenant_id={}", self.attacked.ids["tenant"]).unwrap();
        }
        query
    }

    fn value(&mut self, param: Param, target: &Target, ids: &Ids) -> String {
        let attacked = self.attacked;
        match param.kind {
            // Of a link of the caller's own: whatever else it is put together with.
            QueryKind::Integer | QueryKind::Text
                if self.own.ids.contains_key(param.name) && self.maybe(0.7) =>
            {
                self.own.ids[param.name].clone()
            }
            QueryKind::Uuid => {
                let slot = target.slots.iter().find(|slot| slot.place == Place::Query(param.name));
                slot.map_or_else(|| attacked.ids["tenant"].clone(), |slot| ids[slot.kind].clone())
            }
            QueryKind::Integer if param.name == "min_seq" && !self.maybe(FAR) => "1".to_owned(),
            QueryKind::Integer | QueryKind::Limit => {
                ["0", "1", "3", "200", "201", "-1", "1e9", "9223372036854775807"][self.rng.random_range(0..8)]
                    .to_owned()
            }
            QueryKind::Boolean => self.one(&["true", "false", "1"]).to_owned(),
            QueryKind::Time => self.one(&["2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "x"]).to_owned(),
            QueryKind::Text | QueryKind::Word(_) | QueryKind::Words | QueryKind::MustWords => {
                // In texts of both tenants, and no secret of either.
                let words = ["answers", "note", "asks%20or%20note", "mine", "open", "closed", "%22", "-x"];
                self.one(&words).to_owned()
            }
        }
    }

    fn headers(&mut self, caller: Caller) -> Vec<(&'static str, String)> {
        let (own, attacked) = (self.own, self.attacked);
        let token = match caller {
            Caller::Nobody => None,
            Caller::Garbage => Some("garbage"),
            Caller::Revoked => Some(attacked.revoked.as_str()),
            Caller::Visitor => Some(own.visit.token.as_str()),
            Caller::Agent => Some(own.agent.token.as_str()),
            Caller::Supervisor => Some(own.supervisor.token.as_str()),
            Caller::Admin => Some(own.admin.token.as_str()),
            Caller::Bot => Some(own.bot.as_str()),
            Caller::Insider => Some(attacked.visit.token.as_str()),
        };
        let mut headers: Vec<_> =
            token.map(|token| ("authorization", format!("Bearer {token}"))).into_iter().collect();
        if self.maybe(0.15) {
            headers.push(("idempotency-key", format!("k{}", self.rng.random_range(0..40))));
        }
        if self.maybe(0.15) {
            headers.push(("if-match", self.one(&["*", "\"1\"", "\"9\"", "W/\"1\"", "x"]).to_owned()));
        }
        if self.maybe(0.05) {
            headers.push(("x-tenant-id", attacked.ids["tenant"].clone()));
        }
        if self.maybe(0.05) {
            headers.push(("x-request-id", self.one(&["r-1", "a b", "..."]).to_owned()));
        }
        if self.maybe(0.05) {
            headers.push(("accept", self.one(&["text/csv", "text/plain", "*/*", "x"]).to_owned()));
        }
        headers
    }

    fn body(
        &mut self,
        target: &Target,
        ids: &Ids,
        headers: &mut Vec<(&'static str, String)>,
    ) -> Option<Vec<u8>> {
        if target.name == "upload" {
            let (kind, form) = file("x");
            headers.push(("content-type", kind));
            return Some(form.into_bytes());
        }
        let slots: Vec<&Slot> =
            target.slots.iter().filter(|slot| matches!(slot.place, Place::Body(_))).collect();
        let slot = (!slots.is_empty() && self.maybe(0.6)).then(|| self.one(&slots));
        let mut body = body(target, &format!("u{}", self.number), ids, slot)?;
        headers.push(("content-type", "application/json".to_owned()));
        if self.maybe(0.25) {
            self.spoil(&mut body);
        }
        let mut bytes = body.to_string().into_bytes();
        if self.maybe(0.03) {
            bytes.truncate(self.rng.random_range(0..=bytes.len()));
        }
        Some(bytes)
    }

    /// Makes one field into something else, or adds one.
    fn spoil(&mut self, body: &mut Value) {
        let Some(fields) = body.as_object_mut() else { return };
        let names: Vec<String> = fields.keys().cloned().collect();
        let values = [json!(null), json!(7), json!([]), json!({}), json!(""), json!(true), json!("\u{0}")];
        let value = values[self.rng.random_range(0..values.len())].clone();
        match self.rng.random_range(0..4) {
            0 => drop(fields.insert("tenant_id".to_owned(), self.attacked.ids["tenant"].clone().into())),
            1 => drop(fields.insert("x".to_owned(), value)),
            _ if names.is_empty() => {}
            2 => drop(fields.remove(&names[self.rng.random_range(0..names.len())])),
            _ => drop(fields.insert(names[self.rng.random_range(0..names.len())].clone(), value)),
        }
    }
}
