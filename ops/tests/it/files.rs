//! Where the bytes of files lie: each store keeps the same promises.

use bus_schema::{AttachmentId, TenantId, file::FileKey};
use bytes::Bytes;
use futures::TryStreamExt as _;
use ops::{
    files::{NatsStore, S3Settings, S3Store, Store, StoreError},
    testing::S3Server,
};
use tokio::io::AsyncReadExt as _;

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

#[tokio::test]
async fn an_s3_bucket_keeps_files() {
    ops::service::install_crypto();
    let s3 = S3Server::start().await;
    let settings = S3Settings {
        bucket: S3Server::BUCKET.into(),
        region: "us-east-1".into(),
        endpoint: Some(s3.endpoint().to_owned()),
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
