//! Every answer carries the id of its request: the sender's own, or a fresh one.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};

use super::ApiState;

/// The header.
const NAME: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request, among its extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub String);

/// Puts the id on the request and its answer.
pub(super) async fn put<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let sent = request.headers().get(NAME).and_then(|value| value.to_str().ok()).filter(|id| plain(id));
    let id = match sent {
        Some(id) => id.to_owned(),
        None => request.app_data::<web::Data<ApiState>>().map_or_else(String::new, |state| state.ambient().new_id()),
    };
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.call(request).await?;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(NAME, value);
    }
    Ok(response)
}

/// Ids end up in logs: only plain ones are taken over.
fn plain(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
}
