//! Child processes that die with this one, also when it is killed with -9.
//!
//! A small shell stands between: it holds the reading end of a pipe whose writing end only this process has. When that
//! end closes, by drop or by death, the shell signals the child, and after a grace time kills it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};

use super::user::{self, User};

pub use rustix::process::Signal;

/// `$1` is the signal that ends the child, `$2` how many seconds it has for that; the rest is the command.
/// The child's process id is the only thing written to standard output; what the child prints goes to standard error.
/// The pipe is moved to descriptor 3, because background jobs of a shell read from /dev/null.
/// When this process dies while the child is stopped, the kernel sends HUP to the guard's orphaned group: the guard must
/// survive that, while the child keeps the default; and a trapped signal ends `wait` early, so it is asked again.
const GUARD: &str = r#"
signal=$1 grace=$2; shift 2
exec 3<&0
trap : HUP
"$@" 3<&- </dev/null >&2 &
child=$!
echo "$child"
exec >&2
{
    trap '' HUP
    read -r _ <&3
    kill -s "$signal" "$child"; kill -s CONT "$child"
    while [ "$grace" -gt 0 ] && kill -s 0 "$child"; do sleep 1; grace=$((grace - 1)); done
    kill -s KILL "$child"
} 2>/dev/null &
watcher=$!
exec 3<&-
while :; do
    wait "$child" 2>/dev/null
    status=$?
    kill -s 0 "$child" 2>/dev/null || break
done
kill "$watcher" 2>/dev/null
exit "$status"
"#;

const POLL: Duration = Duration::from_millis(5);
/// A supervisor waits for days: asking seldom costs nothing that anybody measures.
const POLL_MAX: Duration = Duration::from_millis(100);
/// Beyond the grace time: how long the shell may take to reap and leave.
const REAP: Duration = Duration::from_secs(5);

/// What to run, and how it is ended.
#[derive(Debug)]
pub struct Spec {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    inherit: bool,
    user: Option<User>,
    dir: Option<PathBuf>,
    ending: Signal,
    grace: Duration,
}

impl Spec {
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            inherit: true,
            user: None,
            dir: None,
            ending: Signal::TERM,
            grace: Duration::from_secs(10),
        }
    }

    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn args<I: IntoIterator<Item = A>, A: Into<OsString>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Variables in addition to this process's own.
    pub fn env<I, K, V>(mut self, env: I) -> Self
    where
        I: IntoIterator<Item = (K, V)>,
        K: Into<OsString>,
        V: Into<OsString>,
    {
        self.env.extend(env.into_iter().map(|(k, v)| (k.into(), v.into())));
        self
    }

    /// The whole environment of the child, beside `PATH`.
    pub fn env_only<I, K, V>(mut self, env: I) -> Self
    where
        I: IntoIterator<Item = (K, V)>,
        K: Into<OsString>,
        V: Into<OsString>,
    {
        self.inherit = false;
        self.env(env)
    }

    pub fn user(mut self, user: Option<User>) -> Self {
        self.user = user;
        self
    }

    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// The signal that asks the child to end, and how long it may take before it is killed.
    pub fn ending(mut self, signal: Signal, grace: Duration) -> Self {
        self.ending = signal;
        self.grace = grace;
        self
    }
}

/// A running child. Dropping it ends the child as its [`Spec`] says, and waits for that.
#[derive(Debug)]
pub struct Guarded {
    shell: Child,
    leash: Option<ChildStdin>,
    pid: Pid,
    ending: Signal,
    grace: Duration,
}

impl Guarded {
    /// Starts the child with its output appended to `log`.
    pub fn spawn(spec: &Spec, log: &Path) -> io::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(GUARD).arg("chatbus-guard");
        command.arg(name(spec.ending)?).arg(spec.grace.as_secs().to_string());
        command.arg(&spec.program).args(&spec.args);
        if !spec.inherit {
            command.env_clear();
            if let Some(path) = std::env::var_os("PATH") {
                command.env("PATH", path);
            }
        }
        command.envs(spec.env.iter().map(|(k, v)| (k, v)));
        if let Some(dir) = &spec.dir {
            command.current_dir(dir);
        }
        user::run_as(&mut command, spec.user);
        // A group of its own: Ctrl-C reaches this process alone, which then ends its children in order.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut shell = command.spawn()?;
        let leash = shell.stdin.take();
        let mut line = String::new();
        let stdout = shell.stdout.take().ok_or_else(|| io::Error::other("the guard has no output"))?;
        BufReader::new(stdout).read_line(&mut line)?;
        let pid = line.trim().parse().ok().and_then(Pid::from_raw);
        let pid =
            pid.ok_or_else(|| io::Error::other(format!("the guard said {line:?}, not a process id")))?;
        Ok(Self { shell, leash, pid, ending: spec.ending, grace: spec.grace })
    }

    /// The child's own process id, not its guard's.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends a signal; a child that has ended gets none. After `STOP` none of its threads runs any more: the signal
    /// alone only asks for that.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        if self.try_wait()?.is_some() {
            return Ok(());
        }
        kill_process(self.pid, signal)?;
        let deadline = Instant::now() + REAP;
        while signal == Signal::STOP && self.try_wait()?.is_none() && !is_stopped(self.pid()) {
            if Instant::now() >= deadline {
                let what = format!("process {} does not stop", self.pid());
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// The exit code if the child has ended: its own, or 128 + the signal that ended it.
    pub fn try_wait(&mut self) -> io::Result<Option<i32>> {
        Ok(self.shell.try_wait()?.map(|status| status.code().unwrap_or(-1)))
    }

    /// Waits for the child to end; `None` when it still runs at the deadline.
    pub fn wait_until(&mut self, deadline: Instant) -> io::Result<Option<i32>> {
        loop {
            let status = self.try_wait()?;
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
    }

    /// The same without holding a thread.
    pub async fn wait(&mut self, within: Duration) -> io::Result<Option<i32>> {
        let deadline = Instant::now() + within;
        let mut pause = POLL;
        loop {
            let status = self.try_wait()?;
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL_MAX);
        }
    }

    /// Waits for the child to end, however long it runs.
    pub async fn ended(&mut self) -> io::Result<i32> {
        loop {
            if let Some(code) = self.wait(Duration::from_secs(3600)).await? {
                return Ok(code);
            }
        }
    }

    /// Asks the child to end and waits, without holding a thread; after the grace time it is killed.
    pub async fn stop(mut self) -> io::Result<Option<i32>> {
        self.signal(self.ending)?;
        if let Some(code) = self.wait(self.grace).await? {
            return Ok(Some(code));
        }
        self.signal(Signal::KILL)?;
        self.wait(REAP).await
    }

    /// Kills the child with -9 and waits until it is gone.
    pub fn kill(&mut self) -> io::Result<()> {
        self.signal(Signal::KILL)?;
        match self.wait_until(Instant::now() + REAP)? {
            Some(_) => Ok(()),
            None => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("process {} outlived kill -9", self.pid()),
            )),
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.leash.take());
        let deadline = Instant::now() + self.grace + REAP;
        let _ = self.wait_until(deadline);
    }
}

fn is_stopped(pid: u32) -> bool {
    let threads = Path::new("/proc").join(pid.to_string()).join("task");
    match fs::read_dir(threads) {
        Ok(threads) => threads.flatten().all(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            // The name before the state is in brackets, and may itself hold any.
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
        }),
        // Not Linux.
        Err(_) => {
            let output = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output();
            output.is_ok_and(|output| output.stdout.starts_with(b"T"))
        }
    }
}

fn name(signal: Signal) -> io::Result<&'static str> {
    match signal {
        Signal::TERM => Ok("TERM"),
        Signal::INT => Ok("INT"),
        Signal::QUIT => Ok("QUIT"),
        Signal::KILL => Ok("KILL"),
        other => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{other:?} does not end a process")))
        }
    }
}
