//! The engine's words for why a task does not run, put into classes. The texts are those of Engine 20.10 to 29.
//!
//! What the engine does not say cannot be told apart. Engine 20.10 says `No such image` also when the registry is down or
//! wants a password; 29 says what the registry said. No engine says of a task that it ran out of memory: a container
//! killed with signal 9 (exit code 137) counts as out of memory if the service has a memory limit, and as an exit code
//! otherwise. An unhealthy container that had to be killed also ends with 137, but the engine says why.

use crate::domain::{Failure, FailureClass, Task, TaskState};

/// Exit code of a container killed with signal 9.
const KILLED: i64 = 137;

/// Why this task does not run, if it says so: it ended, was rejected, or waits with an error.
#[must_use]
pub fn classify(task: &Task) -> Option<Failure> {
    let ended =
        matches!(task.state, TaskState::Failed | TaskState::Rejected | TaskState::Complete | TaskState::Orphaned);
    let waits = task.state <= TaskState::Starting && !task.error.is_empty();
    if !waits && !ended {
        return None;
    }
    let class = class_of(task);
    let mut failure = Failure::new(class, sentence(task, class));
    failure.slot = task.slot;
    failure.node = (!task.node_id.is_empty()).then(|| task.node_id.clone());
    failure.task = Some(task.id.clone());
    failure.exit_code = task.exit_code.filter(|_| matches!(task.state, TaskState::Failed | TaskState::Complete));
    Some(failure)
}

fn sentence(task: &Task, class: FailureClass) -> String {
    let said = if task.error.is_empty() { &task.message } else { &task.error };
    if task.state == TaskState::Complete {
        let code = task.exit_code.unwrap_or(0);
        let why = if task.error.is_empty() { String::new() } else { format!(" ({})", task.error) };
        return format!("the task ended by itself with exit code {code}{why}; a service's task is meant to go on");
    }
    match memory_limit(task) {
        Some(limit) if class == FailureClass::OutOfMemory && is_killed(task) => {
            format!("{said}: it was killed, most likely for more memory than its limit of {} MiB", limit >> 20)
        }
        _ if said.is_empty() => format!("the task is {:?} and the engine does not say why", task.state),
        _ => said.clone(),
    }
}

fn memory_limit(task: &Task) -> Option<i64> {
    let limits = task.spec.resources.as_ref()?.limits.as_ref()?;
    (limits.memory_bytes > 0).then_some(limits.memory_bytes)
}

fn is_killed(task: &Task) -> bool {
    task.exit_code == Some(KILLED) || task.error.contains("non-zero exit (137)")
}

/// Of a pull, as the registry or the way to it says it.
const REFUSED_BY_REGISTRY: &[&str] = &[
    "unauthorized",
    "authentication required",
    "access denied",
    "access to the resource is denied",
    "no basic auth",
    "insufficient_scope",
    "403 forbidden",
];
const REGISTRY_AWAY: &[&str] = &[
    "dial tcp",
    "i/o timeout",
    "connection refused",
    "connection reset",
    "tls handshake",
    "no such host",
    "temporary failure in name resolution",
    "no route to host",
    "network is unreachable",
    "context deadline exceeded",
    "request canceled",
    "service unavailable",
    "bad gateway",
    "unexpected http status: 5",
    "toomanyrequests",
    "too many requests",
];
const NO_IMAGE: &[&str] = &["no such image", "manifest unknown", "not found: manifest", "repository does not exist"];
const PORT_TAKEN: &[&str] = &["port already in use", "address already in use", "port is already allocated"];
const NO_MEMORY: &[&str] = &["out of memory", "oomkilled", "oom-kill", "cannot allocate memory"];

fn class_of(task: &Task) -> FailureClass {
    let text = task.error.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if task.state == TaskState::Orphaned {
        return FailureClass::NodeLost;
    }
    if has(&["no suitable node"]) {
        return if has(PORT_TAKEN) { FailureClass::PortConflict } else { FailureClass::NoSuitableNode };
    }
    // What is refused before it started and is not about a mount is about the image.
    if task.state == TaskState::Rejected && !has(&["mount"]) {
        if has(REFUSED_BY_REGISTRY) {
            return FailureClass::RegistryAuth;
        }
        if has(REGISTRY_AWAY) {
            return FailureClass::RegistryDown;
        }
        if has(NO_IMAGE) || (has(&["failed to resolve reference"]) && has(&["not found"])) {
            return FailureClass::ImageMissing;
        }
    }
    if has(&["unhealthy container"]) {
        return FailureClass::HealthCheck;
    }
    if has(PORT_TAKEN) {
        return FailureClass::PortConflict;
    }
    if has(NO_MEMORY) || (is_killed(task) && memory_limit(task).is_some()) {
        return FailureClass::OutOfMemory;
    }
    FailureClass::ExitCode
}

/// Whether a waiting task's error says that only a change of the nodes themselves would help: no node meets its
/// constraints or has its platform. Full, paused or occupied nodes may yet have room.
pub(super) fn is_unmeetable(task: &Task) -> bool {
    let Some((_, reasons)) = task.error.split_once("no suitable node (") else { return false };
    reasons.trim_end_matches(')').split("; ").all(|reason| {
        reason.starts_with("scheduling constraints not satisfied") || reason.starts_with("unsupported platform")
    })
}
