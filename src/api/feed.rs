//! One watch of the ledger for the whole process, fanned out to every subscription.
//!
//! What is passed on is which records changed, never what they hold: a follower reads what stands now. A follower that
//! comes back within the memory of the feed is told what it missed; anyone else, and anyone too slow, begins with a fresh
//! snapshot.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::domain::{DeploymentId, StackKey};
use crate::ledger::{Ledger, Note, Noted, RecordKey};

/// How many transactions are remembered for followers that come back, and how many one may be behind.
const MEMORY: usize = 2048;
/// How long a reader waits for what was committed before it asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which records a transaction changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Touched {
    /// The store's revision.
    pub(super) revision: u64,
    /// Stacks whose record or status changed.
    pub(super) stacks: Few<StackKey>,
    /// Deployments that changed.
    pub(super) deployments: Few<DeploymentId>,
    /// Whether the log grew.
    pub(super) events: bool,
    /// Whether a token was made or revoked.
    pub(super) tokens: bool,
}

/// A set that mostly has one member, and is remembered thousands of times: in order, without room to spare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Few<T>(Box<[T]>);

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<T: Ord> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        Self(all.into_iter().collect::<BTreeSet<T>>().into_iter().collect())
    }
}

impl<T: Ord> Few<T> {
    pub(super) fn contains(&self, one: &T) -> bool {
        self.0.binary_search(one).is_ok()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Touched {
    fn of(note: &Note) -> Self {
        let mut touched = Self { revision: note.revision, ..Self::default() };
        let (mut stacks, mut deployments) = (Vec::new(), Vec::new());
        for (key, _) in &note.records {
            match key {
                RecordKey::Stack(key) | RecordKey::Status(key) => stacks.push(key.clone()),
                RecordKey::Deployment(id) => deployments.push(id.clone()),
                RecordKey::Event(_) => touched.events = true,
                RecordKey::Token(_) => touched.tokens = true,
                _ => {}
            }
        }
        Self { stacks: stacks.into_iter().collect(), deployments: deployments.into_iter().collect(), ..touched }
    }

    /// All of these as one, after `revision`.
    fn all<'a>(revision: u64, of: impl Iterator<Item = &'a Self> + Clone) -> Self {
        Self {
            revision: of.clone().map(|touched| touched.revision).max().unwrap_or(revision),
            stacks: of.clone().flat_map(|touched| touched.stacks.iter()).cloned().collect(),
            deployments: of.clone().flat_map(|touched| touched.deployments.iter()).cloned().collect(),
            events: of.clone().any(|touched| touched.events),
            tokens: of.clone().any(|touched| touched.tokens),
        }
    }
}

/// What a follower is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Signal {
    /// These records changed.
    Touched(Arc<Touched>),
    /// Some changes were missed: read afresh.
    Missed,
}

struct Memory {
    /// Every transaction after this revision is in `recent`.
    floor: u64,
    recent: VecDeque<Arc<Touched>>,
}

struct Inner {
    memory: Mutex<Memory>,
    signals: broadcast::Sender<Signal>,
    task: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

/// The shared watch. Cheap to clone; ends with its last clone.
#[derive(Clone)]
pub struct Feed {
    inner: Arc<Inner>,
}

impl Feed {
    /// Begins to watch. Has to be called within a tokio runtime.
    #[must_use]
    pub fn start(ledger: &Ledger) -> Self {
        // Watch first: whatever is committed from here on is told.
        let mut watch = ledger.watch();
        let memory = Mutex::new(Memory { floor: ledger.revision(), recent: VecDeque::new() });
        let inner = Arc::new(Inner { memory, signals: broadcast::Sender::new(MEMORY), task: Mutex::new(None) });
        let (weak, ledger) = (Arc::downgrade(&inner), ledger.clone());
        let task = tokio::spawn(async move {
            while let Some(noted) = watch.next().await {
                let Some(inner) = weak.upgrade() else { return };
                inner.pass_on(&noted, &ledger);
            }
        });
        *inner.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        Self { inner }
    }

    /// Signals from now on.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Signal> {
        self.inner.signals.subscribe()
    }

    /// The newest revision that was passed on.
    fn newest(&self) -> u64 {
        let memory = self.inner.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.recent.back().map_or(memory.floor, |touched| touched.revision)
    }

    /// Waits until everything up to this revision has been passed on; that takes moments.
    pub(super) async fn reach(&self, revision: u64) {
        let mut signals = self.subscribe();
        let arrived = async { while self.newest() < revision && signals.recv().await != Err(RecvError::Closed) {} };
        if tokio::time::timeout(PATIENCE, arrived).await.is_err() {
            tracing::warn!(revision, "the watch of the store is far behind");
        }
    }

    /// All that changed after a revision, as one; `None` when that is too long ago to be known, or has not been yet.
    pub(super) fn since(&self, revision: u64) -> Option<Touched> {
        let memory = self.inner.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = memory.recent.back().map_or(memory.floor, |touched| touched.revision);
        if revision < memory.floor || revision > newest {
            return None;
        }
        let missed = memory.recent.iter().map(Arc::as_ref).filter(|touched| touched.revision > revision);
        Some(Touched::all(revision, missed))
    }
}

impl Inner {
    fn pass_on(&self, noted: &Noted, ledger: &Ledger) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let signal = match noted {
            Noted::Note(note) => {
                let touched = Arc::new(Touched::of(note));
                memory.recent.push_back(Arc::clone(&touched));
                if memory.recent.len() > MEMORY {
                    memory.floor = memory.recent.pop_front().map_or(memory.floor, |oldest| oldest.revision);
                }
                Signal::Touched(touched)
            }
            Noted::Missed => {
                memory.recent.clear();
                memory.floor = ledger.revision();
                Signal::Missed
            }
        };
        // Nobody listening is no error.
        let _ = self.signals.send(signal);
    }
}
