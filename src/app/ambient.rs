//! The real clock and fresh ids.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use ulid::Ulid;

use crate::ports::Ambient;

/// The system's clock, to the millisecond, and ULIDs that never go back, also when the clock does.
#[derive(Debug, Default)]
pub struct SystemAmbient {
    last: Mutex<Ulid>,
}

impl Ambient for SystemAmbient {
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    fn new_id(&self) -> String {
        let millisecond = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
        let random = (u128::from(fastrand::u64(..)) << 16) | u128::from(fastrand::u16(..));
        let fresh = Ulid::from_parts(millisecond, random);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Within a millisecond, or when the clock went back, the next one in order is taken.
        *last = if fresh > *last { fresh } else { last.increment().unwrap_or(fresh) };
        last.to_string().to_lowercase()
    }

    fn random(&self) -> u64 {
        fastrand::u64(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_in_the_order_they_were_made() {
        let ambient = SystemAmbient::default();
        let ids: Vec<String> = (0..10_000).map(|_| ambient.new_id()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(
            ids.iter().all(|id| id.len() == 26 && id.chars().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase()))
        );
    }
}
