//! Connections: pages of a list, after the Relay conventions.

use async_graphql::SimpleObject;

use super::deployment::DeploymentView;
use super::event::EventView;
use super::ids::cursor;

/// How many items a page has when nothing is said.
pub(super) const DEFAULT_PAGE: usize = 50;
/// The most items of a page.
pub(super) const LARGEST_PAGE: usize = 200;

/// The size of a page.
pub(super) fn size(first: Option<i32>) -> async_graphql::Result<usize> {
    match first {
        None => Ok(DEFAULT_PAGE),
        Some(first) => match usize::try_from(first) {
            Ok(first) if (1..=LARGEST_PAGE).contains(&first) => Ok(first),
            _ => Err(super::error("INVALID", format!("`first` is {first}; it goes from 1 to {LARGEST_PAGE}"))),
        },
    }
}

/// What a page may cost.
pub(super) fn cost(first: Option<i32>, child: usize) -> usize {
    let first = first.and_then(|first| usize::try_from(first).ok()).unwrap_or(DEFAULT_PAGE).clamp(1, LARGEST_PAGE);
    first.saturating_mul(child).saturating_add(1)
}

/// Where a page stands in its list.
#[derive(Debug, Clone, SimpleObject)]
pub(super) struct PageInfo {
    /// Whether there is more after this page.
    pub(super) has_next_page: bool,
    /// Whether this is not the first page.
    pub(super) has_previous_page: bool,
    /// The cursor of the first item.
    pub(super) start_cursor: Option<String>,
    /// The cursor of the last item: pass it as `after` for the next page.
    pub(super) end_cursor: Option<String>,
}

impl PageInfo {
    fn new<'c>(mut cursors: impl DoubleEndedIterator<Item = &'c String>, more: bool, after: bool) -> Self {
        let start_cursor = cursors.next().cloned();
        let end_cursor = cursors.next_back().cloned().or_else(|| start_cursor.clone());
        Self { has_next_page: more, has_previous_page: after, start_cursor, end_cursor }
    }
}

macro_rules! connection {
    ($connection:ident, $edge:ident, $node:ty, $name:literal, $edge_name:literal, $doc:literal, $place:expr) => {
        #[doc = $doc]
        #[derive(SimpleObject)]
        #[graphql(name = $name)]
        pub(super) struct $connection {
            /// The items, each with its cursor.
            edges: Vec<$edge>,
            /// Where this page stands.
            page_info: PageInfo,
        }

        /// One item of a page.
        #[derive(SimpleObject)]
        #[graphql(name = $edge_name)]
        pub(super) struct $edge {
            /// Where the item stands: pass it as `after` to go on behind it.
            cursor: String,
            /// The item.
            node: $node,
        }

        impl $connection {
            /// A page of at most `size` of these items (one more tells that there are more), begun after a cursor or not.
            pub(super) fn new(mut nodes: Vec<$node>, size: usize, after: bool) -> Self {
                let more = nodes.len() > size;
                nodes.truncate(size);
                let place = $place;
                let edges: Vec<_> =
                    nodes.into_iter().map(|node| $edge { cursor: cursor(place(&node)), node }).collect();
                let page_info = PageInfo::new(edges.iter().map(|edge| &edge.cursor), more, after);
                Self { edges, page_info }
            }
        }
    };
}

connection!(
    DeploymentConnection,
    DeploymentEdge,
    DeploymentView,
    "DeploymentConnection",
    "DeploymentEdge",
    "A page of deployments, the newest first.",
    |node: &DeploymentView| node.deployment_id.clone()
);
connection!(
    EventConnection,
    EventEdge,
    EventView,
    "EventConnection",
    "EventEdge",
    "A page of events.",
    |node: &EventView| node.sequence
);
