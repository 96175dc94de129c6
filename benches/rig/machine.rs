//! What the figures were taken on, and what a process uses, from /proc.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// One line: cores, memory, file system of `dir`.
pub fn describe(dir: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory =
        fs::read_to_string("/proc/meminfo").ok().and_then(|text| field(&text, "MemTotal:"));
    let gib = memory.unwrap_or(0) / (1024 * 1024);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    format!("{cores} cores, {gib} GiB, {}, load {load} at the start", file_system(dir))
}

/// The type of the file system that holds `dir`.
fn file_system(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
    let holding = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        dir.starts_with(place).then(|| (place.len(), kind.to_owned()))
    });
    holding.max().map_or_else(|| "unknown file system".to_owned(), |(_, kind)| kind)
}

/// The first number behind `name`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The most memory that a process has had resident, in bytes.
pub fn peak_rss(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    field(&status, "VmHWM:").expect("Linux tells VmHWM in kB") * 1024
}

/// Starts the peak anew.
pub fn forget_peak(pid: u32) {
    let reset = fs::write(format!("/proc/{pid}/clear_refs"), "5");
    reset.expect("the peak can be reset for a process of ours");
}

/// Time on a core of all threads of a process, to the nanosecond.
pub fn cpu_time(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
    let nanos = tasks.filter_map(|task| {
        // A thread may end between the listing and the reading.
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}
