//! Which stack to look at next. Level-triggered: an entry says *that* something may have changed, never what.
//!
//! - A key waits at most once. Adding it again keeps the earlier time and the higher priority.
//! - A key is never handed out twice at a time. One that is added while it is being worked on waits until it is done.
//! - Of the keys that are due, the higher priority goes first, then the one that has been due for longest.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::domain::StackKey;

/// How urgent a look is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Priority {
    /// Its time came round.
    Resync,
    /// The engine, the source or a timer says so.
    Event,
    /// A person changed something.
    Person,
}

/// A key whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taken {
    /// The key.
    pub key: StackKey,
    /// How urgent it is.
    pub priority: Priority,
    /// How long it has been due.
    pub waited: Duration,
}

/// How many keys there are, by where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Due, and not taken yet.
    pub due: usize,
    /// To be looked at later.
    pub later: usize,
    /// Being worked on.
    pub at_work: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Every key that waits, at work or not.
    waiting: BTreeMap<StackKey, (Instant, Priority)>,
    at_work: BTreeSet<StackKey>,
    /// Of those that wait and are not at work: the ones that are due, in the order in which they go, ...
    due: BTreeSet<(Reverse<Priority>, Instant, StackKey)>,
    /// ... and the others, by time. A key's place here or there is found by what `waiting` says of it.
    later: BTreeSet<(Instant, StackKey)>,
}

impl State {
    /// Gives a waiting key its place among those that can be taken.
    fn place(&mut self, key: &StackKey) {
        if let Some((at, _)) = self.waiting.get(key)
            && !self.at_work.contains(key)
        {
            self.later.insert((*at, key.clone()));
        }
    }

    /// Takes a waiting key from its place.
    fn displace(&mut self, key: &StackKey) {
        if let Some((at, priority)) = self.waiting.get(key)
            && !self.later.remove(&(*at, key.clone()))
        {
            self.due.remove(&(Reverse(*priority), *at, key.clone()));
        }
    }

    fn add(&mut self, key: &StackKey, at: Instant, priority: Priority) {
        self.displace(key);
        let entry = self.waiting.entry(key.clone()).or_insert((at, priority));
        *entry = (entry.0.min(at), entry.1.max(priority));
        self.place(key);
    }

    fn take(&mut self, now: Instant) -> Result<Taken, Option<Instant>> {
        while let Some((at, _)) = self.later.first()
            && *at <= now
            && let Some((at, key)) = self.later.pop_first()
        {
            let priority = self.waiting.get(&key).map_or(Priority::Resync, |(_, priority)| *priority);
            self.due.insert((Reverse(priority), at, key));
        }
        let Some((Reverse(priority), at, key)) = self.due.pop_first() else {
            return Err(self.later.first().map(|(at, _)| *at));
        };
        self.waiting.remove(&key);
        self.at_work.insert(key.clone());
        Ok(Taken { key, priority, waited: now.saturating_duration_since(at) })
    }

    fn done(&mut self, key: &StackKey) {
        if self.at_work.remove(key) {
            self.place(key);
        }
    }
}

/// The queue of one environment.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Asks for a look at `key` at `at`.
    pub(super) fn add(&self, key: &StackKey, at: Instant, priority: Priority) {
        self.state().add(key, at, priority);
        self.changed.notify_one();
    }

    /// Waits for the next key that is due, and takes it. It must be given back with [`Queue::done`].
    pub(super) async fn next(&self) -> Taken {
        loop {
            let changed = self.changed.notified();
            let soonest = match self.state().take(Instant::now()) {
                Ok(taken) => return taken,
                Err(soonest) => soonest,
            };
            match soonest {
                Some(at) => {
                    tokio::select! {
                        biased;
                        () = changed => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// Gives a key back.
    pub(super) fn done(&self, key: &StackKey) {
        self.state().done(key);
        self.changed.notify_one();
    }

    /// How many keys there are.
    #[must_use]
    pub(super) fn depth(&self) -> Depth {
        let (state, now) = (self.state(), Instant::now());
        let due = state.due.len() + state.later.iter().take_while(|(at, _)| *at <= now).count();
        let later = (state.due.len() + state.later.len()).saturating_sub(due);
        Depth { due, later, at_work: state.at_work.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EnvironmentName, StackName};

    fn key(name: &str) -> StackKey {
        StackKey { environment: EnvironmentName::default(), name: StackName::parse(name).expect("a name") }
    }

    #[tokio::test(start_paused = true)]
    async fn adding_again_keeps_the_earlier_time_and_the_higher_priority() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.add(&key("a"), start + Duration::from_secs(10), Priority::Person);
        queue.add(&key("a"), start + Duration::from_secs(60), Priority::Resync);
        assert_eq!(queue.next().await.key, key("a"));
        assert_eq!(start.elapsed().as_secs(), 10);
        queue.done(&key("a"));
        assert_eq!(queue.depth(), Depth::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_at_work_is_not_handed_out_again_until_it_is_done() {
        let queue = Queue::default();
        queue.add(&key("a"), Instant::now(), Priority::Event);
        let taken = queue.next().await.key;
        queue.add(&key("a"), Instant::now(), Priority::Event);
        assert!(tokio::time::timeout(Duration::from_secs(5), queue.next()).await.is_err());
        queue.done(&taken);
        assert_eq!(queue.next().await.key, key("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_goes_before_an_event_before_a_resync() {
        let queue = Queue::default();
        let now = Instant::now();
        queue.add(&key("a"), now, Priority::Resync);
        queue.add(&key("b"), now, Priority::Event);
        queue.add(&key("c"), now, Priority::Person);
        let mut order = Vec::new();
        for _ in 0..3 {
            order.push(queue.next().await.key);
        }
        assert_eq!(order, [key("c"), key("b"), key("a")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_hurried_while_it_waits_goes_by_its_new_place() {
        let queue = Queue::default();
        let now = Instant::now();
        queue.add(&key("a"), now, Priority::Resync);
        queue.add(&key("b"), now, Priority::Resync);
        queue.add(&key("c"), now + Duration::from_secs(60), Priority::Resync);
        // All that is due has been looked at once, so that these have a place among it.
        let first = queue.next().await.key;
        queue.add(&key("b"), now, Priority::Person);
        queue.add(&key("c"), now, Priority::Event);
        queue.add(&key("a"), now, Priority::Resync);
        queue.done(&first);
        let mut order = Vec::new();
        for _ in 0..3 {
            order.push(queue.next().await.key);
        }
        assert_eq!((first, order.as_slice()), (key("a"), [key("b"), key("c"), key("a")].as_slice()));
        assert!(tokio::time::timeout(Duration::from_secs(90), queue.next()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_tells_how_long_it_has_been_due_and_where_it_stands() {
        let queue = Queue::default();
        let now = Instant::now();
        queue.add(&key("a"), now + Duration::from_secs(2), Priority::Event);
        queue.add(&key("b"), now + Duration::from_secs(60), Priority::Event);
        assert_eq!(queue.depth(), Depth { due: 0, later: 2, at_work: 0 });
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(queue.depth(), Depth { due: 1, later: 1, at_work: 0 });
        assert_eq!(queue.next().await.waited, Duration::from_secs(3));
        assert_eq!(queue.depth(), Depth { due: 0, later: 1, at_work: 1 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_is_woken_by_an_addition() {
        let queue = std::sync::Arc::new(Queue::default());
        let waiter = tokio::spawn({
            let queue = queue.clone();
            async move { queue.next().await.key }
        });
        tokio::task::yield_now().await;
        queue.add(&key("a"), Instant::now(), Priority::Event);
        assert_eq!(waiter.await.expect("no panic"), key("a"));
    }
}
