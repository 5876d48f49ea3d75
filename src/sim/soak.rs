//! Many schedules, one after the other, with a tally; it can be broken off and gone on with.

use std::collections::BTreeMap;
use std::fmt;

use super::invariants::Breach;
use super::{Outcome, Schedule, play, shrink, story};

/// What many schedules came to.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Schedules played.
    pub schedules: u64,
    /// Acts played.
    pub steps: u64,
    /// Faults put in, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Lives of Skep that ended.
    pub crashes: u64,
    /// Deployments that were recorded.
    pub deployments: u64,
}

/// A schedule that broke a law.
#[derive(Debug, Clone)]
pub struct Failing {
    /// The seed.
    pub seed: u64,
    /// What it broke.
    pub breach: Breach,
    /// The same with all left out that it can do without.
    pub shrunk: Schedule,
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = Schedule::of(self.seed);
        writeln!(f, "seed {} breaks a law: {}", self.seed, self.breach)?;
        writeln!(f, "shrunk from {} acts to {}; told by", whole.acts.len(), self.shrunk.acts.len())?;
        write!(f, "  {}", story::command(&self.shrunk))
    }
}

impl Tally {
    /// Counts an outcome.
    pub fn count(&mut self, outcome: &Outcome) {
        self.schedules += 1;
        self.steps += outcome.steps;
        self.crashes += outcome.crashes;
        self.deployments += outcome.deployments;
        for (kind, count) in &outcome.faults {
            *self.faults.entry((*kind).to_owned()).or_default() += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schedules, steps, crashes, deployments, faults } = self;
        let all: u64 = faults.values().sum();
        write!(f, "{schedules} schedules, {steps} acts, {deployments} deployments, {crashes} crashes, {all} faults")?;
        for (kind, count) in faults {
            write!(f, "\n  {count:>8} {kind}")?;
        }
        Ok(())
    }
}

/// Plays one seed, counts it, and shrinks it when it breaks a law.
pub fn try_seed(seed: u64, tally: &mut Tally) -> Option<Failing> {
    let schedule = Schedule::of(seed);
    let outcome = play(&schedule, false);
    tally.count(&outcome);
    let breach = outcome.breach?;
    let shrunk = shrink(&schedule, breach.law);
    Some(Failing { seed, breach, shrunk })
}
