//! `ops bench api`: p50 and p99 of each list, get and search route over a large read model, with Postgres's plans.
//!
//! The read model is filled straight into a Postgres of the measurement's own, and asked through a running admin-api.

mod load;
mod made;
mod measure;
mod plans;
mod report;
mod routes;
mod world;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, ensure};
use bus_schema::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use self::{
    made::{Made, Things},
    report::Report,
    routes::ASKS,
    world::{People, Person, World},
};
use super::machine::{Jiffies, Machine};
use crate::{
    dev::guard::{Guarded, Signal},
    tools::out,
};

const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// Of each kind that is configured: a page of a list.
const THINGS: usize = 50;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Conversations of the tenant
    #[arg(long, default_value_t = 500_000)]
    conversations: u64,
    /// Events, shared evenly among them
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// Requests per second of each route, one route after the other
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Seconds for each route
    #[arg(long, default_value_t = 5.0)]
    duration: f64,
    /// Writes figures and plans to this file, as docs/benchmarks/api.md
    #[arg(long)]
    page: Option<PathBuf>,
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(args.conversations >= 1_000, "at least 1,000 conversations");
    ensure!(args.events / args.conversations >= 8, "at least 8 events for each conversation");
    ensure!(args.rate > 0.0 && args.duration > 0.0, "a rate and a duration above 0");
    let world = World::start().await?;
    let admin_api = world.admin_api().await?;
    let admin = world.register().await?;
    let group = world.make(&admin, "/v1/groups", &json!({ "name": "Support" })).await?;
    let agent = world.agent(&admin, "bob", &[&group]).await?;
    let newcomer = world.agent(&admin, "eve", &[]).await?;
    let things = things(&world, &admin).await?;
    let made = Made {
        things,
        tenant: admin.tenant.parse().context("the tenant's id")?,
        agent: agent.agent.parse().context("the agent's id")?,
        tag: world.make(&admin, "/v1/tags", &json!({ "name": "refund" })).await?.parse()?,
        group: group.parse().context("the group's id")?,
        conversations: args.conversations,
        each: args.events / args.conversations,
        now: now(),
    };
    let mut people = People { admin, agent, newcomer };
    let loaded = load::load(&world, &made).await?;
    eprintln!("loaded {} events in {:.0} s, {:.1} GiB", made.events(), loaded.seconds, loaded.gib);

    let http = reqwest::Client::builder().no_proxy().build()?;
    let before = Jiffies::now();
    let mut figures = Vec::new();
    for ask in ASKS {
        let who = people.who(ask.by);
        world.refresh(who).await?;
        let pace = (args.rate, args.duration);
        figures.push(measure::measure(&http, &world.url, &who.token, &made, ask, pace).await?);
    }
    let noise = Jiffies::now().noise_since(before);

    end(admin_api).await?;
    plans::tell(&world).await?;
    let admin_api = world.admin_api().await?;
    let plans = plans::keep(&world, &made, &mut people).await?;
    end(admin_api).await?;

    let report = Report {
        machine: Machine::look(),
        postgres: world.postgres.sql().await?.query_one("SHOW server_version", &[]).await?.get(0),
        conversations: made.conversations,
        events: made.events(),
        loaded,
        rate: args.rate,
        seconds: args.duration,
        noise,
        figures,
        plans,
    };
    if let Some(page) = &args.page {
        std::fs::write(page, report.page()).with_context(|| format!("write {}", page.display()))?;
    }
    out::say(&if args.json { serde_json::to_string_pretty(&report)? } else { report.text() });
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A page of each kind that is configured, and one of each.
async fn things(world: &World, admin: &Person) -> anyhow::Result<Things> {
    let make = async |path: &str, body: &dyn Fn(usize) -> Value| -> anyhow::Result<Uuid> {
        let mut id = Uuid::nil();
        for number in 0..THINGS {
            id = world.make(admin, path, &body(number)).await?.parse()?;
        }
        Ok(id)
    };
    let fields = json!([{ "name": "order" }]);
    Ok(Things {
        widget: make("/v1/widgets", &|n| json!({ "name": format!("Site {n}") })).await?,
        canned_response: make(
            "/v1/canned-responses",
            &|n| json!({ "shortcut": format!("hello{n}"), "text": "Hello, how may I help you?" }),
        )
        .await?,
        action_template: make(
            "/v1/action-templates",
            &|n| json!({ "name": format!("Form {n}"), "description": "An order", "fields": fields }),
        )
        .await?,
        api_token: make(
            "/v1/api-tokens",
            &|n| json!({ "name": format!("Program {n}"), "scopes": ["agents:read"] }),
        )
        .await?,
    })
}

fn now() -> Timestamp {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

async fn end(mut process: Guarded) -> anyhow::Result<()> {
    process.signal(Signal::TERM)?;
    process.wait(ENDS_WITHIN).await?;
    Ok(())
}
