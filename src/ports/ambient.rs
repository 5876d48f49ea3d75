//! Time and ids: the only two things that come from nowhere.

use jiff::Timestamp;

/// Gives the time and fresh ids. The real one reads the clock; the one in tests is virtual and seeded.
pub trait Ambient: Send + Sync + 'static {
    /// Now, to the millisecond.
    fn now(&self) -> Timestamp;
    /// A fresh id: 26 lower-case characters that sort by time.
    fn new_id(&self) -> String;
    /// A fresh random number, for jitter.
    fn random(&self) -> u64;
}
