//! A new version that cannot come about, as the nodes are now, ends before anything is changed for it.

use super::pass::{Pass, PassError};
use super::rendition::Rendition;
use crate::domain::{
    ConditionStatus as Is, ConditionType as Kind, Deployment, DeploymentPhase as Phase, EventType, Reason,
};
use crate::plan::{Plan, Preflight, preflight};

impl Pass<'_> {
    /// What can be known of a new version before its first write.
    pub(super) fn found_before(&mut self, rendition: &Rendition, plan: &Plan) -> Result<Preflight, PassError> {
        let good = match self.last_good_rendition() {
            Err(PassError::Rendition(_)) => None,
            found => found?,
        };
        let good = good.as_ref().map(|good| &good.desired);
        Ok(preflight(plan, &rendition.desired, good, &self.environment.snapshot()))
    }

    /// Ends a new version that cannot come about: it is held, and what runs goes on undisturbed. Where the policy goes
    /// back, the rollback is a deployment like any other; it finds the last good version running, and nothing to do. Going
    /// back, and putting right what runs, is never kept from being tried.
    pub(super) fn cannot_come_about(
        &mut self,
        deployment: &mut Deployment,
        rendition: &Rendition,
        plan: &Plan,
    ) -> Result<bool, PassError> {
        if !deployment.is_new() || (plan.steps.is_empty() && plan.jobs.is_empty()) {
            return Ok(false);
        }
        let found = self.found_before(rendition, plan)?;
        for warning in found.warnings {
            if !deployment.warnings.contains(&warning) {
                deployment.warnings.push(warning);
            }
        }
        let mut all = found.refused.into_iter();
        let Some(mut failure) = all.next() else { return Ok(false) };
        for other in all {
            failure.error = format!("{}; {}", failure.error, other.sentence());
        }
        failure.error = rendition.masker().mask(&failure.error);
        let why = failure.sentence();
        self.hold(deployment, &why);
        deployment.failure = Some(failure.clone());
        self.go_back(deployment, &why)?;
        if deployment.phase == Phase::RollingBack {
            self.event(EventType::Failed, Some(&deployment.id), &failure.class.to_string(), why);
        } else {
            self.say(Kind::Applied, Is::False, Reason::PreflightFailed, &why);
            self.enter(deployment, Phase::Failed, format!("{why}; nothing was changed for it"));
        }
        self.put(deployment.clone());
        Ok(true)
    }
}
