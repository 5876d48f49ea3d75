//! What may be done to an engine.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::super::draft::Draft;
use super::{Law, State};
use crate::domain::{
    Actor, ConfigSpec, DEPLOYMENT_LABEL, Deployment, DeploymentId, DeploymentPhase, Effect, EnvironmentName,
    HOOK_LABEL, INSTANCE_LABEL, JobState, LABEL_PREFIX, LiveService, ObjectKind, ObjectRef, STACK_LABEL, ServiceSpec,
    Stack, StackKey, StackName, StackStatus, TaskState, Trigger, UpdateState, Written,
};
use crate::plan::canonical;
use crate::swarm::sim::WriteCall;

/// A pass that is under way may still write for so long after a person's word.
const UNDER_WAY: SignedDuration = SignedDuration::from_secs(10);
/// How soon a claim is known, when events come; a listing comes at the latest after [`LISTED`].
const KNOWN: SignedDuration = SignedDuration::from_secs(4);
const LISTED: SignedDuration = SignedDuration::from_secs(400);

impl State {
    pub(super) fn writes(&mut self, environment: &EnvironmentName, effect: &Effect) {
        let object = effect.object();
        if object.name.starts_with("skep-claim-") {
            return;
        }
        self.while_claimed(environment, &object);
        self.not_too_often(&object);
        if self.hands_back(environment, effect) {
            return;
        }
        let labels = match effect {
            Effect::CreateNetwork(spec) => spec.labels.clone(),
            Effect::CreateConfig(spec) => spec.labels.clone(),
            Effect::CreateSecret(spec) => spec.labels.clone(),
            Effect::CreateService(spec) | Effect::UpdateService { spec, .. } => spec.labels.clone(),
            Effect::Relabel { labels, .. } => labels.clone(),
            Effect::Own { .. } => return self.breach(Law::Nothing, format!("a call for {object}, which needs none")),
            Effect::Remove { object, id } => match self.live(environment, object, id) {
                Some((labels, _)) if labels.contains_key(HOOK_LABEL) => {
                    self.run_is_removed(object, id, &labels);
                    labels
                }
                Some((labels, data)) => {
                    self.removal(object, id, &labels, &data);
                    labels
                }
                None => return,
            },
        };
        self.shows_nothing(effect, &object, &labels);
        if let Effect::UpdateService { id, version, spec } = effect {
            self.update(environment, id, *version, spec);
        }
        let key = labels.get(STACK_LABEL).and_then(|text| key(text));
        if let Some(key) = key {
            self.as_told(&key, effect, &object);
            let deployment = labels.get(DEPLOYMENT_LABEL).map(|id| DeploymentId(id.clone()));
            if let Some(deployment) = deployment.filter(|_| !matches!(effect, Effect::Remove { .. })) {
                self.for_deployment(&key, &deployment, effect, &object);
            }
        } else if !matches!(effect, Effect::Remove { .. }) {
            self.breach(Law::Told, format!("{object} is written without saying for which stack"));
        }
    }

    /// A stack that is handed back loses Skep's labels, and nothing else of it is changed.
    fn hands_back(&self, environment: &EnvironmentName, effect: &Effect) -> bool {
        let (object, id, new) = match effect {
            Effect::UpdateService { id, spec, .. } => (effect.object(), id, &spec.labels),
            Effect::Relabel { object, id, labels, .. } => (object.clone(), id, labels),
            _ => return false,
        };
        let Some((mut labels, _)) = self.live(environment, &object, id) else { return false };
        let Some(key) = labels.get(STACK_LABEL).and_then(|text| key(text)) else { return false };
        let deletion = self.stacks.get(&key).and_then(|stack| stack.control.deletion.as_ref());
        labels.retain(|label, _| !label.starts_with(LABEL_PREFIX));
        let same = match effect {
            Effect::UpdateService { spec, .. } => self
                .swarms
                .get(environment)
                .and_then(|swarm| swarm.service(&spec.name))
                .is_some_and(|live| ServiceSpec { labels: labels.clone(), ..live.spec.clone() } == *spec),
            _ => labels == *new,
        };
        same && deletion.is_some_and(|it| it.release)
    }

    /// Nobody is hammered, whatever goes wrong.
    fn not_too_often(&mut self, object: &ObjectRef) {
        /// A few stacks come about within a minute, more than once; this is many times as much.
        const FEW: u32 = 150;
        /// The same for one of many stacks.
        const EACH: u32 = 8;
        let most = FEW.max(EACH.saturating_mul(u32::try_from(self.stacks.len()).unwrap_or(u32::MAX)));
        let (since, count) = self.minute;
        self.minute = if self.ago(since) > SignedDuration::from_mins(1) { (self.now(), 1) } else { (since, count + 1) };
        if self.minute.1 == most {
            self.breach(Law::Busy, format!("{object} is the {most}th write within a minute"));
        }
    }

    fn while_claimed(&mut self, environment: &EnvironmentName, object: &ObjectRef) {
        let Some(since) = self.claimed.get(environment) else { return };
        let known = if self.is_deaf(environment) { LISTED } else { KNOWN };
        if self.ago(*since) > known {
            self.breach(
                Law::Claim,
                format!("{object} is written in `{environment}`, which another Skep holds since {since}"),
            );
        }
    }

    /// An object's labels and content, if it is still the one that is meant.
    fn live(
        &self,
        environment: &EnvironmentName,
        object: &ObjectRef,
        id: &str,
    ) -> Option<(BTreeMap<String, String>, Vec<u8>)> {
        let (known, labels, data) = self.swarms.get(environment)?.labels_of(object)?;
        (known == id).then_some((labels, data))
    }

    fn shows_nothing(&mut self, effect: &Effect, object: &ObjectRef, labels: &BTreeMap<String, String>) {
        let content: &[u8] = match effect {
            Effect::CreateConfig(ConfigSpec { data, .. }) => data,
            _ => &[],
        };
        let shown =
            labels.iter().any(|(key, value)| self.finds_marker(key.as_bytes()) || self.finds_marker(value.as_bytes()));
        if shown || self.finds_marker(object.name.as_bytes()) || self.finds_marker(content) {
            self.breach(Law::Secret, format!("the value of a secret shows on {object}"));
        }
    }

    fn update(
        &mut self,
        environment: &EnvironmentName,
        id: &str,
        version: crate::domain::VersionIndex,
        spec: &ServiceSpec,
    ) {
        let name = &spec.name;
        if self.foreign.contains(id) {
            self.breach(Law::Foreign, format!("the foreign service {name} is updated"));
        }
        // A version of 0 is what Skep wrote itself and has not read back: the engine refuses it.
        let read = self.read.get(environment).is_some_and(|read| read.contains(&(id.to_owned(), version)));
        if version.0 != 0 && !read {
            self.breach(Law::Doubt, format!("{name} is updated at version {}, which was never read", version.0));
        }
        let live = self.swarms.get(environment).and_then(|swarm| swarm.service(name));
        let live = live.filter(|live| live.version == version && live.id == id);
        // An update that Swarm has stopped goes on when the service is sent again as it is.
        let stopped =
            |live: &LiveService| live.update.as_ref().is_some_and(|update| update.state == UpdateState::Paused);
        if live.is_some_and(|live| canonical(&live.spec) == canonical(spec) && !stopped(&live)) {
            self.breach(Law::Nothing, format!("an update of {name} that changes nothing"));
        }
    }

    /// Nothing is written against a person's word.
    fn as_told(&mut self, key: &StackKey, effect: &Effect, object: &ObjectRef) {
        let removes = matches!(effect, Effect::Remove { .. });
        let Some(stack) = self.stacks.get(key) else {
            return self.breach(Law::Told, format!("{object} is written for {key}, which is not declared"));
        };
        let control = &stack.control;
        let long = |since| self.ago(since) > UNDER_WAY;
        let stands = |until: Option<jiff::Timestamp>| until.is_none_or(|until| until > self.now());
        let suspended = control.suspension.as_ref().is_some_and(|it| long(it.since) && stands(it.until));
        let leaving = control.deletion.as_ref();
        if suspended && leaving.is_none() {
            self.breach(Law::Told, format!("{object} is written for {key}, which is suspended"));
        } else if leaving.is_some_and(|it| long(it.since) && (!removes || it.keep_running)) {
            self.breach(Law::Told, format!("{object} is written for {key}, which is being deleted"));
        }
    }

    fn for_deployment(&mut self, key: &StackKey, id: &DeploymentId, effect: &Effect, object: &ObjectRef) {
        let Some(deployment) = self.deployments.get(id).cloned() else {
            return self.breach(Law::Doubt, format!("{object} is written for {id}, which was never recorded"));
        };
        if self.puts_pace_back(key, &deployment, effect) {
            return;
        }
        if deployment.phase.is_terminal() {
            let text = format!("{object} is written for {id}, which is {:?}", deployment.phase);
            self.breach(Law::Told, text);
        }
        if deployment.stack != *key {
            self.breach(Law::Told, format!("{object} of {key} is written for a deployment of {}", deployment.stack));
        }
        if !self.is_doubted(key, &deployment, effect, object) {
            self.breach(Law::Doubt, format!("{object} is written for {id}, and that was not noted before"));
        }
        self.in_its_turn(key, &deployment, effect, object);
        self.behind_pin(key, &deployment, object);
        let burnt =
            deployment.version.digest.clone().and_then(|digest| self.burnt.get(&(key.clone(), digest)).cloned());
        let by_itself = deployment.origin.actor == Actor::controller()
            && !matches!(deployment.origin.trigger, Trigger::Rollback | Trigger::Drift);
        if let Some(first) = burnt.filter(|first| by_itself && first != id) {
            self.breach(Law::Held, format!("{id} tries the version of {first} again, which failed"));
        }
    }

    /// A job is made once for a deployment, and services are written when what they wait for has come about.
    fn in_its_turn(&mut self, key: &StackKey, deployment: &Deployment, effect: &Effect, object: &ObjectRef) {
        let (Effect::CreateService(spec) | Effect::UpdateService { spec, .. }) = effect else { return };
        let Some(swarm) = self.swarms.get(&key.environment).cloned() else { return };
        if spec.labels.contains_key(HOOK_LABEL) {
            let run = deployment.jobs.get(&spec.name).map(|run| run.state);
            if run != Some(JobState::Starting) {
                self.breach(Law::Job, format!("{object} runs for {}, whose record says {run:?}", deployment.id));
            }
            let same = |spec: &ServiceSpec| {
                spec.name == object.name
                    && spec.labels.get(DEPLOYMENT_LABEL).is_some_and(|of| of == deployment.id.as_str())
            };
            let made = |call: &WriteCall| {
                call.took_effect && matches!(&call.effect, Effect::CreateService(spec) if same(spec))
            };
            if swarm.service(&spec.name).is_none() && swarm.writes().iter().any(made) {
                self.breach(Law::Job, format!("{object} runs twice for {}", deployment.id));
            }
            return;
        }
        let applied = deployment.progress.as_ref().is_some_and(|progress| progress.applied_at.is_some())
            && deployment.phase == DeploymentPhase::Verifying;
        let by_itself = matches!(deployment.origin.trigger, Trigger::Drift | Trigger::Adopt);
        let Some(draft) = self.draft(&deployment.version).filter(|_| !applied && !by_itself) else { return };
        for name in draft.hooks.iter().filter(|(_, hook)| !hook.post).map(|(name, _)| name) {
            let run = deployment.jobs.get(&format!("{}_{name}", key.name)).map(|run| run.state);
            if run != Some(JobState::Succeeded) {
                let text = format!("{object} is written for {}, and its job {name} is {run:?}", deployment.id);
                self.breach(Law::Job, text);
            }
        }
        let meddled = self.meddled.get(&key.environment).is_some_and(|at| self.ago(*at) < SignedDuration::from_mins(6));
        let service = object.name.strip_prefix(&format!("{}_", key.name)).unwrap_or_default();
        let Some(on) = draft.waits.get(service).filter(|_| !meddled && !self.is_blurred(&key.environment)) else {
            return;
        };
        let Some(part) = draft.services.get(on) else { return };
        let ran = swarm.tasks_of(&format!("{}_{on}", key.name)).iter().any(|task| {
            task.spec.container_spec.image == part.image && (task.state == TaskState::Running || task.state.is_over())
        });
        if !ran {
            self.breach(Law::Job, format!("{object} is written for {} before {on} has run", deployment.id));
        }
    }

    /// A run is removed when it is over, or its deployment is.
    fn run_is_removed(&mut self, object: &ObjectRef, id: &str, labels: &BTreeMap<String, String>) {
        if self.foreign.contains(id) || labels.get(INSTANCE_LABEL) != Some(&self.instance) {
            return self.breach(Law::Foreign, format!("the foreign {object} is removed"));
        }
        let stack = labels.get(STACK_LABEL).and_then(|text| key(text));
        let leaving = stack.and_then(|key| self.stacks.get(&key)).is_none_or(|stack| stack.control.deletion.is_some());
        let deployment = labels.get(DEPLOYMENT_LABEL).map(|id| DeploymentId(id.clone()));
        let goes_on = deployment.and_then(|id| self.deployments.get(&id)).is_some_and(|it| {
            let run = it.jobs.get(&object.name).is_some_and(|run| run.state.is_under_way());
            run && !it.phase.is_terminal() && it.phase != DeploymentPhase::RollingBack
        });
        if goes_on && !leaving {
            self.breach(Law::Job, format!("{object} is removed while it runs for a deployment under way"));
        }
    }

    /// The one write that follows a convergence: the file's own update config, after a rollback had another.
    fn puts_pace_back(&self, key: &StackKey, deployment: &Deployment, effect: &Effect) -> bool {
        let back = deployment.phase == DeploymentPhase::Converged && deployment.origin.trigger == Trigger::Rollback;
        let Effect::UpdateService { spec, .. } = effect else { return false };
        let Some(live) = self.swarms.get(&key.environment).and_then(|swarm| swarm.service(&spec.name)) else {
            return false;
        };
        let paced = ServiceSpec { update_config: spec.update_config.clone(), ..live.spec.clone() };
        back && canonical(&paced) == canonical(spec)
    }

    /// While a pin stands, no other version is brought about.
    fn behind_pin(&mut self, key: &StackKey, deployment: &Deployment, object: &ObjectRef) {
        let Some(pin) = self.stacks.get(key).and_then(|stack| stack.control.pin.clone()) else { return };
        let other = deployment.id != pin.deployment
            && !matches!(deployment.origin.trigger, Trigger::Rollback | Trigger::Drift)
            && deployment.rollback_of.is_none();
        let stands = pin.until.is_none_or(|until| until > self.now());
        // A pin is tried again as a new deployment when an outage failed it.
        let same = self.origin(&deployment.version)
            == self.deployments.get(&pin.deployment).and_then(|it| self.origin(&it.version));
        if other && stands && !same && self.ago(pin.since) > UNDER_WAY {
            self.breach(Law::Told, format!("{object} is written for {} while {key} is pinned", deployment.id));
        }
    }

    /// What is about to be written was written down as doubtful before.
    fn is_doubted(&self, key: &StackKey, deployment: &Deployment, effect: &Effect, object: &ObjectRef) -> bool {
        if let Effect::UpdateService { .. } = effect {
            let services = deployment.progress.as_ref().map(|progress| &progress.services);
            let known = services.and_then(|services| services.get(&object.name));
            return known.is_some_and(|known| known.written != Written::Unchanged);
        }
        self.statuses.get(key).is_some_and(|status| status.inventory.0.contains_key(object))
    }

    /// What goes is owned, is in no version that is in force, and is not too much at once.
    fn removal(&mut self, object: &ObjectRef, id: &str, labels: &BTreeMap<String, String>, data: &[u8]) {
        // What was taken over has no label of Skep's: the inventory alone says whose it is.
        let adopted = self.adopted_by(object, id).filter(|_| !labels.contains_key(INSTANCE_LABEL));
        let own = labels.get(INSTANCE_LABEL) == Some(&self.instance) || adopted.is_some();
        if self.foreign.contains(id) || !own {
            return self.breach(Law::Foreign, format!("the foreign {object} is removed"));
        }
        let Some(key) = labels.get(STACK_LABEL).and_then(|text| key(text)).or(adopted) else {
            return self.breach(Law::Foreign, format!("{object} is removed, which is no stack's"));
        };
        let Some(stack) = self.stacks.get(&key).filter(|stack| stack.control.deletion.is_none()).cloned() else {
            return;
        };
        let good = self.statuses.get(&key).and_then(|status| status.last_good.clone());
        let Some(good) = good.and_then(|good| self.deployments.get(&good.version.deployment)) else {
            return self.breach(Law::Evidence, format!("{object} is removed, and no version of {key} has converged"));
        };
        let Some(draft) = self.draft(&good.version) else { return };
        if needs(&key.name, &draft, object, data) {
            return self
                .breach(Law::Evidence, format!("{object} is removed, which the last good version of {key} needs"));
        }
        if draft.services.is_empty() {
            return self
                .breach(Law::Evidence, format!("{object} is removed for a version of {key} without any service"));
        }
        self.not_too_much(&key, &stack, &draft, object);
    }

    /// The stack that a person had take this object over.
    fn adopted_by(&self, object: &ObjectRef, id: &str) -> Option<StackKey> {
        let owns =
            |status: &StackStatus| status.inventory.0.get(object).is_some_and(|entry| entry.id.as_deref() == Some(id));
        let (key, _) = self.statuses.iter().find(|(_, status)| owns(status))?;
        self.stacks.get(key)?.control.adoption.as_ref().map(|_| key.clone())
    }

    /// More than one service and more than half of them go only when a person asked for that version.
    fn not_too_much(&mut self, key: &StackKey, stack: &Stack, draft: &Draft, object: &ObjectRef) {
        if object.kind != ObjectKind::Service {
            return;
        }
        let attempt = self.statuses.get(key).and_then(|status| status.attempt.clone());
        let Some(attempt) = attempt.and_then(|attempt| self.deployments.get(&attempt.id)).cloned() else { return };
        let asked = matches!(attempt.origin.trigger, Trigger::Api | Trigger::Rest | Trigger::Adopt | Trigger::Rollback);
        let mut owned = self.owned(key);
        owned.retain(|object| object.kind == ObjectKind::Service);
        let wanted = |owned: &ObjectRef| draft.services.keys().any(|name| format!("{}_{name}", key.name) == owned.name);
        let surplus = owned.iter().filter(|owned| !wanted(owned)).count();
        let (surplus, all) = *self.pruned.entry(attempt.id.clone()).or_insert((surplus, owned.len()));
        if !asked && Self::follows_git(stack) && surplus > 1 && surplus * 2 > all {
            let text =
                format!("{object}: {surplus} of {all} services of {key} are removed, and no person asked for that");
            self.breach(Law::Evidence, text);
        }
    }
}

/// Reads `environment/name`.
fn key(text: &str) -> Option<StackKey> {
    let (environment, name) = text.split_once('/')?;
    Some(StackKey { environment: EnvironmentName::parse(environment).ok()?, name: StackName::parse(name).ok()? })
}

/// Whether a version needs this object.
fn needs(stack: &StackName, draft: &Draft, object: &ObjectRef, data: &[u8]) -> bool {
    let uses = !draft.services.is_empty();
    match object.kind {
        ObjectKind::Service => draft.services.keys().any(|name| object.name == format!("{stack}_{name}")),
        ObjectKind::Config => uses && draft.setting.is_some_and(|setting| Draft::content(setting).as_bytes() == data),
        ObjectKind::Secret => uses && draft.secret,
        ObjectKind::Network => uses && object.name == format!("{stack}_default"),
    }
}
