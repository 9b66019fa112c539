//! The limit that Postgres sets: a bare binary `COPY` of the very rows that persister wrote, into a table that holds what
//! came before them.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _, pin_mut};
use tokio_postgres::Client;

use super::sizes::Window;

/// As many as a full batch of persister has.
const ROWS_EACH: usize = 512;
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: i16 = -1;

/// The rows of a window of `chat.events`, as Postgres writes them.
pub async fn rows(client: &Client, window: Window) -> anyhow::Result<Vec<Bytes>> {
    let stream = client.copy_out(&format!("COPY ({}) TO STDOUT (FORMAT binary)", select(window))).await?;
    pin_mut!(stream);
    let mut rows = Vec::new();
    while let Some(chunk) = stream.next().await {
        // One message a row; the header comes before the first, the trailer alone.
        let mut row = chunk?;
        if row.starts_with(HEADER) {
            row = row.slice(HEADER.len()..);
        }
        if row.len() > size_of_val(&TRAILER) {
            rows.push(row);
        }
    }
    ensure!(
        rows.len() as u64 == window.len(),
        "{} of the {} events of {window:?} are there",
        rows.len(),
        window.len()
    );
    Ok(rows)
}

/// In the order of the primary key, of which the one tenant is the first part.
fn select(Window { after, up_to }: Window) -> String {
    format!(
        "SELECT * FROM chat.events WHERE tenant_id = (SELECT tenant_id FROM chat.events LIMIT 1) \
         AND seq > {after} AND seq <= {up_to} ORDER BY seq"
    )
}

/// A table like `chat.events`, which is filled in the log's order.
pub struct Bare {
    holds: u64,
}

impl Bare {
    /// Makes it anew, empty: with its primary key alone, or with all its indexes.
    pub async fn new(client: &Client, indexes: bool) -> anyhow::Result<Self> {
        let like = if indexes {
            "LIKE chat.events INCLUDING ALL"
        } else {
            "LIKE chat.events, PRIMARY KEY (tenant_id, seq)"
        };
        client.batch_execute(&format!("DROP TABLE IF EXISTS bare; CREATE TABLE bare ({like})")).await?;
        Ok(Self { holds: 0 })
    }

    /// Has Postgres itself fill it with what lies before a window.
    pub async fn fill(&mut self, client: &Client, up_to: u64) -> anyhow::Result<()> {
        let rows = select(Window { after: self.holds, up_to });
        self.holds += client.execute(&format!("INSERT INTO bare {rows}"), &[]).await?;
        ensure!(self.holds == up_to, "{} of {up_to} rows were filled in", self.holds);
        Ok(())
    }

    /// Rows per second that it takes.
    pub async fn measure(&mut self, client: &Client, rows: &[Bytes]) -> anyhow::Result<f64> {
        let began = Instant::now();
        for chunk in rows.chunks(ROWS_EACH) {
            let sink = client.copy_in::<_, Bytes>("COPY bare FROM STDIN (FORMAT binary)").await?;
            pin_mut!(sink);
            let mut bytes = BytesMut::from(HEADER);
            chunk.iter().for_each(|row| bytes.extend_from_slice(row));
            bytes.put_i16(TRAILER);
            sink.send(bytes.freeze()).await?;
            sink.finish().await?;
        }
        let took = began.elapsed();
        self.holds += rows.len() as u64;
        Ok(rows.len() as f64 / took.as_secs_f64())
    }

    /// Drops it, once all of its rows have been seen there.
    pub async fn end(self, client: &Client) -> anyhow::Result<()> {
        let there: i64 =
            client.query_one("SELECT count(*) FROM bare", &[]).await.context("count them")?.get(0);
        ensure!(u64::try_from(there)? == self.holds, "{there} of {} rows are there", self.holds);
        Ok(client.batch_execute("DROP TABLE bare").await?)
    }
}
