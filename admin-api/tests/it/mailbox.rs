//! A mail server that keeps what it is given.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ops::testing::wait_for;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

const SOON: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
pub struct Letter {
    pub to: String,
    pub text: String,
}

impl Letter {
    /// The token in the link.
    pub fn token(&self) -> String {
        let (_, rest) = self.text.split_once("#token=").unwrap_or_else(|| panic!("no link in {}", self.text));
        rest.split_whitespace().next().unwrap().to_owned()
    }
}

#[derive(Debug, Clone)]
pub struct Mailbox {
    pub url: String,
    letters: Arc<Mutex<Vec<Letter>>>,
}

impl Mailbox {
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let mailbox = Self { url, letters: Arc::default() };
        let letters = mailbox.letters.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(talk(socket, letters.clone()));
            }
        });
        mailbox
    }

    pub fn to(&self, address: &str) -> Vec<Letter> {
        let letters = self.letters.lock().unwrap();
        letters.iter().filter(|letter| letter.to == address).cloned().collect()
    }

    /// The `nth` mail to this address, once it is there.
    pub async fn nth(&self, address: &str, nth: usize) -> Letter {
        wait_for(SOON, "a mail", async || self.to(address).len() > nth).await;
        self.to(address)[nth].clone()
    }
}

async fn talk(socket: TcpStream, letters: Arc<Mutex<Vec<Letter>>>) -> Option<()> {
    let (read, mut write) = socket.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 here\r\n").await.ok()?;
    let mut to = String::new();
    while let Some(line) = lines.next_line().await.ok()? {
        let answer = match line.split([' ', ':']).next().unwrap_or_default() {
            "RCPT" => {
                to = line.split(['<', '>']).nth(1)?.to_owned();
                "250 ok\r\n"
            }
            "DATA" => {
                write.write_all(b"354 go on\r\n").await.ok()?;
                let mut text = String::new();
                loop {
                    let line = lines.next_line().await.ok()??;
                    if line == "." {
                        break;
                    }
                    // Quoted-printable breaks long lines.
                    match line.strip_suffix('=') {
                        Some(part) => text.push_str(part),
                        None => text.extend([line.as_str(), "\n"]),
                    }
                }
                letters.lock().unwrap().push(Letter { to: to.clone(), text: text.replace("=3D", "=") });
                "250 kept\r\n"
            }
            "QUIT" => return None,
            _ => "250 ok\r\n",
        };
        write.write_all(answer.as_bytes()).await.ok()?;
    }
    None
}
