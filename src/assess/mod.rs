//! A deployment under way × live → verdict. Pure: deadlines are data, the time comes in.
//!
//! The verdict comes from tasks, and only from this deployment's own: what existed before the service was written is
//! recorded as its baseline and its failures do not count. Swarm's `UpdateStatus` is evidence. A version has converged
//! when every wanted task runs what was asked, without a break, for the whole monitor period. A policy may have it bake for
//! longer: then a place may be filled anew because a node goes, but a task of the version that fails is a failure.
//!
//! Whose fault an obstacle is, is asked by counterfactual: would the last good version meet it now? If so, it is the
//! infrastructure's, and the deployment waits; if only the new version's own demand causes it, the version has failed.

mod blame;
mod classify;
mod job;
mod registry;
mod report;
mod service;

#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};

pub use blame::{Fault, blame};
pub use classify::classify;
pub use job::{JobVerdict, assess_job, of_job};
pub use registry::{as_the_registry_says, image_in_doubt};
pub use report::{LateTask, ServiceReport};

use crate::domain::{Desired, Failure, FailureClass, Policy, Progress, Snapshot, Tasks};

/// Everything a verdict is made from.
#[derive(Debug, Clone, Copy)]
pub struct AssessInput<'a> {
    /// What this deployment brings about.
    pub target: &'a Desired,
    /// Its clocks, and what is known of its services.
    pub progress: &'a Progress,
    /// What the engine says.
    pub live: &'a Snapshot,
    /// The tasks, listed after the last write.
    pub tasks: &'a Tasks,
    /// The last good version's objects, if there is one: the counterfactual.
    pub last_good: Option<&'a Desired>,
    /// The stack's policy.
    pub policy: &'a Policy,
    /// The time.
    pub now: Timestamp,
}

/// What is to be said of a deployment.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Nothing is decided yet.
    Progressing,
    /// Nothing is decided, and the infrastructure is in the way: the progress clock stands still.
    Waiting(Failure),
    /// This version's own tasks have run through the monitor period.
    Converged,
    /// It will not come about.
    Failed(Failure),
}

/// A verdict with what it was made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// The verdict.
    pub verdict: Verdict,
    /// Each service, by full name.
    pub services: Vec<ServiceReport>,
    /// Wanted tasks that run.
    pub healthy: u64,
    /// Wanted tasks.
    pub wanted: u64,
    /// Since when all of them run; to be kept in the progress.
    pub healthy_since: Option<Timestamp>,
    /// Since when the version bakes; to be kept in the progress.
    pub baking_since: Option<Timestamp>,
    /// See [`Progress::newest_task`]; to be kept in the progress.
    pub newest_task: Option<Timestamp>,
    /// When the verdict may change by time alone.
    pub next_look: Timestamp,
}

impl Assessment {
    /// One line: how many of how many run, and of which services some are missing.
    #[must_use]
    pub fn summary(&self) -> String {
        let missing: Vec<_> = self
            .services
            .iter()
            .filter(|service| !service.settled && service.waits_for.is_empty())
            .map(|service| format!("{} {}/{}", service.key, service.healthy, service.wanted))
            .collect();
        let held: Vec<_> = self
            .services
            .iter()
            .filter(|service| !service.waits_for.is_empty())
            .map(|service| format!("{} waits for {}", service.key, service.waits_for.join(", ")))
            .collect();
        if !held.is_empty() {
            let waiting =
                if missing.is_empty() { String::new() } else { format!("; waiting for {}", missing.join(", ")) };
            return format!("{} of {} tasks run{waiting}; {}", self.healthy, self.wanted, held.join("; "));
        }
        match (missing.is_empty(), self.healthy_since) {
            (false, _) => format!("{} of {} tasks run; waiting for {}", self.healthy, self.wanted, missing.join(", ")),
            (true, Some(_)) if self.baking_since.is_some() => {
                format!("all {} tasks have run through the monitor period; the version bakes", self.wanted)
            }
            (true, Some(_)) => format!("all {} tasks run; watching them through the monitor period", self.wanted),
            (true, None) => format!("{} of {} tasks run", self.healthy, self.wanted),
        }
    }
}

/// Judges a deployment whose plan is being or has been carried out.
#[must_use]
pub fn assess(input: &AssessInput<'_>) -> Assessment {
    let services: Vec<ServiceReport> =
        input.target.services.values().map(|wanted| service::report(input, wanted)).collect();
    let healthy = services.iter().map(|service| service.healthy).sum();
    let wanted = services.iter().map(|service| service.wanted).sum();
    let applied = input.progress.applied || planted!("half of a plan is enough");
    let all_settled = applied && services.iter().all(|service| service.settled);
    let newest_task = services.iter().filter_map(|service| service.newest_task).max();
    let healthy_since = all_settled.then(|| {
        let unbroken = input.progress.newest_task == newest_task || planted!("a task replaced unseen goes unnoticed");
        input.progress.healthy_since.filter(|_| unbroken).unwrap_or(input.now)
    });
    let monitor = monitor(input);
    let steady = healthy_since.is_some_and(|since| input.now.duration_since(since) >= monitor);
    let baking_since = input.progress.baking_since.or((steady && !input.policy.bake.is_zero()).then_some(input.now));
    let proven = match baking_since {
        Some(since) => all_settled && input.now.duration_since(since) >= input.policy.bake,
        None => steady,
    };
    let verdict = verdict(input, &services, healthy_since, proven);
    let next_look = next_look(input, &verdict, (healthy_since, monitor), baking_since, &services);
    Assessment { verdict, services, healthy, wanted, healthy_since, baking_since, newest_task, next_look }
}

/// How long all tasks must stay healthy: the greater of the policy's period and the longest of the services' own.
fn monitor(input: &AssessInput<'_>) -> SignedDuration {
    input
        .target
        .services
        .values()
        .filter_map(|service| service.spec.update_config.as_ref())
        .map(|config| SignedDuration::from_nanos(config.monitor))
        .fold(input.policy.monitor, Ord::max)
}

fn verdict(
    input: &AssessInput<'_>,
    services: &[ServiceReport],
    healthy_since: Option<Timestamp>,
    proven: bool,
) -> Verdict {
    let progress = input.progress;
    if let Some((failure, fault)) = worst(input, services.iter().filter(|service| service.doomed)) {
        return match fault {
            Fault::Infrastructure if input.now < progress.total_deadline => Verdict::Waiting(failure.clone()),
            _ => Verdict::Failed(failure.clone()),
        };
    }
    if proven || planted!("nobody waits for the monitor period") && healthy_since.is_some() {
        return Verdict::Converged;
    }
    let evidence = worst(input, services.iter());
    // A version that bakes has been healthy: only its own failures count, not how long a lost node takes to be made up for.
    if input.now >= progress.total_deadline && !planted!("the total deadline is not looked at") {
        return Verdict::Failed(overdue(input, services, evidence, "total"));
    }
    if let Some((failure, Fault::Infrastructure)) = evidence {
        return Verdict::Waiting(failure.clone());
    }
    let late = input.now >= progress.progress_deadline && progress.waiting_since.is_none();
    let late = late && progress.baking_since.is_none();
    if late && healthy_since.is_none() {
        let failure = overdue(input, services, evidence, "progress");
        return match blame(input, &failure) {
            Fault::Version => Verdict::Failed(failure),
            Fault::Infrastructure => Verdict::Waiting(failure),
        };
    }
    Verdict::Progressing
}

/// The obstacle that matters most: the first that is the version's own fault, or else the first.
fn worst<'a>(
    input: &AssessInput<'_>,
    services: impl Iterator<Item = &'a ServiceReport>,
) -> Option<(&'a Failure, Fault)> {
    let judged =
        services.filter_map(|service| service.obstacle.as_ref()).map(|failure| (failure, blame(input, failure)));
    let mut first = None;
    for (failure, fault) in judged {
        if fault == Fault::Version {
            return Some((failure, fault));
        }
        first = first.or(Some((failure, fault)));
    }
    first
}

/// The failure of a deadline: with the best evidence there is, or else what was still missing.
fn overdue(
    input: &AssessInput<'_>,
    services: &[ServiceReport],
    evidence: Option<(&Failure, Fault)>,
    which: &str,
) -> Failure {
    if let Some((failure, _)) = evidence {
        return failure.clone();
    }
    let late = services.iter().find(|service| !service.settled && service.waits_for.is_empty());
    // What fails again and again may run at this very moment.
    if late.is_none()
        && let Some(failure) = services.iter().find_map(|service| service.overcome.clone())
    {
        return failure;
    }
    let after = format!("{:#} after the start", input.now.duration_since(input.progress.started_at));
    let (class, text) = match late {
        Some(service) if service.awaits_health => {
            (FailureClass::HealthCheck, format!("its health check has not passed before the {which} deadline, {after}"))
        }
        Some(ServiceReport { healthy, wanted, .. }) => (
            FailureClass::Deadline,
            format!("{healthy} of {wanted} tasks ran when the {which} deadline passed, {after}"),
        ),
        None if !input.progress.applied => (
            FailureClass::Deadline,
            format!("the engine had not accepted every step when the {which} deadline passed, {after}"),
        ),
        None => (
            FailureClass::Deadline,
            format!("the monitor period was not over when the {which} deadline passed, {after}"),
        ),
    };
    let mut failure = Failure::new(class, text);
    failure.service = late.map(|service| service.key.clone());
    // Where it hangs, and whose last lines are worth reading.
    if let Some(task) = late.and_then(|service| service.late.clone()) {
        if class != FailureClass::HealthCheck {
            let state = format!("{:?}", task.state).to_lowercase();
            failure.error = format!("{}; this one is still {state}", failure.error);
        }
        failure.slot = task.slot;
        failure.node = task.node;
        failure.task = Some(task.id);
    }
    failure
}

/// When the verdict may change though nothing else does: the end of the monitor period, an obstacle becoming certain, a
/// deadline. Never in the past.
fn next_look(
    input: &AssessInput<'_>,
    verdict: &Verdict,
    (healthy_since, monitor): (Option<Timestamp>, SignedDuration),
    baking_since: Option<Timestamp>,
    services: &[ServiceReport],
) -> Timestamp {
    let progress = input.progress;
    let baked = baking_since.and_then(|since| since.checked_add(input.policy.bake).ok());
    let runs = *verdict == Verdict::Progressing && healthy_since.is_none() && progress.waiting_since.is_none();
    let times = [
        Some(progress.total_deadline),
        runs.then_some(progress.progress_deadline),
        healthy_since.and_then(|since| since.checked_add(monitor).ok()).filter(|_| baked.is_none()),
        baked,
    ];
    let settles = services.iter().filter_map(|service| service.doomed_at);
    times.into_iter().flatten().chain(settles).filter(|time| *time > input.now).min().unwrap_or(input.now)
}
