//! `skep simulate`: one schedule as a story, or many with a tally.

use std::path::Path;

use crate::cli::{HostError, SimulateArgs};
use crate::sim::soak::{Tally, try_seed};
use crate::sim::{Schedule, play, shrink, story};

/// So often the seed to go on with is noted.
const NOTED: u64 = 20;

/// Plays what is asked for. Whether all laws held.
pub(super) fn simulate(args: &SimulateArgs, say: &mut dyn FnMut(&str)) -> Result<bool, HostError> {
    if let Some(address) = args.serve {
        return super::pretend::serve(address, args, say);
    }
    match args.count {
        None => one(args, say),
        Some(count) => many(args, count, say),
    }
}

fn one(args: &SimulateArgs, say: &mut dyn FnMut(&str)) -> Result<bool, HostError> {
    let mut schedule = Schedule::of(args.seed);
    if let Some(only) = &args.only {
        schedule = schedule.only(&numbers(only)?);
    }
    let outcome = play(&schedule, true);
    outcome.story.iter().for_each(|line| say(line));
    say(&story::verdict(&outcome));
    let Some(breach) = &outcome.breach else { return Ok(true) };
    if args.only.is_none() {
        let short = shrink(&schedule, breach.law);
        say(&format!(
            "{} of its {} acts do as well: {}",
            short.acts.len(),
            schedule.acts.len(),
            story::command(&short)
        ));
    }
    Ok(false)
}

fn numbers(text: &str) -> Result<Vec<usize>, HostError> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let wrong = || HostError::Usage(format!("`{text}` is no list of numbers"));
    text.split(',').map(|number| number.trim().parse().map_err(|_| wrong())).collect()
}

fn many(args: &SimulateArgs, count: u64, say: &mut dyn FnMut(&str)) -> Result<bool, HostError> {
    let file = args.resume.as_deref();
    let first = file.map_or(Ok(None), next_seed)?.unwrap_or(args.seed);
    let end = args.seed.saturating_add(count);
    let (mut tally, mut failed) = (Tally::default(), Vec::new());
    for seed in first..end {
        if let Some(failing) = try_seed(seed, &mut tally) {
            say(&failing.to_string());
            failed.push(seed);
        }
        if let Some(file) = file.filter(|_| (seed + 1) % NOTED == 0 || seed + 1 == end) {
            note(file, seed + 1)?;
        }
    }
    say(&tally.to_string());
    say(&match failed.len() {
        0 => format!("all laws hold for the seeds {first} to {}", end.saturating_sub(1)),
        many => format!("{many} seeds break a law: {failed:?}"),
    });
    Ok(failed.is_empty())
}

fn next_seed(file: &Path) -> Result<Option<u64>, HostError> {
    let wrong = |error: String| HostError::Failed(format!("`{}` cannot be read: {error}", file.display()));
    match std::fs::read_to_string(file) {
        Ok(text) => text.trim().parse().map(Some).map_err(|_| wrong(format!("`{}` is no seed", text.trim()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn note(file: &Path, seed: u64) -> Result<(), HostError> {
    std::fs::write(file, format!("{seed}\n"))
        .map_err(|error| HostError::Failed(format!("`{}` cannot be written: {error}", file.display())))
}
