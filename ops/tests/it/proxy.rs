//! The fault proxy does what it says, and nothing else.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ops::testing::{Direction, Fault, FaultProxy, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);
const NOT_YET: Duration = Duration::from_millis(200);

#[tokio::test]
async fn bytes_pass_unchanged_without_a_fault() {
    let proxy = proxy().await;
    let mut client = connect(&proxy).await;
    let sent: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
    assert_eq!(echo(&mut client, &sent).await, sent);
    assert_eq!(proxy.passed(Direction::ToServer), 100_000);
}

#[tokio::test]
async fn a_cut_lets_exactly_so_many_bytes_through() {
    let proxy = proxy().await;
    proxy.inject(Fault::CutAfter { direction: Direction::ToClient, bytes: 1234 });
    for _ in 0..2 {
        let mut client = connect(&proxy).await;
        client.write_all(&[7; 5000]).await.unwrap();
        let mut got = Vec::new();
        // A reset instead of an orderly end is fine, as long as the bytes are here.
        let _ = timeout(SOON, client.read_to_end(&mut got)).await.unwrap();
        assert_eq!(got.len(), 1234);
    }
}

#[tokio::test]
async fn a_black_hole_holds_everything_until_healed() {
    let proxy = proxy().await;
    let mut client = connect(&proxy).await;
    assert_eq!(echo(&mut client, b"before").await, b"before");
    proxy.inject(Fault::BlackHole);
    client.write_all(b"during").await.unwrap();
    let mut got = [0; 6];
    assert!(timeout(NOT_YET, client.read_exact(&mut got)).await.is_err());
    let mut late = connect(&proxy).await;
    late.write_all(b"latish").await.unwrap();
    assert!(timeout(NOT_YET, late.read_exact(&mut [0; 1])).await.is_err());

    proxy.heal();

    timeout(SOON, client.read_exact(&mut got)).await.unwrap().unwrap();
    assert_eq!(&got, b"during");
    timeout(SOON, late.read_exact(&mut got)).await.unwrap().unwrap();
    assert_eq!(&got, b"latish");
}

#[tokio::test]
async fn a_delay_delays_and_keeps_the_order() {
    let proxy = proxy().await;
    let least = Duration::from_millis(50);
    proxy.inject(Fault::Delay { least, jitter: least });
    let mut client = connect(&proxy).await;
    let start = Instant::now();
    let sent: Vec<u8> = (0..20_000_u32).map(|n| n as u8).collect();
    assert_eq!(echo(&mut client, &sent).await, sent);
    assert!(start.elapsed() >= 2 * least, "both ways are delayed");
}

#[tokio::test]
async fn a_throttle_limits_the_rate() {
    let proxy = proxy().await;
    proxy.inject(Fault::Throttle { bytes_per_second: 50_000 });
    let mut client = connect(&proxy).await;
    let start = Instant::now();
    echo(&mut client, &[1; 10_000]).await;
    assert!(start.elapsed() >= Duration::from_millis(200), "10,000 bytes take a fifth of a second");
}

#[tokio::test]
async fn refusing_harms_new_connections_only_and_cutting_old_ones() {
    let proxy = proxy().await;
    let mut old = connect(&proxy).await;
    assert_eq!(echo(&mut old, b"a").await, b"a");
    proxy.inject(Fault::Refuse);
    let mut new = connect(&proxy).await;
    assert!(!matches!(timeout(SOON, new.read(&mut [0; 1])).await.unwrap(), Ok(1..)));
    assert_eq!(echo(&mut old, b"b").await, b"b");

    proxy.heal();
    proxy.cut_all();

    assert!(!matches!(timeout(SOON, old.read(&mut [0; 1])).await.unwrap(), Ok(1..)));
    let mut new = connect(&proxy).await;
    assert_eq!(echo(&mut new, b"c").await, b"c");
}

#[tokio::test]
async fn dropping_it_ends_its_connections_and_its_port() {
    let proxy = proxy().await;
    let address = proxy.address();
    let mut client = connect(&proxy).await;
    echo(&mut client, b"a").await;
    drop(proxy);
    assert!(!matches!(timeout(SOON, client.read(&mut [0; 1])).await.unwrap(), Ok(1..)));
    wait_for(SOON, "the port to close", async || TcpStream::connect(address).await.is_err()).await;
}

async fn proxy() -> FaultProxy {
    FaultProxy::start(echo_server().await, 1).await.unwrap()
}

async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    address
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn echo(stream: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    let mut got = vec![0; bytes.len()];
    let (mut reader, mut writer) = stream.split();
    let both = async { tokio::try_join!(writer.write_all(bytes), reader.read_exact(&mut got)) };
    timeout(SOON, both).await.unwrap().unwrap();
    got
}
