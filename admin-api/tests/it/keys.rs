//! The key that signs staff tokens, while it is replaced.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bus_schema::{Timestamp, stream};
use ops::{
    auth::{self, Audience, SigningKey, verify_staff},
    kv::Kv,
    testing::wait_for,
};
use serde_json::{Value, json};

use crate::world::{BusServer, World};

const SOON: Duration = Duration::from_secs(60);

fn now() -> Timestamp {
    Timestamp::from_millis(i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap())
}

fn kid(token: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

async fn kids(world: &World) -> BTreeSet<String> {
    let got = world.send(world.request(reqwest::Method::GET, "/.well-known/jwks.json")).await.is(200);
    let keys = got.body["keys"].as_array().unwrap();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[allow(clippy::print_stdout, reason = "how much was tried")]
#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_refused_while_the_key_is_replaced() {
    let server = BusServer::start().await;
    let one = Arc::new(World::on(&server).await);
    let two = Arc::new(World::beside(&one).await);
    // As edges follow the keys.
    let edge = auth::follow(&one.context, &server.bus().await, None).await.unwrap();
    let ann = one.register("acme").await;
    let old = kid(&ann.token);

    let (stop, checked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let seen: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let newest: Arc<Mutex<BTreeMap<usize, String>>> = Arc::default();
    let mut load = Vec::new();
    for n in 0..4 {
        let (signs, verifies) =
            if n % 2 == 0 { (one.clone(), two.clone()) } else { (two.clone(), one.clone()) };
        let (stop, checked, seen, edge) = (stop.clone(), checked.clone(), seen.clone(), edge.clone());
        let newest = newest.clone();
        let mut who = signs.login(&ann.email).await;
        load.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let fresh = json!({ "refresh_token": who.refresh_token });
                let fresh = signs.public("/v1/auth/refresh", fresh).await.is(200);
                who.token = fresh.body["access_token"].as_str().unwrap().to_owned();
                who.refresh_token = fresh.body["refresh_token"].as_str().unwrap().to_owned();
                verify_staff(&edge, &who.token, now()).unwrap();
                verifies.post(&who, "/v1/auth/validate", Value::Null).await.is(200);
                seen.lock().unwrap().insert(kid(&who.token));
                newest.lock().unwrap().insert(n, kid(&who.token));
                checked.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let new = SigningKey::replace(Path::new(&one.key_file)).unwrap().public().kid().to_owned();
    wait_for(SOON, "all to be signed with the new key", async || {
        let newest = newest.lock().unwrap();
        newest.len() == 4 && newest.values().all(|kid| *kid == new)
    })
    .await;
    let before = checked.load(Ordering::Relaxed);
    wait_for(SOON, "more tokens of the new key", async || checked.load(Ordering::Relaxed) > before + 20)
        .await;
    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.expect("no token is refused");
    }
    println!("{} tokens checked while the key was replaced", checked.load(Ordering::Relaxed));
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from([old.clone(), new.clone()]));
    // What the old key signed counts to its end.
    one.get(&ann, "/v1/auth/me").await.is(200);
    for world in [&one, &two] {
        assert_eq!(kids(world).await, BTreeSet::from([old.clone(), new.clone()]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_nobody_signs_with_is_forgotten() {
    let server = BusServer::start().await;
    let bucket = Kv::open(&server.bus().await, stream::KEYS).await.unwrap();
    let publish = async |minutes: i64| {
        let key = SigningKey::generate().unwrap();
        let at = Timestamp::from_millis(now().millis() - minutes * 60_000);
        let name = format!("{}.{}", Audience::Staff.name(), key.public().kid());
        bucket.put(&name, key.public().to_json_signing(at)).await.unwrap();
        key.public().kid().to_owned()
    };
    let (forgotten, kept) = (publish(60).await, publish(5).await);
    let world = World::on(&server).await;
    let own = kid(&world.register("acme").await.token);
    wait_for(SOON, "the old key to be forgotten", async || {
        kids(&world).await == BTreeSet::from([own.clone(), kept.clone()])
    })
    .await;
    assert!(bucket.get(&format!("staff.{forgotten}")).await.unwrap().is_none());
}
