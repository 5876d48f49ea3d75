//! Repositories of images that stacks follow: each is looked at by one task, whatever the number of stacks, rules and services
//! that want it, and asked for what they want of it, and no more. Nobody waits for it; a stack is woken when the answer
//! changes.
//!
//! A registry that says that it is asked too much is left alone for as long as it says, with all its repositories. When the
//! next look is due is written down, so that a restart asks no earlier.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backoff::{backoff, jittered};
use super::sources::Wake;
use crate::domain::{Repository, RepositoryStatus, Seen, StackKey};
use crate::ledger::{Batch, Ledger};
use crate::ports::{Ambient, Registry, RegistryError, Tags};

/// The longest a look may take.
const LONGEST: Duration = Duration::from_secs(120);
/// So many looks at a time at one registry.
const AT_ONCE: usize = 4;
/// A registry that is asked too much, and does not say for how long it wants to be left alone, is left alone for so long.
const LEFT_ALONE: SignedDuration = SignedDuration::from_secs(60);
/// What was put off goes on within so many milliseconds of each other.
const SPREAD: u64 = 2000;

/// What a registry says: the tags of a repository, if they were asked for, and what tags stand for.
type Answered = (Option<Tags>, BTreeMap<String, Option<String>>);

/// What a stack wants to know of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Want {
    /// All its tags.
    pub tags: bool,
    /// What these tags point at.
    pub digests: BTreeSet<String>,
    /// How often it is to be asked.
    pub poll: SignedDuration,
}

/// The newest answer about a repository.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Look {
    /// What was seen, by the newest look that was answered.
    pub seen: Seen,
    /// When the newest look began, answered or not.
    pub begun: Option<Timestamp>,
    /// Why it failed, if it did.
    pub error: Option<RegistryError>,
}

struct Followed {
    wants: BTreeMap<StackKey, Want>,
    look: Look,
    tags: Option<Tags>,
    again: Arc<Notify>,
    /// Those that wait for the next answer, whatever it says.
    awaiting: BTreeSet<StackKey>,
    /// Looks that were asked for by token, and when that was first seen.
    asked: BTreeMap<StackKey, (String, Timestamp)>,
    stop: CancellationToken,
}

impl Followed {
    fn tags_wanted(&self) -> bool {
        self.wants.values().any(|want| want.tags)
    }

    fn digests_wanted(&self) -> BTreeSet<String> {
        self.wants.values().flat_map(|want| want.digests.iter().cloned()).collect()
    }

    fn poll(&self) -> SignedDuration {
        self.wants.values().map(|want| want.poll).min().unwrap_or(SignedDuration::from_mins(5))
    }

    /// Whether a want asks for something that no look was after so far.
    fn lacks(&self, want: &Want) -> bool {
        let (seen, known) = (&self.look.seen, self.digests_wanted());
        (want.tags && !self.tags_wanted() && seen.tags.is_none())
            || want.digests.iter().any(|tag| !known.contains(tag) && !seen.digests.contains_key(tag))
    }
}

#[derive(Default)]
struct State {
    followed: BTreeMap<Repository, Followed>,
    /// Registries that are left alone until a time, and why.
    left_alone: BTreeMap<String, (Timestamp, RegistryError)>,
    places: BTreeMap<String, Arc<Semaphore>>,
}

/// All repositories that are followed.
pub(super) struct Repositories {
    registry: Arc<dyn Registry>,
    ledger: Ledger,
    ambient: Arc<dyn Ambient>,
    wake: Wake,
    state: Mutex<State>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl Repositories {
    /// `wake` is called for the followers of a repository when the answer about it changes: at once for those that wait for it,
    /// and with all others of them at once.
    pub(super) fn new(
        registry: Arc<dyn Registry>,
        ledger: Ledger,
        ambient: Arc<dyn Ambient>,
        cancel: CancellationToken,
        wake: Wake,
    ) -> Self {
        let left_alone = before_this_start(&ledger, ambient.now());
        let (state, tasks) = (Mutex::new(State { left_alone, ..State::default() }), TaskTracker::new());
        Self { registry, ledger, ambient, wake, state, tasks, cancel }
    }

    /// How much longer a registry is left alone, if it is.
    fn left_alone_for(&self, host: &str, now: Timestamp) -> Option<SignedDuration> {
        self.state().left_alone.get(host).map(|(until, _)| until.duration_since(now))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows these repositories for a stack, and no others; gives what is known of them. With `newer_than`, a look at each
    /// is asked for unless one was begun after that time.
    pub(super) fn follow(
        self: &Arc<Self>,
        key: &StackKey,
        wants: &BTreeMap<Repository, Want>,
        newer_than: Option<Timestamp>,
    ) -> BTreeMap<Repository, Look> {
        let mut state = self.state();
        self.leave_others(&mut state, key, wants);
        let mut looks = BTreeMap::new();
        for (repository, want) in wants {
            let followed =
                state.followed.entry(repository.clone()).or_insert_with(|| self.begin(repository, want.poll));
            let lacks = followed.lacks(want);
            let sooner = want.poll < followed.poll() && followed.look.begun.is_some();
            followed.wants.insert(key.clone(), want.clone());
            let old = newer_than.is_some_and(|time| followed.look.begun.is_none_or(|begun| begun < time));
            if old || lacks {
                followed.awaiting.insert(key.clone());
            }
            if old || sooner || (lacks && followed.look.begun.is_some()) {
                followed.again.notify_one();
            }
            looks.insert(repository.clone(), followed.look.clone());
        }
        looks
    }

    /// What is known of a repository that is followed.
    pub(super) fn known(&self, repository: &Repository) -> Option<Look> {
        self.state().followed.get(repository).map(|followed| followed.look.clone())
    }

    /// Whether all that this stack follows was looked at since this token was first seen. What was not is looked at now, and
    /// the stack is woken after it.
    pub(super) fn looked(&self, key: &StackKey, token: &str) -> bool {
        let now = self.ambient.now();
        let mut all = true;
        for followed in self.state().followed.values_mut().filter(|followed| followed.wants.contains_key(key)) {
            let (known, since) = followed.asked.entry(key.clone()).or_insert_with(|| (token.to_owned(), now));
            if known != token {
                (*known, *since) = (token.to_owned(), now);
            }
            if followed.look.begun.is_none_or(|begun| begun < *since) {
                followed.awaiting.insert(key.clone());
                followed.again.notify_one();
                all = false;
            }
        }
        all
    }

    /// A login changed: what could not be looked at is tried again now.
    pub(super) fn look_at_failed(&self) {
        for followed in self.state().followed.values().filter(|followed| followed.look.error.is_some()) {
            followed.again.notify_one();
        }
    }

    /// Follows nothing for this stack any more.
    pub(super) fn leave(self: &Arc<Self>, key: &StackKey) {
        self.leave_others(&mut self.state(), key, &BTreeMap::new());
    }

    fn leave_others(self: &Arc<Self>, state: &mut State, key: &StackKey, keep: &BTreeMap<Repository, Want>) {
        let mut left = Vec::new();
        state.followed.retain(|repository, followed| {
            if keep.contains_key(repository) || followed.wants.remove(key).is_none() {
                return true;
            }
            followed.asked.remove(key);
            followed.awaiting.remove(key);
            if followed.wants.is_empty() {
                followed.stop.cancel();
                left.push(repository.clone());
            }
            !followed.wants.is_empty()
        });
        for repository in left {
            let own = self.clone();
            self.tasks.spawn(async move {
                if own.known(&repository).is_none() {
                    own.write(Batch::new().delete_repository_status(&repository), &repository).await;
                }
            });
        }
    }

    fn begin(self: &Arc<Self>, repository: &Repository, poll: SignedDuration) -> Followed {
        let again = Arc::new(Notify::new());
        let stop = self.cancel.child_token();
        self.tasks.spawn({
            let (own, repository, again, stop) = (self.clone(), repository.clone(), again.clone(), stop.clone());
            async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = own.look_again_and_again(repository, poll, again) => {}
                }
            }
        });
        Followed {
            wants: BTreeMap::new(),
            look: Look::default(),
            tags: None,
            again,
            awaiting: BTreeSet::new(),
            asked: BTreeMap::new(),
            stop,
        }
    }

    async fn look_again_and_again(&self, repository: Repository, poll: SignedDuration, again: Arc<Notify>) {
        let mut status = self.ledger.repository_status(&repository).ok().flatten().unwrap_or_default();
        if let Some(planned) = status.next_at {
            // As it was planned before a restart; never later than the stacks want it, nor earlier than the registry does.
            let now = self.ambient.now();
            let wait = planned.duration_since(now).min(poll);
            let wait = self.left_alone_for(&repository.host, now).map_or(wait, |rest| wait.max(rest));
            pause(Duration::try_from(wait).unwrap_or_default(), &again).await;
        }
        let mut errors = 0;
        loop {
            let begun = self.ambient.now();
            let answer = self.look(&repository, begun).await;
            errors = if answer.is_ok() { 0 } else { errors + 1 };
            let now = self.ambient.now();
            let Some(wait) = self.wait(&repository, &answer, errors, now) else { return };
            status = RepositoryStatus {
                checked_at: if answer.is_ok() { Some(begun) } else { status.checked_at },
                next_at: now.checked_add(SignedDuration::try_from(wait).unwrap_or_default()).ok(),
                tags: match &answer {
                    Ok((Some(tags), _)) => u64::try_from(tags.names.len()).ok(),
                    Ok((None, _)) => None,
                    Err(_) => status.tags,
                },
                error: answer.as_ref().err().map(ToString::to_string),
                left_alone_until: self.state().left_alone.get(&repository.host).map(|(until, _)| *until),
            };
            self.write(Batch::new().put_repository_status(&repository, &status), &repository).await;
            if !self.take(&repository, begun, answer) {
                return;
            }
            pause(wait, &again).await;
        }
    }

    /// One look. A registry that is left alone is not asked: what it said still stands.
    async fn look(&self, repository: &Repository, now: Timestamp) -> Result<Answered, RegistryError> {
        let (tags_wanted, digests_wanted, tags, digests, places) = {
            let mut state = self.state();
            if let Some((until, why)) = state.left_alone.get(&repository.host) {
                if *until > now {
                    return Err(why.clone());
                }
                state.left_alone.remove(&repository.host);
            }
            let places = state.places.entry(repository.host.clone());
            let places = places.or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))).clone();
            let Some(followed) = state.followed.get(repository) else { return Ok((None, BTreeMap::new())) };
            let known = (followed.tags.clone(), followed.look.seen.digests.clone());
            (followed.tags_wanted(), followed.digests_wanted(), known.0, known.1, places)
        };
        // The semaphore is never closed.
        let _place = places.acquire().await;
        // Others that were asked meanwhile may have been told to wait.
        if let Some((until, why)) = self.state().left_alone.get(&repository.host)
            && *until > self.ambient.now()
        {
            return Err(why.clone());
        }
        let asked = tokio::time::timeout(LONGEST, async {
            let tags = if tags_wanted { Some(self.registry.tags(repository, tags.as_ref()).await?) } else { None };
            let mut found = BTreeMap::new();
            for tag in digests_wanted {
                let known = digests.get(&tag).and_then(Option::as_deref);
                found.insert(tag.clone(), self.registry.digest(repository, &tag, known).await?);
            }
            Ok((tags, found))
        });
        let host = repository.host.clone();
        let answer = asked.await.unwrap_or_else(|_| {
            Err(RegistryError::Unreachable { host: host.clone(), reason: "no answer in time".to_owned() })
        });
        if let Err(error @ RegistryError::Busy { retry_after, .. }) = &answer {
            let rest = retry_after.unwrap_or(LEFT_ALONE).max(SignedDuration::from_secs(1));
            let until = self.ambient.now().checked_add(rest).unwrap_or(Timestamp::MAX);
            self.state().left_alone.insert(host, (until, error.clone()));
        }
        answer
    }

    /// How long until the next look; `None` when nobody follows any more.
    fn wait<T>(
        &self,
        repository: &Repository,
        answer: &Result<T, RegistryError>,
        errors: u32,
        now: Timestamp,
    ) -> Option<Duration> {
        let state = self.state();
        let period = Duration::try_from(state.followed.get(repository)?.poll()).unwrap_or(Duration::from_secs(300));
        let random = self.ambient.random();
        let usual = match answer {
            Ok(_) => jittered(period, random),
            Err(error) if error.is_transient() => backoff(errors, random).min(period.max(Duration::from_secs(1))),
            Err(_) => jittered(period, random),
        };
        let until = state.left_alone.get(&repository.host).map(|(until, _)| until.duration_since(now));
        let until = until.and_then(|until| Duration::try_from(until).ok());
        Some(match until {
            Some(until) => usual.max(until + Duration::from_millis(random % SPREAD)),
            None => usual,
        })
    }

    /// Takes an answer in, and wakes who waits for it; whether anybody follows still.
    fn take(&self, repository: &Repository, begun: Timestamp, answer: Result<Answered, RegistryError>) -> bool {
        let mut state = self.state();
        let Some(followed) = state.followed.get_mut(repository) else { return false };
        let before = followed.look.clone();
        followed.look.begun = Some(begun);
        match answer {
            Ok((tags, digests)) => {
                let names = tags.as_ref().map(|tags| tags.names.clone());
                followed.look.seen = Seen { tags: names, digests };
                followed.look.error = None;
                followed.tags = tags;
            }
            Err(error) => followed.look.error = Some(error),
        }
        let look = &followed.look;
        let changed = (&before.seen, &before.error) != (&look.seen, &look.error) || before.begun.is_none();
        let mut awaiting = std::mem::take(&mut followed.awaiting);
        if before.begun.is_none() {
            // All of them wait for it.
            awaiting.extend(followed.wants.keys().cloned());
        }
        // What was asked for while this look was under way is not in it.
        let lacks = |want: &Want| {
            want.digests.iter().any(|tag| !look.seen.digests.contains_key(tag))
                || (want.tags && look.seen.tags.is_none())
        };
        let lacking = followed.wants.iter().filter(|(_, want)| look.error.is_none() && lacks(want));
        let lacking: BTreeSet<StackKey> = lacking.map(|(key, _)| key.clone()).collect();
        if !lacking.is_empty() {
            followed.awaiting = lacking;
            followed.again.notify_one();
        }
        let others = followed.wants.keys().filter(|key| changed && !awaiting.contains(*key));
        let others: Vec<StackKey> = others.cloned().collect();
        drop(state);
        for key in awaiting {
            (self.wake)(&[key]);
        }
        (self.wake)(&others);
        true
    }

    /// Writes what is known down. It is told, not decided by: when the store does not take it, work goes on.
    async fn write(&self, batch: Batch, repository: &Repository) {
        if let Err(error) = self.ledger.commit(batch).await {
            tracing::debug!(%repository, %error, "what is known of the repository is not written down");
        }
    }
}

/// The registries that asked before this start to be left alone for longer.
fn before_this_start(ledger: &Ledger, now: Timestamp) -> BTreeMap<String, (Timestamp, RegistryError)> {
    // What cannot be read is asked once more.
    let known = ledger.repository_statuses().unwrap_or_default();
    let mut left_alone: BTreeMap<String, (Timestamp, RegistryError)> = BTreeMap::new();
    for (repository, status) in known {
        let Some(until) = status.left_alone_until.filter(|until| *until > now) else { continue };
        let host = repository.host;
        let reason = "it said so before this start".to_owned();
        let busy = RegistryError::Busy { host: host.clone(), reason, retry_after: Some(until.duration_since(now)) };
        let known = left_alone.entry(host).or_insert((until, busy));
        known.0 = known.0.max(until);
    }
    left_alone
}

async fn pause(wait: Duration, again: &Notify) {
    tokio::select! {
        biased;
        () = again.notified() => {}
        () = tokio::time::sleep(wait) => {}
    }
}
