//! The one thread that writes: who gets which revision, and when is it durable?
//!
//! It takes all transactions that wait (up to [`GROUP`]), decides each in turn, writes what they come to as one batch,
//! syncs once, and only then answers. A writer alone waits for no one; many writers share one sync.

use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use sled::Batch;
use tokio::sync::{mpsc, oneshot};

use super::engine::{Totals, refusal};
use super::stage::Stage;
use super::{DataSync, Shared};
use crate::domain::Kept;
use crate::ports::{Committed, StoreError, Transaction};

/// At most so many transactions share a sync.
const GROUP: usize = 256;

/// A transaction that waits for the committer.
pub(super) struct Job {
    pub(super) transaction: Transaction,
    /// The files that hold values too large for a record, by the place of the write. Each is held once for this job.
    pub(super) spilled: BTreeMap<usize, Kept>,
    pub(super) answer: oneshot::Sender<Result<Committed, StoreError>>,
}

pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) totals: Totals,
    /// sled's data file, opened by us: a sync through it covers what sled wrote through its own handle.
    pub(super) data: File,
    pub(super) sync: DataSync,
}

impl Committer {
    /// Works until all senders are gone.
    pub(super) fn run(mut self, jobs: &mut mpsc::Receiver<Job>) {
        let mut group = Vec::with_capacity(GROUP);
        while jobs.blocking_recv_many(&mut group, GROUP) > 0 {
            self.commit(&mut group);
        }
    }

    fn commit(&mut self, group: &mut Vec<Job>) {
        let shared = Arc::clone(&self.shared);
        let mut stage = Stage::new(&shared, self.totals.clone());
        let mut answers = Vec::with_capacity(group.len());
        for job in group.drain(..) {
            let outcome = match shared.broken() {
                Some(error) => Err(error),
                None => stage.add(job.transaction, &job.spilled),
            };
            if outcome.is_err() {
                job.spilled.values().for_each(|name| shared.files.release(name));
            }
            answers.push((job.answer, outcome));
        }
        if !stage.changes.is_empty() {
            // sled asserts a good deal; what it asserts wrongly is an error of the disk to the writers.
            let written = catch_unwind(AssertUnwindSafe(|| self.write(&stage)))
                .unwrap_or_else(|_| Err(shared.folder.io("sled", &std::io::Error::other("it gave up while writing"))));
            match written {
                Ok(()) => {
                    self.totals = stage.totals;
                    self.publish(&stage.released);
                    for change in stage.changes {
                        // No receiver is no error: nobody watches.
                        let _ = shared.changes.send(change);
                    }
                }
                Err(error) => {
                    // Nobody knows what the disk holds now. Also a refusal may rest on what was not written.
                    tracing::error!(%error, "the store takes no more writes until it is opened again");
                    shared.break_with(error.clone());
                    answers.iter_mut().for_each(|(_, outcome)| *outcome = Err(error.clone()));
                }
            }
        }
        kill_point!("transaction: before the answer");
        for (answer, outcome) in answers {
            // One who does not wait any more does not mind.
            let _ = answer.send(outcome);
        }
    }

    /// Writes the group and makes it durable. Until then readers see what was before.
    fn write(&self, stage: &Stage<'_>) -> Result<(), StoreError> {
        let shared = &self.shared;
        let sled = |error: sled::Error| match refusal(&shared.folder, &error) {
            StoreError::Damaged { reason, .. } => shared.folder.io("sled", &std::io::Error::other(reason)),
            other => other,
        };
        let mut batch = Batch::default();
        {
            let mut pending = shared.pending.write().unwrap_or_else(PoisonError::into_inner);
            for (key, touched) in &stage.touched {
                match &touched.write {
                    None => continue,
                    Some(Some(bytes)) => batch.insert(key.as_slice(), bytes.as_slice()),
                    Some(None) => batch.remove(key.as_slice()),
                }
                pending.insert(key.clone(), touched.before.clone());
            }
            let (key, bytes) = stage.totals.record();
            if planted!("a transaction is written in two") {
                shared.db.apply_batch(std::mem::take(&mut batch)).map_err(sled)?;
                shared.db.flush().map_err(sled)?;
            }
            batch.insert(key, bytes);
            kill_point!("transaction: before the write");
            shared.db.apply_batch(batch).map_err(sled)?;
        }
        kill_point!("transaction: before the sync");
        if planted!("the store is not synced before the answer") {
            return Ok(());
        }
        if !planted!("sled is not flushed before the sync") {
            shared.db.flush().map_err(sled)?;
        }
        (self.sync)(&self.data).map_err(|error| shared.folder.io("the log cannot be synced", &error))?;
        kill_point!("transaction: after the sync");
        Ok(())
    }

    /// Lets readers see the group, now that it is durable.
    fn publish(&self, released: &[Kept]) {
        let shared = &self.shared;
        {
            let mut pending = shared.pending.write().unwrap_or_else(PoisonError::into_inner);
            pending.clear();
            shared.revision.store(self.totals.revision, Ordering::Release);
        }
        released.iter().for_each(|name| shared.files.release(name));
        if let Err(error) = shared.folder.mark_revision(self.totals.revision) {
            // The witness stays behind, which is safe: it then vouches for less.
            tracing::warn!(%error, "the tip could not be noted");
        }
    }
}
