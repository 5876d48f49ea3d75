//! Many stacks that one push is about do not all go to work at once: the first does, the others follow, so that engine, registry
//! and nodes are not asked for everything in the same moment. One alone is never kept waiting, and neither is what a person
//! asks for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::queue::Priority;
use super::shared::Environments;
use super::sources::Wake;
use crate::domain::{Deployment, Event, StackKey, Trigger, Way};
use crate::ledger::{Note, RecordKey, read};

/// So long after each other they go to work, ...
const STEP: Duration = Duration::from_millis(250);
/// ... and all of them within this time.
const WINDOW: Duration = Duration::from_secs(30);

/// How long after each other so many go to work.
pub(super) fn step(count: usize) -> Duration {
    STEP.min(WINDOW / u32::try_from(count.max(1)).unwrap_or(u32::MAX))
}

impl Environments {
    /// Has stacks looked at that what they follow has moved for.
    pub(super) fn waker(self: &Arc<Self>) -> Wake {
        let environments = self.clone();
        Box::new(move |keys| environments.wake_spread(keys))
    }

    /// Asks for a look at all of these, one after the other.
    pub(super) fn wake_spread(&self, keys: &[StackKey]) {
        let step = step(keys.len());
        let mut at = Instant::now();
        for key in keys {
            if let Some(environment) = self.get(&key.environment) {
                environment.queue.add(key, at, Priority::Event);
            }
            at += step;
        }
    }
}

/// The stacks that a transaction changed because of one push: a hook's delivery, or a commit of a catalog. None when there is
/// one stack alone, or somebody asked for it.
pub(super) fn of_one_push(note: &Note) -> Vec<StackKey> {
    let changed = note.records.iter().filter_map(|(key, value)| match key {
        RecordKey::Stack(key) if value.is_some() => Some(key.clone()),
        _ => None,
    });
    let stacks: Vec<StackKey> = changed.collect();
    if stacks.len() < 2 {
        return Vec::new();
    }
    let mut pushed = BTreeSet::new();
    for (key, value) in &note.records {
        let Some(bytes) = value else { continue };
        match key {
            RecordKey::Deployment(_) => {
                let found = read::<Deployment>(key, bytes).ok();
                let push = |it: &Deployment| matches!(it.origin.trigger, Trigger::Hook | Trigger::Catalog);
                pushed.extend(found.filter(push).map(|it| it.stack));
            }
            RecordKey::Event(_) => {
                let event = read::<Event>(key, bytes).ok().filter(|event| event.via == Some(Way::Hook));
                let stack = event.and_then(|event| Some((event.environment, event.stack?)));
                pushed.extend(stack.map(|(environment, name)| StackKey { environment, name }));
            }
            _ => {}
        }
    }
    stacks.into_iter().filter(|key| pushed.contains(key)).collect()
}
