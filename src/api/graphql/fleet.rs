//! Lists of stacks: a page of them, put in order, filtered and counted by the server, and the same page followed.

use std::collections::HashMap;
use std::time::Duration;

use async_graphql::{Enum, SimpleObject};
use futures_util::stream::{Stream, unfold};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::enums::StackPhase;
use super::ids::{cursor, read_cursor};
use super::page::{PageInfo, size};
use super::query::environment_name;
use super::stack::StackView;
use super::subscription::StackRef;
use super::{error, unavailable};
use crate::api::feed::{Feed, Signal};
use crate::api::guard::Guard;
use crate::api::roster::{self, From, Page, StackFilter};
use crate::domain::StackKey;

/// Changes within this time are told at once.
const REST: Duration = Duration::from_millis(150);

/// In which order stacks are listed.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "roster::Order", rename_items = "PascalCase")]
pub(super) enum StackOrder {
    /// By environment and name.
    Place,
    /// By name, then environment.
    Name,
    /// Those that need a person first, then by name.
    Worst,
    /// Those with the newest deployment first.
    Newest,
}

/// How many stacks there are of one phase.
#[derive(SimpleObject)]
pub(super) struct PhaseCount {
    /// The phase.
    phase: StackPhase,
    /// How many.
    count: u64,
}

/// A page of stacks.
#[derive(SimpleObject)]
pub(super) struct StackConnection {
    /// The items, each with its cursor.
    edges: Vec<StackEdge>,
    /// Where this page stands.
    page_info: PageInfo,
    /// How many stacks fit in all.
    total: u64,
    /// How many stacks come before this page.
    offset: u64,
    /// How many stacks there are of each phase, the worst first: of those that fit, whichever phases were asked for.
    phases: Vec<PhaseCount>,
}

/// One item of a page.
#[derive(SimpleObject)]
pub(super) struct StackEdge {
    /// Where the item stands: pass it as `after` to go on behind it.
    cursor: String,
    /// The item.
    node: StackView,
}

/// A page of stacks as it stands: the whole of it first, then what became different.
#[derive(SimpleObject)]
pub(super) struct StackPageChange {
    /// The revision it is of: what has a smaller one is older.
    sequence: u64,
    /// How many stacks fit in all.
    total: u64,
    /// How many stacks come before this page.
    offset: u64,
    /// How many stacks there are of each phase, the worst first: of those that fit, whichever phases were asked for.
    phases: Vec<PhaseCount>,
    /// The environments that stacks are in, whatever was asked for.
    environments: Vec<String>,
    /// Where the page stands.
    page_info: PageInfo,
    /// The stacks of the page, in order; null when that is as it was.
    order: Option<Vec<StackRef>>,
    /// Those of them that are new on the page, or have changed.
    stacks: Vec<StackView>,
}

/// What a list is asked for with.
pub(super) struct ListArgs {
    pub(super) first: Option<i32>,
    pub(super) after: Option<String>,
    pub(super) before: Option<String>,
    pub(super) environment: Option<String>,
    pub(super) phases: Option<Vec<StackPhase>>,
    pub(super) name: Option<String>,
    pub(super) text: Option<String>,
    pub(super) order: StackOrder,
}

/// The same, read.
pub(super) struct List {
    filter: StackFilter,
    order: roster::Order,
    from: From,
    size: usize,
}

impl TryFrom<ListArgs> for List {
    type Error = async_graphql::Error;

    fn try_from(it: ListArgs) -> Result<Self, Self::Error> {
        let from = match (it.after, it.before) {
            (None, None) => From::Start,
            (Some(after), None) => From::After(read_cursor(&after)?),
            (None, Some(before)) => From::Before(read_cursor(&before)?),
            (Some(_), Some(_)) => return Err(error("INVALID", "name either `after` or `before`")),
        };
        let filter = StackFilter {
            environment: it.environment.as_deref().map(environment_name).transpose()?,
            phases: it.phases.unwrap_or_default().into_iter().map(Into::into).collect(),
            text: it.text.unwrap_or_default(),
            name: it.name,
        };
        Ok(Self { filter, order: it.order.into(), from, size: size(it.first)? })
    }
}

impl List {
    /// The page as it stands now, and its revision.
    async fn page(&self, guard: &Guard) -> async_graphql::Result<(u64, Page)> {
        guard.page(&self.filter, self.order, &self.from, self.size).await.map_err(unavailable)
    }
}

fn page_info(page: &Page) -> PageInfo {
    let at = |line: Option<&(String, _)>| line.map(|(place, _)| cursor(place));
    PageInfo {
        has_next_page: page.after > 0,
        has_previous_page: page.before > 0,
        start_cursor: at(page.lines.first()),
        end_cursor: at(page.lines.last()),
    }
}

fn phases(page: &Page) -> Vec<PhaseCount> {
    page.phases.values().map(|(phase, count)| PhaseCount { phase: (*phase).into(), count: *count }).collect()
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A page, for a query.
pub(super) async fn connection(guard: &Guard, list: &List) -> async_graphql::Result<StackConnection> {
    let (_, page) = list.page(guard).await?;
    let mut edges = Vec::with_capacity(page.lines.len());
    for (place, line) in &page.lines {
        if let Some(found) = guard.stack(&line.key).map_err(unavailable)? {
            edges.push(StackEdge { cursor: cursor(place), node: found.into() });
        }
    }
    Ok(StackConnection {
        edges,
        page_info: page_info(&page),
        total: number(page.before + page.lines.len() + page.after),
        offset: number(page.before),
        phases: phases(&page),
    })
}

/// What was told last.
struct Told {
    page: Page,
    /// At which revision each row last changed.
    rows: HashMap<StackKey, u64>,
}

/// A follower of one page.
struct Follower {
    guard: Guard,
    list: List,
    signals: broadcast::Receiver<Signal>,
    told: Option<Told>,
    ended: bool,
    #[expect(dead_code, reason = "holds the shared watch")]
    feed: Feed,
}

/// Follows a page: as it stands, and then what became different of it, at most a few times a second.
pub(super) fn follow(
    guard: Guard,
    feed: Feed,
    list: List,
) -> impl Stream<Item = async_graphql::Result<StackPageChange>> + use<> {
    let signals = feed.subscribe();
    let follower = Follower { guard, list, signals, told: None, ended: false, feed };
    unfold(follower, |mut follower| async move {
        loop {
            if follower.ended || (follower.told.is_some() && !follower.woken().await) {
                return None;
            }
            match follower.look().await {
                Ok(Some(change)) => return Some((Ok(change), follower)),
                Ok(None) => {}
                Err(error) => {
                    follower.ended = true;
                    return Some((Err(error), follower));
                }
            }
        }
    })
}

impl Follower {
    /// Waits until something may be different; false when nothing will be any more.
    async fn woken(&mut self) -> bool {
        loop {
            match self.signals.recv().await {
                Ok(Signal::Touched(touched)) if touched.stacks.is_empty() && touched.deployments.is_empty() => {}
                Err(RecvError::Closed) => return false,
                _ => break,
            }
        }
        tokio::time::sleep(REST).await;
        // What came meanwhile is looked at as one.
        self.signals = self.signals.resubscribe();
        true
    }

    /// What is different from what was told, if anything is.
    async fn look(&mut self) -> async_graphql::Result<Option<StackPageChange>> {
        let (sequence, page) = self.list.page(&self.guard).await?;
        let told = self.told.as_ref();
        if told.is_some_and(|told| told.page == page) {
            return Ok(None);
        }
        let keys = |page: &Page| page.lines.iter().map(|(_, line)| line.key.clone()).collect::<Vec<_>>();
        let same_order = told.is_some_and(|told| keys(&told.page) == keys(&page));
        let mut stacks = Vec::new();
        for (_, line) in &page.lines {
            let known = told.and_then(|told| told.rows.get(&line.key));
            if known != Some(&line.changed)
                && let Some(found) = self.guard.stack(&line.key).map_err(unavailable)?
            {
                stacks.push(found.into());
            }
        }
        let order = page.lines.iter().map(|(_, line)| StackRef::of(&line.key)).collect();
        let change = StackPageChange {
            sequence,
            total: number(page.before + page.lines.len() + page.after),
            offset: number(page.before),
            phases: phases(&page),
            environments: page.environments.iter().map(ToString::to_string).collect(),
            page_info: page_info(&page),
            order: (!same_order).then_some(order),
            stacks,
        };
        let rows = page.lines.iter().map(|(_, line)| (line.key.clone(), line.changed)).collect();
        self.told = Some(Told { page, rows });
        Ok(Some(change))
    }
}
