//! What the processes of the system cost, from /proc: CPU time and resident memory, children included.

use std::{collections::BTreeMap, fs, path::Path};

use rustix::{
    process::Pid,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// Ticks per second of /proc on every Linux that is in use.
const TICKS: u64 = 100;

/// The name under which this process is listed.
pub const DRIVER: &str = "driver";

/// CPU time used so far by name, in microseconds.
pub type Cpu = BTreeMap<String, u64>;

/// Processes by name; several may share one.
#[derive(Debug, Clone, Default)]
pub struct Procs(Vec<(String, u32)>);

impl Procs {
    pub fn new(processes: Vec<(String, u32)>) -> Self {
        Self(processes)
    }

    pub fn named(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(n, _)| n == name).cloned().collect())
    }

    /// The process id of the first of them.
    pub fn first(&self) -> Option<u32> {
        self.0.first().map(|(_, pid)| *pid)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// CPU time by name, with the driver's own.
    pub fn cpu(&self) -> Cpu {
        let parents = parents();
        let mut cpu = Cpu::new();
        for (name, pid) in self.0.iter().cloned().chain([(DRIVER.to_owned(), std::process::id())]) {
            let family = if name == DRIVER { vec![pid] } else { family(pid, &parents) };
            *cpu.entry(name).or_default() += family.into_iter().map(cpu_us).sum::<u64>();
        }
        cpu
    }

    /// Resident bytes of all of them.
    pub fn resident(&self) -> u64 {
        let parents = parents();
        self.0.iter().flat_map(|(_, pid)| family(*pid, &parents)).map(resident).sum()
    }

    /// Keeps all threads of all of them, and of their children, on one core.
    pub fn pin(&self, core: usize) {
        let parents = parents();
        for pid in self.0.iter().flat_map(|(_, pid)| family(*pid, &parents)) {
            set_affinity(pid, &[core]);
        }
    }

    /// Gives them all cores of this machine.
    pub fn unpin(&self, cores: usize) {
        let all: Vec<usize> = (0..cores).collect();
        let parents = parents();
        for pid in self.0.iter().flat_map(|(_, pid)| family(*pid, &parents)) {
            set_affinity(pid, &all);
        }
    }
}

/// Keeps this process on one core.
pub fn pin_self(core: usize) {
    set_affinity(std::process::id(), &[core]);
}

/// What was used between two looks.
pub fn used(before: &Cpu, after: &Cpu) -> Cpu {
    let since = |(name, us): (&String, &u64)| {
        (name.clone(), us.saturating_sub(before.get(name).copied().unwrap_or(0)))
    };
    after.iter().map(since).collect()
}

/// Cores that this process may use.
pub fn cores() -> usize {
    sched_getaffinity(None).map_or(1, |set| set.count() as usize)
}

fn set_affinity(pid: u32, cores: &[usize]) {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return };
    for thread in threads.flatten() {
        let id = thread.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        // A thread that ended meanwhile needs no place.
        let _ = id.map(|id| sched_setaffinity(Some(id), &set));
    }
}

/// Each process's parent.
fn parents() -> BTreeMap<u32, u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?.get(1)?.parse().ok()?))).collect()
}

fn family(root: u32, parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let mut family = vec![root];
    let mut at = 0;
    while let Some(&parent) = family.get(at) {
        family.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    family
}

/// The fields of /proc/PID/stat behind the name, state first.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = text.rsplit_once(')')?.1;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// User and system time, with that of children that have ended.
fn cpu_us(pid: u32) -> u64 {
    let Some(fields) = stat(pid) else { return 0 };
    let ticks: u64 = (11..15).filter_map(|at| fields.get(at)?.parse::<u64>().ok()).sum();
    ticks * 1_000_000 / TICKS
}

fn resident(pid: u32) -> u64 {
    let field = |text: &str| text.lines().find_map(|line| line.strip_prefix("Rss:")).and_then(kib);
    let rollup = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("smaps_rollup"));
    rollup.ok().as_deref().and_then(field).unwrap_or(0)
}

fn kib(text: &str) -> Option<u64> {
    Some(text.split_whitespace().next()?.parse::<u64>().ok()? * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_cost_and_size() {
        let procs = Procs::new(vec![("it".to_owned(), std::process::id())]);
        assert!(procs.resident() > 100_000);
        let before = procs.cpu();
        let mut sum = 0_u64;
        while used(&before, &procs.cpu())["it"] < 20_000 {
            sum = (0..1_000_000_u64).fold(sum, u64::wrapping_add);
        }
        assert!(std::hint::black_box(sum) != 1 && before.contains_key(DRIVER));
    }

    #[test]
    fn children_belong_to_the_family() {
        let parents = BTreeMap::from([(2, 1), (3, 2), (4, 1), (9, 8)]);
        let mut found = family(1, &parents);
        found.sort_unstable();
        assert_eq!(found, [1, 2, 3, 4]);
    }
}
