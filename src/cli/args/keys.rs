//! `credential`, `environment` and `token`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use jiff::Timestamp;

use super::parse::{self, Pair};

/// `credential`.
#[derive(Debug, Args)]
pub struct CredentialArgs {
    /// What to do.
    #[command(subcommand)]
    pub what: CredentialCommand,
}

/// What can be done with credentials.
#[derive(Debug, Subcommand)]
pub enum CredentialCommand {
    /// Show which there are, what they are for and what uses them. Values are never shown.
    List,
    /// Set values of a credential, or make it. What is not named stays as it is.
    Set(SetArgs),
    /// Delete a credential that nothing uses.
    Delete {
        /// Its name.
        name: String,
        /// Why, for the record.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// List the branches and tags of a repository with it.
    Test {
        /// Its name.
        name: String,
        /// Address of the repository.
        url: String,
    },
    /// Accept the key of a host for ssh, after comparing its fingerprint.
    Trust {
        /// Name of a credential of type SshKey.
        name: String,
        /// The host and its key, as the message about the unknown key has them: HOST TYPE KEY.
        #[arg(required = true, num_args = 1.., value_name = "LINE")]
        line: Vec<String>,
        /// Why, for the record.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Seal everything in a data folder with a new key. The server of that folder must not run.
    RotateKey,
}

/// `credential set`.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// Its name.
    pub name: String,
    /// What it is for; needed for a new one: GitToken, GitBasic, GitHubApp, SshKey, Registry, Tls, Age, SkepToken, Opaque.
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Host it may go to, with a port or for all of them. May be given more than once; names all of them.
    #[arg(long = "host", value_name = "HOST[:PORT]")]
    pub hosts: Vec<String>,
    /// Stack that it may go into: a name, or `ENVIRONMENT/NAME`; `*` is any text. May be given more than once; names all of
    /// them.
    #[arg(long = "stack", value_name = "[ENVIRONMENT/]STACK")]
    pub stacks: Vec<String>,
    /// Value from a file; `-` reads stdin. May be given more than once.
    #[arg(long, value_name = "KEY=PATH", value_parser = parse::pair, value_hint = ValueHint::FilePath)]
    pub from_file: Vec<Pair>,
    /// Value from a variable of the environment. May be given more than once.
    #[arg(long, value_name = "KEY=VARIABLE", value_parser = parse::pair)]
    pub from_env: Vec<Pair>,
    /// Value to be forgotten. May be given more than once.
    #[arg(long, value_name = "KEY")]
    pub remove: Vec<String>,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `environment`.
#[derive(Debug, Args)]
pub struct EnvironmentArgs {
    /// What to do.
    #[command(subcommand)]
    pub what: EnvironmentCommand,
}

/// What can be done with environments.
#[derive(Debug, Subcommand)]
pub enum EnvironmentCommand {
    /// Show all environments.
    List,
    /// Show one environment with its nodes.
    Get {
        /// Its name.
        name: String,
    },
    /// Declare an environment, by its endpoints or from a file.
    Apply(EnvironmentApplyArgs),
    /// Take an environment over from another Skep, which then only observes it.
    Claim {
        /// Its name.
        name: String,
        /// Why, for the record.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Forget an environment in which no stack is declared. Nothing on its Swarm is changed.
    Delete {
        /// Its name.
        name: String,
        /// Why, for the record.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// `environment apply`.
#[derive(Debug, Args)]
pub struct EnvironmentApplyArgs {
    /// Its name.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub name: Option<String>,
    /// File with the manifest, instead of a name.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// Manager: unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST:PORT. May be given more than once: the first that answers
    /// is used.
    #[arg(long = "endpoint", value_name = "URL", required_unless_present_any = ["file", "relay"], conflicts_with = "file")]
    pub endpoints: Vec<String>,
    /// Credential with the certificates for tcp:// endpoints.
    #[arg(long, value_name = "CREDENTIAL", conflicts_with = "file")]
    pub tls: Option<String>,
    /// Credential with the key for ssh:// endpoints.
    #[arg(long, value_name = "CREDENTIAL", conflicts_with = "file")]
    pub ssh: Option<String>,
    /// In place of endpoints: address of another Skep, nearer to the Swarm.
    #[arg(long, value_name = "URL", conflicts_with_all = ["file", "endpoints", "tls", "ssh"], requires = "credential")]
    pub relay: Option<String>,
    /// Credential of type SkepToken with the token of that Skep.
    #[arg(long, value_name = "CREDENTIAL", requires = "relay")]
    pub credential: Option<String>,
    /// Name of the environment there, if it is not `default`.
    #[arg(long, value_name = "NAME", requires = "relay")]
    pub far: Option<String>,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What to do.
    #[command(subcommand)]
    pub what: TokenCommand,
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Show which there are, what they reach and when they were last used. Tokens themselves are never shown again.
    List,
    /// Make a token, and print it: this once.
    Create(TokenCreateArgs),
    /// Revoke a token: nobody comes in with it any more, and what is open with it ends.
    Revoke {
        /// Its name.
        name: String,
        /// Why, for the record.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// `token create`.
#[derive(Debug, Args)]
pub struct TokenCreateArgs {
    /// Its name: who the log says it was.
    pub name: String,
    /// What its holder may do.
    #[arg(long, value_enum, value_name = "ROLE")]
    pub role: RoleName,
    /// Environments it reaches, by name, `*` for any run of characters; all of them when left out. May be given more than
    /// once.
    #[arg(long = "environments", value_name = "PATTERN")]
    pub environments: Vec<String>,
    /// Stacks it reaches there; all of them when left out. May be given more than once.
    #[arg(long = "stacks", value_name = "PATTERN")]
    pub stacks: Vec<String>,
    /// When it ends by itself: RFC 3339, or a duration from now like 2160h or 90d.
    #[arg(long, value_name = "TIME", value_parser = parse::until)]
    pub expires: Option<Timestamp>,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// A role. Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    /// Reads.
    Viewer,
    /// Brings versions about, and takes them back.
    Deployer,
    /// Declares stacks and deletes them.
    Operator,
    /// Keeps the installation.
    Admin,
}
