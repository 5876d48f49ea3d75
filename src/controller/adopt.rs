//! A stack that `docker stack deploy` made is taken over, or handed back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::apply::Carried;
use super::environment::Connection;
use super::pass::{Next, Pass, PassError};
use super::prepare::Prepared;
use super::rendition::Rendition;
use super::snapshot::Wrote;
use crate::domain::{
    ConditionStatus as Is, ConditionType as Kind, Course, Deployment, Desired, Effect, Material, ObjectKind, Reason,
    Snapshot,
};
use crate::plan::{self, Pace, PlanInput, Prune};
use crate::ports::{SwarmError, WatchedKind};

impl Pass<'_> {
    /// Whether what `docker stack deploy` made may be taken over: a person asked for it, and no version has converged
    /// since.
    pub(super) fn is_adopting(&self) -> bool {
        let good = self.status.last_good.as_ref().map(|good| &good.version.deployment);
        let order = self.stack.control.adoption.as_ref();
        order.is_some_and(|order| good.is_none_or(|good| *good < order.deployment))
    }

    /// A version as it was rendered, with the names that adopted configs and secrets keep. An adoption finds those names
    /// on the Swarm first, so it waits until that is known.
    pub(super) fn with_adopted_names(
        &mut self,
        deployment: &Deployment,
        rendition: Arc<Rendition>,
    ) -> Result<Prepared, PassError> {
        if self.is_adopting() && deployment.version.digest.is_none() {
            if !matches!(self.environment.connection(), Connection::Connected(_)) {
                self.may_write();
                return Ok(match self.wait_to_write(deployment.clone())? {
                    Carried::Wait(next) => Prepared::Wait(next),
                    Carried::All | Carried::Ended => Prepared::Ended,
                });
            }
            let live = self.environment.snapshot();
            self.find_adopted_names(&rendition.desired, &live);
        }
        let named = self.named(&rendition);
        if let Some(named) = &named {
            self.shared.renditions.put(self.key(), &deployment.id, named.clone());
        }
        Ok(Prepared::Ready(named.unwrap_or(rendition)))
    }

    /// Remembers the names under which the Swarm has what the version wants.
    pub(super) fn find_adopted_names(&mut self, desired: &Desired, live: &Snapshot) {
        let rotate = self.stack.control.adoption.as_ref().is_some_and(|order| order.rotate_secrets);
        let found = plan::adopted_names(self.key(), desired, live, rotate);
        let names = &mut self.status.adopted;
        if rotate {
            names.secrets.clear();
        }
        names.configs.extend(found.configs);
        names.secrets.extend(found.secrets);
    }

    /// A version under its adopted names; `None` when it has none.
    pub(super) fn named(&self, rendition: &Rendition) -> Option<Arc<Rendition>> {
        if self.status.adopted.is_empty() {
            return None;
        }
        let mut named = rendition.clone();
        self.status.adopted.give(&mut named.desired, &mut named.material);
        named.digest = named.desired.digest(&self.shared.renderer.digester());
        Some(Arc::new(named))
    }

    /// Objects whose create had an unknown outcome, and which are there with our labels, get their ids.
    pub(super) fn adopt_ids(&mut self) {
        let snapshot = self.environment.snapshot();
        let (instance, key) = (self.shared.instance.as_str(), self.stack.key.clone());
        // Somebody else may have made one of the same name meanwhile.
        let ours = |labels: &BTreeMap<String, String>| {
            plan::is_marked(labels, instance, &key) || planted!("what has our name is ours")
        };
        for (object, entry) in self.status.inventory.0.iter_mut().filter(|(_, entry)| entry.id.is_none()) {
            let name = object.name.as_str();
            entry.id = match object.kind {
                ObjectKind::Network => snapshot.networks.get(name).map(|live| (&live.labels, &live.id)),
                ObjectKind::Config => snapshot.configs.get(name).map(|live| (&live.labels, &live.id)),
                ObjectKind::Secret => snapshot.secrets.get(name).map(|live| (&live.labels, &live.id)),
                ObjectKind::Service => snapshot.services.get(name).map(|live| (&live.spec.labels, &live.id)),
            }
            .filter(|(labels, _)| ours(labels))
            .map(|(_, id)| id.clone());
        }
    }

    /// Hands the stack back: Skep's labels go from what it owns, then its records. `None`: it is done.
    pub(super) async fn release(&mut self, actor: &str) -> Result<Option<Next>, PassError> {
        let text = format!("{actor} asked to hand it back");
        self.waiting = Some((Reason::Deleting, text.clone()));
        self.say(Kind::Ready, Is::False, Reason::Deleting, text);
        if !self.may_write() {
            return Ok(Some(Next::Idle));
        }
        self.checkpoint().await?;
        let steps = self.steps_of_release();
        if steps.is_empty() {
            return self.gone("the stack is handed back; what it owned keeps running").await;
        }
        for effect in steps {
            match self.environment.swarm.apply(&effect, &Material::default()).await {
                Ok(_) => {
                    if let Effect::UpdateService { id, spec, .. } = effect {
                        self.environment.wrote(Wrote::Service(Box::new(spec), id));
                    }
                }
                // It is not as it was seen: the next look begins anew.
                Err(SwarmError::Conflict { .. } | SwarmError::NotFound { .. }) => break,
                Err(error) => return Err(error.into()),
            }
        }
        for kind in [WatchedKind::Config, WatchedKind::Secret, WatchedKind::Service] {
            self.environment.list(kind).await?;
        }
        self.soon()
    }

    fn steps_of_release(&self) -> Vec<Effect> {
        let steps = plan::release(&PlanInput {
            stack: self.key(),
            instance: &self.shared.instance,
            desired: &Desired::empty(self.key().name.clone()),
            revision: None,
            deployment: &self.stack.deployment,
            live: &self.environment.snapshot(),
            inventory: &self.status.inventory,
            needed: &BTreeSet::new(),
            prune: Prune::Never,
            pace: Pace::Declared,
            allow_recreate: false,
            adopt: false,
            course: Course::Repair,
            previous: None,
            digester: &self.shared.renderer.digester(),
        });
        steps.into_iter().map(|step| step.effect).collect()
    }
}
