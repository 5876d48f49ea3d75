//! Virtual time and seeded ids.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::ports::Ambient;

/// Milliseconds since a simulation began.
pub(super) type Millis = u64;

/// 2026-01-01T00:00:00Z, when every simulation begins.
const EPOCH_SECOND: i64 = 1_767_225_600;

/// The clock of a simulation: tokio's, told as dates from a fixed day on. Under `start_paused` it is virtual.
#[derive(Debug, Clone, Copy)]
pub struct SimClock {
    origin: Instant,
}

impl SimClock {
    /// A clock that begins now. Simulators and ambients that share one agree on the date.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// The date now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.date(self.millis())
    }

    pub(super) fn millis(&self) -> Millis {
        millis(self.origin.elapsed())
    }

    pub(super) fn date(&self, at: Millis) -> Timestamp {
        let since = SignedDuration::from_millis(i64::try_from(at).unwrap_or(i64::MAX));
        Timestamp::from_second(EPOCH_SECOND).ok().and_then(|epoch| epoch.checked_add(since).ok()).unwrap_or_default()
    }

    pub(super) fn instant(&self, at: Millis) -> Instant {
        self.origin + Duration::from_millis(at)
    }
}

/// Whole milliseconds of a duration.
pub(super) fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whole milliseconds of the engine's nanoseconds; nothing below zero.
pub(super) fn from_nanos(nanos: i64) -> Millis {
    u64::try_from(nanos).unwrap_or(0) / 1_000_000
}

/// The ambient of tests: the date of a [`SimClock`], ids and random numbers from a seed.
#[derive(Debug)]
pub struct SimAmbient {
    clock: SimClock,
    dice: Mutex<Dice>,
}

#[derive(Debug)]
struct Dice {
    rng: fastrand::Rng,
    /// Ids made so far: what sorts those of one millisecond.
    made: u64,
}

impl SimAmbient {
    /// An ambient on this clock.
    #[must_use]
    pub fn new(clock: SimClock, seed: u64) -> Self {
        Self { clock, dice: Mutex::new(Dice { rng: fastrand::Rng::with_seed(seed), made: 0 }) }
    }
}

impl Ambient for SimAmbient {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn new_id(&self) -> String {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        dice.made += 1;
        let time = u64::try_from(self.clock.now().as_millisecond()).unwrap_or_default();
        let random = u128::from(dice.made) << 32 | u128::from(dice.rng.u32(..));
        ulid::Ulid::from_parts(time, random).to_string().to_ascii_lowercase()
    }

    fn random(&self) -> u64 {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).rng.u64(..)
    }
}
