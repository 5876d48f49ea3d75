//! `token`: what lets others in. A token is printed once, when it is made.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::get::many;
use crate::cli::args::{Output, TokenCommand, TokenCreateArgs};
use crate::cli::client::{Again, documents};
use crate::cli::console::clean;
use crate::cli::exit::{CliError, Exit};
use crate::cli::model::{Token, read, read_all};
use crate::cli::output::{field, machine};
use crate::cli::session::Session;
use crate::cli::show;

pub(super) async fn token(session: &Session<'_>, what: &TokenCommand) -> Result<Exit, CliError> {
    match what {
        TokenCommand::List => list(session).await,
        TokenCommand::Create(args) => create(session, args).await,
        TokenCommand::Revoke { name, reason } => revoke(session, name, reason.as_deref()).await,
    }
}

async fn list(session: &Session<'_>) -> Result<Exit, CliError> {
    let mut data = session.ask(documents::TOKENS, json!({})).await?;
    let found: Vec<Value> = read(&data.get_mut("tokens").map(Value::take).unwrap_or_default())?;
    let table = |found: &[Value]| {
        let found: Vec<Token> = read_all(found)?;
        Ok(show::tokens(&found, Timestamp::now()))
    };
    let hint = "make one: `skep token create NAME --role ROLE`";
    many(session, found, "name", table, ("there is no token but that of the admin", hint))
}

async fn create(session: &Session<'_>, args: &TokenCreateArgs) -> Result<Exit, CliError> {
    let mut input = json!({
        "name": args.name, "role": format!("{:?}", args.role), "expiresAt": args.expires, "reason": args.reason,
    });
    for (field, patterns) in [("environments", &args.environments), ("stacks", &args.stacks)] {
        if !patterns.is_empty() {
            input[field] = json!(patterns);
        }
    }
    // A token whose answer was lost is known to nobody: it is not asked for again.
    let payload = session.order("createToken", documents::CREATE_TOKEN, input, Again::Never).await?;
    let value = payload.get("value").and_then(Value::as_str).unwrap_or_default();
    let mut made = payload.get("token").cloned().unwrap_or_default();
    if let Some(made) = made.as_object_mut() {
        made.insert("value".to_owned(), json!(value));
    }
    // A name alone would lose the token.
    let form = if session.output == Output::Name { Output::Table } else { session.output };
    match machine(form, &made, field("name"))? {
        Some(text) => session.console.print(&text)?,
        None => {
            session.console.note(&format!("token {} is made; it is not shown again:", clean(&args.name)));
            session.console.print(&clean(value))?;
        }
    }
    Ok(Exit::Done)
}

async fn revoke(session: &Session<'_>, name: &str, reason: Option<&str>) -> Result<Exit, CliError> {
    let input = json!({ "name": name, "reason": reason });
    session.order("revokeToken", documents::REVOKE_TOKEN, input, Again::Never).await?;
    let result = json!({ "name": name });
    match machine(session.output, &result, field("name"))? {
        Some(text) => session.console.print(&text)?,
        None => session.console.print(&format!("token {} is revoked", clean(name)))?,
    }
    Ok(Exit::Done)
}
