//! Who waits for whom: stacks that are woken when a stack they depend on changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::StackKey;

/// The stacks that wait, by the stack they wait for.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<BTreeMap<StackKey, BTreeSet<StackKey>>>);

impl Waiting {
    fn all(&self) -> MutexGuard<'_, BTreeMap<StackKey, BTreeSet<StackKey>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `who` waits for these now, and for no other.
    pub(super) fn wait(&self, who: &StackKey, whom: impl Iterator<Item = StackKey>) {
        self.done(who);
        let mut all = self.all();
        for stack in whom {
            all.entry(stack).or_default().insert(who.clone());
        }
    }

    /// `who` waits no more.
    pub(super) fn done(&self, who: &StackKey) {
        self.all().retain(|_, waiting| {
            waiting.remove(who);
            !waiting.is_empty()
        });
    }

    /// Those that wait for this stack.
    pub(super) fn of(&self, stack: &StackKey) -> Vec<StackKey> {
        self.all().get(stack).into_iter().flatten().cloned().collect()
    }
}
