//! `backup`, `restore`, `check`: care of the data itself.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::args::{BackupArgs, CheckArgs, Globals, RestoreArgs};
use crate::cli::console::Console;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::machine;
use crate::cli::session::Session;
use crate::cli::{CheckFound, Host, HostError};

/// Takes a backup, reads it back to its end, and only then gives it its name.
pub(in crate::cli) fn backup(
    globals: &Globals,
    args: &BackupArgs,
    host: &dyn Host,
    console: &Console,
) -> Result<Exit, CliError> {
    let part = args.file.with_added_extension("part");
    let io = |path: &Path, error: &io::Error| CliError::new(Exit::Error, format!("`{}`: {error}", path.display()));
    if args.file.exists() {
        let message = format!("`{}` is there already, and is not overwritten", args.file.display());
        return Err(CliError::new(Exit::Error, message).next("name another file"));
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).map_err(|error| io(&part, &error))?;
    let taken = take(globals, args, host, console, &mut file)
        .and_then(|()| file.sync_all().map_err(|error| io(&part, &error)))
        .and_then(|()| host.check_backup(&part).map_err(|error| failed(&error)))
        .and_then(|found| std::fs::rename(&part, &args.file).map(|()| found).map_err(|error| io(&args.file, &error)));
    if taken.is_err() {
        // What is not whole is of no use.
        drop(std::fs::remove_file(&part));
    }
    let found = taken?;
    match machine(globals.output, &json_of(&found), |_| Some(args.file.display().to_string()))? {
        Some(text) => console.print(&text)?,
        None => console.print(&format!("{}: {}, read back whole", args.file.display(), found.size()))?,
    }
    console.note("the key file is not in it: keep a copy of `seal.key` of the data folder somewhere else. Without it no credential, no secret and no deployed version in this backup can be opened");
    Ok(Exit::Done)
}

fn take(
    globals: &Globals,
    args: &BackupArgs,
    host: &dyn Host,
    console: &Console,
    file: &mut File,
) -> Result<(), CliError> {
    if args.offline {
        return host.backup(&globals.data, file).map_err(|error| {
            failed(&error).next("while its server runs, leave --offline out: it is asked for the backup")
        });
    }
    let runtime = crate::cli::runtime()?;
    let session = Session::new(globals, console)?;
    runtime.block_on(session.client.download("api/v1/backup", globals.timeout, file))
}

/// Makes a data folder from a backup.
pub(in crate::cli) fn restore(
    globals: &Globals,
    args: &RestoreArgs,
    host: &dyn Host,
    console: &Console,
) -> Result<Exit, CliError> {
    let found = host.restore(&args.file, args.key.as_deref(), globals.folder()).map_err(|error| failed(&error))?;
    match machine(globals.output, &json_of(&found), |_| Some(globals.data.display().to_string()))? {
        Some(text) => console.print(&text)?,
        None => console.print(&format!("{}: {} restored", globals.data.display(), found.size()))?,
    }
    console.note("`skep serve` on it only observes, and has a new admin.token. When no other Skep keeps the Swarm any more, compare with `skep diff`, then `skep environment claim NAME`");
    Ok(Exit::Done)
}

/// Checks a data folder or a backup.
pub(in crate::cli) fn check(
    globals: &Globals,
    args: &CheckArgs,
    host: &dyn Host,
    console: &Console,
) -> Result<Exit, CliError> {
    let (what, found) = match &args.file {
        Some(file) => (file, host.check_backup(file)),
        None => (&globals.data, host.check(globals.folder())),
    };
    let found = found.map_err(|error| failed(&error))?;
    match machine(globals.output, &json_of(&found), |_| Some(what.display().to_string()))? {
        Some(text) => console.print(&text)?,
        None => {
            for fault in &found.faults {
                console.print(fault)?;
            }
            let verdict = if found.faults.is_empty() { "all is well" } else { "not all is well" };
            console.print(&format!("{}: {}, {verdict}", what.display(), found.size()))?;
        }
    }
    Ok(if found.faults.is_empty() { Exit::Done } else { Exit::Error })
}

fn json_of(found: &CheckFound) -> Value {
    json!({ "revision": found.revision, "records": found.records, "files": found.files, "faults": found.faults })
}

fn failed(error: &HostError) -> CliError {
    let exit = match error {
        HostError::Nothing(_) => Exit::NotFound,
        HostError::Usage(_) => Exit::Usage,
        HostError::Failed(_) => Exit::Error,
    };
    CliError::new(exit, error.to_string())
}
