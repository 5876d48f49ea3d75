//! A stack as it was declared. Only the API writes it; the controller reads it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Adoption, CatalogEntry, CredentialName, Dependency, DeploymentId, Digest, FollowedImage, ImageWish, RelayMark,
    Schedule, Sealed, Source, StackKey,
};

/// The declared record of a stack: what was asked, and what people have said about it since.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    /// Environment and name.
    pub key: StackKey,
    /// What is asked for.
    pub spec: StackSpec,
    /// Grows by one with every change of `spec`; begins at 1.
    pub generation: u64,
    /// The manifest document last applied, as canonical JSON with secret values replaced by their keyed digest: the
    /// base of the three-way comparison of `apply`.
    pub last_applied: Option<serde_json::Value>,
    /// Pin, suspension and the like: a person's words that are not part of the spec.
    pub control: StackControl,
    /// The deployment that was recorded together with this generation.
    pub deployment: DeploymentId,
    /// When the stack was first declared.
    pub created_at: Timestamp,
    /// When `spec` last changed.
    pub updated_at: Timestamp,
}

/// The spec of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackSpec {
    /// Where the files come from.
    pub source: Source,
    /// The compose files, in order of merging, relative to the source's folder. Unused for an inline source.
    pub compose: Vec<String>,
    /// Whose rules apply where the CLI has quirks.
    pub compat: Compat,
    /// Values for interpolation.
    pub variables: BTreeMap<String, Variable>,
    /// Desired versions by service.
    pub images: BTreeMap<String, ImageWish>,
    /// The age credential that opens what is encrypted in the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decryption: Option<CredentialName>,
    /// Stacks that must be ready before a new version is applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Dependency>,
    /// The rules of change.
    pub policy: Policy,
}

impl StackSpec {
    /// The versions that are named, by service.
    #[must_use]
    pub fn named_images(&self) -> BTreeMap<String, String> {
        let named = |(service, wish): (&String, &ImageWish)| Some((service.clone(), wish.named()?.to_owned()));
        self.images.iter().filter_map(named).collect()
    }

    /// The images that are followed, by service.
    pub fn followed_images(&self) -> impl Iterator<Item = (&String, &FollowedImage)> {
        self.images.iter().filter_map(|(service, wish)| Some((service, wish.followed()?)))
    }
}

/// The value of a variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Variable {
    /// In the clear.
    Plain(String),
    /// Secret: sealed when it came in, masked wherever it would show.
    Secret(Sealed),
}

/// Whose meaning a compose file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Compat {
    /// The specification's; what would be dropped is refused.
    #[default]
    Strict,
    /// `docker stack deploy`'s own, quirks included.
    Cli,
}

/// How changes are made and judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Whether anything is written at all.
    pub mode: Mode,
    /// What happens when the desired version fails.
    pub on_failure: OnFailure,
    /// A failure holds, it never goes back past this version.
    pub irreversible: bool,
    /// Longest time without one more healthy task.
    pub progress_deadline: SignedDuration,
    /// Longest time for the whole deployment.
    pub total_deadline: SignedDuration,
    /// How long all tasks must stay healthy; the greater of this and the service's own monitor counts.
    pub monitor: SignedDuration,
    /// How long a new version is watched after that, before it counts as good: a task of it that fails within this time is
    /// a failure of the version, also when it has come up again. Zero: not at all.
    #[serde(default)]
    pub bake: SignedDuration,
    /// What happens to foreign changes.
    pub drift: DriftPolicy,
    /// Whether owned objects that are no longer wanted are removed.
    pub prune: bool,
    /// When tags are looked up.
    pub images: ImagesPolicy,
    /// What an unset variable means.
    pub unset_variables: UnsetVariables,
    /// Fields of services that somebody else owns: the live value is kept.
    #[serde(default)]
    pub ignore: Vec<ServiceField>,
    /// Fields of services whose foreign changes are only shown: they stay until the next deployment, which writes them anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub report: Vec<ServiceField>,
    /// Whether what Swarm cannot change in place may be removed and made again, with an outage.
    #[serde(default)]
    pub allow_recreate: bool,
    /// When new versions may begin.
    #[serde(default)]
    pub schedule: Schedule,
}

/// A field of a service, in what the engine keeps of it. As text `SERVICE:/POINTER`, with the compose key of the service, or `*`
/// for all, and a JSON pointer into the engine's spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceField {
    /// The compose key, or `*`.
    pub service: String,
    /// The pointer.
    pub path: String,
}

impl ServiceField {
    /// Reads `SERVICE:/POINTER`.
    ///
    /// # Errors
    /// What it should look like.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((service, path)) if !service.is_empty() && path.starts_with('/') && path.len() > 1 => {
                Ok(Self { service: service.to_owned(), path: path.to_owned() })
            }
            _ => Err(format!("`{text}` is no field of a service: write it like `web:/Mode/Replicated/Replicas`")),
        }
    }
}

impl TryFrom<String> for ServiceField {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<ServiceField> for String {
    fn from(field: ServiceField) -> Self {
        format!("{}:{}", field.service, field.path)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::Auto,
            on_failure: OnFailure::Rollback,
            irreversible: false,
            progress_deadline: SignedDuration::from_mins(5),
            total_deadline: SignedDuration::from_hours(1),
            monitor: SignedDuration::from_secs(5),
            bake: SignedDuration::ZERO,
            drift: DriftPolicy::Correct,
            prune: true,
            images: ImagesPolicy::Changed,
            unset_variables: UnsetVariables::Error,
            ignore: Vec::new(),
            report: Vec::new(),
            allow_recreate: false,
            schedule: Schedule::default(),
        }
    }
}

/// Whether Skep acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Acts by itself.
    Auto,
    /// Looks and says what it would do; writes nothing to the engine, not even a label.
    Observe,
    /// Waits for a person before a new version is applied. What has been approved is kept, and gone back to, without.
    Approve,
}

/// What a failed version leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailure {
    /// The whole stack goes back to the last good version.
    Rollback,
    /// It stays as it is and a person looks.
    Hold,
}

/// What a foreign change leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DriftPolicy {
    /// It is undone.
    Correct,
    /// It is shown.
    Report,
}

/// When the registry is asked for a tag's digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImagesPolicy {
    /// When the image's text changed.
    Changed,
    /// With every deployment.
    Always,
    /// Never; the tag is sent as it is.
    Never,
}

/// What an unset variable means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnsetVariables {
    /// An error that names it.
    Error,
    /// Empty text, with a warning.
    Empty,
}

/// Who asked, and by which way in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// `admin`, a token's name, `hook/NAME`, `controller`.
    pub name: String,
}

impl Actor {
    /// An actor of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Skep itself.
    #[must_use]
    pub fn controller() -> Self {
        Self::new("controller")
    }
}

/// A person's standing words about a stack.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StackControl {
    /// An older deployment chosen by a person.
    pub pin: Option<Pin>,
    /// Nothing is written while this stands.
    pub suspension: Option<Suspension>,
    /// A deployment to be cancelled.
    pub cancel: Option<DeploymentId>,
    /// The newest approval of a plan.
    #[serde(default)]
    pub approval: Option<Approval>,
    /// Token of the last "look again now"; echoed in the status.
    pub reconcile_token: Option<String>,
    /// Token of the last "forget what failed"; echoed in the status.
    pub release_token: Option<String>,
    /// What `docker stack deploy` made under this name is to be taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adoption: Option<Adoption>,
    /// The catalog that declares it, if one does: nobody else changes what its manifest names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogEntry>,
    /// The Skep that hands it over, if it is not declared here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<RelayMark>,
    /// The stack is to be deleted.
    pub deletion: Option<Deletion>,
}

/// A person's word that a plan may be carried out: this plan of this deployment, and no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The digest of the plan that was seen.
    pub plan: Digest,
    /// Who.
    pub actor: Actor,
    /// Why, if said.
    pub reason: Option<String>,
    /// When.
    pub since: Timestamp,
}

/// An order to delete a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// Leave the objects on the Swarm.
    pub keep_running: bool,
    /// And take Skep's labels from them first: they are handed back.
    #[serde(default)]
    pub release: bool,
    /// Who asked.
    pub actor: Actor,
    /// When.
    pub since: Timestamp,
}

/// A person's choice of an older deployment, which new revisions wait behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The deployment that brings the chosen version back.
    pub deployment: DeploymentId,
    /// The deployment whose version was chosen.
    pub version_of: DeploymentId,
    /// Who chose.
    pub actor: Actor,
    /// Why, if said.
    pub reason: Option<String>,
    /// When it ends by itself, if ever.
    pub until: Option<Timestamp>,
    /// When it was written.
    pub since: Timestamp,
}

/// A standing order to write nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Why.
    pub reason: String,
    /// Who.
    pub actor: Actor,
    /// When it ends by itself, if ever.
    pub until: Option<Timestamp>,
    /// When it was written.
    pub since: Timestamp,
}
