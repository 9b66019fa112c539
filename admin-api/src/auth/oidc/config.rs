//! The setting that names the providers.
//!
//! Invariant: pure; a provider that comes out of it has everything that a login needs.

use std::net::IpAddr;

use serde::Deserialize;

const NAME_CHARS_MAX: usize = 32;

/// An OpenID provider.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// In our URLs.
    pub name: String,
    pub issuer: String,
    pub client_id: String,
    pub client_secret: String,
    /// This service's `/v1/auth/oidc/{name}/callback`, as browsers reach it.
    pub redirect_uri: String,
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,
}

impl std::fmt::Debug for ProviderConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProviderConfig({} at {})", self.name, self.issuer)
    }
}

fn default_scopes() -> Vec<String> {
    ["openid", "email"].map(str::to_owned).to_vec()
}

/// The setting is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadProviders(pub String);

/// Reads the setting: a JSON list.
pub fn parse(text: &str) -> Result<Vec<ProviderConfig>, BadProviders> {
    // What serde says about a value may quote a secret; where it stands does not.
    let providers: Vec<ProviderConfig> = serde_json::from_str(text).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        BadProviders(format!(
            "must be a JSON list of providers with name, issuer, client_id, client_secret and redirect_uri: \
             wrong at {place}"
        ))
    })?;
    for (at, provider) in providers.iter().enumerate() {
        check(provider)?;
        if providers[..at].iter().any(|other| other.name == provider.name) {
            return Err(BadProviders(format!("provider {} is there twice", provider.name)));
        }
    }
    Ok(providers)
}

fn check(provider: &ProviderConfig) -> Result<(), BadProviders> {
    let wrong = |what: &str| Err(BadProviders(format!("provider {:?}: {what}", provider.name)));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !(1..=NAME_CHARS_MAX).contains(&provider.name.len()) || !provider.name.chars().all(plain) {
        return wrong("name must be 1 to 32 of a-z, 0-9 and -");
    }
    if !is_safe(&provider.issuer) {
        return wrong("issuer must be a URL with https://");
    }
    if !is_safe(&provider.redirect_uri) {
        return wrong("redirect_uri must be a URL with https://");
    }
    if provider.client_id.is_empty() || provider.client_secret.is_empty() {
        return wrong("client_id and client_secret must not be empty");
    }
    if !provider.scopes.iter().any(|scope| scope == "openid") {
        return wrong("scopes must hold openid");
    }
    Ok(())
}

/// Over TLS, or on this machine.
pub fn is_safe(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let local = url.host_str().is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    });
    url.username().is_empty() && (url.scheme() == "https" || (url.scheme() == "http" && local))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(change: &str, to: &str) -> String {
        let good = r#"[{"name":"corp","issuer":"https://id.example","client_id":"a","client_secret":"hunter2",
            "redirect_uri":"https://api.example/v1/auth/oidc/corp/callback"}]"#;
        good.replace(change, to)
    }

    #[test]
    fn a_provider_has_all_that_a_login_needs() {
        assert_eq!(parse(&text("", "")).unwrap()[0].scopes, ["openid", "email"]);
        assert!(parse(&text("https://id.example", "http://127.0.0.1:9")).is_ok());
        for (change, to) in [
            ("corp\",\"issuer", "Corp/..\",\"issuer"),
            ("https://id.example", "http://id.example"),
            ("https://id.example", "ftp://127.0.0.1"),
            ("https://api.example", "http://api.example"),
            ("\"hunter2\"", "\"\""),
            ("\"hunter2\"", "7"),
            ("\"client_id\":\"a\",", ""),
            ("}]", ",\"scopes\":[\"email\"]}]"),
            ("}]", ",\"colour\":1}]"),
            ("[", ""),
        ] {
            let error = parse(&text(change, to)).unwrap_err();
            assert!(!error.0.contains("hunter2"), "{error}");
        }
    }
}
