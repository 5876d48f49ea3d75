//! The REST calls: the seed's, thin. Each reads the ledger or goes through `declare`, like GraphQL's mutations do.
//!
//! [`ENDPOINTS`] is the one table: from it the routes are registered, and against it `swagger/swagger.yaml` is checked, so
//! that neither can say what the other does not. Every error is a [`problem`].

mod backup;
mod body;
mod call;
mod deployments;
mod docs;
mod doctor;
mod environments;
mod logs;
mod problem;
mod relay;
mod stacks;

use std::collections::BTreeMap;

use actix_web::HttpRequest;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, Data, Payload, ServiceConfig};
use futures_util::future::LocalBoxFuture;

pub(super) use problem::{Answer, Problem};
pub(super) use problem::{BUSY, INVALID, REPLAYED, TOO_LARGE, UNAUTHENTICATED, UNSUPPORTED_MEDIA_TYPE};

use super::ApiState;
use call::Call;

/// Below this address stand the calls that need a token.
const ROOT: &str = "/api/v1";

/// One call.
pub struct Endpoint {
    /// `GET`, `POST`, `PUT`, `DELETE`.
    pub method: &'static str,
    /// The address, with `{name}` for what varies.
    pub path: &'static str,
    serve: Serve,
}

/// What answers a call.
#[derive(Clone, Copy)]
enum Serve {
    /// Only to a caller with a valid token.
    Signed(fn(Call) -> LocalBoxFuture<'static, Answer>),
    /// To anyone.
    Open(fn(&HttpRequest) -> Answer),
}

/// All calls.
pub const ENDPOINTS: [Endpoint; 23] = [
    signed("GET", "/api/v1/stacks", |call| Box::pin(stacks::list(call))),
    signed("POST", "/api/v1/stacks", |call| Box::pin(stacks::post(call))),
    signed("GET", "/api/v1/stacks/{name}", |call| Box::pin(stacks::get(call))),
    signed("PUT", "/api/v1/stacks/{name}", |call| Box::pin(stacks::put(call))),
    signed("DELETE", "/api/v1/stacks/{name}", |call| Box::pin(stacks::delete(call))),
    signed("PUT", "/api/v1/stacks/{name}/deploy", |call| Box::pin(stacks::deploy(call))),
    signed("GET", "/api/v1/stacks/{name}/logs", |call| Box::pin(logs::of_stack(call))),
    signed("GET", "/api/v1/deployments", |call| Box::pin(deployments::list(call))),
    signed("GET", "/api/v1/deployments/{id}", |call| Box::pin(deployments::get(call))),
    signed("GET", "/api/v1/deployments/{id}/logs", |call| Box::pin(logs::of_deployment(call))),
    signed("GET", "/api/v1/environments", |call| Box::pin(environments::list(call))),
    signed("GET", "/api/v1/environments/{name}", |call| Box::pin(environments::get(call))),
    signed("GET", "/api/v1/relay/{environment}", |call| Box::pin(relay::greet(call))),
    signed("GET", "/api/v1/relay/{environment}/changes", |call| Box::pin(relay::changes(call))),
    signed("PUT", "/api/v1/relay/{environment}/stacks/{name}", |call| Box::pin(relay::hand_over(call))),
    signed("POST", "/api/v1/relay/{environment}/claim", |call| Box::pin(relay::claim(call))),
    signed("POST", "/api/v1/relay/{environment}/questions", |call| Box::pin(relay::question(call))),
    signed("POST", "/api/v1/relay/{environment}/logs", |call| Box::pin(relay::logs(call))),
    signed("GET", "/api/v1/backup", |call| Box::pin(backup::get(call))),
    signed("GET", "/api/v1/doctor", |call| Box::pin(doctor::get(call))),
    open("GET", "/api/docs", docs::index),
    open("GET", "/api/docs/swagger.yaml", |_| docs::swagger()),
    open("GET", "/api/docs/errors/{code}", docs::error),
];

const fn signed(
    method: &'static str,
    path: &'static str,
    serve: fn(Call) -> LocalBoxFuture<'static, Answer>,
) -> Endpoint {
    Endpoint { method, path, serve: Serve::Signed(serve) }
}

const fn open(method: &'static str, path: &'static str, serve: fn(&HttpRequest) -> Answer) -> Endpoint {
    Endpoint { method, path, serve: Serve::Open(serve) }
}

/// Registers the calls. The state has to be among the app's data, as [`super::bind`] puts it.
pub fn routes(config: &mut ServiceConfig) {
    let mut by_path: BTreeMap<&str, Vec<&Endpoint>> = BTreeMap::new();
    for endpoint in &ENDPOINTS {
        by_path.entry(endpoint.path).or_default().push(endpoint);
    }
    for (path, endpoints) in by_path {
        let mut resource = web::resource(path);
        for endpoint in &endpoints {
            let method = Method::from_bytes(endpoint.method.as_bytes()).unwrap_or(Method::GET);
            let serve = endpoint.serve;
            let answer = move |request: HttpRequest, state: Data<ApiState>, payload: Payload| {
                answer(serve, request, state, payload)
            };
            resource = resource.route(web::method(method).to(answer));
        }
        let allowed: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.method).collect();
        let allowed = allowed.join(", ");
        config.service(resource.default_service(web::to(move |request: HttpRequest| {
            let answer = wrong_method(&request, &allowed);
            async move { answer }
        })));
    }
    config.service(web::scope(ROOT).default_service(web::to(|request: HttpRequest| async move {
        let message = format!("there is nothing at `{}`", request.path());
        let hint = "the calls there are stand in /api/docs/swagger.yaml";
        Problem::new(StatusCode::NOT_FOUND, problem::NOT_FOUND, message).hint(hint).answer(&request)
    })));
}

async fn answer(
    serve: Serve,
    request: HttpRequest,
    state: Data<ApiState>,
    payload: Payload,
) -> actix_web::HttpResponse {
    let answer = match serve {
        Serve::Open(serve) => serve(&request),
        Serve::Signed(serve) => match state.door().request(&request) {
            Ok(caller) => serve(Call::new(request.clone(), state, caller, payload)).await,
            Err(refused) => Err(refused.into()),
        },
    };
    answer.unwrap_or_else(|problem| problem.answer(&request))
}

/// The answer to a method that an address does not take.
pub(super) fn wrong_method(request: &HttpRequest, allowed: &str) -> actix_web::HttpResponse {
    let message = format!("`{}` does not take {}; it takes {allowed}", request.path(), request.method());
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, problem::METHOD_NOT_ALLOWED, message);
    match HeaderValue::from_str(allowed) {
        Ok(value) => problem.header(ALLOW, value),
        Err(_) => problem,
    }
    .answer(request)
}
