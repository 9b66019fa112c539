//! Writing to a client while something else takes its time.

use std::convert::Infallible;

use tokio::net::tcp::OwnedReadHalf;

use crate::{conn::Conn, socket::Flushed};

/// What comes of `doing`; what waits for the client is written meanwhile, as it comes.
pub async fn write_while<T>(
    conn: &Conn,
    incoming: &OwnedReadHalf,
    doing: impl Future<Output = T> + Unpin,
) -> T {
    tokio::select! {
        biased;
        done = doing => done,
        never = write_on(conn, incoming) => match never {},
    }
}

async fn write_on(conn: &Conn, incoming: &OwnedReadHalf) -> Infallible {
    loop {
        match conn.flush() {
            Flushed::Done => conn.outbox.ready().await,
            Flushed::Stuck => {
                tokio::select! {
                    _ = incoming.as_ref().writable() => {}
                    () = conn.outbox.ready() => {}
                }
            }
            // Whoever reads finds it out.
            Flushed::Over => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use bus_schema::close::CloseCode;
    use tokio::{
        io::AsyncReadExt as _,
        net::{TcpListener, TcpStream},
        sync::oneshot,
        time::timeout,
    };

    use super::*;
    use crate::{metrics::Measures, socket::Outbox};

    #[tokio::test]
    async fn a_close_frame_goes_out_while_the_session_is_still_ending() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (mut client, served) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (incoming, outgoing) = served.unwrap().0.into_split();
        let conn = Conn::new(1, Outbox::new(0, Some(outgoing)), Arc::new(Measures::new()));
        conn.outbox.close(CloseCode::Revoked);
        // The session ends no sooner than the client has the frame.
        let (has_it, ended) = oneshot::channel();
        let client = async {
            let mut frame = [0; 4];
            client.as_mut().unwrap().read_exact(&mut frame).await.unwrap();
            has_it.send(frame).unwrap();
        };
        let serving = async { tokio::join!(write_while(&conn, &incoming, ended), client).0 };
        let frame = timeout(Duration::from_secs(10), serving).await.expect("nobody wrote it").unwrap();
        assert_eq!(frame[0], 0x88, "a whole close frame");
        assert_eq!(u16::from_be_bytes([frame[2], frame[3]]), CloseCode::Revoked.number());
    }
}
