//! The promises, as laws over what can be seen from outside: every record that is committed, every call that reaches an
//! engine, and the time that passes. Nothing here asks the code under test what it thinks.
//!
//! | law | broken when |
//! | --- | --- |
//! | [`Law::Acknowledged`] | what was answered is not written, is changed by someone who may not, or is applied twice |
//! | [`Law::Record`] | a record moves as none may: an ended deployment goes on, a fixed field changes |
//! | [`Law::Nothing`] | an update is sent that changes nothing, or a settled stack costs a write |
//! | [`Law::Foreign`] | what others own is written |
//! | [`Law::Evidence`] | something is removed that a version in force needs, or too much at once |
//! | [`Law::Deadline`] | a deployment outlives its total deadline |
//! | [`Law::Converged`] | a deployment is called Converged without this version's own tasks |
//! | [`Law::Held`] | a version that failed is tried again by itself |
//! | [`Law::Secret`] | a secret's value shows in a record or in the name, label or config of an object |
//! | [`Law::Claim`] | an engine is written to that another Skep has claimed |
//! | [`Law::Told`] | a write for a stack that is suspended, deleted or not declared, or for a deployment that has ended |
//! | [`Law::Doubt`] | a write that was not noted before, or against a version that was never read |
//! | [`Law::Job`] | a job runs twice for a deployment, or something is written before what it waits for has come about |
//! | [`Law::Settles`] | with everything well again, not everything becomes what was asked last |
//! | [`Law::Busy`] | something goes on and on while no time passes |

mod engine;
mod records;
mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::draft::Draft;
use super::gate::Writer;
use crate::domain::{
    Deployment, DeploymentId, Digest, Effect, EnvironmentName, ObjectRef, Revision, Source, Stack, StackKey, StackSpec,
    StackStatus, Version, VersionIndex, VersionSource,
};
use crate::ports::{Listing, Transaction};
use crate::source::memory::MemorySource;
use crate::swarm::sim::{SimClock, SimSwarm};

/// The laws; see the table of this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "see the table of this module")]
pub enum Law {
    Acknowledged,
    Record,
    Nothing,
    Foreign,
    Evidence,
    Deadline,
    Converged,
    Held,
    Secret,
    Claim,
    Told,
    Doubt,
    Job,
    Settles,
    Busy,
}

/// A law that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// When.
    pub at: Timestamp,
    /// Which.
    pub law: Law,
    /// How.
    pub text: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}: {}", self.law, self.at, self.text)
    }
}

/// Looks on, and remembers what was broken first.
#[derive(Debug)]
pub struct Laws {
    state: Mutex<State>,
}

/// What the laws know.
#[derive(Debug)]
struct State {
    clock: SimClock,
    instance: String,
    breaches: Vec<Breach>,
    swarms: BTreeMap<EnvironmentName, SimSwarm>,
    source: Option<MemorySource>,
    markers: Vec<String>,
    /// Every request has an idempotency key.
    keyed: bool,
    stacks: BTreeMap<StackKey, Stack>,
    statuses: BTreeMap<StackKey, StackStatus>,
    deployments: BTreeMap<DeploymentId, Deployment>,
    /// Idempotency keys that were written.
    keys: BTreeSet<String>,
    /// Services that were read, by id, and at which versions.
    read: BTreeMap<EnvironmentName, BTreeSet<(String, VersionIndex)>>,
    /// Ids of objects that others own.
    foreign: BTreeSet<String>,
    /// When somebody last changed an engine behind Skep's back.
    meddled: BTreeMap<EnvironmentName, Timestamp>,
    /// Until when what Skep reads of an engine may be old.
    blurred: BTreeMap<EnvironmentName, Timestamp>,
    /// Until when Skep may not hear of what happens.
    deaf: BTreeMap<EnvironmentName, Timestamp>,
    /// Objects that a person wanted left running without a stack.
    left: BTreeSet<(StackKey, ObjectRef)>,
    /// Since when another Skep holds an engine.
    claimed: BTreeMap<EnvironmentName, Timestamp>,
    /// Versions that failed and were rolled back.
    burnt: BTreeMap<(StackKey, Digest), DeploymentId>,
    /// Services the stack owned and did not want when a deployment's first removal came: (surplus, owned).
    pruned: BTreeMap<DeploymentId, (usize, usize)>,
    ages: BTreeMap<DeploymentId, time::Age>,
    /// For how long something stands that was to end by itself.
    overdue: BTreeMap<StackKey, SignedDuration>,
    /// The minute at hand, and how many writes reached an engine in it.
    minute: (Timestamp, u32),
    /// Stacks whose end is in the transaction that is looked at.
    gone: Vec<StackKey>,
    last_read: (Timestamp, u64),
}

impl Laws {
    /// Laws for one installation, without a Swarm yet.
    #[must_use]
    pub fn new(instance: &str, clock: SimClock) -> Arc<Self> {
        let state = State {
            clock,
            instance: instance.to_owned(),
            breaches: Vec::new(),
            swarms: BTreeMap::new(),
            source: None,
            markers: Vec::new(),
            keyed: false,
            stacks: BTreeMap::new(),
            statuses: BTreeMap::new(),
            deployments: BTreeMap::new(),
            keys: BTreeSet::new(),
            read: BTreeMap::new(),
            foreign: BTreeSet::new(),
            meddled: BTreeMap::new(),
            blurred: BTreeMap::new(),
            deaf: BTreeMap::new(),
            left: BTreeSet::new(),
            claimed: BTreeMap::new(),
            burnt: BTreeMap::new(),
            pruned: BTreeMap::new(),
            ages: BTreeMap::new(),
            overdue: BTreeMap::new(),
            minute: (Timestamp::UNIX_EPOCH, 0),
            gone: Vec::new(),
            last_read: (Timestamp::UNIX_EPOCH, 0),
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks on at this Swarm, too.
    pub fn watch_swarm(&self, environment: &EnvironmentName, swarm: &SimSwarm) {
        self.state().swarms.insert(environment.clone(), swarm.clone());
    }

    /// Knows what was pushed: versions from there are judged by their drafts.
    pub fn watch_source(&self, source: &MemorySource) {
        self.state().source = Some(source.clone());
    }

    /// This text may show nowhere.
    pub fn mark_secret(&self, marker: &str) {
        self.state().markers.push(marker.to_owned());
    }

    /// From now on every request has an idempotency key.
    pub fn expect_keys(&self) {
        self.state().keyed = true;
    }

    /// The object of this engine id is somebody else's.
    pub fn is_foreign(&self, id: &str) {
        self.state().foreign.insert(id.to_owned());
    }

    /// Somebody changes an engine behind Skep's back just now.
    pub fn meddles(&self, environment: &EnvironmentName) {
        let mut state = self.state();
        let now = state.now();
        state.meddled.insert(environment.clone(), now);
    }

    /// What Skep reads of an engine is old, for so long.
    pub fn blurs(&self, environment: &EnvironmentName, span: SignedDuration) {
        let mut state = self.state();
        let until = state.now().checked_add(span).unwrap_or(Timestamp::MAX);
        let known = state.blurred.entry(environment.clone()).or_insert(until);
        *known = until.max(*known);
    }

    /// Skep may not hear of what happens on an engine, for so long.
    pub fn deafens(&self, environment: &EnvironmentName, span: SignedDuration) {
        let mut state = self.state();
        let until = state.now().checked_add(span).unwrap_or(Timestamp::MAX);
        let known = state.deaf.entry(environment.clone()).or_insert(until);
        *known = until.max(*known);
    }

    /// Another Skep takes an engine over, or lets it go.
    pub fn claims(&self, environment: &EnvironmentName, taken: bool) {
        let mut state = self.state();
        let now = state.now();
        if taken {
            state.claimed.entry(environment.clone()).or_insert(now);
        } else {
            state.claimed.remove(environment);
        }
    }

    /// Whether another Skep holds an engine.
    #[must_use]
    pub fn is_claimed(&self, environment: &EnvironmentName) -> bool {
        self.state().claimed.contains_key(environment)
    }

    /// Whether anything was broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        !self.state().breaches.is_empty()
    }

    /// What was broken, the first first.
    #[must_use]
    pub fn breaches(&self) -> Vec<Breach> {
        self.state().breaches.clone()
    }

    /// Says that a law was broken.
    pub fn breach(&self, law: Law, text: impl Into<String>) {
        self.state().breach(law, text);
    }

    /// The controller has read these objects.
    pub fn has_read(&self, environment: &EnvironmentName, listing: &Listing) {
        if let Listing::Services(all) = listing {
            let seen = all.iter().map(|live| (live.id.clone(), live.version));
            self.state().read.entry(environment.clone()).or_default().extend(seen);
        }
    }

    /// The controller is about to do this to an engine.
    pub fn writes(&self, environment: &EnvironmentName, effect: &Effect) {
        self.state().writes(environment, effect);
    }

    /// This was committed.
    pub fn committed(&self, writer: Writer, transaction: &Transaction) {
        self.state().committed(writer, transaction);
    }

    /// A record is read once more. Whether that goes on while no time passes.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        /// Ten thousand stacks could be looked at in no time, and these are a few.
        const MOST: u64 = 20_000;
        let mut state = self.state();
        let now = state.now();
        let (at, count) = state.last_read;
        state.last_read = (now, if at == now { count + 1 } else { 1 });
        let busy = state.last_read.1 > MOST;
        if busy {
            state.breach(Law::Busy, format!("{MOST} records were read while no time passed"));
        }
        busy
    }
}

impl State {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn breach(&mut self, law: Law, text: impl Into<String>) {
        let at = self.now();
        self.breaches.push(Breach { at, law, text: text.into() });
    }

    fn ago(&self, since: Timestamp) -> SignedDuration {
        self.now().duration_since(since)
    }

    /// Whether what Skep reads of this engine may be old.
    fn is_blurred(&self, environment: &EnvironmentName) -> bool {
        self.blurred.get(environment).is_some_and(|until| *until > self.now())
    }

    /// Whether Skep may hear of something only when it lists all.
    fn is_deaf(&self, environment: &EnvironmentName) -> bool {
        self.is_blurred(environment) || self.deaf.get(environment).is_some_and(|until| *until > self.now())
    }

    fn finds_marker(&self, bytes: &[u8]) -> bool {
        let text = String::from_utf8_lossy(bytes);
        self.markers.iter().any(|marker| text.contains(marker.as_str()))
    }

    /// The spec and the commit that a version was rendered from.
    fn origin<'a>(&'a self, version: &'a Version) -> Option<(&'a StackSpec, Option<&'a Revision>)> {
        let mut version = version;
        for _ in 0..200 {
            match &version.source {
                VersionSource::Spec(spec) => return Some((spec, version.revision.as_ref())),
                VersionSource::Kept(of) => version = &self.deployments.get(of)?.version,
            }
        }
        None
    }

    /// What a version is meant to be, if it came from a draft; its images as they were set in the spec.
    fn draft(&self, version: &Version) -> Option<Draft> {
        let (spec, revision) = self.origin(version)?;
        let text = match &spec.source {
            Source::Inline(text) => text.clone(),
            Source::Git(git) => self.source.as_ref()?.text(git.url.as_str(), revision?, "stack.yml")?,
        };
        let mut draft = Draft::read(&text)?;
        for (service, image) in &spec.named_images() {
            if let Some(part) = draft.services.get_mut(service) {
                part.image.clone_from(image);
            }
        }
        Some(draft)
    }
}
