//! Who may call what: every route of the table with every kind of caller, against a committed table of statuses.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, time::Duration};

use admin_api::{Access, routes};
use bus_schema::{Shard, Timestamp, WidgetId, claims::Role};
use ops::{
    auth::{SigningKey, StaffGrant, VisitorGrant, mint_staff, mint_visitor},
    log::Log,
};
use serde_json::{Value, json};

use crate::{
    chat::{Chat, persister},
    world::{BusServer, Got, PASSWORD, Person, World},
};

const ABSENT: &str = "0190f3c2-5b7e-7c3a-9d4e-1f2a3b4c5d6e";
const CALLERS: [&str; 10] = [
    "none",
    "garbage",
    "expired",
    "visitor",
    "crossed",
    "revoked",
    "agent",
    "supervisor",
    "admin",
    "foreign",
];

/// A body that is well formed for the route.
fn body(name: &str, unique: usize) -> Option<Value> {
    let name_of = |what: &str| format!("{what} {unique}");
    Some(match name {
        "register" => {
            json!({ "tenant_name": "t", "name": "n", "email": format!("{unique}@m.example"), "password": PASSWORD })
        }
        "login" => json!({ "email": "nobody@m.example", "password": PASSWORD }),
        "forgot_password" => json!({ "email": format!("{unique}@nobody.example") }),
        "reset_password" | "accept_invitation" => json!({ "token": "x", "password": PASSWORD }),
        "change_password" => json!({ "current_password": "wrong password", "new_password": PASSWORD }),
        "complete_login" => json!({ "login_token": "x", "code": "000000" }),
        "prepare_totp" => json!({ "password": "wrong password" }),
        "confirm_totp" | "remove_mfa" => json!({ "code": "x" }),
        "add_device" => json!({ "platform": "web", "token": format!("t{unique}") }),
        "create_api_token" => json!({ "name": name_of("token"), "scopes": ["agents:read"] }),
        "patch_api_token" => json!({ "scopes": ["agents:read"] }),
        "refresh" => json!({ "refresh_token": "x" }),
        "patch_me" => json!({ "job_title": "x" }),
        "put_status" | "put_agent_status" => json!({ "status": "accepting" }),
        "create_agent" => json!({ "email": format!("{unique}@a.example"), "name": "n", "role": "agent" }),
        "patch_agent" => json!({ "name": "n" }),
        "create_group" => json!({ "name": name_of("group") }),
        "patch_group" => json!({ "queue_max": 1 }),
        "put_member" => json!({}),
        "create_widget" => json!({ "name": name_of("widget") }),
        "patch_widget" => json!({ "greeting": "x" }),
        "patch_tenant" => json!({ "thread_per_assignment": false }),
        "patch_visitor" => json!({ "name": "n" }),
        "create_tag" => json!({ "name": name_of("tag") }),
        "patch_tag" => json!({ "color": "#1f8a70" }),
        "create_canned_response" => json!({ "shortcut": format!("s{unique}"), "text": "x" }),
        "patch_canned_response" => json!({ "text": "y" }),
        "create_action_template" => json!({ "name": name_of("form"), "fields": [{ "name": "a" }] }),
        "patch_action_template" => json!({ "description": "y" }),
        "edit_event" => json!({ "text": "x" }),
        "bulk" => json!({ "ids": [ABSENT], "action": "close" }),
        "send_event" | "send_thread_event" => json!({ "content": "x" }),
        "assign" | "transfer" => json!({ "agent_id": ABSENT }),
        _ => return None,
    })
}

struct Scene {
    world: World,
    tokens: BTreeMap<&'static str, String>,
    people: BTreeMap<&'static str, Person>,
    /// Of the first tenant, by the first word of the path.
    ids: BTreeMap<&'static str, String>,
}

async fn scene(server: &BusServer) -> Scene {
    let world = World::on(server).await;
    persister(&world).await;
    let admin = world.register("acme").await;
    let foreign = world.register("mallory").await;
    let agent = world.agent(&admin, "bob", "agent").await;
    let supervisor = world.agent(&admin, "sue", "supervisor").await;
    let gone = world.agent(&admin, "gone", "admin").await;
    world.post(&gone, "/v1/auth/logout", json!(null)).await.is(204);
    let group = world.post(&admin, "/v1/groups", json!({ "name": "Support" })).await.is(201).id();
    let widget = world.post(&admin, "/v1/widgets", json!({ "name": "Site" })).await.is(201).id();
    let session =
        world.get(&admin, "/v1/auth/sessions").await.body["data"][0]["id"].as_str().unwrap().to_owned();
    let tag = world.post(&admin, "/v1/tags", json!({ "name": "Tag" })).await.is(201).id();
    let canned = json!({ "shortcut": "hi", "text": "Hello" });
    let canned = world.post(&admin, "/v1/canned-responses", canned).await.is(201).id();
    let form = json!({ "name": "Form", "fields": [{ "name": "a" }] });
    let form = world.post(&admin, "/v1/action-templates", form).await.is(201).id();
    let chat =
        Chat::start(&Log::new(world.bus().await, Shard(0)), &admin.tenant, Some(&group), "hello").await;
    let events = format!("/v1/conversations/{}/events?min_seq={}", chat.id(), chat.seq);
    let events = world.get(&admin, &events).await.is(200).body["data"].clone();
    let said = events.as_array().unwrap().iter().find(|event| event["kind"] == "message").unwrap();
    let said = said["id"].as_str().unwrap().to_owned();

    let key = SigningKey::load(Path::new(&world.key_file)).unwrap();
    let now = Timestamp::from_millis(
        i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO).as_millis()).unwrap(),
    );
    let claims = ops::auth::verify_staff(&keys_of(&key), &admin.token, now).unwrap();
    let grant = StaffGrant { agent: claims.sub, tenant: claims.tid, role: Role::Admin, session: claims.sid };
    let old = Timestamp::from_millis(now.millis() - 3_600_000);
    let visitor = VisitorGrant { visitor: chat.visitor, tenant: claims.tid, widget: WidgetId::NIL };
    let tokens = BTreeMap::from([
        ("garbage", "garbage".to_owned()),
        ("expired", mint_staff(&key, grant, old).token),
        ("visitor", mint_visitor(&SigningKey::generate().unwrap(), visitor, now).token),
        ("crossed", mint_visitor(&key, visitor, now).token),
        ("revoked", gone.token),
        ("agent", agent.token.clone()),
        ("supervisor", supervisor.token.clone()),
        ("admin", admin.token.clone()),
        ("foreign", foreign.token.clone()),
    ]);
    let ids = BTreeMap::from([
        ("agents", agent.id.clone()),
        ("groups", group),
        ("widgets", widget),
        ("auth", session),
        ("tags", tag),
        ("canned-responses", canned),
        ("action-templates", form),
        ("events", said),
        ("conversations", chat.id()),
        ("threads", chat.thread()),
        ("visitors", chat.visitor.to_string()),
    ]);
    let people = BTreeMap::from([
        ("agent", agent),
        ("supervisor", supervisor),
        ("admin", admin),
        ("foreign", foreign),
    ]);
    Scene { world, tokens, people, ids }
}

fn keys_of(key: &SigningKey) -> ops::auth::KeySet {
    let keys = ops::auth::KeySet::default();
    keys.add(ops::auth::Audience::Staff, key.public().clone());
    keys
}

impl Scene {
    /// Staff of the tenant name what is not there; the foreign admin names what is there, in the first tenant.
    async fn call(&self, route: &routes::Route, caller: &'static str, unique: usize) -> Got {
        let area = route.path.trim_start_matches("/v1/").split('/').next().unwrap();
        let id = if caller == "foreign" { self.ids.get(area).map_or(ABSENT, String::as_str) } else { ABSENT };
        let agent = if caller == "foreign" { self.people["agent"].id.as_str() } else { ABSENT };
        let tag = if caller == "foreign" { self.ids["tags"].as_str() } else { ABSENT };
        let mut path = route
            .path
            .replace("{id}", id)
            .replace("{agent_id}", agent)
            .replace("{tag_id}", tag)
            .replace("{provider}", "nobody");
        for (n, query) in route.query.iter().filter(|query| query.is_required()).enumerate() {
            write!(path, "{}{}=hello", if n == 0 { '?' } else { '&' }, query.name).unwrap();
        }
        let mut request = self.world.request(route.method.clone(), &path);
        let mut token = self.tokens.get(caller).cloned();
        if let ("logout", Some(person)) = (route.name, self.people.get(caller)) {
            token = Some(self.world.login(&person.email).await.token);
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body(route.name, unique) {
            request = request.json(&body);
        }
        self.world.send(request).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_every_caller_as_the_committed_table_says() {
    let server = BusServer::start().await;
    let scene = scene(&server).await;
    let mut made = format!("{:<7}{:<44}{}\n", "method", "path", CALLERS.map(|c| format!("{c:>11}")).concat());
    let mut unique = 0;
    for route in routes::table() {
        write!(made, "{:<7}{:<44}", route.method.as_str(), route.path).unwrap();
        for caller in CALLERS {
            unique += 1;
            let got = scene.call(&route, caller, unique).await;
            let status = got.status.as_u16();
            let at = format!("{} {} by {caller}: {:#}", route.method, route.path, got.body);
            assert_ne!(status, 500, "{at}");
            if let Access::Staff(least) = route.access {
                let role = match caller {
                    "agent" => Some(Role::Agent),
                    "supervisor" => Some(Role::Supervisor),
                    "admin" | "foreign" => Some(Role::Admin),
                    _ => None,
                };
                match role {
                    None => assert_eq!(status, 401, "{at}"),
                    Some(role) if role < least => assert_eq!(status, 403, "{at}"),
                    Some(_) => assert!(status != 401 && status != 403 || route.name == "assign", "{at}"),
                }
            }
            if caller == "foreign" && route.path.contains("{id}") {
                assert_eq!(status, 404, "{at}");
            }
            if status >= 400 {
                assert_eq!(got.headers["content-type"], "application/problem+json", "{at}");
            }
            let text = got.body.to_string();
            if caller == "foreign" {
                let own = &scene.people["admin"];
                assert!(!text.contains(&own.tenant) && !text.contains(&own.email), "{at}");
            }
            write!(made, "{status:>11}").unwrap();
        }
        made.push('\n');
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/matrix.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == made, "run UPDATE=1 cargo test -p admin-api --test it matrix, and review:\n{made}");
}
