//! `diff`, lists of stacks, `events`, `watch` and `man`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use clap_complete::engine::ArgValueCompleter;

use super::{Pair, parse};
use crate::cli::complete;

/// `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Name of the stack.
    #[arg(add = ArgValueCompleter::new(complete::stacks))]
    pub stack: String,
    /// The ref to compare with what runs; what is declared, when left out.
    #[arg(long = "ref", value_name = "REF")]
    pub wanted: Option<String>,
    /// Version of one service, in place of the one that is declared: SERVICE=TAG. May be given more than once.
    #[arg(long = "image", value_name = "SERVICE=TAG", value_parser = parse::pair)]
    pub images: Vec<Pair>,
    /// Compare two deployments of the stack, as they were rendered: this one, ...
    #[arg(long, value_name = "DEPLOYMENT", requires = "to", conflicts_with_all = ["wanted", "images"])]
    pub from: Option<String>,
    /// ... and this one.
    #[arg(long, value_name = "DEPLOYMENT", requires = "from")]
    pub to: Option<String>,
    /// How the difference is written. Any but `plan` goes before `--output`.
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub format: DiffForm,
}

/// How a difference is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum DiffForm {
    /// Step by step, in colour where a terminal shows it.
    #[default]
    Plan,
    /// As `diff -u` writes it.
    Unified,
    /// For a comment on a change request.
    Markdown,
    /// As `-o json`.
    Json,
}

/// Which stacks are looked for, and in which order. The server looks, not the client.
#[derive(Debug, Args)]
pub struct FindArgs {
    /// Only those in this phase, like `Failed`. May be given more than once.
    #[arg(long = "phase", value_name = "PHASE", value_parser = parse::phase)]
    pub phases: Vec<String>,
    /// Only those with all of these words in their name, environment, ref, commit, images, or in the name of who deployed
    /// them last.
    #[arg(long, value_name = "WORDS")]
    pub search: Option<String>,
    /// In which order.
    #[arg(long, value_enum, default_value_t, value_name = "ORDER")]
    pub sort: Sort,
}

impl FindArgs {
    /// Whether it is all stacks, in the usual order.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.phases.is_empty() && self.search.is_none() && self.sort == Sort::default()
    }
}

/// The order of a list of stacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Sort {
    /// By environment and name.
    #[default]
    Place,
    /// By name, then environment.
    Name,
    /// Those that need a person first.
    Worst,
    /// Those with the newest deployment first.
    Newest,
}

/// `events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Only those about this stack.
    #[arg(add = ArgValueCompleter::new(complete::stacks))]
    pub stack: Option<String>,
    /// Go on showing what is added.
    #[arg(short, long)]
    pub watch: bool,
    /// Only those about this deployment.
    #[arg(long, value_name = "ID")]
    pub deployment: Option<String>,
    /// Only those of this kind, like `Failed` or `DriftDetected`. May be given more than once.
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    /// Only those that were caused by the actor of this name.
    #[arg(long, value_name = "NAME")]
    pub actor: Option<String>,
    /// How many of the newest lines come first.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub limit: u32,
}

/// `watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Only this stack, with its steps, services, tasks and conditions; all stacks, when left out.
    #[arg(add = ArgValueCompleter::new(complete::stacks))]
    pub stack: Option<String>,
}

/// `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Folder to write a page for each command into; the page of `skep` itself goes to stdout, when left out.
    #[arg(value_hint = ValueHint::DirPath)]
    pub folder: Option<PathBuf>,
}
