//! Scripts and pages: the widget's client everywhere, the demo in the development profile alone.
//!
//! Invariant: what is served was compiled in; no page runs inline script, loads from another host, or can be framed.

use std::{collections::BTreeSet, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    Router,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ops::settings::{Profile, Settings, names};

use crate::directory::origin_of_url;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const ICON: &str = "image/svg+xml";

/// Names carry no version, so each use asks whether there is a newer one: two versions of modules never mix.
const CACHE: HeaderValue = HeaderValue::from_static("public, no-cache");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A file of `edge/web`.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    body: &'static str,
}

macro_rules! assets {
    ($($path:literal $content_type:ident $file:literal;)*) => {
        &[$(Asset { path: $path, content_type: $content_type, body: include_str!(concat!("../../web/", $file)) },)*]
    };
}

/// What any page may import.
const WIDGET: &[Asset] = assets! {
    "/widget.js" SCRIPT "widget.js";
    "/widget/backoff.js" SCRIPT "widget/backoff.js";
    "/widget/client.js" SCRIPT "widget/client.js";
    "/widget/conversation.js" SCRIPT "widget/conversation.js";
    "/widget/display.js" SCRIPT "widget/display.js";
    "/widget/keep.js" SCRIPT "widget/keep.js";
    "/widget/liveness.js" SCRIPT "widget/liveness.js";
    "/widget/outbox.js" SCRIPT "widget/outbox.js";
    "/widget/protocol.js" SCRIPT "widget/protocol.js";
    "/widget/receipts.js" SCRIPT "widget/receipts.js";
    "/widget/store.js" SCRIPT "widget/store.js";
    "/widget/timeline.js" SCRIPT "widget/timeline.js";
    "/widget/tokens.js" SCRIPT "widget/tokens.js";
    "/widget/transport.js" SCRIPT "widget/transport.js";
    "/widget/typing.js" SCRIPT "widget/typing.js";
    "/widget/verdict.js" SCRIPT "widget/verdict.js";
};

const DEMO: &[Asset] = assets! {
    "/demo" HTML "demo/index.html";
    "/demo/demo.css" CSS "demo/demo.css";
    "/demo/demo.js" SCRIPT "demo/demo.js";
    "/demo/icon.svg" ICON "demo/icon.svg";
    "/demo/panel.js" SCRIPT "demo/panel.js";
    "/demo/settings.js" SCRIPT "demo/settings.js";
};

/// The routes of this profile.
pub fn router<S: Clone + Send + Sync + 'static>(settings: &Settings) -> Router<S> {
    let widget = routes(WIDGET, |headers| {
        // Public code without credentials: a page of any origin may import it.
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    });
    match settings.profile() {
        Profile::Production => widget,
        Profile::Development => {
            let policy = policy(settings);
            let demo = routes(DEMO, |headers| {
                headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
                headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
                headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
            });
            widget.merge(demo)
        }
    }
}

fn routes<S: Clone + Send + Sync + 'static>(
    assets: &'static [Asset],
    more: impl Fn(&mut HeaderMap),
) -> Router<S> {
    assets.iter().fold(Router::new(), |router, asset| {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
        headers.insert(header::CACHE_CONTROL, CACHE);
        headers.insert(header::ETAG, etag(asset.body));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        more(&mut headers);
        let headers = Arc::new(headers);
        router.route(
            asset.path,
            get(async move |asked: HeaderMap| answer(&asked, HeaderMap::clone(&headers), asset.body)),
        )
    })
}

fn answer(asked: &HeaderMap, headers: HeaderMap, body: &'static str) -> Response {
    let known = asked.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let etag = headers.get(header::ETAG).and_then(|value| value.to_str().ok());
    let is_fresh = known.zip(etag).is_some_and(|(known, etag)| {
        known.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == etag || tag == "*")
    });
    if is_fresh {
        (StatusCode::NOT_MODIFIED, headers).into_response()
    } else {
        (headers, body).into_response()
    }
}

fn etag(body: &str) -> HeaderValue {
    let hash = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, body.as_bytes()));
    HeaderValue::from_str(&format!("\"{hash}\"")).expect("base64url in quotes is a header value")
}

/// Scripts and styles from here alone; calls to the edges and to admin-api, which the settings name, and to nobody else.
fn policy(settings: &Settings) -> HeaderValue {
    let urls = [settings.text(names::CONSOLE_URL), settings.text(names::PUBLIC_WS_URL)];
    let listed = settings.list(names::CORS_ORIGINS).iter().map(String::as_str);
    let mut hosts = BTreeSet::from(["'self'".to_owned()]);
    for origin in urls.into_iter().chain(listed).filter_map(origin_of_url) {
        if let Some(rest) = origin.strip_prefix("http") {
            hosts.insert(format!("ws{rest}"));
        }
        hosts.insert(origin);
    }
    let hosts: Vec<String> = hosts.into_iter().collect();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hosts.join(" "),
    );
    HeaderValue::from_str(&policy).expect("origins are made of the characters of URIs")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt as _;
    use ops::service::Service;
    use tower::ServiceExt as _;

    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings::from_pairs(Service::Edge, pairs).unwrap()
    }

    fn development() -> Router {
        router(&settings(&[("CORS_ORIGINS", "*, http://127.0.0.1:7710, x;y")]))
    }

    fn production() -> Router {
        router(&settings(&[
            ("PROFILE", "production"),
            ("NATS_URL", "tls://bus.example"),
            ("NATS_CREDS_FILE", "/edge.creds"),
            ("PUBLIC_WS_URL", "wss://chat.example/v1/ws"),
            ("CONSOLE_URL", "https://console.example"),
            ("VISITOR_KEY_FILE", "/visitor.pem"),
        ]))
    }

    async fn ask(router: &Router, path: &str, etag: Option<&HeaderValue>) -> Response {
        let mut request = Request::get(path);
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn the_demo_is_for_development_and_the_widget_for_all() {
        for asset in DEMO {
            assert_eq!(ask(&development(), asset.path, None).await.status(), 200, "{}", asset.path);
            assert_eq!(ask(&production(), asset.path, None).await.status(), 404, "{}", asset.path);
        }
        for asset in WIDGET {
            let answer = ask(&production(), asset.path, None).await;
            assert_eq!(answer.status(), 200, "{}", asset.path);
            assert_eq!(answer.headers()[header::CONTENT_TYPE], SCRIPT);
            assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        }
    }

    #[tokio::test]
    async fn an_unchanged_file_is_not_sent_again() {
        let router = development();
        let first = ask(&router, "/demo", None).await;
        let etag = first.headers()[header::ETAG].clone();
        assert_eq!(first.into_body().collect().await.unwrap().to_bytes(), DEMO[0].body.as_bytes());
        let again = ask(&router, "/demo", Some(&etag)).await;
        assert_eq!(again.status(), 304);
        assert_eq!(again.headers()[header::ETAG], etag);
        assert_eq!(again.into_body().collect().await.unwrap().to_bytes(), "");
        let other = HeaderValue::from_static("\"other\"");
        assert_eq!(ask(&router, "/demo", Some(&other)).await.status(), 200);
    }

    #[tokio::test]
    async fn the_page_may_call_who_the_settings_name_and_nobody_else() {
        let answer = ask(&development(), "/demo", None).await;
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.contains(
                "connect-src 'self' http://127.0.0.1:7701 http://127.0.0.1:7710 \
                 ws://127.0.0.1:7700 ws://127.0.0.1:7701 ws://127.0.0.1:7710;"
            ),
            "{policy}"
        );
        assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"));
    }

    /// Every module is served, every import finds its file, and no page holds a script or names another host.
    #[test]
    fn the_files_fit_together() {
        let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let served: BTreeSet<_> = WIDGET.iter().chain(DEMO).map(|asset| asset.path.to_owned()).collect();
        for dir in ["widget", "demo"] {
            for file in fs::read_dir(web.join(dir)).unwrap() {
                let name = file.unwrap().file_name().into_string().unwrap();
                let path = if name == "index.html" { "/demo".to_owned() } else { format!("/{dir}/{name}") };
                assert!(served.contains(&path), "{path} is not served");
            }
        }
        for asset in WIDGET.iter().chain(DEMO) {
            let folder = asset.path.rsplit_once('/').unwrap().0;
            for line in asset.body.lines().filter(|line| line.contains(" from \"")) {
                let name = line.split(" from \"").nth(1).unwrap().split('"').next().unwrap();
                let target = match name.strip_prefix("./") {
                    Some(name) => format!("{folder}/{name}"),
                    None => name.to_owned(),
                };
                assert!(served.contains(&target) || line.starts_with("//"), "{}: {line}", asset.path);
            }
            if asset.content_type == HTML {
                assert!(!asset.body.contains("style=") && !asset.body.contains("://"), "{}", asset.path);
                let scripts = asset.body.matches("<script").count();
                assert_eq!(scripts, asset.body.matches("<script type=\"module\" src=\"/").count());
            }
        }
    }
}
