//! The composition root: the only room that knows all others. Builds everything from its options, runs it, and ends it.

mod advance;
mod ambient;
mod care;
mod compat;
mod examine;
mod host;
mod logging;
mod metrics;
#[cfg(feature = "sim")]
mod pretend;
mod rotate;
mod serve;
#[cfg(feature = "sim")]
mod simulate;
mod tls;
#[cfg(feature = "sim")]
mod trial;

pub use ambient::SystemAmbient;
pub use compat::needs_cli;
pub use host::Server;
pub use logging::{LogFormat, Logging, init as init_logging};
pub use serve::{ServeError, ServeOptions, serve};
