//! Where staff's tokens come from when the server that makes them fails.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
};

use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use ops::client::{Http, Tokens};
use serde_json::json;
use tokio::net::TcpListener;
use uuid::Uuid;

/// What the server does.
struct Admin {
    refresh_with: AtomicU16,
    logins: AtomicUsize,
}

impl Admin {
    async fn start() -> (Arc<Self>, String) {
        let admin = Arc::new(Self { refresh_with: AtomicU16::new(200), logins: AtomicUsize::new(0) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = admin.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let admin = serving.clone();
                let service = service_fn(move |request| std::future::ready(admin.answer(&request)));
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        (admin, url)
    }

    fn answer(&self, request: &Request<Incoming>) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
        let mut answer = json!({ "access_token": "a", "refresh_token": "r", "expires_in": 600 });
        let status = if request.uri().path() == "/v1/auth/refresh" {
            self.refresh_with.load(Ordering::Relaxed)
        } else {
            self.logins.fetch_add(1, Ordering::Relaxed);
            answer["agent"] = json!({ "id": Uuid::nil() });
            200
        };
        Ok(Response::builder().status(status).body(answer.to_string().into()).unwrap())
    }
}

#[tokio::test]
async fn only_a_session_that_has_ended_is_followed_by_another_login() {
    ops::service::install_crypto();
    let (admin, url) = Admin::start().await;
    let tokens = Tokens::staff(Http::new().unwrap(), &url, "ann@acme.example", "a password");
    let logins = || admin.logins.load(Ordering::Relaxed);
    tokens.get(false).await.unwrap();
    tokens.get(true).await.unwrap();
    assert_eq!(logins(), 1, "by refresh token");
    for passing in [408, 429, 500, 503] {
        admin.refresh_with.store(passing, Ordering::Relaxed);
        assert!(tokens.get(true).await.unwrap_err().is_transient(), "{passing}");
    }
    assert_eq!(logins(), 1, "what passes says nothing of the session");
    admin.refresh_with.store(401, Ordering::Relaxed);
    tokens.get(true).await.unwrap();
    assert_eq!(logins(), 2);
}
