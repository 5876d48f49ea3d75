//! `credential`: key material by name. Values go in, and never come out.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::get::many;
use crate::cli::args::{CredentialCommand, Pair, SetArgs};
use crate::cli::client::{Again, documents};
use crate::cli::console::clean;
use crate::cli::exit::{CliError, Exit};
use crate::cli::model::{Credential, read, read_all};
use crate::cli::output::{field, machine};
use crate::cli::session::Session;
use crate::cli::show;

/// Bytes that a value from a file or from stdin has at most; the server takes less.
const LARGEST: u64 = 1 << 20;

pub(super) async fn credential(session: &Session<'_>, what: &CredentialCommand) -> Result<Exit, CliError> {
    match what {
        CredentialCommand::List => list(session).await,
        CredentialCommand::Set(args) => set(session, args).await,
        CredentialCommand::Delete { name, reason } => {
            let input = json!({ "name": name, "reason": reason });
            order(session, "deleteCredential", documents::DELETE_CREDENTIAL, input, |_| "is deleted".to_owned()).await
        }
        CredentialCommand::Test { name, url } => test(session, name, url).await,
        CredentialCommand::Trust { name, line, reason } => {
            let input = json!({ "credential": name, "line": line.join(" "), "reason": reason });
            let host = line.join(" ");
            let host = clean(host.split_whitespace().next().unwrap_or_default());
            order(session, "trustHost", documents::TRUST_HOST, input, |_| format!("trusts that key of {host}")).await
        }
        // It needs no server.
        CredentialCommand::RotateKey => Ok(Exit::Done),
    }
}

async fn list(session: &Session<'_>) -> Result<Exit, CliError> {
    let mut data = session.ask(documents::CREDENTIALS, json!({})).await?;
    let found: Vec<Value> = read(&data.get_mut("credentials").map(Value::take).unwrap_or_default())?;
    let table = |found: &[Value]| {
        let found: Vec<Credential> = read_all(found)?;
        Ok(show::credentials(&found, Timestamp::now()))
    };
    let hint = "make one: `skep credential set NAME --type TYPE --host HOST --from-file KEY=PATH`";
    many(session, found, "name", table, ("there is no credential", hint))
}

async fn set(session: &Session<'_>, args: &SetArgs) -> Result<Exit, CliError> {
    let mut data = Vec::new();
    for Pair { key, value } in &args.from_file {
        data.push(json!({ "name": key, "value": of_file(Path::new(value))? }));
    }
    for Pair { key, value } in &args.from_env {
        data.push(json!({ "name": key, "value": of_environment(value)? }));
    }
    let mut input = json!({
        "name": args.name, "type": args.kind, "data": data, "remove": args.remove, "reason": args.reason,
    });
    if !args.hosts.is_empty() {
        input["hosts"] = json!(args.hosts);
    }
    if !args.stacks.is_empty() {
        input["stacks"] = json!(args.stacks);
    }
    order(session, "setCredential", documents::SET_CREDENTIAL, input, |changes| match changes {
        [] => "is unchanged".to_owned(),
        changes => format!("is set: {}", changes.join(", ")),
    })
    .await
}

/// A file's text; `-` is stdin.
pub(super) fn of_file(path: &Path) -> Result<String, CliError> {
    let name = if path.as_os_str() == "-" { "stdin".to_owned() } else { path.display().to_string() };
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        io::stdin().lock().take(LARGEST + 1).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text))
    };
    match read {
        Ok(bytes) if u64::try_from(bytes).is_ok_and(|bytes| bytes <= LARGEST) => Ok(text),
        Ok(_) => Err(CliError::new(Exit::Error, format!("{name} is larger than {LARGEST} bytes"))),
        Err(error) => Err(CliError::new(Exit::Error, format!("{name} cannot be read: {error}"))
            .next("check the path; a value is UTF-8 text")),
    }
}

/// A variable of the environment.
pub(super) fn of_environment(name: &str) -> Result<String, CliError> {
    std::env::var(name).map_err(|_| {
        CliError::new(Exit::Error, format!("the environment has no variable `{name}`"))
            .next(format!("set it where this command is run: `export {name}`"))
    })
}

async fn order(
    session: &Session<'_>,
    name: &str,
    document: &str,
    input: Value,
    done: impl FnOnce(&[String]) -> String,
) -> Result<Exit, CliError> {
    let payload = session.order(name, document, input, Again::Safe).await?;
    let credential = payload.get("credential").unwrap_or(&Value::Null);
    match machine(session.output, credential, field("name"))? {
        Some(text) => session.console.print(&text)?,
        None => {
            let shown: Credential = read(credential)?;
            let changes: Vec<String> = read(payload.get("changes").unwrap_or(&Value::Null))?;
            session.console.print(&format!("credential {} {}", clean(&shown.name), done(&changes)))?;
        }
    }
    Ok(Exit::Done)
}

async fn test(session: &Session<'_>, name: &str, url: &str) -> Result<Exit, CliError> {
    let data = session.ask(documents::TEST_CREDENTIAL, json!({ "name": name, "url": url })).await?;
    let answer = data.get("credentialTest").unwrap_or(&Value::Null);
    match machine(session.output, answer, field("url"))? {
        Some(text) => session.console.print(&text)?,
        None => {
            let names = |key: &str| -> Vec<String> {
                answer
                    .get(key)
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(clean)
                    .collect()
            };
            let none = |names: Vec<String>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let text = format!(
                "{} opens {}\nbranches: {}\ntags: {}",
                clean(name),
                clean(url),
                none(names("branches")),
                none(names("tags"))
            );
            session.console.print(&text)?;
        }
    }
    Ok(Exit::Done)
}
