//! Built binaries run as in production, and harmed.
//!
//! A process gets exactly the environment it is given, logs to a file, and ends with the test.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::scratch::Scratch;
use super::wait::wait_for;
use crate::dev::guard::{Guarded, Signal, Spec};
use crate::dev::nats::tail;
use crate::dev::probe::{self, Answer};

const GRACE: Duration = Duration::from_secs(20);

/// Where cargo put a binary of this workspace: beside the directory of the test executable.
///
/// Panics with the command that builds it.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its program");
    let built = test.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    built.unwrap_or_else(|| {
        panic!("{name} is not built\n  fix: cargo build --workspace --bins, or sh ops/test.sh")
    })
}

/// What to run.
#[derive(Debug)]
pub struct ProcessBuilder {
    name: String,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    ops: Option<SocketAddr>,
    log: Option<PathBuf>,
}

impl ProcessBuilder {
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    pub fn envs<K: Into<String>, V: Into<String>>(mut self, env: impl IntoIterator<Item = (K, V)>) -> Self {
        self.env.extend(env.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Where its operations listener will be, for [`Process::readyz`].
    pub fn ops_listener(mut self, address: SocketAddr) -> Self {
        self.ops = Some(address);
        self
    }

    /// Where to append its output; by default a file that goes with the test.
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Starts the binary.
    pub fn spawn(self) -> io::Result<Process> {
        let dir = Scratch::new(&self.name)?;
        let log = self.log.clone().unwrap_or_else(|| dir.path().join(format!("{}.log", self.name)));
        let mut process = Process { running: None, builder: self, log, _dir: dir };
        process.launch()?;
        Ok(process)
    }
}

/// A binary that runs or did; it is ended when this is dropped.
#[derive(Debug)]
pub struct Process {
    // Before the directory, so that it is dropped first.
    running: Option<Guarded>,
    builder: ProcessBuilder,
    log: PathBuf,
    _dir: Scratch,
}

impl Process {
    /// A binary of this workspace, by its name, such as `edge`.
    pub fn builder(name: &str) -> ProcessBuilder {
        let (args, env) = (Vec::new(), BTreeMap::new());
        ProcessBuilder { name: name.to_owned(), args, env, ops: None, log: None }
    }

    /// Its process id, also after its end.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Guarded::pid)
    }

    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// All it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Kills it with -9 and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill().expect("kill -9 ends a process");
        }
    }

    /// Starts it again with the same arguments and environment, killing it first if it runs.
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill();
        self.launch()
    }

    /// Freezes it.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to end, as an orchestrator does.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    pub fn signal(&mut self, signal: Signal) {
        if let Some(running) = &mut self.running {
            running.signal(signal).expect("a running process takes signals");
        }
    }

    /// Its exit code, or 128 + the signal that ended it. Panics with the end of its log when it is still there.
    pub async fn exit_code(&mut self, within: Duration) -> i32 {
        let running = self.running.as_mut().expect("it was not killed");
        let code = running.wait(within).await.expect("a child can be waited for");
        code.unwrap_or_else(|| {
            panic!("{} has not ended within {within:?}:\n{}", self.builder.name, tail(&self.log))
        })
    }

    /// Whether it has ended, and how.
    pub fn try_exit_code(&mut self) -> Option<i32> {
        self.running.as_mut().and_then(|running| running.try_wait().expect("a child can be waited for"))
    }

    /// What its `/readyz?verbose` says.
    pub async fn readyz(&self) -> io::Result<Answer> {
        let address = self.builder.ops.expect("the builder was told ops_listener");
        probe::get(address, "/readyz?verbose").await
    }

    /// Waits until it says that it is ready. Panics with the end of its log when it ends or does not.
    pub async fn ready(&mut self, within: Duration) {
        let what = format!("{} to be ready (log: {})", self.builder.name, self.log.display());
        wait_for(within, &what, async || {
            if let Some(code) = self.try_exit_code() {
                panic!("{} ended with {code}:\n{}", self.builder.name, tail(&self.log));
            }
            match self.readyz().await {
                Ok(answer) if answer.is_ok() => Ok(()),
                Ok(answer) => Err(answer.body),
                Err(error) => Err(format!("{error}; log: {}", tail(&self.log))),
            }
        })
        .await;
    }

    fn launch(&mut self) -> io::Result<()> {
        let builder = &self.builder;
        let spec = Spec::new(program(&builder.name))
            .args(&builder.args)
            .env_only(&builder.env)
            .ending(Signal::KILL, GRACE);
        self.running = Some(Guarded::spawn(&spec, &self.log)?);
        Ok(())
    }
}
