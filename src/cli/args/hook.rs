//! What `hook` takes.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// `hook`.
#[derive(Debug, Args)]
pub struct HookArgs {
    /// What to do.
    #[command(subcommand)]
    pub what: HookCommand,
}

/// What can be done with hooks. They are declared with `apply`.
#[derive(Debug, Subcommand)]
pub enum HookCommand {
    /// Show which there are, who sends to them and what their rules do. Their secrets are never shown.
    List,
    /// Show what a payload would do if the hook's sender sent it now. Nothing is written.
    Test(HookTestArgs),
    /// Show the newest deliveries of a hook and what became of them; 100 are kept.
    Deliveries {
        /// The hook.
        name: String,
        /// How many at most.
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: u32,
    },
    /// Have a delivery done again, by the rules as they are now.
    Redeliver {
        /// The hook.
        name: String,
        /// The delivery, as `hook deliveries` shows it.
        delivery: String,
        /// Why, for the record.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Delete a hook: nobody can send to it any more.
    Delete {
        /// The hook.
        name: String,
        /// Why, for the record.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// `hook test`.
#[derive(Debug, Args)]
pub struct HookTestArgs {
    /// The hook.
    pub name: String,
    /// The body of the delivery, JSON; `-` reads stdin.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub payload: PathBuf,
    /// What the sender says happened, in the header where it says so; a push when left out.
    #[arg(long, value_name = "EVENT")]
    pub event: Option<String>,
}
