//! A tenant with one thing of every kind, each of which says whose it is.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
    time::Duration,
};

use bus_schema::protocol::Action;
use ops::{
    client::{Client, Options, Tokens, new_client_id},
    testing::wait_for,
};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    scene::{Scene, Visit},
    targets::Side,
};
use crate::world::Person;

const WITHIN: Duration = Duration::from_secs(20);
/// More than anybody is assigned before what was made for earlier calls is closed.
const CAPACITY: u32 = 100;

/// A thing of each kind, by kind.
pub type Ids = BTreeMap<&'static str, String>;

pub struct Tenant {
    pub admin: Person,
    pub supervisor: Person,
    pub agent: Person,
    /// An agent in no group.
    pub outsider: Person,
    /// A token whose session was ended.
    pub revoked: String,
    /// An API token that may do everything a program may.
    pub bot: String,
    pub visit: Visit,
    /// Another visitor of the same tenant.
    pub other: Visit,
    pub ids: Ids,
    /// A word in every text of this tenant.
    pub canary: String,
    /// One that only staff may see.
    pub staff_canary: String,
    /// One that stands in what the other visitor said.
    pub other_canary: String,
    /// Conversations that were made for one call, the oldest first.
    pub made: Mutex<VecDeque<String>>,
}

fn word(what: &str) -> String {
    format!("{what}{}", &Uuid::new_v4().simple().to_string()[..12])
}

impl Tenant {
    pub async fn open(scene: &Scene) -> Self {
        let (canary, staff_canary, other_canary) = (word("canary"), word("staffonly"), word("othervisitor"));
        let world = &scene.world;
        let admin = world.register(&canary).await;
        let agent = world.agent(&admin, &format!("{canary}-bob"), "agent").await;
        let outsider = world.agent(&admin, &format!("{canary}-out"), "agent").await;
        let supervisor = world.agent(&admin, &format!("{canary}-sue"), "supervisor").await;
        let gone = world.agent(&admin, &format!("{canary}-gone"), "admin").await;
        world.post(&gone, "/v1/auth/logout", json!(null)).await.is(204);
        let make = async |path: &str, body: Value| world.post(&admin, path, body).await.is(201);
        let group = json!({ "name": format!("{canary} Support"), "is_default": true });
        let group = make("/v1/groups", group).await.id();
        for person in [&admin, &agent, &supervisor] {
            let path = format!("/v1/agents/{}", person.id);
            let roomy =
                json!({ "capacity": CAPACITY, "group_ids": [group], "job_title": format!("{canary} job") });
            world.patch(&admin, &path, roomy).await.is(200);
        }
        let widget = json!({ "name": format!("{canary} Site"), "greeting": format!("{canary} hello") });
        let widget = make("/v1/widgets", widget).await;
        let widget_key = widget.body["key"].as_str().unwrap().to_owned();
        let spare =
            json!({ "email": format!("{canary}-spare@spare.example"), "name": canary, "role": "agent" });
        let scopes: Vec<&str> = SCOPES.to_vec();
        let bot = make("/v1/api-tokens", json!({ "name": format!("{canary} CRM"), "scopes": scopes })).await;
        let mut ids = Ids::from([
            ("tenant", admin.tenant.clone()),
            ("agent", make("/v1/agents", spare).await.id()),
            ("group", group),
            ("widget", widget.id()),
            ("widget_key", widget_key.clone()),
            ("tag", make("/v1/tags", json!({ "name": format!("{canary} tag") })).await.id()),
            (
                "canned",
                make("/v1/canned-responses", json!({ "shortcut": canary, "text": canary })).await.id(),
            ),
            ("template", make("/v1/action-templates", form(&canary)).await.id()),
            ("api_token", bot.id()),
            ("device", make("/v1/auth/me/devices", json!({ "platform": "web", "token": canary })).await.id()),
        ]);
        let spare = world.login(&admin.email).await;
        ids.insert("session", session_of(&spare.token));
        let visit = scene.visit(&widget_key, &canary).await;
        let other = scene.visit(&widget_key, &other_canary).await;
        ids.insert("conversation", visit.conversation.clone());
        ids.insert("thread", visit.thread.clone());
        ids.insert("visitor", visit.visitor.clone());
        let mut tenant = Self {
            revoked: gone.token,
            bot: bot.body["token"].as_str().unwrap().to_owned(),
            admin,
            supervisor,
            agent,
            outsider,
            visit,
            other,
            ids,
            canary,
            staff_canary,
            other_canary,
            made: Mutex::default(),
        };
        tenant.talk(scene).await;
        tenant
    }

    /// The agent answers, writes a note, and both sides have a file.
    async fn talk(&mut self, scene: &Scene) {
        let world = &scene.world;
        let home = format!("/v1/conversations/{}", self.visit.conversation);
        self.assign(scene, &self.visit.conversation, &self.agent).await;
        let events = format!("{home}/events");
        let said = json!({ "content": format!("{} answers", self.canary) });
        let said = world.post(&self.agent, &events, said).await.is(201);
        let note = json!({ "event": {
            "kind": "message", "client_id": "note", "visibility": "agents",
            "data": { "text": format!("{} {} note", self.canary, self.staff_canary) },
        } });
        let note = world.post(&self.agent, &events, note).await.is(201);
        let tag = format!("{home}/tags/{}", self.ids["tag"]);
        world.call(Method::PUT, &self.agent, &tag, json!(null)).await.is(204);
        let seq = note.body["seq"].as_u64().unwrap();
        world.get(&self.admin, &format!("{events}?min_seq={seq}")).await.is(200);
        self.ids.insert("event", said.body["event_id"].as_str().unwrap().to_owned());
        let url = format!("{}{home}/attachments", scene.url(Side::Edge));
        let (kind, form) = file(&self.canary);
        let request =
            world.http.post(url).bearer_auth(&self.visit.token).header("content-type", kind).body(form);
        let uploaded = scene.send(request).await;
        assert_eq!(uploaded.status, 201, "{}", uploaded.text());
        let mut file = uploaded.json();
        file.as_object_mut().unwrap().remove("expires_at");
        self.link(scene, file).await;
    }

    /// The visitor sends what they uploaded, and gets the link to it.
    async fn link(&mut self, scene: &Scene, file: Value) {
        let client = Client::start(Options::new(
            vec![scene.url(Side::Edge).to_owned()],
            Tokens::fixed(&self.visit.token),
        ));
        client.ready(WITHIN).await.unwrap();
        let client_id = new_client_id();
        let event = json!({ "kind": "file", "client_id": client_id, "data": file }).to_string();
        let conversation = self.visit.conversation.parse().unwrap();
        client.send_json(conversation, None, client_id, event.into()).unwrap().done().await.unwrap();
        let asked = json!({ "attachment_id": file["attachment_id"] });
        let got: Value = client.request(Action::GetAttachment, &asked).await.unwrap();
        let link: reqwest::Url = got["url"].as_str().unwrap().parse().unwrap();
        let parts: BTreeMap<_, _> = link.query_pairs().into_owned().collect();
        self.ids.insert("attachment", file["attachment_id"].as_str().unwrap().to_owned());
        for name in ["expires", "signature"] {
            self.ids.insert(name, parts[name].clone());
        }
        client.close().await;
    }

    /// Once admin-api and the router know the conversation.
    pub async fn assign(&self, scene: &Scene, conversation: &str, to: &Person) {
        let path = format!("/v1/conversations/{conversation}/assign");
        wait_for(WITHIN, "the thread to be assigned", async || {
            let got = scene.world.post(&self.supervisor, &path, json!({ "agent_id": to.id })).await;
            if got.status == 200 { Ok(()) } else { Err(got.body.to_string()) }
        })
        .await;
    }

    /// What only they may read who see the conversations.
    pub fn of_conversations(&self) -> Vec<&str> {
        let visits = [&self.visit, &self.other];
        let ids = visits.into_iter().flat_map(|visit| [&visit.conversation, &visit.thread, &visit.visitor]);
        ids.chain([&self.ids["event"], &self.staff_canary, &self.other_canary]).map(String::as_str).collect()
    }

    /// What nobody outside may ever read: all ids, and the word in all texts.
    pub fn secrets(&self) -> Vec<&str> {
        let people = [&self.admin, &self.supervisor, &self.agent].map(|person| person.id.as_str());
        let others = [&self.other.conversation, &self.other.thread, &self.other.visitor].map(String::as_str);
        let words = [&self.canary, &self.staff_canary, &self.other_canary].map(String::as_str);
        let ids = self.ids.values().map(String::as_str);
        ids.chain(people).chain(others).chain(words).collect()
    }
}

const SCOPES: [&str; 7] = [
    "agents:read",
    "agents:write",
    "analytics:read",
    "configuration:read",
    "configuration:write",
    "conversations:read",
    "conversations:write",
];

pub fn form(name: &str) -> Value {
    json!({ "name": name, "description": name, "fields": [{ "name": "a" }] })
}

/// A form with a small file, and its content type.
pub fn file(name: &str) -> (String, String) {
    let disposition = format!("form-data; name=\"file\"; filename=\"{name}.txt\"");
    let head = format!("--b\r\nContent-Disposition: {disposition}\r\nContent-Type: text/plain\r\n\r\n");
    ("multipart/form-data; boundary=b".to_owned(), format!("{head}{name}\r\n--b--\r\n"))
}

/// The session that an access token is of.
pub fn session_of(token: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["sid"].as_str().unwrap().to_owned()
}
