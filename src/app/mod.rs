//! The composition root: the only room that knows all others. Builds everything from its options, runs it, and ends it.

mod ambient;
mod care;
mod examine;
mod host;
mod metrics;
#[cfg(feature = "sim")]
mod pretend;
mod rotate;
mod serve;
#[cfg(feature = "sim")]
mod simulate;
mod telemetry;
mod tls;

pub use ambient::SystemAmbient;
pub use host::Server;
pub use serve::{ServeError, ServeOptions, serve};
pub use telemetry::{LogFormat, init as init_telemetry};
