//! The process from outside: what `config check` finds.

use std::time::Duration;

use ops::testing::{Fault, FaultProxy, Process, wait_for};
use reqwest::Method;
use serde_json::json;

use crate::world::{BusServer, World};

const SOON: Duration = Duration::from_secs(30);

/// `config check` on the world's bus and `database`: its exit code and what it says.
async fn checked(world: &World, database: &str) -> (i32, String) {
    let check = Process::builder("admin-api")
        .arg("config")
        .arg("check")
        .env("CHATBUS_NATS_URL", &world.nats_url)
        .env("CHATBUS_NATS_CREDS_FILE", world.own_user())
        .env("CHATBUS_DATABASE_URL", database)
        .env("CHATBUS_STAFF_KEY_FILE", &world.key_file);
    let mut check = check.spawn().unwrap();
    (check.exit_code(SOON).await, check.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_check_asks_the_database_as_every_role_and_names_what_is_open() {
    let server = BusServer::start().await;
    let world = World::on(&server).await;
    let ann = world.register("acme").await;
    for origins in [json!(["*"]), json!(["https://shop.example"])] {
        let widget = json!({ "name": format!("W {origins}"), "allowed_origins": origins });
        world.post(&ann, "/v1/widgets", widget).await.is(201);
    }
    let (code, said) = checked(&world, &world.database_url).await;
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("wrong:") && !said.contains("unavailable:"), "{said}");
    assert!(said.contains("note: 1 widgets allow every origin"), "{said}");
    assert!(said.contains("note: Postgres neither archives"), "{said}");

    // Whoever logs in must be let work as each role.
    let postgres = world.postgres().await;
    let name =
        format!("only_system_{}", world.database_url.rsplit('/').next().unwrap().replace(['-', '?'], "_"));
    let user = format!("CREATE ROLE {name} LOGIN PASSWORD 's3cret'; GRANT chatbus_system TO {name}");
    postgres.batch_execute(&user).await.unwrap();
    let url = world.database_url.split_once('@').unwrap().1;
    let (code, said) = checked(&world, &format!("postgres://{name}:s3cret@{url}")).await;
    postgres.batch_execute(&format!("DROP ROLE {name}")).await.unwrap();
    assert!(code == 69 && said.contains("let that user work as chatbus_tenant"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_away_the_public_port_says_so_and_no_more() {
    let world = World::alone().await;
    let (user, place) = world.database_url.split_once('@').unwrap();
    let (postgres, database) = place.split_once('/').unwrap();
    let proxy = FaultProxy::start(postgres.parse().unwrap(), 1).await.unwrap();
    let world = World::by(&world, format!("{user}@{}/{database}", proxy.address())).await;
    let health = async || world.send(world.request(Method::GET, "/healthz")).await;
    assert_eq!(health().await.is(200).body, json!(null));
    proxy.inject(Fault::Refuse);
    proxy.cut_all();
    let away = wait_for(SOON, "Postgres to be missed", async || {
        let got = health().await;
        if got.status == 200 { None } else { Some(got) }
    })
    .await;
    let away = away.problem(503, "unavailable").body;
    assert_eq!(away["errors"], json!([]), "{away}");
    assert!(!away.to_string().contains(&proxy.address().to_string()), "{away}");
    proxy.heal();
    wait_for(SOON, "Postgres to be there again", async || health().await.status == 200).await;
}
