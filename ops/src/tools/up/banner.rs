//! What `ops up` prints and writes once everything is ready.
//!
//! The banner shows a selection of `up.env` for people; programs read the file.

use super::env_file::Values;
use super::keys;
use super::layout::Layout;
use super::plan::{Plan, Wiring};
use super::seed::{Demo, Seeded};
use crate::service::Service;
use crate::tools::out;

/// The values of `up.env`, but for the process ids.
pub fn values(plan: &Plan, wiring: &Wiring, demo: &Demo, seeded: &Seeded) -> Values {
    let operations = |service| plan.operations_urls(service).join(",");
    let mut values = vec![
        ("EDGE_URLS", plan.urls(Service::Edge).join(",")),
        ("ADMIN_URL", plan.urls(Service::AdminApi).join(",")),
        ("NATS_URL", wiring.nats_url.clone()),
        ("DATABASE_URL", wiring.database_url.clone()),
        ("WIDGET_KEY", seeded.widget_key.clone()),
        ("ADMIN_EMAIL", demo.admin_email.clone()),
        ("ADMIN_PASSWORD", demo.admin_password.clone()),
        ("AGENT_EMAIL", demo.agent_email.clone()),
        ("AGENT_PASSWORD", demo.agent_password.clone()),
        ("EDGE_OPS_URLS", operations(Service::Edge)),
        ("ROUTER_OPS_URLS", operations(Service::Router)),
        ("PERSISTER_OPS_URLS", operations(Service::Persister)),
        ("ADMIN_API_OPS_URLS", operations(Service::AdminApi)),
        ("STAFF_KEY_FILE", wiring.keys.join(keys::STAFF).to_string_lossy().into_owned()),
        ("VISITOR_KEY_FILE", wiring.keys.join(keys::VISITOR).to_string_lossy().into_owned()),
    ];
    values.extend(wiring.nats_monitor_url.iter().map(|url| ("NATS_MONITOR_URL", url.clone())));
    if wiring.own_nats {
        values.push((
            "NATS_CREDS_FILE",
            keys::bus_seed(&wiring.keys, Service::Ops).to_string_lossy().into_owned(),
        ));
    }
    values.into_iter().map(|(name, value)| (format!("CHATBUS_{name}"), value)).collect()
}

/// The banner, or the same as JSON.
pub fn text(values: &Values, layout: &Layout, json: bool) -> anyhow::Result<String> {
    if json {
        let values: std::collections::BTreeMap<_, _> = values.iter().cloned().collect();
        return Ok(serde_json::to_string(&values)?);
    }
    let value = |name: &str| {
        let name = format!("CHATBUS_{name}");
        values.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    };
    let admin = value("ADMIN_URL");
    Ok(format!(
        "\n{title}\n\
         \n  edges      {edges}\n  admin API  {admin}   docs {admin}/docs\n\
         \n  admin      {admin_email} / {admin_password}\n  agent      {agent_email} / {agent_password}\n\
         \n  widget key {widget}\n  NATS       {nats}\n  Postgres   {postgres}\n  logs       {logs}\n\
         \n  ops env --data {dir} prints all of it. Ctrl-C stops everything.\n",
        title = out::bold("Chatbus is up"),
        edges = value("EDGE_URLS").replace(',', " "),
        admin_email = value("ADMIN_EMAIL"),
        admin_password = value("ADMIN_PASSWORD"),
        agent_email = value("AGENT_EMAIL"),
        agent_password = value("AGENT_PASSWORD"),
        widget = value("WIDGET_KEY"),
        nats = value("NATS_URL"),
        postgres = value("DATABASE_URL"),
        logs = layout.logs().display(),
        dir = layout.dir().display(),
    ))
}
