//! A tenant of a test's own in a running system that many tests share, and calls in it over HTTP.

use std::time::Duration;

use ops::{
    client::{Client, Options, Tokens, new_visitor_key},
    testing::{Got, wait_for},
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::world::{Shape, World};

pub const SOON: Duration = Duration::from_secs(20);

/// One system for all of these tests; it ends with the process.
static WORLD: OnceCell<World> = OnceCell::const_new();

/// A tenant of a test's own in it, as its admin.
pub struct Api {
    pub http: reqwest::Client,
    pub admin_url: String,
    pub edge_url: String,
    pub token: String,
    pub me: String,
    pub email: String,
}

pub const PASSWORD: &str = "a-long-enough-passphrase";

/// A visitor with an open thread.
pub struct Visit {
    pub token: String,
    pub conversation: String,
    pub thread: String,
    pub visitor: String,
}

/// The one that tests share which disturb nobody.
pub async fn shared() -> &'static World {
    // All of them come from one address within seconds.
    let unlimited = ["LOGINS_PER_MINUTE", "SESSIONS_PER_MINUTE"]
        .map(|name| (format!("CHATBUS_LIMIT_{name}_PER_ADDRESS"), "0"));
    let unlimited = unlimited.each_ref().map(|(name, value)| (name.as_str(), *value));
    WORLD.get_or_init(|| World::up(Shape { edges: 1, ..Shape::default() }, &unlimited)).await
}

impl Api {
    pub async fn new() -> Self {
        let world = shared().await;
        let http = reqwest::Client::new();
        let (admin_url, edge_url) = (world.var("CHATBUS_ADMIN_URL"), world.edge_urls().remove(0));
        let email = format!("{}@seed.example", Uuid::now_v7().simple());
        let mut api = Self { http, admin_url, edge_url, token: String::new(), me: String::new(), email };
        let body = json!({ "tenant_name": "Seed", "name": "Ann", "email": api.email, "password": PASSWORD });
        let made = api.post("/v1/auth/register", body).await.is(201);
        api.token = made.body["access_token"].as_str().unwrap().to_owned();
        api.me = made.body["agent"]["id"].as_str().unwrap().to_owned();
        api
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Got {
        Got::of(request.send().await.unwrap()).await.unwrap()
    }

    pub async fn call_as(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Got {
        let mut request = self.http.request(method, format!("{}{path}", self.admin_url));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.send(request).await
    }

    pub async fn get(&self, path: &str) -> Got {
        self.call_as(&self.token, Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Got {
        self.call_as(&self.token, Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Got {
        self.call_as(&self.token, Method::PUT, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Got {
        self.call_as(&self.token, Method::PATCH, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Got {
        self.call_as(&self.token, Method::DELETE, path, None).await
    }

    /// As the holder of a token, at the edge.
    pub async fn edge(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Got {
        let mut request = self.http.request(method, format!("{}{path}", self.edge_url)).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.send(request).await
    }

    /// Uploads a file for a conversation.
    pub async fn upload(&self, token: &str, conversation: &str, name: &str, text: &str) -> Got {
        let disposition = format!("form-data; name=\"file\"; filename=\"{name}\"");
        let form = format!("--b\r\nContent-Disposition: {disposition}\r\n\r\n{text}\r\n--b--\r\n");
        let url = format!("{}/v1/conversations/{conversation}/attachments", self.edge_url);
        let request = self.http.post(url).bearer_auth(token);
        self.send(request.header("content-type", "multipart/form-data; boundary=b").body(form)).await
    }

    /// An agent with a token.
    pub async fn agent(&self, name: &str, groups: &[&str]) -> (String, String) {
        let email = format!("{name}-{}@seed.example", Uuid::now_v7().simple());
        let new = json!({ "email": email, "name": name, "role": "agent", "password": PASSWORD, "group_ids": groups });
        let id = self.post("/v1/agents", new).await.is(201).id();
        let login =
            self.post("/v1/auth/login", json!({ "email": email, "password": PASSWORD })).await.is(200);
        (id, login.body["access_token"].as_str().unwrap().to_owned())
    }

    pub async fn widget(&self, group: Option<&str>) -> String {
        let new = json!({ "name": "Site", "default_group_id": group });
        self.post("/v1/widgets", new).await.is(201).body["key"].as_str().unwrap().to_owned()
    }

    pub async fn widget_named(&self, name: &str) -> String {
        self.post("/v1/widgets", json!({ "name": name })).await.is(201).body["key"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// A visitor who says something, once the edge knows the widget.
    pub async fn visit(&self, widget: &str, text: &str) -> Visit {
        let session = json!({
            "widget_key": widget, "visitor_key": new_visitor_key(), "name": "Vera", "email": "vera@example.com",
            "initial_message": text,
        });
        let url = format!("{}/v1/widget/session", self.edge_url);
        let got = wait_for(SOON, "the edge to know the widget", async || {
            let got = self.send(self.http.post(&url).json(&session)).await;
            if got.status == 200 { Ok(got) } else { Err(got.body.to_string()) }
        })
        .await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Visit {
            token: text(&got.body["token"]),
            conversation: text(&got.body["conversation"]["id"]),
            thread: text(&got.body["conversation"]["thread"]["id"]),
            visitor: text(&got.body["visitor"]["id"]),
        }
    }

    /// A connection of the holder of a token, once the edge lets them in; `adjust` says how.
    pub async fn connect(&self, token: &str, adjust: impl Fn(&mut Options)) -> Client {
        wait_for(SOON, "the edge to know who this is", async || {
            let mut options = Options::new(vec![self.edge_url.clone()], Tokens::fixed(token));
            adjust(&mut options);
            let client = Client::start(options);
            client.ready(SOON).await.map(|()| client).map_err(|error| error.to_string())
        })
        .await
    }

    /// Waits until a GET answers so that `holds`.
    pub async fn shows(&self, path: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        wait_for(SOON, what, async || {
            let got = self.get(path).await;
            if got.status == 200 && holds(&got.body) { Ok(got.body) } else { Err(got.body.to_string()) }
        })
        .await
    }

    /// Assigns, once the router knows the agent.
    pub async fn assign(&self, conversation: &str, agent: &str) {
        wait_for(SOON, "the router to know the agent", async || {
            let got = self
                .post(&format!("/v1/conversations/{conversation}/assign"), json!({ "agent_id": agent }))
                .await;
            if got.status == 200 { Ok(()) } else { Err(got.body.to_string()) }
        })
        .await;
    }
}
