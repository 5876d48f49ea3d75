//! The commands that ask a server, by group.

mod adopt;
mod apply;
mod board;
pub(super) mod care;
mod catalog;
mod choose;
pub(super) mod context;
mod control;
mod credential;
mod delete;
mod deploy;
mod diff;
pub(super) mod doctor;
mod environment;
mod get;
pub(super) mod health;
mod hook;
pub(super) mod init;
mod log_filter;
mod logs;
pub(super) mod man;
mod manifest;
mod notifier;
mod render;
mod token;
mod watch;

use serde_json::{Value, json};

use super::args::Command;
use super::client::documents;
use super::exit::{CliError, Exit};
use super::session::Session;

/// Carries a command out. Those that need no server are not for here.
pub(super) async fn dispatch(session: &Session<'_>, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Serve(_) | Command::Simulate(_) | Command::Schema | Command::Completions { .. } => Ok(Exit::Done),
        Command::Context(_) | Command::Init(_) | Command::Man(_) => Ok(Exit::Done),
        Command::Backup(_) | Command::Restore(_) | Command::Check(_) => Ok(Exit::Done),
        Command::Doctor | Command::Health(_) => Ok(Exit::Done),
        Command::Apply(args) => apply::apply(session, &args).await,
        Command::Deploy(args) => deploy::deploy(session, &args).await,
        Command::Rollback(args) => deploy::rollback(session, &args).await,
        Command::Wait(args) => deploy::wait(session, &args).await,
        Command::Get(args) => get::get(session, &args).await,
        Command::Render(args) => render::render(session, &args).await,
        Command::Watch(args) => match &args.stack {
            Some(stack) => board::stack(session, stack).await,
            None => board::fleet(session).await,
        },
        Command::History(args) => get::history(session, &args).await,
        Command::Logs(args) => logs::logs(session, &args).await,
        Command::Events(args) => get::events(session, &get::EventsOf::from(&args), args.watch).await,
        // Its codes are its own: 1 is a difference, so an error is something else.
        Command::Diff(args) => diff::diff(session, &args).await.map_err(|error| match error.exit {
            Exit::Done => error,
            _ => CliError { exit: Exit::Usage, ..error },
        }),
        Command::Unpin(args) => control::unpin(session, &args).await,
        Command::ReleaseHold(args) => control::release_hold(session, &args).await,
        Command::Cancel(args) => control::cancel(session, &args).await,
        Command::Approve(args) => deploy::approve(session, &args).await,
        Command::Suspend(args) => control::suspend(session, &args).await,
        Command::Resume(args) => control::resume(session, &args).await,
        Command::Reconcile(args) => control::reconcile(session, &args).await,
        Command::Delete(args) => delete::delete(session, &args).await,
        Command::Adopt(args) => adopt::adopt(session, &args).await,
        Command::Release(args) => delete::release(session, &args).await,
        Command::Credential(args) => credential::credential(session, &args.what).await,
        Command::Environment(args) => environment::environment(session, &args.what).await,
        Command::Catalog(args) => catalog::catalog(session, &args.what).await,
        Command::Hook(args) => hook::hook(session, &args.what).await,
        Command::Notifier(args) => notifier::notifier(session, &args.what).await,
        Command::LogFilter { filter } => log_filter::log_filter(session, filter.as_deref()).await,
        Command::Token(args) => token::token(session, &args.what).await,
    }
}

/// A stack, as it came.
async fn one_stack(session: &Session<'_>, name: &str) -> Result<Value, CliError> {
    let variables = json!({ "name": name, "environment": session.environment() });
    let mut data = session.ask(documents::STACK, variables).await?;
    match data.get_mut("stack").map(Value::take) {
        Some(stack) if !stack.is_null() => Ok(stack),
        _ => Err(no_stack(session, name)),
    }
}

fn no_stack(session: &Session<'_>, name: &str) -> CliError {
    let message = format!("there is no stack `{name}` in environment `{}`", session.environment());
    CliError::new(Exit::NotFound, message).next("see what there is: `skep get stacks`; another environment: -e NAME")
}

/// What to look at when a stack or deployment is not there.
fn look_up(error: CliError) -> CliError {
    match error.exit {
        Exit::NotFound => error.or_next("see what there is: `skep get stacks`; another environment: -e NAME"),
        _ => error,
    }
}
