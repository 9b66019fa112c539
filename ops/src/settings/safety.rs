//! Which settings the production profile refuses.
//!
//! Invariant: pure; looks at everything and lists all of it.

use std::time::Duration;

use super::{
    Problem, Settings, Source, names,
    table::{self, Setting},
    value::Value,
};

/// An ended session is closed within this time, also while the bus is away.
const UNVERIFIED_MAX: Duration = Duration::from_secs(60);

/// What is unsafe in production.
pub fn unsafe_settings(settings: &Settings) -> Vec<Problem> {
    let mine = |setting: &&Setting| setting.services.contains(&settings.service);
    table::SETTINGS.iter().filter(mine).filter_map(|setting| judge(settings, setting)).collect()
}

fn judge(settings: &Settings, setting: &Setting) -> Option<Problem> {
    let given = settings.values.get(setting.name);
    let problem = |fix: &str| {
        Some(Problem {
            variable: setting.variable(),
            shown: given.filter(|_| !setting.secret).map(|given| given.value.to_string()),
            source: given.map_or(Source::Default, |given| given.source.clone()),
            fix: format!("is unsafe in production: {fix}"),
        })
    };
    let Some(given) = given else {
        return match setting.name {
            names::NATS_CREDS_FILE => problem("name the file with this service's bus credentials"),
            _ => None,
        };
    };
    if setting.decide && given.source == Source::Default {
        return problem("set it; the default is for development");
    }
    let private =
        matches!(settings.values.get(names::PRIVATE_NETWORK), Some(g) if g.value == Value::Bool(true));
    match (setting.name, &given.value) {
        (names::PUBLIC_WS_URL, Value::Text(url)) if !url.starts_with("wss://") => problem("use wss://"),
        (names::CONSOLE_URL, Value::Text(url)) if !url.starts_with("https://") => problem("use https://"),
        (names::CORS_ORIGINS, Value::List(origins)) if origins.iter().any(|o| !o.starts_with("https://")) => {
            problem("name each origin, with https://")
        }
        (names::TRUSTED_PROXIES, Value::List(networks)) if networks.iter().any(|n| n.ends_with("/0")) => {
            problem("name the networks of the proxies, not the whole Internet")
        }
        (names::NATS_URL, Value::Text(urls))
            if !private && urls.split(',').any(|u| in_the_clear(u.trim(), "nats")) =>
        {
            problem("use tls://, or say CHATBUS_PRIVATE_NETWORK=true")
        }
        (names::FILES_S3_ENDPOINT, Value::Text(url)) if !private && in_the_clear(url, "http") => {
            problem("use https://, or say CHATBUS_PRIVATE_NETWORK=true")
        }
        (names::SMTP_URL, Value::Secret(url)) if !private && in_the_clear(url, "smtp") => {
            problem("use smtps://, or say CHATBUS_PRIVATE_NETWORK=true")
        }
        (names::MAIL_DIR, _) => problem("set CHATBUS_SMTP_URL instead: its files let in whoever reads them"),
        (names::MAIL_FROM, _)
            if given.source == Source::Default && settings.values.contains_key(names::SMTP_URL) =>
        {
            problem("name an address of yours: mails from the default are thrown away")
        }
        (names::UNVERIFIED_MS, Value::Millis(longest)) if *longest > UNVERIFIED_MAX => {
            problem("60000 at most: an ended session must not outlive its end by more")
        }
        (names::DATABASE_URL, Value::Secret(url)) if guessable_password(url) => {
            problem("its password is missing or one that everybody tries first")
        }
        (name, Value::Int(0) | Value::Millis(Duration::ZERO)) if name.starts_with("LIMIT_") => {
            problem("0 switches the limit off; set a number")
        }
        _ => None,
    }
}

fn in_the_clear(url: &str, plain_scheme: &str) -> bool {
    let Some(rest) = url.strip_prefix(plain_scheme).and_then(|rest| rest.strip_prefix("://")) else {
        return false;
    };
    let host = host(rest);
    !(host == "localhost" || host == "[::1]" || host.starts_with("127."))
}

/// The host in `user:password@host:port/path`.
fn host(rest: &str) -> &str {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    match host.strip_prefix('[').and_then(|v6| v6.find(']')) {
        Some(end) => &host[..end + 2],
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// Over the network a password is needed; a Unix socket or loopback may rely on the system's own rules.
fn guessable_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let password =
        authority.rsplit_once('@').and_then(|(who, _)| who.split_once(':')).map(|(_, password)| password);
    match password {
        Some(password) => ["", "postgres", "password", "chatbus", "secret", "admin"].contains(&password),
        None => in_the_clear(&format!("p://{rest}"), "p"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Service;

    const SAFE: &[(&str, &str)] = &[
        (names::PROFILE, "production"),
        (names::NATS_URL, "tls://bus:4222"),
        (names::NATS_CREDS_FILE, "/run/secrets/nats"),
        (names::DATABASE_URL, "postgres://me:Xk29vvQ@db/chatbus"),
        (names::PUBLIC_WS_URL, "wss://chat.example/v1/ws"),
        (names::CONSOLE_URL, "https://console.example"),
        (names::STAFF_KEY_FILE, "/run/secrets/staff.pem"),
        (names::VISITOR_KEY_FILE, "/run/secrets/visitor.pem"),
    ];

    fn refused(service: Service, change: &[(&str, &str)]) -> Vec<String> {
        let pairs: Vec<_> = SAFE.iter().chain(change).copied().collect();
        match Settings::from_pairs(service, &pairs) {
            Ok(_) => Vec::new(),
            Err(invalid) => invalid.0.into_iter().map(|p| p.variable.replace(table::PREFIX, "")).collect(),
        }
    }

    #[test]
    fn safe_production_settings_are_accepted() {
        for service in Service::ALL {
            assert_eq!(refused(service, &[]), Vec::<String>::new(), "{service}");
        }
    }

    #[test]
    fn development_defaults_are_all_refused_at_once() {
        let invalid = Settings::from_pairs(Service::Edge, &[(names::PROFILE, "production")]).unwrap_err();
        let names: Vec<_> = invalid.0.iter().map(|p| p.variable.as_str()).collect();
        assert_eq!(
            names,
            [
                "CHATBUS_NATS_URL",
                "CHATBUS_NATS_CREDS_FILE",
                "CHATBUS_PUBLIC_WS_URL",
                "CHATBUS_CONSOLE_URL",
                "CHATBUS_VISITOR_KEY_FILE"
            ]
        );
    }

    #[test]
    fn each_unsafe_value_is_refused_by_name() {
        let cases: &[(Service, &str, &str)] = &[
            (Service::Edge, names::NATS_URL, "nats://bus:4222"),
            (Service::Edge, names::PUBLIC_WS_URL, "ws://chat.example/v1/ws"),
            (Service::Edge, names::CORS_ORIGINS, "*"),
            (Service::Edge, names::TRUSTED_PROXIES, "10.0.0.0/8,0.0.0.0/0"),
            (Service::Edge, names::LIMIT_MESSAGE_BYTES, "0"),
            (Service::Edge, names::LIMIT_DEAD_AFTER_MS, "0"),
            (Service::Edge, names::FILES_S3_ENDPOINT, "http://s3.example"),
            (Service::Edge, names::UNVERIFIED_MS, "60001"),
            (Service::AdminApi, names::DATABASE_URL, "postgres://postgres:postgres@db/x"),
            (Service::AdminApi, names::DATABASE_URL, "postgres://me@db/x"),
            (Service::AdminApi, names::MAIL_DIR, "/tmp/mail"),
        ];
        for (service, name, value) in cases {
            assert_eq!(refused(*service, &[(name, value)]), [*name], "{value}");
        }
    }

    #[test]
    fn a_mail_server_must_be_encrypted_and_mails_must_come_from_somebody() {
        let from = (names::MAIL_FROM, "Chat <chat@example.com>");
        let server = |url| (names::SMTP_URL, url);
        assert_eq!(refused(Service::AdminApi, &[server("smtp://mail.example"), from]), [names::SMTP_URL]);
        assert_eq!(refused(Service::AdminApi, &[server("smtps://mail.example")]), [names::MAIL_FROM]);
        assert!(refused(Service::AdminApi, &[server("smtps://mail.example"), from]).is_empty());
    }

    #[test]
    fn a_private_network_and_loopback_may_be_unencrypted() {
        let private = (names::PRIVATE_NETWORK, "true");
        assert!(refused(Service::Edge, &[(names::NATS_URL, "nats://bus:4222"), private]).is_empty());
        for url in ["nats://127.0.0.1:4222", "nats://[::1]:4222", "nats://localhost"] {
            assert!(refused(Service::Edge, &[(names::NATS_URL, url)]).is_empty(), "{url}");
        }
    }
}
