//! A WebSocket client that can also say what no client should.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::http::Answer;

/// Nothing here takes longer unless something is broken: a send whose outcome stays unknown is looked for three times.
const PATIENCE: Duration = Duration::from_secs(60);
const STORED_WITHIN: Duration = Duration::from_secs(30);

pub struct Client {
    pub socket: TcpStream,
    /// Bytes read and not yet parsed.
    buffer: Vec<u8>,
    /// Frames read while waiting for others.
    seen: VecDeque<Value>,
    /// All that was ever read.
    pub read: Vec<Value>,
    requests: u64,
    /// It was told that it is logged in as a visitor.
    is_visitor: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Got {
    Frame(Value),
    Closed(u16),
    /// Without a close frame.
    Gone,
}

impl Client {
    /// Connects; an error holds the status of the refused handshake.
    pub async fn connect(to: SocketAddr, origin: Option<&str>) -> Result<Self, u16> {
        let headers: Vec<_> = origin.map(|origin| ("origin", origin)).into_iter().collect();
        Self::connect_with(to, &headers).await.map_err(|answer| answer.status)
    }

    /// Connects with more headers; an error holds the answer that refused it.
    pub async fn connect_with(to: SocketAddr, headers: &[(&str, &str)]) -> Result<Self, Answer> {
        let socket = TcpStream::connect(to).await.expect("the edge listens");
        Self::shake_hands(socket, headers).await
    }

    /// Becomes a WebSocket on a connection that is there.
    pub async fn shake_hands(mut socket: TcpStream, headers: &[(&str, &str)]) -> Result<Self, Answer> {
        let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!(
            "GET /v1/ws HTTP/1.1\r\nhost: test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut buffer = Vec::new();
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(socket.read_buf(&mut buffer).await.unwrap() > 0, "the handshake is answered");
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        buffer.drain(..end);
        if status == 101 {
            let (seen, read) = (VecDeque::new(), Vec::new());
            return Ok(Self { socket, buffer, seen, read, requests: 0, is_visitor: false });
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.expect("a refusal has a body").parse().unwrap();
        while buffer.len() < length {
            assert!(socket.read_buf(&mut buffer).await.unwrap() > 0, "the whole refusal comes");
        }
        Err(Answer { status, body: serde_json::from_slice(&buffer).unwrap_or(Value::Null), head })
    }

    /// Connected and logged in; gives the answer's payload.
    pub async fn login(to: SocketAddr, token: &str) -> (Self, Value) {
        Self::login_with(to, token, json!({})).await
    }

    pub async fn login_with(to: SocketAddr, token: &str, more: Value) -> (Self, Value) {
        let mut client = Self::connect(to, None).await.expect("the handshake succeeds");
        client.push("hello").await;
        let answer = client.request("login", login(token, more)).await;
        assert_eq!(answer["success"], true, "{answer}");
        let payload = answer["payload"].clone();
        (client, payload)
    }

    pub async fn text(&mut self, text: &str) {
        self.raw(&frame(0x81, text.as_bytes())).await;
    }

    pub async fn raw(&mut self, bytes: &[u8]) {
        // A server that has closed already shows in the next read.
        let _ = self.socket.write_all(bytes).await;
    }

    /// Sends a request and gives its id.
    pub async fn send(&mut self, action: &str, payload: Value) -> String {
        self.requests += 1;
        let id = self.requests.to_string();
        self.text(&json!({ "request_id": id, "action": action, "payload": payload }).to_string()).await;
        id
    }

    /// Sends a request and waits for its answer.
    pub async fn request(&mut self, action: &str, payload: Value) -> Value {
        let id = self.send(action, payload).await;
        self.answer(&id).await
    }

    /// Sends an event, again whenever that is told to help, until it is stored; the answer.
    pub async fn stored(&mut self, mut send: Value) -> Value {
        let until = Instant::now() + STORED_WITHIN;
        loop {
            let answer = self.request("send_event", send.clone()).await;
            if answer["success"] == true {
                return answer;
            }
            let error = &answer["payload"]["error"];
            assert!(error["retryable"] == true && Instant::now() < until, "{answer}");
            sleep(Duration::from_millis(error["after_ms"].as_u64().unwrap().max(20))).await;
            send["retry"] = true.into();
        }
    }

    pub async fn answer(&mut self, id: &str) -> Value {
        self.find(|frame| frame["request_id"] == id).await
    }

    /// The next push of this action; its payload.
    pub async fn push(&mut self, action: &str) -> Value {
        let frame = self.find(|frame| frame["type"] == "push" && frame["action"] == action).await;
        frame["payload"].clone()
    }

    /// The next event of this kind.
    pub async fn event(&mut self, kind: &str) -> Value {
        let is = |frame: &Value| frame["action"] == "event" && frame["payload"]["event"]["kind"] == kind;
        self.find(is).await["payload"].clone()
    }

    /// The first frame that fits, of those seen and to come; others stay.
    pub async fn find(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.seen.iter().position(&fits) {
            return self.seen.remove(at).expect("the position was just found");
        }
        loop {
            match self.read().await {
                Got::Frame(frame) if fits(&frame) => return frame,
                Got::Frame(frame) => self.seen.push_back(frame),
                other => panic!("{other:?} while waiting; seen: {:?}", self.seen),
            }
        }
    }

    /// Everything seen so far that was not taken.
    pub fn seen(&self) -> impl Iterator<Item = &Value> {
        self.seen.iter()
    }

    /// How the connection ends.
    pub async fn closed(&mut self) -> Got {
        loop {
            match self.read().await {
                Got::Frame(frame) => self.seen.push_back(frame),
                other => return other,
            }
        }
    }

    pub async fn read(&mut self) -> Got {
        let got = timeout(PATIENCE, self.read_patiently()).await.expect("the server says something in time");
        if let Got::Frame(frame) = &got {
            self.read.push(frame.clone());
        }
        got
    }

    /// Likewise, and answers pings, as whoever means to stay does.
    pub async fn read_on(&mut self) -> Got {
        let got = self.read().await;
        if let Got::Frame(Value::Object(it)) = &got
            && let Some(ping) = it.get("ping").and_then(Value::as_str)
        {
            self.raw(&frame(0x8a, ping.as_bytes())).await;
        }
        got
    }

    async fn read_patiently(&mut self) -> Got {
        let Some((first, payload)) = self.wire().await else { return Got::Gone };
        match first & 0x0f {
            1 => {
                let frame: Value = serde_json::from_slice(&payload).expect("frames are JSON");
                crate::protocol::frames::check(&frame);
                self.is_visitor |= frame["payload"]["profile"]["type"] == "visitor";
                if self.is_visitor || frame["action"] == "hello" {
                    crate::fields::check(&frame);
                }
                Got::Frame(frame)
            }
            8 => Got::Closed(payload.get(..2).map_or(1005, |two| u16::from_be_bytes([two[0], two[1]]))),
            // Unanswered: whether to answer is what tests decide.
            9 => Got::Frame(json!({ "ping": String::from_utf8_lossy(&payload) })),
            10 => Got::Frame(json!({ "pong": String::from_utf8_lossy(&payload) })),
            other => panic!("opcode {other}"),
        }
    }

    /// The next frame as it is on the wire: its first byte and its payload; nothing once the other side is gone.
    pub async fn wire(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some(frame) = self.parse() {
                return Some(frame);
            }
            match self.socket.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    fn parse(&mut self) -> Option<(u8, Vec<u8>)> {
        let [first, second] = *self.buffer.first_chunk::<2>()?;
        assert_eq!(second & 0x80, 0, "servers do not mask");
        let (head, length) = match second {
            126 => (4, u16::from_be_bytes(*self.buffer[2..].first_chunk()?).into()),
            127 => (10, u64::from_be_bytes(*self.buffer[2..].first_chunk()?)),
            short => (2, u64::from(short)),
        };
        let end = head + usize::try_from(length).unwrap();
        if self.buffer.len() < end {
            return None;
        }
        let payload = self.buffer[head..end].to_vec();
        self.buffer.drain(..end);
        Some((first, payload))
    }
}

pub fn login(token: &str, more: Value) -> Value {
    let mut login = json!({ "token": token, "protocol": 1, "client": { "name": "test", "version": "1" } });
    for (key, value) in more.as_object().expect("an object").clone() {
        login[key] = value;
    }
    login
}

pub fn message(conversation: &Value, client_id: &str, text: &str) -> Value {
    json!({
        "conversation_id": conversation,
        "event": { "kind": "message", "client_id": client_id, "data": { "text": text } },
    })
}

/// A masked frame with a key of zeros.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        middle @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out
}
