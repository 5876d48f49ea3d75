//! The API over real HTTP and real websockets, on a store in memory.

mod doors;
mod mutations;
mod queries;
mod subscriptions;
mod world;
