//! A task as the engine has it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::TaskSpec;

/// States of a task. They only move forward; the order is the engine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as Docker has them")]
pub enum TaskState {
    New,
    Allocated,
    Pending,
    Assigned,
    Accepted,
    Preparing,
    Ready,
    Starting,
    Running,
    Complete,
    Shutdown,
    Failed,
    Rejected,
    Remove,
    Orphaned,
    /// A word this version does not know.
    #[serde(other)]
    Unknown,
}

impl TaskState {
    /// Reads the engine's word.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "new" => Self::New,
            "allocated" => Self::Allocated,
            "pending" => Self::Pending,
            "assigned" => Self::Assigned,
            "accepted" => Self::Accepted,
            "preparing" => Self::Preparing,
            "ready" => Self::Ready,
            "starting" => Self::Starting,
            "running" => Self::Running,
            "complete" => Self::Complete,
            "shutdown" => Self::Shutdown,
            "failed" => Self::Failed,
            "rejected" => Self::Rejected,
            "remove" => Self::Remove,
            "orphaned" => Self::Orphaned,
            _ => Self::Unknown,
        }
    }

    /// Whether the task will never run again.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Complete | Self::Shutdown | Self::Failed | Self::Rejected | Self::Remove | Self::Orphaned)
    }
}

/// A task.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Engine id.
    pub id: String,
    /// The service it belongs to.
    pub service_id: String,
    /// Slot, for replicated services (slot 0 of a job is `Some(0)`).
    pub slot: Option<u64>,
    /// The node it was put on; empty while it is pending.
    pub node_id: String,
    /// What it was made from, with names where the engine has ids.
    pub spec: TaskSpec,
    /// Where it stands.
    pub state: TaskState,
    /// Where Swarm wants it to go.
    pub desired: TaskState,
    /// The engine's remark.
    pub message: String,
    /// The engine's error.
    pub error: String,
    /// Exit code of its container, if it ended.
    pub exit_code: Option<i64>,
    /// Iteration of the job it belongs to.
    pub job_iteration: Option<u64>,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// When `state` was reported.
    pub state_since: Option<Timestamp>,
}
