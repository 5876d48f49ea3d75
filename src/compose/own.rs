//! `x-skep` of a service: what Skep is told beside what the specification has.

use crate::domain::{DeployJob, DesiredService, Direction, ReplicatedJob, RestartPolicy, ServiceMode, When};

use super::deploy::Deploy;
use super::field::{Field, Table};

/// What `x-skep` of a service says.
#[derive(Default)]
pub(super) struct Own {
    /// The service is never to be removed.
    pub(super) protect: bool,
    /// The service is a job before or after a deployment.
    pub(super) hook: Option<Hook>,
}

/// A job, without its service.
#[derive(Clone, Copy)]
pub(super) struct Hook {
    when: When,
    deadline: Option<i64>,
    only: Option<Direction>,
}

impl Own {
    /// Reads `x-skep` of a service.
    pub(super) fn read(service: &Table<'_>) -> Self {
        let Some(table) = service.given("x-skep").and_then(|field| field.table()) else { return Self::default() };
        let protect = table.given("protect").and_then(|flag| flag.boolean()).unwrap_or(false);
        let (hook, deadline, direction) = (table.given("hook"), table.given("deadline"), table.given("direction"));
        table.finish();
        let when = hook.as_ref().and_then(|hook| hook.word(&["pre", "post"]));
        let when = when.map(|word| if word == "pre" { When::Pre } else { When::Post });
        for field in [&deadline, &direction].into_iter().flatten().filter(|_| hook.is_none()) {
            field
                .error("says something about a job, and this is none", "add `hook: pre` or `hook: post`, or remove it");
        }
        let deadline = deadline.and_then(|field| {
            let span = field.duration()?;
            if span <= 0 {
                field.error("leaves the job no time", "write it like `10m`");
            }
            Some(span)
        });
        let only = direction.and_then(|field| field.word(&["deploy", "rollback", "both"])).and_then(|word| {
            Some(match word.as_str() {
                "deploy" => Direction::Deploy,
                "rollback" => Direction::Rollback,
                _ => return None,
            })
        });
        Self { protect, hook: when.map(|when| Hook { when, deadline, only }) }
    }
}

impl Hook {
    /// Makes a job of what `deploy` says: it runs once, and again only where the file says how often.
    pub(super) fn make(self, service: &Table<'_>, deploy: &mut Deploy, restart: &mut Option<RestartPolicy>) {
        let refuse = |key: &'static str, message: &str, hint: &str| {
            let field = service.given(key).unwrap_or_else(|| service.field.clone());
            field.error(message, hint);
        };
        let mode = std::mem::take(&mut deploy.mode);
        deploy.mode = match mode {
            ServiceMode { replicated_job: Some(_), .. } => mode,
            ServiceMode { replicated: Some(replicated), .. } => {
                let count = replicated.replicas;
                let job = ReplicatedJob { max_concurrent: count, total_completions: count };
                ServiceMode { replicated_job: Some(job), ..ServiceMode::default() }
            }
            other => {
                let message = "a job before or after a deployment runs on one node, not on all";
                refuse("deploy", message, "use `mode: replicated-job`, or remove `mode`");
                other
            }
        };
        if deploy.update_config.is_some() {
            refuse("deploy", "a job has no update config", "remove it: a job's tasks are not replaced");
        }
        if service.given("ports").is_some() {
            refuse("ports", "a job before or after a deployment publishes no ports", "remove them");
        }
        if restart.is_none() {
            *restart = Some(RestartPolicy { condition: "none".to_owned(), ..RestartPolicy::default() });
        }
    }

    /// The job of this service.
    pub(super) fn of(self, service: DesiredService) -> DeployJob {
        DeployJob { when: self.when, service, deadline: self.deadline, only: self.only }
    }
}

/// Whether Skep is never to remove the object: `x-skep: { protect: true }`.
pub(super) fn is_protected(table: &Table<'_>) -> bool {
    let Some(own) = table.given("x-skep").and_then(|field: Field<'_>| field.table()) else { return false };
    let protect = own.given("protect").and_then(|flag| flag.boolean()).unwrap_or(false);
    own.finish();
    protect
}
