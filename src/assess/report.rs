//! What is to be said of one service of a deployment.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::AssessInput;
use super::service::{fixed_number, waits_for};
use crate::domain::{DesiredService, Failure, TaskState};

/// What is to be said of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// Its name in the compose file.
    pub key: String,
    /// Its real name.
    pub name: String,
    /// How many tasks are wanted.
    pub wanted: u64,
    /// How many of them run what was asked (for a job: have completed).
    pub healthy: u64,
    /// All wanted tasks run, none beyond them, and no task of an older spec does.
    pub settled: bool,
    /// A task has started and waits for its first healthy answer.
    pub awaits_health: bool,
    /// What stands in the way, if anything says so.
    pub obstacle: Option<Failure>,
    /// What stood in the way until its tasks came to run, for as long as Swarm remembers it.
    pub overcome: Option<Failure>,
    /// The obstacle will not go away by itself.
    pub doomed: bool,
    /// When an obstacle that is not certain yet will be.
    pub doomed_at: Option<Timestamp>,
    /// When the newest of the healthy tasks began to run.
    pub newest_task: Option<Timestamp>,
    /// What has to come about before it is written: names in the compose file.
    pub waits_for: Vec<String>,
    /// Swarm stopped its update through no fault of the version, and does not go on by itself.
    pub cut_short: bool,
    /// While it has not settled: the task that has been on its way for longest.
    pub late: Option<LateTask>,
}

/// A task that is to run (of a job: to complete), and does not yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LateTask {
    /// Its id.
    pub id: String,
    /// Its slot; none of a global service.
    pub slot: Option<u64>,
    /// The host name of its node, once it has one.
    pub node: Option<String>,
    /// How far it has come.
    pub state: TaskState,
}

impl ServiceReport {
    /// Of a service that is not on the Swarm.
    pub(super) fn not_there(input: &AssessInput<'_>, wanted: &DesiredService) -> Self {
        Self {
            key: wanted.key.clone(),
            name: wanted.spec.name.clone(),
            wanted: fixed_number(&wanted.spec.mode).unwrap_or(1),
            healthy: 0,
            settled: false,
            awaits_health: false,
            obstacle: None,
            overcome: None,
            doomed: false,
            doomed_at: None,
            newest_task: None,
            waits_for: waits_for(input, &wanted.spec.name),
            cut_short: false,
            late: None,
        }
    }
}
