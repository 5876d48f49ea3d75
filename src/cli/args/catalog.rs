//! What `catalog` takes.

use clap::{Args, Subcommand};

/// `catalog`.
#[derive(Debug, Args)]
pub struct CatalogArgs {
    /// What to do.
    #[command(subcommand)]
    pub what: CatalogCommand,
}

/// What can be done with catalogs. They are declared with `apply`.
#[derive(Debug, Subcommand)]
pub enum CatalogCommand {
    /// Show which there are, the commit that is declared, and whether all of it is.
    List,
    /// Show one: its stacks, the files nothing was taken from, and the stacks that are kept. Exits with 1 when something is wrong.
    Show {
        /// The catalog.
        name: String,
    },
    /// Look at a catalog's repository now.
    Sync {
        /// The catalog.
        name: String,
        /// Why, for the record.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Follow a catalog no more. Its stacks stay as they are declared, and belong to nobody.
    Delete {
        /// The catalog.
        name: String,
        /// Why, for the record.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}
