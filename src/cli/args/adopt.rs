//! The arguments of `adopt`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// `adopt`.
#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// Name of the stack.
    #[arg(required_unless_present_any = ["all", "from_swarm"], conflicts_with = "all")]
    pub stack: Option<String>,
    /// Take over every stack of the manifests; with -e, all must be of that environment.
    #[arg(long)]
    pub all: bool,
    /// Manifest: a file, a folder (its *.yml and *.yaml, by name), or `-` for stdin. May be given more than once.
    #[arg(short, long = "file", required_unless_present = "from_swarm", value_name = "FILE|DIR|-", value_hint = ValueHint::AnyPath)]
    pub files: Vec<PathBuf>,
    /// Without manifests: make them of what runs in the environment and is not declared; of one stack, or of all. For admins.
    #[arg(long, conflicts_with_all = ["files", "all", "rotate_secrets"])]
    pub from_swarm: bool,
    /// With --from-swarm: write the manifests into this folder, a file each, and take nothing over.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, requires = "from_swarm", conflicts_with_all = ["dry_run", "wait"])]
    pub write: Option<PathBuf>,
    /// Say what would change, and write nothing. Exits with 0 also when there is something to take over.
    #[arg(long)]
    pub dry_run: bool,
    /// Make secrets anew, in place of trusting that those on the Swarm hold what the files say. Restarts their services.
    #[arg(long)]
    pub rotate_secrets: bool,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Follow the deployments until they have ended.
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
}
