//! `notifier`: who is told of what, and whether it arrives.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::get::many;
use crate::cli::args::{NotifierCommand, Output};
use crate::cli::client::{Again, documents};
use crate::cli::console::clean;
use crate::cli::exit::{CliError, Exit};
use crate::cli::model::{Notifier, read, read_all};
use crate::cli::output::{field, machine};
use crate::cli::session::Session;
use crate::cli::show;

pub(super) async fn notifier(session: &Session<'_>, what: &NotifierCommand) -> Result<Exit, CliError> {
    match what {
        NotifierCommand::List => list(session).await,
        NotifierCommand::Test { name } => test(session, name).await,
        NotifierCommand::Delete { name, reason } => delete(session, name, reason.as_deref()).await,
    }
}

pub(super) async fn list(session: &Session<'_>) -> Result<Exit, CliError> {
    let mut data = session.ask(documents::NOTIFIERS, json!({})).await?;
    let found: Vec<Value> = read(&data.get_mut("notifiers").map(Value::take).unwrap_or_default())?;
    let wide = session.output == Output::Wide;
    let table = |found: &[Value]| {
        let found: Vec<Notifier> = read_all(found)?;
        Ok(show::notifiers(&found, wide, Timestamp::now()))
    };
    many(session, found, "name", table, ("no notifier is declared", "apply one: a document with `kind: Notifier`"))
}

async fn test(session: &Session<'_>, name: &str) -> Result<Exit, CliError> {
    // A second test message does no harm, and one that was lost is no test.
    let payload =
        session.order("testNotifier", documents::TEST_NOTIFIER, json!({ "name": name }), Again::Never).await?;
    let test = payload.get("test").unwrap_or(&Value::Null);
    let delivered = test.get("delivered").and_then(Value::as_bool).unwrap_or(false);
    let said = clean(test.get("message").and_then(Value::as_str).unwrap_or_default());
    match machine(session.output, test, field("name"))? {
        Some(text) => session.console.print(&text)?,
        None if delivered => session.console.print(&format!("{} took it: {said}", clean(name)))?,
        None => return Err(CliError::new(Exit::Error, format!("{} did not take it: {said}", clean(name)))),
    }
    Ok(if delivered { Exit::Done } else { Exit::Error })
}

async fn delete(session: &Session<'_>, name: &str, reason: Option<&str>) -> Result<Exit, CliError> {
    let input = json!({ "name": name, "reason": reason });
    session.order("deleteNotifier", documents::DELETE_NOTIFIER, input, Again::Never).await?;
    let result = json!({ "name": name });
    match machine(session.output, &result, field("name"))? {
        Some(text) => session.console.print(&text)?,
        None => session.console.print(&format!("notifier {} is deleted", clean(name)))?,
    }
    Ok(Exit::Done)
}
