//! A server that speaks S3, with one bucket.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
};

use super::wait_for;
use crate::dev::ports;

const READY_WITHIN: Duration = Duration::from_secs(60);

/// Runs until it is dropped, on a port of its own; any key opens it.
#[derive(Debug)]
pub struct S3Server {
    endpoint: String,
    _server: Child,
}

impl S3Server {
    pub const BUCKET: &str = "files";

    /// The one that `ops/prepare.sh` installs, in this Python or the one that it names.
    pub async fn start() -> Self {
        let python = std::env::var("CHATBUS_MOTO_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let has = Command::new(&python).args(["-c", "import moto.server, flask"]).output().await;
        assert!(
            has.is_ok_and(|output| output.status.success()),
            "{python} has no moto, which speaks S3: `sh ops/test.sh` fetches it, or pip install 'moto[server]'"
        );
        let port = ports::free().expect("the machine has a free port");
        let server = Command::new(python)
            .args(["-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("a Python that has just run runs again");
        wait_for(READY_WITHIN, "the S3 server to make a bucket", async || {
            let mut socket = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
            let request = format!(
                "PUT /{} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                Self::BUCKET
            );
            socket.write_all(request.as_bytes()).await.ok()?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.ok()?;
            answer.contains(" 200 ").then_some(())
        })
        .await;
        Self { endpoint: format!("http://127.0.0.1:{port}"), _server: server }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}
