//! The engine's words for why a task does not run, put into classes. The texts are those of Engine 20.10 to 28.

use crate::domain::{Failure, FailureClass, Task, TaskState};

/// Why this task does not run, if it says so: it ended, was rejected, or waits with an error.
#[must_use]
pub fn classify(task: &Task) -> Option<Failure> {
    let waits = task.state <= TaskState::Starting && !task.error.is_empty();
    let ended = matches!(task.state, TaskState::Failed | TaskState::Rejected | TaskState::Complete);
    if !waits && !ended {
        return None;
    }
    let class = class_of(task);
    let error = match (&class, task.error.is_empty()) {
        (_, false) => task.error.clone(),
        (_, true) if task.state == TaskState::Complete => {
            format!(
                "the task ended by itself with exit code {}; a service's task is meant to go on",
                task.exit_code.unwrap_or(0)
            )
        }
        (_, true) => task.message.clone(),
    };
    let mut failure = Failure::new(class, error);
    failure.slot = task.slot;
    failure.node = (!task.node_id.is_empty()).then(|| task.node_id.clone());
    failure.task = Some(task.id.clone());
    failure.exit_code = task.exit_code.filter(|_| ended && task.state != TaskState::Rejected);
    Some(failure)
}

fn class_of(task: &Task) -> FailureClass {
    let text = task.error.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["no suitable node"]) {
        return if has(&["port already in use"]) { FailureClass::PortConflict } else { FailureClass::NoSuitableNode };
    }
    if has(&["unauthorized", "authentication required", "access denied", "pull access denied", "no basic auth"]) {
        return FailureClass::RegistryAuth;
    }
    if has(&["dial tcp", "i/o timeout", "connection refused", "tls handshake", "no such host", "service unavailable"])
        && task.state == TaskState::Rejected
    {
        return FailureClass::RegistryDown;
    }
    if has(&["no such image", "manifest unknown", "not found: manifest", "repository does not exist"]) {
        return FailureClass::ImageMissing;
    }
    if has(&["unhealthy container", "health check"]) {
        return FailureClass::HealthCheck;
    }
    if has(&["address already in use", "port is already allocated"]) {
        return FailureClass::PortConflict;
    }
    if has(&["out of memory", "oom"]) {
        return FailureClass::OutOfMemory;
    }
    FailureClass::ExitCode
}
