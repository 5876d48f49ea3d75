//! Plans, and the tasks that they lead to, as the server tells of them.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Plan {
    /// Empty where two versions are compared: that is no plan.
    #[serde(default)]
    pub(super) digest: String,
    pub(super) steps: Vec<Step>,
    #[serde(default)]
    pub(super) waiting: Vec<String>,
    #[serde(default)]
    pub(super) warnings: Vec<String>,
    pub(super) unchanged: u64,
    #[serde(default)]
    pub(super) jobs: Vec<PlannedJob>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlannedJob {
    pub(super) name: String,
    pub(super) when: String,
    pub(super) wave: u32,
    #[serde(default)]
    pub(super) waits_for: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Step {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) action: String,
    pub(super) reason: String,
    #[serde(default)]
    pub(super) changes: Vec<Change>,
    #[serde(default)]
    pub(super) wave: Option<u32>,
    #[serde(default)]
    pub(super) waits_for: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Task {
    pub(super) service: String,
    pub(super) slot: Option<u64>,
    pub(super) node: Option<String>,
    pub(super) state: String,
    pub(super) desired: String,
    pub(super) current: bool,
    pub(super) message: String,
    pub(super) exit_code: Option<i64>,
    pub(super) since: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Change {
    pub(super) path: String,
    #[serde(default)]
    pub(super) from: Value,
    #[serde(default)]
    pub(super) to: Value,
}
