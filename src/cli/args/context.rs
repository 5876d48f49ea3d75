//! What `context`, `init` and `render` take.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use clap_complete::engine::ArgValueCompleter;

use super::{Pair, parse};
use crate::cli::complete;

/// `context`.
#[derive(Debug, Args)]
pub struct ContextArgs {
    /// What to do.
    #[command(subcommand)]
    pub what: ContextCommand,
}

/// What can be done with contexts.
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// Show which there are, and which is in use. Tokens are never shown.
    List,
    /// Keep a server under a name, with the token and the environment that are given beside it.
    Add {
        /// The name.
        name: String,
    },
    /// Use a context from now on.
    Use {
        /// The name.
        name: String,
    },
    /// Forget a context.
    Delete {
        /// The name.
        name: String,
    },
}

/// `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Name of the stack; that of the folder when left out.
    pub name: Option<String>,
    /// The file to write.
    #[arg(short, long, default_value = "skep.yml", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Write over a file that is there.
    #[arg(long)]
    pub force: bool,
}

/// `render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// Name of the stack.
    #[arg(add = ArgValueCompleter::new(complete::stacks))]
    pub stack: String,
    /// The ref to render; what is declared, when left out.
    #[arg(long = "ref", value_name = "REF")]
    pub wanted: Option<String>,
    /// Version of one service: SERVICE=TAG. May be given more than once.
    #[arg(long = "image", value_name = "SERVICE=TAG", value_parser = parse::pair)]
    pub images: Vec<Pair>,
}
