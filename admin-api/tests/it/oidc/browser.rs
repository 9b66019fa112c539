//! A browser: cookies, and no redirect followed unseen.

use std::collections::BTreeMap;

use reqwest::{Method, header, redirect::Policy};
use serde_json::Value;

use super::CONSOLE;
use crate::world::documented;

pub struct Browser {
    http: reqwest::Client,
    /// By site and name.
    pub cookies: BTreeMap<(String, String), String>,
}

#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub location: Option<String>,
    pub body: Value,
}

impl Browser {
    pub fn new() -> Self {
        Self {
            http: reqwest::Client::builder().redirect(Policy::none()).build().unwrap(),
            cookies: BTreeMap::new(),
        }
    }

    pub async fn get(&mut self, url: &str) -> Page {
        let url = reqwest::Url::parse(url).unwrap();
        let site = url.authority().to_owned();
        let mine: Vec<String> = self
            .cookies
            .iter()
            .filter(|((of, _), _)| *of == site)
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        let request = self.http.get(url.clone()).header(header::COOKIE, mine.join("; "));
        let response = request.send().await.unwrap();
        for set in response.headers().get_all(header::SET_COOKIE) {
            let (name, rest) = set.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            self.cookies.insert((site.clone(), name.to_owned()), value.to_owned());
        }
        let location = response.headers().get(header::LOCATION).map(|to| to.to_str().unwrap().to_owned());
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.json().await.unwrap_or_default();
        documented(&Method::GET, url.path(), status, &headers, &body);
        Page { status, location: location.map(|to| url.join(&to).unwrap().to_string()), body }
    }

    /// To the last page that is ours or the provider's, and where it leads.
    pub async fn follow(&mut self, start: &str) -> Page {
        let mut page = self.get(start).await;
        for _ in 0..10 {
            match page.location.clone().filter(|to| !to.starts_with(CONSOLE)) {
                Some(to) => page = self.get(&to).await,
                None => return page,
            }
        }
        panic!("round and round: {page:?}");
    }
}

pub fn login_token(page: &Page) -> String {
    let to = page.location.as_deref().unwrap_or_else(|| panic!("no way on: {page:?}"));
    let (console, token) = to.split_once("/login#login_token=").unwrap();
    assert_eq!(console, CONSOLE);
    token.to_owned()
}

/// What went wrong, as the console is told.
pub fn error(page: &Page) -> &str {
    assert_eq!(page.status, 303, "{page:?}");
    let to = page.location.as_deref().unwrap_or_default();
    to.strip_prefix(CONSOLE)
        .and_then(|to| to.strip_prefix("/login#error="))
        .unwrap_or_else(|| panic!("{page:?}"))
}
