//! The run of a job before or after a deployment: does it go on, has it ended well, or has it failed?
//!
//! A run has a service of its own, so that all of its tasks are its own. It is judged like any job of the stack, by the same
//! counterfactual: would the last good version's job of this name meet the same obstacle now? Then it is waited for, with its
//! clock stopped. What it fails with is of the class `Hook`, whatever the obstacle was.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::service::report;
use super::{AssessInput, Fault, blame};
use crate::domain::{
    Desired, DesiredService, Failure, FailureClass, JobRun, LiveService, Progress, ServiceProgress, When, Written,
};

/// What is to be said of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum JobVerdict {
    /// It goes on, and may be over by time alone at this time.
    Running(Timestamp),
    /// It goes on, and the infrastructure is in the way.
    Waiting(Failure),
    /// All of its tasks have ended well.
    Succeeded,
    /// It has failed.
    Failed(Failure),
}

/// Judges the run of a job by the service that was made for it.
#[must_use]
pub fn assess_job(input: &AssessInput<'_>, run: &JobRun, live: &LiveService) -> JobVerdict {
    let service = DesiredService { key: run.service.clone(), spec: Box::new(live.spec.clone()) };
    let name = &live.spec.name;
    let alone = |service: DesiredService| {
        let mut desired = Desired::empty(input.target.stack.clone());
        desired.services.insert(service.spec.name.clone(), service);
        desired
    };
    let target = alone(service.clone());
    let good = input.last_good.and_then(|good| good.jobs.get(name)).map(|job| alone(job.service.clone()));
    let known = ServiceProgress { written: Written::Accepted, ..ServiceProgress::default() };
    let progress =
        Progress { applied: true, services: BTreeMap::from([(name.clone(), known)]), ..input.progress.clone() };
    let inner = AssessInput { target: &target, progress: &progress, last_good: good.as_ref(), ..*input };
    let report = report(&inner, &service);
    if report.settled {
        return JobVerdict::Succeeded;
    }
    // A clock that stood still is moved on before anything is late by it.
    let late = input.now >= run.deadline && input.progress.waiting_since.is_none();
    match report.obstacle {
        Some(failure) if blame(&inner, &failure) == Fault::Infrastructure => JobVerdict::Waiting(failure),
        Some(failure) if report.doomed => JobVerdict::Failed(of_job(run, failure)),
        Some(failure) if late => JobVerdict::Failed(of_job(run, failure)),
        None if late => {
            let after = run.deadline.duration_since(run.started_at);
            let text = format!("it had not ended {after:#} after it began");
            let mut failure = Failure::new(FailureClass::Hook, text);
            failure.task = input.tasks.of(&live.id).last().map(|task| task.id.clone());
            JobVerdict::Failed(of_job(run, failure))
        }
        _ => JobVerdict::Running(report.doomed_at.map_or(run.deadline, |at| at.min(run.deadline))),
    }
}

/// The failure of a deployment whose job failed so.
#[must_use]
pub fn of_job(run: &JobRun, failure: Failure) -> Failure {
    let when = match run.when {
        When::Pre => "before",
        When::Post => "after",
    };
    let error = format!("the job {when} the deployment failed: {}", failure.error);
    Failure { class: FailureClass::Hook, service: Some(run.service.clone()), error, ..failure }
}
