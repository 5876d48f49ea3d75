//! `/api/v1/relay/…`: what another Skep, nearer to people, asks of this one.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use futures_util::stream::{Stream, StreamExt, unfold};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;

use super::call::{Call, Parameters, invalid};
use super::problem::{Answer, INVALID, NOT_FOUND, Problem};
use crate::declare::Ask;
use crate::domain::{EnvironmentName, Installation, Trigger, Way};
use crate::ports::{Follow, HandOver, LogLine, LogOf, LogQuery, OLDEST_PROTOCOL, PROTOCOL, Question};

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
    serde_json::from_slice(&bytes).map_err(|cause| {
        // The parser's own words may hold a part of the body.
        let message = format!("the body is not what another Skep sends: line {}", cause.line());
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, INVALID, message).at(cause.line(), cause.column())
    })
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
    let handed: HandOver = body(&mut call).await?;
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
