//! The demo tenant: a group, an agent, a widget, made over HTTP like anybody's.
//!
//! Each thing is looked for before it is made, so that a start that was interrupted, and the next one, find it again.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::plan::Plan;
use super::secrets;
use crate::dev::{ports, probe};
use crate::secret_file::SecretFileError;
use crate::service::Service;
use crate::tools::http::{Answer, Http};

const TENANT: &str = "Demo";
const GROUP: &str = "Support Team";
const WIDGET: &str = "Demo site";
const KNOWN_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Who can log in.
#[derive(Debug)]
pub struct Demo {
    pub admin_email: String,
    pub admin_password: String,
    pub agent_email: String,
    pub agent_password: String,
}

/// What was made or found.
#[derive(Debug)]
pub struct Seeded {
    pub widget_key: String,
}

impl Demo {
    /// The same people and passwords each time.
    pub fn keep(keys: &Path) -> Result<Self, SecretFileError> {
        Ok(Self {
            admin_email: "admin@livechat.com".to_owned(),
            admin_password: secrets::keep(keys, "demo-admin-password")?,
            agent_email: "agent@livechat.com".to_owned(),
            agent_password: secrets::keep(keys, "demo-agent-password")?,
        })
    }
}

/// Makes what is missing, and waits until every edge knows it.
pub async fn run(plan: &Plan, demo: &Demo) -> anyhow::Result<Seeded> {
    let admin_url = plan.urls(Service::AdminApi).pop().context("there is an admin-api")?;
    let mut http = Http::new(&admin_url)?;
    let token = log_in_or_register(&http, demo).await?;
    http.authorize(&token);
    let group = group(&http).await?;
    agent(&http, demo, &group).await?;
    let widget_key = widget(&http, plan, &group).await?;
    wait_for_edges(plan, &widget_key).await?;
    Ok(Seeded { widget_key })
}

async fn log_in_or_register(http: &Http, demo: &Demo) -> anyhow::Result<String> {
    let login = json!({ "email": demo.admin_email, "password": demo.admin_password });
    let answer = http.post("/v1/auth/login", &login).await?;
    if answer.is_ok() {
        return answer.text_at("/access_token");
    }
    if answer.status != 401 {
        bail!("logging in as {}: {answer}", demo.admin_email);
    }
    let register = json!({
        "tenant_name": TENANT, "name": "Demo Admin",
        "email": demo.admin_email, "password": demo.admin_password,
    });
    http.post("/v1/auth/register", &register).await?.ok("registering the demo tenant")?;
    http.post("/v1/auth/login", &login).await?.ok("logging in")?.text_at("/access_token")
}

async fn group(http: &Http) -> anyhow::Result<String> {
    if let Some(found) = find(http, "/v1/groups", "name", GROUP).await? {
        return found.text_at("/id");
    }
    let body = json!({ "name": GROUP, "strategy": "least_loaded", "is_default": true });
    http.post("/v1/groups", &body).await?.ok("making the demo group")?.text_at("/id")
}

async fn agent(http: &Http, demo: &Demo, group: &str) -> anyhow::Result<()> {
    if find(http, "/v1/agents", "email", &demo.agent_email).await?.is_none() {
        let body = json!({
            "email": demo.agent_email, "name": "Demo Agent", "role": "agent",
            "password": demo.agent_password, "group_ids": [group],
        });
        http.post("/v1/agents", &body).await?.ok("making the demo agent")?;
    }
    Ok(())
}

/// Its origins follow the ports, which may be others than last time.
async fn widget(http: &Http, plan: &Plan, group: &str) -> anyhow::Result<String> {
    let origins = origins(plan);
    let Some(found) = find(http, "/v1/widgets", "name", WIDGET).await? else {
        let body = json!({ "name": WIDGET, "allowed_origins": origins, "default_group_id": group });
        return http.post("/v1/widgets", &body).await?.ok("making the demo widget")?.text_at("/key");
    };
    if found.body.pointer("/allowed_origins") != Some(&json!(origins)) {
        let path = format!("/v1/widgets/{}", found.text_at("/id")?);
        let current = http.get(&path).await?.ok("reading the demo widget")?;
        let etag = current.etag.clone().unwrap_or_else(|| "*".to_owned());
        let changed = http.patch(&path, &json!({ "allowed_origins": origins }), &etag).await?;
        changed.ok("telling the demo widget its origins")?;
    }
    found.text_at("/key")
}

fn origins(plan: &Plan) -> Vec<String> {
    [Service::Edge, Service::AdminApi].into_iter().flat_map(|service| plan.origins(service)).collect()
}

/// The first entry of a list whose `field` is `value`.
async fn find(http: &Http, list: &str, field: &str, value: &str) -> anyhow::Result<Option<Answer>> {
    let mut cursor = String::new();
    loop {
        let page = http.get(&format!("{list}?limit=200{cursor}")).await?.ok(list)?;
        let entries = page.body.get("data").and_then(Value::as_array).cloned().unwrap_or_default();
        if let Some(entry) =
            entries.into_iter().find(|entry| entry.get(field).and_then(Value::as_str) == Some(value))
        {
            return Ok(Some(Answer { status: page.status, etag: None, body: entry }));
        }
        match page.body.get("next_cursor").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(None),
        }
    }
}

/// Configuration reaches the edges over the bus, a moment after it was made.
async fn wait_for_edges(plan: &Plan, widget_key: &str) -> anyhow::Result<()> {
    let path = format!("/v1/widget/config/{widget_key}");
    let all = async {
        for edge in plan.of(Service::Edge) {
            let address = ports::loopback(edge.public.unwrap_or_default());
            while !probe::get(address, &path).await.is_ok_and(|answer| answer.is_ok()) {
                tokio::time::sleep(POLL).await;
            }
        }
    };
    tokio::time::timeout(KNOWN_WITHIN, all).await.context("an edge does not know the demo widget in time")
}
