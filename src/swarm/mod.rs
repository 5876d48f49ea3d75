//! Adapters of the port `Swarm`.

pub mod docker;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
