//! A socket's place in this process, from its upgrade to its end.
//!
//! Invariant: it is given up with the connection's task, however that ends: nothing else would ever remove a socket
//! whose task is gone, and its person would stay there for good.

use crate::{conn::Conn, connections::Connections};

#[derive(Debug)]
pub struct Place<'a> {
    connections: &'a Connections,
    conn: &'a Conn,
}

impl<'a> Place<'a> {
    /// Of a connection that is listed.
    pub const fn of(conn: &'a Conn, connections: &'a Connections) -> Self {
        Self { connections, conn }
    }

    /// The person is not found by it any more; what waits may still be written.
    pub fn release(&self) {
        self.connections.release(self.conn);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.conn.leave();
        self.release();
        self.conn.outbox.end();
        self.conn.set_gone();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use bus_schema::{TenantId, Timestamp, VisitorId, WidgetId};
    use tokio::{
        io::AsyncReadExt as _,
        net::{TcpListener, TcpStream},
        time::timeout,
    };

    use super::*;
    use crate::{connections::Owner, metrics::Measures, session::Who, socket::Outbox};

    #[tokio::test]
    async fn a_task_that_panics_leaves_no_socket_behind() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, served) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (_incoming, outgoing) = served.unwrap().0.into_split();
        let connections = Arc::new(Connections::default());
        let conn = Conn::new(1, Outbox::new(0, Some(outgoing)), Arc::new(Measures::new()));
        connections.add(&conn);
        let who = Who::Visitor { tenant: TenantId::NIL, visitor: VisitorId::NIL, widget: WidgetId::NIL };
        connections.claim(&conn, Owner { who, issued: Timestamp::default() });
        let (own, all) = (conn.clone(), connections.clone());
        let task = tokio::spawn(async move {
            let _place = Place::of(&own, &all);
            panic!("as a task may");
        });
        assert!(task.await.unwrap_err().is_panic());
        let (tenant, author) = who.person();
        assert!(connections.all().is_empty() && !connections.has(tenant, author));
        assert!(conn.has_left() && conn.outbox.is_ended());
        let mut client = client.unwrap();
        let end = timeout(Duration::from_secs(10), client.read_u8()).await;
        assert!(end.expect("the sending half is shut").is_err());
        timeout(Duration::from_secs(10), conn.gone()).await.expect("who waits for it is told");
    }
}
