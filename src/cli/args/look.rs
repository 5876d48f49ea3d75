//! `diff`, `watch` and `man`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use clap_complete::engine::ArgValueCompleter;

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

/// `watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Only this stack, with its services; all stacks, when left out.
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
