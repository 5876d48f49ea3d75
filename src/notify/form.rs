//! The forms of messages to one address: Slack's, a signed webhook's, a CloudEvent's. Values in, values out.
//!
//! Slack: docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, docs.slack.dev/messaging/formatting-message-text.
//! CloudEvents: github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md and
//! …/bindings/http-protocol-binding.md, structured mode.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

use super::message::Message;
use crate::domain::SecretBytes;

/// Characters that the text of a section of Slack's may have.
const SECTION: usize = 3000;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// It only asks.
    Get,
    /// It sends something.
    Post,
    /// It changes something that is there.
    Put,
}

/// A request as it is sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// What it does.
    pub method: Method,
    /// The whole address. It may be a secret.
    pub url: String,
    /// Headers, some of which are secrets.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Authorities that alone are trusted, as PEM.
    pub ca: Option<String>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| *name).collect();
        f.debug_struct("Request").field("method", &self.method).field("headers", &names).finish_non_exhaustive()
    }
}

impl Request {
    /// A question.
    #[must_use]
    pub fn get(url: String, ca: Option<&str>) -> Self {
        Self { method: Method::Get, url, headers: Vec::new(), body: Vec::new(), ca: ca.map(str::to_owned) }
    }

    /// Something that is sent there.
    #[must_use]
    pub fn post(url: &str, kind: &'static str, body: &Value, ca: Option<&str>) -> Self {
        let headers = vec![("content-type", kind.to_owned())];
        let body = body.to_string().into_bytes();
        Self { method: Method::Post, url: url.to_owned(), headers, body, ca: ca.map(str::to_owned) }
    }
}

/// A message in Slack's form.
#[must_use]
pub fn slack(message: &Message) -> Value {
    let title = match &message.url {
        Some(url) => format!("<{}|*{}*>", escaped(url), escaped(&message.what)),
        None => format!("*{}*", escaped(&message.what)),
    };
    let title = format!("{} {title}", mark(&message.event));
    let section =
        |text: String| json!({ "type": "section", "text": { "type": "mrkdwn", "text": cut(&text, SECTION) } });
    let mut blocks = vec![section(title)];
    if !message.why.is_empty() {
        blocks.push(section(escaped(&cut(&message.why, SECTION / 6))));
    }
    let trace = message.trace_id.as_ref().map(|id| format!("  ·  trace `{}`", escaped(id))).unwrap_or_default();
    let next = format!("Next: {}{trace}", escaped(&cut(&message.next, SECTION / 6)));
    blocks.push(json!({ "type": "context", "elements": [{ "type": "mrkdwn", "text": cut(&next, SECTION) }] }));
    json!({ "text": escaped(&format!("{}: {}", message.what, cut(&message.why, SECTION / 6))), "blocks": blocks })
}

/// Text that means nothing but itself: Slack reads these three, and with them mentions and links.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn mark(event: &str) -> &'static str {
    match event {
        "Converged" | "Unchanged" | "Recovered" => ":white_check_mark:",
        "Failed" | "RollbackFailed" | "Stalled" => ":x:",
        "RolledBack" => ":rewind:",
        "AwaitingApproval" => ":raised_hand:",
        _ => ":information_source:",
    }
}

/// At most so many characters.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// What a webhook receives: the message, and when this copy of it was sent.
#[must_use]
pub fn webhook(message: &Message, instance: &str, now: Timestamp) -> Value {
    let mut body = data(message);
    body["instance"] = instance.into();
    body["sentAt"] = now.to_string().into();
    body
}

fn data(message: &Message) -> Value {
    serde_json::to_value(message).unwrap_or_default()
}

/// A message as a CloudEvent. Its type is `dev.skep.` and the transition.
#[must_use]
pub fn cloud_event(message: &Message, instance: &str) -> Value {
    let subject = match &message.stack {
        Some(stack) => format!("{}/{stack}", message.environment),
        None => message.environment.to_string(),
    };
    json!({
        "specversion": "1.0",
        "id": message.id,
        "source": format!("urn:skep:{instance}"),
        "type": format!("dev.skep.{}", message.event),
        "subject": subject,
        "time": message.time.to_string(),
        "datacontenttype": "application/json",
        "data": data(message),
    })
}

/// Adds what says which message this is, and the proof of who sent it: the HMAC-SHA256 of the body by the shared secret.
#[must_use]
pub fn signed(mut request: Request, message: &Message, key: Option<&SecretBytes>, now: Timestamp) -> Request {
    request.headers.extend([
        ("x-skep-delivery", message.id.clone()),
        ("x-skep-event", message.event.clone()),
        ("x-skep-timestamp", now.as_second().to_string()),
    ]);
    if let Some(key) = key
        && let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose())
    {
        mac.update(&request.body);
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        request.headers.push(("x-skep-signature-256", format!("sha256={hex}")));
    }
    request
}
