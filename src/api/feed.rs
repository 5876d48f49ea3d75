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
    pub(super) stacks: BTreeSet<StackKey>,
    /// Deployments that changed.
    pub(super) deployments: BTreeSet<DeploymentId>,
    /// Whether the log grew.
    pub(super) events: bool,
    /// Whether a token was made or revoked.
    pub(super) tokens: bool,
}

impl Touched {
    fn of(note: &Note) -> Self {
        let mut touched = Self { revision: note.revision, ..Self::default() };
        for (key, _) in &note.records {
            match key {
                RecordKey::Stack(key) | RecordKey::Status(key) => {
                    touched.stacks.insert(key.clone());
                }
                RecordKey::Deployment(id) => {
                    touched.deployments.insert(id.clone());
                }
                RecordKey::Event(_) => touched.events = true,
                RecordKey::Token(_) => touched.tokens = true,
                _ => {}
            }
        }
        touched
    }

    fn add(&mut self, other: &Self) {
        self.revision = self.revision.max(other.revision);
        self.stacks.extend(other.stacks.iter().cloned());
        self.deployments.extend(other.deployments.iter().cloned());
        self.events |= other.events;
        self.tokens |= other.tokens;
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
        let mut all = Touched { revision, ..Touched::default() };
        memory.recent.iter().filter(|touched| touched.revision > revision).for_each(|touched| all.add(touched));
        Some(all)
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
