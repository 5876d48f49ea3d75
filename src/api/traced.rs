//! The place of each request in a trace: its sender's, by the header `traceparent`, or one of its own. A request that records
//! something becomes a span, and the deployments it makes are below it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, web};

use super::ApiState;
use crate::domain::TraceContext;

/// The header.
const NAME: &str = "traceparent";

/// A request's place, among its extensions.
#[derive(Debug, Clone, Default)]
pub(super) struct Traced {
    context: Option<TraceContext>,
    recorded: Arc<AtomicBool>,
}

impl Traced {
    /// That of a request; none when it came by no server of ours.
    pub(super) fn of(request: &HttpRequest) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    /// The place, for something that is about to be recorded.
    pub(super) fn record(&self) -> Option<TraceContext> {
        self.recorded.store(true, Ordering::Release);
        self.context
    }
}

impl PartialEq for Traced {
    fn eq(&self, other: &Self) -> bool {
        self.context == other.context
    }
}

/// Gives the request its place, and tells of it when it recorded something.
pub(super) async fn put<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let Some(tracer) = request.app_data::<web::Data<ApiState>>().map(|state| state.tracer().clone()) else {
        return next.call(request).await;
    };
    let sent = request.headers().get(NAME).and_then(|value| value.to_str().ok()).and_then(TraceContext::parse);
    let traced = Traced { context: tracer.request(sent), recorded: Arc::default() };
    request.extensions_mut().insert(traced.clone());
    let begun = SystemTime::now();
    let response = next.call(request).await?;
    if let Some(context) = traced.context.filter(|_| tracer.is_on() && traced.recorded.load(Ordering::Acquire)) {
        let request = response.request();
        let (method, route) = (request.method().to_string(), request.match_pattern().unwrap_or_default());
        tracer.requested((context, sent), begun, (&method, &route), response.status().as_u16());
    }
    Ok(response)
}
