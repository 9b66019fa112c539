//! What each service's bus user may and may not do.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use bus_schema::{
    Lane,
    file::FileKey,
    stream,
    subject::{self, TenantTopic},
};
use futures::StreamExt as _;
use ops::{
    files::{NatsStore, Store as _},
    kv::Kv,
    log::{DeliverFrom, Expect, Log, Write},
    nats::{self, Bus, Options},
    nats_users::{BusUser, server_config},
    provision,
    service::Service,
    testing::{NatsOptions, NatsServer},
};

use crate::kit::{SHARD, SOON, lane, plan};

struct World {
    server: NatsServer,
    seeds: BTreeMap<Service, PathBuf>,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let seeds: BTreeMap<_, _> =
            Service::ALL.into_iter().map(|s| (s, dir.path().join(format!("{s}.nk")))).collect();
        let users: Vec<_> =
            seeds.iter().map(|(service, path)| BusUser::load_or_generate(*service, path).unwrap()).collect();
        let config = server_config(&users, &[SHARD]);
        let server = NatsServer::with(NatsOptions { config, ..NatsOptions::default() }).await;
        let world = Self { server, seeds, _dir: dir };
        provision::apply(&world.bus(Service::Ops).await, &plan()).await.unwrap();
        world
    }

    async fn bus(&self, service: Service) -> Bus {
        let mut options = Options::new(self.server.url(), service.name());
        options.credentials = Some(self.seeds[&service].clone());
        nats::connect_with(options).await.unwrap()
    }

    async fn log(&self, service: Service) -> Log {
        Log::new(self.bus(service).await, SHARD)
    }
}

/// A round trip: the server has dealt with everything this connection said before. (The client's flush is none.)
async fn settled(bus: &Bus) {
    bus.client.request("$JS.API.STREAM.INFO.KV_meta", "".into()).await.unwrap();
}

fn agent() -> String {
    format!("chat.v1.0.{}.agent.{}", bus_schema::TenantId::NIL, bus_schema::AgentId::NIL)
}

fn visitor() -> String {
    format!("chat.v1.0.{}.visitor.{}", bus_schema::TenantId::NIL, bus_schema::VisitorId::NIL)
}

#[tokio::test]
async fn nobody_connects_without_a_key() {
    let world = World::new().await;
    let mut options = Options::new(world.server.url(), "edge");
    options.wait = Duration::from_millis(100);
    assert!(nats::connect_with(options).await.is_err());
}

#[tokio::test]
async fn each_service_can_do_its_work() {
    let world = World::new().await;
    for service in Service::ALL {
        let bus = world.bus(service).await;
        provision::verify(&bus, &[SHARD]).await.unwrap();
    }
    let (edge, router) = (world.log(Service::Edge).await, world.log(Service::Router).await);
    let mut live = edge.bus().client.subscribe(subject::live_of_shard(SHARD)).await.unwrap();
    let (life, desk) = (lane(1, Lane::Life), lane(1, Lane::Desk));
    let started = edge.publish(Write::new(&life, "{}").expect(Expect::LastOnSubject(0))).await.unwrap().seq;
    for lane_of_edge in [Lane::Msg, Lane::Mark, Lane::Note] {
        let fence = Expect::LastOn { subject: life.clone(), seq: started };
        edge.publish(Write::new(lane(1, lane_of_edge), "{}").expect(fence)).await.unwrap();
    }
    edge.publish(Write::new(visitor(), "{}")).await.unwrap();
    let assignment = vec![
        Write::new(agent(), "{}").expect(Expect::LastOnSubject(0)),
        Write::new(desk, "{}").expect(Expect::LastOnSubject(0)),
        Write::new(&life, "{}").expect(Expect::LastOnSubject(started)),
    ];
    router.publish_batch(assignment).await.unwrap();
    let copy = tokio::time::timeout(SOON, live.next()).await.unwrap().unwrap();
    assert!(ops::log::live(&copy).is_some());
    for service in [Service::Edge, Service::Router, Service::Persister, Service::AdminApi, Service::Ops] {
        let log = world.log(service).await;
        assert_eq!(log.read(&lane(1, Lane::Msg), 0, 10).await.unwrap().len(), 1, "{service}");
        assert_eq!(log.last_of(std::slice::from_ref(&life)).await.unwrap().len(), 1, "{service}");
        assert!(log.last(&life).await.unwrap().is_some(), "{service}");
        let mut tail = log.tail(vec![life.clone()], DeliverFrom::Start).await.unwrap();
        assert_eq!(tail.next().await.unwrap().seq, started, "{service}");
    }
    let second = Duration::from_secs(1);
    let keep = async |service, bucket, key: &str| {
        let kv = Kv::open(&world.bus(service).await, bucket).await.unwrap();
        kv.create(key, "{}", None).await.unwrap();
        assert!(kv.get(key).await.unwrap().is_some());
        assert_eq!(kv.keys().await.unwrap().len(), 1);
        assert_eq!(kv.watch(">").await.unwrap().next().await.unwrap().key, key);
    };
    keep(Service::AdminApi, stream::CONFIG, "tenant.a").await;
    keep(Service::AdminApi, stream::REVOKED, "a").await;
    keep(Service::Edge, stream::KEYS, "visitor.a").await;
    let leases = Kv::open(edge.bus(), stream::LEASES).await.unwrap();
    leases.put_for("edge.a", "{}", second).await.unwrap();
    let leases = Kv::open(router.bus(), stream::LEASES).await.unwrap();
    leases.create("router.0", "{}", Some(second)).await.unwrap();
    let uploads = Kv::open(edge.bus(), stream::UPLOADS).await.unwrap();
    uploads.create("a.b", "{}", None).await.unwrap();
    uploads.remove("a.b", None).await.unwrap();
    assert!(uploads.get("a.b").await.unwrap().is_none());
    let store = NatsStore::new(edge.bus().clone());
    let key = FileKey { tenant: bus_schema::TenantId::NIL, attachment: bus_schema::AttachmentId::NIL };
    let mut writing = store.create(key);
    writing.write("bytes".into()).await.unwrap();
    writing.finish().await.unwrap();
    assert_eq!(store.read(key, 5).next().await.unwrap().unwrap(), "bytes");
    store.remove(key).await.unwrap();
}

#[tokio::test]
async fn a_request_is_answered_by_who_may_answer() {
    let world = World::new().await;
    let (edge, router) = (world.bus(Service::Edge).await, world.bus(Service::Router).await);
    let commands = subject::commands_of_shard(SHARD);
    let mut asked =
        router.client.queue_subscribe(commands, subject::ROUTER_QUEUE_GROUP.into()).await.unwrap();
    settled(&router).await;
    tokio::spawn(async move {
        while let Some(request) = asked.next().await {
            router.client.publish(request.reply.unwrap(), "done".into()).await.unwrap();
        }
    });
    let command = subject::commands(SHARD, bus_schema::TenantId::NIL);
    assert_eq!(edge.client.request(command, "{}".into()).await.unwrap().payload, "done");
    let mut asked = edge.client.subscribe(subject::who_of_shard(SHARD)).await.unwrap();
    settled(&edge).await;
    tokio::spawn(async move {
        while let Some(request) = asked.next().await {
            edge.client.publish(request.reply.unwrap(), "nobody".into()).await.unwrap();
        }
    });
    let who = subject::tenant_signals(SHARD, bus_schema::TenantId::NIL, TenantTopic::Who);
    for service in [Service::Router, Service::AdminApi] {
        let bus = world.bus(service).await;
        assert_eq!(
            bus.client.request(who.clone(), "{}".into()).await.unwrap().payload,
            "nobody",
            "{service}"
        );
    }
}

#[tokio::test]
async fn what_is_not_its_work_a_service_cannot_do() {
    let world = World::new().await;
    let ops = world.log(Service::Ops).await;
    let (msg, desk, note) = (lane(1, Lane::Msg), lane(1, Lane::Desk), lane(1, Lane::Note));
    let forbidden: &[(Service, &[&str])] = &[
        (
            Service::Edge,
            &[&agent(), &desk, "$KV.config.a", "$KV.keys.staff.a", "$KV.leases.router.0", "$KV.revoked.a"],
        ),
        (
            Service::Router,
            &[
                &msg,
                &note,
                &visitor(),
                "$KV.config.a",
                "$KV.leases.edge.a",
                "$KV.keys.staff.a",
                "$O.attachments.C.a",
                "$KV.uploads.a",
            ],
        ),
        (Service::Persister, &[&msg, &desk, &agent(), "$KV.config.a"]),
        (
            Service::AdminApi,
            &[&desk, &agent(), &lane(1, Lane::Life), "$KV.leases.router.0", "$KV.leases.edge.a"],
        ),
        (Service::Ops, &[&msg, &desk, &agent()]),
    ];
    let streams = async || {
        let info = async |name: String| {
            let context = async_nats::jetstream::new(ops.bus().client.clone());
            context.get_stream(name).await.unwrap().cached_info().state.last_sequence
        };
        let mut total = info(ops.stream().to_owned()).await;
        for bucket in stream::BUCKETS {
            total += info(format!("KV_{}", bucket.name)).await;
        }
        for store in stream::OBJECTS {
            total += info(store.stream()).await;
        }
        total
    };
    let before = streams().await;
    for (service, subjects) in forbidden {
        let bus = world.bus(*service).await;
        for subject in *subjects {
            bus.client.publish((*subject).to_owned(), "{}".into()).await.unwrap();
        }
        if *service != Service::Ops {
            // Who forgets visitors may purge.
            let purge = (*service != Service::AdminApi).then_some("STREAM.PURGE.CHAT_0");
            for request in purge.into_iter().chain(["STREAM.DELETE.CHAT_0", "STREAM.MSG.DELETE.CHAT_0"]) {
                bus.client.publish(format!("$JS.API.{request}"), r#"{"seq":1}"#.into()).await.unwrap();
            }
        }
        settled(&bus).await;
    }
    assert_eq!(streams().await, before);
}

#[tokio::test]
async fn nobody_hears_what_is_not_for_them() {
    let world = World::new().await;
    let edge = world.log(Service::Edge).await;
    let deaf: &[(Service, &str)] = &[
        (Service::Edge, "_INBOX_admin-api.>"),
        (Service::Edge, "command.v1.0.*"),
        (Service::Edge, "chat.v1.0.>"),
        (Service::Persister, "live.v1.0.>"),
        (Service::Persister, ">"),
        (Service::Router, "_INBOX_edge.>"),
    ];
    let mut heard = Vec::new();
    for (service, subject) in deaf {
        let bus = world.bus(*service).await;
        let messages = bus.client.subscribe(*subject).await.unwrap();
        settled(&bus).await;
        heard.push((bus, messages, service, subject));
    }
    edge.publish(Write::new(lane(1, Lane::Msg), "{}")).await.unwrap();
    edge.bus()
        .client
        .publish(subject::commands(SHARD, bus_schema::TenantId::NIL), "{}".into())
        .await
        .unwrap();
    settled(edge.bus()).await;
    for (bus, messages, service, subject) in &mut heard {
        settled(bus).await;
        assert!(futures::poll!(messages.next()).is_pending(), "{service} hears {subject}");
    }
}
