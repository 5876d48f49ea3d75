//! Answers that every way in has in common.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;
use serde_json::json;

/// An error as JSON: `{"error": {"code", "message"}}`.
#[must_use]
pub fn error_response(status: StatusCode, code: &str, message: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({ "error": { "code": code, "message": message } }))
}

/// Reads a body of at most `most` bytes.
///
/// # Errors
/// The answer to give: 413 for more, 400 for a body that broke off.
pub async fn read_body(mut payload: Payload, most: usize) -> Result<Bytes, HttpResponse> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let Ok(chunk) = chunk else {
            return Err(error_response(StatusCode::BAD_REQUEST, "INVALID", "the request's body broke off"));
        };
        if body.len() + chunk.len() > most {
            let message = format!("the request's body is larger than {most} bytes");
            return Err(error_response(StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE", &message));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
