//! A small server that speaks the protocol over real sockets: one conversation, one log, and faults on demand.

use std::sync::{Arc, Mutex, MutexGuard};

use bus_schema::{
    AgentId, Author, ConversationId, ErrorBody, EventId, SessionId, TenantId, Timestamp, VisitorId,
    event::AuthorType,
    limits::Limits,
    protocol::{
        Conv, ErrorPayload, Hello, Login, LoginAnswer, PROTOCOL, Profile, Push, Request, Response,
        SendAnswer, SendEvent, VisitorView,
    },
};
use bytes::Bytes;
use fastwebsockets::{Frame, OpCode, Payload, upgrade};
use http_body_util::Empty;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{json, value::RawValue};
use tokio::{net::TcpListener, sync::mpsc};
use uuid::Uuid;

/// The one conversation.
pub const CONVERSATION: ConversationId = ConversationId::from_uuid(Uuid::from_u128(7));

/// What is done to the next send.
#[derive(Clone)]
pub enum Mishap {
    /// Stored, and the connection dies before anybody is told.
    StoredThenCut,
    /// The connection dies before it is stored.
    Cut,
    /// Refused.
    Refuse(ErrorBody),
    /// Stored and pushed; the answer never comes.
    Unanswered,
}

#[derive(Default)]
pub struct World {
    /// Events as readers see them, with the name of each send.
    pub log: Vec<(u64, String, Box<RawValue>)>,
    pub mishaps: Vec<Mishap>,
    /// Whether each send that came said `retry`, by its name.
    pub retries: Vec<(String, bool)>,
    pub resumed: u64,
    /// Answer the next resume with `reset`.
    pub reset_next: bool,
    /// Close with this instead of answering the next login.
    pub close_next_login: Option<u16>,
    pub tokens: Vec<String>,
    sockets: Vec<mpsc::Sender<Out>>,
}

#[derive(Clone)]
enum Out {
    Text(String),
    Close(u16),
    Cut,
}

#[derive(Clone)]
pub struct Server {
    pub url: String,
    world: Arc<Mutex<World>>,
}

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { url, world: Arc::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                let service = service_fn(move |request| {
                    let serving = serving.clone();
                    async move { serving.upgrade(request) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                tokio::spawn(connection);
            }
        });
        server
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn log(&self) -> Vec<(u64, String)> {
        self.world().log.iter().map(|(seq, _, raw)| (*seq, raw.get().to_owned())).collect()
    }

    /// An event of somebody else's.
    pub fn say(&self, text: &str) {
        let name = format!("other-{}", self.world().log.len());
        self.store(&name, agent(), &json!({ "text": text }), true);
    }

    pub fn cut_all(&self) {
        self.tell_all(&Out::Cut);
    }

    pub fn close_all(&self, code: u16) {
        self.tell_all(&Out::Close(code));
    }

    pub fn push_all(&self, action: &'static str, payload: serde_json::Value) {
        self.tell_all(&text(&Push::new(action, payload)));
    }

    fn tell_all(&self, out: &Out) {
        self.world().sockets.retain(|socket| socket.try_send(out.clone()).is_ok());
    }

    fn store(&self, client_id: &str, author: Author, data: &serde_json::Value, push: bool) -> SendAnswer {
        let event_id = EventId::of_send(TenantId::NIL, CONVERSATION, author.id, client_id);
        let mut world = self.world();
        if let Some((seq, ..)) = world.log.iter().find(|(_, name, _)| name == client_id) {
            return SendAnswer { event_id, seq: *seq, duplicate: true };
        }
        let seq = world.log.len() as u64 * 3 + 1;
        let event = json!({
            "seq": seq, "at": Timestamp::from_millis(1_795_222_923_004), "v": 1, "kind": "message", "id": event_id,
            "tenant_id": TenantId::NIL, "author": author, "client_id": client_id, "visibility": "all", "data": data,
        });
        let raw = RawValue::from_string(event.to_string()).unwrap();
        world.log.push((seq, client_id.to_owned(), raw.clone()));
        drop(world);
        if push {
            self.tell_all(&event_push(seq, &raw));
        }
        SendAnswer { event_id, seq, duplicate: false }
    }

    fn upgrade(
        &self,
        mut request: hyper::Request<Incoming>,
    ) -> Result<hyper::Response<Empty<Bytes>>, std::io::Error> {
        let (response, socket) = upgrade::upgrade(&mut request).map_err(std::io::Error::other)?;
        let server = self.clone();
        tokio::spawn(async move {
            let Ok(socket) = socket.await else { return };
            server.serve(socket).await;
        });
        Ok(response)
    }

    async fn serve(&self, socket: fastwebsockets::WebSocket<TokioIo<hyper::upgrade::Upgraded>>) {
        let (mut reader, mut writer) = socket.split(tokio::io::split);
        let (sender, mut outs) = mpsc::channel::<Out>(1_024);
        let mut writing = tokio::spawn(async move {
            while let Some(out) = outs.recv().await {
                let sent = match out {
                    Out::Text(text) => writer.write_frame(Frame::text(text.into_bytes().into())).await,
                    Out::Close(code) => writer.write_frame(Frame::close(code, b"told to")).await,
                    Out::Cut => return,
                };
                if sent.is_err() {
                    return;
                }
            }
        });
        let hello = Hello {
            protocol: PROTOCOL,
            edge_id: self.url.clone(),
            server_time: Timestamp::default(),
            ping_interval_ms: 25_000,
            limits: Limits::default(),
        };
        sender.send(text(&Push::new("hello", hello))).await.unwrap();
        let reading = async {
            while let Ok(frame) =
                reader.read_frame::<_, std::io::Error>(&mut |_| std::future::ready(Ok(()))).await
            {
                if frame.opcode == OpCode::Text && !self.answer(&frame.payload, &sender) {
                    return;
                }
            }
        };
        tokio::select! {
            () = reading => {}
            _ = &mut writing => {}
        }
        writing.abort();
    }

    /// False: the connection is to die.
    fn answer(&self, payload: &Payload<'_>, sender: &mpsc::Sender<Out>) -> bool {
        let request: Request<'_> = serde_json::from_slice(payload).unwrap();
        let (id, action) = (request.request_id.as_ref(), request.action.as_ref());
        let body = request.payload.unwrap().get();
        let say = |out: Out| sender.try_send(out).unwrap();
        match action {
            "login" => self.log_in(id, serde_json::from_str(body).unwrap(), sender),
            "send_event" => {
                let send: SendEvent = serde_json::from_str(body).unwrap();
                let name = send.event.client_id.as_str();
                self.world().retries.push((name.to_owned(), send.retry));
                let mishap = self.world().mishaps.pop();
                let data = serde_json::from_str(send.event.data.get()).unwrap();
                match mishap {
                    Some(Mishap::Cut) => return false,
                    Some(Mishap::StoredThenCut) => {
                        self.store(name, visitor(), &data, false);
                        return false;
                    }
                    Some(Mishap::Refuse(error)) => {
                        say(text(&Response::<ErrorPayload>::failed(id, action, error)));
                    }
                    Some(Mishap::Unanswered) => drop(self.store(name, visitor(), &data, true)),
                    None => {
                        let answer = self.store(name, visitor(), &data, true);
                        say(text(&Response::ok(id, action, answer)));
                    }
                }
            }
            _ => say(text(&Response::ok(id, action, json!({})))),
        }
        true
    }

    fn log_in(&self, id: &str, login: Login, sender: &mpsc::Sender<Out>) {
        let say = |out: Out| sender.try_send(out).unwrap();
        let mut world = self.world();
        world.tokens.push(login.token);
        if let Some(code) = world.close_next_login.take() {
            return say(Out::Close(code));
        }
        world.sockets.push(sender.clone());
        let resume = login.resume.first().map(|resume| resume.cursor.parse::<u64>().unwrap());
        let reset = std::mem::take(&mut world.reset_next);
        let conv = |whole: bool| Conv {
            id: CONVERSATION,
            visitor: VisitorView {
                id: VisitorId::from_uuid(visitor().id),
                name: None,
                email: None,
                custom: None,
                online: true,
            },
            thread: None,
            events: whole.then(|| world.log.iter().map(|(.., raw)| raw.clone()).collect()),
            has_more: false,
            cursor: whole.then(|| world.log.last().map_or(0, |(seq, ..)| *seq).to_string()),
            unread: 0,
            marks: Vec::new(),
        };
        let profile = Profile {
            kind: AuthorType::Visitor,
            id: visitor().id,
            name: None,
            role: None,
            status: None,
            capacity: None,
            group_ids: None,
        };
        let answer = LoginAnswer {
            profile,
            session_id: SessionId::NIL,
            token_expires_at: Timestamp::default(),
            conversations: vec![conv(resume.is_none())],
            people: Vec::new(),
        };
        say(text(&Response::ok(id, "login", answer)));
        if let Some(after) = resume {
            if reset {
                let push =
                    json!({ "conversation_id": CONVERSATION, "reason": "epoch", "conversation": conv(true) });
                say(text(&Push::new("reset", push)));
            } else {
                for (seq, _, raw) in world.log.iter().filter(|(seq, ..)| *seq > after) {
                    say(event_push(*seq, raw));
                }
                let cursor = world.log.last().map_or(0, |(seq, ..)| *seq).to_string();
                say(text(&Push::new(
                    "caught_up",
                    json!({ "conversation_id": CONVERSATION, "cursor": cursor }),
                )));
            }
            world.resumed += 1;
        }
    }
}

fn event_push(seq: u64, raw: &RawValue) -> Out {
    text(&Push::new(
        "event",
        json!({ "conversation_id": CONVERSATION, "event": raw, "cursor": seq.to_string() }),
    ))
}

fn text(frame: &impl serde::Serialize) -> Out {
    Out::Text(serde_json::to_string(frame).unwrap())
}

fn visitor() -> Author {
    Author::visitor(VisitorId::from_uuid(Uuid::from_u128(1)))
}

fn agent() -> Author {
    Author::agent(AgentId::from_uuid(Uuid::from_u128(2)))
}
