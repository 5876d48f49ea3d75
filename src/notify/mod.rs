//! Messages to the outside: Slack, webhooks, CloudEvents, commit statuses.
//!
//! The log of events is the outbox: it is durable, and every transition is an event written in one transaction with what it
//! tells of. Each notifier has a courier, a task of its own with a cursor in the ledger. The cursor moves when a message was
//! taken, or given up; so after a crash a message is sent for the first time, or once more under the same id, and never
//! lost. Nothing waits for a courier, and no courier for another.
//!
//! [`message`] says in words what happened: values in, values out. [`form`] and [`status`] bring it into the form of each
//! receiver, [`verdict`] says what an answer means, [`http`] sends.

mod courier;
pub mod form;
pub mod http;
pub mod message;
mod opened;
pub mod status;
pub mod verdict;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::domain::{Notifier, NotifierName};
use crate::ledger::{Ledger, LedgerError, Noted, RecordKey};
use crate::ports::{Ambient, BoxFuture, InquiryError, Keyring, NotifierAnswer, Notifiers, Sealer};
use courier::Courier;
use http::Post;

/// Test messages that are sent at a time.
const TESTS_AT_ONCE: usize = 4;

/// How it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyOptions {
    /// The address that people reach the page at, for links.
    pub public_url: Option<String>,
    /// A message about something older is given up.
    pub age: Duration,
    /// The wait after the first attempt in vain; each later one is twice as long.
    pub first_wait: Duration,
    /// The longest wait, unless the receiver asks for a longer one.
    pub longest_wait: Duration,
}

impl Default for NotifyOptions {
    fn default() -> Self {
        Self {
            public_url: None,
            age: Duration::from_secs(24 * 3600),
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(300),
        }
    }
}

/// What couriers are made of.
pub struct NotifyParts {
    /// The records.
    pub ledger: Ledger,
    /// Time and jitter.
    pub ambient: Arc<dyn Ambient>,
    /// Opens addresses, and what has to be masked.
    pub sealer: Arc<dyn Sealer>,
    /// Opens credentials.
    pub keyring: Arc<dyn Keyring>,
    /// Sends.
    pub post: Arc<dyn Post>,
    /// This installation's id.
    pub instance: String,
    /// How it is done.
    pub options: NotifyOptions,
}

/// A courier for each notifier. Cheap to clone.
#[derive(Clone)]
pub struct Couriers {
    parts: Arc<NotifyParts>,
    tests: Arc<Semaphore>,
}

/// What couriers are woken by.
#[derive(Clone)]
struct News {
    /// The log has grown.
    events: watch::Receiver<()>,
    /// A credential has changed.
    keys: watch::Receiver<()>,
}

/// A courier at work; ends when dropped.
struct AtWork {
    revision: u64,
    cancel: CancellationToken,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Couriers {
    /// Couriers made of these.
    #[must_use]
    pub fn new(parts: NotifyParts) -> Self {
        Self { parts: Arc::new(parts), tests: Arc::new(Semaphore::new(TESTS_AT_ONCE)) }
    }

    /// Has every notifier that is declared served, until it is cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let mut watched = self.parts.ledger.watch();
        let (events, keys) = (watch::Sender::new(()), watch::Sender::new(()));
        let news = News { events: events.subscribe(), keys: keys.subscribe() };
        let mut couriers = BTreeMap::new();
        // Set until the notifiers were read after a change.
        let mut stale = true;
        loop {
            if stale {
                match self.settle(&mut couriers, &news, &cancel) {
                    Ok(()) => stale = false,
                    Err(error) => tracing::error!(%error, "the notifiers cannot be read"),
                }
            }
            let noted = tokio::select! {
                () = cancel.cancelled() => return,
                noted = watched.next() => noted,
            };
            match noted {
                None => return,
                Some(Noted::Missed) => {
                    stale = true;
                    events.send_replace(());
                    keys.send_replace(());
                }
                Some(Noted::Note(note)) => {
                    let any = |is: fn(&RecordKey) -> bool| note.records.iter().any(|(key, _)| is(key));
                    stale |= any(|key| matches!(key, RecordKey::Notifier(_)));
                    if any(|key| matches!(key, RecordKey::Event(_))) {
                        events.send_replace(());
                    }
                    if any(|key| matches!(key, RecordKey::Credential(_))) {
                        keys.send_replace(());
                    }
                }
            }
        }
    }

    /// Sets couriers to work for what is declared now, and ends those for what is not, or not so.
    fn settle(
        &self,
        couriers: &mut BTreeMap<NotifierName, AtWork>,
        news: &News,
        cancel: &CancellationToken,
    ) -> Result<(), LedgerError> {
        let declared: BTreeMap<NotifierName, (Notifier, u64)> = self
            .parts
            .ledger
            .notifiers()?
            .into_iter()
            .map(|found| (found.value.name.clone(), (found.value, found.revision)))
            .collect();
        couriers.retain(|name, at_work| declared.get(name).is_some_and(|(_, revision)| *revision == at_work.revision));
        for (name, (notifier, revision)) in declared {
            couriers.entry(name).or_insert_with(|| {
                let cancel = cancel.child_token();
                let courier = Courier::new(Arc::clone(&self.parts), notifier, revision, news.clone());
                tokio::spawn(cancel.clone().run_until_cancelled_owned(courier.run()));
                AtWork { revision, cancel }
            });
        }
        Ok(())
    }
}

impl Notifiers for Couriers {
    fn test<'a>(&'a self, name: &'a NotifierName) -> BoxFuture<'a, Result<NotifierAnswer, InquiryError>> {
        Box::pin(async move {
            let _place = self.tests.try_acquire().map_err(|_| InquiryError::Busy)?;
            let found = self.parts.ledger.notifier(name).map_err(|error| InquiryError::Failed(error.to_string()))?;
            let found = found.ok_or_else(|| InquiryError::NotFound(format!("notifier `{name}`")))?;
            Ok(courier::test(&self.parts, &found.value).await)
        })
    }
}
