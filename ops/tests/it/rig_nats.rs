//! Private nats-servers.

use std::time::Duration;

use async_nats::jetstream::{self, stream};
use ops::testing::{NatsCluster, NatsOptions, NatsServer, Sync, wait_for};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_stored_message_survives_kill_9_on_the_same_port() {
    let mut server = NatsServer::start().await;
    let client = server.client().await;
    let context = jetstream::new(client);
    context.create_stream(config(1)).await.unwrap();
    context.publish("t.a", "kept".into()).await.unwrap().await.unwrap();
    let url = server.url();

    server.kill();
    assert_eq!(server.pid(), None);
    server.restart().await;

    assert_eq!(server.url(), url);
    wait_for(SOON, "the same client to read it", async || {
        let stream = context.get_stream("T").await.ok()?;
        let message = stream.get_raw_message(1).await.ok()?;
        (message.payload == "kept").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_paused_server_answers_again_when_resumed() {
    let mut server = NatsServer::start().await;
    let client = server.client().await;
    server.pause();
    let context = jetstream::new(client);
    let asked = tokio::time::timeout(Duration::from_millis(300), context.query_account()).await;
    assert!(asked.is_err(), "a frozen server answers nothing");
    server.resume();
    wait_for(SOON, "an answer", async || context.query_account().await).await;
}

#[tokio::test]
async fn options_reach_the_server() {
    let users = "authorization { users: [ {user: a, password: b} ] }".to_owned();
    let server = NatsServer::with(NatsOptions { sync: Sync::Always, config: users }).await;
    assert!(async_nats::connect(server.url()).await.is_err());
    assert!(server.client_as("a", "wrong").await.is_err());
    server.client_as("a", "b").await.unwrap();
    let varz = varz(&server.monitor_url()).await;
    let varz: serde_json::Value = serde_json::from_str(&varz).unwrap();
    assert_eq!(varz["jetstream"]["config"]["sync_always"], true);
}

#[tokio::test]
async fn a_cluster_elects_another_leader_when_one_is_killed() {
    let mut cluster = NatsCluster::start().await;
    let client = cluster.client().await;
    let context = jetstream::new(client.clone());
    context.create_stream(config(3)).await.unwrap();
    let first = wait_for(SOON, "a stream leader", async || cluster.leader(&client, "T").await).await;
    context.publish("t.a", "kept".into()).await.unwrap().await.unwrap();

    cluster.kill(first);

    let second = wait_for(SOON, "another leader", async || {
        cluster.leader(&client, "T").await.filter(|leader| *leader != first)
    })
    .await;
    assert_ne!(first, second);
    let message = wait_for(SOON, "the message", async || {
        context.get_stream("T").await.ok()?.get_raw_message(1).await.ok()
    })
    .await;
    assert_eq!(message.payload, "kept");
    cluster.restart(first).await;
    cluster.wait_healthy().await;
}

fn config(replicas: usize) -> stream::Config {
    let subjects = vec!["t.>".to_owned()];
    stream::Config { name: "T".to_owned(), subjects, num_replicas: replicas, ..Default::default() }
}

async fn varz(url: &str) -> String {
    let address = url.trim_start_matches("http://").parse().unwrap();
    ops::dev::probe::get(address, "/varz").await.unwrap().body
}
