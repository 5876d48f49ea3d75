//! The API over real HTTP and real websockets, on a store in memory.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod access;
mod doors;
mod mutations;
mod page;
mod queries;
mod scopes;
mod subscriptions;
mod world;
