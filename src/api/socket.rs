//! Subscriptions over a websocket, with the protocol graphql-transport-ws.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::UPGRADE;
use actix_web::web::{self, Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use async_graphql::Data;
use async_graphql_actix_web::GraphQLSubscription;
use futures_util::stream::Stream;

use super::auth::Unauthenticated;
use super::caller::Caller;
use super::{ApiState, error_response, origin};

/// How long a connection may stay without a valid token.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much it may send until then.
const STRANGER_BYTES: usize = 16 << 10;

/// `GET /graphql`: a websocket. The token comes in the header, or as `Authorization` in the payload of `connection_init`.
pub(super) async fn upgrade(request: HttpRequest, payload: Payload, state: web::Data<ApiState>) -> HttpResponse {
    if !origin::allowed(&request, &state.options().origins) {
        return error_response(StatusCode::FORBIDDEN, "FORBIDDEN", "pages of this origin may not use the API");
    }
    // What is asked over a connection later is no part of the request that opened it.
    let by_header = state.door().request(&request).ok().map(Caller::untraced);
    if by_header.is_none() && !request.headers().contains_key(UPGRADE) {
        return Unauthenticated.error_response();
    }
    let known = Arc::new(AtomicBool::new(by_header.is_some()));
    let guarded = Guarded::new(payload, Arc::clone(&known));
    let auth = state.clone();
    let init = move |payload: serde_json::Value| async move {
        let shown = ["Authorization", "authorization"].iter().find_map(|name| payload.get(name)?.as_str());
        let caller = match (shown, by_header) {
            (Some(shown), _) => auth.door().bearer(Some(shown)).ok(),
            (None, by_header) => by_header,
        };
        let refused = || async_graphql::Error::new("UNAUTHENTICATED: connection_init holds no valid token");
        let caller = caller.ok_or_else(refused)?;
        known.store(true, Ordering::Release);
        let mut data = Data::default();
        data.insert(caller);
        Ok(data)
    };
    match GraphQLSubscription::new(state.schema.clone()).on_connection_init(init).start(&request, guarded) {
        Ok(response) => response,
        Err(_) => {
            let message = "this address takes POST with JSON, or a websocket with the protocol graphql-transport-ws";
            error_response(StatusCode::BAD_REQUEST, "INVALID", message)
        }
    }
}

/// What a connection sends: cut off when it says too much, or nothing that counts, before it has shown a token.
struct Guarded {
    payload: Payload,
    known: Arc<AtomicBool>,
    heard: usize,
    patience: Pin<Box<tokio::time::Sleep>>,
}

impl Guarded {
    fn new(payload: Payload, known: Arc<AtomicBool>) -> Self {
        Self { payload, known, heard: 0, patience: Box::pin(tokio::time::sleep(PATIENCE)) }
    }
}

impl Stream for Guarded {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.known.load(Ordering::Acquire) && self.patience.as_mut().poll(cx).is_ready() {
            // The timer may have run out just when the token came.
            if !self.known.load(Ordering::Acquire) {
                return Poll::Ready(None);
            }
        }
        let next = Pin::new(&mut self.payload).poll_next(cx);
        if let Poll::Ready(Some(Ok(chunk))) = &next {
            self.heard = self.heard.saturating_add(chunk.len());
            if self.heard > STRANGER_BYTES && !self.known.load(Ordering::Acquire) {
                return Poll::Ready(Some(Err(PayloadError::Overflow)));
            }
        }
        next
    }
}
