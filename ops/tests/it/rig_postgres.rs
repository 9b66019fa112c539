//! Private Postgres servers.

use ops::testing::{Database, Postgres};
use tokio_postgres::{Client, NoTls};

#[tokio::test]
async fn each_test_gets_a_copy_of_a_template_migrated_once() {
    let server = Postgres::shared().await;
    let mut migrations = 0;
    for _ in 0..2 {
        let database = server
            .database_from("template_counted", async |url| {
                migrations += 1;
                run(&url, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)").await;
            })
            .await;
        run(&database.url(), "INSERT INTO t VALUES (2)").await;
        assert_eq!(count(&database).await, 2);
        database.drop_now().await;
    }
    assert_eq!(migrations, 1);
}

#[tokio::test]
async fn committed_rows_survive_kill_9_on_the_same_port() {
    let mut server = Postgres::start().await;
    let url = {
        let database = server.database().await;
        run(&database.url(), "CREATE TABLE t (n int); INSERT INTO t VALUES (1)").await;
        database.url()
    };
    server.kill();
    assert!(tokio_postgres::connect(&url, NoTls).await.is_err());
    server.restart().await;
    let row = connect(&url).await.query_one("SELECT count(*) FROM t", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1);
}

async fn count(database: &Database<'_>) -> i64 {
    connect(&database.url()).await.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0)
}

async fn run(url: &str, statements: &str) {
    connect(url).await.batch_execute(statements).await.unwrap();
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
