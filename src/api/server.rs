//! The HTTP server.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Payload, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use async_graphql::Value;
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};

use super::auth::Unauthenticated;
use super::guard::Readiness;
use super::{ApiState, error_response, origin, page, read_body, request_id, socket, traced};
use crate::domain::Access;
use crate::telemetry::{Exposition, classic};

/// Connections that wait to be taken, at most.
const BACKLOG: i32 = 1024;

/// More routes, added to the API's own in every worker.
pub type Routes = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

/// Where and how to listen.
pub struct Listen {
    /// The address; port 0 takes a free one.
    pub address: SocketAddr,
    /// Certificate and key, when it speaks TLS.
    pub tls: Option<rustls::ServerConfig>,
    /// How many threads serve.
    pub workers: usize,
}

/// A server that listens. Await `server`; stop it by its handle.
pub struct Bound {
    /// Where it listens: the real port, also for port 0.
    pub address: SocketAddr,
    /// The running server.
    pub server: Server,
}

/// Listens and serves [`routes`] and `more`. Signals are left to the caller.
///
/// # Errors
/// The address cannot be listened on.
pub fn bind(listen: Listen, state: ApiState, more: Routes) -> io::Result<Bound> {
    let listener = listener(listen.address, state.options().stalled)?;
    let http = HttpServer::new(move || {
        let (state, more) = (state.clone(), Arc::clone(&more));
        App::new()
            .app_data(web::Data::new(state.clone()))
            .wrap(from_fn(traced::put))
            .wrap(from_fn(request_id::put))
            .configure(|config| routes(config, &state))
            .configure(|config| more(config))
            .default_service(web::to(nothing_here))
    })
    .workers(listen.workers.max(1))
    // Longer than clients keep a connection without using it.
    .keep_alive(Duration::from_secs(75))
    .disable_signals()
    .shutdown_timeout(5);
    let http = match listen.tls {
        Some(tls) => http.listen_rustls_0_23(listener, tls)?,
        None => http.listen(listener)?,
    };
    let address = http.addrs().first().copied().unwrap_or(listen.address);
    Ok(Bound { address, server: http.run() })
}

/// Listens. Connections inherit what is set here (tcp(7)): one whose peer takes nothing for `stalled`, be it gone or with its
/// window shut, is ended by the kernel, and what it followed with it.
fn listener(address: SocketAddr, stalled: Duration) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(stalled))?;
    #[cfg(not(target_os = "linux"))]
    let _ = stalled;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The API's own routes: GraphQL, health, metrics, the page. The state has to be among the app's data, as [`bind`] puts it.
pub fn routes(config: &mut ServiceConfig, state: &ApiState) {
    config
        .service(
            web::resource("/graphql")
                .route(web::post().to(graphql))
                .route(web::get().to(socket::upgrade))
                .default_service(web::to(wrong_method)),
        )
        .service(web::resource("/healthz").route(web::get().to(healthy)).default_service(web::to(only_read)))
        .service(web::resource("/readyz").route(web::get().to(ready)).default_service(web::to(only_read)))
        .service(web::resource("/metrics").route(web::get().to(metrics)).default_service(web::to(only_read)));
    page::routes(config);
    if state.options().graphiql {
        config.route("/graphiql", web::get().to(graphiql));
    }
}

/// An answer in the shape of GraphQL, for requests that are not carried out at all.
fn graphql_error(status: StatusCode, code: &str, message: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({ "errors": [{ "message": message, "extensions": { "code": code } }] }))
}

/// `POST /graphql`. Only JSON is taken: a form of another page cannot send that unasked.
async fn graphql(request: HttpRequest, payload: Payload, state: web::Data<ApiState>) -> HttpResponse {
    if !origin::allowed(&request, &state.options().origins) {
        return graphql_error(StatusCode::FORBIDDEN, "FORBIDDEN", "pages of this origin may not use the API");
    }
    let caller = match state.door().request(&request) {
        Ok(caller) => caller,
        Err(Unauthenticated) => {
            let mut answer = graphql_error(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", &Unauthenticated.to_string());
            let bearer = HeaderValue::from_static("Bearer");
            answer.headers_mut().insert(WWW_AUTHENTICATE, bearer);
            return answer;
        }
    };
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        let message = "send the request as JSON, with content-type application/json";
        return graphql_error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "INVALID", message);
    }
    let body = match read_body(payload, state.options().body_bytes).await {
        Ok(body) => body,
        Err(answer) if answer.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("the request's body is larger than {} bytes", state.options().body_bytes);
            return graphql_error(StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE", &message);
        }
        Err(answer) => return answer,
    };
    let asked: async_graphql::Request = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(cause) => {
            // The parser's own words hold at most a single character of the body; its position helps more.
            let message =
                format!("the body is not a GraphQL request: line {}, column {}", cause.line(), cause.column());
            return graphql_error(StatusCode::BAD_REQUEST, "INVALID", &message);
        }
    };
    if asked.query.is_empty() {
        return graphql_error(StatusCode::BAD_REQUEST, "INVALID", "the body has no `query`");
    }
    let mut answer = state.schema.execute(asked.data(caller)).await;
    answer.errors.iter_mut().for_each(code);
    HttpResponse::Ok().json(answer)
}

/// Gives an error of the library a code.
fn code(error: &mut async_graphql::ServerError) {
    let extensions = error.extensions.get_or_insert_default();
    if extensions.get("code").is_none() {
        let limit = ["too deep", "too complex", "recursion depth", "recursion limit"]
            .iter()
            .any(|text| error.message.contains(text));
        extensions.set("code", Value::from(if limit { "LIMIT_EXCEEDED" } else { "INVALID" }));
    }
}

async fn graphiql() -> HttpResponse {
    let page = async_graphql::http::GraphiQLSource::build()
        .endpoint("/graphql")
        .subscription_endpoint("/graphql")
        .title("Skep")
        .finish();
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(page)
}

async fn healthy() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// What is not ready is said, in words that anyone may read: no names, no addresses.
async fn ready(state: web::Data<ApiState>) -> HttpResponse {
    let (mut answer, text) = match state.readiness().await {
        Readiness { serves: false, .. } => (HttpResponse::ServiceUnavailable(), "starting, or ending\n".to_owned()),
        Readiness { writes: false, .. } => {
            let text = "the store takes no writes: see the log and `skep doctor`, mend its disk, and start again\n";
            (HttpResponse::ServiceUnavailable(), text.to_owned())
        }
        Readiness { connected, environments, .. } if connected < environments => {
            (HttpResponse::Ok(), format!("ready\n{connected} of {environments} environments answer\n"))
        }
        Readiness { .. } => (HttpResponse::Ok(), "ready\n".to_owned()),
    };
    answer.content_type("text/plain; charset=utf-8").body(text)
}

async fn metrics(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Unauthenticated> {
    if !state.options().metrics_public {
        let caller = state.door().request(&request)?;
        if let Err(refused) = state.guard(&caller).everywhere(Access::Metrics) {
            return Ok(error_response(StatusCode::FORBIDDEN, "FORBIDDEN", &refused.to_string()));
        }
    }
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let form = Exposition::accepted(accept);
    let text = state.metrics();
    let text = if form == Exposition::OpenMetrics { text } else { classic(&text) };
    Ok(HttpResponse::Ok().content_type(form.content_type()).body(text))
}

async fn wrong_method() -> HttpResponse {
    let message = "this address takes POST with JSON, or a websocket with the protocol graphql-transport-ws";
    allowing("GET, POST", error_response(StatusCode::METHOD_NOT_ALLOWED, "INVALID", message))
}

async fn only_read() -> HttpResponse {
    allowing("GET", error_response(StatusCode::METHOD_NOT_ALLOWED, "INVALID", "this address takes GET alone"))
}

fn allowing(methods: &'static str, mut answer: HttpResponse) -> HttpResponse {
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

async fn nothing_here() -> HttpResponse {
    error_response(StatusCode::NOT_FOUND, "NOT_FOUND", "there is nothing at this address")
}
