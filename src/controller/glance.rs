//! A stack at rest is only glanced at when its time comes round: if every fact its last look rested on is the same, a
//! whole look would decide the same.
//!
//! Only for looks that nobody asked for ([`Priority::Resync`](super::queue::Priority)): whoever knows of a change asks for
//! one as an event. A round glances at all stacks one after the other, and only those that have changed are queued. The
//! periodic resync forgets what is noted here, so that every stack gets a whole look then.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::environment::Observed;
use super::pass::Pass;
use crate::domain::{Claim, ObjectKind, ObjectRef, Snapshot, StackKey, Tasks};
use crate::ledger::{Ledger, LedgerError, RecordKey};

/// The stacks of one environment that are at rest, with the facts of their last look.
#[derive(Debug, Default)]
pub(super) struct AtRest(Mutex<HashMap<StackKey, Arc<Rest>>>);

#[derive(Debug)]
struct Rest {
    stack: u64,
    status: Option<u64>,
    objects: Box<[ObjectRef]>,
    /// Of what the engine said: the objects' ids and versions, their tasks, who holds the claim.
    live: u64,
}

impl AtRest {
    fn all(&self) -> MutexGuard<'_, HashMap<StackKey, Arc<Rest>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the facts of a look after which nothing was left to do or to wait for.
    pub(super) fn note(&self, pass: &Pass<'_>) {
        let objects: Box<[ObjectRef]> = pass.status.inventory.0.keys().cloned().collect();
        match Glance::at(&pass.environment) {
            Some(glance) => {
                let live = glance.live(&objects);
                let (stack, status) = pass.revisions();
                self.all().insert(pass.key().clone(), Arc::new(Rest { stack, status, objects, live }));
            }
            None => self.forget(pass.key()),
        }
    }

    /// Forgets one stack.
    pub(super) fn forget(&self, key: &StackKey) {
        self.all().remove(key);
    }

    /// Forgets all of them: each gets a whole look the next time.
    pub(super) fn clear(&self) {
        self.all().clear();
    }

    /// Whether nothing that the last look of a stack rested on has changed.
    ///
    /// # Errors
    /// [`LedgerError`] when the records cannot be read.
    pub(super) fn holds(&self, glance: &Glance, ledger: &Ledger, key: &StackKey) -> Result<bool, LedgerError> {
        let Some(rest) = self.all().get(key).cloned() else { return Ok(false) };
        Ok(glance.live(&rest.objects) == rest.live
            && ledger.revision_of(&RecordKey::Stack(key.clone()))? == Some(rest.stack)
            && ledger.revision_of(&RecordKey::Status(key.clone()))? == rest.status)
    }
}

/// What the engine says of an environment at one moment.
pub(super) struct Glance {
    epoch: u64,
    snapshot: Arc<Snapshot>,
    tasks: Arc<Tasks>,
}

impl Glance {
    /// `None` while the engine says nothing, or another Skep holds the environment.
    pub(super) fn at(environment: &Observed) -> Option<Self> {
        if !environment.is_connected() {
            return None;
        }
        let Claim::Ours(epoch) = environment.claim() else { return None };
        Some(Self { epoch, snapshot: environment.snapshot(), tasks: environment.tasks.newest() })
    }

    /// A digest, for this process alone, of what is said of these objects.
    fn live(&self, objects: &[ObjectRef]) -> u64 {
        let mut digest = DefaultHasher::new();
        self.epoch.hash(&mut digest);
        for object in objects {
            let name = object.name.as_str();
            let found = match object.kind {
                ObjectKind::Network => self.snapshot.networks.get(name).map(|live| (&live.id, 0)),
                ObjectKind::Config => self.snapshot.configs.get(name).map(|live| (&live.id, live.version.0)),
                ObjectKind::Secret => self.snapshot.secrets.get(name).map(|live| (&live.id, live.version.0)),
                ObjectKind::Service => self.snapshot.services.get(name).map(|live| (&live.id, live.version.0)),
            };
            found.hash(&mut digest);
            let of_service = found.filter(|_| object.kind == ObjectKind::Service);
            for task in of_service.and_then(|(id, _)| self.tasks.by_service.get(id)).into_iter().flatten() {
                (&task.id, task.state, task.desired).hash(&mut digest);
            }
        }
        digest.finish()
    }
}
