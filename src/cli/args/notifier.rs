//! `notifier`.

use clap::{Args, Subcommand};

/// `notifier`.
#[derive(Debug, Args)]
pub struct NotifierArgs {
    /// What to do.
    #[command(subcommand)]
    pub what: NotifierCommand,
}

/// What can be done with notifiers. They are declared with `apply`.
#[derive(Debug, Subcommand)]
pub enum NotifierCommand {
    /// Show which there are, what they tell whom, and how far each has come.
    List,
    /// Send a test message now, and say what came back. A notifier of commit statuses sets none: it asks for a repository.
    /// Exits with 1 when it is not taken.
    Test {
        /// Its name.
        name: String,
    },
    /// Forget a notifier, and what it still owes.
    Delete {
        /// Its name.
        name: String,
        /// Why, for the record.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}
