//! A page's origin, and lists of them.
//!
//! Invariant: an origin matches a list entry whole or not at all; `*` matches every origin but `null`.

use http::{HeaderMap, header::ORIGIN};

/// What a browser says of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Not a browser.
    Absent,
    Page(String),
    /// Not readable, or more than one: matches nothing.
    Malformed,
}

impl Origin {
    pub fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(ORIGIN).iter();
        match (values.next(), values.next()) {
            (None, _) => Origin::Absent,
            (Some(one), None) => match one.to_str() {
                Ok(text) if !text.is_empty() => Origin::Page(text.to_ascii_lowercase()),
                Ok(_) | Err(_) => Origin::Malformed,
            },
            (Some(_), Some(_)) => Origin::Malformed,
        }
    }

    /// Whether a list, given as a look-up, holds it.
    pub fn is_listed(&self, holds: impl Fn(&str) -> bool) -> bool {
        match self {
            Origin::Absent => true,
            Origin::Page(origin) => holds(origin) || (origin != "null" && holds("*")),
            Origin::Malformed => false,
        }
    }

    pub fn is_in<S: AsRef<str>>(&self, list: &[S]) -> bool {
        self.is_listed(|origin| list.iter().any(|entry| entry.as_ref().eq_ignore_ascii_case(origin)))
    }
}

/// Scheme, host and port of a URL, as a browser would send them.
pub fn origin_of_url(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    let (scheme, host) = (uri.scheme_str()?, uri.host()?);
    let default = match scheme {
        "https" | "wss" => 443,
        _ => 80,
    };
    let port = uri.port_u16().filter(|port| *port != default);
    Some(match port {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(origin: &str) -> Origin {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, origin.parse().unwrap());
        Origin::of(&headers)
    }

    #[test]
    fn origins_match_whole_or_not_at_all() {
        let list = ["https://shop.example", "http://localhost:3000"];
        assert!(page("https://shop.example").is_in(&list));
        assert!(page("HTTPS://Shop.Example").is_in(&list));
        assert!(Origin::Absent.is_in(&list));
        for other in ["https://shop.example.evil", "http://shop.example", "https://shop.example:444", "null"]
        {
            assert!(!page(other).is_in(&list), "{other}");
        }
        assert!(!Origin::Malformed.is_in(&["*"]));
    }

    #[test]
    fn a_star_is_every_page_and_null_only_where_it_stands() {
        assert!(page("https://any.example").is_in(&["*"]));
        assert!(!page("null").is_in(&["*"]));
        assert!(page("null").is_in(&["null"]));
    }

    #[test]
    fn two_origins_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(ORIGIN, "https://a.example".parse().unwrap());
        headers.append(ORIGIN, "https://b.example".parse().unwrap());
        assert_eq!(Origin::of(&headers), Origin::Malformed);
    }

    #[test]
    fn urls_have_origins_as_browsers_send_them() {
        assert_eq!(origin_of_url("https://a.example:443/x").as_deref(), Some("https://a.example"));
        assert_eq!(origin_of_url("http://127.0.0.1:7701").as_deref(), Some("http://127.0.0.1:7701"));
        assert_eq!(origin_of_url("nonsense"), None);
    }
}
