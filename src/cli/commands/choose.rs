//! Which version comes back: a person at a terminal chooses from those that converged.

use jiff::Timestamp;
use serde_json::Value;

use super::get::deployments;
use super::one_stack;
use crate::cli::console::{Tone, clean};
use crate::cli::exit::{CliError, Exit};
use crate::cli::model::{Deployment, Stack, read, read_all};
use crate::cli::session::{Session, command};
use crate::cli::text::{age, version};

/// So many deployments are looked through.
const LOOKED_AT: usize = 100;
/// So many are offered.
const OFFERED: usize = 15;

/// Asks which of the versions that converged, other than the one that runs, is to come back.
pub(super) async fn older_version(session: &Session<'_>, name: &str) -> Result<String, CliError> {
    let stack: Stack = read(&one_stack(session, name).await?)?;
    let live = stack.live.as_ref().and_then(|live| live.deployment_id.clone());
    let found: Vec<Deployment> = read_all(&deployments(session, Some(name), LOOKED_AT).await?)?;
    let mut offered: Vec<Deployment> = Vec::new();
    for it in found.into_iter().filter(|it| it.phase == "Converged" && Some(&it.id) != live.as_ref()) {
        // The same version again says nothing new.
        let known = |other: &Deployment| other.revision == it.revision && other.images == it.images;
        let runs = stack.live.as_ref().is_some_and(|live| live.revision == it.revision && live.images == it.images);
        if !runs && !offered.iter().any(known) && offered.len() < OFFERED {
            offered.push(it);
        }
    }
    let history = command(&format!("history {name}"), session.environment());
    if offered.is_empty() {
        let message = format!("no other version of `{name}` has converged: there is nothing to go back to");
        return Err(CliError::new(Exit::Error, message).next(format!("see what was tried: {history}")));
    }
    let (console, now) = (session.console, Timestamp::now());
    console.note(&format!("{}", console.err_paint.tone(Tone::Strong, "Which version shall come back?")));
    for (index, it) in offered.iter().enumerate() {
        let why = it.stated_reason.as_deref().map(|reason| format!(": {}", clean(reason))).unwrap_or_default();
        let shown = version(it.revision.as_deref(), &it.images);
        let who = format!("{} ago, by {}{why}", age(it.created_at, now), clean(&it.actor));
        let id = console.err_paint.tone(Tone::Faint, &format!("({})", clean(&it.id)));
        console.note(&format!("{:>4}  {shown:<12}  {who}  {id}", index + 1));
    }
    let answer = console.ask_for(&format!("1 to {}, or nothing to leave it: ", offered.len()));
    let chosen = answer.parse::<usize>().ok().and_then(|number| offered.get(number.checked_sub(1)?));
    let Some(chosen) = chosen else {
        let message = match answer.as_str() {
            "" => "nothing was rolled back".to_owned(),
            other => format!("`{}` is none of them; nothing was rolled back", clean(other)),
        };
        let next = command(&format!("rollback {name} DEPLOYMENT"), session.environment());
        return Err(CliError::new(Exit::Error, message).next(format!("name one: {next}; all of them: {history}")));
    };
    Ok(chosen.id.clone())
}

/// Whether a person can be asked, and would read the result.
pub(super) fn can_ask(session: &Session<'_>) -> bool {
    session.console.asks && session.output.is_for_people()
}

/// What is to come back, as far as somebody said: the named deployment, or the one that is chosen now.
pub(super) async fn wanted(session: &Session<'_>, stack: &str, named: Option<&String>) -> Result<Value, CliError> {
    match named {
        Some(id) => Ok(Value::from(id.as_str())),
        None if can_ask(session) => older_version(session, stack).await.map(Value::from),
        // Without one the server takes the one that converged before.
        None => Ok(Value::Null),
    }
}
