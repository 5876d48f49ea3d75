//! `context`: servers by name.

use serde_json::{Value, json};

use crate::cli::args::{ContextCommand, Globals};
use crate::cli::console::{Console, Tone, clean};
use crate::cli::contexts::{Context, Contexts, file};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{field, machine};
use crate::cli::table::{Cell, Table};
use crate::cli::text::or_none;

/// Carries `context` out. It asks no server.
pub(in crate::cli) fn context(
    globals: &Globals,
    server_was_said: bool,
    what: &ContextCommand,
    console: &Console,
) -> Result<Exit, CliError> {
    let file = file().ok_or_else(|| {
        CliError::new(Exit::Error, "there is no folder for configuration").next("set HOME, or SKEP_CONTEXTS to a file")
    })?;
    let mut contexts = Contexts::read(&file)?;
    match what {
        ContextCommand::List => return list(globals, &contexts, console),
        ContextCommand::Add { name } => {
            if !server_was_said {
                let message = "the context has no server";
                return Err(CliError::new(Exit::Usage, message).next("add --server URL, and --token or SKEP_TOKEN"));
            }
            let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
            let (token, environment) = (filled(&globals.token), filled(&globals.environment));
            let context = Context { server: globals.server.clone(), token, environment };
            contexts.contexts.insert(name.clone(), context);
            contexts.current.get_or_insert_with(|| name.clone());
        }
        ContextCommand::Use { name } => {
            contexts.chosen(Some(name))?;
            contexts.current = Some(name.clone());
        }
        ContextCommand::Delete { name } => {
            contexts.chosen(Some(name))?;
            contexts.contexts.remove(name);
            contexts.current = contexts.current.filter(|current| current != name);
        }
    }
    contexts.write(&file)?;
    match &contexts.current {
        Some(name) => console.note(&format!("in use: {}", clean(name))),
        None => console.note("no context is in use"),
    }
    Ok(Exit::Done)
}

fn list(globals: &Globals, contexts: &Contexts, console: &Console) -> Result<Exit, CliError> {
    let current = |name: &String| contexts.current.as_ref() == Some(name);
    let found: Vec<_> = contexts
        .contexts
        .iter()
        .map(|(name, it)| {
            json!({
                "name": name, "current": current(name), "server": it.server, "environment": it.environment,
                "hasToken": it.token.is_some(),
            })
        })
        .collect();
    if let Some(text) = machine(globals.output, &Value::Array(found.clone()), field("name"))? {
        return console.print(&text).map(|()| Exit::Done);
    }
    if found.is_empty() {
        console.note("there is no context; make one: `skep context add NAME --server URL --token TOKEN`");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["CONTEXT", "SERVER", "ENVIRONMENT", "TOKEN"]);
    for (name, it) in &contexts.contexts {
        let marked = format!("{name}{}", if current(name) { " *" } else { "" });
        table.row([
            Cell::toned(&marked, if current(name) { Tone::Strong } else { Tone::Plain }),
            it.server.as_str().into(),
            or_none(it.environment.as_deref()).into(),
            if it.token.is_some() { "yes" } else { "-" }.into(),
        ]);
    }
    console.print(&table.render(console.paint, console.columns()))?;
    Ok(Exit::Done)
}
