//! The policy `approve`: a new version waits for a person's word, which holds for the plan that was seen and for no other.

use super::pass::Pass;
use crate::domain::{Deployment, Mode};
use crate::plan::Plan;

impl Pass<'_> {
    /// Whether a person has yet to say yes to this plan; if so, what to tell them. Going back, and putting right what was
    /// approved before, needs none: that is what it was approved for.
    pub(super) fn wants_approval(&self, deployment: &mut Deployment, plan: &Plan) -> Option<String> {
        if self.stack.spec.policy.mode != Mode::Approve {
            return None;
        }
        let digest = plan.digest(&self.shared.renderer.digester());
        let given = self.stack.control.approval.as_ref();
        let approved = given.is_some_and(|given| given.deployment == deployment.id && given.plan == digest);
        let text = format!(
            "waits for approval of {} steps (plan {}): look at them with `skep diff {}`, then `skep approve {}`",
            plan.steps.len(),
            digest.as_str(),
            self.key().name,
            deployment.id
        );
        deployment.plan = Some(digest);
        (!approved).then_some(text)
    }
}
