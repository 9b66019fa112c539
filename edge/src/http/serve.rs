//! Accepting connections, and speaking HTTP on them until they become sockets.
//!
//! Invariant: a connection is let in by [`Admission`](crate::admission::Admission) or told why not, and given no
//! longer than `HEADERS_WITHIN` for the head of a request: whoever dawdles holds nothing but their own place.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use bus_schema::ErrorCode;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tower::ServiceExt as _;

use super::problem;
use crate::{
    admission::{Accepts, Full, Via},
    app::App,
};

/// How long the head of a request may take, the wait for its first byte included.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// The head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Connections that are told at once that they are too many; more are closed without a word.
const TOLD_MAX: usize = 256;
/// How long one of them may take to hear it.
const TOLD_WITHIN: Duration = Duration::from_secs(1);
/// After an error that is not the client's, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the shutdown; requests that are being answered then have `grace` to end.
pub async fn serve(listener: TcpListener, router: Router, app: Arc<App>, grace: Duration) {
    let told = Arc::new(Semaphore::new(TOLD_MAX));
    let mut accepts = Accepts::new(app.admission.accepts, Instant::now());
    while let Some(accepted) = app.shutdown.run_until_cancelled(listener.accept()).await {
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                on_error(&error).await;
                continue;
            }
        };
        match app.admission.connected(remote.ip()) {
            Ok(via) => {
                let connection = connection(stream, via, router.clone(), app.clone(), grace);
                app.tasks.spawn(connection);
            }
            Err(full) => {
                if let Ok(place) = told.clone().try_acquire_owned() {
                    app.tasks.spawn(async move {
                        let _ = timeout(TOLD_WITHIN, refuse(stream, full)).await;
                        drop(place);
                    });
                }
            }
        }
        if let Err(wait) = accepts.next(Instant::now()) {
            sleep(wait).await;
        }
    }
}

async fn on_error(error: &io::Error) {
    let of_client = matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    );
    if !of_client {
        tracing::error!(%error, "connections cannot be accepted now");
        sleep(PAUSE).await;
    }
}

async fn connection(stream: TcpStream, via: Via, router: Router, app: Arc<App>, grace: Duration) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small frames may be late");
    }
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(via.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => Some(ended),
        () = app.shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            timeout(grace, serving).await.ok()
        }
    };
    if let Some(Err(error)) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Says that there are too many, without reading what is wanted.
async fn refuse(mut stream: TcpStream, full: Full) -> io::Result<()> {
    let code = match full {
        Full::All => ErrorCode::Unavailable,
        Full::Each => ErrorCode::RateLimited,
    };
    stream.write_all(problem::bare(code).as_bytes()).await?;
    stream.shutdown().await?;
    // Closing with something unread would take the answer back.
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}

/// Where the listener listens, with room for a storm of connections.
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    const BACKLOG: u32 = 8_192;
    let socket = match addr {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}
