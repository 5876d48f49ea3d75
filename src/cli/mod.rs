//! The command line: a client of the API, and the words of the whole binary.
//!
//! [`run`] reads the arguments and carries them out. What needs the server side is asked of a [`Host`], which the
//! composition root gives, so that nothing here knows it. Results go to stdout, progress and marks to stderr; every way to
//! end has its exit code in [`Exit`].
//!
//! `args` says what can be typed, `client` speaks to the server, `commands` does what was typed, `follow` watches one
//! deployment to its end, `show` turns answers into text, `console` alone prints.

mod args;
mod client;
mod commands;
mod complete;
mod console;
mod contexts;
mod environment_model;
mod exit;
mod follow;
mod model;
mod output;
mod plan_model;
mod session;
mod show;
mod table;
mod text;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ColorChoice, CommandFactory, FromArgMatches};
use clap_complete::CompleteEnv;
use thiserror::Error;

pub use args::{Cli, LogFormat, ServeArgs, SimulateArgs};
pub use exit::Exit;

use args::{Command, CredentialArgs, CredentialCommand, Globals};
use console::{Color, Console};
use exit::CliError;
use session::Session;

use crate::ports::Finding;

/// The server side, as the composition root gives it.
pub trait Host {
    /// Serves until SIGTERM or SIGINT, with its data in this folder. Called outside of any runtime.
    ///
    /// # Errors
    /// [`HostError`] when it cannot begin, or ends by itself.
    fn serve(&self, folder: Folder<'_>, args: &ServeArgs) -> Result<(), HostError>;

    /// The GraphQL schema, as text.
    fn schema(&self) -> String;

    /// Seals everything in this data folder with a new key; gives how many records that were. Called outside of any
    /// runtime.
    ///
    /// # Errors
    /// [`HostError`] when a server has the folder open, or something in it cannot be opened. Doing it again goes on.
    fn rotate_key(&self, folder: Folder<'_>) -> Result<u64, HostError>;

    /// Writes a backup of this data folder, whose server does not run.
    ///
    /// # Errors
    /// [`HostError`].
    fn backup(&self, data: &Path, to: &mut dyn Write) -> Result<(), HostError>;

    /// Reads a backup to its end, and checks every record and file of it.
    ///
    /// # Errors
    /// [`HostError`] when it could not be restored.
    fn check_backup(&self, file: &Path) -> Result<CheckFound, HostError>;

    /// Reads and checks everything in a data folder whose server does not run; writes nothing there.
    ///
    /// # Errors
    /// [`HostError`] when the store cannot be read to its end.
    fn check(&self, folder: Folder<'_>) -> Result<CheckFound, HostError>;

    /// Makes this data folder, which is empty or not there, from a backup and the key that belongs to it: a file, which is
    /// copied there, or the one that the folder says is kept elsewhere.
    ///
    /// # Errors
    /// [`HostError`]; the folder is then as it was.
    fn restore(&self, file: &Path, copied: Option<&Path>, folder: Folder<'_>) -> Result<CheckFound, HostError>;

    /// Looks at this data folder and at the engine of this machine, without a server.
    fn examine(&self, folder: Folder<'_>) -> Vec<Finding>;

    /// Plays schedules in a simulated world; each line goes to `say` as soon as it is known. Whether all laws held.
    ///
    /// # Errors
    /// [`HostError`] when this binary holds no simulator, or what was asked makes no sense.
    fn simulate(&self, args: &SimulateArgs, say: &mut dyn FnMut(&str)) -> Result<bool, HostError>;
}

/// A data folder, and where its key is.
#[derive(Debug, Clone, Copy)]
pub struct Folder<'a> {
    /// The folder.
    pub data: &'a Path,
    /// The file that holds the key, if it is not the folder's own.
    pub seal_key_file: Option<&'a Path>,
}

/// What is in a store or a backup, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFound {
    /// The store's revision.
    pub revision: u64,
    /// How many records.
    pub records: u64,
    /// How many kept files.
    pub files: u64,
    /// What is wrong, a sentence for each.
    pub faults: Vec<String>,
}

impl CheckFound {
    fn size(&self) -> String {
        format!("{} records and {} files of revision {}", self.records, self.files, self.revision)
    }
}

/// Why the server does not serve, in a sentence, with the mend where it is known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HostError {
    /// What was asked makes no sense: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// There is nothing to work with: exit code 3.
    #[error("{0}")]
    Nothing(String),
    /// It went wrong: exit code 1.
    #[error("{0}")]
    Failed(String),
}

/// Reads the arguments of the process, carries them out, and gives the exit code.
#[must_use]
pub fn run(host: &dyn Host) -> ExitCode {
    // A shell that asks what could be typed next is answered, and that is all.
    CompleteEnv::with_factory(Cli::command).var(complete::VARIABLE).complete();
    ExitCode::from(enter(std::env::args_os(), host).code())
}

/// When the parser's own words are in colour: it speaks before the flag is read.
fn colour_of(words: &[OsString]) -> ColorChoice {
    let mut found = std::env::var("SKEP_COLOR").ok();
    for (index, word) in words.iter().filter_map(|word| word.to_str()).enumerate() {
        match word.strip_prefix("--color") {
            Some("") => found = words.get(index + 1).and_then(|word| word.to_str()).map(str::to_owned),
            Some(value) => found = value.strip_prefix('=').map(str::to_owned).or(found),
            None => {}
        }
    }
    match found.as_deref() {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
}

/// The help of the command that these words name, as it is typed.
fn help_of(words: &[OsString]) -> String {
    let (mut command, mut line) = (Cli::command(), "skep".to_owned());
    for word in words.iter().skip(1).filter_map(|word| word.to_str()) {
        if let Some(found) = command.find_subcommand(word).cloned() {
            line.push_str(&format!(" {}", found.get_name()));
            command = found;
        }
    }
    format!("{line} --help")
}

fn enter(arguments: impl Iterator<Item = OsString>, host: &dyn Host) -> Exit {
    let words: Vec<OsString> = arguments.collect();
    let read = Cli::command().color(colour_of(&words)).try_get_matches_from(&words).and_then(|matches| {
        let said = matches.value_source("server") != Some(ValueSource::DefaultValue);
        Ok((Cli::from_arg_matches(&matches)?, said))
    });
    let (cli, server_was_said) = match read {
        Ok(read) => read,
        Err(error) => {
            // Help and version are errors to clap, and go to stdout.
            let _unread = error.print();
            if !error.use_stderr() {
                return Exit::Done;
            }
            // Help that is printed in place of a command is what to type next.
            if error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                let colour = match colour_of(&words) {
                    ColorChoice::Always => Color::Always,
                    ColorChoice::Never => Color::Never,
                    ColorChoice::Auto => Color::Auto,
                };
                Console::real(colour).next(&format!("see what it takes: `{}`", help_of(&words)));
            }
            return Exit::Usage;
        }
    };
    let console = Console::real(cli.globals.color);
    finish(&console, carry_out(cli, server_was_said, host, &console))
}

/// Says what went wrong, if something did, and always what to type next.
fn finish(console: &Console, result: Result<Exit, CliError>) -> Exit {
    result.unwrap_or_else(|error| {
        let next = error.exit.usual_next();
        let error = error.or_next(next);
        console.complain(&error);
        error.exit
    })
}

fn carry_out(cli: Cli, server_was_said: bool, host: &dyn Host, console: &Console) -> Result<Exit, CliError> {
    let Cli { mut globals, command } = cli;
    if command.asks_a_server() {
        contexts::apply(&mut globals, server_was_said)?;
    }
    match command {
        Command::Context(args) => commands::context::context(&globals, server_was_said, &args.what, console),
        Command::Init(args) => commands::init::init(&args, console),
        Command::Serve(args) => {
            args.check()?;
            host.serve(globals.folder(), &args).map_err(|error| match error {
                HostError::Usage(message) => CliError::new(Exit::Usage, message).next("see `skep serve --help`"),
                HostError::Nothing(message) | HostError::Failed(message) => CliError::new(Exit::Error, message),
            })?;
            Ok(Exit::Done)
        }
        Command::Credential(CredentialArgs { what: CredentialCommand::RotateKey }) => {
            let count = host.rotate_key(globals.folder()).map_err(|error| match error {
                HostError::Usage(message) => CliError::new(Exit::Usage, message),
                error => CliError::new(Exit::Error, error.to_string())
                    .next("stop the server of this folder, and do it again"),
            })?;
            console.print(&format!("{count} records are sealed with the new key"))?;
            Ok(Exit::Done)
        }
        Command::Backup(args) => commands::care::backup(&globals, &args, host, console),
        Command::Restore(args) => commands::care::restore(&globals, &args, host, console),
        Command::Check(args) => commands::care::check(&globals, &args, host, console),
        Command::Doctor => commands::doctor::doctor(&globals, host, console),
        Command::Health(args) => commands::health::health(&globals, &args, console),
        Command::Simulate(args) => {
            let mut unread = Ok(());
            let mut say = |line: &str| unread = console.print(line);
            let held = host.simulate(&args, &mut say).map_err(|error| match error {
                HostError::Usage(message) => CliError::new(Exit::Usage, message).next("see `skep simulate --help`"),
                HostError::Nothing(message) | HostError::Failed(message) => CliError::new(Exit::Error, message),
            })?;
            unread.map(|()| if held { Exit::Done } else { Exit::Error })
        }
        Command::Schema => console.print(&host.schema()).map(|()| Exit::Done),
        Command::Man(args) => commands::man::man(&args, console),
        Command::Completions { shell } => {
            console.print(&complete::registration(&shell.to_string())?).map(|()| Exit::Done)
        }
        command => ask(&globals, command, console),
    }
}

/// Carries out a command that asks a server.
fn ask(globals: &Globals, command: Command, console: &Console) -> Result<Exit, CliError> {
    let runtime = runtime()?;
    let session = Session::new(globals, console)?;
    runtime.block_on(commands::dispatch(&session, command))
}

/// What a client works in.
fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    // One provider for all TLS; a second installation changes nothing.
    let _first = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| CliError::new(Exit::Error, format!("no runtime can be started: {error}")))
}

#[cfg(test)]
mod usage {
    use super::*;

    #[test]
    fn words_that_make_no_sense_lead_to_the_help_of_their_command() {
        let help = |line: &str| help_of(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(help("skep fly"), "skep --help");
        assert_eq!(help("skep -e prod get stack --none"), "skep get stack --help");
        assert_eq!(help("skep credential set"), "skep credential set --help");
    }
}
