//! Inbound webhooks: a signed delivery becomes deployments by the hook's rules.
//!
//! The signature is checked over the raw body before anything is read from it. A hook that is not declared answers like one
//! whose signature is wrong, after the same work. What the rules make of the payload, and why a delivery works just once,
//! stands with [`Declare::deliver`](crate::declare::Declare::deliver).

mod original;
mod provider;
mod rate;
mod signature;

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use actix_web::web::{self, Bytes, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use self::provider::{Happened, Proof, Untold};
pub(super) use self::rate::{DELIVERIES_A_SECOND, Rates};
use super::rest::{
    Answer, BUSY, INVALID, Problem, REPLAYED, TOO_LARGE, UNAUTHENTICATED, UNSUPPORTED_MEDIA_TYPE, wrong_method,
};
use super::traced::Traced;
use super::{ApiState, read_body};
use crate::declare::{Aside, Code, Delivered, Delivery, asks_for};
use crate::ledger::{Hook, HookProvider, HookSecret, Idle};

/// The address of a hook.
pub const PATH: &str = "/hooks/{name}";
/// Bytes of a delivery's body.
pub const LARGEST: usize = 1 << 20;
/// Of GitHub's events, those that rules can be about. The others are accepted and do nothing.
const OF_GITHUB: [&str; 7] = ["push", "create", "release", "deployment", "registry_package", "package", "workflow_run"];

/// Registers `POST /hooks/{name}`. The state has to be among the app's data, as [`super::bind`] puts it.
pub fn routes(config: &mut ServiceConfig) {
    let hook = web::resource(PATH)
        .route(web::post().to(|request: HttpRequest, state: Data<ApiState>, payload: Payload| async move {
            // What failed below is for the log: who sends here has not signed in.
            let answer = receive(&request, &state, payload).await;
            answer.unwrap_or_else(|problem| problem.without_cause().answer(&request))
        }))
        .default_service(web::to(|request: HttpRequest| async move { wrong_method(&request, "POST") }));
    config.service(hook);
}

async fn receive(request: &HttpRequest, state: &ApiState, payload: Payload) -> Answer {
    let body = body(payload).await?;
    let headers = request.headers();
    let (hook, secret) = state.declare().hook(request.match_info().get("name").unwrap_or_default())?;
    // For a hook that is not there any of them will do.
    let provider = hook.as_ref().map_or(HookProvider::Generic, |hook| hook.provider);
    let proof = provider::proves(provider, &secret, state.ambient().now(), (headers, &body));
    let unsigned = hook.as_ref().is_some_and(|hook| matches!(hook.secret, HookSecret::Unsigned { unsigned: true }));
    let Some(hook) = hook.filter(|_| proof.is_some() || unsigned) else {
        let message = "there is no such hook, or the delivery is not signed with its secret";
        let hint = "give the sender the hook's secret; a sender without a webhook of its own sends the HMAC-SHA256 of the \
                    raw body, `sha256=` and the hex digits, as X-Skep-Signature-256";
        let refused = Problem::new(StatusCode::UNAUTHORIZED, UNAUTHENTICATED, message).hint(hint);
        let sender = request.peer_addr().map(|address| address.ip());
        return Err(state.hook_rates().failure(sender).map_or_else(too_many, |()| refused));
    };
    state.hook_rates().delivery(&hook.name).map_err(too_many)?;
    let desk = Desk { state, hook: &hook, proven: proof.is_some() };
    let payload = match json_of(headers, &body) {
        Ok(payload) => payload,
        Err(problem) => return Err(desk.refuse(provider::said(headers), problem).await),
    };
    let original = original::original(&hook, &secret, headers, &payload);
    let happened = match provider::happened((provider, proof), headers, &body, payload) {
        Ok(happened) => happened,
        Err(untold) => return Err(desk.refuse(provider::said(headers), not_told(untold)).await),
    };
    let trace = Traced::of(request).record();
    let mut all = Vec::new();
    for Happened { id, event, payload } in happened {
        // A ping, or something that the sender sends as well and no rule asks for: it is not to push out what is kept.
        if !is_for_rules(hook.provider, &event) || !asks_for(&hook, &event) {
            let why = Idle::Ignored(format!("no rule can be about `{event}`"));
            desk.list(Aside { id: id.clone(), event, why }).await;
            all.push((id, Delivered::default()));
            continue;
        }
        let delivery = Delivery { id, event, payload, original: original.clone(), again_by: None, trace };
        let delivered = match state.declare().deliver(&hook, &delivery).await {
            Ok(delivered) => delivered,
            Err(error) if error.refusals().iter().any(|refusal| refusal.code == Code::Invalid) => {
                let refused = desk.refuse((delivery.id, delivery.event), error.into()).await;
                // The other events of an envelope are none the worse for it, and a registry would send it for ever.
                if provider == HookProvider::Registry {
                    continue;
                }
                return Err(refused);
            }
            Err(error) => return Err(error.into()),
        };
        all.push((delivery.id, delivered));
    }
    answer(hook.provider, &all)
}

/// Where it is listed what goes no further. Nothing is kept of who did not prove himself.
struct Desk<'a> {
    state: &'a ApiState,
    hook: &'a Hook,
    proven: bool,
}

impl Desk<'_> {
    /// Lists a delivery that is not what its sender should send; gives the answer.
    async fn refuse(&self, (id, event): (String, String), problem: Problem) -> Problem {
        self.list(Aside { id, event, why: Idle::Refused(problem.line()) }).await;
        problem
    }

    /// That it cannot be listed changes nothing of the answer.
    async fn list(&self, aside: Aside) {
        if !self.proven {
            return;
        }
        if let Err(error) = self.state.declare().list_aside(self.hook, aside).await {
            tracing::error!(hook = self.hook.name, %error, "a delivery is not listed");
        }
    }
}

fn not_told(untold: Untold) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, INVALID, untold.to_string()).hint(untold.hint())
}

/// Whether rules can be about an event: GitHub sends some that none can be about.
fn is_for_rules(provider: HookProvider, event: &str) -> bool {
    provider != HookProvider::GitHub || OF_GITHUB.contains(&event)
}

fn too_many(wait: Duration) -> Problem {
    let seconds = wait.as_secs() + 1;
    let message = format!("too many deliveries: send this one again in {seconds} s");
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, BUSY, message);
    problem.header(RETRY_AFTER, HeaderValue::from(seconds)).hint("`skep serve --hook-rate` says how many are taken")
}

/// What a payload tells of, if its sender sent it: the event, and what the rules are asked about. `event` stands for what the
/// sender says in a header; `push`, in the sender's own word, when it is left out.
///
/// # Errors
/// A sentence, when it is not JSON, or not what this sender sends.
pub(super) fn imagine(
    provider: HookProvider,
    event: Option<&str>,
    payload: &str,
) -> Result<Vec<(String, Value)>, String> {
    if payload.len() > LARGEST {
        return Err(format!("the payload is larger than {LARGEST} bytes"));
    }
    let read: Value = serde_json::from_str(payload)
        .map_err(|error| format!("the payload is not JSON: line {}, column {}", error.line(), error.column()))?;
    let headers = provider::headers(provider, event).ok_or("the event is not a word")?;
    let lacks = |what: &str| format!("the payload lacks {what}: it is not what {provider:?} sends");
    let proven = Some(Proof::Body);
    let happened =
        provider::happened((provider, proven), &headers, payload.as_bytes(), read).map_err(|untold| match untold {
            Untold::Lacks(what) => lacks(what),
            Untold::Binary => untold.to_string(),
        })?;
    let mut told = Vec::new();
    for Happened { id, event, payload } in happened {
        if id.is_empty() {
            return Err(lacks("id of an event"));
        }
        if !is_for_rules(provider, &event) {
            return Err(format!("`{event}` is accepted and does nothing: no rule can be about it"));
        }
        told.push((event, payload));
    }
    Ok(told)
}

/// The body, with its own limit.
async fn body(payload: Payload) -> Result<Bytes, Problem> {
    read_body(payload, LARGEST).await.map_err(|answer| match answer.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("the delivery is larger than {LARGEST} bytes");
            let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE, message);
            problem.hint("have the sender send fewer events, or less of each")
        }
        status => Problem::new(status, INVALID, "the request's body broke off"),
    })
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn json_of(headers: &HeaderMap, body: &[u8]) -> Result<Value, Problem> {
    let kind = text(headers, "content-type").unwrap_or_default();
    if kind.starts_with("application/x-www-form-urlencoded") {
        let message = "the delivery is a form";
        let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, UNSUPPORTED_MEDIA_TYPE, message);
        return Err(problem.hint("set the content type of the webhook to application/json on the sender's side"));
    }
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("the delivery is not JSON: line {}, column {}", error.line(), error.column());
        Problem::new(StatusCode::BAD_REQUEST, INVALID, message)
    })
}

/// One answer for all that a request told of and that was taken; most tell of one thing.
///
/// A registry of the Distribution project sends its notifications in order, and each until it is taken with 2xx or 3xx
/// (distribution.github.io/distribution/about/notifications): one that it sends again, because the first answer was lost, is
/// taken like the first, or it would send nothing else any more.
fn answer(provider: HookProvider, all: &[(String, Delivered)]) -> Answer {
    let id = all.first().map_or_else(String::new, |(id, _)| id.clone());
    let made: Vec<&str> = all.iter().flat_map(|(_, it)| it.deployments.iter().map(|id| id.as_str())).collect();
    let replayed = !all.is_empty() && all.iter().all(|(_, delivered)| delivered.replayed);
    if replayed && provider != HookProvider::Registry {
        let message = match made.as_slice() {
            [] => format!("the delivery `{id}` was received before; it made no deployment then"),
            made => format!("the delivery `{id}` was received before; it made {} then", made.join(", ")),
        };
        let problem = Problem::new(StatusCode::CONFLICT, REPLAYED, message);
        return Err(problem.hint("nothing was done now; send a fresh delivery to have something done"));
    }
    let refused: Vec<Value> = all
        .iter()
        .flat_map(|(_, delivered)| &delivered.refused)
        .map(|(key, refusal)| {
            json!({
                "stack": key.name, "environment": key.environment,
                "code": refusal.code.as_str(), "message": refusal.message, "hint": refusal.hint,
            })
        })
        .collect();
    Ok(accepted(&id, &json!(made), &refused))
}

fn accepted(id: &str, deployments: &Value, refused: &[Value]) -> HttpResponse {
    HttpResponse::Accepted().json(json!({ "deliveryId": id, "deployments": deployments, "refused": refused }))
}
