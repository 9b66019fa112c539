//! A private Postgres cluster on the loopback address.
//!
//! Made once in its directory and found again by the next start. When this process is root, files and processes belong
//! to an unprivileged user.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;

use super::guard::{Guarded, Signal, Spec};
use super::nats::tail;
use super::user::{self, User};

/// The owner of everything in the cluster.
pub const SUPERUSER: &str = "chatbus";
const READY_WITHIN: Duration = Duration::from_secs(30);
/// After kill -9 the old server's children hold its shared memory for a moment.
const RELEASE_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// How to run a cluster.
#[derive(Debug, Clone)]
pub struct PostgresSpec {
    /// The directory of `postgres` and `initdb`.
    pub programs: PathBuf,
    /// Where `data` and the log are.
    pub dir: PathBuf,
    pub port: u16,
    /// Required of clients; without it any local user is trusted, which only tests may do.
    pub password: Option<String>,
    /// Whether the data is thrown away: then nothing waits for the disk.
    pub throwaway: bool,
}

/// Why a cluster does not run.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error("cannot prepare {path}")]
    Prepare {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("initdb failed: {said}")]
    Init { said: String },
    #[error("cannot start Postgres")]
    Start(#[source] io::Error),
    #[error("Postgres ended with {code}; its log {log} says:\n{tail}")]
    Ended { code: i32, log: PathBuf, tail: String },
    #[error("Postgres is not ready after {READY_WITHIN:?}; its log {log} says:\n{tail}")]
    NotReady { log: PathBuf, tail: String },
    #[error("statement failed: {statement}")]
    Statement {
        statement: String,
        #[source]
        source: tokio_postgres::Error,
    },
}

impl PostgresSpec {
    /// Makes the cluster unless it is there.
    pub fn init(&self) -> Result<(), PostgresError> {
        let prepare = |source| PostgresError::Prepare { path: self.dir.clone(), source };
        let user = User::for_postgres();
        if self.data().join("PG_VERSION").exists() {
            return Ok(());
        }
        user::private_dir(&self.dir, user).map_err(prepare)?;
        // An interrupted initdb leaves parts behind, never a half-made cluster.
        let parts = self.dir.join("data.part");
        let _ = fs::remove_dir_all(&parts);
        let mut command = Command::new(self.programs.join("initdb"));
        command.args(["--no-locale", "-E", "UTF8", "-U", SUPERUSER, "-D"]).arg(&parts);
        if self.throwaway {
            command.arg("--no-sync");
        }
        let secret = self.dir.join("password");
        match &self.password {
            Some(password) => {
                write_for(&secret, password, user).map_err(prepare)?;
                command.args(["-A", "scram-sha-256"]).arg("--pwfile").arg(&secret);
            }
            None => {
                command.args(["-A", "trust"]);
            }
        }
        user::run_as(&mut command, user);
        let output = command.current_dir(&self.dir).stdin(Stdio::null()).output();
        let _ = fs::remove_file(&secret);
        let output = output.map_err(PostgresError::Start)?;
        if !output.status.success() {
            let said = format!(
                "{} {}",
                String::from_utf8_lossy(&output.stdout).trim(),
                String::from_utf8_lossy(&output.stderr).trim()
            );
            return Err(PostgresError::Init { said });
        }
        fs::rename(&parts, self.data()).map_err(prepare)
    }

    /// Starts the server and waits until it answers a query.
    pub async fn start(&self) -> Result<Guarded, PostgresError> {
        let released = Instant::now() + RELEASE_WITHIN;
        loop {
            match self.start_once().await {
                Err(PostgresError::Ended { tail, .. })
                    if tail.contains("shared memory block") && Instant::now() < released =>
                {
                    tokio::time::sleep(POLL).await;
                }
                other => return other,
            }
        }
    }

    async fn start_once(&self) -> Result<Guarded, PostgresError> {
        let mut process = Guarded::spawn(&self.command(), &self.log()).map_err(PostgresError::Start)?;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let (log, tail) = (self.log(), || tail(&self.log()));
            match process.try_wait().map_err(PostgresError::Start)? {
                Some(code) => return Err(PostgresError::Ended { code, tail: tail(), log }),
                None if Instant::now() >= deadline => {
                    return Err(PostgresError::NotReady { tail: tail(), log });
                }
                None => {}
            }
            if self.execute("postgres", "SELECT 1").await.is_ok() {
                return Ok(process);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Runs statements in a database as its owner.
    pub async fn execute(&self, database: &str, statements: &str) -> Result<(), PostgresError> {
        let failed = |source| PostgresError::Statement { statement: statements.to_owned(), source };
        let (client, connection) =
            tokio_postgres::connect(&self.url(database), NoTls).await.map_err(failed)?;
        let connection = tokio::spawn(connection);
        let result = client.batch_execute(statements).await.map_err(failed);
        drop(client);
        let _ = connection.await;
        result
    }

    /// How clients reach a database.
    pub fn url(&self, database: &str) -> String {
        let password = self.password.as_ref().map(|password| format!(":{password}")).unwrap_or_default();
        format!("postgres://{SUPERUSER}{password}@127.0.0.1:{}/{database}", self.port)
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join("postgres.log")
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn command(&self) -> Spec {
        let mut spec = Spec::new(self.programs.join("postgres")).arg("-D").arg(self.data());
        let mut settings = vec![
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            "unix_socket_directories=".to_owned(),
            "max_connections=200".to_owned(),
        ];
        if self.throwaway {
            // Not synchronous_commit: that would lose commits to kill -9, which tests do.
            settings.extend(["fsync=off", "full_page_writes=off"].map(str::to_owned));
        }
        for setting in settings {
            spec = spec.arg("-c").arg(setting);
        }
        // INT does not wait for clients to leave, as TERM does; QUIT does not wait for the disk either.
        let ending = if self.throwaway { Signal::QUIT } else { Signal::INT };
        spec.user(User::for_postgres()).dir(&self.dir).ending(ending, Duration::from_secs(15))
    }
}

fn write_for(path: &Path, text: &str, user: Option<User>) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::{OpenOptionsExt, chown};
    let mut file = fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    match user {
        Some(user) => chown(path, Some(user.uid), Some(user.gid)),
        None => Ok(()),
    }
}
