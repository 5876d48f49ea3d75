//! What the server answers, as far as it is looked at. Unknown fields and words are let through: a server may be newer.

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(super) use super::environment_model::{Environment, Node, Round};
use super::exit::{CliError, Exit};
pub(super) use super::plan_model::{Change, Plan, Step, Task};

/// Reads a part of an answer.
pub(super) fn read<T: DeserializeOwned>(value: &Value) -> Result<T, CliError> {
    T::deserialize(value).map_err(|error| {
        CliError::new(Exit::Error, format!("the server's answer is not understood: {error}"))
            .next("compare `skep --version` with the server's version")
    })
}

/// Reads a list of nodes.
pub(super) fn read_all<T: DeserializeOwned>(values: &[Value]) -> Result<Vec<T>, CliError> {
    values.iter().map(read).collect()
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stack {
    pub(super) name: String,
    pub(super) environment: String,
    pub(super) generation: u64,
    pub(super) observed_generation: u64,
    pub(super) phase: String,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    #[serde(default)]
    pub(super) conditions: Vec<Condition>,
    pub(super) desired: Version,
    pub(super) target: Option<Version>,
    pub(super) live: Option<Version>,
    pub(super) last_good: Option<Version>,
    #[serde(default)]
    pub(super) held: Vec<Version>,
    pub(super) pin: Option<Pin>,
    pub(super) deployment_id: String,
    pub(super) suspension: Option<Suspension>,
    pub(super) deletion: Option<Deletion>,
    #[serde(default)]
    pub(super) catalog: Option<StackCatalog>,
    #[serde(default)]
    pub(super) followed_images: Vec<FollowedImage>,
    #[serde(default)]
    pub(super) drift: Drift,
    #[serde(default)]
    pub(super) next: Option<Next>,
    #[serde(default)]
    pub(super) attempt: Option<Attempt>,
    pub(super) updated_at: Timestamp,
}

/// The deployment that was worked on last, as far as a list shows it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attempt {
    pub(super) deployment_id: String,
    #[serde(default)]
    pub(super) services: Vec<Service>,
    pub(super) created_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FollowedImage {
    pub(super) service: String,
    pub(super) rule: String,
    pub(super) wanted: String,
    pub(super) repository: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) digest: Option<String>,
    #[serde(default)]
    pub(super) skipped: Vec<String>,
    pub(super) checked_at: Option<Timestamp>,
    pub(super) next_look: Option<Timestamp>,
    pub(super) error: Option<String>,
}

/// What happens next, and when.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Next {
    pub(super) text: String,
    pub(super) at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) since: Timestamp,
}

/// A version in any of its places: each has only some of the fields.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version {
    #[serde(rename = "ref")]
    pub(super) wanted: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) revision: Option<String>,
    #[serde(default)]
    pub(super) images: Vec<Image>,
    pub(super) deployment_id: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) since: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Image {
    pub(super) service: String,
    pub(super) image: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pin {
    pub(super) version_of: String,
    pub(super) actor: String,
    pub(super) reason: Option<String>,
    pub(super) until: Option<Timestamp>,
    pub(super) since: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Suspension {
    pub(super) reason: String,
    pub(super) actor: String,
    pub(super) until: Option<Timestamp>,
    pub(super) since: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Deletion {
    pub(super) actor: String,
    pub(super) since: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub(super) struct Drift {
    #[serde(default)]
    pub(super) found: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Deployment {
    pub(super) id: String,
    pub(super) stack: String,
    pub(super) environment: String,
    pub(super) generation: u64,
    pub(super) trigger: String,
    pub(super) phase: String,
    pub(super) reason: String,
    pub(super) message: Option<String>,
    pub(super) failure: Option<Failure>,
    pub(super) revision: Option<String>,
    #[serde(default)]
    pub(super) images: Vec<Image>,
    pub(super) actor: String,
    pub(super) stated_reason: Option<String>,
    pub(super) rollback_of: Option<String>,
    pub(super) rolled_back_by: Option<String>,
    #[serde(default)]
    pub(super) trace_id: Option<String>,
    /// The address of its page, as far as the server knows it.
    #[serde(default)]
    pub(super) url: Option<String>,
    #[serde(default)]
    pub(super) services: Vec<Service>,
    #[serde(default)]
    pub(super) jobs: Vec<Job>,
    #[serde(default)]
    pub(super) warnings: Vec<String>,
    #[serde(default)]
    pub(super) commit: Option<Commit>,
    pub(super) created_at: Timestamp,
    pub(super) finished_at: Option<Timestamp>,
}

/// Who made a commit, and what for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Commit {
    pub(super) author: String,
    pub(super) title: String,
    pub(super) time: Timestamp,
}

impl Deployment {
    /// How a command that waits for it ends; none while it goes on.
    pub(super) fn ended(&self) -> Option<Exit> {
        Exit::of_phase(&self.phase)
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failure {
    pub(super) class: String,
    pub(super) service: Option<String>,
    pub(super) slot: Option<u64>,
    pub(super) node: Option<String>,
    pub(super) error: String,
    pub(super) exit_code: Option<i64>,
    #[serde(default)]
    pub(super) log_tail: Vec<String>,
    #[serde(default)]
    pub(super) health_log: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Service {
    pub(super) service: String,
    pub(super) wanted: u64,
    pub(super) healthy: u64,
    pub(super) obstacle: Option<String>,
    #[serde(default)]
    pub(super) waits_for: Vec<String>,
}

/// The run of a job before or after a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Job {
    pub(super) service: String,
    pub(super) when: String,
    pub(super) direction: String,
    pub(super) phase: String,
    pub(super) exit_code: Option<i64>,
    #[serde(default)]
    pub(super) log_tail: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Credential {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) hosts: Vec<String>,
    #[serde(default)]
    pub(super) stacks: Vec<String>,
    pub(super) keys: Vec<String>,
    pub(super) updated_at: Timestamp,
    #[serde(default)]
    pub(super) used_by: Vec<CredentialUse>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct CredentialUse {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) environment: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Token {
    pub(super) name: String,
    pub(super) role: String,
    pub(super) environments: Vec<String>,
    pub(super) stacks: Vec<String>,
    pub(super) created_at: Timestamp,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) last_used_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Catalog {
    pub(super) name: String,
    pub(super) git: String,
    #[serde(rename = "ref")]
    pub(super) wanted: String,
    pub(super) path: String,
    pub(super) in_sync: bool,
    pub(super) revision: Option<String>,
    pub(super) author: Option<String>,
    pub(super) title: Option<String>,
    pub(super) applied_at: Option<Timestamp>,
    pub(super) stacks: Vec<CatalogStack>,
    pub(super) broken: Vec<BrokenManifest>,
    pub(super) kept: Vec<String>,
    pub(super) kept_because: Option<String>,
    pub(super) error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct StackCatalog {
    pub(super) name: String,
    pub(super) file: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct CatalogStack {
    pub(super) name: String,
    pub(super) environment: String,
    pub(super) file: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct BrokenManifest {
    pub(super) file: String,
    pub(super) line: Option<u64>,
    pub(super) message: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Hook {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) provider: String,
    pub(super) unsigned: bool,
    pub(super) credential: Option<String>,
    pub(super) rules: Vec<HookRule>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct HookRule {
    pub(super) stacks: Vec<String>,
    #[serde(default)]
    pub(super) catalogs: Vec<String>,
    pub(super) environment: String,
    pub(super) set: Vec<HookSet>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct HookSet {
    pub(super) field: String,
    pub(super) value: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct HookStack {
    pub(super) name: String,
    pub(super) environment: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct HookRefusal {
    pub(super) stack: HookStack,
    pub(super) message: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HookDelivery {
    pub(super) id: String,
    pub(super) delivery_id: String,
    pub(super) event: String,
    pub(super) at: Timestamp,
    pub(super) again_by: Option<String>,
    pub(super) deployments: Vec<String>,
    pub(super) reconciled: Vec<HookStack>,
    #[serde(default)]
    pub(super) synced: Vec<String>,
    pub(super) refused: Vec<HookRefusal>,
    pub(super) outcome: String,
    pub(super) message: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Redelivered {
    pub(super) delivery_id: String,
    pub(super) deployments: Vec<String>,
    pub(super) reconciled: Vec<HookStack>,
    #[serde(default)]
    pub(super) synced: Vec<String>,
    pub(super) refused: Vec<HookRefusal>,
    pub(super) message: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct HookTrial {
    pub(super) event: String,
    pub(super) rules: Vec<RuleTrial>,
    pub(super) stacks: Vec<StackTrial>,
    #[serde(default)]
    pub(super) catalogs: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct RuleTrial {
    pub(super) number: usize,
    pub(super) objection: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct StackTrial {
    pub(super) stack: HookStack,
    pub(super) rule: usize,
    pub(super) set: Vec<HookSet>,
    pub(super) outcome: String,
    pub(super) message: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Notifier {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) place: Option<String>,
    pub(super) credential: Option<String>,
    pub(super) environments: Vec<String>,
    pub(super) stacks: Vec<String>,
    pub(super) events: Vec<String>,
    pub(super) status: NotifierStatus,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NotifierStatus {
    pub(super) pending: u64,
    pub(super) last_success_at: Option<Timestamp>,
    pub(super) last_error: Option<String>,
    pub(super) last_error_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    pub(super) time: Timestamp,
    pub(super) environment: String,
    pub(super) stack: Option<String>,
    pub(super) deployment_id: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) actor: String,
}

/// What became of a document of a manifest.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct AppliedDocument {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) environment: Option<String>,
    pub(super) created: bool,
    pub(super) changes: Vec<String>,
    pub(super) deployment: Option<Deployment>,
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct UserError {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) field: Option<String>,
    pub(super) file: Option<String>,
    pub(super) line: Option<u64>,
    pub(super) column: Option<u64>,
    pub(super) hint: Option<String>,
}
