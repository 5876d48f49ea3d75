//! Whether the way back is open: what the last good version ran can be read back, its images can still be had, what it
//! needs from outside is there, and the nodes have a place for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::pass::{Pass, PassError};
use super::rendition::Rendition;
use crate::domain::{
    Condition, ConditionStatus as Is, ConditionType as Kind, Deployment, DeploymentId, ObjectKind, ObjectRef, Reason,
    Trigger, VersionSource,
};
use crate::plan::could_not_come_back;
use crate::ports::ImageError;

/// So long a new version waits at most for what the registry says of the last good one's images.
const MOMENT: SignedDuration = SignedDuration::from_secs(10);

impl Pass<'_> {
    /// Has the registry asked for the images that the last good version is pinned to and the new one does not use. The
    /// answers are told by `RollbackReady`. They are waited for a moment, so that a version without a way back says so before
    /// its first write: until when, if one is still to come.
    pub(super) fn looks_for_the_way_back(&mut self, deployment: &Deployment, new: &Rendition) -> Option<Timestamp> {
        let Ok(Some(good)) = self.last_good_rendition() else { return None };
        let mut asking = false;
        for image in images_of(&good.desired).filter(|image| image.contains('@')) {
            // What is written alike keeps its digest.
            let text = image.split('@').next();
            if !images_of(&new.desired).any(|it| it == image || Some(it) == text) {
                asking |= self.answer(deployment, image).is_none();
            }
        }
        let since = self.status.attempt_since.unwrap_or(deployment.known_since());
        let until = since.checked_add(MOMENT).unwrap_or(self.now);
        (asking && deployment.version.digest.is_none() && self.now < until).then_some(until)
    }

    /// Sets `RollbackReady`; a deployment under way without it says so.
    pub(super) fn tell_way_back(&mut self) {
        let found = self.way_back();
        self.say(Kind::RollbackReady, found.0, found.1, &found.2);
        let under_way = self.status.attempt.clone().filter(|attempt| !attempt.phase.is_terminal());
        if let Some(attempt) = under_way
            && let Ok(Some(mut deployment)) = self.deployment(&attempt.id).map(|found| found.cloned())
        {
            warn(&mut deployment, &found);
            self.put(deployment);
        }
    }

    /// A new version that begins without a way back says so.
    pub(super) fn warn_of_the_way_back(&mut self, deployment: &mut Deployment) {
        let found = self.way_back();
        warn(deployment, &found);
    }

    /// Configs and secrets that a version worth going back to needs.
    pub(super) fn needed(&mut self, with: &Rendition) -> Result<BTreeSet<ObjectRef>, PassError> {
        let mut needed = objects(with);
        if let Some(good) = self.status.last_good.clone()
            && let Some(rendition) = self.last_good_rendition()?
            && good.version.digest.as_ref() != Some(&with.digest)
        {
            needed.extend(objects(&rendition));
        }
        Ok(needed)
    }

    /// The last good version's objects.
    pub(super) fn last_good_rendition(&mut self) -> Result<Option<Arc<Rendition>>, PassError> {
        let Some(good) = self.status.last_good.clone() else { return Ok(None) };
        let id = &good.version.deployment;
        if let Some(known) = self.shared.renditions.get_of(self.key(), id) {
            return Ok(Some(known));
        }
        let rendition = Arc::new(self.shared.renderer.kept(&good.kept)?);
        self.shared.renditions.put(self.key(), id, rendition.clone());
        Ok(Some(rendition))
    }

    /// A version that has come about is one to go back to. A correction of drift is no new word about that.
    pub(super) fn leave_the_point_of_no_return(&mut self, deployment: &Deployment) {
        if deployment.origin.trigger != Trigger::Drift {
            self.status.point_of_no_return = None;
        }
    }

    fn way_back(&mut self) -> (Is, Reason, String) {
        let Some(good) = self.status.last_good.as_ref().map(|good| good.version.deployment.clone()) else {
            return (Is::False, Reason::NoLastGood, "no version of this stack has converged yet".to_owned());
        };
        let rendition = match self.last_good_rendition() {
            Ok(Some(rendition)) => rendition,
            Ok(None) => {
                return (Is::False, Reason::NoLastGood, "no version of this stack has converged yet".to_owned());
            }
            Err(error) => {
                let text = format!(
                    "what deployment {good} ran was kept and cannot be read back: {error}. Deploy a version that converges: it is kept anew"
                );
                return (Is::False, Reason::LastGoodUnreadable, text);
            }
        };
        for image in images_of(&rendition.desired).filter(|image| image.contains('@')) {
            if let Some(text) = self.cannot_be_had(&good, image) {
                return (Is::False, Reason::ImageMissing, text);
            }
        }
        if self.environment.is_connected()
            && let Some(why) = could_not_come_back(&rendition.desired, &self.environment.snapshot())
        {
            return (Is::False, Reason::PreflightFailed, format!("deployment {good} could not come back now: {why}"));
        }
        (Is::True, Reason::Succeeded, format!("deployment {good} can be brought back"))
    }
}

impl Pass<'_> {
    /// Why an image of the last good version can be had no more, by the registry's last word. What it once had no more is
    /// asked for at each look: it may be there again.
    fn cannot_be_had(&self, good: &DeploymentId, image: &str) -> Option<String> {
        let told = |known: &&Condition| {
            let message = &known.message;
            known.reason == Reason::ImageMissing && message.contains(good.as_str()) && message.contains(image)
        };
        let before = self.status.condition(Kind::RollbackReady).filter(told);
        let answer = match before {
            None => self.shared.last_answer(&self.environment.name, image),
            Some(_) => self.shared.look_up(&self.environment, image, (self.key(), self.now)),
        };
        match answer {
            Some(Ok(_)) => None,
            Some(Err(error @ (ImageError::Missing(_) | ImageError::Denied(_)))) => {
                Some(format!("deployment {good} ran `{image}`, which only nodes that have it still can run: {error}"))
            }
            // The last word stands, also over a restart.
            Some(Err(_)) | None => before.map(|known| known.message.clone()),
        }
    }
}

/// Leaves a warning on a new version, if the way back is not open.
fn warn(deployment: &mut Deployment, (status, reason, text): &(Is, Reason, String)) {
    let warning = format!("there is no way back from this version: {text}");
    let new = matches!(deployment.version.source, VersionSource::Spec(_));
    if new && *status == Is::False && *reason != Reason::NoLastGood && !deployment.warnings.contains(&warning) {
        deployment.warnings.push(warning);
    }
}

fn images_of(desired: &crate::domain::Desired) -> impl Iterator<Item = &str> {
    desired.all_services().map(|service| service.spec.task_template.container_spec.image.as_str())
}

/// The configs and secrets of a version.
pub(super) fn objects(rendition: &Rendition) -> BTreeSet<ObjectRef> {
    let configs = rendition.desired.configs.keys().map(|name| ObjectRef::new(ObjectKind::Config, name));
    configs.chain(rendition.desired.secrets.keys().map(|name| ObjectRef::new(ObjectKind::Secret, name))).collect()
}
