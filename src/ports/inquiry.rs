//! A reader's bounded questions that need git or an engine. They queue nothing and change nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{BoxFuture, BoxStream, CommitInfo, LogLine, LogOf, LogQuery};
use crate::domain::{
    Action, Change, CredentialName, DeploymentId, EnvironmentName, GitUrl, Node, ObjectKind, Round, Stack, StackKey,
    StackName, TaskState, Wanted, When,
};

/// Why a question was not answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InquiryError {
    /// No such stack or deployment.
    #[error("{0} is not there")]
    NotFound(String),
    /// The world did not answer, or what was found cannot be rendered.
    #[error("{0}")]
    Failed(String),
    /// The deadline passed.
    #[error("there was no answer in time; try again")]
    TimedOut,
    /// Too many questions at a time.
    #[error("too many questions at once; try again in a moment")]
    Busy,
}

/// What a plan would do, for `diff`. Known secret values are masked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanAnswer {
    /// Keyed digest of the whole plan.
    pub digest: String,
    /// The steps in order.
    pub steps: Vec<StepAnswer>,
    /// Why something is held back or refused.
    pub waiting: Vec<String>,
    /// Remarks of the renderer.
    pub warnings: Vec<String>,
    /// Objects that need nothing.
    pub unchanged: u64,
    /// Jobs that would run before and after it.
    pub jobs: Vec<JobAnswer>,
}

/// A job of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobAnswer {
    /// Its real name.
    pub name: String,
    /// When it runs.
    pub when: When,
    /// The wave in which it runs, from 1.
    pub wave: u32,
    /// What it waits for, by real name.
    pub waits_for: Vec<String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepAnswer {
    /// Kind of the object.
    pub kind: ObjectKind,
    /// Its real name.
    pub name: String,
    /// What happens to it.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// The differences.
    pub changes: Vec<Change>,
    /// The wave in which it is carried out, from 1; none when there is one only.
    pub wave: Option<u32>,
    /// What it waits for, by real name: services that are to run, jobs that are to have ended.
    pub waits_for: Vec<String>,
}

/// Where the objects of two versions differ. Known secret values are masked.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CompareAnswer {
    /// The objects that differ, by kind and name.
    pub steps: Vec<StepAnswer>,
    /// Objects that are the same in both.
    pub unchanged: u64,
}

/// What a credential leads to at the address of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CredentialAnswer {
    /// The address.
    pub url: String,
    /// The commit its HEAD stands at.
    pub head: Option<String>,
    /// Its branches, at most [`MOST_REFS`].
    pub branches: Vec<String>,
    /// Its tags, at most [`MOST_REFS`].
    pub tags: Vec<String>,
}

/// A stack that runs and that nobody has declared, told from its objects alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningStack {
    /// Its name.
    pub name: StackName,
    /// A manifest that means what runs. It holds the values of the services' variables, in the clear.
    pub manifest: String,
    /// What it does not say, a sentence each.
    pub remarks: Vec<String>,
}

/// A task of a stack, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskAnswer {
    /// Engine id.
    pub id: String,
    /// The full name of its service on the Swarm.
    pub service: String,
    /// Slot, of a replicated service.
    pub slot: Option<u64>,
    /// Host name of its node; none while it has no place.
    pub node: Option<String>,
    /// Where it stands.
    pub state: TaskState,
    /// Where Swarm wants it to go.
    pub desired: TaskState,
    /// Whether it was made from what its service asks for now.
    pub current: bool,
    /// What the engine says of it: its error or else its remark, masked.
    pub message: String,
    /// Exit code of its container, if it ended.
    pub exit_code: Option<i64>,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// When `state` was reported.
    pub since: Option<Timestamp>,
}

/// What is looked at by a doctor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "words")]
pub enum Area {
    Store,
    Disk,
    Engine,
    Claim,
    Clock,
    Git,
    Registry,
    Relay,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Health {
    /// As it should be.
    Good,
    /// It works, and will not for long, or not for everything.
    Doubtful,
    /// It does not work.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind of thing.
    pub area: Area,
    /// Which one.
    pub subject: String,
    /// How it is.
    pub health: Health,
    /// What was found.
    pub message: String,
    /// What to do, unless all is well.
    pub mend: Option<String>,
}

/// Repositories that a doctor asks at most.
pub const MOST_SOURCES: usize = 50;

/// Registries that a doctor asks at most, in each environment.
pub const MOST_REGISTRIES: usize = 20;

/// Tasks that an answer names at most.
pub const MOST_TASKS: usize = 1000;

/// Refs that an answer names at most, of each kind.
pub const MOST_REFS: usize = 100;

/// What a version's files come to. Secret values are masked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RenderAnswer {
    /// The commit; none for an inline source.
    pub revision: Option<String>,
    /// The keyed digest of the desired objects.
    pub digest: String,
    /// The objects, by kind and name, in the engine's own shape.
    pub objects: serde_json::Value,
    /// Remarks of the renderer.
    pub warnings: Vec<String>,
}

/// Answers questions. Each call has its own deadline and counts against a cap.
pub trait Inquiries: Send + Sync + 'static {
    /// What deploying `wanted` (or what is declared) would do now.
    fn plan<'a>(
        &'a self,
        stack: &'a StackKey,
        wanted: Option<&'a Wanted>,
    ) -> BoxFuture<'a, Result<PlanAnswer, InquiryError>>;

    /// What taking a stack over would do now. The stack is what would be declared; it need not be.
    fn adoption<'a>(&'a self, _stack: &'a Stack) -> BoxFuture<'a, Result<PlanAnswer, InquiryError>> {
        Box::pin(async { Err(InquiryError::Failed("this server looks at no engine".to_owned())) })
    }

    /// Whether taking over a stack, as it would be declared, changes what runs or is refused with `compat: strict`, and changes
    /// nothing with `compat: cli`.
    fn needs_cli<'a>(&'a self, _stack: &'a Stack) -> BoxFuture<'a, Result<bool, InquiryError>> {
        Box::pin(async { Ok(false) })
    }

    /// The stacks that run in an environment and that are not declared, by name; or the one of this name.
    fn running<'a>(
        &'a self,
        _environment: &'a EnvironmentName,
        _stack: Option<&'a StackName>,
    ) -> BoxFuture<'a, Result<Vec<RunningStack>, InquiryError>> {
        Box::pin(async { Err(InquiryError::Failed("this server looks at no engine".to_owned())) })
    }

    /// As [`Inquiries::plan`], with these versions of single services in place of those that are declared.
    fn plan_images<'a>(
        &'a self,
        stack: &'a StackKey,
        wanted: Option<&'a Wanted>,
        images: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<PlanAnswer, InquiryError>> {
        if images.is_empty() {
            return self.plan(stack, wanted);
        }
        Box::pin(async { Err(InquiryError::Failed("this server plans no images".to_owned())) })
    }

    /// What a version's files come to, with these versions of single services in place of those that are declared.
    fn render<'a>(
        &'a self,
        _stack: &'a StackKey,
        _wanted: Option<&'a Wanted>,
        _images: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<RenderAnswer, InquiryError>> {
        Box::pin(async { Err(InquiryError::Failed("this server renders nothing".to_owned())) })
    }

    /// Where the objects of two deployments' versions differ, as they were rendered then.
    fn compare<'a>(
        &'a self,
        _from: &'a DeploymentId,
        _to: &'a DeploymentId,
    ) -> BoxFuture<'a, Result<CompareAnswer, InquiryError>> {
        Box::pin(async { Err(InquiryError::Failed("this server compares nothing".to_owned())) })
    }

    /// The commit of a deployment's version, from the local copy of its repository alone; none when it is not there.
    fn commit<'a>(&'a self, _deployment: &'a DeploymentId) -> BoxFuture<'a, Result<Option<CommitInfo>, InquiryError>> {
        Box::pin(async { Ok(None) })
    }

    /// What Skep did and what services wrote, masked, in the order of time as far as it is known. A reader who is too slow
    /// for what is written is told how many lines were left out. All that is behind it ends when the stream is dropped.
    fn logs<'a>(
        &'a self,
        of: &'a LogOf,
        query: &'a LogQuery,
    ) -> BoxFuture<'a, Result<BoxStream<'static, LogLine>, InquiryError>>;

    /// The refs of a repository, asked for with this credential.
    fn test_credential<'a>(
        &'a self,
        _name: &'a CredentialName,
        _url: &'a GitUrl,
    ) -> BoxFuture<'a, Result<CredentialAnswer, InquiryError>> {
        Box::pin(async { Err(InquiryError::Failed("this server asks no repository".to_owned())) })
    }

    /// The tasks of a stack's services as the engine has them now: by service, place and age, at most [`MOST_TASKS`].
    fn tasks<'a>(&'a self, _stack: &'a StackKey) -> BoxFuture<'a, Result<Vec<TaskAnswer>, InquiryError>> {
        Box::pin(async { Err(InquiryError::Failed("this server asks no engine".to_owned())) })
    }

    /// Whether all that is needed is there and answers: store, disk, engines, claims, clocks, repositories. By area and
    /// subject; at most [`MOST_SOURCES`] repositories.
    fn doctor(&self) -> BoxFuture<'_, Result<Vec<Finding>, InquiryError>> {
        Box::pin(async { Err(InquiryError::Failed("this server looks at nothing".to_owned())) })
    }

    /// The same of one environment alone.
    fn doctor_of<'a>(&'a self, _environment: &'a EnvironmentName) -> BoxFuture<'a, Result<Vec<Finding>, InquiryError>> {
        Box::pin(async { Err(InquiryError::Failed("this server looks at nothing".to_owned())) })
    }

    /// How long the newest round over an environment took; none before the first, or when another Skep keeps it.
    fn round(&self, _environment: &EnvironmentName) -> Option<Round> {
        None
    }

    /// The nodes of an environment's Swarm, by name, as they were last seen; none before the first look.
    fn nodes(&self, _environment: &EnvironmentName) -> Vec<Arc<Node>> {
        Vec::new()
    }
}
