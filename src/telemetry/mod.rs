//! What is told of the work while it goes on: figures for Prometheus, spans for a collector of traces.
//!
//! Nothing here decides anything, and nothing waits for it: to note a figure is to add to a number in memory, and a span that
//! there is no room for is dropped. A label's values are few by their nature (environments, stable words of enums); a stack's
//! name is a label of one series alone. No secret is in any of it: attributes are names, ids and stable words.

mod exposition;
mod meters;
mod trace;
mod watched;

pub use exposition::{Exposition, classic};
pub use meters::{Look, Meters, SubscriberGuard};
pub use trace::{Tracer, TracerError, carried};
pub(crate) use watched::swarm_error;
pub use watched::{WatchedConnector, WatchedRegistry, WatchedSource, WatchedStore};
