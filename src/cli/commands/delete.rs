//! `delete` and `release`.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::one_stack;
use crate::cli::args::{DeleteArgs, StackArgs};
use crate::cli::client::{Again, News, documents};
use crate::cli::console::clean;
use crate::cli::exit::{CliError, Exit};
use crate::cli::model::{Stack, read};
use crate::cli::output::{field, machine};
use crate::cli::session::{Session, command};

pub(super) async fn delete(session: &Session<'_>, args: &DeleteArgs) -> Result<Exit, CliError> {
    let name = &args.stack;
    if !args.yes && !session.console.asks {
        return Err(CliError::new(
            Exit::Usage,
            format!("deleting stack `{name}` needs a yes, and there is no terminal to ask"),
        )
        .next(format!("give --yes: {}", command(&format!("delete {name} --yes"), session.environment()))));
    }
    one_stack(session, name).await?;
    if !args.yes && !confirmed(session, args) {
        return Err(CliError::new(Exit::Error, "nothing was deleted").next("answer y, or give --yes"));
    }
    let input = json!({
        "stack": session.stack(name),
        "confirmName": name,
        "keepRunning": args.keep_running,
        "reason": args.reason,
    });
    session.order("deleteStack", documents::DELETE, input, Again::Never).await.map_err(super::look_up)?;
    let exit = until_gone(session, name, "the deletion").await?;
    if exit != Exit::Done {
        return Ok(exit);
    }
    let word = json!({ "name": name, "environment": session.environment(), "deleted": true });
    match machine(session.output, &word, field("name"))? {
        Some(text) => session.console.print(&text)?,
        None if args.keep_running => {
            session.console.print(&format!("{name} is forgotten; what it ran keeps running"))?
        }
        None => session.console.print(&format!("{name} is deleted; its volumes are kept"))?,
    }
    Ok(Exit::Done)
}

/// Hands a stack back.
pub(super) async fn release(session: &Session<'_>, args: &StackArgs) -> Result<Exit, CliError> {
    let name = &args.stack;
    let input = json!({ "stack": session.stack(name), "reason": args.reason });
    session.order("releaseStack", documents::RELEASE, input, Again::Never).await.map_err(super::look_up)?;
    let exit = until_gone(session, name, "the release").await?;
    if exit != Exit::Done {
        return Ok(exit);
    }
    let word = json!({ "name": name, "environment": session.environment(), "released": true });
    match machine(session.output, &word, field("name"))? {
        Some(text) => session.console.print(&text)?,
        None => session.console.print(&format!("{name} is handed back; what it ran keeps running"))?,
    }
    Ok(Exit::Done)
}

fn confirmed(session: &Session<'_>, args: &DeleteArgs) -> bool {
    let what = if args.keep_running { "Forget, and leave running," } else { "Delete, with all it runs," };
    session.console.ask(&format!("{what} stack {} of environment {}?", args.stack, session.environment()))
}

/// Follows the stack until it is not declared any more: then its tasks are gone.
async fn until_gone(session: &Session<'_>, name: &str, what: &str) -> Result<Exit, CliError> {
    let variables = json!({ "name": name, "environment": session.environment() });
    let mut feed = session.client.follow("stackChanged", documents::FOLLOW_STACK, variables);
    let until = Instant::now() + session.timeout;
    let (mut told, console) = (None, session.console);
    let see = command(&format!("get stack {name}"), session.environment());
    loop {
        let news = tokio::select! {
            news = feed.next() => news?,
            () = session.interrupt.wait() => {
                console.note(&format!("interrupted; {what} goes on: {see}"));
                return Ok(Exit::Interrupted);
            }
            () = tokio::time::sleep_until(until) => {
                let message = format!("{what} of stack `{name}` still goes on");
                return Err(CliError::new(Exit::TimedOut, message).next(format!("see what it waits for: {see}")));
            }
        };
        match news {
            News::Data(data) => {
                let stack = data.get("stack").unwrap_or(&Value::Null);
                if stack.is_null() {
                    return Ok(Exit::Done);
                }
                let stack: Stack = read(stack)?;
                let message = stack.message.map(|text| clean(&text)).unwrap_or_default();
                if told.as_ref() != Some(&message) && !message.is_empty() {
                    console.note(&format!("{name} {}: {message}", stack.phase));
                    told = Some(message);
                }
            }
            News::Lost(why) => console.note(&format!("connection lost ({why}); trying again")),
            News::Back => console.note("connected again"),
        }
    }
}
