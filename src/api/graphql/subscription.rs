//! Subscriptions: the snapshot first, then every change, each with a sequence to resume from.

use std::collections::VecDeque;

use async_graphql::{Context, ID, SimpleObject};
use futures_util::stream::{BoxStream, Stream, StreamExt, unfold};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::deployment::DeploymentView;
use super::enums::StackPhase;
use super::event::EventView;
use super::event_type::EventType;
use super::fleet::{self, ListArgs, StackOrder, StackPageChange};
use super::ids::deployment_id;
use super::log::{self, LogLines};
use super::query::{EventFilter, environment_name, key, one_deployment, one_stack};
use super::stack::StackView;
use super::time::Time;
use super::{GraphContext, caller, context, ended, error, guard, refused, unavailable, with_status};
use crate::api::caller::Caller;
use crate::api::feed::{Feed, Signal, Touched};
use crate::api::guard::{Guard, Look, Shelf};
use crate::domain::{EnvironmentName, StackKey};
use crate::ports::{LogOf, LogQuery};

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

impl StackRef {
    pub(super) fn of(key: &StackKey) -> Self {
        Self { name: key.name.to_string(), environment: key.environment.to_string() }
    }
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
        let (graph, guard) = (context(ctx)?.clone(), guard(ctx)?);
        let key = key(&name, &environment)?;
        let wanted = Some(key.clone()).filter(|key| guard.sees(key));
        let snapshot = move |sequence| Ok(vec![StackChange { sequence, stack: one_stack(&guard, &key)? }]);
        let again = snapshot.clone();
        let change = move |touched: &Touched| match wanted.as_ref().is_some_and(|key| touched.stacks.contains(key)) {
            true => again(touched.revision),
            false => Ok(Vec::new()),
        };
        let stream = follow(&graph.feed, graph.shelf.clone(), after, snapshot, change);
        Ok(while_let_in(&graph, caller(ctx)?, stream))
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
        let (graph, guard) = (context(ctx)?.clone(), guard(ctx)?);
        let environment = environment.as_deref().map(environment_name).transpose()?;
        let (reader, of) = (guard.clone(), environment.clone());
        let snapshot = move |sequence| all_stacks(&reader, of.as_ref(), sequence);
        let change = move |touched: &Touched| {
            let wanted = |key: &&StackKey| environment.as_ref().is_none_or(|name| key.environment == *name);
            let mine = touched.stacks.iter().filter(wanted).filter(|key| guard.sees(key));
            mine.map(|key| one_change(&guard, key, touched.revision)).collect()
        };
        let stream = follow(&graph.feed, graph.shelf.clone(), after, snapshot, change);
        Ok(while_let_in(&graph, caller(ctx)?, stream))
    }

    /// Follows a page of stacks, as `stacks` gives it: the whole of it first, then what became different, at most a few
    /// times a second. What is asked for stays the same: another page is another subscription.
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the field")]
    async fn stack_page_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many at most, 1 to 200; 50 when left out.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "Or the page that ends before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only those of this environment.")] environment: Option<String>,
        #[graphql(desc = "Only those in one of these phases.")] phases: Option<Vec<StackPhase>>,
        #[graphql(desc = "Only those with all of these words: see `stacks`.")] text: Option<String>,
        #[graphql(desc = "In which order. A cursor belongs to its order.", default_with = "StackOrder::Place")]
        order: StackOrder,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<StackPageChange>> + use<>> {
        let (graph, guard) = (context(ctx)?.clone(), guard(ctx)?);
        let list = ListArgs { first, after, before, environment, phases, name: None, text, order };
        let stream = fleet::follow(guard, graph.feed.clone(), list.try_into()?);
        Ok(while_let_in(&graph, caller(ctx)?, stream))
    }

    /// Follows one deployment. Ends when the deployment has.
    async fn deployment_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its id, the global one or the bare one.")] id: ID,
        #[graphql(desc = "Go on from this sequence: no snapshot when nothing changed since.")] after: Option<u64>,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<DeploymentChange>> + use<>> {
        let (graph, guard) = (context(ctx)?.clone(), guard(ctx)?);
        let id = deployment_id(&id);
        let known = guard.deployment(&id).map_err(unavailable)?;
        let Some(known) = known else { return Err(error("NOT_FOUND", format!("there is no deployment `{id}`"))) };
        // One that has ended changes no more: it is sent in any case, so that nobody waits for ever.
        let after = after.filter(|_| !known.phase.is_terminal());
        let wanted = id.clone();
        let snapshot = move |sequence| {
            let deployment = one_deployment(&guard, &id)?;
            Ok(deployment.map(|deployment| DeploymentChange { sequence, deployment }).into_iter().collect())
        };
        let again = snapshot.clone();
        let change = move |touched: &Touched| match touched.deployments.contains(&wanted) {
            true => again(touched.revision),
            false => Ok(Vec::new()),
        };
        let stream = follow(&graph.feed, graph.shelf.clone(), after, snapshot, change);
        Ok(while_let_in(&graph, caller(ctx)?, until(stream, |change| change.deployment.has_ended())))
    }

    /// Follows the log: the newest lines first of all, then each that is added.
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the field")]
    async fn event_added(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those about this environment.")] environment: Option<String>,
        #[graphql(desc = "Only those about the stack of this name.")] stack: Option<String>,
        #[graphql(desc = "Only those about this deployment, by the global id or the bare one.")] deployment: Option<ID>,
        #[graphql(desc = "Only those of one of these kinds.")] types: Option<Vec<EventType>>,
        #[graphql(desc = "Only those that were caused by the actor of this name.")] actor: Option<String>,
        #[graphql(desc = "Go on behind this sequence: every line since comes first.")] after: Option<u64>,
        #[graphql(desc = "Without `after`: how many of the newest lines come first, 0 to 200.", default = 20)]
        last: u32,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<EventAdded>> + use<>> {
        let (graph, guard) = (context(ctx)?.clone(), guard(ctx)?);
        let last = usize::try_from(last).unwrap_or(usize::MAX).min(super::page::LARGEST_PAGE);
        let signals = graph.feed.subscribe();
        let filter = EventFilter::new(environment, stack, deployment, types, actor);
        let (from, pending) = match after {
            Some(after) => (after, VecDeque::new()),
            None => newest(&guard, &filter, last)?,
        };
        let stream = events(Log { guard, feed: graph.feed.clone(), signals, filter, from, pending });
        Ok(while_let_in(&graph, caller(ctx)?, stream))
    }

    /// Follows what Skep did and what services wrote, for one deployment or for a stack. The log of a deployment ends with
    /// the deployment, that of a stack when the stack is gone.
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the field")]
    async fn log_lines(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deployment, by the global id or the bare one: from when it was recorded.")]
        deployment: Option<ID>,
        #[graphql(desc = "Or the stack of this name: from when its newest deployment was recorded.")] stack: Option<
            String,
        >,
        #[graphql(desc = "The environment the stack lives in.", default = "default")] environment: String,
        #[graphql(desc = "Only what this service wrote, by its name in the compose file.")] service: Option<String>,
        #[graphql(desc = "How many lines of the past come first, of each service, 0 to 10000.", default = 200)]
        tail: u32,
        #[graphql(desc = "Nothing that was written before.")] since: Option<Time>,
        #[graphql(desc = "Go on behind this sequence.")] after: Option<u64>,
        #[graphql(desc = "Go on with what is written from now on; else it ends with what is there.", default = true)]
        follow: bool,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<LogLines>> + use<>> {
        let (graph, guard) = (context(ctx)?.clone(), guard(ctx)?);
        let of = match (deployment, stack) {
            (Some(id), None) => LogOf::Deployment(deployment_id(&id)),
            (None, Some(name)) => LogOf::Stack(key(&name, &environment)?),
            _ => return Err(error("INVALID", "name either a deployment or a stack")),
        };
        let resumed = log::since(after);
        let tail = if resumed.is_some() { log::MOST_LINES } else { tail.min(log::MOST_LINES) };
        let query = LogQuery { follow, tail, since: since.map(|time| time.0).max(resumed), service };
        let lines = guard.logs(&of, &query).await.map_err(refused)?;
        Ok(while_let_in(&graph, caller(ctx)?, log::messages(lines, after)))
    }
}

/// The stream for as long as the caller is let in.
fn while_let_in<T: Send + 'static>(
    graph: &GraphContext,
    caller: &Caller,
    stream: impl Stream<Item = async_graphql::Result<T>> + Send + 'static,
) -> BoxStream<'static, async_graphql::Result<T>> {
    graph.door.while_let_in(caller, || Err(ended()), stream)
}

fn all_stacks(
    guard: &Guard,
    environment: Option<&EnvironmentName>,
    sequence: u64,
) -> async_graphql::Result<Vec<StacksChange>> {
    let found = guard.stacks(environment).map_err(unavailable)?.into_iter();
    let stacks = found.map(|found| with_status(guard, found)).collect::<async_graphql::Result<_>>()?;
    Ok(vec![StacksChange { sequence, snapshot: Some(stacks), stack: None, deleted: None }])
}

fn one_change(guard: &Guard, key: &StackKey, sequence: u64) -> async_graphql::Result<StacksChange> {
    let stack = one_stack(guard, key)?;
    let deleted = stack.is_none().then(|| StackRef::of(key));
    Ok(StacksChange { sequence, snapshot: None, stack, deleted })
}

/// Follows what is recorded. `snapshot` reads all there is, `change` what a transaction touched; both read what stands
/// now, so that a message may come twice but never holds less than its sequence says.
fn follow<T, S, C>(
    feed: &Feed,
    shelf: Shelf,
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
            let revision = shelf.revision();
            (revision, snapshot(revision))
        }
    };
    let state = Follow { shelf, feed: feed.clone(), signals, last, pending: Vec::new().into(), ended: false };
    unfold((state, Some(pending), snapshot, change), |(mut state, first, snapshot, change)| async move {
        if let Some(first) = first {
            state.take(first);
        }
        let next = state.next(&snapshot, &change).await?;
        Some((next, (state, None, snapshot, change)))
    })
}

struct Follow<T> {
    shelf: Shelf,
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
                    self.last = self.shelf.revision();
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
fn newest(guard: &Guard, filter: &EventFilter, last: usize) -> async_graphql::Result<(u64, VecDeque<EventAdded>)> {
    let newest = guard.newest_event().map_err(unavailable)?;
    if filter.deployment.is_some() {
        let all = filter.of_deployment(guard)?;
        let surplus = all.len().saturating_sub(last);
        // What was added while it was read comes by itself.
        let told = all.into_iter().skip(surplus).filter(|(sequence, _)| *sequence <= newest);
        let told = told.map(|(sequence, event)| EventAdded { sequence, event: (sequence, event).into() });
        return Ok((newest, told.collect()));
    }
    let (mut found, mut before, mut seen) = (VecDeque::new(), Some(newest.saturating_add(1)), 0);
    while found.len() < last && seen < 40 {
        let Look { events: page, last: oldest } = guard.events(before, true).map_err(unavailable)?;
        let Some(oldest) = oldest else { break };
        before = Some(oldest);
        seen += 1;
        for (sequence, event) in page {
            if found.len() < last && filter.takes(&event) {
                found.push_front(EventAdded { sequence, event: (sequence, event).into() });
            }
        }
    }
    Ok((newest, found))
}

struct Log {
    guard: Guard,
    #[expect(dead_code, reason = "holds the shared watch")]
    feed: Feed,
    signals: broadcast::Receiver<Signal>,
    filter: EventFilter,
    /// The newest number that was looked at.
    from: u64,
    pending: VecDeque<EventAdded>,
}

/// Follows the log. It is durable, so nothing is ever missed: a signal only says that it is worth a look.
fn events(log: Log) -> impl Stream<Item = async_graphql::Result<EventAdded>> {
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
        let Look { events: page, last: newest } = self.guard.events(Some(self.from), false).map_err(unavailable)?;
        let Some(newest) = newest else { return Ok(false) };
        self.from = newest;
        for (sequence, event) in page {
            if self.filter.takes(&event) {
                self.pending.push_back(EventAdded { sequence, event: (sequence, event).into() });
            }
        }
        Ok(true)
    }
}
