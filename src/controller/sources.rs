//! Which commit does each followed ref stand at? One task for each repository and ref, shared by all stacks that follow
//! it: a slow or dead host delays only them, and nobody waits for it. The answer is kept in memory; a stack that needs it
//! is woken when it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backoff::{backoff, jittered};
use crate::domain::{CredentialName, GitSource, GitUrl, Revision, StackKey, Wanted};
use crate::ports::{Ambient, Source, SourceError};

/// Has these looked at, one after the other.
pub(super) type Wake = Box<dyn Fn(&[StackKey]) + Send + Sync>;

type Place = (GitUrl, Wanted, Option<CredentialName>);

/// The newest answer about one ref.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Resolution {
    /// The commit, of the newest look that found one.
    pub revision: Option<Revision>,
    /// When that look was begun.
    pub checked_at: Option<Timestamp>,
    /// Why the newest look failed, if it did, and when it was begun.
    pub error: Option<(SourceError, Timestamp)>,
}

struct Followed {
    resolution: Resolution,
    followers: BTreeSet<StackKey>,
    poll: SignedDuration,
    again: Arc<Notify>,
    /// Those that wait for the next answer, whatever it says.
    awaiting: BTreeSet<StackKey>,
    /// Looks that were asked for by token, and when that was first seen.
    asked: BTreeMap<StackKey, (String, Timestamp)>,
    stop: CancellationToken,
}

/// All followed refs.
pub(super) struct Sources {
    source: Arc<dyn Source>,
    ambient: Arc<dyn Ambient>,
    wake: Wake,
    followed: Mutex<BTreeMap<Place, Followed>>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl Sources {
    /// `wake` is called for the followers of a ref when the answer about it changes: at once for those that wait for it, and
    /// with all others of them at once.
    pub(super) fn new(
        source: Arc<dyn Source>,
        ambient: Arc<dyn Ambient>,
        cancel: CancellationToken,
        wake: Wake,
    ) -> Self {
        Self { source, ambient, wake, followed: Mutex::default(), tasks: TaskTracker::new(), cancel }
    }

    fn followed(&self) -> MutexGuard<'_, BTreeMap<Place, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows a ref for this stack, and no other ref for it; gives what is known. With `newer_than`, a look is asked for
    /// unless one was begun after that time.
    pub(super) fn follow(
        self: &Arc<Self>,
        key: &StackKey,
        source: &GitSource,
        newer_than: Option<Timestamp>,
    ) -> Option<Resolution> {
        let place = (source.url.clone(), source.wanted.clone(), source.credential.clone());
        let mut all = self.followed();
        Self::leave_others(&mut all, key, Some(&place));
        let followed = all.entry(place).or_insert_with(|| self.begin(source));
        followed.followers.insert(key.clone());
        followed.poll = followed.poll.min(source.poll);
        let begun = followed.resolution.checked_at.max(followed.resolution.error.as_ref().map(|(_, at)| *at));
        if newer_than.is_some_and(|time| begun.is_none_or(|begun| begun < time)) {
            followed.awaiting.insert(key.clone());
            followed.again.notify_one();
        }
        begun.is_some().then(|| followed.resolution.clone())
    }

    /// Whether a look has been taken since this token was first seen. If not, one is asked for, and the stack is woken
    /// after it.
    pub(super) fn looked(&self, key: &StackKey, source: &GitSource, token: &str) -> bool {
        let place = (source.url.clone(), source.wanted.clone(), source.credential.clone());
        let mut all = self.followed();
        let Some(followed) = all.get_mut(&place) else { return false };
        let now = self.ambient.now();
        let (known, since) = followed.asked.entry(key.clone()).or_insert_with(|| (token.to_owned(), now));
        if known != token {
            (*known, *since) = (token.to_owned(), now);
        }
        let begun = followed.resolution.checked_at.max(followed.resolution.error.as_ref().map(|(_, at)| *at));
        if begun.is_some_and(|begun| begun >= *since) {
            followed.asked.remove(key);
            return true;
        }
        followed.awaiting.insert(key.clone());
        followed.again.notify_one();
        false
    }

    /// A credential changed: whatever is read with it is looked at now.
    pub(super) fn look_with(&self, credential: &CredentialName) {
        for ((_, _, with), followed) in self.followed().iter() {
            if with.as_ref() == Some(credential) {
                followed.again.notify_one();
            }
        }
    }

    /// Follows nothing for this stack any more.
    pub(super) fn leave(&self, key: &StackKey) {
        Self::leave_others(&mut self.followed(), key, None);
    }

    fn leave_others(all: &mut BTreeMap<Place, Followed>, key: &StackKey, keep: Option<&Place>) {
        all.retain(|place, followed| {
            let left = Some(place) != keep && followed.followers.remove(key);
            if left {
                followed.awaiting.remove(key);
                followed.asked.remove(key);
            }
            if left && followed.followers.is_empty() {
                followed.stop.cancel();
                return false;
            }
            true
        });
    }

    fn begin(self: &Arc<Self>, source: &GitSource) -> Followed {
        let again = Arc::new(Notify::new());
        let stop = self.cancel.child_token();
        self.tasks.spawn({
            let (sources, source, again, stop) = (self.clone(), source.clone(), again.clone(), stop.clone());
            async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = sources.poll(source, again) => {}
                }
            }
        });
        let resolution = Resolution { revision: None, checked_at: None, error: None };
        Followed {
            resolution,
            followers: BTreeSet::new(),
            poll: source.poll,
            again,
            awaiting: BTreeSet::new(),
            asked: BTreeMap::new(),
            stop,
        }
    }

    async fn poll(&self, source: GitSource, again: Arc<Notify>) {
        let mut errors = 0;
        loop {
            let begun = self.ambient.now();
            let answer = self.source.resolve(&source).await;
            errors = if answer.is_ok() { 0 } else { errors + 1 };
            let Some(poll) = self.take(&source, begun, answer) else { return };
            let period = std::time::Duration::try_from(poll).unwrap_or(std::time::Duration::from_secs(60));
            let wait = match errors {
                0 => jittered(period, self.ambient.random()),
                _ => backoff(errors, self.ambient.random()).min(period.max(std::time::Duration::from_secs(1))),
            };
            tokio::select! {
                biased;
                () = again.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Takes an answer in, wakes who waits for it; gives the period, or `None` when nobody follows any more.
    fn take(
        &self,
        source: &GitSource,
        begun: Timestamp,
        answer: Result<Revision, SourceError>,
    ) -> Option<SignedDuration> {
        let place = (source.url.clone(), source.wanted.clone(), source.credential.clone());
        let mut all = self.followed();
        let followed = all.get_mut(&place)?;
        let resolution = &mut followed.resolution;
        let first = resolution.checked_at.is_none() && resolution.error.is_none();
        let changed = match answer {
            Ok(revision) => {
                let moved = resolution.revision.as_ref() != Some(&revision) || resolution.error.is_some();
                *resolution = Resolution { revision: Some(revision), checked_at: Some(begun), error: None };
                moved
            }
            Err(error) => {
                let new = resolution.error.as_ref().map(|(known, _)| known) != Some(&error);
                resolution.error = Some((error, begun));
                new
            }
        };
        let poll = followed.poll;
        let mut awaiting = std::mem::take(&mut followed.awaiting);
        if first {
            // All of them wait for it.
            awaiting.extend(followed.followers.iter().cloned());
        }
        let others = followed.followers.iter().filter(|key| changed && !awaiting.contains(*key));
        let others: Vec<StackKey> = others.cloned().collect();
        drop(all);
        for key in awaiting {
            (self.wake)(&[key]);
        }
        (self.wake)(&others);
        Some(poll)
    }
}
