//! Adapters of the port `Source`.

pub mod git;
