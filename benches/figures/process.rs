//! What processes use, as the kernel counts it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hyper::Method;
use serde_json::Value;

use super::http::Http;

/// CPU time of a process so far, user and system: the sum over its threads, to the nanosecond. Threads that have ended
/// are not in it, so it is read before and after something short.
pub(crate) fn cpu(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.map_while(Result::ok).map(|task| on_cpu(&task.path().join("schedstat"))).sum()
}

/// CPU time of this thread.
pub(crate) fn cpu_of_this_thread() -> Duration {
    on_cpu(Path::new("/proc/thread-self/schedstat"))
}

fn on_cpu(schedstat: &Path) -> Duration {
    let text = fs::read_to_string(schedstat).unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// CPU time of the children of this process that were waited for, theirs included; in hundredths of a second.
pub(crate) fn cpu_of_children() -> Duration {
    ticks("/proc/self/stat", 16)
}

/// CPU time of a process, threads that have ended included; in hundredths of a second.
pub(crate) fn cpu_in_all(pid: u32) -> Duration {
    ticks(&format!("/proc/{pid}/stat"), 14)
}

/// The sum of two fields of a `stat`, counted from 1.
fn ticks(path: &str, first: usize) -> Duration {
    let text = fs::read_to_string(path).unwrap();
    // After the name, which may hold anything, comes field 3.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[first - 3].parse::<u64>().unwrap() + fields[first - 2].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// Memory of a process in MB (10⁶ bytes): now, and at most so far.
pub(crate) fn memory(pid: u32) -> (f64, f64) {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0 / 1e6
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// One line: cores, load, engine.
pub(crate) async fn machine(socket: &Path) -> String {
    let cores = std::thread::available_parallelism().unwrap();
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    let load = load.split(' ').next().unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let version = Http::unix(socket).await.ask(Method::GET, "/version", &Value::Null).await;
    let engine = version["Version"].as_str().unwrap_or_default();
    let kernel = kernel.trim();
    format!("{cores} cores, load {load} at the start, Linux {kernel}, engine {engine}")
}
