//! What the scenarios are told with.

pub(crate) mod compose;
pub(crate) mod docker;
pub(crate) mod engine;
pub(crate) mod fleet;
pub(crate) mod graphql;
pub(crate) mod hive;
pub(crate) mod image;
pub(crate) mod panels;
pub(crate) mod stack;
pub(crate) mod watch;
