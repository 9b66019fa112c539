//! `up.env`: how everything else finds the running system.
//!
//! It appears whole, by renaming, and only when everything is ready; it is rewritten whole when a process is restarted,
//! and gone when the system is.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Names and values, in the order in which they are printed.
pub type Values = Vec<(String, String)>;

/// The file, and what of it changes.
#[derive(Debug)]
pub struct EnvFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// `None` until everything is ready.
    values: Option<Values>,
    /// Slots in the order of the contract, with the process that fills each now.
    processes: Vec<(String, u32)>,
}

impl EnvFile {
    /// A file that does not exist yet; `kinds` is what each process that will run is, in order.
    pub fn new(path: PathBuf, kinds: impl IntoIterator<Item = String>) -> Self {
        let processes = kinds.into_iter().map(|kind| (kind, 0)).collect();
        Self { path, state: Mutex::new(State { values: None, processes }) }
    }

    /// Everything is ready: the file appears.
    pub fn publish(&self, values: Values) -> io::Result<()> {
        let mut state = self.lock();
        state.values = Some(values);
        self.write(&state)
    }

    /// A process runs under a new id.
    pub fn set_pid(&self, slot: usize, pid: u32) -> io::Result<()> {
        let mut state = self.lock();
        state.processes[slot].1 = pid;
        self.write(&state)
    }

    /// The file goes away, and does not come back.
    pub fn remove(&self) {
        let mut state = self.lock();
        state.values = None;
        let _ = fs::remove_file(&self.path);
    }

    fn write(&self, state: &State) -> io::Result<()> {
        let Some(values) = &state.values else { return Ok(()) };
        let pids: Vec<_> = state.processes.iter().map(|(kind, pid)| format!("{kind}:{pid}")).collect();
        let pids = ("CHATBUS_PIDS".to_owned(), pids.join(","));
        let text: String = values.iter().chain([&pids]).map(|(name, value)| line(name, value)).collect();
        write_private(&self.path, &text)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Replaces a file that only its owner may read, whole or not at all.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let part = path.with_extension("part");
    let _ = fs::remove_file(&part);
    let mut file = fs::File::options().create_new(true).write(true).mode(0o600).open(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(part, path)
}

/// What a file of such lines says.
pub fn parse(text: &str) -> Values {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), unquote(value))).collect()
}

fn line(name: &str, value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,@+%?=".contains(c);
    if value.chars().all(plain) {
        format!("{name}={value}\n")
    } else {
        format!("{name}='{}'\n", value.replace('\'', r"'\''"))
    }
}

fn unquote(value: &str) -> String {
    match value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')) {
        Some(inner) => inner.replace(r"'\''", "'"),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_shells_agree() {
        let values: Values = [("A", "plain,http://127.0.0.1:7700"), ("B", "it's $HOME"), ("C", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let text: String = values.iter().map(|(name, value)| line(name, value)).collect();
        assert_eq!(parse(&text), values);
        let script = format!("{text}printf %s \"$B\"");
        let shell = std::process::Command::new("/bin/sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(shell.stdout, b"it's $HOME");
    }

    #[test]
    fn the_file_is_there_only_between_ready_and_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("up.env");
        let file = EnvFile::new(path.clone(), ["edge".to_owned(), "router".to_owned()]);
        file.set_pid(0, 11).unwrap();
        file.set_pid(1, 12).unwrap();
        assert!(!path.exists());
        file.publish(vec![("X".to_owned(), "y".to_owned())]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "X=y\nCHATBUS_PIDS=edge:11,router:12\n");
        file.set_pid(0, 21).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "X=y\nCHATBUS_PIDS=edge:21,router:12\n");
        file.remove();
        file.set_pid(0, 31).unwrap();
        assert!(!path.exists());
    }
}
