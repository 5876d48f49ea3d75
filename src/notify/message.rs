//! What a message says: what happened, why, what happens next, and where to look. Values in, values out.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::{
    Deployment, DeploymentId, Digest, EnvironmentName, Event, FailureClass, Masker, Stack, StackKey, StackName,
    Transition, Trigger,
};

/// The word of a message that only tries a notifier out.
pub const TEST: &str = "Test";

/// What a message is made of.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// This installation's id.
    pub instance: &'a str,
    /// The number of the event.
    pub sequence: u64,
    /// The event.
    pub event: &'a Event,
    /// What it tells of.
    pub transition: Transition,
    /// The deployment it names.
    pub deployment: Option<&'a Deployment>,
    /// The stack, if it is declared still.
    pub stack: Option<&'a Stack>,
    /// Whether the deployment's version is held.
    pub held: bool,
    /// Whether the last good version comes back by itself, should this one fail.
    pub returns: bool,
    /// The address that people reach the page at.
    pub public_url: Option<&'a str>,
}

/// A message. As JSON it is what a webhook receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Tells it from every other, and is the same however often it is sent.
    pub id: String,
    /// The transition, or [`TEST`].
    pub event: String,
    /// When it happened.
    pub time: Timestamp,
    /// The environment.
    pub environment: EnvironmentName,
    /// The stack; none of a test.
    pub stack: Option<StackName>,
    /// The deployment, if it is about one.
    pub deployment_id: Option<DeploymentId>,
    /// The trace that leads from its request to the engine.
    pub trace_id: Option<String>,
    /// Its commit, if it has one.
    pub revision: Option<String>,
    /// Its images.
    pub images: Vec<Image>,
    /// What set it off.
    pub trigger: Option<Trigger>,
    /// Who.
    pub actor: String,
    /// Why it failed, as a stable word.
    pub failure: Option<FailureClass>,
    /// What happened, in one sentence.
    pub what: String,
    /// Why.
    pub why: String,
    /// What happens next.
    pub next: String,
    /// Where to look, if the address of the page is known.
    pub url: Option<String>,
}

/// An image of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Image {
    /// The service.
    pub service: String,
    /// Its image, as written.
    pub image: String,
}

/// The id under which this event is told of. Numbers of events may come again after a restore, with other events.
#[must_use]
pub fn id(facts: &Facts<'_>) -> String {
    let Facts { instance, sequence, event, transition, .. } = facts;
    let deployment = event.deployment.as_ref().map_or("", DeploymentId::as_str);
    let text = format!("{instance}\n{sequence}\n{}\n{deployment}\n{transition}", event.time);
    Digest::of(text.as_bytes()).as_str().chars().take(32).collect()
}

/// The message about an event.
#[must_use]
pub fn message(facts: &Facts<'_>) -> Message {
    let Facts { event, transition, deployment, .. } = *facts;
    let failed = matches!(transition, Transition::Failed | Transition::RolledBack | Transition::RollbackFailed);
    Message {
        id: id(facts),
        event: transition.to_string(),
        time: event.time,
        environment: event.environment.clone(),
        stack: event.stack.clone(),
        deployment_id: deployment.map(|it| it.id.clone()),
        trace_id: deployment.map(|it| it.trace().trace_id()),
        revision: deployment.and_then(|it| it.version.revision.as_ref()).map(ToString::to_string),
        images: deployment.map(images).unwrap_or_default(),
        trigger: deployment.map(|it| it.origin.trigger),
        actor: deployment.map_or_else(|| event.actor.clone(), |it| it.origin.actor.name.clone()),
        failure: deployment.and_then(|it| it.failure.as_ref()).filter(|_| failed).map(|failure| failure.class),
        what: what(facts),
        why: why(facts),
        next: next(facts),
        url: facts.public_url.map(|base| link(base, facts)),
    }
}

/// A message that only tries a notifier out.
#[must_use]
pub fn test(id: String, notifier: &str, now: Timestamp, public_url: Option<&str>) -> Message {
    Message {
        id,
        event: TEST.to_owned(),
        time: now,
        environment: EnvironmentName::default(),
        stack: None,
        deployment_id: None,
        trace_id: None,
        revision: None,
        images: Vec::new(),
        trigger: None,
        actor: "skep".to_owned(),
        failure: None,
        what: format!("This is a test of the notifier `{notifier}`"),
        why: "somebody asked for it".to_owned(),
        next: "Nothing: no stack is concerned.".to_owned(),
        url: public_url.map(|base| base.trim_end_matches('/').to_owned()),
    }
}

impl Message {
    /// The same without these secrets, should any have come into a text.
    #[must_use]
    pub fn masked(mut self, masker: &Masker) -> Self {
        for text in [&mut self.what, &mut self.why, &mut self.next, &mut self.actor] {
            *text = masker.mask(text);
        }
        for image in &mut self.images {
            image.image = masker.mask(&image.image);
        }
        self
    }
}

fn images(deployment: &Deployment) -> Vec<Image> {
    let image = |it: &crate::domain::ImageChoice| Image { service: it.service.clone(), image: it.image.clone() };
    deployment.version.images.iter().map(image).collect()
}

/// Where the page shows it.
fn link(base: &str, facts: &Facts<'_>) -> String {
    let base = base.trim_end_matches('/');
    match (facts.deployment, &facts.event.stack) {
        (Some(deployment), _) => format!("{base}/deployments/{}", deployment.id),
        (None, Some(stack)) => format!("{base}/stacks/{}/{stack}", facts.event.environment),
        (None, None) => base.to_owned(),
    }
}

fn what(facts: &Facts<'_>) -> String {
    let event = facts.event;
    let stack = event.stack.as_ref().map_or_else(String::new, |name| {
        StackKey { environment: event.environment.clone(), name: name.clone() }.to_string()
    });
    let version = facts.deployment.map(version).unwrap_or_default();
    match facts.transition {
        Transition::Started => format!("{stack}: the deployment of {version} has started"),
        Transition::AwaitingApproval => format!("{stack}: the deployment of {version} waits for approval"),
        Transition::Converged => format!("{stack}: {version} has converged"),
        Transition::Unchanged => format!("{stack}: {version} runs already"),
        Transition::Failed => format!("{stack}: {version} has failed"),
        Transition::RolledBack => format!("{stack}: {version} has failed, and the last good version is back"),
        Transition::RollbackFailed => {
            format!("{stack}: {version} has failed, and the last good version did not come back")
        }
        Transition::Superseded => format!("{stack}: the deployment of {version} was left for a newer one"),
        Transition::Cancelled => format!("{stack}: the deployment of {version} was cancelled"),
        Transition::DriftCorrected => format!("{stack}: what somebody else changed on the Swarm was undone"),
        Transition::Stalled => format!("{stack} is not kept: something is in the way"),
        Transition::Recovered => format!("{stack} is kept again"),
    }
}

/// A version in a few words.
fn version(deployment: &Deployment) -> String {
    match (&deployment.version.revision, deployment.version.images.as_slice()) {
        (Some(revision), _) => format!("commit {}", revision.short()),
        (None, [only]) => only.image.clone(),
        (None, _) => format!("deployment {}", deployment.id),
    }
}

fn why(facts: &Facts<'_>) -> String {
    let said = facts.event.message.clone();
    match (facts.transition, facts.deployment) {
        (Transition::Started, Some(deployment)) => {
            let origin = &deployment.origin;
            let reason = origin.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("asked for by {} ({:?}){reason}", origin.actor.name, origin.trigger)
        }
        _ => said,
    }
}

fn next(facts: &Facts<'_>) -> String {
    let command = |what: &str| {
        let environment = match facts.event.environment == EnvironmentName::default() {
            true => String::new(),
            false => format!("-e {} ", facts.event.environment),
        };
        format!("`skep {environment}{what}`")
    };
    let stack = facts.event.stack.as_ref().map_or("", |name| name.as_str());
    let release = command(&format!("release-hold {stack}"));
    match facts.transition {
        Transition::Started if facts.returns => {
            "Its tasks are judged; it converges, or the last good version comes back.".to_owned()
        }
        Transition::Started => {
            "Its tasks are judged; should it fail, it stays as it is until a person looks.".to_owned()
        }
        Transition::AwaitingApproval => {
            let id = facts.deployment.map_or("", |it| it.id.as_str());
            format!("Nothing, until a person says {}.", command(&format!("approve {id}")))
        }
        Transition::Converged => "It is kept so; it is the version to go back to.".to_owned(),
        Transition::Unchanged => "Nothing: it is kept so.".to_owned(),
        Transition::Failed => after_failure(facts, &release),
        Transition::RolledBack => {
            format!("The version that failed is held until {release}; a newer one is deployed by itself.")
        }
        Transition::RollbackFailed => {
            format!("Nothing by itself: a person has to look at {}.", command(&format!("get stack {stack}")))
        }
        Transition::Superseded => "The newer version is being deployed.".to_owned(),
        Transition::Cancelled => match facts.deployment.is_some_and(|it| it.rolled_back_by.is_some()) {
            true => "The last good version is being brought back.".to_owned(),
            false => "What was there before goes on.".to_owned(),
        },
        Transition::DriftCorrected => "The stack is watched on.".to_owned(),
        Transition::Stalled => format!("A person has to look at {}.", command(&format!("get stack {stack}"))),
        Transition::Recovered => "Nothing needs to be done.".to_owned(),
    }
}

/// What comes after a failure: the way back, another attempt, or nothing.
fn after_failure(facts: &Facts<'_>, release: &str) -> String {
    let Some(deployment) = facts.deployment else { return String::new() };
    let ended = deployment.finished_at == Some(facts.event.time);
    if !ended {
        return "The last good version is being brought back; this one is held.".to_owned();
    }
    let class = deployment.failure.as_ref().map(|failure| failure.class);
    if facts.held {
        return format!("It is held: nothing by itself. A newer version, or {release}, tries again.");
    }
    match (class, deployment.progress.is_some()) {
        (Some(FailureClass::EngineUnreachable | FailureClass::SourceUnreachable), _) | (Some(_), true) => {
            "It is tried again by itself, when the obstacle is gone.".to_owned()
        }
        _ => "Nothing was changed on the Swarm: what ran before runs on. Mend it, and deploy again.".to_owned(),
    }
}
