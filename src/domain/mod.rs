//! The nouns: names, specs, status, deployments, what the engine says. Values only: no I/O, no clock, no randomness.
//!
//! Every other room speaks in these types. Time and ids come in as arguments.

mod access;
mod adoption;
mod catalog;
mod condition;
mod credential;
mod dependency;
mod deployment;
mod desired;
mod digest;
mod effect;
mod environment;
mod event;
mod failure;
mod image;
mod job;
mod live;
mod name;
mod notifier;
mod object;
mod order;
mod outlook;
mod range;
mod relay;
mod schedule;
mod secret;
mod service;
mod source;
mod stack;
mod status;
mod task;
mod trace;

pub use access::{Access, ApiToken, Grant, Place, Reach, Role, Scope, Way, fits};
pub use adoption::{AdoptedNames, Adoption};
pub use catalog::{BrokenManifest, Catalog, CatalogCommit, CatalogEntry, CatalogStatus, is_manifest};
pub use condition::{Condition, ConditionStatus, ConditionType, Polarity, Reason, set_condition};
pub use credential::{Credential, CredentialHost, CredentialType, DataKey, Form, names_stack};
pub use dependency::Dependency;
pub use deployment::{
    Deployment, DeploymentId, DeploymentPhase, ImageChoice, Kept, Origin, Progress, ServiceProgress, ServiceState,
    Trigger, Version, VersionSource, Written,
};
pub use desired::{Desired, DesiredService, Material, Rendered, Warning};
pub use digest::{Digest, Digester, canonical_json};
pub use effect::{Action, Applied, Change, Effect, Step};
pub use environment::{Claim, ClaimOrder, Environment, EnvironmentStatus, Round};
pub use event::{Event, EventType};
pub use failure::{Failure, FailureClass};
pub use image::{
    Choice, Chosen, Failed, FollowRule, FollowedImage, FollowedStatus, FollowedVersion, FollowedVersions, ImageWish,
    Repository, RepositoryStatus, Seen, choose, is_tag, name_of,
};
pub use job::{DeployJob, Direction, JobRun, JobState, Occasion, When};
pub use live::{
    LiveConfig, LiveNetwork, LiveSecret, LiveService, Node, NodeAvailability, NodeState, Snapshot, Tasks, UpdateState,
    UpdateStatus, VersionIndex,
};
pub use name::{CredentialName, EnvironmentName, NameError, NotifierName, StackKey, StackName, TokenName};
pub use notifier::{Notifier, NotifierStatus, NotifierType, Transition};
pub use object::{
    ConfigSpec, DEPLOYMENT_LABEL, HOOK_LABEL, IMAGE_LABEL, INSTANCE_LABEL, Inventory, InventoryEntry, LABEL_PREFIX,
    NAMESPACE_LABEL, NetworkSpec, ObjectKind, ObjectRef, PROTECT_LABEL, REVISION_LABEL, SPEC_LABEL, STACK_LABEL,
    SecretSpec, TUNNELS_OPTION, content_name,
};
pub use order::Course;
pub use outlook::{Outlook, outlook};
pub use range::{Range, tag_version};
pub use relay::{Handed, Installation, Relay, RelayCursor, RelayMark};
pub use schedule::{Day, Freeze, Opening, Schedule, Window};
pub use secret::{Masker, Sealed, SecretBytes};
pub use service::*;
pub use source::{GitSource, GitUrl, Revision, Source, SourceStatus, UrlError, Wanted};
pub use stack::{
    Actor, Approval, Compat, Deletion, DriftPolicy, ImagesPolicy, Mode, OnFailure, Pin, Policy, ServiceField, Stack,
    StackControl, StackSpec, Suspension, UnsetVariables, Variable,
};
pub use status::{
    Attempt, DriftStatus, Held, LastGood, Pointer, StackPhase, StackStatus, Target, TargetKind, phase, target,
};
pub use task::{Task, TaskState};
pub use trace::TraceContext;
