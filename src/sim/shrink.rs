//! From a schedule that breaks a law to a short one that breaks the same.

use super::invariants::Law;
use super::{Schedule, play};

/// So many shorter schedules are tried at most.
const TRIES: u32 = 250;

/// Leaves out as much as can be left out of a schedule while it still breaks this law.
#[must_use]
pub fn shrink(schedule: &Schedule, law: Law) -> Schedule {
    let mut kept = schedule.numbers();
    let mut tries = 0;
    let mut breaks = |numbers: &[usize]| {
        tries += 1;
        tries <= TRIES && play(&schedule.only(numbers), false).breach.is_some_and(|breach| breach.law == law)
    };
    let mut piece = kept.len().div_ceil(2).max(1);
    loop {
        let mut start = 0;
        let before = kept.len();
        while start < kept.len() {
            let end = (start + piece).min(kept.len());
            let without: Vec<usize> = [&kept[..start], &kept[end..]].concat();
            if breaks(&without) {
                kept = without;
            } else {
                start = end;
            }
        }
        if piece == 1 && kept.len() == before {
            return schedule.only(&kept);
        }
        piece = if piece == 1 { 1 } else { piece.div_ceil(2) };
    }
}
