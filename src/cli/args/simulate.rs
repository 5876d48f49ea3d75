//! `simulate`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueHint};

/// `simulate`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SimulateArgs {
    /// Seed of the schedule; with `--count`, of the first one.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Only these acts of it, by number; `none` for none at all.
    #[arg(long, value_name = "N,N,…", conflicts_with = "count")]
    pub only: Option<String>,
    /// Play so many schedules, and tell what they come to instead of a story.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Play no schedule: serve API and page over a simulated Swarm, at this address of this machine. For work on the page.
    #[arg(long, value_name = "ADDR:PORT", conflicts_with_all = ["count", "only"])]
    pub serve: Option<SocketAddr>,
    /// How many stacks that Swarm has.
    #[arg(long, default_value_t = 20, value_name = "N", requires = "serve", value_parser = clap::value_parser!(u32).range(0..=5_000))]
    pub stacks: u32,
    /// How many of them get another version in a second.
    #[arg(long, default_value_t = 0, value_name = "N", requires = "serve", value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub changes: u32,
    /// File that holds the next seed: begins there, and can be broken off and begun again.
    #[arg(long, value_name = "FILE", requires = "count", value_hint = ValueHint::FilePath)]
    pub resume: Option<PathBuf>,
}
