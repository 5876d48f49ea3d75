//! Tasks of a stack, as the engine has them now.

use async_graphql::{Enum, SimpleObject};

use super::time::Time;
use crate::domain;
use crate::ports::TaskAnswer;

/// Where a task stands. States only move forward.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::TaskState", rename_items = "PascalCase")]
pub(super) enum TaskState {
    /// It was made.
    New,
    /// It has its addresses.
    Allocated,
    /// It waits for a node.
    Pending,
    /// It has a node.
    Assigned,
    /// The node has taken it.
    Accepted,
    /// The node makes it ready: pulls its image, for example.
    Preparing,
    /// It may start.
    Ready,
    /// Its container starts, or waits for its first healthy answer.
    Starting,
    /// It runs.
    Running,
    /// It ended well.
    Complete,
    /// It was told to stop.
    Shutdown,
    /// It ended badly.
    Failed,
    /// The node could not take it.
    Rejected,
    /// It is being removed.
    Remove,
    /// Its node has been gone for too long.
    Orphaned,
    /// A word this version does not know.
    Unknown,
}

/// A task of a service.
#[derive(SimpleObject)]
#[graphql(name = "Task")]
pub(super) struct TaskView {
    /// The engine's id of it.
    task_id: String,
    /// The full name of its service on the Swarm.
    service: String,
    /// Its slot, of a replicated service.
    slot: Option<u64>,
    /// The host name of its node; none while it has no place.
    node: Option<String>,
    /// Where it stands.
    state: TaskState,
    /// Where Swarm wants it to go.
    desired: TaskState,
    /// Whether it was made from what its service asks for now.
    current: bool,
    /// What the engine says of it.
    message: String,
    /// The exit code of its container, if it ended.
    exit_code: Option<i64>,
    /// When it was made.
    created_at: Option<Time>,
    /// Since when it stands where it does.
    since: Option<Time>,
}

impl From<TaskAnswer> for TaskView {
    fn from(it: TaskAnswer) -> Self {
        Self {
            task_id: it.id,
            service: it.service,
            slot: it.slot,
            node: it.node,
            state: it.state.into(),
            desired: it.desired.into(),
            current: it.current,
            message: it.message,
            exit_code: it.exit_code,
            created_at: it.created_at.map(Into::into),
            since: it.since.map(Into::into),
        }
    }
}
