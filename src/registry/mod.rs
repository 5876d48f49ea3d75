//! Adapters of the port `Registry`.

mod challenge;
pub mod http;
#[cfg(any(test, feature = "sim"))]
pub mod memory;

pub use http::HttpRegistry;
