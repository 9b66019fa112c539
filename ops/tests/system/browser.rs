//! A browser, driven over its DevTools protocol: real pages, real sockets, real input.
//!
//! It is headless, asks nobody on the network but the pages it is sent to, and ends with the test.

use std::{path::PathBuf, time::Duration};

use base64::Engine as _;
use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, Role, WebSocket};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use ops::{
    dev::guard::{Guarded, Signal, Spec},
    testing::{Scratch, wait_for},
};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// From a start on a busy machine to its first answer.
const START_WITHIN: Duration = Duration::from_secs(60);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long a page may take to show what it must.
const SHOWS_WITHIN: Duration = Duration::from_secs(30);
/// Screenshots come as one message.
const MESSAGE_MAX: usize = 32 * 1024 * 1024;
/// Of the page, in pixels.
const SIZE: (u32, u32) = (1180, 700);
const FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--lang=en-GB",
    "--remote-debugging-port=0",
    "about:blank",
];
const NAMES: &[&str] = &["chromium", "google-chrome", "google-chrome-stable", "chromium-browser", "chrome"];
const ON_MACOS: &str = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";

/// One page of a browser of its own.
pub struct Browser {
    socket: FragmentCollector<TokioIo<hyper::upgrade::Upgraded>>,
    last_id: u64,
    _process: Guarded,
    _profile: Scratch,
}

impl Browser {
    pub async fn open(url: &str) -> Self {
        let profile = Scratch::new("browser").unwrap();
        let folder = profile.path().join("profile");
        let spec = Spec::new(program())
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", folder.display()))
            .ending(Signal::TERM, Duration::from_secs(5));
        let process = Guarded::spawn(&spec, &profile.path().join("browser.log")).unwrap();
        let port_file = folder.join("DevToolsActivePort");
        let port = wait_for(START_WITHIN, "the browser to listen", async || {
            let text = std::fs::read_to_string(&port_file).map_err(|error| error.to_string())?;
            let line = text.split_once('\n').ok_or("its port is not written yet")?.0;
            line.parse::<u16>().map_err(|error| error.to_string())
        })
        .await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let list = format!("http://127.0.0.1:{port}/json/list");
        let path = wait_for(START_WITHIN, "the browser to have a page", async || {
            let answer = http.get(&list).send().await.map_err(|error| error.to_string())?;
            let targets: Vec<Value> = answer.json().await.map_err(|error| error.to_string())?;
            let page = targets.iter().find(|target| target["type"] == "page");
            let url = page.and_then(|page| page["webSocketDebuggerUrl"].as_str());
            url.and_then(|url| Some(format!("/{}", url.splitn(4, '/').nth(3)?)))
                .ok_or("none")
                .map_err(str::to_owned)
        })
        .await;
        let socket = connect(port, &path).await;
        let mut browser = Self { socket, last_id: 0, _process: process, _profile: profile };
        let (width, height) = SIZE;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        browser.ask("Emulation.setDeviceMetricsOverride", size).await;
        browser.go(url).await;
        browser
    }

    pub async fn go(&mut self, url: &str) {
        let answer = self.ask("Page.navigate", json!({ "url": url })).await;
        assert_eq!(answer.get("errorText"), None, "{url}: {answer}");
        self.shows("document.readyState === 'complete' && location.href !== 'about:blank'").await;
    }

    /// Loads the page again.
    pub async fn reload(&mut self) {
        self.eval("window.isOld = true").await;
        self.ask("Page.reload", json!({})).await;
        self.shows("!window.isOld && document.readyState === 'complete'").await;
    }

    /// What a script says.
    pub async fn eval(&mut self, script: &str) -> Value {
        let asked = json!({ "expression": script, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.ask("Runtime.evaluate", asked).await;
        assert!(answer.get("exceptionDetails").is_none(), "{script}: {answer}");
        answer["result"]["value"].take()
    }

    /// Waits until a script says something true, and answers it.
    pub async fn shows(&mut self, script: &str) -> Value {
        let mut last = Value::Null;
        let end = tokio::time::Instant::now() + SHOWS_WITHIN;
        loop {
            // While one page gives way to the next, a script may be answered by neither.
            let asked = json!({ "expression": script, "returnByValue": true });
            let mut answer = self.ask("Runtime.evaluate", asked).await;
            if answer.get("exceptionDetails").is_none() {
                last = answer["result"]["value"].take();
                if last != Value::Null && last != json!(false) {
                    return last;
                }
            }
            if tokio::time::Instant::now() > end {
                let page = self.eval("document.body.innerText").await;
                panic!("the page never showed: {script}\nlast: {last}\npage: {page}");
            }
            self.eval("new Promise((then) => setTimeout(then, 25))").await;
        }
    }

    /// Clicks in the middle of an element, as a mouse does.
    pub async fn click(&mut self, css: &str) {
        let css = json!(css);
        let at = self
            .shows(&format!(
                "(() => {{ const element = document.querySelector({css}); \
                 if (!element || element.disabled) return null; \
                 const box = element.getBoundingClientRect(); \
                 return box.width ? [box.x + box.width / 2, box.y + box.height / 2] : null; }})()"
            ))
            .await;
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": at[0], "y": at[1], "clickCount": 1,
                "button": if kind == "mouseMoved" { "none" } else { "left" },
            });
            self.ask("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Writes into an empty field, as a keyboard does.
    pub async fn write(&mut self, css: &str, text: &str) {
        self.click(css).await;
        let field = format!("document.querySelector({})", json!(css));
        assert_eq!(self.eval(&format!("document.activeElement === {field}")).await, true, "focus on {css}");
        self.ask("Input.insertText", json!({ "text": text })).await;
        assert_eq!(self.eval(&format!("{field}.value")).await, text, "what was written into {css}");
    }

    pub async fn enter(&mut self) {
        for kind in ["keyDown", "keyUp"] {
            let event = json!({
                "type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r",
            });
            self.ask("Input.dispatchKeyEvent", event).await;
        }
    }

    /// The page as a PNG.
    pub async fn screenshot(&mut self) -> Vec<u8> {
        let answer = self.ask("Page.captureScreenshot", json!({ "format": "png" })).await;
        base64::prelude::BASE64_STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()
    }

    /// One command, and its answer; events between them are passed over.
    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let text = json!({ "id": id, "method": method, "params": params }).to_string();
        let answer = async {
            self.socket.write_frame(Frame::text(Payload::Owned(text.into_bytes()))).await.unwrap();
            loop {
                let frame = self.socket.read_frame().await.unwrap();
                assert_ne!(frame.opcode, OpCode::Close, "the browser ended during {method}");
                let Ok(mut answer) = serde_json::from_slice::<Value>(&frame.payload) else { continue };
                if answer["id"] == json!(id) {
                    assert_eq!(answer.get("error"), None, "{method}");
                    return answer["result"].take();
                }
            }
        };
        tokio::time::timeout(ANSWER_WITHIN, answer).await.unwrap_or_else(|_| panic!("{method}: no answer"))
    }
}

async fn connect(port: u16, path: &str) -> FragmentCollector<TokioIo<hyper::upgrade::Upgraded>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let request = Request::get(path)
        .header(header::HOST, format!("127.0.0.1:{port}"))
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header(header::SEC_WEBSOCKET_KEY, fastwebsockets::handshake::generate_key())
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 101);
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    let mut socket = WebSocket::after_handshake(TokioIo::new(upgraded), Role::Client);
    socket.set_max_message_size(MESSAGE_MAX);
    FragmentCollector::new(socket)
}

/// The browser of this machine.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("CHATBUS_BROWSER_BIN") {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let listed = std::env::split_paths(&path).flat_map(|dir| NAMES.iter().map(move |name| dir.join(name)));
    let found = listed.chain([ON_MACOS.into()]).find(|file| file.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "there is no Chromium on this machine\n  \
             fix: sh ops/test.sh, which installs it; or: apt-get install -y --no-install-recommends chromium; \
             or name a Chromium or Chrome in CHATBUS_BROWSER_BIN"
        )
    })
}
