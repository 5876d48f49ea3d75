//! Adapters of the port `Source`.

pub mod git;
#[cfg(any(test, feature = "sim"))]
pub mod memory;
