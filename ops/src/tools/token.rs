//! `ops token`: mint tokens with the keys at hand, log in, and say what a token holds.
//!
//! A minted token is good only where its public key is known; nothing here is ever written to a log.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use bus_schema::claims::Role;
use bus_schema::{AgentId, SessionId, TenantId, Timestamp, VisitorId, WidgetId};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::http::Http;
use super::up::{keys, layout};
use super::{environment, out};
use crate::auth::{
    Audience, KeySet, Minted, SigningKey, StaffGrant, TokenError, VisitorGrant, mint_staff, mint_visitor,
    verify_staff, verify_visitor,
};
use crate::service::Unavailable;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory of the `ops up` whose keys are used
    #[arg(long, default_value = layout::DEFAULT_DIR, env = "CHATBUS_DATA", global = true)]
    data: PathBuf,
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Log in over HTTP, as the demo agent unless told otherwise
    Login {
        #[arg(long)]
        email: Option<String>,
        #[arg(long, env = "CHATBUS_TOKEN_PASSWORD", hide_env_values = true)]
        password: Option<String>,
    },
    /// Mint a token for an agent
    Staff {
        #[arg(long)]
        agent: AgentId,
        #[arg(long)]
        tenant: TenantId,
        #[arg(long, default_value = "agent", value_parser = role)]
        role: Role,
    },
    /// Mint a token for a visitor
    Visitor {
        #[arg(long)]
        visitor: VisitorId,
        #[arg(long)]
        tenant: TenantId,
        #[arg(long)]
        widget: WidgetId,
    },
    /// Verify a token, and print what it says
    Check { token: String },
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let values = environment::read(&args.data);
    let value = |name: &str| values.get(&format!("CHATBUS_{name}")).cloned();
    let key = |variable: &str, name: &str| {
        let path =
            value(variable).map_or_else(|| layout::Layout::new(&args.data).keys().join(name), PathBuf::from);
        SigningKey::load(&path)
    };
    match &args.command {
        Command::Login { email, password } => {
            let admin = value("ADMIN_URL").ok_or_else(|| {
                Unavailable::new("no admin-api is named", "run ops up, or set CHATBUS_ADMIN_URL")
            })?;
            let email = email.clone().or_else(|| value("AGENT_EMAIL")).context("give --email")?;
            let password = password.clone().or_else(|| value("AGENT_PASSWORD")).context("give --password")?;
            let login = json!({ "email": email, "password": password });
            let answer = Http::new(&admin)?.post("/v1/auth/login", &login).await?.ok("logging in")?;
            out::say(&if args.json { answer.body.to_string() } else { answer.text_at("/access_token")? });
        }
        Command::Staff { agent, tenant, role } => {
            let session = SessionId::from_uuid(Uuid::now_v7());
            let grant = StaffGrant { agent: *agent, tenant: *tenant, role: *role, session };
            print(&mint_staff(&key("STAFF_KEY_FILE", keys::STAFF)?, grant, now()), args.json);
        }
        Command::Visitor { visitor, tenant, widget } => {
            let grant = VisitorGrant { visitor: *visitor, tenant: *tenant, widget: *widget };
            print(&mint_visitor(&key("VISITOR_KEY_FILE", keys::VISITOR)?, grant, now()), args.json);
        }
        Command::Check { token } => {
            let known = KeySet::default();
            known.add(Audience::Staff, key("STAFF_KEY_FILE", keys::STAFF)?.public().clone());
            known.add(Audience::Visitor, key("VISITOR_KEY_FILE", keys::VISITOR)?.public().clone());
            return check(&known, token);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn check(known: &KeySet, token: &str) -> anyhow::Result<ExitCode> {
    let as_staff = verify_staff(known, token, now());
    let as_visitor = verify_visitor(known, token, now());
    match (as_staff, as_visitor) {
        (Ok(claims), _) => show(&claims),
        (_, Ok(claims)) => show(&claims),
        (Err(error), Err(other)) => {
            // A token of the other kind fails on its key; the error that comes later says more.
            let error = if matches!(error, TokenError::UnknownKey) { other } else { error };
            out::say(&format!("refused: {error}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn show(claims: &impl Serialize) -> anyhow::Result<ExitCode> {
    out::say(&serde_json::to_string_pretty(claims)?);
    Ok(ExitCode::SUCCESS)
}

fn print(minted: &Minted, json: bool) {
    let as_json = || json!({ "token": minted.token, "expires_at": minted.expires_at }).to_string();
    out::say(&if json { as_json() } else { minted.token.clone() });
}

fn now() -> Timestamp {
    Timestamp::from_millis(chrono::Utc::now().timestamp_millis())
}

fn role(text: &str) -> Result<Role, String> {
    let all = [Role::Agent, Role::Supervisor, Role::Admin];
    all.into_iter().find(|role| role.name() == text).ok_or_else(|| "agent, supervisor or admin".to_owned())
}
