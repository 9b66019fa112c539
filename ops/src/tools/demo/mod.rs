//! `ops demo`: the main job, played on real input against a real system.
//!
//! Whatever differs between what was said, what was seen and what the history holds makes the exit code non-zero.

mod history;
mod play;
mod script;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::http::Http;
use super::out;
use super::target::{Started, Target, TargetArgs};
use play::{Line, Stage};
use script::{Script, Speaker};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// Another conversation than the built-in one
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Milliseconds of thought before each line; faster than the default meets the rate limits of a connection
    #[arg(long, default_value_t = 60)]
    pace_ms: u64,
    #[arg(long)]
    json: bool,
}

struct Played {
    lines: Vec<Line>,
    differences: Vec<String>,
    edges: (String, String),
    conversation: bus_schema::ConversationId,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let script = Script::load(args.script.as_deref())?;
    let pace = Duration::from_millis(args.pace_ms);
    let played = match args.target.find()? {
        Some(target) => play(&target, &script, pace).await?,
        None => {
            let started = Started::start(2, &[]).await?;
            let played = play(&started.target, &script, pace).await;
            started.stop().await?;
            played?
        }
    };
    report(&script, &played, args.json);
    Ok(if played.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn play(target: &Target, script: &Script, pace: Duration) -> anyhow::Result<Played> {
    let stage = Stage::set(target, script).await?;
    let played = perform(&stage, target, script, pace).await;
    stage.leave().await;
    played
}

async fn perform(stage: &Stage, target: &Target, script: &Script, pace: Duration) -> anyhow::Result<Played> {
    let lines = stage.play(script, pace).await?;
    let last_seq = stage.close().await?;
    out::note("closed; reading the history back");
    let mut http = Http::new(target.admin()?)?;
    let login = json!({ "email": target.text("AGENT_EMAIL")?, "password": target.text("AGENT_PASSWORD")? });
    let token = http.post("/v1/auth/login", &login).await?.ok("logging in")?.text_at("/access_token")?;
    http.authorize(&token);
    let history = history::read(&http, stage.conversation, last_seq).await?;
    let mut differences = stage.differences(&lines);
    differences.extend(history::differences(&lines, &history));
    Ok(Played { lines, differences, edges: stage.edges(), conversation: stage.conversation })
}

fn report(script: &Script, played: &Played, json: bool) {
    if json {
        let report = json!({
            "conversation_id": played.conversation,
            "edges": { "visitor": played.edges.0, "agent": played.edges.1 },
            "messages": played.lines,
            "differences": played.differences,
        });
        out::say(&report.to_string());
        return;
    }
    let width = script.visitor.chars().count().max("agent".len());
    for line in &played.lines {
        let who = match line.speaker {
            Speaker::Visitor => script.visitor.as_str(),
            Speaker::Agent => "agent",
        };
        let at = line.at.to_string();
        let clock = at.get(11..23).unwrap_or_default();
        let text = line.text.replace('\n', &format!("\n{:1$}", "", width + 47));
        out::say(&format!(
            "{clock}  stored {:7.2} ms  seen {:7.2} ms  {who:>width$}: {text}",
            line.stored_ms, line.seen_ms
        ));
    }
    let (count, of) = (played.lines.len(), &played.conversation);
    let (visitor, agent) = &played.edges;
    out::say(&format!("\n{count} messages in conversation {of}, visitor on {visitor}, agent on {agent}"));
    out::say(&format!(
        "sent → stored: {}   sent → seen: {}",
        spread(played.lines.iter().map(|line| line.stored_ms)),
        spread(played.lines.iter().map(|line| line.seen_ms)),
    ));
    if played.differences.is_empty() {
        out::say(&out::bold("history, visitor's list and what was said agree"));
    }
    for difference in &played.differences {
        out::say(&format!("DIFFERENCE: {difference}"));
    }
}

fn spread(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let median = values.get(values.len() / 2).copied().unwrap_or_default();
    format!("median {median:.2} ms, most {:.2} ms", values.last().copied().unwrap_or_default())
}
