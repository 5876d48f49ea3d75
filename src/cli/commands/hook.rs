//! `hook`: what came from outside, what it would do, and having it done again.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::get::many;
use crate::cli::args::{HookCommand, HookTestArgs};
use crate::cli::client::{Again, documents};
use crate::cli::console::clean;
use crate::cli::exit::{CliError, Exit};
use crate::cli::model::{Hook, HookDelivery, HookTrial, read, read_all};
use crate::cli::output::{field, machine};
use crate::cli::session::Session;
use crate::cli::show;

/// Bytes of a payload; the server takes as many.
const LARGEST: u64 = 1 << 20;

pub(super) async fn hook(session: &Session<'_>, what: &HookCommand) -> Result<Exit, CliError> {
    match what {
        HookCommand::List => list(session).await,
        HookCommand::Test(args) => test(session, args).await,
        HookCommand::Deliveries { name, limit } => deliveries(session, name, *limit).await,
        HookCommand::Redeliver { name, delivery, reason } => {
            redeliver(session, name, delivery, reason.as_deref()).await
        }
        HookCommand::Delete { name, reason } => delete(session, name, reason.as_deref()).await,
    }
}

async fn list(session: &Session<'_>) -> Result<Exit, CliError> {
    let mut data = session.ask(documents::HOOKS, json!({})).await?;
    let found: Vec<Value> = read(&data.get_mut("hooks").map(Value::take).unwrap_or_default())?;
    let table = |found: &[Value]| {
        let found: Vec<Hook> = read_all(found)?;
        Ok(show::hooks(&found))
    };
    many(session, found, "name", table, ("there is no hook", "declare one: `skep apply -f FILE` with kind: Hook"))
}

async fn deliveries(session: &Session<'_>, name: &str, limit: u32) -> Result<Exit, CliError> {
    let variables = json!({ "hook": name, "first": limit });
    let mut data = session.ask(documents::HOOK_DELIVERIES, variables).await?;
    let found: Vec<Value> = read(&data.get_mut("hookDeliveries").map(Value::take).unwrap_or_default())?;
    let table = |found: &[Value]| {
        let found: Vec<HookDelivery> = read_all(found)?;
        Ok(show::hook_deliveries(&found, Timestamp::now()))
    };
    let hint = "those that are not signed with the hook's secret are not kept";
    many(session, found, "id", table, ("no delivery is known of that hook", hint))
}

async fn test(session: &Session<'_>, args: &HookTestArgs) -> Result<Exit, CliError> {
    let payload = payload(&args.payload)?;
    let variables = json!({ "hook": args.name, "event": args.event, "payload": payload });
    let mut data = session.ask(documents::HOOK_TRIAL, variables).await?;
    let trials = data.get_mut("hookTrial").map(Value::take).unwrap_or_default();
    match machine(session.output, &trials, field("event"))? {
        Some(text) => session.console.print(&text)?,
        None => {
            let trials: Vec<HookTrial> = read(&trials)?;
            session.console.print(&show::hook_trials(&trials))?;
        }
    }
    Ok(Exit::Done)
}

fn payload(path: &Path) -> Result<String, CliError> {
    let mut text = String::new();
    let read = match path == Path::new("-") {
        true => io::stdin().take(LARGEST + 1).read_to_string(&mut text),
        false => File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text)),
    };
    let path = path.display();
    read.map_err(|error| CliError::new(Exit::Error, format!("`{path}` cannot be read: {error}")))?;
    match text.len() as u64 > LARGEST {
        true => Err(CliError::new(Exit::Error, format!("`{path}` is larger than {LARGEST} bytes"))),
        false => Ok(text),
    }
}

async fn redeliver(session: &Session<'_>, name: &str, delivery: &str, reason: Option<&str>) -> Result<Exit, CliError> {
    let input = json!({ "hook": name, "delivery": delivery, "reason": reason });
    // An answer that was lost may have been of a delivery that was done.
    let payload = session.order("redeliverHook", documents::REDELIVER_HOOK, input, Again::Never).await?;
    let Value::Object(mut payload) = payload else { return Ok(Exit::Done) };
    payload.remove("userErrors");
    let payload = Value::Object(payload);
    match machine(session.output, &payload, field("deliveryId"))? {
        Some(text) => session.console.print(&text)?,
        None => session.console.print(&show::redelivered(&read(&payload)?, &clean(name)))?,
    }
    Ok(Exit::Done)
}

async fn delete(session: &Session<'_>, name: &str, reason: Option<&str>) -> Result<Exit, CliError> {
    let input = json!({ "name": name, "reason": reason });
    session.order("deleteHook", documents::DELETE_HOOK, input, Again::Never).await?;
    match machine(session.output, &json!({ "name": name }), field("name"))? {
        Some(text) => session.console.print(&text)?,
        None => session.console.print(&format!("hook {} is deleted", clean(name)))?,
    }
    Ok(Exit::Done)
}
