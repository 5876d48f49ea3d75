//! From an attempt to its desired objects: the revision, the files, the rendering. None of it is waited for here for
//! longer than a moment: what takes longer goes on beside the passes and wakes the stack when it is done.

use std::sync::Arc;
use std::time::Duration;

use super::pass::{Next, Pass, PassError};
use super::rendition::{Rendition, RenditionError};
use super::shared::RENDER_AGAIN;
use super::take_up::names_a_ref;
use crate::domain::{
    Actor, ConditionStatus as Is, ConditionType as Kind, Deployment, DeploymentPhase as Phase, Failure, FailureClass,
    Reason, Source, StackSpec, Trigger, VersionSource,
};
use crate::ports::SourceError;

/// A rendering that takes no longer than this is waited for: most files are here already.
const MOMENT: Duration = Duration::from_millis(50);

/// What preparing an attempt came to.
pub(super) enum Prepared {
    /// Its desired objects are there.
    Ready(Arc<Rendition>),
    /// Something goes on beside; the pass is over.
    Wait(Next),
    /// It ended; the stack is to be looked at afresh.
    Ended,
}

impl Pass<'_> {
    /// Gets the desired objects of the attempt.
    pub(super) async fn prepare(&mut self, mut deployment: Deployment) -> Result<Prepared, PassError> {
        let known = deployment.version.digest.is_some();
        let rendition = match deployment.version.source.clone() {
            VersionSource::Kept(of) => match self.kept_version(&of) {
                Err(error) if self.now >= self.deadline(&deployment) => {
                    self.fail(deployment, Failure::new(FailureClass::Preflight, error.to_string()))?;
                    return Ok(Prepared::Ended);
                }
                found => self.as_put_right(&deployment, found?),
            },
            VersionSource::Spec(spec) => {
                if let Some(kept) = self.kept_before_the_first_write(&deployment) {
                    return Ok(Prepared::Ready(kept));
                }
                if !self.take_revision(&mut deployment, &spec)? {
                    return self.wait_for_revision(deployment);
                }
                match self.rendition(&deployment, &spec).await {
                    None => return self.wait_for_rendering(deployment),
                    Some(Err(error)) => return self.no_rendition(deployment, error),
                    Some(Ok(rendition)) => match self.with_adopted_names(&deployment, rendition)? {
                        Prepared::Ready(rendition) => match self.with_images(&mut deployment, rendition)? {
                            Prepared::Ready(rendition) => rendition,
                            other => return Ok(other),
                        },
                        other => return Ok(other),
                    },
                }
            }
        };
        if known {
            return Ok(Prepared::Ready(rendition));
        }
        deployment.version.digest = Some(rendition.digest.clone());
        deployment.version.images = rendition.desired.images();
        deployment.warnings.clone_from(&rendition.warnings);
        self.warn_of_the_way_back(&mut deployment);
        self.say(Kind::Rendered, Is::True, Reason::Succeeded, "the compose files are rendered");
        if matches!(deployment.version.source, VersionSource::Spec(_)) {
            self.status.desired = Some(Self::pointer(&deployment));
        }
        if self.is_refused_as_held(&mut deployment, &rendition) {
            return Ok(Prepared::Ended);
        }
        self.put(deployment);
        Ok(Prepared::Ready(rendition))
    }

    /// The objects with the images that they are to run: those that are followed as they were found, all of them pinned.
    fn with_images(&mut self, deployment: &mut Deployment, rendition: Arc<Rendition>) -> Result<Prepared, PassError> {
        match self.with_followed_images(deployment, rendition)? {
            Prepared::Ready(rendition) => self.with_pinned_images(deployment, rendition),
            other => Ok(other),
        }
    }

    /// A version that failed here is not tried again by itself; a person's word releases it.
    fn is_refused_as_held(&mut self, deployment: &mut Deployment, rendition: &Rendition) -> bool {
        if !self.status.is_held(&rendition.digest) || planted!("a held version is not refused") {
            return false;
        }
        // Who takes a pin away asks for no version: what failed before it was set stays held.
        let person = deployment.origin.actor != Actor::controller() && !deployment.origin.is_of_unpin();
        if person && matches!(deployment.origin.trigger, Trigger::Api | Trigger::Rest | Trigger::Adopt) {
            self.status.held.retain(|held| held.version.digest.as_ref() != Some(&rendition.digest));
            return false;
        }
        if matches!(deployment.origin.trigger, Trigger::Rollback | Trigger::Drift) {
            return false;
        }
        let why = self.status.held.iter().find(|held| held.version.digest.as_ref() == Some(&rendition.digest));
        let why = why.map(|held| held.reason.clone()).unwrap_or_default();
        self.enter(deployment, Phase::Failed, format!("this version failed before and is held: {why}"));
        self.put(deployment.clone());
        true
    }

    /// A correction leaves what is only to be reported.
    fn as_put_right(&self, deployment: &Deployment, rendition: Arc<Rendition>) -> Arc<Rendition> {
        let fields = &self.stack.spec.policy.report;
        if deployment.origin.trigger != Trigger::Drift || fields.is_empty() {
            return rendition;
        }
        Arc::new(rendition.leaving(fields))
    }

    /// What is being applied was kept before the first write: it needs no repository any more.
    pub(super) fn kept_before_the_first_write(&mut self, deployment: &Deployment) -> Option<Arc<Rendition>> {
        if let Some(known) = self.shared.renditions.get_of(self.key(), &deployment.id) {
            return deployment.version.digest.is_some().then_some(known);
        }
        let kept = deployment.kept.as_ref().filter(|_| deployment.version.digest.is_some())?;
        let rendition = Arc::new(self.shared.renderer.kept(kept).ok()?);
        self.shared.renditions.put(self.key(), &deployment.id, rendition.clone());
        Some(rendition)
    }

    fn kept_version(&mut self, of: &crate::domain::DeploymentId) -> Result<Arc<Rendition>, PassError> {
        if let Some(known) = self.shared.renditions.get_of(self.key(), of) {
            return Ok(known);
        }
        let from_deployment = self.deployment(of)?.and_then(|deployment| deployment.kept.clone());
        let good = self.status.last_good.as_ref().filter(|good| good.version.deployment == *of);
        let kept = from_deployment.or_else(|| good.map(|good| good.kept.clone()));
        let kept = kept.ok_or_else(|| RenditionError::File(format!("deployment {of} has no kept version")))?;
        let rendition = Arc::new(self.shared.renderer.kept(&kept)?);
        self.shared.renditions.put(self.key(), of, rendition.clone());
        Ok(rendition)
    }

    /// Fixes the commit of an attempt, once and for all. Gives `false` while it is not known.
    fn take_revision(&mut self, deployment: &mut Deployment, spec: &StackSpec) -> Result<bool, PassError> {
        let Source::Git(git) = &spec.source else { return Ok(true) };
        if deployment.version.revision.is_some() {
            return Ok(true);
        }
        let Some(found) = self.shared.sources.follow(&deployment.stack, git, None) else { return Ok(false) };
        let fresh = found.checked_at.is_some_and(|at| at >= deployment.known_since());
        if found.revision.is_none() || (names_a_ref(deployment) && !fresh) {
            return Ok(false);
        }
        deployment.version.revision = found.revision;
        self.status.desired = Some(Self::pointer(deployment));
        self.put(deployment.clone());
        Ok(true)
    }

    fn wait_for_revision(&mut self, mut deployment: Deployment) -> Result<Prepared, PassError> {
        let VersionSource::Spec(spec) = &deployment.version.source else { return Ok(Prepared::Wait(Next::Idle)) };
        let Source::Git(git) = &spec.source else { return Ok(Prepared::Wait(Next::Idle)) };
        let error = self
            .shared
            .sources
            .follow(&deployment.stack, git, None)
            .and_then(|found| found.error)
            .filter(|(_, at)| *at >= deployment.known_since());
        let deadline = self.deadline(&deployment);
        match error {
            Some((error, _)) => self.no_rendition(deployment, RenditionError::Source(error)),
            None if self.now >= deadline => {
                let error = format!("`{}` at {} could not be looked up before the total deadline", git.wanted, git.url);
                self.fail(deployment, Failure::new(FailureClass::SourceUnreachable, error))?;
                Ok(Prepared::Ended)
            }
            None => {
                let text = format!("looking up `{}` at {}", git.wanted, git.url);
                self.enter(&mut deployment, Phase::Fetching, text);
                self.put(deployment);
                Ok(Prepared::Wait(Next::At(deadline)))
            }
        }
    }

    /// When a deployment ends at the latest: from the first write on, or before it from when it was taken up.
    pub(super) fn deadline(&self, deployment: &Deployment) -> jiff::Timestamp {
        if let Some(progress) = &deployment.progress {
            return progress.total_deadline;
        }
        let since = self.status.attempt_since.unwrap_or(deployment.known_since());
        let since = if deployment.is_at_gate() && self.has_gates() { self.now } else { since };
        let since = if planted!("the clock before the first write begins anew") { self.now } else { since };
        since.checked_add(self.stack.spec.policy.total_deadline).unwrap_or(self.now)
    }

    /// The rendering of an attempt, if it is done or done in a moment.
    async fn rendition(
        &mut self,
        deployment: &Deployment,
        spec: &StackSpec,
    ) -> Option<Result<Arc<Rendition>, RenditionError>> {
        if let Some(known) = self.shared.renditions.get_of(self.key(), &deployment.id) {
            return Some(Ok(known));
        }
        self.shared.render(deployment, spec);
        self.shared.renditions.answer(self.key(), &deployment.id, MOMENT).await
    }

    fn wait_for_rendering(&mut self, mut deployment: Deployment) -> Result<Prepared, PassError> {
        let commit = deployment.version.revision.as_ref().map(|revision| revision.short().to_owned());
        let text = format!("fetching and rendering {}", commit.as_deref().unwrap_or("the compose text"));
        let deadline = self.deadline(&deployment);
        self.enter(&mut deployment, Phase::Rendering, text);
        if self.now >= deadline {
            let error = "the files could not be fetched before the total deadline";
            self.fail(deployment, Failure::new(FailureClass::SourceUnreachable, error))?;
            return Ok(Prepared::Ended);
        }
        self.put(deployment);
        Ok(Prepared::Wait(Next::At(deadline)))
    }

    /// There is nothing to deploy: either it is waited for, or the deployment has failed and nothing was changed.
    fn no_rendition(&mut self, mut deployment: Deployment, error: RenditionError) -> Result<Prepared, PassError> {
        let text = error.to_string();
        let class = match &error {
            RenditionError::Source(source) => {
                let reason = match source {
                    SourceError::NoSuchRef { .. } => Reason::RefNotFound,
                    trust if trust.is_about_trust() => Reason::AuthenticationFailed,
                    _ => Reason::SourceUnreachable,
                };
                self.say(Kind::SourceReady, Is::False, reason, &text);
                let deadline = self.deadline(&deployment);
                if source.is_transient() && self.now < deadline {
                    self.enter(&mut deployment, Phase::Fetching, &text);
                    self.waiting = Some((Reason::SourceUnreachable, text));
                    self.put(deployment);
                    let again = jiff::SignedDuration::try_from(RENDER_AGAIN).unwrap_or(jiff::SignedDuration::ZERO);
                    let again = self.now.checked_add(again).unwrap_or(self.now);
                    return Ok(Prepared::Wait(Next::At(again.min(deadline))));
                }
                FailureClass::SourceUnreachable
            }
            RenditionError::File(_) | RenditionError::Render(_) => {
                self.say(Kind::Rendered, Is::False, Reason::RenderFailed, &text);
                if self.status.desired.is_none() || matches!(deployment.version.source, VersionSource::Spec(_)) {
                    self.status.desired = Some(Self::pointer(&deployment));
                }
                FailureClass::Render
            }
            RenditionError::Seal(_) | RenditionError::Ledger(_) => {
                self.shared.renditions.forget_job(&deployment.id);
                return Err(error.into());
            }
        };
        self.fail(deployment, Failure::new(class, text))?;
        Ok(Prepared::Ended)
    }
}
