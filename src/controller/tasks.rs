//! Tasks have no events. While any deployment of an environment is under way its tasks are listed once for all of them,
//! at most every 250 ms, or every two seconds when all of them only bake; otherwise only when a resync asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::environment::Observed;
use super::queue::{Priority, Queue};
use crate::domain::{StackKey, Task, Tasks};
use crate::ports::TaskFilter;

/// The shortest time between two listings.
const PERIOD: Duration = Duration::from_millis(250);
/// The same while everything under way only bakes: it has run well for a while.
const BAKING: Duration = Duration::from_secs(2);
/// Up to so many services are asked for by id; beyond, all tasks are listed.
const BY_ID: usize = 50;

#[derive(Debug, Default)]
struct State {
    newest: Arc<Tasks>,
    /// Stacks with a deployment under way.
    followers: BTreeMap<StackKey, Follower>,
    /// A listing of all is asked for.
    asked: bool,
}

#[derive(Debug)]
struct Follower {
    /// Ids of its services.
    services: BTreeSet<String>,
    /// It waits for a listing that was asked for after this time, whatever it holds.
    newer_than: Option<Timestamp>,
    /// It only bakes.
    bakes: bool,
}

/// The tasks of one environment.
#[derive(Debug, Default)]
pub(super) struct TaskWatch {
    state: Mutex<State>,
    changed: Notify,
}

impl TaskWatch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest listing.
    pub(super) fn newest(&self) -> Arc<Tasks> {
        self.state().newest.clone()
    }

    /// Lists this stack's tasks from now on, until [`TaskWatch::leave`]. The stack is woken when they change, and by the
    /// first listing asked for after `newer_than`. One that only bakes does not hurry.
    pub(super) fn follow(
        &self,
        key: &StackKey,
        services: BTreeSet<String>,
        newer_than: Option<Timestamp>,
        bakes: bool,
    ) {
        self.state().followers.insert(key.clone(), Follower { services, newer_than, bakes });
        self.changed.notify_one();
    }

    /// Whether there is nothing but baking.
    fn is_slow(&self) -> bool {
        let state = self.state();
        !state.asked && state.followers.values().all(|follower| follower.bakes && follower.newer_than.is_none())
    }

    /// This stack needs no listing any more.
    pub(super) fn leave(&self, key: &StackKey) {
        self.state().followers.remove(key);
    }

    /// Asks for one listing of all tasks.
    pub(super) fn ask(&self) {
        self.state().asked = true;
        self.changed.notify_one();
    }

    /// Asks for a look at every stack that follows.
    pub(super) fn wake_followers(&self, queue: &Queue) {
        for key in self.state().followers.keys() {
            queue.add(key, Instant::now(), Priority::Event);
        }
    }

    /// What to list now, and whether everybody waits for it.
    fn filter(&self) -> Option<(TaskFilter, bool)> {
        let mut state = self.state();
        if std::mem::take(&mut state.asked) {
            return Some((TaskFilter::All, true));
        }
        if state.followers.is_empty() {
            return None;
        }
        let ids: BTreeSet<&String> = state.followers.values().flat_map(|follower| &follower.services).collect();
        let filter = match ids.len() > BY_ID {
            true => TaskFilter::All,
            false => TaskFilter::Services(ids.into_iter().cloned().collect()),
        };
        Some((filter, false))
    }

    /// Takes a listing in that was asked for these services; gives the followers whose tasks changed.
    fn take(&self, asked: Vec<String>, listed_at: Timestamp, tasks: Vec<Arc<Task>>) -> Vec<StackKey> {
        let mut by_service: BTreeMap<String, Vec<Arc<Task>>> = BTreeMap::new();
        for task in tasks {
            by_service.entry(task.service_id.clone()).or_default().push(task);
        }
        let mut state = self.state();
        for id in asked {
            by_service.entry(id).or_default();
        }
        let before = std::mem::replace(&mut state.newest, Arc::new(Tasks { listed_at, by_service }));
        let newest = state.newest.clone();
        let mut woken = Vec::new();
        for (key, follower) in &mut state.followers {
            let due = follower.newer_than.is_some_and(|time| listed_at > time);
            if due {
                follower.newer_than = None;
            }
            if due || follower.services.iter().any(|id| before.by_service.get(id) != newest.by_service.get(id)) {
                woken.push(key.clone());
            }
        }
        woken
    }
}

/// Lists tasks for as long as somebody needs them. Errors are the observer's to notice.
pub(super) async fn run(environment: Arc<Observed>, now: impl Fn() -> Timestamp, cancel: CancellationToken) {
    loop {
        let started = Instant::now();
        let changed = environment.tasks.changed.notified();
        let Some((filter, for_all)) = environment.tasks.filter() else {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = changed => continue,
            }
        };
        let listed_at = now();
        let asked = match &filter {
            TaskFilter::Services(asked) => asked.clone(),
            TaskFilter::All => environment.snapshot().services.values().map(|live| live.id.clone()).collect(),
        };
        let answer = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            answer = environment.swarm.tasks(&filter) => answer,
        };
        if let Ok(tasks) = answer {
            for key in environment.tasks.take(asked, listed_at, tasks) {
                environment.queue.add(&key, Instant::now(), Priority::Event);
            }
        }
        if for_all {
            environment.announce();
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = tokio::time::sleep_until(started + PERIOD) => {}
        }
        while environment.tasks.is_slow() && started.elapsed() < BAKING {
            let changed = environment.tasks.changed.notified();
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = changed => {}
                () = tokio::time::sleep_until(started + BAKING) => {}
            }
        }
    }
}
