//! Jobs that run before and after a deployment: a migration of the data, a smoke test. In the compose file they are
//! services with `x-skep.hook`; on the Swarm each run is a service of its own, which is removed when it has ended.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{DeploymentId, DesiredService, Revision, StackKey};

/// When a job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum When {
    /// Before the services of the stack are written, but for those that it depends on itself.
    Pre,
    /// Once all of them have run through the monitor period.
    Post,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pre => "pre",
            Self::Post => "post",
        })
    }
}

/// Which way a deployment leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// To a version that was asked for.
    Deploy,
    /// Back to one that ran before.
    Rollback,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
        })
    }
}

/// A job of a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeployJob {
    /// When it runs.
    pub when: When,
    /// What it is, as a service with the mode of a job.
    pub service: DesiredService,
    /// How long it may take, in nanoseconds; the policy's progress deadline when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<i64>,
    /// It runs this way only; both ways when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Direction>,
}

/// What a job is told of the deployment that it runs for.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    /// The stack.
    pub stack: &'a StackKey,
    /// The deployment.
    pub deployment: &'a DeploymentId,
    /// Which way it leads.
    pub direction: Direction,
    /// The commit of the version that it brings about; none for an inline source.
    pub revision: Option<&'a Revision>,
    /// The commit of the version that it leads away from, if one is known.
    pub previous: Option<&'a Revision>,
}

impl DeployJob {
    /// Whether it runs on this way.
    #[must_use]
    pub fn runs(&self, direction: Direction) -> bool {
        self.only.is_none_or(|only| only == direction)
    }

    /// The service of one run: with what it is told in its environment, over what the file says of the same names.
    #[must_use]
    pub fn run_for(&self, occasion: &Occasion<'_>) -> DesiredService {
        let mut service = self.service.clone();
        let env = &mut service.spec.task_template.container_spec.env;
        let revision = |revision: Option<&Revision>| revision.map(|it| it.0.clone()).unwrap_or_default();
        for (name, value) in [
            ("SKEP_HOOK", self.when.to_string()),
            ("SKEP_DIRECTION", occasion.direction.to_string()),
            ("SKEP_DEPLOYMENT", occasion.deployment.to_string()),
            ("SKEP_ENVIRONMENT", occasion.stack.environment.to_string()),
            ("SKEP_STACK", occasion.stack.name.to_string()),
            ("SKEP_REVISION", revision(occasion.revision)),
            ("SKEP_PREVIOUS_REVISION", revision(occasion.previous)),
        ] {
            env.retain(|entry| entry.split('=').next() != Some(name));
            env.push(format!("{name}={value}"));
        }
        env.sort();
        service
    }
}

/// Where a run of a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JobState {
    /// It is about to be made, or has been: the engine's answer is not known.
    Starting,
    /// The engine has it.
    Running,
    /// All of its tasks have ended well.
    Succeeded,
    /// It failed, or did not end in time.
    Failed,
    /// It was ended before it was over, because its deployment was.
    Stopped,
}

impl JobState {
    /// Whether it may still be doing something.
    #[must_use]
    pub fn is_under_way(self) -> bool {
        matches!(self, Self::Starting | Self::Running)
    }
}

/// The one run of a job for a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRun {
    /// The job's name in the compose file.
    pub service: String,
    /// When it runs.
    pub when: When,
    /// What it was told of the way.
    pub direction: Direction,
    /// Where it stands.
    pub state: JobState,
    /// Engine id of its service, once it is known.
    pub id: Option<String>,
    /// When it was begun.
    pub started_at: Timestamp,
    /// When it has to have ended.
    pub deadline: Timestamp,
    /// When it was found to be over.
    pub finished_at: Option<Timestamp>,
    /// Why it failed; known secret values are masked.
    #[serde(default)]
    pub error: Option<String>,
    /// Exit code of its container, if that ended.
    pub exit_code: Option<i64>,
    /// What it wrote last; known secret values are masked.
    #[serde(default)]
    pub log_tail: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EnvironmentName, ServiceSpec, StackName};

    #[test]
    fn a_run_is_told_what_it_runs_for_whatever_the_file_says() {
        let mut spec = ServiceSpec { name: "shop_migrate".to_owned(), ..ServiceSpec::default() };
        spec.task_template.container_spec.env = vec!["A=1".into(), "SKEP_DIRECTION=up".into(), "Z=2".into()];
        let service = DesiredService { key: "migrate".into(), spec: Box::new(spec) };
        let job = DeployJob { when: When::Pre, service, deadline: None, only: None };
        let stack = StackKey {
            environment: EnvironmentName::default(),
            name: StackName::parse("shop").unwrap_or_else(|error| panic!("{error}")),
        };
        let (id, revision) = (DeploymentId("d1".into()), Revision("c0ffee".into()));
        let occasion = Occasion {
            stack: &stack,
            deployment: &id,
            direction: Direction::Rollback,
            revision: Some(&revision),
            previous: None,
        };
        let env = job.run_for(&occasion).spec.task_template.container_spec.env;
        assert_eq!(
            env,
            [
                "A=1",
                "SKEP_DEPLOYMENT=d1",
                "SKEP_DIRECTION=rollback",
                "SKEP_ENVIRONMENT=default",
                "SKEP_HOOK=pre",
                "SKEP_PREVIOUS_REVISION=",
                "SKEP_REVISION=c0ffee",
                "SKEP_STACK=shop",
                "Z=2",
            ]
        );
    }

    #[test]
    fn a_job_may_run_one_way_only() {
        let service = DesiredService { key: "smoke".into(), spec: Box::default() };
        let job = DeployJob { when: When::Post, service, deadline: None, only: Some(Direction::Deploy) };
        assert!(job.runs(Direction::Deploy) && !job.runs(Direction::Rollback));
        assert!(DeployJob { only: None, ..job }.runs(Direction::Rollback));
    }
}
