//! What may last how long, and how things must stand when nothing is under way.

use jiff::SignedDuration;

use super::{Law, Laws, State};
use crate::domain::{ConditionType, Deployment, DeploymentId, DeploymentPhase as Phase, Reason, StackKey, target};

/// A look, a monitor period, a listing: how much later than its deadline a deployment may end.
const GRACE: SignedDuration = SignedDuration::from_secs(100);
/// Each start of Skep leaves time for a first look.
const FIRST_LOOK: SignedDuration = SignedDuration::from_secs(70);
/// What is declared is taken up within this time.
const TAKEN_UP: SignedDuration = SignedDuration::from_mins(8);

/// What a person's word means for what is under way is done within this time.
const HEEDED: SignedDuration = SignedDuration::from_secs(90);

/// How long a deployment has been at work.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Age {
    worked: SignedDuration,
    waited: SignedDuration,
    cancelled: SignedDuration,
    starts: i32,
    told: bool,
}

impl Laws {
    /// Time has passed. `blocked` says for which stacks it does not count: nobody is there, or nobody may act.
    pub fn passes(&self, span: SignedDuration, blocked: impl Fn(&StackKey) -> bool) {
        let keys: Vec<StackKey> = self.state().stacks.keys().cloned().collect();
        for key in keys {
            let counts = !blocked(&key);
            if counts {
                self.state().ends_in_time(&key, span);
            }
        }
        let open: Vec<Deployment> =
            self.state().deployments.values().filter(|it| !it.phase.is_terminal()).cloned().collect();
        for deployment in open {
            // Not while the laws are locked: the caller may ask them.
            let counts = !blocked(&deployment.stack);
            let mut state = self.state();
            if counts && state.counts_for(&deployment) {
                state.grows_older(&deployment, span);
            }
        }
    }

    /// Skep has begun anew.
    pub fn starts(&self) {
        let mut state = self.state();
        let open: Vec<DeploymentId> =
            state.deployments.values().filter(|it| !it.phase.is_terminal()).map(|it| it.id.clone()).collect();
        for id in open {
            state.ages.entry(id).or_default().starts += 1;
        }
    }

    /// A stack is to stand as nothing under way leaves it: everything has ended, all that is owned is there, and nothing
    /// else of it is.
    pub fn settled(&self, key: &StackKey) {
        self.state().settled(key);
    }
}

impl State {
    /// What was to end by itself at a time has ended soon after it.
    fn ends_in_time(&mut self, key: &StackKey, span: SignedDuration) {
        let Some(stack) = self.stacks.get(key).filter(|stack| stack.control.deletion.is_none()) else { return };
        let over = |until: Option<jiff::Timestamp>| until.is_some_and(|until| until <= self.now());
        let late = stack.control.pin.as_ref().is_some_and(|pin| over(pin.until))
            || stack.control.suspension.as_ref().is_some_and(|suspension| over(suspension.until));
        let stands = self.overdue.entry(key.clone()).or_default();
        *stands = if late { *stands + span } else { SignedDuration::ZERO };
        if *stands > HEEDED {
            *stands = SignedDuration::MIN;
            self.breach(Law::Told, format!("a pin or suspension of {key} has ended and still stands"));
        }
    }

    fn counts_for(&self, deployment: &Deployment) -> bool {
        let Some(stack) = self.stacks.get(&deployment.stack) else { return false };
        stack.control.suspension.is_none() && stack.control.deletion.is_none() && !self.waits_at_gate(deployment)
    }

    /// A version that waits before its first write, and whose stack says for what.
    fn waits_at_gate(&self, deployment: &Deployment) -> bool {
        let ready = self.statuses.get(&deployment.stack).and_then(|status| status.condition(ConditionType::Ready));
        let waits = match ready.map(|ready| ready.reason) {
            Some(Reason::AwaitingApproval) => deployment.phase == Phase::AwaitingApproval,
            Some(Reason::DependencyNotReady | Reason::ScheduleClosed) => deployment.phase == Phase::Pending,
            _ => false,
        };
        waits && deployment.progress.is_none() && deployment.version.digest.is_some()
    }

    fn grows_older(&mut self, deployment: &Deployment, span: SignedDuration) {
        let Some(stack) = self.stacks.get(&deployment.stack) else { return };
        let attempt = self.statuses.get(&deployment.stack).and_then(|status| status.attempt.as_ref());
        let under_way = attempt.is_some_and(|attempt| attempt.id == deployment.id);
        let rolling = deployment.phase == Phase::RollingBack;
        let behind_pin = stack.control.pin.as_ref().is_some_and(|pin| pin.deployment != deployment.id);
        let total = stack.spec.policy.total_deadline * if rolling { 2 } else { 1 };
        let mut age = self.ages.get(&deployment.id).copied().unwrap_or_default();
        if under_way || rolling {
            age.worked += span;
        } else if !behind_pin {
            age.waited += span;
        }
        if stack.control.cancel.as_ref() == Some(&deployment.id) && !rolling {
            age.cancelled += span;
        }
        let most = total + GRACE + FIRST_LOOK * age.starts;
        let late = (age.worked > most).then(|| format!("has been at work for {:#}", age.worked));
        let late = late.or_else(|| (age.cancelled > HEEDED).then(|| "was cancelled and goes on".to_owned()));
        let late =
            late.or_else(|| (age.waited > TAKEN_UP).then(|| format!("has not been taken up for {:#}", age.waited)));
        if let Some(late) = late.filter(|_| !age.told) {
            age.told = true;
            self.breach(
                Law::Deadline,
                format!("{} ({:?}) of {} {late}", deployment.id, deployment.phase, deployment.stack),
            );
        }
        self.ages.insert(deployment.id.clone(), age);
    }

    fn settled(&mut self, key: &StackKey) {
        let (Some(stack), Some(status)) = (self.stacks.get(key).cloned(), self.statuses.get(key).cloned()) else {
            return;
        };
        let mut wrong = Vec::new();
        for deployment in self.deployments.values().filter(|it| it.stack == *key && !it.phase.is_terminal()) {
            let pinned = stack.control.pin.is_some() && deployment.id == stack.deployment;
            if !pinned && !self.waits_at_gate(deployment) {
                wrong.push(format!("{} of {key} is still {:?}", deployment.id, deployment.phase));
            }
        }
        let kind = target(&stack, &status);
        if status.target.as_ref().map(|target| target.kind) != Some(kind) {
            wrong.push(format!("the target of {key} is said to be {:?}, and is {kind:?}", status.target));
        }
        if let Some(swarm) = self.swarms.get(&key.environment) {
            for object in self.owned(key) {
                let known = status.inventory.0.get(&object).is_some_and(|entry| entry.id.is_some());
                if !known && !self.left.contains(&(key.clone(), object.clone())) {
                    wrong.push(format!("{object} of {key} is an orphan"));
                }
            }
            for object in status.inventory.0.keys().filter(|object| swarm.labels_of(object).is_none()) {
                wrong.push(format!("{object} is said to be owned by {key} and is not there"));
            }
        }
        wrong.into_iter().for_each(|text| self.breach(Law::Settles, text));
    }
}
