//! Inbound webhooks: a signed delivery becomes deployments by the hook's rules.
//!
//! The signature is checked over the raw body before anything is read from it. A hook that is not declared answers like one
//! whose signature is wrong, after the same work. What the rules make of the payload, and why a delivery works just once,
//! stands with [`Declare::deliver`](crate::declare::Declare::deliver).

mod original;
mod signature;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::web::{self, Bytes, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::rest::{
    Answer, INVALID, Problem, REPLAYED, TOO_LARGE, UNAUTHENTICATED, UNSUPPORTED_MEDIA_TYPE, wrong_method,
};
use super::{ApiState, read_body};
use crate::declare::{Delivered, Delivery};
use crate::ledger::{Hook, HookProvider};

/// The address of a hook.
pub const PATH: &str = "/hooks/{name}";
/// Bytes of a delivery's body.
pub const LARGEST: usize = 1 << 20;

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
    // For a hook that is not there either of the two will do.
    let provider = hook.as_ref().map_or(HookProvider::Generic, |hook| hook.provider);
    let signed = signature::signs(&secret, &body, text(headers, signature_header(provider)));
    let Some(hook) = hook.filter(|_| signed) else {
        let message = "there is no such hook, or the delivery is not signed with its secret";
        let hint = "sign the raw body with HMAC-SHA256 and the hook's secret, and send `sha256=` and the hex digits as \
                    X-Hub-Signature-256 (GitHub) or X-Skep-Signature-256 (Generic)";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, UNAUTHENTICATED, message).hint(hint));
    };
    let id = delivery_id(&hook, headers)?;
    let event = event(&hook, headers);
    if hook.provider == HookProvider::GitHub && event != "push" {
        // A ping, or something the sender was told to send and no rule can be about.
        return Ok(accepted(&id, &Value::Array(Vec::new()), &[]));
    }
    let payload = json_of(headers, &body)?;
    let original = original::original(&hook, &secret, headers, &payload);
    let delivery = Delivery { id, event: event.to_owned(), payload, original };
    let delivered = state.declare().deliver(&hook, &delivery).await?;
    answer(&delivery, &delivered)
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

fn signature_header(provider: HookProvider) -> &'static str {
    match provider {
        HookProvider::GitHub => "x-hub-signature-256",
        HookProvider::Generic => "x-skep-signature-256",
    }
}

/// The sender's id of the delivery.
fn delivery_id(hook: &Hook, headers: &HeaderMap) -> Result<String, Problem> {
    let name = match hook.provider {
        HookProvider::GitHub => "X-GitHub-Delivery",
        HookProvider::Generic => "X-Skep-Delivery",
    };
    match text(headers, name) {
        Some(id) if !id.trim().is_empty() => Ok(id.trim().to_owned()),
        _ => {
            let message = format!("the header {name} is missing: the id of the delivery, which works once");
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, INVALID, message).hint("send a fresh UUID"))
        }
    }
}

/// What happened there, in one word.
fn event<'h>(hook: &Hook, headers: &'h HeaderMap) -> &'h str {
    match hook.provider {
        HookProvider::GitHub => text(headers, "x-github-event").unwrap_or("unknown"),
        HookProvider::Generic => {
            let plain = |event: &&str| event.len() <= 64 && event.bytes().all(|c| c.is_ascii_graphic());
            text(headers, "x-skep-event").filter(plain).unwrap_or("delivery")
        }
    }
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

fn answer(delivery: &Delivery, delivered: &Delivered) -> Answer {
    let deployments: Vec<&str> = delivered.deployments.iter().map(|id| id.as_str()).collect();
    if delivered.replayed {
        let message = match deployments.as_slice() {
            [] => format!("the delivery `{}` was received before; it made no deployment then", delivery.id),
            made => format!("the delivery `{}` was received before; it made {} then", delivery.id, made.join(", ")),
        };
        let problem = Problem::new(StatusCode::CONFLICT, REPLAYED, message);
        return Err(problem.hint("nothing was done now; send a fresh delivery to have something done"));
    }
    let refused: Vec<Value> = delivered
        .refused
        .iter()
        .map(|(key, refusal)| {
            json!({
                "stack": key.name, "environment": key.environment,
                "code": refusal.code.as_str(), "message": refusal.message, "hint": refusal.hint,
            })
        })
        .collect();
    Ok(accepted(&delivery.id, &json!(deployments), &refused))
}

fn accepted(id: &str, deployments: &Value, refused: &[Value]) -> HttpResponse {
    HttpResponse::Accepted().json(json!({ "deliveryId": id, "deployments": deployments, "refused": refused }))
}
