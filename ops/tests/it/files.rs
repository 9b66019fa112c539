//! Where the bytes of files lie: each store keeps the same promises.

use std::{process::Stdio, time::Duration};

use bus_schema::{AttachmentId, TenantId, file::FileKey};
use bytes::Bytes;
use futures::TryStreamExt as _;
use ops::{
    dev::ports,
    files::{NatsStore, S3Settings, S3Store, Store, StoreError},
    testing::wait_for,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
};

use crate::kit::{SOON, provisioned};

fn key(number: u128) -> FileKey {
    let attachment = AttachmentId::from_uuid(uuid::Uuid::from_u128(number));
    FileKey { tenant: TenantId::NIL, attachment }
}

/// So many bytes, no two kibibytes of them alike.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| ((at / 1024) ^ (at * 31)) as u8).collect()
}

async fn read(store: &dyn Store, key: FileKey, size: usize) -> Result<Vec<u8>, StoreError> {
    let pieces: Vec<Bytes> = store.read(key, size as u64).try_collect().await?;
    Ok(pieces.concat())
}

async fn keeps_its_promises(store: &dyn Store, largest: usize) {
    for (number, size) in [1, 128 * 1024, 128 * 1024 + 1, 1_000_003, largest].into_iter().enumerate() {
        let (key, content) = (key(number as u128), content(size));
        let mut writing = store.create(key);
        for piece in content.chunks(100_007) {
            writing.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        writing.finish().await.unwrap();
        assert!(read(store, key, size).await.unwrap() == content, "{size}");
        assert!(read(store, key, size + 1).await.is_err(), "more than there is");
        if size > 1 {
            assert!(
                matches!(read(store, key, size / 2).await, Err(StoreError::Spoilt)),
                "less than there is"
            );
        }
        store.remove(key).await.unwrap();
        assert!(matches!(read(store, key, size).await, Err(StoreError::Missing)));
        store.remove(key).await.unwrap();
    }
    // What is not finished can be removed like all else, and is not there before.
    let mut writing = store.create(key(99));
    writing.write(content(300_000).into()).await.unwrap();
    drop(writing);
    store.remove(key(99)).await.unwrap();
    assert!(read(store, key(99), 300_000).await.is_err());
}

#[tokio::test]
async fn the_bus_keeps_files_as_its_clients_know_them() {
    let (_server, log) = provisioned().await;
    let store = NatsStore::new(log.bus().clone());
    keeps_its_promises(&store, 3_000_000).await;
    let context = async_nats::jetstream::new(log.bus().client.clone());
    let mut stream = context.get_stream("OBJ_attachments").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 0, "not a trace is left");
    let mut writing = store.create(key(100));
    writing.write(content(300_000).into()).await.unwrap();
    writing.finish().await.unwrap();
    let bucket = context.get_object_store("attachments").await.unwrap();
    let mut object = bucket.get(key(100).object()).await.unwrap();
    let mut got = Vec::new();
    object.read_to_end(&mut got).await.unwrap();
    assert!(got == content(300_000), "as any client of object stores reads it");
}

/// A server that speaks S3, with one bucket.
struct S3 {
    endpoint: String,
    _server: Child,
}

impl S3 {
    /// None where there is no such server: `ops/prepare.sh` installs it.
    async fn start() -> Option<Self> {
        let python = std::env::var("CHATBUS_MOTO_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let has = Command::new(&python).args(["-c", "import moto.server, flask"]).output().await;
        if !has.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let port = ports::free().unwrap();
        let server = Command::new(python)
            .args(["-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let made = wait_for(Duration::from_secs(60), "the S3 server to make a bucket", async || {
            let mut socket = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
            let request =
                "PUT /files HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            socket.write_all(request.as_bytes()).await.ok()?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.ok()?;
            answer.contains(" 200 ").then_some(())
        });
        made.await;
        Some(Self { endpoint: format!("http://127.0.0.1:{port}"), _server: server })
    }
}

#[tokio::test]
async fn an_s3_bucket_keeps_files() {
    ops::service::install_crypto();
    let Some(s3) = S3::start().await else {
        eprintln!("no S3 server here (moto from PyPI): not tried");
        return;
    };
    let settings = S3Settings {
        bucket: "files".into(),
        region: "us-east-1".into(),
        endpoint: Some(s3.endpoint.clone()),
        access_key: "test".into(),
        secret_key: "test".into(),
    };
    let store = S3Store::new(&settings).unwrap();
    // Parts have 5 MiB: this one takes three.
    keeps_its_promises(&store, 11 * 1024 * 1024).await;
    assert!(!format!("{settings:?}").contains("test"));
    let wrong = S3Store::new(&S3Settings { bucket: "none".into(), ..settings }).unwrap();
    let mut writing = wrong.create(key(1));
    writing.write(content(10).into()).await.unwrap();
    assert!(tokio::time::timeout(SOON, writing.finish()).await.unwrap().is_err());
}
