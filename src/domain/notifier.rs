//! Notifiers: what is told to the outside, and which transitions there are to be told of.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    CredentialName, Deployment, DeploymentPhase, EnvironmentName, Event, EventType, NotifierName, Sealed, StackName,
    Trigger, fits,
};

/// Whom a notifier tells, and so in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NotifierType {
    /// An incoming webhook of Slack.
    Slack,
    /// JSON, signed.
    Webhook,
    /// CloudEvents 1.0, structured.
    CloudEvents,
    /// The commit's status on GitHub.
    GitHubStatus,
    /// A deployment of the commit on GitHub, with its statuses.
    GitHubDeployment,
    /// The commit's status on GitLab.
    GitLabStatus,
    /// A deployment of the commit on GitLab.
    GitLabDeployment,
    /// The commit's status on Gitea or Forgejo.
    GiteaStatus,
}

impl NotifierType {
    /// All of them, with the names they have in manifests.
    pub const ALL: [(&'static str, Self); 8] = [
        ("Slack", Self::Slack),
        ("Webhook", Self::Webhook),
        ("CloudEvents", Self::CloudEvents),
        ("GitHubStatus", Self::GitHubStatus),
        ("GitHubDeployment", Self::GitHubDeployment),
        ("GitLabStatus", Self::GitLabStatus),
        ("GitLabDeployment", Self::GitLabDeployment),
        ("GiteaStatus", Self::GiteaStatus),
    ];

    /// Whether it tells a git host of a commit.
    #[must_use]
    pub fn is_status(self) -> bool {
        match self {
            Self::Slack | Self::Webhook | Self::CloudEvents => false,
            Self::GitHubStatus
            | Self::GitHubDeployment
            | Self::GitLabStatus
            | Self::GitLabDeployment
            | Self::GiteaStatus => true,
        }
    }

    /// What it tells of when nothing is said. A commit's status has to end whatever becomes of the deployment.
    #[must_use]
    pub fn transitions(self) -> Vec<Transition> {
        let quiet = [Transition::Unchanged, Transition::Superseded, Transition::Cancelled];
        let of_commit = |it: &Transition| !it.is_about_stack();
        let all = Transition::ALL.into_iter().map(|(_, it)| it);
        match self.is_status() {
            true => all.filter(of_commit).collect(),
            false => all.filter(|it| !quiet.contains(it)).collect(),
        }
    }
}

impl fmt::Display for NotifierType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A real change of a deployment or a stack: what one message is sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Transition {
    /// A deployment's plan has begun to be carried out.
    Started,
    /// A deployment waits for a person's word.
    AwaitingApproval,
    /// A deployment has converged.
    Converged,
    /// A deployment has converged without anything to do: its version ran already.
    Unchanged,
    /// A deployment has failed. The last good version may be on its way back.
    Failed,
    /// The last good version is back after a failure.
    RolledBack,
    /// A deployment has failed, and the last good version did not come back.
    RollbackFailed,
    /// A newer version came before a deployment was done.
    Superseded,
    /// A person stopped a deployment.
    Cancelled,
    /// What somebody else changed on the Swarm was undone.
    DriftCorrected,
    /// Something on the Swarm or in the store keeps the stack from being kept; a person has to look.
    Stalled,
    /// That is over.
    Recovered,
}

impl Transition {
    /// All of them, with the names they have in manifests.
    pub const ALL: [(&'static str, Self); 12] = [
        ("Started", Self::Started),
        ("AwaitingApproval", Self::AwaitingApproval),
        ("Converged", Self::Converged),
        ("Unchanged", Self::Unchanged),
        ("Failed", Self::Failed),
        ("RolledBack", Self::RolledBack),
        ("RollbackFailed", Self::RollbackFailed),
        ("Superseded", Self::Superseded),
        ("Cancelled", Self::Cancelled),
        ("DriftCorrected", Self::DriftCorrected),
        ("Stalled", Self::Stalled),
        ("Recovered", Self::Recovered),
    ];

    /// Whether it is about a stack, not about one of its deployments.
    #[must_use]
    pub fn is_about_stack(self) -> bool {
        matches!(self, Self::DriftCorrected | Self::Stalled | Self::Recovered)
    }

    /// The transition that an event tells of, if it is one. `deployment` is the one the event names, as it stands now, or
    /// at any time since: the answer is the same.
    ///
    /// An automatic rollback is told with the deployment whose failure it answers, a correction of drift when it is done.
    #[must_use]
    pub fn of(event: &Event, deployment: Option<&Deployment>) -> Option<Self> {
        match event.kind {
            EventType::DriftCorrected => return Some(Self::DriftCorrected),
            EventType::Stalled => return Some(Self::Stalled),
            EventType::Recovered => return Some(Self::Recovered),
            _ => {}
        }
        let deployment = deployment.filter(|it| it.rollback_of.is_none())?;
        let own = deployment.origin.trigger == Trigger::Drift;
        let begun = deployment.progress.as_ref();
        match event.kind {
            // The phase may be entered again, when the Swarm changes under the plan: only the first time is news.
            EventType::PhaseChanged if event.reason == word(DeploymentPhase::Applying) => {
                (!own && begun.is_some_and(|progress| progress.started_at == event.time)).then_some(Self::Started)
            }
            EventType::PhaseChanged if event.reason == word(DeploymentPhase::AwaitingApproval) => {
                Some(Self::AwaitingApproval)
            }
            EventType::Converged if own => None,
            EventType::Converged if begun.is_none() => Some(Self::Unchanged),
            EventType::Converged => Some(Self::Converged),
            // It fails once, and ends once more if the way back does not come about.
            EventType::Failed if deployment.finished_at == Some(event.time) && deployment.rolled_back_by.is_some() => {
                Some(Self::RollbackFailed)
            }
            EventType::Failed => Some(Self::Failed),
            EventType::RolledBack => Some(Self::RolledBack),
            EventType::Superseded if !own => Some(Self::Superseded),
            EventType::Cancelled if !own => Some(Self::Cancelled),
            _ => None,
        }
    }
}

fn word(phase: DeploymentPhase) -> String {
    format!("{phase:?}")
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// An outbound message, as it was declared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notifier {
    /// Its name.
    pub name: NotifierName,
    /// What tells it from another one that had the same name before.
    pub id: String,
    /// Whom it tells.
    #[serde(rename = "type")]
    pub kind: NotifierType,
    /// The address, sealed: that of an incoming webhook is a secret. Of a commit status, the address of the API.
    pub url: Option<Sealed>,
    /// As much of the address as people see: scheme, host and port.
    pub place: Option<String>,
    /// The credential it signs with, signs in with, or has its address from.
    pub credential: Option<CredentialName>,
    /// Names of environments, `*` for any run of characters.
    pub environments: Vec<String>,
    /// Names of stacks there.
    pub stacks: Vec<String>,
    /// What it tells of.
    pub events: Vec<Transition>,
    /// Events up to this one are from before it was declared.
    pub since: u64,
    /// When it was declared.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Notifier {
    /// Whether it is for this stack.
    #[must_use]
    pub fn is_for(&self, environment: &EnvironmentName, stack: &StackName) -> bool {
        let any = |patterns: &[String], name: &str| patterns.iter().any(|pattern| fits(pattern, name));
        any(&self.environments, environment.as_str()) && any(&self.stacks, stack.as_str())
    }

    /// The transition that it is to tell of with this event, if any.
    #[must_use]
    pub fn tells(&self, event: &Event, deployment: Option<&Deployment>) -> Option<Transition> {
        let stack = event.stack.as_ref()?;
        let found = Transition::of(event, deployment).filter(|found| self.events.contains(found))?;
        self.is_for(&event.environment, stack).then_some(found)
    }
}

/// How far a notifier has come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NotifierStatus {
    /// The `id` of the notifier it is about.
    pub of: String,
    /// Every event up to this one was told of, given up, or is none to be told of.
    pub cursor: u64,
    /// Messages that were taken.
    pub delivered: u64,
    /// Messages that were given up.
    pub given_up: u64,
    /// When the last one was taken.
    pub last_success: Option<Timestamp>,
    /// Why one was not taken, the last time that happened.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<Timestamp>,
    /// How often the message that is next was tried in vain.
    pub attempts: u32,
    /// When it is tried again.
    pub next_attempt_at: Option<Timestamp>,
}

impl NotifierStatus {
    /// What is known of a notifier, given what was written last under its name.
    #[must_use]
    pub fn of(notifier: &Notifier, written: Option<Self>) -> Self {
        let own = written.filter(|it| it.of == notifier.id);
        own.unwrap_or_else(|| Self { of: notifier.id.clone(), cursor: notifier.since, ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_types() {
        for (name, kind) in NotifierType::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), name);
        }
        for (name, transition) in Transition::ALL {
            assert_eq!((serde_json::to_value(transition).unwrap(), transition.to_string()), (name.into(), name.into()));
        }
    }

    #[test]
    fn what_is_told_when_nothing_is_said() {
        let slack = NotifierType::Slack.transitions();
        for loud in [Transition::Started, Transition::RolledBack, Transition::DriftCorrected, Transition::Recovered] {
            assert!(slack.contains(&loud), "{loud}");
        }
        assert!(!slack.contains(&Transition::Unchanged) && !slack.contains(&Transition::Superseded));
        let status = NotifierType::GitLabStatus.transitions();
        // Whatever ends a deployment ends the commit's status.
        for end in ["Converged", "Unchanged", "Failed", "RolledBack", "RollbackFailed", "Superseded", "Cancelled"] {
            assert!(status.iter().any(|it| it.to_string() == end), "{end}");
        }
        assert!(!status.contains(&Transition::DriftCorrected));
    }
}
