//! The end of a stack: what it owns is removed, its tasks are waited for, and then its records go. Volumes stay.

use jiff::SignedDuration;

use super::pass::{Next, Pass, PassError};
use super::snapshot::Wrote;
use crate::domain::{
    ConditionStatus as Is, ConditionType as Kind, Course, Deletion, DeploymentPhase as Phase, Desired, EventType,
    Inventory, Reason,
};
use crate::plan::{PlanInput, Prune, is_protected, plan};
use crate::ports::{SwarmError, TaskFilter};

/// What the log says at the end.
const GONE: &str = "everything the stack owned is gone; volumes stay";

/// How far a removal has come.
enum Removal {
    /// Nothing is left but what these say.
    Done(Vec<String>),
    /// It goes on in a moment; what it waits for, if that is not just the end of its tasks.
    Waits(Option<String>),
}

impl Pass<'_> {
    /// Takes the next steps of a deletion. `None`: the stack is gone.
    pub(super) async fn delete(&mut self, deletion: &Deletion) -> Result<Option<Next>, PassError> {
        self.shared.sources.leave(self.key());
        self.shared.repositories.leave(self.key());
        self.environment.tasks.leave(&self.stack.key);
        let under_way = self.under_way()?;
        self.end_all(None, None, Phase::Cancelled, "the stack is being deleted")?;
        self.keep_output_of_left(under_way).await?;
        self.adopt_ids();
        if deletion.release {
            return self.release(&deletion.actor.name).await;
        }
        let keep_running = deletion.keep_running && !planted!("a deletion keeps nothing running");
        if keep_running {
            return self.gone("the stack is forgotten; what it owned keeps running").await;
        }
        if planted!("a deletion removes nothing") || self.status.inventory == Inventory::default() {
            return self.gone(GONE).await;
        }
        let text = format!("{} asked for its deletion", deletion.actor.name);
        self.waiting = Some((Reason::Deleting, text.clone()));
        self.say(Kind::Ready, Is::False, Reason::Deleting, text);
        if !self.may_write() {
            return Ok(Some(Next::Idle));
        }
        self.checkpoint().await?;
        match self.remove_all().await? {
            Removal::Done(left) if left.is_empty() => self.gone(GONE).await,
            Removal::Done(left) => self.gone(&format!("{GONE}, but: {}", left.join("; "))).await,
            Removal::Waits(None) => self.soon(),
            Removal::Waits(Some(why)) => {
                self.waiting = Some((Reason::Deleting, why.clone()));
                self.say(Kind::Ready, Is::False, Reason::Deleting, why);
                self.soon()
            }
        }
    }

    pub(super) fn soon(&self) -> Result<Option<Next>, PassError> {
        let again = self.shared.ambient.now().checked_add(SignedDuration::from_millis(300)).unwrap_or(self.now);
        Ok(Some(Next::At(again)))
    }

    /// Removes services, then (once their tasks are gone) secrets, configs and networks.
    async fn remove_all(&mut self) -> Result<Removal, PassError> {
        let snapshot = self.environment.snapshot();
        let empty = Desired::empty(self.key().name.clone());
        let deployment = self.stack.deployment.clone();
        let plan = plan(&PlanInput {
            stack: self.key(),
            instance: &self.shared.instance,
            desired: &empty,
            revision: None,
            deployment: &deployment,
            live: &snapshot,
            inventory: &self.status.inventory,
            needed: &std::collections::BTreeSet::new(),
            prune: Prune::Everything,
            pace: crate::plan::Pace::Declared,
            allow_recreate: false,
            adopt: false,
            course: Course::Repair,
            previous: None,
            digester: &self.shared.renderer.digester(),
        });
        let services: Vec<String> = self
            .status
            .inventory
            .0
            .iter()
            .filter(|(object, _)| object.kind == crate::domain::ObjectKind::Service)
            .filter(|(object, _)| {
                !snapshot.services.get(&object.name).is_some_and(|live| is_protected(&live.spec.labels))
            })
            .filter_map(|(_, entry)| entry.id.clone())
            .collect();
        for step in plan.steps {
            match self.environment.swarm.apply(&step.effect, &crate::domain::Material::default()).await {
                Ok(_) => self.environment.wrote(Wrote::Removed(step.object.clone())),
                Err(SwarmError::NotFound { .. }) => self.environment.wrote(Wrote::Removed(step.object.clone())),
                Err(SwarmError::InUse { .. }) => {
                    let why = format!(
                        "{} is still in use: it goes when the last task has ended, and every container of others is off it",
                        step.object
                    );
                    return Ok(Removal::Waits(Some(why)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let left: Vec<String> = plan.waiting.iter().map(ToString::to_string).collect();
        if services.is_empty() {
            return Ok(Removal::Done(left));
        }
        // Asking for the tasks of a service that is gone is an error to the engine: all are listed.
        let tasks = self.environment.swarm.tasks(&TaskFilter::All).await?;
        let end = tasks.iter().any(|task| services.contains(&task.service_id) && !task.state.is_over());
        Ok(if end { Removal::Waits(None) } else { Removal::Done(left) })
    }

    pub(super) async fn gone(&mut self, how: &str) -> Result<Option<Next>, PassError> {
        self.event(EventType::StackDeleted, None, "Deleted", how);
        self.forget().await?;
        self.shared.renditions.forget(&self.stack.key);
        Ok(None)
    }
}
