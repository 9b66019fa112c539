//! All services on one bus and one database.

use std::{net::SocketAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ops::{
    auth::SigningKey,
    testing::{Process, Scratch, wait_for},
};
use serde_json::{Value, json};

use super::{answer::Answer, targets::Side};
use crate::{
    chat::persister,
    routing::router,
    world::{BusServer, World, documented},
};

const UP_WITHIN: Duration = Duration::from_secs(30);
/// Of the edge: tests are faster than people.
const UNLIMITED: [&str; 9] = [
    "EVENTS_PER_SECOND",
    "EVENTS_PER_SECOND_PER_TENANT",
    "BYTES_PER_SECOND_PER_TENANT",
    "STARTS_PER_SECOND_PER_TENANT",
    "SESSIONS_PER_MINUTE_PER_ADDRESS",
    "SESSIONS_PER_MINUTE_PER_WIDGET",
    "CONNECTIONS_PER_ADDRESS",
    "UPLOADS_PER_MINUTE_PER_PERSON",
    "FILE_BYTES_PER_MINUTE_PER_TENANT",
];

pub struct Scene {
    pub world: World,
    pub visitor_key: SigningKey,
    edge_url: String,
    _edge: Process,
    _router: Process,
    _keys: Scratch,
    _server: BusServer,
}

/// What the edge gave a visitor.
#[derive(Debug, Clone)]
pub struct Visit {
    pub token: String,
    pub visitor: String,
    pub conversation: String,
    pub thread: String,
}

impl Scene {
    pub async fn open() -> Self {
        let server = BusServer::start().await;
        let world = World::on(&server).await;
        persister(&world).await;
        let router = router(&world).await;
        let keys = Scratch::new("visitor-keys").unwrap();
        let key_file = keys.path().join("visitor.pem");
        let visitor_key = SigningKey::load_or_generate(&key_file).unwrap();
        let ports = ops::dev::ports::free_many(2).unwrap();
        let [at, ops] = [ports[0], ports[1]].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let edge = Process::builder("edge")
            .arg("run")
            .env("CHATBUS_NATS_URL", &world.nats_url)
            .env("CHATBUS_NATS_CREDS_FILE", world.anybody())
            .env("CHATBUS_LISTEN", at.to_string())
            .env("CHATBUS_OPS_LISTEN", ops.to_string())
            .env("CHATBUS_VISITOR_KEY_FILE", key_file.display().to_string())
            .envs(UNLIMITED.map(|name| (format!("CHATBUS_LIMIT_{name}"), "0")))
            .ops_listener(ops);
        let mut edge = edge.spawn().unwrap();
        edge.ready(UP_WITHIN).await;
        let edge_url = format!("http://{at}");
        Self { world, visitor_key, edge_url, _edge: edge, _router: router, _keys: keys, _server: server }
    }

    pub fn url(&self, side: Side) -> &str {
        match side {
            Side::Admin => &self.world.url,
            Side::Edge => &self.edge_url,
        }
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = self.send_whatever_comes(request).await;
        assert!(answer.whole, "broken off: {answer:?}");
        answer
    }

    pub async fn send_whatever_comes(&self, request: reqwest::RequestBuilder) -> Answer {
        let request = request.build().unwrap();
        let (method, url) = (request.method().clone(), request.url().clone());
        let answer = Answer::of(self.world.http.execute(request).await.unwrap()).await;
        if answer.whole && url.as_str().starts_with(&self.world.url) {
            documented(&method, url.path(), answer.status, &answer.header_map(), &answer.json());
        }
        answer
    }

    /// A new visitor says something: the thread waits in the widget's group.
    pub async fn visit(&self, widget_key: &str, canary: &str) -> Visit {
        let key = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let body = json!({
            "widget_key": widget_key, "visitor_key": key, "initial_message": format!("{canary} asks"),
            "name": format!("{canary} Vera"), "email": format!("{canary}@visitor.example"),
            "custom": { "order": canary },
        });
        let url = format!("{}/v1/widget/session", self.edge_url);
        // What was made over HTTP just now reaches the edge a moment later.
        let got = wait_for(UP_WITHIN, "the edge to know the widget", async || {
            let answer = self.send(self.world.http.post(&url).json(&body)).await;
            if answer.status == 200 { Ok(answer.json()) } else { Err(answer.text()) }
        })
        .await;
        let text = |pointer: &str| got.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
        Visit {
            token: text("/token"),
            visitor: text("/visitor/id"),
            conversation: text("/conversation/id"),
            thread: text("/conversation/thread/id"),
        }
    }
}
