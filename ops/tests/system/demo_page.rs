//! The demo's page in a real browser: a visitor and an agent talk while edges are killed under them.
//!
//! `CHATBUS_SCREENSHOT=docs/images/demo.png` keeps the picture that the README shows.

use std::time::Duration;

use bus_schema::{Body, ConversationId, Subject};
use ops::{dev::guard::Signal, testing::wait_for};
use serde_json::Value;

use crate::{
    browser::Browser,
    procs::signal,
    world::{Shape, World},
};

const VISITOR: &str = "[data-side=visitor]";
const AGENT: &str = "[data-side=agent]";

/// A running system with its demo open: the visitor at the first edge, the agent at the last.
struct Page {
    world: World,
    browser: Browser,
}

impl Page {
    async fn open() -> Self {
        let world = World::up(Shape::default(), &[]).await;
        let edges = world.edge_urls();
        // Without the password: it is typed.
        let url = format!(
            "{}/demo#widget={}&edges={}&admin={}&email={}",
            edges[0],
            world.var("CHATBUS_WIDGET_KEY"),
            edges[1..].join(","),
            world.var("CHATBUS_ADMIN_URL"),
            world.var("CHATBUS_AGENT_EMAIL"),
        );
        let mut page = Self { browser: Browser::open(&url).await, world };
        let password = page.world.var("CHATBUS_AGENT_PASSWORD");
        page.browser.write("input[name=password]", &password).await;
        page.browser.enter().await;
        for (side, edge) in [(VISITOR, &edges[0]), (AGENT, &edges[1])] {
            page.is_live(side).await;
            let host = page.eval(&format!("document.querySelector('{side} .connection').dataset.edge")).await;
            assert_eq!(Some(host.as_str().unwrap()), edge.strip_prefix("http://"));
        }
        page
    }

    async fn eval(&mut self, script: &str) -> Value {
        self.browser.eval(script).await
    }

    async fn is_live(&mut self, side: &str) {
        let state = format!("document.querySelector('{side} .connection')?.dataset.state === 'live'");
        self.browser.shows(&state).await;
    }

    /// Writes and sends, without waiting for anything.
    async fn say(&mut self, side: &str, text: &str) {
        self.browser.write(&format!("{side} textarea"), text).await;
        self.browser.enter().await;
    }

    /// Waits until both sides show it as stored.
    async fn both_have(&mut self, text: &str) {
        let text = serde_json::json!(text);
        for side in [VISITOR, AGENT] {
            let has = format!(
                "[...document.querySelectorAll('{side} .message:not([data-tick=waiting])')]\
                 .some((line) => line.querySelector('p').textContent === {text})"
            );
            self.browser.shows(&has).await;
        }
    }

    /// The messages of one side as its list has them.
    async fn list(&mut self, side: &str) -> Vec<(u64, String)> {
        let lines = format!(
            "[...document.querySelectorAll('{side} .message')]\
             .map((line) => [Number(line.dataset.seq), line.querySelector('p').textContent])"
        );
        serde_json::from_value(self.eval(&lines).await).unwrap()
    }

    /// Waits until nothing waits any more, then: `one-order`, none missing, none twice, on both sides and in the log.
    async fn all_agree(&mut self, expected: usize) {
        wait_for(Duration::from_secs(30), "all that was said to be in the log", async || {
            let logged = self.logged().await;
            if logged.len() == expected { Ok(()) } else { Err(logged) }
        })
        .await;
        let settled = format!(
            "document.querySelectorAll('{VISITOR} .message').length === {expected} && \
             document.querySelectorAll('{AGENT} .message').length === {expected} && \
             document.querySelectorAll('[data-tick=waiting]').length === 0 && \
             document.getElementById('agree').dataset.agree === 'yes'"
        );
        self.browser.shows(&settled).await;
        let (visitor, agent) = (self.list(VISITOR).await, self.list(AGENT).await);
        assert_eq!(visitor, agent);
        assert_eq!(visitor, self.logged().await);
        assert!(visitor.is_sorted_by_key(|(seq, _)| *seq));
    }

    /// The messages of the one conversation that there is, first copies alone.
    async fn logged(&self) -> Vec<(u64, String)> {
        let mut ids = std::collections::BTreeSet::new();
        let mut conversations = std::collections::BTreeSet::<ConversationId>::new();
        let mut messages = Vec::new();
        for logged in self.world.log().await {
            let Subject::Conversation { conversation, .. } = logged.subject else { continue };
            let Body::Message(message) = logged.event.body else { continue };
            conversations.insert(conversation);
            if ids.insert(logged.event.id) {
                messages.push((logged.seq, message.text));
            }
        }
        assert_eq!(conversations.len(), 1, "the page is one visitor");
        messages
    }

    /// Kills an edge, and says when another process has its place.
    fn kill_edge(&self, index: usize) -> u32 {
        let pid = self.world.pids()["edge"][index];
        signal(pid, Signal::KILL);
        pid
    }

    async fn is_replaced(&self, pid: u32) {
        wait_for(Duration::from_secs(60), "the edge to be started again", async || {
            !self.world.pids()["edge"].contains(&pid)
        })
        .await;
    }

    async fn tick(&mut self, side: &str, text: &str, tick: &str) {
        let text = serde_json::json!(text);
        let is = format!(
            "[...document.querySelectorAll('{side} .message.own')]\
             .some((line) => line.dataset.tick === '{tick}' && line.querySelector('p').textContent === {text})"
        );
        self.browser.shows(&is).await;
    }

    async fn photograph(&mut self) {
        let Some(path) = std::env::var_os("CHATBUS_SCREENSHOT") else { return };
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        std::fs::write(root.join(path), self.browser.screenshot().await).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_a_gap_when_edges_are_killed_while_they_talk() {
    let mut page = Page::open().await;
    let opening = [
        (VISITOR, "Hello! My order 4711 says “delivered”, but nothing came."),
        (AGENT, "Hi Ada, let me look. It was left with your neighbour at number 12."),
        (VISITOR, "Oh! I will ring there. One moment…"),
        (AGENT, "Take your time, I stay right here."),
    ];
    for (side, text) in opening {
        page.say(side, text).await;
        page.both_have(text).await;
    }
    page.all_agree(opening.len()).await;
    page.photograph().await;

    // The visitor's edge goes while both write, then the agent's.
    let mut said = opening.len();
    for edge in [0, 1] {
        let killed = page.kill_edge(edge);
        for n in 0..4 {
            page.say(VISITOR, &format!("visitor {edge}.{n}")).await;
            page.say(AGENT, &format!("agent {edge}.{n}")).await;
            said += 2;
        }
        page.all_agree(said).await;
        page.is_replaced(killed).await;
    }

    // Both at once: nothing is there to talk to, and all of it goes out afterwards.
    let killed = [page.kill_edge(0), page.kill_edge(1)];
    page.say(VISITOR, "is anybody there?").await;
    page.say(AGENT, "I am").await;
    for pid in killed {
        page.is_replaced(pid).await;
    }
    page.all_agree(said + 2).await;
    let resets = page.eval("document.body.innerText.includes('reset')").await;
    assert_eq!(resets, false, "each side resumed where it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_while_cut_off_or_before_a_reload_is_kept() {
    let mut page = Page::open().await;
    page.say(VISITOR, "first").await;
    page.both_have("first").await;

    page.browser.click(&format!("{VISITOR} .cut")).await;
    page.browser
        .shows(&format!("document.querySelector('{VISITOR} .connection').dataset.state === 'stopped'"))
        .await;
    page.say(VISITOR, "written while cut off").await;
    page.tick(VISITOR, "written while cut off", "waiting").await;
    page.say(AGENT, "said meanwhile").await;
    page.tick(AGENT, "said meanwhile", "sent").await;

    page.browser.reload().await;
    for side in [VISITOR, AGENT] {
        page.is_live(side).await;
    }
    page.all_agree(3).await;
    let texts: Vec<_> = page.list(AGENT).await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["first", "said meanwhile", "written while cut off"]);
}
