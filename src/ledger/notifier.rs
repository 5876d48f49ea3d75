//! Notifiers: what is declared, how far each has come, and what it still owes.

use super::batch::Batch;
use super::{Ledger, LedgerError, RecordKey, Versioned};
use crate::domain::{Deployment, Event, Notifier, NotifierName, NotifierStatus, Transition};
use crate::ports::Scan;

/// Events that are looked at in one go.
const PAGE: usize = 200;
/// Events that are looked at, at most, to count what is owed.
const FAR: usize = 10_000;

/// A message that is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Owed {
    /// The number of the event.
    pub sequence: u64,
    /// The event.
    pub event: Event,
    /// What it tells of.
    pub transition: Transition,
    /// The deployment it is about, as it stands now.
    pub deployment: Option<Deployment>,
}

/// What is owed for one part of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct OwedPage {
    /// The messages, in the order of the log.
    pub owed: Vec<Owed>,
    /// The last event that was looked at; none at the log's end.
    pub last: Option<u64>,
}

impl Ledger {
    /// One notifier.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn notifier(&self, name: &NotifierName) -> Result<Option<Versioned<Notifier>>, LedgerError> {
        self.one(&RecordKey::Notifier(name.clone()))
    }

    /// All notifiers, by name.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn notifiers(&self) -> Result<Vec<Versioned<Notifier>>, LedgerError> {
        self.many(&Scan::all("notifier/"))
    }

    /// How far a notifier has come, and the revision that was written at, if it was.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn notifier_status(&self, notifier: &Notifier) -> Result<(NotifierStatus, Option<u64>), LedgerError> {
        let found = self.one::<NotifierStatus>(&RecordKey::NotifierStatus(notifier.name.clone()))?;
        let revision = found.as_ref().map(|found| found.revision);
        Ok((NotifierStatus::of(notifier, found.map(|found| found.value)), revision))
    }

    /// The number of the log's newest event; 0 of an empty log.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn newest_event(&self) -> Result<u64, LedgerError> {
        Ok(self.events(None, true, 1)?.first().map_or(0, |(sequence, _)| *sequence))
    }

    /// What a notifier is to tell of the events after this one.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn owed(&self, notifier: &Notifier, after: u64) -> Result<OwedPage, LedgerError> {
        let mut page = OwedPage { owed: Vec::new(), last: None };
        for (sequence, event) in self.events(Some(after), false, PAGE)? {
            page.last = Some(sequence);
            let Some(stack) = &event.stack else { continue };
            if !notifier.is_for(&event.environment, stack) {
                continue;
            }
            let deployment = match &event.deployment {
                Some(id) => self.deployment(id)?.map(|found| found.value),
                None => None,
            };
            if let Some(transition) = notifier.tells(&event, deployment.as_ref()) {
                page.owed.push(Owed { sequence, event, transition, deployment });
            }
        }
        Ok(page)
    }

    /// How many messages a notifier still owes, as far as the next ten thousand events tell.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn owes(&self, notifier: &Notifier, status: &NotifierStatus) -> Result<usize, LedgerError> {
        let (mut after, mut count) = (status.cursor, 0);
        for _ in 0..FAR.div_ceil(PAGE) {
            let page = self.owed(notifier, after)?;
            count += page.owed.len();
            match page.last {
                Some(last) => after = last,
                None => break,
            }
        }
        Ok(count)
    }
}

impl Batch {
    /// Writes a notifier.
    pub fn put_notifier(self, notifier: &Notifier) -> Self {
        self.put(&RecordKey::Notifier(notifier.name.clone()), notifier)
    }

    /// Writes how far a notifier has come.
    pub fn put_notifier_status(self, name: &NotifierName, status: &NotifierStatus) -> Self {
        self.put(&RecordKey::NotifierStatus(name.clone()), status)
    }

    /// Deletes a notifier, and how far it has come.
    pub fn delete_notifier(self, name: &NotifierName) -> Self {
        self.delete(&RecordKey::Notifier(name.clone())).delete(&RecordKey::NotifierStatus(name.clone()))
    }
}
