//! What a group of transactions comes to, before any of it is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use sled::IVec;

use super::Shared;
use super::engine::{Totals, fetch, record_key};
use super::record::{Body, Record, encode};
use crate::domain::Kept;
use crate::ports::{Changed, Committed, StoreChange, StoreError, Transaction, Write};
use crate::store::log_key;

/// A group under way: sees the store with the effects of its own earlier transactions.
pub(super) struct Stage<'a> {
    shared: &'a Shared,
    /// As they will be.
    pub(super) totals: Totals,
    /// Every key that was looked at.
    pub(super) touched: BTreeMap<Vec<u8>, Touched>,
    /// What the watchers will be told.
    pub(super) changes: Vec<Arc<StoreChange>>,
    /// Files that no record of the new state points to any more, once for each record that did.
    pub(super) released: Vec<Kept>,
}

/// One key of a group.
#[derive(Default)]
pub(super) struct Touched {
    /// As it is in sled.
    pub(super) before: Option<IVec>,
    /// What to write: `None` nothing, `Some(None)` delete it.
    pub(super) write: Option<Option<Vec<u8>>>,
    now: Option<Known>,
}

struct Known {
    revision: u64,
    mark: u64,
    spilled: Option<Kept>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(shared: &'a Shared, totals: Totals) -> Self {
        Self { shared, totals, touched: BTreeMap::new(), changes: Vec::new(), released: Vec::new() }
    }

    /// Adds a transaction, or refuses it and changes nothing. `spilled` names the files of the writes (by place) whose
    /// values are too large for a record.
    pub(super) fn add(
        &mut self,
        transaction: Transaction,
        spilled: &BTreeMap<usize, Kept>,
    ) -> Result<Committed, StoreError> {
        for (key, expected) in &transaction.expects {
            if self.look(&record_key(key))?.now.as_ref().map(|known| known.revision) != *expected {
                return Err(StoreError::Conflict { key: key.clone() });
            }
        }
        // First all that can fail: the numbers of appends, and what is at each key now.
        let mut logs = BTreeMap::new();
        let (mut keys, mut appended) = (Vec::with_capacity(transaction.writes.len()), Vec::new());
        for write in &transaction.writes {
            let key = match write {
                Write::Put { key, .. } | Write::Delete { key } => key.clone(),
                Write::Append { log, .. } => {
                    let last = || self.totals.logs.get(log).copied().unwrap_or_default();
                    let number = logs.entry(log.clone()).or_insert_with(last);
                    *number += 1;
                    appended.push(*number);
                    log_key(log, *number)
                }
            };
            self.look(&record_key(&key))?;
            keys.push(key);
        }
        self.totals.revision += 1;
        self.totals.logs.extend(logs);
        let mut changed = Vec::with_capacity(keys.len());
        for (place, (key, write)) in keys.into_iter().zip(transaction.writes).enumerate() {
            let value = match write {
                Write::Put { value, .. } | Write::Append { value, .. } => Some(value),
                Write::Delete { .. } => None,
            };
            changed.extend(self.write(key, value, spilled.get(&place)));
        }
        let revision = self.totals.revision;
        self.changes.push(Arc::new(StoreChange { revision, changed }));
        Ok(Committed { revision, appended })
    }

    fn write(&mut self, key: String, value: Option<Vec<u8>>, spilled: Option<&Kept>) -> Option<Changed> {
        let record_key = record_key(&key);
        let touched = self.touched.entry(record_key.clone()).or_default();
        let old = touched.now.take();
        if old.is_none() && value.is_none() {
            return None;
        }
        if let Some(old) = old {
            self.totals.count = self.totals.count.wrapping_sub(1);
            self.totals.sum = self.totals.sum.wrapping_sub(old.mark);
            self.released.extend(old.spilled);
        }
        let Some(value) = value else {
            touched.write = Some(None);
            return Some(Changed { key, value: None });
        };
        let revision = self.totals.revision;
        let body = spilled.map_or(Body::Inline(&value), |name| Body::Spilled(&name.0));
        let (bytes, mark) = encode(&record_key, revision, body);
        self.totals.count = self.totals.count.wrapping_add(1);
        self.totals.sum = self.totals.sum.wrapping_add(mark);
        touched.write = Some(Some(bytes));
        touched.now = Some(Known { revision, mark, spilled: spilled.cloned() });
        Some(Changed { key, value: Some(value.into()) })
    }

    /// What is at a key now, read from sled at the first look.
    fn look(&mut self, key: &[u8]) -> Result<&Touched, StoreError> {
        if !self.touched.contains_key(key) {
            let folder = &self.shared.folder;
            let before = fetch(folder, &self.shared.db, key)?;
            let now = match &before {
                None => None,
                Some(bytes) => {
                    let record = Record::decode(key, bytes).map_err(|reason| folder.damaged(reason))?;
                    let spilled = match record.body {
                        Body::Spilled(name) => Some(Kept(name.to_owned())),
                        Body::Inline(_) => None,
                    };
                    Some(Known { revision: record.revision, mark: record.mark(), spilled })
                }
            };
            self.touched.insert(key.to_owned(), Touched { before, write: None, now });
        }
        Ok(self.touched.entry(key.to_owned()).or_default())
    }
}
