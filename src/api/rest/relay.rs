//! `/api/v1/relay/…`: what another Skep, nearer to people, asks of this one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use futures_util::stream::{Stream, StreamExt, unfold};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::call::{Call, Parameters, invalid};
use super::problem::{Answer, INVALID, NOT_FOUND, Problem};
use crate::declare::{Ask, Code, Refusal};
use crate::domain::{EnvironmentName, Installation, Trigger, Way};
use crate::ports::{Follow, HandOver, LogLine, LogOf, LogQuery, OLDEST_PROTOCOL, PROTOCOL, Question};

/// This version.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Members that are named of those that are not known here.
const NAMED: usize = 4;
/// Lines that are sent in one piece at most.
const AT_ONCE: usize = 200;
/// After so long without a line of a log an empty one is sent.
const SILENCE: Duration = Duration::from_secs(10);
/// What is sent, one JSON document a line.
const LINES: &str = "application/x-ndjson";

fn environment(call: &Call) -> Result<EnvironmentName, Problem> {
    EnvironmentName::parse(call.part("environment")).map_err(|cause| invalid("environment", cause.to_string()))
}

fn no_such(name: &EnvironmentName) -> Problem {
    let message = format!("there is no environment `{name}`");
    Problem::new(StatusCode::NOT_FOUND, NOT_FOUND, message).field("environment")
}

async fn body<T: DeserializeOwned>(call: &mut Call) -> Result<T, Problem> {
    let bytes = call.body().await?;
    serde_json::from_slice(&bytes).map_err(unreadable)
}

fn unreadable(cause: serde_json::Error) -> Problem {
    // The parser's own words may hold a part of the body.
    let (line, column) = (cause.line(), cause.column());
    let message = format!("the body is not what a Skep of version {VERSION} sends: line {line}, column {column}");
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, INVALID, message).at(line, column);
    problem.hint("if the Skep that sent it is newer, this one is older and must be updated")
}

/// A stack that is handed over, and understood as a whole. What a newer Skep declares in words that are not known here is not
/// taken without them: something else would run than was declared.
fn handed(bytes: &[u8]) -> Result<HandOver, Problem> {
    /// What is compared; secret values stand beside it.
    #[derive(serde::Deserialize)]
    struct Declared {
        stack: Value,
        deployments: Vec<Value>,
    }
    let handed: HandOver = serde_json::from_slice(bytes).map_err(unreadable)?;
    let sent: Declared = serde_json::from_slice(bytes).map_err(unreadable)?;
    let members: BTreeMap<String, Option<IgnoredAny>> = serde_json::from_slice(bytes).map_err(unreadable)?;
    let known = ["near", "revision", "claim", "stack", "deployments", "more", "secrets"];
    let members = members.into_iter().filter(|(name, it)| it.is_some() && !known.contains(&name.as_str()));
    let mut lost: Vec<String> = members.map(|(name, _)| name).collect();
    not_kept(&sent.stack, &json!(handed.stack), "stack", &mut lost);
    for (mut sent, read) in sent.deployments.into_iter().zip(&handed.deployments) {
        // How it was asked for changes nothing of what comes of it.
        if let Some(members) = sent.as_object_mut() {
            members.remove("origin");
        }
        not_kept(&sent, &json!(read), "deployment", &mut lost);
    }
    lost.dedup();
    if lost.is_empty() {
        return Ok(handed);
    }
    let more = if lost.len() > NAMED { format!(" and {} more", lost.len() - NAMED) } else { String::new() };
    lost.truncate(NAMED);
    let message = format!("this Skep, version {VERSION}, is older and does not know `{}`{more}", lost.join("`, `"));
    let refusal = Refusal::new(Code::Unsupported, message).field("stack");
    Err(refusal.hint("it must be updated before it can take this stack; nothing was changed here").into())
}

/// The members of what was sent that are there no more once it has been read. Those that say nothing are not missed: a newer
/// Skep writes them of what it knows and nobody asked for.
fn not_kept(sent: &Value, read: &Value, at: &str, lost: &mut Vec<String>) {
    match (sent, read) {
        (Value::Object(sent), Value::Object(read)) => {
            for (name, value) in sent {
                let at = format!("{at}.{name}");
                match read.get(name) {
                    Some(read) => not_kept(value, read, &at, lost),
                    None if says_nothing(value) => {}
                    None => lost.push(at),
                }
            }
        }
        (Value::Array(sent), Value::Array(read)) if sent.len() == read.len() => {
            sent.iter().zip(read).for_each(|(sent, read)| not_kept(sent, read, at, lost));
        }
        (Value::Array(_), _) | (_, Value::Array(_)) if !says_nothing(sent) => lost.push(at.to_owned()),
        _ => {}
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(yes) => !yes,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Number(_) => false,
    }
}

fn ask(call: &Call) -> Ask {
    Ask { via: Some(Way::Relay), ..call.caller().ask(Trigger::Rest) }
}

/// `GET /api/v1/relay/{environment}`: who this is.
pub(super) async fn greet(call: Call) -> Answer {
    let name = environment(&call)?;
    call.query()?.finish()?;
    match call.guard.greeting(&name, call.state.ambient().now())? {
        Some(greeting) => Ok(HttpResponse::Ok().json(greeting)),
        None => Err(no_such(&name)),
    }
}

/// `PUT /api/v1/relay/{environment}/stacks/{name}`: a stack is handed over.
pub(super) async fn hand_over(mut call: Call) -> Answer {
    let name = environment(&call)?;
    call.query()?.finish()?;
    let key = call.key(Some(name))?;
    let handed = handed(&call.body().await?)?;
    if handed.stack.key != key {
        return Err(invalid("stack", "the body is about another stack than the address"));
    }
    let outcome = call.state.declare().take_handed(&handed, &ask(&call)).await?;
    Ok(HttpResponse::Ok().json(outcome))
}

/// `GET /api/v1/relay/{environment}/changes`: what became of the stacks that were handed over, line by line.
pub(super) async fn changes(call: Call) -> Answer {
    let name = environment(&call)?;
    let mut query = call.query()?;
    let from = follow(&mut query)?;
    query.finish()?;
    if call.guard.environment(&name)?.is_none() {
        return Err(no_such(&name));
    }
    let told = call.guard.told(name, from);
    let lines = told.ready_chunks(AT_ONCE).map(|told| Ok(told.iter().map(line).collect::<Vec<_>>().concat().into()));
    stream(&call, lines)
}

fn follow(query: &mut Parameters) -> Result<Follow, Problem> {
    let instance = query.text("instance").filter(|it| !it.is_empty());
    let instance = instance.ok_or_else(|| invalid("instance", "the parameter `instance` is missing: who reads?"))?;
    let restored = query.text("restored").filter(|it| !it.is_empty());
    let protocol = query.number("protocol", 0, u32::MAX.into())?.unwrap_or_else(|| PROTOCOL.into());
    let protocol = u32::try_from(protocol).unwrap_or(u32::MAX);
    if !(OLDEST_PROTOCOL..=PROTOCOL).contains(&protocol) {
        let message = format!("this Skep speaks the protocols {OLDEST_PROTOCOL} to {PROTOCOL}, not {protocol}");
        return Err(invalid("protocol", message));
    }
    Ok(Follow {
        near: Installation { instance, restored },
        after: query.number("after", 0, u64::MAX)?,
        sequence: query.number("sequence", 0, u64::MAX)?,
        beat: query.number("beat", 1, 60)?.unwrap_or(5),
        protocol,
    })
}

/// `POST /api/v1/relay/{environment}/claim`: the Swarm is to be claimed.
pub(super) async fn claim(mut call: Call) -> Answer {
    #[derive(serde::Deserialize)]
    struct Claim {
        reason: Option<String>,
    }
    let name = environment(&call)?;
    call.query()?.finish()?;
    let claim: Claim = body(&mut call).await?;
    let asked = Ask { reason: claim.reason, ..ask(&call) };
    call.state.declare().claim_environment(&name, &asked).await?;
    Ok(HttpResponse::Accepted().json(json!({ "environment": name })))
}

/// `POST /api/v1/relay/{environment}/questions`: the answer is that of the same question asked here.
pub(super) async fn question(mut call: Call) -> Answer {
    let name = environment(&call)?;
    call.query()?.finish()?;
    let question: Question = body(&mut call).await?;
    let elsewhere = || invalid("stack", "the question is about another environment than the address");
    let guard = &call.guard;
    match question {
        Question::Plan { stack, .. } | Question::Render { stack, .. } | Question::Tasks { stack }
            if stack.environment != name =>
        {
            Err(elsewhere())
        }
        Question::Plan { stack, wanted, images } => {
            Ok(HttpResponse::Ok().json(guard.plan(&stack, wanted.as_ref(), &images).await?))
        }
        Question::Render { stack, wanted, images } => {
            Ok(HttpResponse::Ok().json(guard.render(&stack, wanted.as_ref(), &images).await?))
        }
        Question::Tasks { stack } => Ok(HttpResponse::Ok().json(guard.tasks(&stack).await?)),
        Question::Adoption { stack, .. } if stack.key.environment != name => Err(elsewhere()),
        Question::Adoption { mut stack, secrets } => {
            call.state.declare().with_secrets(&mut stack, &secrets)?;
            Ok(HttpResponse::Ok().json(guard.adoption(&stack).await?))
        }
        Question::Compare { from, to } => Ok(HttpResponse::Ok().json(guard.compare(&from, &to).await?)),
        Question::Commit { deployment } => Ok(HttpResponse::Ok().json(guard.commit(&deployment).await?)),
        Question::Doctor => Ok(HttpResponse::Ok().json(guard.doctor_of(&name).await?)),
    }
}

/// `POST /api/v1/relay/{environment}/logs`: lines of a log, as they come.
pub(super) async fn logs(mut call: Call) -> Answer {
    #[derive(serde::Deserialize)]
    struct Wanted {
        of: LogOf,
        query: LogQuery,
    }
    let name = environment(&call)?;
    call.query()?.finish()?;
    let wanted: Wanted = body(&mut call).await?;
    let inside = match &wanted.of {
        LogOf::Stack(key) => key.environment == name,
        LogOf::Deployment(id) => call.guard.deployment(id)?.is_some_and(|it| it.stack.environment == name),
    };
    if !inside {
        let message = "there is no such log in this environment";
        return Err(Problem::new(StatusCode::NOT_FOUND, NOT_FOUND, message).field("of"));
    }
    let lines = call.guard.logs(&wanted.of, &wanted.query).await?;
    let text = unfold(lines.ready_chunks(AT_ONCE), |mut lines| async move {
        let text = match timeout(SILENCE, lines.next()).await {
            Ok(next) => next?.iter().map(line::<LogLine>).collect::<Vec<_>>().concat(),
            // That nobody reads any more is found out only by writing.
            Err(_) => b"\n".to_vec(),
        };
        Some((Ok(text.into()), lines))
    });
    stream(&call, text)
}

fn line<T: serde::Serialize>(told: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(told).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn stream(call: &Call, lines: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static) -> Answer {
    let refusal = || Ok(Bytes::from_static(b"the token was revoked, or has expired\n"));
    let lines = call.state.door().while_let_in(call.caller(), refusal, lines);
    Ok(HttpResponse::Ok().content_type(LINES).streaming(lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_here_is_named_where_it_says_something() {
        let sent = json!({
            "spec": { "moon": "full", "tide": null, "stars": [], "policy": { "wind": 3 }, "kept": { "a": true } },
            "list": [{ "in": 1, "new": "x" }], "short": ["a", "b"], "calm": false,
        });
        let read = json!({
            "spec": { "policy": {}, "kept": { "a": true }, "own": 7 }, "list": [{ "in": 1 }], "short": ["a"],
        });
        let mut lost = Vec::new();
        not_kept(&sent, &read, "stack", &mut lost);
        lost.sort();
        assert_eq!(lost, ["stack.list.new", "stack.short", "stack.spec.moon", "stack.spec.policy.wind"]);
    }
}
