//! Everyone who may want something of a conversation, and what they would ask about it.

use std::time::Duration;

use bus_schema::{
    AgentId, AttachmentId, ConversationId, SessionId, Shard, TagId, TenantId, VisitorId, WidgetId,
    claims::Role,
    config::{AgentRecord, Record, TagRecord, TenantRecord},
    protocol::Action,
};
use ops::{
    auth::{self, StaffGrant, VisitorGrant},
    testing::wait_for,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    client::{Client, message},
    files,
    routed::Routed,
    world::{Edge, World, now, widget},
};

const SOON: Duration = Duration::from_secs(20);

/// What nobody may see whose business the conversation is not. Nobody ever sends it themselves.
pub const SECRETS: &[&str] = &["Sesame", "ali-baba@", "cave-of-wonders", "forty-thieves", "open-1"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The visitor whose conversation it is.
    Owner,
    OtherVisitor,
    ForeignVisitor,
    Assignee,
    /// Of the same group.
    Colleague,
    /// Of no group.
    Outsider,
    Supervisor,
    ForeignAdmin,
    Banned,
    Revoked,
}

impl Caller {
    pub const ALL: [Caller; 10] = [
        Caller::Owner,
        Caller::OtherVisitor,
        Caller::ForeignVisitor,
        Caller::Assignee,
        Caller::Colleague,
        Caller::Outsider,
        Caller::Supervisor,
        Caller::ForeignAdmin,
        Caller::Banned,
        Caller::Revoked,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Caller::Owner => "owner",
            Caller::OtherVisitor => "other visitor",
            Caller::ForeignVisitor => "foreign visitor",
            Caller::Assignee => "assignee",
            Caller::Colleague => "colleague",
            Caller::Outsider => "outsider",
            Caller::Supervisor => "supervisor",
            Caller::ForeignAdmin => "foreign admin",
            Caller::Banned => "banned",
            Caller::Revoked => "revoked",
        }
    }

    /// None: a visitor.
    pub const fn role(self) -> Option<Role> {
        match self {
            Caller::Owner | Caller::OtherVisitor | Caller::ForeignVisitor | Caller::Banned => None,
            Caller::Assignee | Caller::Colleague | Caller::Outsider | Caller::Revoked => Some(Role::Agent),
            Caller::Supervisor => Some(Role::Supervisor),
            Caller::ForeignAdmin => Some(Role::Admin),
        }
    }

    /// Whether the conversation is none of theirs.
    pub const fn is_stranger(self) -> bool {
        matches!(
            self,
            Caller::OtherVisitor | Caller::ForeignVisitor | Caller::Outsider | Caller::ForeignAdmin
        )
    }

    /// Whether they may not be here at all.
    pub const fn is_barred(self) -> bool {
        matches!(self, Caller::Banned | Caller::Revoked)
    }
}

/// Two tenants on one edge, with a real router.
pub struct People {
    pub world: World,
    pub edge: Edge,
    pub tag: TagId,
    foreign: Foreign,
    barred: [String; 2],
    _router: Routed,
}

struct Foreign {
    tenant: TenantId,
    widget: WidgetId,
    admin: AgentId,
}

/// A conversation with an agent, and its visitor's token.
#[derive(Debug, Clone)]
pub struct Target {
    pub conversation: ConversationId,
    pub visitor: VisitorId,
    pub thread: String,
    pub seq: u64,
    pub token: String,
    /// Named by an event of this conversation, once [`People::attach`] did so.
    pub attachment: Option<AttachmentId>,
}

impl People {
    pub async fn meet() -> Self {
        let world = World::new().await;
        let router = world.routed().await;
        let tag = TagId::from_uuid(Uuid::now_v7());
        world
            .put(&Record::Tag(TagRecord {
                tag_id: tag,
                tenant_id: world.tenant,
                name: "urgent".into(),
                color: None,
                revision: 1,
                deleted: false,
            }))
            .await;
        // The test gives one agent more than anybody could hold.
        let busy = match world.renamed(0, "Agent 0") {
            Record::Agent(record) => Record::Agent(AgentRecord { capacity: 10_000, ..record }),
            other => other,
        };
        world.put(&busy).await;
        let foreign = foreign(&world).await;
        // Far more is asked from one address and by one person than people do.
        let limits = [
            "LIMIT_SESSIONS_PER_MINUTE_PER_ADDRESS",
            "LIMIT_SOCKET_LOGINS_PER_MINUTE_PER_ADDRESS",
            "LIMIT_STARTS_PER_SECOND_PER_TENANT",
            "LIMIT_EVENTS_PER_SECOND_PER_TENANT",
            "LIMIT_EVENTS_PER_SECOND",
            "LIMIT_CONNECTIONS_PER_AGENT",
        ];
        let edge = world.edge_with(&limits.map(|name| (name, "0"))).await;
        let mut people = Self { world, edge, tag, foreign, barred: Default::default(), _router: router };
        people.bar().await;
        people
    }

    async fn bar(&mut self) {
        let session = self.world.session(&self.edge, [0xbb; 32], json!({ "initial_message": "Hi" })).await;
        let visitor = session["visitor"]["id"].as_str().unwrap().parse().unwrap();
        self.world.ban(visitor).await;
        let session_id = SessionId::from_uuid(Uuid::now_v7());
        let (agent, tenant) = (self.world.agents[1], self.world.tenant);
        let grant = StaffGrant { agent, tenant, role: Role::Agent, session: session_id };
        let token = auth::mint_staff(&self.world.staff_key, grant, now()).token;
        self.world.revoke(session_id).await;
        self.barred = [session["token"].as_str().unwrap().to_owned(), token];
        for token in &self.barred {
            wait_for(SOON, "the edge to know who may not be here", async || {
                let mut client = Client::connect(self.edge.at, None).await.unwrap();
                let answer = client.request("login", crate::client::login(token, json!({}))).await;
                answer["success"] == false
            })
            .await;
        }
    }

    /// A token of this person; a new one of a new session where it is staff.
    pub fn token(&self, caller: Caller, target: &Target) -> String {
        let World { tenant, widget, agents, visitor_key, .. } = &self.world;
        let visits = |tenant, widget| {
            let visitor = VisitorId::from_key(tenant, &[0xee; 32]);
            auth::mint_visitor(visitor_key, VisitorGrant { visitor, tenant, widget }, now()).token
        };
        let Foreign { tenant: foreign, widget: foreign_widget, admin } = self.foreign;
        match caller {
            Caller::Owner => target.token.clone(),
            Caller::OtherVisitor => visits(*tenant, *widget),
            Caller::ForeignVisitor => visits(foreign, foreign_widget),
            Caller::Assignee => self.world.staff_token(agents[0], Role::Agent),
            Caller::Colleague => self.world.staff_token(agents[1], Role::Agent),
            Caller::Outsider => self.world.staff_token(agents[2], Role::Agent),
            Caller::Supervisor => self.world.staff_token(agents[2], Role::Supervisor),
            Caller::ForeignAdmin => {
                let session = SessionId::from_uuid(Uuid::now_v7());
                let grant = StaffGrant { agent: admin, tenant: foreign, role: Role::Admin, session };
                auth::mint_staff(&self.world.staff_key, grant, now()).token
            }
            Caller::Banned => self.barred[0].clone(),
            Caller::Revoked => self.barred[1].clone(),
        }
    }

    /// A new conversation, full of secrets; the agent whose client this is has it.
    pub async fn talk(&self, assignee: &mut Client) -> Target {
        let more = json!({
            "name": "Sesame Open", "email": "ali-baba@example.com", "custom": { "den": "cave-of-wonders" },
            "initial_message": "Say forty-thieves", "initial_client_id": "open-1",
        });
        let session = self.world.session(&self.edge, rand::random(), more).await;
        let conversation = &session["conversation"];
        wait_for(SOON, "the router to know of the thread", async || {
            let answer = assignee.request("take", json!({ "conversation_id": conversation["id"] })).await;
            (answer["success"] == true).then_some(()).ok_or_else(|| answer.to_string())
        })
        .await;
        let note = json!({
            "conversation_id": conversation["id"],
            "event": {
                "kind": "message", "client_id": "n-1", "visibility": "agents",
                "data": { "text": "Sesame is the word" },
            },
        });
        assert_eq!(assignee.request("send_event", note).await["success"], true);
        Target {
            conversation: conversation["id"].as_str().unwrap().parse().unwrap(),
            visitor: session["visitor"]["id"].as_str().unwrap().parse().unwrap(),
            thread: conversation["thread"]["id"].as_str().unwrap().to_owned(),
            seq: conversation["events"][0]["seq"].as_u64().unwrap(),
            token: session["token"].as_str().unwrap().to_owned(),
            attachment: None,
        }
    }

    /// Puts a file into it.
    pub async fn attach(&self, assignee: &mut Client, target: &mut Target) {
        let token = self.world.staff_token(self.world.agents[0], Role::Agent);
        let conversation = json!(target.conversation);
        let file = files::uploaded(self.edge.at, &conversation, &token, "Sesame.png", files::PNG).await;
        let sent = assignee.request("send_event", files::file_event(&conversation, "f-1", &file)).await;
        assert_eq!(sent["success"], true, "{sent}");
        target.attachment = Some(file["attachment_id"].as_str().unwrap().parse().unwrap());
    }

    /// What an action about this conversation looks like.
    pub fn payload(&self, action: Action, target: &Target) -> Value {
        let about = json!({ "conversation_id": target.conversation });
        let with = |name: &str, value: Value| {
            let mut payload = about.clone();
            payload[name] = value;
            payload
        };
        match action {
            Action::Login => crate::client::login(&target.token, json!({})),
            Action::RefreshToken => json!({ "token": target.token }),
            Action::Ping | Action::Logout | Action::ListAgents | Action::ListVisitors => json!({}),
            Action::StartThread => json!({ "group_id": self.world.group }),
            Action::SendEvent => message(&json!(target.conversation), "x-1", "Hello"),
            Action::MarkDelivered | Action::MarkRead => with("up_to_seq", json!(target.seq)),
            Action::Typing => with("on", json!(true)),
            Action::Preview => with("text", json!("Hel")),
            Action::GetAttachment => {
                json!({ "attachment_id": target.attachment.map_or(Uuid::nil(), |id| id.uuid()) })
            }
            Action::Rate => with("score", json!(5)),
            Action::UpdateVisitor => json!({ "name": "Somebody" }),
            Action::SetPage => json!({ "url": "https://shop.example/" }),
            Action::SetStatus => json!({ "status": "not_accepting" }),
            Action::ListConversations => json!({ "view": "all", "subscribe": true }),
            Action::Assign => with("agent_id", json!(self.world.agents[1])),
            Action::SetPriority => with("priority", json!("high")),
            Action::SetSkills => with("skills", json!(["latin"])),
            Action::Transfer => {
                let mut payload = with("to", json!({ "group_id": self.world.group }));
                payload["queue"] = json!(true);
                payload
            }
            Action::Tag | Action::Untag => with("tag_id", json!(self.tag)),
            Action::ListEvents
            | Action::ListThreads
            | Action::CloseThread
            | Action::Watch
            | Action::Unwatch
            | Action::Join
            | Action::Leave
            | Action::Take
            | Action::Decline => about,
        }
    }
}

async fn foreign(world: &World) -> Foreign {
    let (tenant, widget_id) = (TenantId::from_uuid(Uuid::now_v7()), WidgetId::from_uuid(Uuid::now_v7()));
    let admin = AgentId::from_uuid(Uuid::now_v7());
    let (revision, deleted) = (1, false);
    let records = [
        Record::Tenant(TenantRecord {
            tenant_id: tenant,
            name: "Neighbour".into(),
            shard: Shard(0),
            default_group_id: None,
            console_origins: Vec::new(),
            thread_per_assignment: false,
            routing: Default::default(),
            revision,
            deleted,
        }),
        Record::Widget(widget(tenant, widget_id, "pk_foreign")),
        Record::Agent(AgentRecord {
            name: "Neighbour's admin".into(),
            role: Role::Admin,
            ..AgentRecord::new(tenant, admin, 5)
        }),
    ];
    for record in &records {
        world.put(record).await;
    }
    Foreign { tenant, widget: widget_id, admin }
}

/// Which secrets a frame holds that its reader has no business with.
pub fn secrets(frame: &Value) -> Vec<&'static str> {
    let text = frame.to_string();
    SECRETS.iter().copied().filter(|secret| text.contains(secret)).collect()
}
