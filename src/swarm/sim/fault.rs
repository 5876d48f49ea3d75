//! Scripted faults, and the journal of what was asked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::clock::Millis;
use crate::domain::{Applied, Effect, Task};
use crate::ports::{Listing, SwarmError, WatchedKind};

/// The calls of the port, as faults and counts know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of the port and of the effects")]
pub enum CallKind {
    Info,
    List,
    Inspect,
    Tasks,
    Events,
    TaskLogs,
    TaskHealth,
    ServiceLogs,
    Resolve,
    CreateNetwork,
    CreateConfig,
    CreateSecret,
    CreateService,
    UpdateService,
    Relabel,
    Remove,
}

impl CallKind {
    /// The kind of the call that carries this effect out.
    #[must_use]
    pub fn of(effect: &Effect) -> Self {
        match effect {
            Effect::CreateNetwork(_) => Self::CreateNetwork,
            Effect::CreateConfig(_) => Self::CreateConfig,
            Effect::CreateSecret(_) => Self::CreateSecret,
            Effect::CreateService(_) => Self::CreateService,
            Effect::UpdateService { .. } => Self::UpdateService,
            Effect::Relabel { .. } | Effect::Own { .. } => Self::Relabel,
            Effect::Remove { .. } => Self::Remove,
        }
    }

    /// Whether such a call changes something.
    #[must_use]
    pub fn is_write(self) -> bool {
        self >= Self::CreateNetwork
    }
}

/// A write call as it came in, with what it got.
#[derive(Debug, Clone, PartialEq)]
pub struct WriteCall {
    /// When it reached the engine.
    pub at: Timestamp,
    /// What it asked.
    pub effect: Effect,
    /// What the caller was told.
    pub answer: Result<Applied, SwarmError>,
    /// Whether it took effect, whatever the caller was told.
    pub took_effect: bool,
}

/// Everything that was asked of the engine.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) calls: BTreeMap<CallKind, u64>,
    pub(super) writes: Vec<WriteCall>,
    pub(super) trace: Vec<String>,
}

/// What goes wrong with one call.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// It has no effect and gets this error.
    Fail(SwarmError),
    /// It has its effect, and the caller gets no answer.
    LoseAnswer,
}

/// What goes wrong with everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
pub(super) struct Switches {
    pub(super) down: bool,
    pub(super) hang: bool,
    pub(super) no_quorum: bool,
    pub(super) no_manager: bool,
}

/// Faults to come.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) switches: Switches,
    pub(super) next: BTreeMap<CallKind, VecDeque<Fault>>,
    pub(super) drop_events: u64,
    pub(super) duplicate_events: u64,
    /// What reads show instead of how things are.
    pub(super) stale: Option<Stale>,
}

/// How things stood at some time: what a manager that lags behind tells.
#[derive(Debug, Clone)]
pub(super) struct Stale {
    pub(super) until: Millis,
    pub(super) listings: Vec<(WatchedKind, Listing)>,
    pub(super) tasks: Vec<Arc<Task>>,
}

/// What becomes of a call.
pub(super) enum Passage {
    Free,
    LoseAnswer,
    Fail(SwarmError),
    Hang,
}

impl Faults {
    /// Decides on a call of this kind, and uses up the fault that was waiting for it.
    pub(super) fn passage(&mut self, kind: CallKind, endpoint: &str) -> Passage {
        if self.switches.hang {
            return Passage::Hang;
        }
        if self.switches.down {
            return Passage::Fail(unreachable(endpoint, "connection refused"));
        }
        if self.switches.no_manager {
            let reason = "This node is not a swarm manager.".to_owned();
            return Passage::Fail(SwarmError::NotAManager { endpoint: endpoint.to_owned(), reason });
        }
        if self.switches.no_quorum && !matches!(kind, CallKind::Info | CallKind::Events) {
            let reason = "rpc error: code = Unknown desc = The swarm does not have a leader.".to_owned();
            return Passage::Fail(SwarmError::NoQuorum { endpoint: endpoint.to_owned(), reason });
        }
        match self.next.get_mut(&kind).and_then(VecDeque::pop_front) {
            Some(Fault::Fail(error)) => Passage::Fail(error),
            Some(Fault::LoseAnswer) => Passage::LoseAnswer,
            None => Passage::Free,
        }
    }
}

/// The error of a connection that broke.
pub(super) fn unreachable(endpoint: &str, reason: &str) -> SwarmError {
    SwarmError::Unreachable { endpoint: endpoint.to_owned(), reason: reason.to_owned() }
}
