//! Whether the way back is open: what the last good version ran can be read back, and its images can still be had.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::pass::{Pass, PassError};
use super::rendition::Rendition;
use crate::domain::{
    ConditionStatus as Is, ConditionType as Kind, Deployment, ObjectKind, ObjectRef, Reason, Trigger, VersionSource,
};
use crate::ports::ImageError;

impl Pass<'_> {
    /// Has the registry asked for the images that the last good version is pinned to and the new one does not use. Nobody
    /// waits for it: the answers are told by `RollbackReady`.
    pub(super) fn look_at_the_way_back(&mut self, deployment: &Deployment, new: &Rendition) {
        let Ok(Some(good)) = self.last_good_rendition() else { return };
        for image in images_of(&good.desired).filter(|image| image.contains('@')) {
            // What is written alike keeps its digest.
            let text = image.split('@').next();
            if !images_of(&new.desired).any(|it| it == image || Some(it) == text) {
                let _ = self.answer(deployment, image);
            }
        }
    }

    /// Sets `RollbackReady`; a deployment under way without it says so.
    pub(super) fn tell_way_back(&mut self) {
        let (status, reason, text) = self.way_back();
        self.say(Kind::RollbackReady, status, reason, &text);
        let under_way = self.status.attempt.clone().filter(|attempt| !attempt.phase.is_terminal());
        if let Some(attempt) = under_way
            && let Ok(Some(mut deployment)) = self.deployment(&attempt.id).map(|found| found.cloned())
        {
            self.warn_of_the_way_back(&mut deployment);
            self.put(deployment);
        }
    }

    /// A new version that begins without a way back says so.
    pub(super) fn warn_of_the_way_back(&mut self, deployment: &mut Deployment) {
        let (status, reason, text) = self.way_back();
        let warning = format!("there is no way back from this version: {text}");
        let new = matches!(deployment.version.source, VersionSource::Spec(_));
        if new && status == Is::False && reason != Reason::NoLastGood && !deployment.warnings.contains(&warning) {
            deployment.warnings.push(warning);
        }
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
            if let Some(Err(error @ (ImageError::Missing(_) | ImageError::Denied(_)))) =
                self.shared.last_answer(&self.environment.name, image)
            {
                let text =
                    format!("deployment {good} ran `{image}`, which only nodes that have it still can run: {error}");
                return (Is::False, Reason::ImageMissing, text);
            }
        }
        (Is::True, Reason::Succeeded, format!("deployment {good} can be brought back"))
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
