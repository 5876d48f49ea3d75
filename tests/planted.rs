//! The power to find: each planted defect (`planted!` in the sources) must break a law under some seeded schedule, or lose
//! something under some cut of power. One process for each defect, so that nothing of it is left for the next.
//!
//! `SKEP_DEFECTS=all` tries every defect (without it four), `SKEP_DEFECT=NAME` one, `SKEP_TRIES=N` so many seeds each.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

#[path = "support/power.rs"]
mod power;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use skep::sim::{Schedule, play};

const CHILD: &str = "SKEP_PLANTED_CHILD";
/// So many seeds are tried for each defect.
const TRIES: u64 = 400;
/// And for so long.
const PATIENCE: Duration = Duration::from_secs(240);
/// What is tried in a run that does not try all: these are found by one of the first schedules.
const SLICE: [&str; 4] = [
    "a change is no new generation",
    "a deletion removes nothing",
    "a deployment is answered and not recorded",
    "a generation is observed at once",
];
/// Room for a defect that makes one schedule go on for ever.
const STUCK: Duration = Duration::from_secs(60);

/// The names of all defects, from the sources: none can be left out.
fn defects() -> BTreeSet<String> {
    fn walk(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let names = text.split("planted!(\"").skip(1).filter_map(|rest| rest.split('"').next());
                found.extend(names.map(str::to_owned));
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

/// Defects of the store on disk are looked for by cutting the power, not by schedules.
fn is_of_the_store(name: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let files = ["sled.rs", "sled/committer.rs", "sled/folder.rs", "sled/files.rs", "sled/engine.rs", "sled/stage.rs"];
    files.iter().any(|file| {
        std::fs::read_to_string(root.join(file)).is_ok_and(|text| text.contains(&format!("planted!(\"{name}\")")))
    })
}

/// Not a claim but the child of the one below: looks for the defect that `SKEP_PLANTED` names.
#[test]
fn child() {
    let Ok(tries) = std::env::var(CHILD) else { return };
    let begun = Instant::now();
    for seed in 0..tries.parse::<u64>().unwrap() {
        if let Some(breach) = play(&Schedule::of(seed), false).breach {
            println!("\nfound seed {seed}: {breach}");
            return;
        }
        if begun.elapsed() > PATIENCE {
            println!("\nnot found in {} seeds", seed + 1);
            return;
        }
    }
    println!("\nnot found");
}

/// Not a claim but the child for defects of the store: cuts the power, and fails when something is lost.
#[test]
fn power_child() {
    if std::env::var(CHILD).is_ok() {
        power::cuts(120, 7);
        println!("\nnothing is lost");
    }
}

/// Whether a cut of power finds a defect of the store.
fn cut_power_for(name: &str) -> Option<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "power_child", "--nocapture"]).env("SKEP_PLANTED", name).env(CHILD, "1");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let how =
        text.lines().find(|line| ["lost", "cut ", "not what", "twice", "NotFound"].iter().any(|it| line.contains(it)));
    (!output.status.success()).then(|| format!("a cut of power: {}", how.unwrap_or("the store fails")))
}

/// What finds a defect, if anything does.
fn look_for(name: &str, tries: u64) -> Option<String> {
    let child = |test: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]).env("SKEP_PLANTED", name).env(CHILD, tries.to_string());
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let mut process = child("child");
    let end = Instant::now() + PATIENCE + STUCK;
    let over = loop {
        if process.try_wait().unwrap().is_some() {
            break true;
        }
        if Instant::now() > end {
            process.kill().unwrap();
            break false;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let output = process.wait_with_output().unwrap();
    if !over {
        return Some("a schedule that never ends".to_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = text.lines().find_map(|line| line.strip_prefix("found seed ").map(str::to_owned))?;
    // Without the defect the same schedule breaks nothing: it was the defect that was found.
    let seed = found.split(':').next().and_then(|seed| seed.parse().ok()).expect("a seed");
    let unplanted = play(&Schedule::of(seed), false).breach;
    assert_eq!(unplanted, None, "seed {seed} fails without any defect");
    Some(format!("seed {found}"))
}

#[test]
fn every_planted_defect_is_found_by_some_seed() {
    let all: Vec<String> = defects().into_iter().collect();
    assert!(defects().len() >= 40, "only {} defects are planted", defects().len());
    let one = std::env::var("SKEP_DEFECT").ok();
    let whole = std::env::var("SKEP_DEFECTS").is_ok_and(|which| which == "all");
    let tries = std::env::var("SKEP_TRIES").ok().and_then(|text| text.parse().ok()).unwrap_or(TRIES);
    let picked: Vec<String> = match one {
        Some(name) => vec![name],
        None if whole => all,
        None => SLICE.map(str::to_owned).to_vec(),
    };
    assert!(picked.iter().all(|name| defects().contains(name)), "not planted: {picked:?}");
    let left = Mutex::new(picked.iter());
    let missed = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(picked.len());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some(name) = left.lock().unwrap().next() else { return };
                    let found = if is_of_the_store(name) { cut_power_for(name) } else { look_for(name, tries) };
                    match found {
                        Some(how) => println!("{name}: {how}"),
                        None => {
                            println!("{name}: NOT FOUND in {tries} seeds");
                            missed.lock().expect("no panic").push(name.clone());
                        }
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().unwrap();
    println!("found {} of {}", picked.len() - missed.len(), picked.len());
    assert!(missed.is_empty(), "not found: {missed:?}");
}
