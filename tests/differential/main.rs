//! What `docker stack deploy` makes of a compose file, and what Skep makes of it, on the real engine: the raw JSON of the
//! API must be the same, but for the differences that `compare` lists, each with its reason.
//!
//! The cases stand in `cases/*.txt`; `generated` makes more of them. Nothing runs: services have no replicas, or ask for
//! a node that is not there.

#![expect(clippy::expect_used, reason = "a test")]

mod back;
mod case;
mod compare;
mod engine;
mod generate;
mod others;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use case::Case;
use engine::Engine;
use skep::compose::{KEYS, Treatment};

/// So many stacks are on the engine at a time.
const AT_A_TIME: usize = 3;

/// Runs the cases, and gives what is wrong with them.
fn run(cases: &[Case]) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for worker in 0..AT_A_TIME {
            let (next, faults) = (&next, &faults);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                let engine = Engine::new(&format!("cmp-{:06x}-{worker}", fastrand::u32(..0x100_0000)));
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let checked = runtime.block_on(engine.check(case));
                    if let Err(fault) = checked {
                        faults.lock().expect("a lock").push(format!("=== {}\n{}\n{fault}", case.name, case.text()));
                    }
                }
            });
        }
    });
    let mut faults = faults.into_inner().expect("a lock");
    faults.sort();
    faults
}

#[track_caller]
fn assert_none(faults: &[String], of: usize) {
    assert!(faults.is_empty(), "{} of {of} differ:\n\n{}", faults.len(), faults.join("\n\n"));
}

#[test]
fn the_same_objects_as_docker_stack_deploy() {
    let only = std::env::var("SKEP_CASE").unwrap_or_default();
    let cases: Vec<Case> = case::all().into_iter().filter(|case| case.name.contains(&only)).collect();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "two cases have one name");
    assert!(!only.is_empty() || cases.len() >= 80, "only {} cases", cases.len());
    assert_none(&run(&cases), cases.len());
}

/// What `docker stack deploy` refuses or drops is on the engine as the file says, and the engine gives it back so that
/// nothing is left to do.
#[test]
fn what_is_beyond_the_cli_is_on_the_engine() {
    let only = std::env::var("SKEP_CASE").unwrap_or_default();
    let cases: Vec<Case> = case::beyond().into_iter().filter(|case| case.name.contains(&only)).collect();
    assert_none(&run(&cases), cases.len());
}

/// Every key that Skep takes stands in a case.
#[test]
fn every_key_is_in_a_case() {
    let seen: BTreeSet<String> = case::all().iter().chain(&case::beyond()).flat_map(Case::keys).collect();
    // What cannot stand in a stack on a Linux engine of API 1.41 is compared with the request instead, in `compose_golden`.
    // Jobs before and after a deployment leave nothing on the engine, and credentials are Skep's own: scenarios of the
    // simulation have those.
    let elsewhere = [
        "secrets.*.driver",
        "secrets.*.driver_opts",
        "secrets.*.x-skep.credential",
        "secrets.*.x-skep.key",
        "services.*.x-skep.hook",
        "services.*.x-skep.deadline",
        "services.*.x-skep.direction",
    ];
    let missing: Vec<&str> = KEYS
        .iter()
        .filter(|key| matches!(key.treatment, Treatment::Same | Treatment::Better))
        .map(|key| key.path)
        .filter(|path| !seen.contains(*path) && !elsewhere.contains(path))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn generated_files_give_the_same_objects() {
    let count = std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse::<usize>().ok());
    // A soak asks for thousands of cases of what takes no engine.
    let count = count.map_or(12, |count| (count / 16).max(12));
    let cases = generate::cases(count);
    assert_none(&run(&cases), cases.len());
}
