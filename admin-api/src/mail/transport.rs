//! Where mails go: a mail server, or in development a directory.
//!
//! Invariant: sending takes a bounded time, over TLS unless the URL says otherwise.

use std::{fs, os::unix::fs::DirBuilderExt as _, time::Duration};

use lettre::{
    Address, AsyncFileTransport, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
};
use ops::settings::{Settings, names};

use super::letter::Letter;

const SEND_MAX: Duration = Duration::from_secs(20);

/// Cheap to clone.
#[derive(Clone)]
pub struct Transport {
    way: Way,
    from: Mailbox,
}

#[derive(Clone)]
enum Way {
    Server(AsyncSmtpTransport<Tokio1Executor>),
    Directory(AsyncFileTransport<Tokio1Executor>),
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{fix}")]
pub struct BadTransport {
    pub name: &'static str,
    pub fix: String,
}

#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It will never be sent: nothing is wrong with the server.
    #[error("the address cannot be written to: {0}")]
    Address(String),
    #[error("{0}")]
    Server(String),
    #[error("the mail server did not answer within {SEND_MAX:?}")]
    TimedOut,
}

impl Transport {
    /// None: mails are not sent here.
    pub fn from_settings(settings: &Settings) -> Result<Option<Self>, BadTransport> {
        let wrong = |name, fix: String| BadTransport { name, fix };
        let way = if let Some(url) = settings.opt_secret(names::SMTP_URL) {
            let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
                .map_err(|error| wrong(names::SMTP_URL, error.to_string()))?;
            Way::Server(builder.timeout(Some(SEND_MAX)).build())
        } else if let Some(directory) = settings.opt_path(names::MAIL_DIR) {
            // Links that let people in stand in the files.
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(|error| wrong(names::MAIL_DIR, error.to_string()))?;
            Way::Directory(AsyncFileTransport::new(directory))
        } else {
            return Ok(None);
        };
        let from = settings.text(names::MAIL_FROM);
        let from = from.parse().map_err(|error| wrong(names::MAIL_FROM, format!("is no sender: {error}")))?;
        Ok(Some(Self { way, from }))
    }

    pub async fn send(&self, recipient: &str, letter: Letter) -> Result<(), SendError> {
        let address = |error: &dyn std::fmt::Display| SendError::Address(error.to_string());
        let to: Address = recipient.parse().map_err(|error| address(&error))?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(letter.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text)
            .map_err(|error| address(&error))?;
        let sending = async {
            match &self.way {
                Way::Server(server) => match server.send(message).await {
                    Ok(_) => Ok(()),
                    Err(error) if error.is_permanent() => Err(address(&error)),
                    Err(error) => Err(SendError::Server(error.to_string())),
                },
                Way::Directory(directory) => match directory.send(message).await {
                    Ok(_) => Ok(()),
                    Err(error) => Err(SendError::Server(error.to_string())),
                },
            }
        };
        tokio::time::timeout(SEND_MAX, sending).await.unwrap_or(Err(SendError::TimedOut))
    }
}
