//! A reader's bounded questions that need git or an engine. They queue nothing and change nothing.

use serde::Serialize;
use thiserror::Error;

use super::BoxFuture;
use crate::domain::{Action, Change, DeploymentId, ObjectKind, StackKey, Wanted};

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
#[derive(Debug, Clone, PartialEq, Serialize)]
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
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
}

/// Answers questions. Each call has its own deadline and counts against a cap.
pub trait Inquiries: Send + Sync + 'static {
    /// What deploying `wanted` (or what is declared) would do now.
    fn plan<'a>(
        &'a self,
        stack: &'a StackKey,
        wanted: Option<&'a Wanted>,
    ) -> BoxFuture<'a, Result<PlanAnswer, InquiryError>>;

    /// What a deployment's services have written, as raw text, at most `tail` lines of each, masked.
    fn deployment_logs<'a>(
        &'a self,
        deployment: &'a DeploymentId,
        tail: u32,
    ) -> BoxFuture<'a, Result<String, InquiryError>>;
}
