//! The limit that Postgres sets: a bare binary `COPY` of the very rows that persister wrote.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _, pin_mut};
use tokio_postgres::Client;

/// As many as a full batch of persister has.
const ROWS_EACH: usize = 512;
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: i16 = -1;

/// The rows of `chat.events`, as Postgres writes them.
pub async fn rows(client: &Client) -> anyhow::Result<Vec<Bytes>> {
    let stream = client.copy_out("COPY chat.events TO STDOUT (FORMAT binary)").await?;
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
    Ok(rows)
}

/// Rows per second into a table like `chat.events`: with its primary key alone, or with all its indexes.
pub async fn measure(client: &Client, rows: &[Bytes], indexes: bool) -> anyhow::Result<f64> {
    let like = if indexes {
        "LIKE chat.events INCLUDING ALL"
    } else {
        "LIKE chat.events, PRIMARY KEY (tenant_id, seq)"
    };
    client.batch_execute(&format!("DROP TABLE IF EXISTS bare; CREATE TABLE bare ({like})")).await?;
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
    let there: i64 = client.query_one("SELECT count(*) FROM bare", &[]).await.context("count them")?.get(0);
    ensure!(usize::try_from(there)? == rows.len(), "{there} of {} rows were copied", rows.len());
    client.batch_execute("DROP TABLE bare").await?;
    Ok(rows.len() as f64 / took.as_secs_f64())
}
