//! What is asked: each list, get and search route, as those who ask it do.

use super::{
    super::schedule::Draw,
    made::{self, Made, Talk},
};

/// Aims (milliseconds, p99).
const READ_MS: u64 = 20;
const SEARCH_MS: u64 = 100;
/// Of which conversations questions are asked.
const ASKED_ABOUT: u64 = 2_000;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum As {
    /// Sees the whole tenant.
    Admin,
    /// Sees their groups' and their own.
    Agent,
    /// An agent who has none, in no group.
    Newcomer,
}

type Path = fn(&Made, &Talk, &mut Draw) -> String;

/// One kind of question.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    pub name: &'static str,
    pub by: As,
    pub aim_ms: u64,
    path: Path,
}

impl Ask {
    /// The next question of its kind.
    pub fn path(&self, made: &Made, draw: &mut Draw) -> String {
        let every = (made.conversations / ASKED_ABOUT).max(1);
        let number = (draw.next() % ASKED_ABOUT * every) % made.conversations;
        (self.path)(made, &made.talk(number), draw)
    }
}

const fn read(name: &'static str, path: Path) -> Ask {
    Ask { name, by: As::Admin, aim_ms: READ_MS, path }
}

const fn search(name: &'static str, path: Path) -> Ask {
    Ask { name, by: As::Admin, aim_ms: SEARCH_MS, path }
}

impl Ask {
    const fn by_agent(self) -> Self {
        Self { by: As::Agent, ..self }
    }

    const fn by_newcomer(self) -> Self {
        Self { by: As::Newcomer, ..self }
    }
}

/// A word that stands in about this share of all that is said; the less, the rarer.
fn rare(draw: &mut Draw) -> String {
    made::word(0.8 + draw.unit() * 0.2)
}

/// Neither: too rare for the latest messages to fill a page, and in thousands of all.
fn middling(draw: &mut Draw) -> String {
    made::word(0.45 + draw.unit() * 0.2)
}

fn common(draw: &mut Draw) -> String {
    made::word(draw.unit() * 0.2)
}

#[rustfmt::skip]
pub const ASKS: &[Ask] = &[
    read("GET /v1/conversations", |_, _, _| "/v1/conversations".to_owned()),
    read("GET /v1/conversations, an agent's", |_, _, _| "/v1/conversations".to_owned()).by_agent(),
    read("GET /v1/conversations, of whom nothing is", |_, _, _| "/v1/conversations".to_owned()).by_newcomer(),
    read("GET /v1/conversations?view=mine", |_, _, _| "/v1/conversations?view=mine&status=open".to_owned()).by_agent(),
    read("GET /v1/conversations?status=open", |_, _, _| "/v1/conversations?status=open".to_owned()),
    read("GET /v1/conversations?status=queued (none is)", |_, _, _| "/v1/conversations?status=queued".to_owned()),
    read("GET /v1/conversations?group_id=", |_, talk, _| format!("/v1/conversations?group_id={}", talk.group)),
    read("GET /v1/conversations?agent_id=", |_, talk, _| format!("/v1/conversations?agent_id={}", talk.agent)),
    read("GET /v1/conversations?tag_id=", |made, _, _| format!("/v1/conversations?tag_id={}", made.tag)),
    read("GET /v1/conversations?visitor_id=", |_, talk, _| format!("/v1/conversations?visitor_id={}", talk.visitor)),
    read("GET /v1/conversations?from=&to=", |made, talk, _| {
        let (from, to) = (made.entry(talk, 0).at, made.entry(talk, made.each - 1).at);
        format!("/v1/conversations?from={from}&to={to}")
    }),
    search("GET /v1/conversations?q= a rare word", |_, _, draw| format!("/v1/conversations?q={}", rare(draw))),
    search("GET /v1/conversations?q= a middling word", |_, _, draw| format!("/v1/conversations?q={}", middling(draw))),
    search("GET /v1/conversations?q= a common word", |_, _, draw| format!("/v1/conversations?q={}", common(draw))),
    read("GET /v1/conversations/{id}", |_, talk, _| format!("/v1/conversations/{}", talk.id)),
    read("GET /v1/conversations/{id}?at_seq=", |made, talk, _| {
        format!("/v1/conversations/{}?at_seq={}", talk.id, made.entry(talk, made.each / 2).seq)
    }),
    read("GET /v1/conversations/{id}?at=", |made, talk, _| {
        format!("/v1/conversations/{}?at={}", talk.id, made.entry(talk, made.each / 2).at)
    }),
    read("GET /v1/conversations/{id}/events", |_, talk, _| format!("/v1/conversations/{}/events", talk.id)),
    read("GET /v1/conversations/{id}/events?before_seq=", |made, talk, _| {
        format!("/v1/conversations/{}/events?before_seq={}", talk.id, made.entry(talk, made.each / 2).seq)
    }),
    read("GET /v1/conversations/{id}/threads", |_, talk, _| format!("/v1/conversations/{}/threads", talk.id)),
    read("GET /v1/conversations/{id}/routing", |_, talk, _| format!("/v1/conversations/{}/routing", talk.id)),
    read("GET /v1/conversations/{id}/transcript", |_, talk, _| format!("/v1/conversations/{}/transcript", talk.id)),
    search("GET /v1/conversations/{id}/search", |_, talk, draw| {
        format!("/v1/conversations/{}/search?q={}", talk.id, common(draw))
    }),
    read("GET /v1/threads/{id}", |_, talk, _| format!("/v1/threads/{}", talk.thread)),
    read("GET /v1/threads/{id}/events", |_, talk, _| format!("/v1/threads/{}/events", talk.thread)),
    search("GET /v1/search?q= a rare word", |_, _, draw| format!("/v1/search?q={}", rare(draw))),
    search("GET /v1/search?q= a middling word", |_, _, draw| format!("/v1/search?q={}", middling(draw))),
    search("GET /v1/search?q= a common word", |_, _, draw| format!("/v1/search?q={}", common(draw))),
    search("GET /v1/search?q= two words", |_, _, draw| format!("/v1/search?q={}%20{}", common(draw), rare(draw))),
    search("GET /v1/search?q= a rare word, an agent's", |_, _, draw| format!("/v1/search?q={}", rare(draw))).by_agent(),
    search("GET /v1/search?q= a middling word, an agent's", |_, _, draw| format!("/v1/search?q={}", middling(draw))).by_agent(),
    search("GET /v1/search?q= a common word, an agent's", |_, _, draw| format!("/v1/search?q={}", common(draw))).by_agent(),
    search("GET /v1/search?q= a middling word, of whom nothing is", |_, _, draw| format!("/v1/search?q={}", middling(draw))).by_newcomer(),
    search("GET /v1/search?q= no such word", |_, _, _| "/v1/search?q=xyzzyx".to_owned()),
    read("GET /v1/unread-count", |_, _, _| "/v1/unread-count".to_owned()).by_agent(),
    read("GET /v1/visitors", |_, _, _| "/v1/visitors".to_owned()),
    read("GET /v1/visitors, an agent's", |_, _, _| "/v1/visitors".to_owned()).by_agent(),
    read("GET /v1/visitors, of whom nothing is", |_, _, _| "/v1/visitors".to_owned()).by_newcomer(),
    read("GET /v1/visitors/{id}", |_, talk, _| format!("/v1/visitors/{}", talk.visitor)),
    read("GET /v1/agents", |_, _, _| "/v1/agents".to_owned()),
    read("GET /v1/agents/{id}", |made, _, _| format!("/v1/agents/{}", made.agent)),
    read("GET /v1/groups", |_, _, _| "/v1/groups".to_owned()),
    read("GET /v1/groups/{id}", |made, _, _| format!("/v1/groups/{}", made.group)),
    read("GET /v1/tags", |_, _, _| "/v1/tags".to_owned()),
    read("GET /v1/tags/{id}", |made, _, _| format!("/v1/tags/{}", made.tag)),
    read("GET /v1/canned-responses", |_, _, _| "/v1/canned-responses".to_owned()),
    read("GET /v1/canned-responses/{id}", |made, _, _| format!("/v1/canned-responses/{}", made.things.canned_response)),
    read("GET /v1/action-templates", |_, _, _| "/v1/action-templates".to_owned()),
    read("GET /v1/action-templates/{id}", |made, _, _| format!("/v1/action-templates/{}", made.things.action_template)),
    read("GET /v1/widgets", |_, _, _| "/v1/widgets".to_owned()),
    read("GET /v1/widgets/{id}", |made, _, _| format!("/v1/widgets/{}", made.things.widget)),
    read("GET /v1/api-tokens", |_, _, _| "/v1/api-tokens".to_owned()),
    read("GET /v1/api-tokens/{id}", |made, _, _| format!("/v1/api-tokens/{}", made.things.api_token)),
    read("GET /v1/audit-log", |_, _, _| "/v1/audit-log".to_owned()),
    read("GET /v1/auth/me", |_, _, _| "/v1/auth/me".to_owned()),
    read("GET /v1/auth/sessions", |_, _, _| "/v1/auth/sessions".to_owned()),
    read("GET /v1/auth/me/devices", |_, _, _| "/v1/auth/me/devices".to_owned()),
    read("GET /v1/tenant", |_, _, _| "/v1/tenant".to_owned()),
    read("GET /v1/admin/stats", |_, _, _| "/v1/admin/stats".to_owned()),
    read("GET /v1/admin/bus", |_, _, _| "/v1/admin/bus".to_owned()),
    read("GET /.well-known/jwks.json", |_, _, _| "/.well-known/jwks.json".to_owned()),
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    /// What the router, the edges or an OpenID provider answer, none of which is there, and what reads nothing or is one
    /// long document.
    const NOT_ASKED: [&str; 6] = [
        "/healthz",
        "/v1/agents/online",
        "/v1/auth/oidc/{provider}/callback",
        "/v1/auth/oidc/{provider}/start",
        "/v1/visitors/online",
        "/v1/visitors/{id}/export",
    ];

    #[test]
    fn every_get_of_the_document_is_asked_or_named_here() {
        let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
        let document: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(document).unwrap()).unwrap();
        let paths = document["paths"].as_object().unwrap().iter();
        let gets: BTreeSet<&str> = paths
            .filter(|(_, methods)| methods.get("get").is_some())
            .map(|(path, _)| path.as_str())
            .collect();
        let asked = ASKS.iter().map(|ask| {
            let path = ask.name.strip_prefix("GET ").unwrap();
            path.split(['?', ',', ' ']).next().unwrap()
        });
        let all: BTreeSet<&str> = asked.chain(NOT_ASKED).collect();
        assert_eq!(gets, all);
    }
}
