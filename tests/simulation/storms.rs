//! Seeded schedules of everything that can happen, with every promise checked at every step; see `skep::sim`.

use skep::sim::soak::{Tally, try_seed};
use skep::sim::{Schedule, play};

/// So many seeds by default; `SKEP_SEEDS=1000` plays more, `SKEP_SEED=17` begins there.
const SEEDS: u64 = 100;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_promise_holds_at_every_step_of_any_schedule() {
    let first = number("SKEP_SEED").unwrap_or(0);
    let count = number("SKEP_SEEDS").unwrap_or(if number("SKEP_SEED").is_some() { 1 } else { SEEDS });
    let mut tally = Tally::default();
    let failed: Vec<String> = (first..first + count)
        .filter_map(|seed| try_seed(seed, &mut tally))
        .map(|failing| failing.to_string())
        .collect();
    println!("{tally}");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let wanted = ["answer lost", "disk full", "stale reads", "git hangs", "events doubled", "node lost", "crash"];
    let missing: Vec<_> = wanted.into_iter().filter(|kind| !tally.faults.contains_key(*kind)).collect();
    assert!(count < SEEDS || missing.is_empty(), "these schedules are too tame: no {missing:?}");
}

/// Acts of schedules that found a fault once: a full disk and a branch that moves; what others use; what is doubted; a service of
/// somebody else under a name of ours at a deletion; a manager that lags when jobs and configs have just been made.
#[test]
fn what_broke_a_promise_once_does_not_again() {
    for (seed, acts) in [
        (509, &[13, 16][..]),
        (190, &[12, 20, 21]),
        (107, &[0, 5, 6, 8, 9, 11]),
        (10_418, &[1, 2]),
        (1_862, &[6, 13]),
        (10_873, &[2, 3]),
        (10_441, &[0, 3, 4, 6, 7, 8]),
    ] {
        let outcome = play(&Schedule::of(seed).only(acts), true);
        assert!(outcome.breach.is_none(), "seed {seed}: {:?}", outcome.breach);
    }
}

#[test]
fn a_schedule_plays_the_same_each_time() {
    for seed in [3, 11, 42] {
        let [first, second] = [(); 2].map(|()| play(&Schedule::of(seed), true));
        assert_eq!(first.story, second.story, "seed {seed}");
    }
}
