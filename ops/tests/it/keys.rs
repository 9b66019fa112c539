//! Public keys over the bus.

use ops::{
    auth::{Audience, SigningKey, follow, publish},
    kv::Kv,
    service::{Context, Service},
    settings::Settings,
    testing::wait_for,
};

use crate::kit::{SOON, provisioned};

#[tokio::test]
async fn a_key_set_follows_what_is_published_and_taken_back() {
    let (_server, log) = provisioned().await;
    let context = Context::new(Settings::from_pairs(Service::Edge, &[]).unwrap());
    let (staff, visitor) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    publish(log.bus(), Audience::Visitor, &visitor).await.unwrap();
    let keys = follow(&context, log.bus(), None).await.unwrap();
    assert_eq!(keys.keys(Audience::Visitor), [visitor.public().clone()]);
    assert!(!context.health.is_ready(), "no staff key yet");
    publish(log.bus(), Audience::Staff, &staff).await.unwrap();
    publish(log.bus(), Audience::Staff, &staff).await.unwrap();
    wait_for(SOON, "the staff key", async || context.health.is_ready().then_some(())).await;
    let bucket = Kv::open(log.bus(), bus_schema::stream::KEYS).await.unwrap();
    bucket.put("staff.forged", visitor.public().to_json()).await.unwrap();
    bucket.delete(&format!("visitor.{}", visitor.public().kid())).await.unwrap();
    wait_for(SOON, "the key to go", async || keys.is_empty(Audience::Visitor).then_some(())).await;
    assert_eq!(
        keys.keys(Audience::Staff),
        [staff.public().clone()],
        "a record under another's name is ignored"
    );
}

#[tokio::test]
async fn keys_on_disk_count_until_the_bus_has_answered() {
    let dir = tempfile::tempdir().unwrap();
    let staff = SigningKey::generate().unwrap();
    let context = || Context::new(Settings::from_pairs(Service::Edge, &[]).unwrap());
    {
        let (_server, log) = provisioned().await;
        publish(log.bus(), Audience::Staff, &staff).await.unwrap();
        follow(&context(), log.bus(), Some(dir.path())).await.unwrap();
    }
    let server = ops::testing::NatsServer::start().await;
    let bus = crate::kit::connect(server.url()).await;
    let here = context();
    let keys = follow(&here, &bus, Some(dir.path())).await.unwrap();
    assert_eq!(keys.keys(Audience::Staff), [staff.public().clone()], "the bucket is not there yet");
    assert!(here.health.is_ready());
    ops::provision::apply(&bus, &crate::kit::plan()).await.unwrap();
    wait_for(SOON, "the empty bucket to count", async || keys.is_empty(Audience::Staff).then_some(())).await;
}
