//! `/api/v1/deployments/{id}/logs` and `/api/v1/stacks/{name}/logs`.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Bytes;
use futures_util::stream::{StreamExt, unfold};
use jiff::Timestamp;
use tokio::time::timeout;

use super::call::{Call, Parameters, invalid};
use super::deployments::no_such_deployment;
use super::problem::{Answer, Problem};
use crate::api::graphql::deployment_id;
use crate::declare::parse_duration;
use crate::ports::{LogOf, LogQuery};

/// Lines of each service when nothing is said, and the most.
const LINES: (u64, u64) = (200, 10_000);
/// After so long without a line an empty one is sent.
const SILENCE: Duration = Duration::from_secs(10);
/// Lines that are sent in one piece at most.
const LINES_AT_ONCE: usize = 200;

/// `GET /api/v1/deployments/{id}/logs`: raw text, as it comes.
pub(super) async fn of_deployment(call: Call) -> Answer {
    let mut query = call.query()?;
    let wanted = wanted(&call, &mut query)?;
    query.finish()?;
    let id = deployment_id(call.part("id"));
    if call.guard.deployment(&id)?.is_none() {
        return Err(no_such_deployment(&call));
    }
    send(&call, &LogOf::Deployment(id), &wanted).await
}

/// `GET /api/v1/stacks/{name}/logs`: the same of a stack, from its newest deployment on.
pub(super) async fn of_stack(call: Call) -> Answer {
    let mut query = call.query()?;
    let environment = query.environment()?;
    let wanted = wanted(&call, &mut query)?;
    query.finish()?;
    let key = call.key(environment)?;
    if call.guard.stack(&key)?.is_none() {
        return Err(call.state.declare().no_such_stack(&key, call.guard.grant()).into());
    }
    send(&call, &LogOf::Stack(key), &wanted).await
}

/// Which lines are asked for.
fn wanted(call: &Call, query: &mut Parameters) -> Result<LogQuery, Problem> {
    let tail = query.number("tail", 0, LINES.1)?.unwrap_or(LINES.0);
    let follow = query.boolean("follow")?;
    let service = query.text("service").filter(|service| !service.is_empty());
    let since = query.text("since").map(|text| since(&text, call.state.ambient().now())).transpose()?;
    Ok(LogQuery { follow, tail: u32::try_from(tail).unwrap_or(u32::MAX), since, service })
}

async fn send(call: &Call, of: &LogOf, wanted: &LogQuery) -> Answer {
    let lines = call.guard.logs(of, wanted).await?;
    let text = unfold(lines.ready_chunks(LINES_AT_ONCE), |mut lines| async move {
        let text = match timeout(SILENCE, lines.next()).await {
            Ok(next) => next?.iter().map(|line| format!("{line}\n")).collect(),
            // That nobody reads any more is found out only by writing.
            Err(_) => "\n".to_owned(),
        };
        Some((Ok::<_, Infallible>(Bytes::from(text)), lines))
    });
    let refusal = || Ok(Bytes::from_static(b"the token was revoked, or has expired\n"));
    let text = call.state.door().while_let_in(call.caller(), refusal, text);
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").streaming(text))
}

/// A point in time, or how long ago.
fn since(text: &str, now: Timestamp) -> Result<Timestamp, Problem> {
    let ago = parse_duration(text).ok().and_then(|ago| now.checked_sub(ago).ok());
    let wrong =
        || invalid("since", format!("`{text}` is neither a time like 2026-01-31T12:00:00Z nor a duration like 5m"));
    ago.or_else(|| text.parse().ok()).ok_or_else(wrong)
}
