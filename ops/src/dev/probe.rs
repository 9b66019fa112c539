//! Asking a local process whether it is well.
//!
//! One request, one bounded answer, one deadline: a probe never hangs on a process that is paused.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// What a plain HTTP GET answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// GET without keep-alive.
pub async fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        parse(&String::from_utf8_lossy(&answer))
    };
    timeout(DEADLINE, exchange).await?
}

fn parse(answer: &str) -> io::Result<Answer> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(bad)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(bad)?;
    Ok(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_status_and_body() {
        let answer = parse("HTTP/1.0 503 Service Unavailable\r\nA: b\r\n\r\n{}").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (503, "{}"));
        assert!(!answer.is_ok());
        assert!(parse("SSH-2.0").is_err());
    }
}
