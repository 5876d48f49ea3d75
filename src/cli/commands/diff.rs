//! `diff`: what deploying would change, or where two deployments differ.

use serde_json::{Value, json};

use super::{get, look_up};
use crate::cli::args::{DiffArgs, DiffForm, Output, Pair};
use crate::cli::client::documents;
use crate::cli::exit::{CliError, Exit};
use crate::cli::model::{Plan, read};
use crate::cli::output::{field, machine};
use crate::cli::session::{Session, command};
use crate::cli::show;

/// A difference, with what it is for machines and what its sides are called.
struct Found {
    plan: Plan,
    value: Value,
    sides: (&'static str, &'static str),
}

pub(super) async fn diff(session: &Session<'_>, args: &DiffArgs) -> Result<Exit, CliError> {
    let Found { plan, value, sides } = match (&args.from, &args.to) {
        (Some(from), Some(to)) => compared(session, &args.stack, from, to).await?,
        _ => planned(session, args).await?,
    };
    let exit = if plan.steps.is_empty() && plan.jobs.is_empty() { Exit::Done } else { Exit::Error };
    let console = session.console;
    let output = if args.format == DiffForm::Json { Output::Json } else { session.output };
    let printed = match (args.format, machine(output, &value, field("digest"))?) {
        (DiffForm::Unified, _) => console.print(&show::unified(&plan, sides, console.paint)),
        (DiffForm::Markdown, _) => console.print(&show::markdown(&args.stack, &plan)),
        (_, Some(text)) => console.print(&text),
        (_, None) => console.print(&show::plan(&plan, console.paint)),
    };
    // Whoever stops reading still gets the code.
    printed.or_else(|error| if error.message.is_empty() { Ok(()) } else { Err(error) })?;
    Ok(exit)
}

/// What deploying a version would change now.
async fn planned(session: &Session<'_>, args: &DiffArgs) -> Result<Found, CliError> {
    let stack = &args.stack;
    let images = args.images.iter().map(|Pair { key, value }| json!({ "service": key, "version": value }));
    let variables = json!({
        "stack": stack, "environment": session.environment(), "ref": args.wanted, "images": images.collect::<Vec<_>>(),
    });
    let data = session.ask(documents::PLAN, variables).await.map_err(look_up).map_err(|error| {
        error.or_next(format!("see how it stands: {}", command(&format!("get stack {stack}"), session.environment())))
    })?;
    let answer = data.get("plan").unwrap_or(&Value::Null);
    let of = |name: &str| answer.get(name).cloned().unwrap_or_default();
    let value = json!({ "digest": of("digest"), "steps": of("steps"), "jobs": of("jobs") });
    Ok(Found { plan: read(answer)?, value, sides: ("live", "wanted") })
}

/// Where the objects of two deployments differ.
async fn compared(session: &Session<'_>, stack: &str, from: &str, to: &str) -> Result<Found, CliError> {
    for id in [from, to] {
        get::check_stack(session, id, stack).await?;
    }
    let data = session.ask(documents::COMPARISON, json!({ "from": from, "to": to })).await.map_err(|error| {
        error.or_next(format!("see which there are: {}", command(&format!("history {stack}"), session.environment())))
    })?;
    let answer = data.get("comparison").unwrap_or(&Value::Null);
    let of = |name: &str| answer.get(name).cloned().unwrap_or_default();
    let value = json!({ "from": from, "to": to, "steps": of("steps"), "unchanged": of("unchanged") });
    Ok(Found { plan: read(answer)?, value, sides: ("from", "to") })
}
