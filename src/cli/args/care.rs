//! `backup`, `restore` and `check`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// `backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// File to write; there must be none of this name.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Read the data folder (`--data`) itself: for a server that does not run.
    #[arg(long)]
    pub offline: bool,
}

/// `restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The key file that belongs to it: `seal.key` of the folder it was taken from. Not with a key that is kept elsewhere.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key: Option<PathBuf>,
}

/// `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A backup; the data folder (`--data`), when left out.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
}
