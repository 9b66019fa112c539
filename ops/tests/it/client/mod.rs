//! The client against a server that speaks the protocol over real sockets and fails on demand.

mod server;
mod tokens;

use std::time::Duration;

use bus_schema::{ErrorBody, ErrorCode, Visibility};
use ops::{
    client::{Client, Options, OutboxLimits, Phase, RequestError, Stopped, Tokens, new_client_id},
    testing::wait_for,
};
use server::{CONVERSATION, Mishap, Server};

const SOON: Duration = Duration::from_secs(10);

fn options(servers: &[&Server]) -> Options {
    Options {
        backoff: Duration::from_millis(20),
        outbox: OutboxLimits { answer_within: Duration::from_millis(300), ..OutboxLimits::default() },
        ..Options::new(servers.iter().map(|server| server.url.clone()).collect(), Tokens::fixed("t"))
    }
}

async fn ready(server: &Server) -> Client {
    let client = Client::start(options(&[server]));
    client.ready(SOON).await.unwrap();
    client
}

fn shown(client: &Client) -> Vec<(u64, String)> {
    client.entries(CONVERSATION).iter().map(|entry| (entry.seq, entry.raw.to_string())).collect()
}

async fn shows_the_log(client: &Client, server: &Server) {
    wait_for(SOON, "the client's list to be the log", async || shown(client) == server.log()).await;
}

#[tokio::test]
async fn snapshot_and_pushes_make_the_log() {
    let server = Server::start().await;
    server.say("before");
    let client = ready(&server).await;
    server.say("after");
    let sent = client.send_text(CONVERSATION, "hello").unwrap().done().await.unwrap();
    shows_the_log(&client, &server).await;
    assert_eq!((server.log().len(), sent.seq), (3, 7));
    let counts = client.counts();
    assert_eq!((counts.disordered, counts.repeated, counts.bad_frames), (0, 0, 0));
    client.close().await;
    assert_eq!(client.state().borrow().phase, Phase::Stopped(Stopped::Asked));
}

#[tokio::test]
async fn whatever_happens_to_a_send_it_is_stored_once_and_in_order() {
    let server = Server::start().await;
    let client = ready(&server).await;
    let later = ErrorBody::new(ErrorCode::RateLimited, "later").after(Duration::from_millis(30));
    for (round, mishap) in [Mishap::Cut, Mishap::StoredThenCut, Mishap::Refuse(later), Mishap::Unanswered]
        .into_iter()
        .enumerate()
    {
        server.world().mishaps.push(mishap);
        let sends: Vec<_> =
            (0..5).map(|n| client.send_text(CONVERSATION, &format!("{round}.{n}")).unwrap()).collect();
        for send in sends {
            send.done().await.unwrap();
        }
    }
    shows_the_log(&client, &server).await;
    let texts: Vec<String> = client
        .entries(CONVERSATION)
        .iter()
        .map(|entry| serde_json::from_str::<serde_json::Value>(&entry.raw).unwrap())
        .map(|event| event["data"]["text"].as_str().unwrap().to_owned())
        .collect();
    let expected: Vec<String> =
        (0..4).flat_map(|round| (0..5).map(move |n| format!("{round}.{n}"))).collect();
    assert_eq!(texts, expected);
    assert_eq!(client.unsent(), 0);
    // What was only stored came back with the resume and was not sent again; what was not said so when it was.
    let repeats: Vec<_> = server.world().retries.iter().filter(|(_, retry)| *retry).cloned().collect();
    assert_eq!(repeats.len(), 2, "{repeats:?}");
}

#[tokio::test]
async fn a_send_refused_for_good_fails_with_its_code_and_the_next_goes_on() {
    let server = Server::start().await;
    let client = ready(&server).await;
    server.world().mishaps.push(Mishap::Refuse(ErrorCode::ThreadClosed.into()));
    let (first, second) =
        (client.send_text(CONVERSATION, "1").unwrap(), client.send_text(CONVERSATION, "2").unwrap());
    assert_eq!(first.done().await.unwrap_err().code(), Some(ErrorCode::ThreadClosed));
    second.done().await.unwrap();
    shows_the_log(&client, &server).await;
}

#[tokio::test]
async fn sends_while_away_go_out_after_the_resume_and_the_log_is_whole() {
    let server = Server::start().await;
    let client = ready(&server).await;
    for n in 0..20 {
        client.cut();
        server.say(&format!("missed {n}"));
        client.send_text(CONVERSATION, &format!("mine {n}")).unwrap();
    }
    shows_the_log(&client, &server).await;
    wait_for(SOON, "all to be sent", async || client.unsent() == 0 && server.log().len() == 40).await;
    shows_the_log(&client, &server).await;
    assert!(server.world().resumed > 0);
    assert_eq!(client.counts().disordered, 0);
}

#[tokio::test]
async fn a_reset_replaces_the_list() {
    let server = Server::start().await;
    server.say("old");
    let client = ready(&server).await;
    {
        let mut world = server.world();
        world.log.clear();
        world.reset_next = true;
    }
    server.cut_all();
    server.say("new");
    wait_for(SOON, "the reset", async || client.counts().resets == 1).await;
    shows_the_log(&client, &server).await;
}

#[tokio::test]
async fn another_edge_takes_over() {
    let (first, second) = (Server::start().await, Server::start().await);
    let client = Client::start(options(&[&first, &second]));
    client.ready(SOON).await.unwrap();
    assert_eq!(client.hello().unwrap().edge_id, first.url);
    first.close_all(3000);
    wait_for(SOON, "the other edge", async || {
        client.hello().is_some_and(|hello| hello.edge_id == second.url)
    })
    .await;
}

#[tokio::test]
async fn the_range_of_a_close_code_decides() {
    let server = Server::start().await;
    let client = ready(&server).await;
    server.close_all(3499);
    wait_for(SOON, "a second login", async || client.state().borrow().logins == 2).await;
    server.close_all(3777);
    let closed = |phase: &Phase| matches!(phase, Phase::Stopped(Stopped::Closed { code: 3777, .. }));
    wait_for(SOON, "the end", async || closed(&client.state().borrow().phase)).await;
    assert!(matches!(client.send_text(CONVERSATION, "x"), Err(RequestError::Stopped(_))));
    assert!(matches!(client.ready(SOON).await, Err(RequestError::Stopped(_))));
}

#[tokio::test]
async fn a_login_that_came_too_late_is_sent_again_on_the_next_connection() {
    let server = Server::start().await;
    server.world().close_next_login = Some(3500);
    let client = ready(&server).await;
    server.close_all(3500);
    let closed = |phase: &Phase| matches!(phase, Phase::Stopped(Stopped::Closed { code: 3500, .. }));
    wait_for(SOON, "the end of who was logged in", async || closed(&client.state().borrow().phase)).await;
}

#[tokio::test]
async fn a_token_that_became_old_is_renewed_as_often_as_it_takes() {
    let server = Server::start().await;
    let client = ready(&server).await;
    for logins in 2..5 {
        server.close_all(3005);
        wait_for(SOON, "another login", async || client.state().borrow().logins == logins).await;
    }
    shows_the_log(&client, &server).await;
}

#[tokio::test]
async fn a_large_backlog_is_written_as_the_server_reads() {
    let server = Server::start().await;
    let client = ready(&server).await;
    let text = "x".repeat(16 * 1024);
    let sends: Vec<_> = (0..200).map(|_| client.send_text(CONVERSATION, &text).unwrap()).collect();
    for send in sends {
        send.done().await.unwrap();
    }
    shows_the_log(&client, &server).await;
}

#[tokio::test]
async fn a_full_outbox_says_so() {
    let server = Server::start().await;
    let outbox = OutboxLimits { items: 2, ..OutboxLimits::default() };
    let client = Client::start(Options { outbox, ..options(&[&server]) });
    let sends: Vec<_> = (0..3)
        .map(|_| client.send_text_as(CONVERSATION, new_client_id(), "x", Visibility::All).map(drop))
        .collect();
    assert_eq!(sends, [Ok(()), Ok(()), Err(RequestError::Busy)]);
    shows_the_log(&client, &server).await;
}

#[tokio::test]
async fn a_server_that_goes_away_ends_requests_as_unknown() {
    let server = Server::start().await;
    let client = ready(&server).await;
    client.request_raw("anything", "{}").await.unwrap();
    server.push_all("closing", serde_json::json!({ "reason": "shutdown", "reconnect": true, "after_ms": 5 }));
    server.close_all(3000);
    wait_for(SOON, "a second login", async || client.state().borrow().logins == 2).await;
}
