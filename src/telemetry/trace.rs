//! Spans: from the request that asked for a version to the calls to the engine that brought it about.
//!
//! ```text
//! POST /graphql          the request, in its sender's trace if it names one
//! └─ deployment          from when it was recorded to when it ended
//!    ├─ render           └─ git Read
//!    ├─ apply            └─ engine UpdateService, …
//!    └─ judge            └─ engine TaskLogs, …
//! ```
//!
//! Every id above a stage follows from the records, so that what is done after a restart joins the same trace. A span is
//! handed over when it has ended; a collector that is slow or gone costs spans, never time.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor,
};
use thiserror::Error;
use tracing::{Instrument, Span};

use crate::domain::{Deployment, DeploymentPhase, TraceContext};

/// How long a collector may take for a batch.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long spans are gathered before they are sent.
const GATHER: Duration = Duration::from_millis(500);
/// Spans that wait for the collector at most; what comes beyond is dropped.
const WAITING: usize = 8192;
/// How long the last spans are waited for at the end.
const LAST: Duration = Duration::from_secs(2);

/// The collector's address cannot be used.
#[derive(Debug, Error)]
#[error("traces cannot be sent to `{endpoint}`: {reason}")]
pub struct TracerError {
    /// As it was given.
    pub endpoint: String,
    /// What is wrong.
    pub reason: String,
}

/// Hands spans to a collector, or to nobody. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tracer {
    processor: Option<Arc<BatchSpanProcessor>>,
}

/// An exporter that says so, once, when its collector does not take what it is given.
#[derive(Debug)]
struct Exporter {
    inner: SpanExporter,
    endpoint: String,
    fails: AtomicBool,
}

impl opentelemetry_sdk::trace::SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.inner.export(batch).await;
        let failed = self.fails.swap(sent.is_err(), Ordering::AcqRel);
        match &sent {
            Err(error) if !failed => {
                tracing::warn!(collector = %self.endpoint, %error, "traces are not taken; they are dropped until they are");
            }
            Ok(()) if failed => tracing::info!(collector = %self.endpoint, "traces are taken again"),
            _ => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// What a span says beside its place and time.
pub(super) struct Said {
    pub(super) name: Cow<'static, str>,
    pub(super) kind: SpanKind,
    pub(super) attributes: Vec<KeyValue>,
    pub(super) error: Option<Cow<'static, str>>,
    pub(super) link: Option<TraceContext>,
}

impl Said {
    fn new(name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Self {
        Self { name: name.into(), kind, attributes: Vec::new(), error: None, link: None }
    }

    fn with(mut self, key: &'static str, value: impl Into<opentelemetry::Value>) -> Self {
        self.attributes.push(KeyValue::new(key, value));
        self
    }
}

impl Tracer {
    /// Hands spans to the collector at this address, by OTLP over HTTP with protobuf. `/v1/traces` is added to an address
    /// without it. `instance` tells this installation from others.
    ///
    /// # Errors
    /// [`TracerError`] when the address makes no sense. Nothing is asked of the collector.
    pub fn to(endpoint: &str, instance: &str) -> Result<Self, TracerError> {
        let failed = |reason: String| TracerError { endpoint: endpoint.to_owned(), reason };
        let base = endpoint.trim_end_matches('/');
        let address = if base.ends_with("/v1/traces") { base.to_owned() } else { format!("{base}/v1/traces") };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&address)
            .with_timeout(PATIENCE)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let exporter = Exporter { inner: exporter, endpoint: endpoint.to_owned(), fails: AtomicBool::new(false) };
        let config = BatchConfigBuilder::default().with_max_queue_size(WAITING).with_scheduled_delay(GATHER).build();
        let mut processor = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        let resource = Resource::builder_empty()
            .with_service_name("skep")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("service.instance.id", instance.to_owned()))
            .build();
        processor.set_resource(&resource);
        Ok(Self { processor: Some(Arc::new(processor)) })
    }

    /// Whether anybody gets the spans.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.processor.is_some()
    }

    /// Sends what waits, for a moment. Blocks.
    pub fn end(&self) {
        if let Some(processor) = &self.processor {
            // What cannot be sent by then is lost; that was said.
            drop(processor.shutdown_with_timeout(LAST));
        }
    }

    /// A fresh place for a request: in its sender's trace, or at the root of one of its own. `None` when spans go nowhere and
    /// the sender names none.
    #[must_use]
    pub fn request(&self, sent: Option<TraceContext>) -> Option<TraceContext> {
        if !self.is_on() {
            return sent;
        }
        match sent {
            Some(sent) => Some(sent.sibling(fresh())),
            None => TraceContext::new(fastrand::u128(1..).to_be_bytes(), fresh(), true),
        }
    }

    /// A request that recorded something has been answered.
    pub fn requested(
        &self,
        (context, sent): (TraceContext, Option<TraceContext>),
        begun: SystemTime,
        (method, path): (&str, &str),
        status: u16,
    ) {
        let mut said = Said::new(format!("{method} {path}"), SpanKind::Server)
            .with("http.request.method", method.to_owned())
            .with("http.route", path.to_owned())
            .with("http.response.status_code", i64::from(status));
        said.error = (status >= 500).then_some(Cow::Borrowed("the request failed"));
        self.send(context, sent, (begun, SystemTime::now()), said);
    }

    /// A deployment has come to its end. `failed` is the one whose failure it answers.
    pub fn deployed(&self, deployment: &Deployment, failed: Option<&Deployment>) {
        let Some(finished) = deployment.finished_at.filter(|_| self.is_on()) else { return };
        let mut said = Said::new("deployment", SpanKind::Internal)
            .with("skep.deployment.id", deployment.id.to_string())
            .with("skep.stack", deployment.stack.name.to_string())
            .with("skep.environment", deployment.stack.environment.to_string())
            .with("skep.generation", i64::try_from(deployment.generation).unwrap_or(i64::MAX))
            .with("skep.trigger", format!("{:?}", deployment.origin.trigger))
            .with("skep.phase", format!("{:?}", deployment.phase));
        if let Some(revision) = &deployment.version.revision {
            said = said.with("skep.revision", revision.to_string());
        }
        if let Some(failure) = &deployment.failure {
            said = said.with("skep.failure.class", failure.class.to_string());
        }
        if matches!(deployment.phase, DeploymentPhase::Failed | DeploymentPhase::RolledBack) {
            // The class alone: evidence is for those who may see the deployment.
            let class = deployment.failure.as_ref().map(|failure| failure.class.to_string());
            said.error = Some(class.map_or(Cow::Borrowed("failed"), Cow::Owned));
        }
        said.link = failed.map(Deployment::trace);
        let times = (SystemTime::from(deployment.created_at), SystemTime::from(finished));
        self.send(deployment.trace(), deployment.origin.trace, times, said);
    }

    /// Works on a deployment; the calls that this makes are spans below its own. A stage without a call is none. Whatever the
    /// work writes to the log says which deployment it is about, and its trace.
    pub async fn stage<F: Future>(&self, name: &'static str, deployment: &Deployment, work: F) -> F::Output {
        let work = work.instrument(in_the_log(name, deployment));
        let parent = deployment.trace();
        if !self.is_on() || !parent.is_sampled() {
            return work.await;
        }
        let begun = SystemTime::now();
        let within = Within { tracer: self.clone(), context: parent.sibling(fresh()), called: Arc::default() };
        let called = within.called.clone();
        let context = within.context;
        let done = WITHIN.scope(within, work).await;
        if called.load(Ordering::Acquire) {
            let said = Said::new(name, SpanKind::Internal)
                .with("skep.deployment.id", deployment.id.to_string())
                .with("skep.stack", deployment.stack.name.to_string());
            self.send(context, Some(parent), (begun, SystemTime::now()), said);
        }
        done
    }

    fn send(
        &self,
        context: TraceContext,
        parent: Option<TraceContext>,
        (start_time, end_time): (SystemTime, SystemTime),
        said: Said,
    ) {
        let Some(processor) = self.processor.as_ref().filter(|_| context.is_sampled()) else { return };
        let mut links = SpanLinks::default();
        links.links.extend(said.link.map(|linked| Link::with_context(span_context(linked))));
        processor.on_end(SpanData {
            span_context: span_context(context),
            parent_span_id: parent.map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.span())),
            parent_span_is_remote: said.kind == SpanKind::Server,
            span_kind: said.kind,
            name: said.name,
            start_time,
            end_time: end_time.max(start_time),
            attributes: said.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links,
            status: said.error.map_or(Status::Unset, |description| Status::Error { description }),
            instrumentation_scope: InstrumentationScope::builder("skep").build(),
        });
    }
}

/// What the log says of a stage in each of its lines. As an error's it is there whatever level is asked for, and the target
/// has a filter for the controller alone bring it too. Nothing is worked out when nobody listens.
fn in_the_log(stage: &'static str, deployment: &Deployment) -> Span {
    let id = &deployment.id;
    tracing::error_span!(
        target: "skep::controller",
        "work",
        stage,
        deployment = %id,
        trace_id = deployment.trace().trace_id()
    )
}

/// Where the calls of a task belong.
#[derive(Clone)]
struct Within {
    tracer: Tracer,
    context: TraceContext,
    called: Arc<AtomicBool>,
}

tokio::task_local! {
    static WITHIN: Within;
}

/// Another task's work that belongs to what this one works on.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let within = WITHIN.try_with(Clone::clone).ok();
    let work = work.in_current_span();
    async move {
        match within {
            Some(within) => WITHIN.scope(within, work).await,
            None => work.await,
        }
    }
}

/// A call was answered: a span, if it belongs to a deployment.
pub(super) fn called(
    name: &'static str,
    begun: SystemTime,
    error: Option<&'static str>,
    on: &[(&'static str, String)],
) {
    // Outside of a deployment's work there is nothing to tell.
    let _told = WITHIN.try_with(|within| {
        within.called.store(true, Ordering::Release);
        let mut said = Said::new(name, SpanKind::Client);
        said.attributes.extend(on.iter().map(|(key, value)| KeyValue::new(*key, value.clone())));
        said.error = error.map(Cow::Borrowed);
        let context = within.context.sibling(fresh());
        within.tracer.send(context, Some(within.context), (begun, SystemTime::now()), said);
    });
}

fn fresh() -> [u8; 8] {
    fastrand::u64(1..).to_be_bytes()
}

fn span_context(context: TraceContext) -> SpanContext {
    let (trace, span) = (TraceId::from_bytes(context.trace()), SpanId::from_bytes(context.span()));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE)
}
