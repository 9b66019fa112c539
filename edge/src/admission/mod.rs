//! What an edge takes on: connections, sockets that are not logged in yet, logins, sessions, and what tenants store.
//!
//! Invariant: each refusal is counted under its reason, is told to be temporary, and says when to come back; nobody's
//! limit is kept under a key that strangers share.

mod address;
mod bucket;
mod counted;
mod limiter;
mod reserve;
mod share;
mod stored;
mod uploads;

use std::{sync::Arc, time::Duration};

pub use address::{Caller, Door, Via};
pub use bucket::Accepts;
use bus_schema::{WidgetId, close::CloseCode, protocol::Closing};
pub use counted::{Full, Pass};
use ops::{
    peer::{Peer, Proxies},
    service::Context,
    settings::{Settings, names},
};
pub use stored::Want;

use crate::{
    app::App,
    conn::Conn,
    metrics::{Limit, Measures},
};
use bucket::Rate;
use counted::{Bounds, Counted};
use limiter::Limiter;
use reserve::Reserve;
use share::Share;
use stored::Tenants;
use uploads::Uploads;

/// Who is sent away comes back after a while within these, each at their own.
const COME_BACK: std::ops::Range<u64> = 1_000..10_000;

#[derive(Debug)]
pub struct Admission {
    proxies: Proxies,
    /// TCP connections, by the address that made them unless it is a proxy's.
    connections: Arc<Counted<Peer>>,
    /// Sockets that came through a proxy, by the address it names.
    forwarded: Arc<Counted<Peer>>,
    /// Sockets before their login.
    lobby: Arc<Counted<Peer>>,
    pub accepts: Option<Rate>,
    pub sessions_of_address: Limiter<Peer>,
    pub sessions_of_widget: Limiter<WidgetId>,
    pub logins_of_address: Limiter<Peer>,
    tenants: Tenants,
    uploads: Uploads,
    reserve: Reserve,
    measures: Arc<Measures>,
}

/// Too many: come back later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overloaded {
    pub after: Duration,
}

impl Admission {
    pub fn new(settings: &Settings, measures: &Arc<Measures>) -> Self {
        let limit = |name| settings.limit(name);
        let of_address = limit(names::LIMIT_CONNECTIONS_PER_ADDRESS);
        Self {
            proxies: Proxies::parse(settings.list(names::TRUSTED_PROXIES))
                .expect("the settings were validated as networks"),
            connections: Counted::new(Bounds { all: limit(names::LIMIT_CONNECTIONS), each: of_address }),
            forwarded: Counted::new(Bounds { all: None, each: of_address }),
            lobby: Counted::new(Bounds {
                all: limit(names::LIMIT_WAITING_LOGINS),
                each: limit(names::LIMIT_WAITING_LOGINS_PER_ADDRESS),
            }),
            accepts: Rate::per_second(limit(names::LIMIT_CONNECTIONS_PER_SECOND)),
            sessions_of_address: Limiter::new(
                Rate::per_minute(limit(names::LIMIT_SESSIONS_PER_MINUTE_PER_ADDRESS)),
                Limit::AddressSessions,
                measures.clone(),
            ),
            sessions_of_widget: Limiter::new(
                Rate::per_minute(limit(names::LIMIT_SESSIONS_PER_MINUTE_PER_WIDGET)),
                Limit::WidgetSessions,
                measures.clone(),
            ),
            logins_of_address: Limiter::new(
                Rate::per_minute(limit(names::LIMIT_SOCKET_LOGINS_PER_MINUTE_PER_ADDRESS)),
                Limit::AddressLogins,
                measures.clone(),
            ),
            tenants: Tenants::new(settings, Share::default(), measures),
            uploads: Uploads::new(settings, measures),
            reserve: Reserve::new(&ops::provision::shards(settings)),
            measures: measures.clone(),
        }
    }

    /// Starts following what the limits depend on.
    pub fn start(ctx: &Context, app: &Arc<App>) {
        let task = |name, following: futures::future::BoxFuture<'static, ()>| {
            let shutdown = ctx.shutdown.clone();
            ctx.spawn(name, async move {
                shutdown.run_until_cancelled(following).await;
                Ok(())
            });
        };
        task("count the edges", Box::pin(share::follow(app.clone())));
        task("watch how full the log is", Box::pin(reserve::follow(app.clone())));
    }

    /// A connection was made. Proxies carry many clients, and are bounded by the sum alone.
    pub fn connected(&self, remote: std::net::IpAddr) -> Result<Via, Full> {
        let key = (!self.proxies.trusts(remote)).then(|| Peer::new(remote));
        let pass = self.connections.enter(key).inspect_err(|full| {
            self.measures.limited(match full {
                Full::All => Limit::Connections,
                Full::Each => Limit::AddressConnections,
            });
        })?;
        Ok(Via::new(remote, pass))
    }

    /// A socket is wanted by somebody behind a proxy: counted as if the connection were theirs.
    fn forwarded(&self, caller: Caller) -> Result<Option<Pass<Peer>>, Overloaded> {
        if !caller.through_proxy {
            return Ok(None);
        }
        self.forwarded.enter(caller.peer).map(Some).map_err(|_| {
            self.measures.limited(Limit::AddressConnections);
            Overloaded::soon()
        })
    }

    /// A socket waits to log in, until the pass is dropped.
    pub fn waits(&self, peer: Option<Peer>) -> Result<Pass<Peer>, Overloaded> {
        self.lobby.enter(peer).map_err(|full| {
            self.measures.limited(match full {
                Full::All => Limit::WaitingLogins,
                Full::Each => Limit::AddressWaitingLogins,
            });
            Overloaded::soon()
        })
    }

    /// A login is tried from an address.
    pub fn login(&self, peer: Option<Peer>) -> Result<(), Overloaded> {
        let taken = self.logins_of_address.take_known(peer);
        taken.map_err(|error| Overloaded::soon_after(Duration::from_millis(error.after_ms)))
    }
}

impl Overloaded {
    pub fn soon() -> Self {
        Self::soon_after(Duration::ZERO)
    }

    /// Not before `wait` is over; many who are told the same do not come back at the same time.
    fn soon_after(wait: Duration) -> Self {
        Self { after: wait + Duration::from_millis(rand::random_range(COME_BACK)) }
    }

    /// Tells the client when to come back, and closes.
    pub fn send_away(self, conn: &Conn) {
        let after_ms = u64::try_from(self.after.as_millis()).unwrap_or(u64::MAX);
        conn.push("closing", Closing { reason: "overloaded".to_owned(), reconnect: true, after_ms });
        conn.outbox.close(CloseCode::Overloaded);
    }
}
