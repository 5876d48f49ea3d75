//! `diff`.

use serde_json::{Value, json};

use super::look_up;
use crate::cli::args::{DiffArgs, DiffForm, Output};
use crate::cli::client::documents;
use crate::cli::exit::{CliError, Exit};
use crate::cli::model::{Plan, read};
use crate::cli::output::{field, machine};
use crate::cli::session::{Session, command};
use crate::cli::show;

pub(super) async fn diff(session: &Session<'_>, args: &DiffArgs) -> Result<Exit, CliError> {
    let stack = &args.stack;
    let variables = json!({ "stack": stack, "environment": session.environment(), "ref": args.wanted });
    let data = session.ask(documents::PLAN, variables).await.map_err(look_up).map_err(|error| {
        error.or_next(format!("see how it stands: {}", command(&format!("get stack {stack}"), session.environment())))
    })?;
    let answer = data.get("plan").unwrap_or(&Value::Null);
    let plan: Plan = read(answer)?;
    let exit = if plan.steps.is_empty() && plan.jobs.is_empty() { Exit::Done } else { Exit::Error };
    let of = |name: &str| answer.get(name).cloned().unwrap_or_default();
    let steps = json!({ "digest": of("digest"), "steps": of("steps"), "jobs": of("jobs") });
    let console = session.console;
    let output = if args.format == DiffForm::Json { Output::Json } else { session.output };
    let printed = match (args.format, machine(output, &steps, field("digest"))?) {
        (DiffForm::Unified, _) => console.print(&show::unified(&plan, console.paint)),
        (DiffForm::Markdown, _) => console.print(&show::markdown(stack, &plan)),
        (_, Some(text)) => console.print(&text),
        (_, None) => console.print(&show::plan(&plan, console.paint)),
    };
    // Whoever stops reading still gets the code.
    printed.or_else(|error| if error.message.is_empty() { Ok(()) } else { Err(error) })?;
    Ok(exit)
}
