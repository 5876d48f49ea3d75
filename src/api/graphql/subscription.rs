//! Subscriptions: the snapshot first, then every change, each with a sequence to resume from.

use std::collections::VecDeque;

use async_graphql::{Context, ID, SimpleObject};
use futures_util::stream::{Stream, StreamExt, unfold};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::deployment::DeploymentView;
use super::event::EventView;
use super::ids::deployment_id;
use super::query::{EventFilter, environment_name, key, one_deployment, one_stack};
use super::stack::StackView;
use super::{context, error, unavailable, with_status};
use crate::api::feed::{Feed, Signal, Touched};
use crate::domain::{EnvironmentName, StackKey};
use crate::ledger::Ledger;

/// A stack as it stands.
#[derive(SimpleObject)]
pub(super) struct StackChange {
    /// Pass it as `after` to go on from here.
    sequence: u64,
    /// The stack; null when it is not declared.
    stack: Option<StackView>,
}

/// A change among the stacks: one of the three fields is there.
#[derive(SimpleObject)]
pub(super) struct StacksChange {
    /// Pass it as `after` to go on from here.
    sequence: u64,
    /// All stacks, at the beginning and whenever changes were missed: what is not in it is gone.
    snapshot: Option<Vec<StackView>>,
    /// The stack that changed.
    stack: Option<StackView>,
    /// The stack that is gone.
    deleted: Option<StackRef>,
}

/// Names a stack.
#[derive(SimpleObject)]
pub(super) struct StackRef {
    /// Its name.
    name: String,
    /// The environment it lived in.
    environment: String,
}

/// A deployment as it stands.
#[derive(SimpleObject)]
pub(super) struct DeploymentChange {
    /// Pass it as `after` to go on from here.
    sequence: u64,
    /// The deployment.
    deployment: DeploymentView,
}

/// A line of the log.
#[derive(SimpleObject)]
pub(super) struct EventAdded {
    /// The event's number in the log: pass it as `after` to go on from here.
    sequence: u64,
    /// The event.
    event: EventView,
}

/// What can be followed.
pub(in crate::api) struct Subscription;

/// What can be followed: the snapshot comes first, then every change.
#[async_graphql::Subscription]
impl Subscription {
    /// Follows one stack.
    async fn stack_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its name.")] name: String,
        #[graphql(desc = "The environment it lives in.", default = "default")] environment: String,
        #[graphql(desc = "Go on from this sequence: no snapshot when nothing changed since.")] after: Option<u64>,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<StackChange>> + use<>> {
        let graph = context(ctx)?.clone();
        let key = key(&name, &environment)?;
        let (ledger, wanted) = (graph.ledger.clone(), key.clone());
        let snapshot = move |sequence| Ok(vec![StackChange { sequence, stack: one_stack(&ledger, &key)? }]);
        let again = snapshot.clone();
        let change = move |touched: &Touched| match touched.stacks.contains(&wanted) {
            true => again(touched.revision),
            false => Ok(Vec::new()),
        };
        Ok(follow(&graph.feed, graph.ledger, after, snapshot, change))
    }

    /// Follows all stacks, or those of one environment.
    async fn stacks_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those of this environment.")] environment: Option<String>,
        #[graphql(desc = "Go on from this sequence: only what changed since, when that is still known.")] after: Option<
            u64,
        >,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<StacksChange>> + use<>> {
        let graph = context(ctx)?.clone();
        let environment = environment.as_deref().map(environment_name).transpose()?;
        let (ledger, of) = (graph.ledger.clone(), environment.clone());
        let snapshot = move |sequence| all_stacks(&ledger, of.as_ref(), sequence);
        let ledger = graph.ledger.clone();
        let change = move |touched: &Touched| {
            let mine = |key: &&StackKey| environment.as_ref().is_none_or(|name| key.environment == *name);
            touched.stacks.iter().filter(mine).map(|key| one_change(&ledger, key, touched.revision)).collect()
        };
        Ok(follow(&graph.feed, graph.ledger, after, snapshot, change))
    }

    /// Follows one deployment. Ends when the deployment has.
    async fn deployment_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its id, the global one or the bare one.")] id: ID,
        #[graphql(desc = "Go on from this sequence: no snapshot when nothing changed since.")] after: Option<u64>,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<DeploymentChange>> + use<>> {
        let graph = context(ctx)?.clone();
        let id = deployment_id(&id);
        let known = graph.ledger.deployment(&id).map_err(unavailable)?;
        let Some(known) = known else { return Err(error("NOT_FOUND", format!("there is no deployment `{id}`"))) };
        // One that has ended changes no more: it is sent in any case, so that nobody waits for ever.
        let after = after.filter(|_| !known.value.phase.is_terminal());
        let (ledger, wanted) = (graph.ledger.clone(), id.clone());
        let snapshot = move |sequence| {
            let deployment = one_deployment(&ledger, &id)?;
            Ok(deployment.map(|deployment| DeploymentChange { sequence, deployment }).into_iter().collect())
        };
        let again = snapshot.clone();
        let change = move |touched: &Touched| match touched.deployments.contains(&wanted) {
            true => again(touched.revision),
            false => Ok(Vec::new()),
        };
        let stream = follow(&graph.feed, graph.ledger, after, snapshot, change);
        Ok(until(stream, |change| change.deployment.has_ended()))
    }

    /// Follows the log: the newest lines first of all, then each that is added.
    async fn event_added(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those about this environment.")] environment: Option<String>,
        #[graphql(desc = "Only those about the stack of this name.")] stack: Option<String>,
        #[graphql(desc = "Go on behind this sequence: every line since comes first.")] after: Option<u64>,
        #[graphql(desc = "Without `after`: how many of the newest lines come first, 0 to 200.", default = 20)]
        last: u32,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<EventAdded>> + use<>> {
        let graph = context(ctx)?.clone();
        let last = usize::try_from(last).unwrap_or(usize::MAX).min(super::page::LARGEST_PAGE);
        let signals = graph.feed.subscribe();
        let filter = EventFilter { environment, stack };
        let (from, pending) = match after {
            Some(after) => (after, VecDeque::new()),
            None => newest(&graph.ledger, &filter, last)?,
        };
        Ok(log(Log { ledger: graph.ledger, feed: graph.feed, signals, filter, from, pending }))
    }
}

fn all_stacks(
    ledger: &Ledger,
    environment: Option<&EnvironmentName>,
    sequence: u64,
) -> async_graphql::Result<Vec<StacksChange>> {
    let found = ledger.stacks(environment).map_err(unavailable)?.into_iter();
    let stacks = found.map(|found| with_status(ledger, found.value)).collect::<async_graphql::Result<_>>()?;
    Ok(vec![StacksChange { sequence, snapshot: Some(stacks), stack: None, deleted: None }])
}

fn one_change(ledger: &Ledger, key: &StackKey, sequence: u64) -> async_graphql::Result<StacksChange> {
    let stack = one_stack(ledger, key)?;
    let deleted =
        stack.is_none().then(|| StackRef { name: key.name.to_string(), environment: key.environment.to_string() });
    Ok(StacksChange { sequence, snapshot: None, stack, deleted })
}

/// Follows what is recorded. `snapshot` reads all there is, `change` what a transaction touched; both read what stands
/// now, so that a message may come twice but never holds less than its sequence says.
fn follow<T, S, C>(
    feed: &Feed,
    ledger: Ledger,
    after: Option<u64>,
    snapshot: S,
    change: C,
) -> impl Stream<Item = async_graphql::Result<T>> + use<T, S, C>
where
    T: Send,
    S: Fn(u64) -> async_graphql::Result<Vec<T>> + Send,
    C: Fn(&Touched) -> async_graphql::Result<Vec<T>> + Send,
{
    // Subscribe first: what is committed while the snapshot is read is told after it.
    let signals = feed.subscribe();
    let resumed = after.and_then(|after| feed.since(after));
    let (last, pending) = match resumed {
        Some(missed) => (missed.revision, change(&missed)),
        None => {
            let revision = ledger.revision();
            (revision, snapshot(revision))
        }
    };
    let state = Follow { ledger, feed: feed.clone(), signals, last, pending: Vec::new().into(), ended: false };
    unfold((state, Some(pending), snapshot, change), |(mut state, first, snapshot, change)| async move {
        if let Some(first) = first {
            state.take(first);
        }
        let next = state.next(&snapshot, &change).await?;
        Some((next, (state, None, snapshot, change)))
    })
}

struct Follow<T> {
    ledger: Ledger,
    /// Kept so that the watch goes on for as long as someone follows.
    #[expect(dead_code, reason = "holds the shared watch")]
    feed: Feed,
    signals: broadcast::Receiver<Signal>,
    /// The newest revision that was told.
    last: u64,
    pending: VecDeque<async_graphql::Result<T>>,
    ended: bool,
}

impl<T> Follow<T> {
    fn take(&mut self, found: async_graphql::Result<Vec<T>>) {
        match found {
            Ok(found) => self.pending.extend(found.into_iter().map(Ok)),
            Err(error) => {
                self.pending.push_back(Err(error));
                self.ended = true;
            }
        }
    }

    async fn next(
        &mut self,
        snapshot: &impl Fn(u64) -> async_graphql::Result<Vec<T>>,
        change: &impl Fn(&Touched) -> async_graphql::Result<Vec<T>>,
    ) -> Option<async_graphql::Result<T>> {
        loop {
            if let Some(next) = self.pending.pop_front() {
                return Some(next);
            }
            if self.ended {
                return None;
            }
            match self.signals.recv().await {
                Ok(Signal::Touched(touched)) if touched.revision > self.last => {
                    self.last = touched.revision;
                    self.take(change(&touched));
                }
                Ok(Signal::Touched(_)) => {}
                Ok(Signal::Missed) | Err(RecvError::Lagged(_)) => {
                    self.last = self.ledger.revision();
                    self.take(snapshot(self.last));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// A stream that ends with the first item of which `done` holds.
fn until<T: Send>(
    stream: impl Stream<Item = async_graphql::Result<T>> + Send + 'static,
    done: impl Fn(&T) -> bool + Send,
) -> impl Stream<Item = async_graphql::Result<T>> {
    unfold((Some(stream.boxed()), done), |(stream, done)| async move {
        let mut stream = stream?;
        let item = stream.next().await?;
        let ended = item.as_ref().is_ok_and(&done);
        Some((item, ((!ended).then_some(stream), done)))
    })
}

/// The newest lines that are wanted, the oldest of them first, and the number of the newest line of all.
fn newest(ledger: &Ledger, filter: &EventFilter, last: usize) -> async_graphql::Result<(u64, VecDeque<EventAdded>)> {
    let (mut found, mut before, mut newest, mut seen) = (VecDeque::new(), None, 0, 0);
    // One look in any case, for the newest number.
    loop {
        let page = ledger.events(before, true, 500).map_err(unavailable)?;
        newest = newest.max(page.first().map_or(0, |(sequence, _)| *sequence));
        let Some((oldest, _)) = page.last() else { break };
        before = Some(*oldest);
        seen += page.len();
        for (sequence, event) in page {
            if found.len() < last && filter.takes(&event) {
                found.push_front(EventAdded { sequence, event: (sequence, event).into() });
            }
        }
        if found.len() >= last || seen >= 20_000 {
            break;
        }
    }
    Ok((newest, found))
}

struct Log {
    ledger: Ledger,
    #[expect(dead_code, reason = "holds the shared watch")]
    feed: Feed,
    signals: broadcast::Receiver<Signal>,
    filter: EventFilter,
    /// The newest number that was looked at.
    from: u64,
    pending: VecDeque<EventAdded>,
}

/// Follows the log. It is durable, so nothing is ever missed: a signal only says that it is worth a look.
fn log(log: Log) -> impl Stream<Item = async_graphql::Result<EventAdded>> {
    unfold(Some(log), |log| async move {
        let mut log = log?;
        loop {
            if let Some(next) = log.pending.pop_front() {
                return Some((Ok(next), Some(log)));
            }
            match log.read() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => return Some((Err(error), None)),
            }
            loop {
                match log.signals.recv().await {
                    Ok(Signal::Touched(touched)) if !touched.events => {}
                    Err(RecvError::Closed) => return None,
                    _ => break,
                }
            }
        }
    })
}

impl Log {
    /// Reads on; whether there was anything.
    fn read(&mut self) -> async_graphql::Result<bool> {
        let page = self.ledger.events(Some(self.from), false, 500).map_err(unavailable)?;
        let Some((newest, _)) = page.last() else { return Ok(false) };
        self.from = *newest;
        for (sequence, event) in page {
            if self.filter.takes(&event) {
                self.pending.push_back(EventAdded { sequence, event: (sequence, event).into() });
            }
        }
        Ok(true)
    }
}
