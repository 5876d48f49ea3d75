//! How long a round over an environment takes: everything listed, and then every stack looked at. Held in memory alone: it
//! differs from one round to the next, and nobody needs it after a restart.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::domain::{Round, StackKey};

/// A round that is going on.
#[derive(Debug)]
struct Going {
    begun: Instant,
    /// How long the listing took, once it is done.
    listing: Option<Duration>,
    /// The stacks that are still to be looked at, once they are queued.
    left: Option<BTreeSet<StackKey>>,
    stacks: u64,
}

#[derive(Debug, Default)]
struct State {
    going: Option<Going>,
    newest: Option<Round>,
}

/// The rounds of one environment.
#[derive(Debug, Default)]
pub(super) struct Rounds(Mutex<State>);

impl Rounds {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest round that is over.
    pub(super) fn newest(&self) -> Option<Round> {
        self.state().newest
    }

    /// Everything is about to be listed. A round that was going on is not finished.
    pub(super) fn begin(&self) {
        let going = Going { begun: Instant::now(), listing: None, left: None, stacks: 0 };
        self.state().going = Some(going);
    }

    /// Everything is listed.
    pub(super) fn listed(&self) {
        if let Some(going) = &mut self.state().going {
            going.listing = Some(going.begun.elapsed());
        }
    }

    /// These stacks, which are all there are, will be looked at.
    pub(super) fn queued(&self, all: &[StackKey], now: Timestamp) {
        let mut state = self.state();
        if let Some(going) = state.going.as_mut().filter(|going| going.listing.is_some() && going.left.is_none()) {
            going.left = Some(all.iter().cloned().collect());
            going.stacks = u64::try_from(all.len()).unwrap_or(u64::MAX);
        }
        state.finish(now);
    }

    /// A stack has been looked at, or is gone.
    pub(super) fn looked(&self, key: &StackKey, now: Timestamp) {
        let mut state = self.state();
        if let Some(left) = state.going.as_mut().and_then(|going| going.left.as_mut()) {
            left.remove(key);
            state.finish(now);
        }
    }
}

impl State {
    /// Ends the round when no stack is left.
    fn finish(&mut self, at: Timestamp) {
        let over = |going: &mut Going| going.left.as_ref().is_some_and(BTreeSet::is_empty);
        if let Some(Going { begun, listing, stacks, .. }) = self.going.take_if(over) {
            self.newest = Some(Round { took: begun.elapsed(), listing: listing.unwrap_or_default(), at, stacks });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EnvironmentName, StackName};

    fn key(name: &str) -> StackKey {
        StackKey { environment: EnvironmentName::default(), name: StackName::parse(name).unwrap() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_is_over_when_every_stack_has_been_looked_at() {
        let (rounds, at) = (Rounds::default(), Timestamp::UNIX_EPOCH);
        rounds.queued(&[key("a")], at);
        rounds.begin();
        tokio::time::advance(Duration::from_secs(2)).await;
        // What is queued and looked at before everything is listed is no part of it.
        rounds.queued(&[key("a")], at);
        rounds.looked(&key("a"), at);
        rounds.listed();
        rounds.queued(&[key("a"), key("b")], at);
        rounds.looked(&key("a"), at);
        rounds.looked(&key("a"), at);
        assert_eq!(rounds.newest(), None);
        tokio::time::advance(Duration::from_secs(3)).await;
        rounds.looked(&key("b"), at);
        let (took, listing) = (Duration::from_secs(5), Duration::from_secs(2));
        assert_eq!(rounds.newest(), Some(Round { took, listing, at, stacks: 2 }));
        // One that is broken off leaves the one before.
        rounds.begin();
        rounds.listed();
        rounds.queued(&[key("a")], at);
        rounds.begin();
        rounds.looked(&key("a"), at);
        assert_eq!(rounds.newest().map(|round| round.stacks), Some(2));
        rounds.listed();
        rounds.queued(&[], at);
        assert_eq!(rounds.newest().map(|round| round.stacks), Some(0));
    }
}
