//! What may be committed, by whom, and how records may move.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::super::draft::{Flaw, Part};
use super::super::gate::Writer;
use super::{Law, State};
use crate::domain::{
    Actor, Deployment, DeploymentId, DeploymentPhase as Phase, FailureClass, INSTANCE_LABEL, JobState, ObjectKind,
    ObjectRef, PROTECT_LABEL, STACK_LABEL, ServiceSpec, Source, Stack, StackKey, StackStatus, Task, TaskState, Trigger,
};
use crate::ledger::{RecordKey, read};
use crate::ports::{Transaction, Write};

/// A listing of tasks is this old at most when it is judged by.
const LISTING: SignedDuration = SignedDuration::from_secs(3);
/// The monitor period of all stacks, less what times are rounded by.
const MONITOR: SignedDuration = SignedDuration::from_millis(4_500);

impl State {
    pub(super) fn committed(&mut self, writer: Writer, transaction: &Transaction) {
        let mut deployments = Vec::new();
        let mut statuses: Vec<(StackKey, StackStatus)> = Vec::new();
        let mut keyed = false;
        // What a catalog's repository says is declared by the controller's hand.
        let of_catalog = |write: &Write| matches!(write, Write::Put { key, .. } if matches!(RecordKey::parse(key), RecordKey::CatalogStatus(_)));
        let by_catalog = transaction.writes.iter().any(of_catalog);
        let writer = if by_catalog { Writer::Api } else { writer };
        for write in &transaction.writes {
            let (key, value) = match write {
                Write::Put { key, value } => (key.clone(), Some(value)),
                Write::Append { log, value } => (log.clone(), Some(value)),
                Write::Delete { key } => (key.clone(), None),
            };
            if self.finds_marker(key.as_bytes()) || value.is_some_and(|value| self.finds_marker(value)) {
                self.breach(Law::Secret, format!("the value of a secret is in the record `{key}`"));
            }
            let parsed = RecordKey::parse(&key);
            match (&parsed, value) {
                (RecordKey::Stack(key), Some(value)) => match read::<Stack>(&parsed, value) {
                    Ok(stack) => self.stack(writer, key, stack),
                    Err(error) => self.breach(Law::Record, error.to_string()),
                },
                (RecordKey::Stack(key), None) => self.stack_gone(writer, key),
                (RecordKey::Status(key), Some(value)) => match read::<StackStatus>(&parsed, value) {
                    Ok(status) => statuses.push((key.clone(), status)),
                    Err(error) => self.breach(Law::Record, error.to_string()),
                },
                (RecordKey::Status(key), None) => {
                    statuses.retain(|(of, _)| of != key);
                    self.statuses.remove(key);
                }
                (RecordKey::Deployment(_), Some(value)) => match read::<Deployment>(&parsed, value) {
                    Ok(deployment) => deployments.push(deployment),
                    Err(error) => self.breach(Law::Record, error.to_string()),
                },
                (RecordKey::Deployment(id), None) => self.deployment_gone(id),
                (RecordKey::Once(key), Some(_)) => {
                    keyed = true;
                    if !self.keys.insert(key.clone()) {
                        self.breach(Law::Acknowledged, format!("the request `{key}` was applied twice"));
                    }
                }
                _ => {}
            }
        }
        if writer == Writer::Api && self.keyed && !keyed && !by_catalog && !deployments.is_empty() {
            self.breach(Law::Acknowledged, "a deployment was recorded without the key of its request");
        }
        let before: Vec<_> = deployments
            .into_iter()
            .map(|new| {
                let old = self.deployments.insert(new.id.clone(), new.clone());
                (old, new)
            })
            .collect();
        for (key, status) in statuses {
            self.status(writer, key, status);
        }
        for (old, new) in before {
            self.deployment(writer, old.as_ref(), &new);
        }
        for key in std::mem::take(&mut self.gone) {
            self.left_behind(&key);
        }
    }

    /// Of a stack that is gone nothing goes on, and nothing is left that was not to be.
    fn left_behind(&mut self, key: &StackKey) {
        let open = self.deployments.values().filter(|it| it.stack == *key && !it.phase.is_terminal());
        let mut wrong: Vec<String> =
            open.map(|it| format!("{key} is gone, and {} is still {:?}", it.id, it.phase)).collect();
        let left = self.owned(key).into_iter().filter(|object| !self.left.contains(&(key.clone(), object.clone())));
        wrong.extend(left.map(|object| format!("{key} is gone, and {object} is left")));
        wrong.into_iter().for_each(|text| self.breach(Law::Record, text));
    }

    /// Only the use-cases write what was declared. The controller may take away what has ended by itself.
    fn stack(&mut self, writer: Writer, key: &StackKey, new: Stack) {
        let old = self.stacks.insert(key.clone(), new.clone());
        let Some(old) = old else {
            if writer == Writer::Controller {
                self.breach(Law::Acknowledged, format!("the controller declared {key}"));
            }
            return;
        };
        if old.control.release_token != new.control.release_token {
            self.burnt.retain(|(of, _), _| of != key);
        }
        match writer {
            Writer::Api if new.generation < old.generation || new.generation > old.generation + 1 => {
                let text = format!("{key} went from generation {} to {}", old.generation, new.generation);
                self.breach(Law::Acknowledged, text);
            }
            Writer::Api if new.generation == old.generation && new.spec != old.spec => {
                self.breach(Law::Acknowledged, format!("{key} was changed without a new generation"));
            }
            Writer::Api => {}
            Writer::Controller => {
                let over = |until: Option<jiff::Timestamp>| until.is_some_and(|until| until <= self.now());
                let mut expected = old.clone();
                if old.control.suspension.as_ref().is_some_and(|it| over(it.until)) {
                    expected.control.suspension = None;
                }
                if old.control.pin.as_ref().is_some_and(|it| over(it.until)) {
                    expected.control.pin = None;
                }
                if new != expected {
                    self.breach(Law::Acknowledged, format!("the controller changed what was declared of {key}"));
                }
            }
        }
    }

    /// Only one that ended a month ago, and that its stack does not name any more, may be taken away.
    fn deployment_gone(&mut self, id: &DeploymentId) {
        let Some(old) = self.deployments.remove(id) else { return };
        let month = SignedDuration::from_hours(30 * 24);
        let aged = old.finished_at.is_some_and(|finished| self.now().duration_since(finished) >= month);
        let named = self.stacks.get(&old.stack).is_some_and(|stack| stack.deployment == *id)
            || self
                .statuses
                .get(&old.stack)
                .is_some_and(|status| status.last_good.as_ref().is_some_and(|good| good.version.deployment == *id));
        if !old.phase.is_terminal() || !aged || named {
            self.breach(Law::Acknowledged, format!("{id} was deleted"));
        }
    }

    fn stack_gone(&mut self, writer: Writer, key: &StackKey) {
        let Some(old) = self.stacks.remove(key) else { return };
        self.burnt.retain(|(of, _), _| of != key);
        let all = old.control.deletion.as_ref().is_some_and(|deletion| deletion.keep_running);
        let owned = self.owned(key).into_iter().filter(|object| all || self.has_to_stay(key, object));
        let left: Vec<_> = owned.map(|object| (key.clone(), object)).collect();
        self.left.extend(left);
        if writer == Writer::Api || old.control.deletion.is_none() {
            self.breach(Law::Acknowledged, format!("{key} was deleted, which nobody had asked for"));
        }
        self.gone.push(key.clone());
    }

    fn status(&mut self, writer: Writer, key: StackKey, new: StackStatus) {
        if writer == Writer::Api {
            self.breach(Law::Record, format!("a use-case wrote the status of {key}"));
        }
        let generation = self.stacks.get(&key).map_or(u64::MAX, |stack| stack.generation);
        let old = self.statuses.get(&key);
        let mut wrong = Vec::new();
        if new.observed_generation > generation {
            wrong.push(format!("{key} observed generation {} of {generation}", new.observed_generation));
        }
        if old.map_or(0, |old| old.observed_generation) < new.observed_generation {
            let stack = self.stacks.get(&key);
            let pinned = stack.is_some_and(|stack| stack.control.pin.is_some());
            let declared = stack.and_then(|stack| self.deployments.get(&stack.deployment));
            if !pinned
                && declared
                    .is_some_and(|declared| !declared.phase.is_terminal() && declared.phase != Phase::RollingBack)
            {
                wrong.push(format!("{key} observed generation {}, whose deployment goes on", new.observed_generation));
            }
        }
        if old.is_some_and(|old| old.observed_generation > new.observed_generation) {
            wrong.push(format!("{key} has unseen a generation"));
        }
        if old.is_some_and(|old| old.last_good.is_some()) && new.last_good.is_none() {
            wrong.push(format!("{key} has forgotten its last good version"));
        }
        if let Some(good) = &new.last_good {
            let of = self.deployments.get(&good.version.deployment);
            if of.is_none_or(|of| of.phase != Phase::Converged || of.version.digest != good.version.digest) {
                wrong.push(format!(
                    "the last good version of {key} is of {} which has not converged",
                    good.version.deployment
                ));
            }
        }
        if let Some((object, _)) =
            new.inventory.0.iter().find(|(_, entry)| entry.id.as_ref().is_some_and(|id| self.foreign.contains(id)))
        {
            wrong.push(format!("{key} thinks it owns the foreign {object}"));
        }
        wrong.into_iter().for_each(|text| self.breach(Law::Record, text));
        self.statuses.insert(key, new);
    }

    fn deployment(&mut self, writer: Writer, old: Option<&Deployment>, new: &Deployment) {
        for text in moved_wrongly(old, new) {
            self.breach(Law::Record, format!("deployment {}: {text}", new.id));
        }
        if old.is_none() {
            let by_controller = new.origin.actor == Actor::controller();
            if by_controller != (writer == Writer::Controller) {
                self.breach(
                    Law::Acknowledged,
                    format!("{writer:?} recorded a deployment of {}", new.origin.actor.name),
                );
            }
            let answers = new.rollback_of.as_ref().and_then(|of| self.deployments.get(of));
            if answers.is_some_and(|of| of.rollback_of.is_some()) {
                self.breach(Law::Record, format!("{} rolls a rollback back", new.id));
            }
        }
        let was = old.map(|old| old.phase);
        if new.phase == Phase::Converged && was != Some(Phase::Converged) {
            self.really_runs(new);
        }
        if new.phase == Phase::RolledBack && was != Some(Phase::RolledBack) {
            let back = new.rolled_back_by.as_ref().and_then(|back| self.deployments.get(back));
            if back.is_none_or(|back| back.phase != Phase::Converged) {
                self.breach(Law::Converged, format!("{} is RolledBack, and its rollback has not converged", new.id));
            }
        }
        let failed = matches!(new.phase, Phase::RollingBack | Phase::RolledBack);
        let outage = new.failure.as_ref().is_some_and(|failure| {
            use crate::domain::FailureClass as Class;
            matches!(
                failure.class,
                Class::NodeLost | Class::QuorumLost | Class::EngineUnreachable | Class::SourceUnreachable
            )
        });
        if failed && outage && new.origin.trigger != Trigger::Drift {
            self.breach(Law::Held, format!("{} is blamed for an outage: {:?}", new.id, new.failure));
        }
        if new.phase == Phase::Failed && was != Some(Phase::Failed) {
            self.refused_for_a_reason(new);
        }
        if failed && new.failure.is_none() {
            self.breach(Law::Record, format!("{} has failed and does not say why", new.id));
        }
        self.note_burnt(new);
    }

    /// What is refused before or while it is written has something in its way.
    fn refused_for_a_reason(&mut self, deployment: &Deployment) {
        let refused = deployment.failure.as_ref().is_some_and(|failure| failure.class == FailureClass::Preflight);
        let environment = &deployment.stack.environment;
        let (Some(swarm), Some(draft)) = (self.swarms.get(environment), self.draft(&deployment.version)) else {
            return;
        };
        let in_the_way = draft.services.keys().any(|name| {
            let live = swarm.service(&format!("{}_{name}", deployment.stack.name));
            // A job cannot become a service, and what others own is left alone.
            live.is_some_and(|live| live.spec.labels.get(INSTANCE_LABEL) != Some(&self.instance) || name == "mail")
        });
        let meddled = self.meddled.get(environment).is_some_and(|at| self.ago(*at) < SignedDuration::from_mins(6));
        if refused && !in_the_way && !meddled && draft.flaw == Flaw::None && !self.is_blurred(environment) {
            self.breach(
                Law::Record,
                format!("{} was refused without a reason: {:?}", deployment.id, deployment.message),
            );
        }
    }

    /// A version that was rolled back is not to be tried again, until a person asks for it.
    fn note_burnt(&mut self, deployment: &Deployment) {
        let Some(digest) = deployment.version.digest.clone() else { return };
        let key = (deployment.stack.clone(), digest);
        let person = deployment.origin.actor != Actor::controller();
        let held = self.statuses.get(&deployment.stack).is_some_and(|status| status.is_held(&key.1));
        let failed = deployment.phase == Phase::Failed && deployment.rollback_of.is_none() && held;
        if (deployment.rolled_back_by.is_some() || failed) && deployment.origin.trigger != Trigger::Drift {
            self.burnt.entry(key).or_insert_with(|| deployment.id.clone());
        } else if person && deployment.progress.is_some() {
            self.burnt.remove(&key);
        }
    }

    /// Every wanted task runs what was asked, and has done so through the monitor period.
    fn really_runs(&mut self, deployment: &Deployment) {
        let environment = deployment.stack.environment.clone();
        let meddled = self.meddled.get(&environment).is_some_and(|at| self.ago(*at) < LISTING);
        let (Some(swarm), Some(draft)) = (self.swarms.get(&environment), self.draft(&deployment.version)) else {
            return;
        };
        if meddled || self.is_blurred(&environment) {
            return;
        }
        let mut missing = Vec::new();
        let by_itself = matches!(deployment.origin.trigger, Trigger::Drift | Trigger::Adopt);
        if deployment.progress.is_some() && !by_itself {
            for name in draft.hooks.keys() {
                let run = deployment.jobs.get(&format!("{}_{name}", deployment.stack.name)).map(|run| run.state);
                if run != Some(JobState::Succeeded) {
                    missing.push(format!("its job {name} is {run:?}"));
                }
            }
        }
        for (name, part) in &draft.services {
            let full = format!("{}_{name}", deployment.stack.name);
            let image = swarm.service(&full).map(|live| live.spec.task_template.container_spec.image.clone());
            if image.as_deref() != Some(part.image.as_str()) {
                missing.push(format!("service {full} is {image:?}, not {}", part.image));
                continue;
            }
            if deployment.progress.is_none() {
                // It ran already, and had been proven then.
                continue;
            }
            let tasks = swarm.tasks_of(&full);
            let good = tasks.iter().filter(|task| self.counts(task, part));
            let places: std::collections::BTreeSet<_> = good.map(|task| task.slot).collect();
            if (places.len() as u64) < part.replicas {
                missing.push(format!("{} of {} tasks of {full} run {}", places.len(), part.replicas, part.image));
            }
        }
        if !missing.is_empty() {
            self.breach(Law::Converged, format!("{} is Converged, and {}", deployment.id, missing.join("; ")));
        }
    }

    fn counts(&self, task: &Task, part: &Part) -> bool {
        let since = task.state_since.map_or(SignedDuration::MAX, |since| self.ago(since));
        let just_now = task.state.is_over() && since < LISTING;
        let runs = match part.job {
            true => task.state == TaskState::Complete,
            false => task.state == TaskState::Running && since >= MONITOR,
        };
        task.spec.container_spec.image == part.image && (runs || just_now)
    }

    /// Objects on the Swarm that say they are this stack's.
    pub(super) fn owned(&self, key: &StackKey) -> Vec<ObjectRef> {
        let Some(swarm) = self.swarms.get(&key.environment) else { return Vec::new() };
        let kinds = [ObjectKind::Network, ObjectKind::Config, ObjectKind::Secret, ObjectKind::Service];
        let all = kinds
            .into_iter()
            .flat_map(|kind| swarm.names(kind).into_iter().map(move |name| ObjectRef::new(kind, name)));
        let ours = |object: &ObjectRef| {
            let labels = swarm.labels_of(object).map(|(_, labels, _)| labels).unwrap_or_default();
            labels.get(STACK_LABEL) == Some(&key.to_string()) && labels.get(INSTANCE_LABEL) == Some(&self.instance)
        };
        all.filter(ours).collect()
    }

    /// What a deletion leaves: what is protected, and what a service that stays uses.
    fn has_to_stay(&self, key: &StackKey, object: &ObjectRef) -> bool {
        let Some(swarm) = self.swarms.get(&key.environment) else { return false };
        let protected = |labels: &BTreeMap<String, String>| labels.get(PROTECT_LABEL).is_some_and(|it| it == "true");
        if swarm.labels_of(object).is_some_and(|(_, labels, _)| protected(&labels)) {
            return true;
        }
        let services = swarm.names(ObjectKind::Service).into_iter().filter_map(|name| swarm.service(&name));
        let stays =
            |spec: &ServiceSpec| protected(&spec.labels) || spec.labels.get(STACK_LABEL) != Some(&key.to_string());
        services.filter(|live| stays(&live.spec)).any(|live| {
            let task = &live.spec.task_template;
            match object.kind {
                ObjectKind::Network => task.networks.iter().any(|used| used.target == object.name),
                ObjectKind::Config => task.container_spec.configs.iter().any(|used| used.config_name == object.name),
                ObjectKind::Secret => task.container_spec.secrets.iter().any(|used| used.secret_name == object.name),
                ObjectKind::Service => false,
            }
        })
    }

    /// Whether a stack's files come from a repository.
    pub(super) fn follows_git(stack: &Stack) -> bool {
        matches!(stack.spec.source, Source::Git(_))
    }
}

/// How a deployment's record has moved and may not.
fn moved_wrongly(old: Option<&Deployment>, new: &Deployment) -> Vec<String> {
    let mut wrong = Vec::new();
    if new.phase.is_terminal() != new.finished_at.is_some() {
        wrong.push(format!("{:?}, and finished at {:?}", new.phase, new.finished_at));
    }
    let Some(old) = old else { return wrong };
    let fixed = old.stack == new.stack
        && old.generation == new.generation
        && old.origin == new.origin
        && old.rollback_of == new.rollback_of
        && old.created_at == new.created_at
        && old.version.source == new.version.source;
    if !fixed {
        wrong.push("what was asked has changed".to_owned());
    }
    if old.version.revision.is_some() && old.version.revision != new.version.revision {
        wrong.push("its commit has changed".to_owned());
    }
    if old.version.digest.is_some() && old.version.digest != new.version.digest {
        wrong.push("its version has changed".to_owned());
    }
    for (name, run) in old.jobs.iter().filter(|(_, run)| !run.state.is_under_way()) {
        if new.jobs.get(name) != Some(run) {
            wrong.push(format!("its job {name} was over, and is something else now"));
        }
    }
    if old.phase.is_terminal() && old.phase != new.phase {
        wrong.push(format!("it was {:?} and is {:?} now", old.phase, new.phase));
    }
    wrong
}
