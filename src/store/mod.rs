//! Adapters of the port `Store`.

pub mod memory;
pub mod sled;
