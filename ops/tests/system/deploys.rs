//! Edges are deployed one after the other under load, and nobody notices.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bus_schema::{ConversationId, ErrorBody, protocol::Closing};
use ops::{
    client::{EventHead, Observer},
    dev::guard::Signal,
};

use crate::{
    long, procs, seed,
    traffic::{Plan, Traffic},
    verify,
    world::{Shape, World},
};

/// So many come back over a time.
const SPREAD_AMONG: usize = 8;

/// What a person would have noticed.
#[derive(Default)]
struct Noticed {
    failed: Mutex<Vec<(ConversationId, String)>>,
    /// When each was told to come back, in ms.
    told: Mutex<Vec<u64>>,
}

impl Observer for Noticed {
    fn event(&self, _: ConversationId, _: &EventHead<'_>) {}

    fn failed(&self, conversation: ConversationId, client_id: &str, error: &ErrorBody) {
        self.failed.lock().unwrap().push((conversation, format!("{client_id}: {error}")));
    }

    fn closing(&self, closing: &Closing) {
        self.told.lock().unwrap().push(closing.after_ms);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_notices_a_deploy() {
    let seed = seed();
    let (deploys, conversations) = if long() { (20, 100) } else { (4, 40) };
    let grace = Duration::from_secs(4);
    let world = World::up(Shape::default(), &[("CHATBUS_GRACE_MS", "4000")]).await;
    let noticed = Arc::new(Noticed::default());
    let plan = Plan { observer: Some(noticed.clone()), ..Plan::steady(&world, conversations, seed) };
    let mut traffic = Traffic::start(&world, plan).await;
    let mut told_of = 0;
    for n in 0..deploys {
        let edges = world.pids().remove("edge").unwrap();
        let edge = edges[n % edges.len()];
        let began = Instant::now();
        procs::signal(edge, Signal::TERM);
        procs::replaced(&world, "edge", edge).await;
        println!("deploy {n}: another edge in place after {:?}", began.elapsed());
        assert!(began.elapsed() < grace + Duration::from_secs(6), "an edge left within its grace time");
        world.all_ready().await;
        traffic.goes_on(conversations / 2).await;
        let mut told = std::mem::take(&mut *noticed.told.lock().unwrap());
        told.sort_unstable();
        println!("told when to come back, in ms: {told:?}");
        told_of += told.len();
        // Of a few, all may be told much the same.
        if let [first, .., last] = told[..]
            && told.len() >= SPREAD_AMONG
        {
            let spread = Duration::from_millis(last - first);
            assert!(spread > grace / 8, "all come back at once: within {spread:?}");
        }
    }
    traffic.stop().await;
    assert!(told_of >= deploys * conversations / 4, "{told_of} were told when to come back");
    let failed = noticed.failed.lock().unwrap().clone();
    if let Some((conversation, _)) = failed.first() {
        println!("{}", verify::story(&world.log().await, *conversation));
    }
    assert_eq!(failed, []);
    verify::all_agree(&world, &traffic).await;
}
