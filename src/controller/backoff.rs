//! How long to wait after an error.

use std::time::Duration;

/// The first ceiling.
const FIRST: Duration = Duration::from_secs(1);
/// The last ceiling.
const LAST: Duration = Duration::from_secs(300);

/// Full jitter: a time between a quarter of the ceiling and the ceiling, which doubles from one second to five minutes
/// with each error in a row. `random` is any number.
#[must_use]
pub(super) fn backoff(errors: u32, random: u64) -> Duration {
    let ceiling =
        FIRST.saturating_mul(1_u32.checked_shl(errors.saturating_sub(1).min(16)).unwrap_or(u32::MAX)).min(LAST);
    let floor = ceiling / 4;
    let spread = u64::try_from((ceiling - floor).as_millis()).unwrap_or(u64::MAX).max(1);
    floor + Duration::from_millis(random % spread)
}

/// `period` ± a tenth, so that many of the same period spread out.
#[must_use]
pub(super) fn jittered(period: Duration, random: u64) -> Duration {
    let tenth = u64::try_from(period.as_millis() / 10).unwrap_or(u64::MAX).max(1);
    period - Duration::from_millis(tenth) + Duration::from_millis(random % (2 * tenth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_from_a_second_to_five_minutes_and_stays_there() {
        for random in [0, 1, 77, u64::MAX] {
            assert!(backoff(1, random) <= Duration::from_secs(1));
            assert!(backoff(1, random) >= Duration::from_millis(250));
            assert!(backoff(100, random) <= LAST);
            assert!(backoff(100, random) >= LAST / 4);
        }
    }

    #[test]
    fn jitter_is_within_a_tenth() {
        for random in [0, 5, u64::MAX] {
            let period = jittered(Duration::from_secs(100), random);
            assert!(period >= Duration::from_secs(90) && period <= Duration::from_secs(110), "{period:?}");
        }
    }
}
