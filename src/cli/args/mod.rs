//! The command line of the whole binary. `SKEP_*` variables mirror the flags that are the same from one call to the next.

mod adopt;
mod care;
mod catalog;
mod context;
mod health;
mod hook;
mod keys;
mod logs;
mod look;
mod notifier;
mod parse;
mod serve;
mod simulate;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use clap_complete::engine::ArgValueCompleter;
use jiff::Timestamp;

pub(in crate::cli) use adopt::AdoptArgs;
pub(in crate::cli) use care::{BackupArgs, CheckArgs, RestoreArgs};
pub(in crate::cli) use catalog::{CatalogArgs, CatalogCommand};
pub(in crate::cli) use context::{ContextArgs, ContextCommand, InitArgs, RenderArgs};
pub(in crate::cli) use health::HealthArgs;
pub(in crate::cli) use hook::{HookArgs, HookCommand, HookTestArgs};
pub(in crate::cli) use keys::{
    CredentialArgs, CredentialCommand, EnvironmentApplyArgs, EnvironmentArgs, EnvironmentCommand, SetArgs, TokenArgs,
    TokenCommand, TokenCreateArgs,
};
pub(in crate::cli) use logs::LogsArgs;
pub(in crate::cli) use look::{DiffArgs, DiffForm, EventsArgs, FindArgs, ManArgs, WatchArgs};
pub(in crate::cli) use notifier::{NotifierArgs, NotifierCommand};
pub(in crate::cli) use parse::Pair;
pub use serve::{LogFormat, ServeArgs};
pub use simulate::SimulateArgs;

use super::complete;
use super::console::Color;
use super::exit::CODES;
use crate::cli::Folder;

const STYLES: Styles =
    Styles::styled().header(AnsiColor::White.on_default().bold()).usage(AnsiColor::White.on_default().bold());

/// Keeps a Docker Swarm in the state that was declared.
#[derive(Debug, Parser)]
#[command(name = "skep", version, styles = STYLES, after_long_help = CODES, arg_required_else_help = true)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub globals: Globals,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Debug, Clone, Args)]
pub struct Globals {
    /// Address of the server.
    #[arg(long, global = true, env = "SKEP_SERVER", default_value = "http://127.0.0.1:7717", value_name = "URL",
          value_hint = ValueHint::Url, help_heading = "Global options")]
    pub server: String,
    /// Context to use: a server that was kept under a name with `context add`. A server that is given goes before it.
    #[arg(long, global = true, env = "SKEP_CONTEXT", value_name = "NAME", help_heading = "Global options",
          add = ArgValueCompleter::new(complete::contexts))]
    pub context: Option<String>,
    /// Token to sign in with; for a server on this machine, that of its data folder when left out.
    #[arg(
        long,
        global = true,
        env = "SKEP_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        help_heading = "Global options"
    )]
    pub token: Option<String>,
    /// Folder of the server's data: what `serve` keeps, and where a client finds `admin.token`.
    #[arg(long, global = true, env = "SKEP_DATA", value_name = "DIR", value_hint = ValueHint::DirPath,
          default_value_os_t = parse::data_folder(), help_heading = "Global options")]
    pub data: PathBuf,
    /// File with the key that everything in that folder is sealed with, if it is kept elsewhere, such as a mounted secret; or
    /// `SKEP_SEAL_KEY` holds the key itself.
    #[arg(long, global = true, env = "SKEP_SEAL_KEY_FILE", value_name = "FILE", value_hint = ValueHint::FilePath,
          help_heading = "Global options")]
    pub seal_key_file: Option<PathBuf>,
    /// Environment of the stack; `default` when left out. Lists show all environments then.
    #[arg(short, long, global = true, env = "SKEP_ENVIRONMENT", value_name = "NAME", help_heading = "Global options",
          add = ArgValueCompleter::new(complete::environments))]
    pub environment: Option<String>,
    /// Form of the result.
    #[arg(
        short,
        long,
        global = true,
        env = "SKEP_OUTPUT",
        value_enum,
        default_value_t,
        value_name = "FORM",
        help_heading = "Global options"
    )]
    pub output: Output,
    /// When to use colour.
    #[arg(
        long,
        global = true,
        env = "SKEP_COLOR",
        value_enum,
        default_value_t,
        value_name = "WHEN",
        help_heading = "Global options"
    )]
    pub color: Color,
    /// How long to wait, where a command waits: 90s, 10m, 1h30m.
    #[arg(long, global = true, env = "SKEP_TIMEOUT", default_value = "10m", value_parser = parse::duration,
          value_name = "TIME", help_heading = "Global options")]
    pub timeout: Duration,
}

impl Globals {
    /// The data folder, and where its key is.
    pub(in crate::cli) fn folder(&self) -> Folder<'_> {
        Folder { data: &self.data, seal_key_file: self.seal_key_file.as_deref() }
    }
}

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For people with wide screens.
    Wide,
    /// JSON; with `-w` one object a line.
    Json,
    /// YAML; with `-w` one document after the other.
    Yaml,
    /// Names or ids alone.
    Name,
}

impl Output {
    /// Whether people read it.
    #[must_use]
    pub fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the API, the controller and the page in one process.
    Serve(ServeArgs),
    /// Record YAML documents: stacks, environments, credentials, hooks, catalogs, notifiers.
    Apply(ApplyArgs),
    /// Set the version a stack should run.
    Deploy(DeployArgs),
    /// Show stacks, deployments, environments, notifiers, events.
    Get(GetArgs),
    /// Show what deploying would change now. Exits with 0 for nothing, 1 for a difference, 2 for an error.
    Diff(DiffArgs),
    /// Show what a version's files come to: the objects that would be asked of the engine, secret values masked.
    Render(RenderArgs),
    /// Show the deployments of a stack, the newest first.
    History(HistoryArgs),
    /// Go back to an older version and stay there until `unpin`.
    Rollback(RollbackArgs),
    /// End a pin: what is declared flows again.
    Unpin(StackArgs),
    /// Forget which versions failed, and try what is declared again.
    ReleaseHold(StackArgs),
    /// Stop the deployment under way.
    Cancel(CancelArgs),
    /// Let a deployment that waits for approval go on.
    Approve(ApproveArgs),
    /// Write nothing for a stack, for the time being.
    Suspend(SuspendArgs),
    /// End a suspension.
    Resume(StackArgs),
    /// Look at a stack now.
    Reconcile(StackArgs),
    /// Delete a stack and what it owns; volumes are kept.
    Delete(DeleteArgs),
    /// Take over stacks that `docker stack deploy` made. No task is restarted where the file says what runs.
    Adopt(AdoptArgs),
    /// Hand a stack back: Skep forgets it, and everything runs on.
    Release(StackArgs),
    /// Show the log; `-w` follows it.
    Events(EventsArgs),
    /// Show what Skep did and what services wrote; `-f` follows it.
    Logs(LogsArgs),
    /// Wait until a deployment has ended.
    Wait(WaitArgs),
    /// Keep key material for repositories, registries and engines.
    Credential(CredentialArgs),
    /// Show and declare environments: the named Swarms.
    Environment(EnvironmentArgs),
    /// Show, try out and delete notifiers: who outside is told of what.
    Notifier(NotifierArgs),
    /// Make, show and revoke the tokens that let others in.
    Token(TokenArgs),
    /// Look after catalogs: stacks that are declared by the files of a repository.
    Catalog(CatalogArgs),
    /// Look after hooks: what came, what a delivery would do, having one done again.
    Hook(HookArgs),
    /// Take a backup of a server, while it runs, and read it back.
    Backup(BackupArgs),
    /// Make a data folder (`--data`) from a backup. Its server only observes until `environment claim`.
    Restore(RestoreArgs),
    /// Read and check everything in a data folder (`--data`) or a backup; writes nothing. Exits with 1 when something is wrong.
    Check(CheckArgs),
    /// Look whether everything works: server, store, disk, engines, claims, clocks, repositories; says what to mend. Exits
    /// with 1 when something does not.
    Doctor,
    /// Say what the server logs, or change it until it ends.
    LogFilter {
        /// error, warn, info, debug, trace, or a filter like `info,skep::source=debug`.
        filter: Option<String>,
    },
    /// Ask the server of this machine whether it is well, without a token: for health checks. Exits with 1 when it is not.
    Health(HealthArgs),
    /// Play seeded schedules in a simulated world, and check every promise at every step; tells one as a story.
    Simulate(SimulateArgs),
    /// Show all stacks, or one of them, as they change, until q or Ctrl-C.
    ///
    /// On a terminal it takes the whole screen: j k and the arrows move, PgUp PgDn g G go further, / finds by words, Enter
    /// opens the stack that is pointed at, q or Esc lead back. Where there is no terminal, or results are for machines, it
    /// prints a line for each change, as `get stacks -w` does.
    Watch(WatchArgs),
    /// Write a first manifest for the folder one is in.
    Init(InitArgs),
    /// Keep servers by name, and say which one to ask.
    Context(ContextArgs),
    /// Print the GraphQL schema.
    Schema,
    /// Write manual pages, one for each command.
    Man(ManArgs),
    /// Print completions for a shell: what is typed is completed with commands, flags, and the names of stacks.
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: Shell,
    },
}

impl Command {
    /// Whether it asks a server, and so is for a context.
    #[must_use]
    pub fn asks_a_server(&self) -> bool {
        !matches!(
            self,
            Self::Serve(_)
                | Self::Context(_)
                | Self::Init(_)
                | Self::Restore(_)
                | Self::Check(_)
                | Self::Simulate(_)
                | Self::Schema
                | Self::Man(_)
                | Self::Completions { .. }
        )
    }
}

/// A stack, and why something is done to it.
#[derive(Debug, Args)]
pub struct StackArgs {
    /// Name of the stack.
    #[arg(add = ArgValueCompleter::new(complete::stacks))]
    pub stack: String,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// File, folder (its *.yml and *.yaml, by name), or `-` for stdin. May be given more than once: all or none is recorded.
    #[arg(short, long = "file", required = true, value_name = "FILE|DIR|-", value_hint = ValueHint::AnyPath)]
    pub files: Vec<PathBuf>,
    /// Say what would change, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Follow the deployments until they have ended.
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
}

/// `deploy`.
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// Name of the stack.
    #[arg(add = ArgValueCompleter::new(complete::stacks))]
    pub stack: String,
    /// Branch, tag, commit, or a range over tags: ">=1.2 <2".
    #[arg(long = "ref", value_name = "REF")]
    pub wanted: Option<String>,
    /// Version of one service: a tag, a digest or a whole image. May be given more than once.
    #[arg(long = "image", value_name = "SERVICE=TAG", value_parser = parse::pair)]
    pub images: Vec<Pair>,
    /// Value of a variable. May be given more than once.
    #[arg(long = "set", value_name = "K=V", value_parser = parse::pair)]
    pub variables: Vec<Pair>,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Only if the stack is at this generation; another one is a conflict.
    #[arg(long, value_name = "N")]
    pub expect_generation: Option<u64>,
    /// Follow this deployment until it has ended.
    #[arg(long)]
    pub wait: bool,
}

/// `get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// What to show.
    #[command(subcommand)]
    pub what: What,
    /// Go on showing what changes.
    #[arg(short, long, global = true)]
    pub watch: bool,
    /// How many at most, of deployments and events.
    #[arg(long, global = true, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// What `get` shows.
#[derive(Debug, Subcommand)]
pub enum What {
    /// All stacks, or those that are looked for.
    Stacks(FindArgs),
    /// One stack.
    Stack {
        /// Its name.
        #[arg(add = ArgValueCompleter::new(complete::stacks))]
        name: String,
    },
    /// Deployments, the newest first.
    Deployments {
        /// Only those of this stack.
        #[arg(add = ArgValueCompleter::new(complete::stacks))]
        stack: Option<String>,
    },
    /// One deployment.
    Deployment {
        /// Its id.
        id: String,
    },
    /// All environments.
    Environments,
    /// The tasks of a stack's services, as the engine has them now.
    Tasks {
        /// Name of the stack.
        #[arg(add = ArgValueCompleter::new(complete::stacks))]
        stack: String,
    },
    /// All notifiers.
    Notifiers,
    /// The newest lines of the log.
    Events {
        /// Only those about this stack.
        #[arg(add = ArgValueCompleter::new(complete::stacks))]
        stack: Option<String>,
    },
}

/// `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Name of the stack.
    #[arg(add = ArgValueCompleter::new(complete::stacks))]
    pub stack: String,
    /// How many at most.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// `rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// Name of the stack.
    #[arg(add = ArgValueCompleter::new(complete::stacks))]
    pub stack: String,
    /// Deployment whose version is to come back. When left out, a terminal shows which there are and asks; elsewhere it is
    /// the one that converged before.
    pub deployment: Option<String>,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// When the pin ends by itself: RFC 3339, or a duration from now like 2h.
    #[arg(long, value_name = "TIME", value_parser = parse::until)]
    pub until: Option<Timestamp>,
    /// Follow the deployment until it has ended.
    #[arg(long)]
    pub wait: bool,
}

/// `cancel`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// Name of the stack.
    #[arg(add = ArgValueCompleter::new(complete::stacks))]
    pub stack: String,
    /// The deployment; the one under way, when left out.
    pub deployment: Option<String>,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `approve`.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// The deployment that waits.
    pub deployment: String,
    /// Digest of the plan that was looked at (`skep diff`); the one it waits with, when left out.
    #[arg(long, value_name = "DIGEST")]
    pub plan: Option<String>,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Follow the deployment until it has ended.
    #[arg(long)]
    pub wait: bool,
}

/// `suspend`.
#[derive(Debug, Args)]
pub struct SuspendArgs {
    /// Name of the stack.
    #[arg(add = ArgValueCompleter::new(complete::stacks))]
    pub stack: String,
    /// Why: whoever finds the stack suspended reads it.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// When it ends by itself: RFC 3339, or a duration from now like 2h.
    #[arg(long, value_name = "TIME", value_parser = parse::until)]
    pub until: Option<Timestamp>,
}

/// `delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Name of the stack.
    #[arg(add = ArgValueCompleter::new(complete::stacks))]
    pub stack: String,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// Forget the stack, and leave its objects on the Swarm.
    #[arg(long)]
    pub keep_running: bool,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `wait`.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Name of the stack.
    #[arg(add = ArgValueCompleter::new(complete::stacks))]
    pub stack: String,
    /// The deployment; the newest that is not an automatic rollback, when left out.
    pub deployment: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_commands_of_the_contract_are_taken() {
        for line in [
            "skep serve --listen 127.0.0.1:0 --data d --docker unix:///x --allow-private-addresses --allow-file-sources",
            "skep serve --listen 0.0.0.0:1 --tls-cert c --tls-key k --metrics-public",
            "skep serve --listen [::]:1 --insecure",
            "skep apply -f a.yml --dry-run",
            "skep apply -f - -f dir --wait",
            "skep deploy shop --ref v2 --image web=2 --image api=a:b@sha256:0 --set K=V=W --reason why --expect-generation 3 --wait --timeout 10m",
            "skep get stacks -o wide -w",
            "skep get stack shop -o json -e prod",
            "skep -e prod get deployments",
            "skep get deployment 01x -o yaml",
            "skep get environments -o name",
            "skep get events -w",
            "skep diff shop --ref main",
            "skep diff shop --format unified",
            "skep diff shop --image web=2 --image api=3",
            "skep diff shop --from 01a --to 01b --format markdown",
            "skep get stacks --phase Failed --phase degraded --search \"a\" --sort worst",
            "skep get tasks shop -o json",
            "skep watch",
            "skep watch shop",
            "skep man pages",
            "skep history shop",
            "skep events -w",
            "skep events shop --deployment 01x --type Failed --type Held --actor ada",
            "skep logs shop/web -f --tail 10 --since 5m --deployment 01x --timestamps",
            "skep logs --deployment 01x",
            "skep wait shop",
            "skep rollback shop 01x --reason r --wait",
            "skep unpin shop",
            "skep release-hold shop",
            "skep cancel shop",
            "skep approve 01x --plan sha256:0 --reason seen --wait",
            "skep suspend shop --reason r --until 2h",
            "skep resume shop",
            "skep reconcile shop",
            "skep delete shop --yes --keep-running",
            "skep adopt shop -f shop.yml --dry-run",
            "skep adopt shop -f shop.yml --rotate-secrets --reason r --wait",
            "skep adopt --all -f stacks -e prod",
            "skep release shop --reason r",
            "skep environment claim prod --reason moved",
            "skep health --ready --patience 30s",
            "skep schema",
            "skep simulate --serve 127.0.0.1:0 --stacks 2000 --changes 20",
            "skep completions bash",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for line in [
            "skep fly",
            "skep apply",
            "skep apply -f a --dry-run --wait",
            "skep adopt shop",
            "skep adopt -f a.yml",
            "skep adopt shop --all -f a.yml",
            "skep deploy",
            "skep deploy shop --image web",
            "skep deploy shop --set =1",
            "skep deploy shop --expect-generation x",
            "skep deploy shop --timeout soon",
            "skep get",
            "skep logs",
            "skep logs shop/",
            "skep logs shop --since soon",
            "skep get stacks -o xml",
            "skep diff shop --format colour",
            "skep diff shop --from 01a",
            "skep diff shop --from 01a --to 01b --ref main",
            "skep get stacks --phase Fine",
            "skep get stacks --sort size",
            "skep suspend shop",
            "skep suspend shop --reason r --until yesterday",
            "skep serve --tls-cert c",
            "skep serve --listen nowhere",
        ] {
            let error = parse(line).err().map(|error| error.exit_code());
            assert_eq!(error, Some(2), "{line}");
        }
    }

    #[test]
    fn help_and_version_are_no_errors() {
        assert_eq!(parse("skep --help").unwrap_err().kind(), ErrorKind::DisplayHelp);
        assert_eq!(parse("skep --version").unwrap_err().kind(), ErrorKind::DisplayVersion);
        assert!(parse("skep --help").unwrap_err().to_string().contains("130  interrupted"));
    }
}
