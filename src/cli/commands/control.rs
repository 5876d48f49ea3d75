//! A person's words to a stack: unpin, release, cancel, suspend, resume, reconcile.

use serde_json::{Value, json};

use super::look_up;
use crate::cli::args::{CancelArgs, StackArgs, SuspendArgs};
use crate::cli::client::{Again, documents};
use crate::cli::console::clean;
use crate::cli::exit::{CliError, Exit};
use crate::cli::model::{Stack, read};
use crate::cli::output::{field, machine};
use crate::cli::session::{Session, command};

pub(super) async fn unpin(session: &Session<'_>, args: &StackArgs) -> Result<Exit, CliError> {
    plain(session, "unpinStack", documents::UNPIN, args, "unpinned: what is declared flows again").await
}

pub(super) async fn release_hold(session: &Session<'_>, args: &StackArgs) -> Result<Exit, CliError> {
    plain(session, "releaseHold", documents::RELEASE_HOLD, args, "released: what is declared is tried again").await
}

pub(super) async fn resume(session: &Session<'_>, args: &StackArgs) -> Result<Exit, CliError> {
    plain(session, "resumeStack", documents::RESUME, args, "resumed").await
}

pub(super) async fn reconcile(session: &Session<'_>, args: &StackArgs) -> Result<Exit, CliError> {
    plain(session, "reconcileStack", documents::RECONCILE, args, "will be looked at now").await
}

pub(super) async fn cancel(session: &Session<'_>, args: &CancelArgs) -> Result<Exit, CliError> {
    let input = json!({
        "stack": session.stack(&args.stack),
        "deployment": args.deployment,
        "reason": args.reason,
    });
    carry_out(session, "cancelDeployment", documents::CANCEL, &args.stack, input, "will be cancelled").await
}

pub(super) async fn suspend(session: &Session<'_>, args: &SuspendArgs) -> Result<Exit, CliError> {
    let input = json!({
        "stack": session.stack(&args.stack),
        "reason": args.reason,
        "until": args.until.map(|until| until.to_string()),
    });
    let done = match args.until {
        Some(until) => format!("suspended until {until}: nothing is written"),
        None => {
            let resume = command(&format!("resume {}", args.stack), session.environment());
            format!("suspended until {resume}: nothing is written")
        }
    };
    carry_out(session, "suspendStack", documents::SUSPEND, &args.stack, input, &done).await
}

async fn plain(
    session: &Session<'_>,
    field: &str,
    document: &str,
    args: &StackArgs,
    done: &str,
) -> Result<Exit, CliError> {
    let input = json!({ "stack": session.stack(&args.stack), "reason": args.reason });
    carry_out(session, field, document, &args.stack, input, done).await
}

/// Orders it, and shows what stands written then.
async fn carry_out(
    session: &Session<'_>,
    order: &str,
    document: &str,
    name: &str,
    input: Value,
    done: &str,
) -> Result<Exit, CliError> {
    let see = command(&format!("get stack {name}"), session.environment());
    let payload = session.order(order, document, input, Again::Never).await;
    let payload = payload.map_err(look_up).map_err(|error| error.or_next(format!("see how it stands: {see}")))?;
    let stack = payload.get("stack").unwrap_or(&Value::Null);
    if let Some(text) = machine(session.output, stack, field("name"))? {
        session.console.print(&text)?;
        return Ok(Exit::Done);
    }
    session.console.print(&format!("{name} {done}"))?;
    let stack: Stack = read(stack)?;
    let message = stack.message.as_deref().map(clean).filter(|text| !text.is_empty());
    let message = message.map(|text| format!(": {text}")).unwrap_or_default();
    session.console.note(&format!("it is {}{message}; follow it: {see}", stack.phase));
    Ok(Exit::Done)
}
