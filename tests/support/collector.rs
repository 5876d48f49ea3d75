//! A collector of traces: takes OTLP over HTTP, and reads what arrives.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

#[derive(Default)]
struct Taken {
    spans: Vec<Span>,
    /// All bytes that came, one request after the other.
    bytes: Vec<u8>,
    services: Vec<String>,
}

/// The collector. Its thread ends with the test.
pub struct Collector {
    pub endpoint: String,
    taken: Arc<(Mutex<Taken>, Condvar)>,
}

impl Collector {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let taken: Arc<(Mutex<Taken>, Condvar)> = Arc::default();
        let into = taken.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let into = into.clone();
                thread::spawn(move || while take(&stream, &into).is_some() {});
            }
        });
        Self { endpoint, taken }
    }

    /// The first span for which `wanted` holds, when it has come.
    pub fn until(&self, what: &str, wanted: impl Fn(&Span) -> bool) -> Span {
        let end = Instant::now() + Duration::from_secs(60);
        let (taken, changed) = &*self.taken;
        let mut taken = taken.lock().unwrap();
        loop {
            if let Some(span) = taken.spans.iter().find(|span| wanted(span)) {
                return span.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what} among {:#?}", taken.spans);
            taken = changed.wait_timeout(taken, left).unwrap().0;
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.taken.0.lock().unwrap().bytes.clone()
    }

    /// The names of the services that sent.
    pub fn services(&self) -> Vec<String> {
        self.taken.0.lock().unwrap().services.clone()
    }
}

/// One request; `None` at the connection's end.
fn take(stream: &TcpStream, into: &(Mutex<Taken>, Condvar)) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    assert!(line.starts_with("POST /v1/traces "), "{line}");
    let (mut length, mut kind) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let lower = line.trim().to_lowercase();
        if lower.is_empty() {
            break;
        }
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if let Some(value) = lower.strip_prefix("content-type:") {
            value.trim().clone_into(&mut kind);
        }
    }
    assert_eq!(kind, "application/x-protobuf");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let request = ExportTraceServiceRequest::decode(body.as_slice()).expect("it is what OTLP says");
    let (taken, changed) = into;
    let mut taken = taken.lock().unwrap();
    taken.bytes.extend(&body);
    for of in request.resource_spans {
        let resource = of.resource.expect("it says who sends");
        taken.services.extend(attribute(&resource.attributes, "service.name"));
        taken.spans.extend(of.scope_spans.into_iter().flat_map(|scope| scope.spans));
    }
    drop(taken);
    changed.notify_all();
    let mut stream = stream;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n").ok()
}

/// The text of an attribute.
pub fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|it| it.key == key)?.value.as_ref()?.value.as_ref()?;
    match value {
        any_value::Value::StringValue(text) => Some(text.clone()),
        other => Some(format!("{other:?}")),
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
