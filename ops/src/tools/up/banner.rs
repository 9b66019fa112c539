//! What `ops up` prints and writes once everything is ready.
//!
//! The banner shows a selection of `up.env` for people; programs read the file.

use super::env_file::Values;
use super::keys;
use super::layout::Layout;
use super::plan::{Plan, Wiring};
use super::seed::{Demo, Seeded};
use crate::service::Service;
use crate::settings::{names, table::PREFIX};
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
    // What the services were told of the installation, so that others can be told the same.
    let told =
        |name| Some((name, std::env::var(format!("{PREFIX}{name}")).ok().filter(|value| !value.is_empty())?));
    values.extend([names::SHARDS, names::AGENT_GRACE_MS].into_iter().filter_map(told));
    values.into_iter().map(|(name, value)| (format!("{PREFIX}{name}"), value)).collect()
}

fn find<'a>(values: &'a Values, name: &str) -> &'a str {
    values.iter().find(|(known, _)| known.strip_prefix(PREFIX) == Some(name)).map_or("", |(_, value)| value)
}

/// The address of the demo's page. What follows its `#` stays in the browser.
fn demo(values: &Values) -> String {
    let value = |name| find(values, name);
    let (first, others) = value("EDGE_URLS").split_once(',').unwrap_or_else(|| (value("EDGE_URLS"), ""));
    let pairs = [
        ("widget", value("WIDGET_KEY")),
        ("edges", others),
        ("admin", value("ADMIN_URL")),
        ("email", value("AGENT_EMAIL")),
        ("password", value("AGENT_PASSWORD")),
    ];
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    let fragment: Vec<_> = pairs.map(|(name, value)| format!("{name}={}", escape(value))).collect();
    format!("{first}/demo#{}", fragment.join("&"))
}

/// As `URLSearchParams` reads it back; what URLs hold without harm stays legible.
fn escape(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~:/,@".contains(&byte);
    value
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The banner, or the same as JSON.
pub fn text(values: &Values, layout: &Layout, json: bool) -> anyhow::Result<String> {
    if json {
        let values: std::collections::BTreeMap<_, _> = values.iter().cloned().collect();
        return Ok(serde_json::to_string(&values)?);
    }
    let value = |name| find(values, name);
    let admin = value("ADMIN_URL");
    Ok(format!(
        "\n{title}\n\
         \n  demo       {demo}\n\
         \n  edges      {edges}\n  admin API  {admin}   docs {admin}/docs\n\
         \n  admin      {admin_email} / {admin_password}\n  agent      {agent_email} / {agent_password}\n\
         \n  widget key {widget}\n  NATS       {nats}\n  Postgres   {postgres}\n  logs       {logs}\n\
         \n  ops env --data {dir} prints all of it. Ctrl-C stops everything.\n",
        title = out::bold("Chatbus is up"),
        demo = demo(values),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demos_address_names_all_that_its_page_asks_for() {
        let values = [
            ("CHATBUS_EDGE_URLS", "http://127.0.0.1:7700,http://127.0.0.1:7710,http://127.0.0.1:7720"),
            ("CHATBUS_ADMIN_URL", "http://127.0.0.1:7701"),
            ("CHATBUS_WIDGET_KEY", "wk_1"),
            ("CHATBUS_AGENT_EMAIL", "agent@livechat.com"),
            ("CHATBUS_AGENT_PASSWORD", "a&b=c d"),
        ];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(
            demo(&values),
            "http://127.0.0.1:7700/demo#widget=wk_1&edges=http://127.0.0.1:7710,http://127.0.0.1:7720\
             &admin=http://127.0.0.1:7701&email=agent@livechat.com&password=a%26b%3Dc%20d"
        );
    }
}
