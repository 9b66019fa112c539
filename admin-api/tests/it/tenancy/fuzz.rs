//! Very many requests by chance from outside a tenant: not a byte of it comes out, and not a row of it changes.
//!
//! `CHATBUS_LONG=1` sends 100,000; the seed is printed, and `CHATBUS_SEED=…` repeats it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};

use super::{
    dice::{Caller, Dice, Throw},
    scene::Scene,
    targets::{self, Target},
    tenant::Tenant,
};

const REQUESTS: u64 = 3_000;
const REQUESTS_LONG: u64 = 100_000;
/// Requests from one tenant; then comes a new one, as the old one has spoilt its own things.
const OF_ONE: u64 = 1_500;
const AT_ONCE: usize = 12;
/// It breaks off where the visitor is erased meanwhile, and only there.
const EXPORT: &str = "export_visitor";
const WITHIN: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Counts {
    by_status: BTreeMap<u16, u64>,
    by_caller: BTreeMap<String, (u64, u64)>,
    bytes: usize,
    /// Of whom an export broke off.
    cut: BTreeSet<String>,
    /// What must not have been.
    wrong: Vec<String>,
}

/// What a caller may not see of the tenant under attack.
fn hidden(attacked: &Tenant, caller: Caller) -> Vec<&str> {
    if caller == Caller::Insider {
        vec![&attacked.staff_canary, &attacked.other_canary, &attacked.other.conversation]
    } else {
        attacked.secrets()
    }
}

impl Counts {
    fn judge(&mut self, attacked: &Tenant, target: &Target, throw: &Throw, answer: &super::answer::Answer) {
        *self.by_status.entry(answer.status).or_default() += 1;
        let (all, well) = self.by_caller.entry(format!("{:?}", throw.caller)).or_default();
        *all += 1;
        *well += u64::from(answer.status < 300);
        self.bytes += answer.bytes.len();
        let all = answer.everything();
        let asked = throw.everything();
        let leaked: Vec<&str> = hidden(attacked, throw.caller)
            .into_iter()
            .filter(|secret| all.contains(secret) && !asked.contains(secret))
            .collect();
        let may_break_off = target.name == EXPORT && answer.status == 200;
        if !answer.whole && may_break_off {
            self.cut.extend(throw.path.split('/').nth(3).map(str::to_owned));
        }
        let broken = answer.status == 500 || (!answer.whole && !may_break_off);
        if broken || !leaked.is_empty() {
            let Throw { caller, method, path, .. } = throw;
            self.wrong.push(format!(
                "{} {method} {path} by {caller:?}: {} shows {leaked:?}\n  asked: {asked}\n  {all}",
                target.name, answer.status
            ));
        }
    }
}

/// A sum over all rows of a tenant, by table.
async fn rows_of(scene: &Scene, tenant: &Tenant) -> BTreeMap<String, String> {
    let postgres = scene.world.postgres().await;
    let tables = "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.columns
        WHERE column_name = 'tenant_id' AND table_schema IN ('chat', 'config') ORDER BY 1";
    let mut sums = BTreeMap::new();
    for row in postgres.query(tables, &[]).await.unwrap() {
        let table: String = row.get(0);
        let id = &tenant.ids["tenant"];
        let sum = format!(
            "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text)), '')
               FROM {table} t WHERE tenant_id = '{id}'"
        );
        sums.insert(table, postgres.query_one(&sum, &[]).await.unwrap().get(0));
    }
    assert!(sums.len() > 20, "{sums:?}");
    sums
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_from_outside_gets_a_byte_of_a_tenant_or_changes_a_row_of_it() {
    let long = std::env::var("CHATBUS_LONG").is_ok_and(|value| value == "1");
    let given = std::env::var("CHATBUS_SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = given.unwrap_or_else(rand::random);
    println!("CHATBUS_SEED={seed}");
    let requests = if long { REQUESTS_LONG } else { REQUESTS };
    let scene = Scene::open().await;
    let attacked = Tenant::open(&scene).await;
    let targets = targets::all();
    let before = settled(&scene, &attacked).await;
    let (began, mut counts) = (Instant::now(), Counts::default());
    let mut first = 0;
    while first < requests {
        let own = Tenant::open(&scene).await;
        let end = (first + OF_ONE).min(requests);
        let thrown = (first..end).map(|number| Dice::new(seed, number, &targets, &attacked, &own).throw());
        let answers = stream::iter(thrown).map(async |throw| {
            let url = format!("{}{}", scene.url(throw.side), throw.path);
            let mut request = scene.world.http.request(throw.method.clone(), url).timeout(WITHIN);
            for (name, value) in &throw.headers {
                request = request.header(*name, value);
            }
            if let Some(body) = &throw.body {
                request = request.body(body.clone());
            }
            (scene.send_whatever_comes(request).await, throw)
        });
        let mut answers = std::pin::pin!(answers.buffer_unordered(AT_ONCE));
        while let Some((answer, throw)) = answers.next().await {
            counts.judge(&attacked, &targets[throw.target], &throw, &answer);
        }
        first = end;
    }
    let Counts { by_status, by_caller, bytes, cut, wrong } = counts;
    println!("{requests} requests in {:?}: {bytes} bytes of answers", began.elapsed());
    println!("by status: {by_status:?}");
    println!("by caller, of whom so many were answered with 2xx: {by_caller:?}");
    assert!(wrong.is_empty(), "CHATBUS_SEED={seed}: {} went wrong:\n{}", wrong.len(), wrong.join("\n"));
    for visitor in cut {
        assert!(is_erased(&scene, &visitor).await, "CHATBUS_SEED={seed}: the export of {visitor} broke off");
    }
    let well: u64 = by_status.range(200..300).map(|(_, count)| count).sum();
    assert!(well * 10 > requests, "only {well} were answered well: this shows nothing");
    assert_eq!(settled(&scene, &attacked).await, before, "CHATBUS_SEED={seed}: rows changed");
}

async fn is_erased(scene: &Scene, visitor: &str) -> bool {
    let sql = "SELECT erased_at IS NOT NULL FROM chat.visitors WHERE id = $1::text::uuid";
    scene.world.postgres().await.query_one(sql, &[&visitor]).await.unwrap().get(0)
}

/// The rows once the persister has read the whole log.
pub async fn settled(scene: &Scene, tenant: &Tenant) -> BTreeMap<String, String> {
    let log = ops::log::Log::new(scene.world.bus().await, bus_schema::Shard(0));
    ops::testing::wait_for(WITHIN, "the read model to be at the end of the log", async || {
        let end = log.end().await.map_err(|error| error.to_string())?.last;
        let found = scene.world.postgres().await.query_one("SELECT max(seq) FROM chat.watermark", &[]).await;
        let at: i64 = found.map_err(|error| error.to_string())?.get(0);
        if at.unsigned_abs() >= end { Ok(()) } else { Err(format!("at {at} of {end}")) }
    })
    .await;
    rows_of(scene, tenant).await
}
