//! What each provider sends, as its own documentation has it: how it proves who it is, what it calls a delivery and what
//! happened, and what of the body the rules are asked about.
//!
//! | provider | proof | id | event |
//! | --- | --- | --- | --- |
//! | GitHub | `X-Hub-Signature-256` | `X-GitHub-Delivery` | `X-GitHub-Event` |
//! | GitLab | `webhook-signature`, or `X-Gitlab-Token` | `Idempotency-Key`, or else `X-Gitlab-Event-UUID` | `object_kind` in the body |
//! | Gitea, Forgejo | `X-Gitea-Signature` | `X-Gitea-Delivery` | `X-Gitea-Event` |
//! | Bitbucket Cloud | `X-Hub-Signature` | `X-Request-UUID` | `X-Event-Key` |
//! | Registry | `Authorization: Bearer` | `id` of each event | `action` of each event |
//! | Docker Hub | none | digest of the body | `push` |
//! | CloudEvents | `X-Skep-Signature-256`, or `webhook-signature` | `source` and `id` of the event | its `type` |
//! | Generic | `X-Skep-Signature-256`, or `webhook-signature` | `X-Skep-Delivery`, or `webhook-id` | `X-Skep-Event` |
//!
//! `webhook-signature` is that of the Standard Webhooks specification. GitLab's secret token and a registry's are the secret itself: they say nothing of the body, so such a hook wants TLS.

use actix_web::http::header::HeaderMap;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{signature, text};
use crate::domain::SecretBytes;
use crate::ledger::HookProvider;

/// One thing that happened, out of a request that may tell of several.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Happened {
    /// The sender's id of it.
    pub id: String,
    /// In one word.
    pub event: String,
    /// What the rules are asked about.
    pub payload: Value,
}

/// Headers that are kept with a deployment; no other is, whatever it is called.
pub(super) const KEPT: [&str; 20] = [
    "content-type",
    "user-agent",
    "x-github-event",
    "x-github-delivery",
    "x-github-hook-id",
    "x-github-hook-installation-target-type",
    "x-gitlab-event",
    "x-gitlab-event-uuid",
    "x-gitlab-instance",
    "idempotency-key",
    "x-gitea-event",
    "x-gitea-delivery",
    "x-event-key",
    "x-request-uuid",
    "x-hook-uuid",
    "ce-id",
    "ce-source",
    "ce-type",
    "x-skep-delivery",
    "x-skep-event",
];

/// Whether a request proves that its sender knows the secret.
pub(super) fn proves(
    provider: HookProvider,
    secret: &SecretBytes,
    now: Timestamp,
    (headers, body): (&HeaderMap, &[u8]),
) -> bool {
    let header = |name| text(headers, name);
    let said = || {
        let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
        Some(signature::Standard { id, timestamp, signatures: header("webhook-signature")? })
    };
    let stands = || signature::stands(secret, now.as_second(), body, said());
    match provider {
        HookProvider::GitHub => signature::signs(secret, body, "sha256=", header("x-hub-signature-256")),
        HookProvider::Bitbucket => signature::signs(secret, body, "sha256=", header("x-hub-signature")),
        HookProvider::Gitea => signature::signs(secret, body, "", header("x-gitea-signature")),
        // The newer signing token, or the older secret one. Both are tried, so that neither is told by the time.
        HookProvider::GitLab => stands() | signature::shows(secret, "", header("x-gitlab-token")),
        HookProvider::Registry => signature::shows(secret, "Bearer ", header("authorization")),
        HookProvider::CloudEvents | HookProvider::Generic => {
            stands() | signature::signs(secret, body, "sha256=", header("x-skep-signature-256"))
        }
        // Only a hook that says so takes what is not signed.
        HookProvider::DockerHub => false,
    }
}

/// The headers that a provider would send with an event; none when it cannot stand in one.
pub(super) fn headers(provider: HookProvider, event: Option<&str>) -> Option<HeaderMap> {
    use actix_web::http::header::{HeaderName, HeaderValue};
    let named: &[(&'static str, &str)] = match provider {
        HookProvider::GitHub => &[("x-github-delivery", "trial"), ("x-github-event", event.unwrap_or("push"))],
        HookProvider::GitLab => &[("idempotency-key", "trial")],
        HookProvider::Gitea => &[("x-gitea-delivery", "trial"), ("x-gitea-event", event.unwrap_or("push"))],
        HookProvider::Bitbucket => &[("x-request-uuid", "trial"), ("x-event-key", event.unwrap_or("repo:push"))],
        HookProvider::Generic => &[("x-skep-delivery", "trial"), ("x-skep-event", event.unwrap_or("delivery"))],
        HookProvider::CloudEvents => &[("content-type", "application/cloudevents+json")],
        HookProvider::Registry | HookProvider::DockerHub => &[],
    };
    let header = |(name, value): &(&'static str, &str)| {
        Some((HeaderName::from_static(name), HeaderValue::from_str(value).ok()?))
    };
    named.iter().map(header).collect()
}

/// What a request tells of. The error is the name of what it lacks.
pub(super) fn happened(
    provider: HookProvider,
    headers: &HeaderMap,
    body: &[u8],
    payload: Value,
) -> Result<Vec<Happened>, &'static str> {
    let named = |name: &'static str| {
        text(headers, name).map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).ok_or(name)
    };
    let word = |name, or: &str| one_word(text(headers, name)).unwrap_or(or).to_owned();
    let one = |id: String, event: String, payload| Ok(vec![Happened { id, event, payload }]);
    // An id that is signed counts before one that anybody on the way could change.
    let signed = || named("webhook-id").ok().filter(|_| text(headers, "webhook-signature").is_some());
    match provider {
        HookProvider::GitHub => one(named("X-GitHub-Delivery")?, word("x-github-event", "unknown"), payload),
        HookProvider::GitLab => {
            let id = match signed() {
                Some(id) => id,
                None => named("Idempotency-Key").or_else(|_| named("X-Gitlab-Event-UUID"))?,
            };
            let event = one_word(payload["object_kind"].as_str()).unwrap_or("unknown").to_owned();
            one(id, event, payload)
        }
        HookProvider::Gitea => one(named("X-Gitea-Delivery")?, word("x-gitea-event", "unknown"), payload),
        HookProvider::Bitbucket => one(named("X-Request-UUID")?, word("x-event-key", "unknown"), payload),
        HookProvider::Generic => {
            one(signed().map_or_else(|| named("X-Skep-Delivery"), Ok)?, word("x-skep-event", "delivery"), payload)
        }
        HookProvider::DockerHub => one(digest(body), "push".to_owned(), payload),
        HookProvider::Registry => of_registry(&payload),
        HookProvider::CloudEvents => of_cloud_event(headers, payload).map(|event| vec![event]),
    }
}

/// What the headers of a request say whose body cannot be read: its id, and what happened; as far as they do.
pub(super) fn said(headers: &HeaderMap) -> (String, String) {
    const IDS: [&str; 8] = [
        "x-github-delivery",
        "idempotency-key",
        "x-gitlab-event-uuid",
        "x-gitea-delivery",
        "x-request-uuid",
        "x-skep-delivery",
        "webhook-id",
        "ce-id",
    ];
    const EVENTS: [&str; 6] =
        ["x-github-event", "x-gitea-event", "x-event-key", "x-gitlab-event", "x-skep-event", "ce-type"];
    let first = |names: &[&str]| names.iter().find_map(|name| text(headers, name)).unwrap_or_default().to_owned();
    (first(&IDS), one_word(Some(&first(&EVENTS))).unwrap_or("unknown").to_owned())
}

/// The envelope of a registry's notifications holds several events; of those, the ones about manifests count. Its format:
/// distribution.github.io/distribution/about/notifications.
fn of_registry(envelope: &Value) -> Result<Vec<Happened>, &'static str> {
    let events = envelope["events"].as_array().ok_or("events")?;
    let about_a_manifest = |event: &&Value| {
        let kind = event["target"]["mediaType"].as_str().unwrap_or_default();
        event["target"]["tag"].is_string() || kind.contains("manifest") || kind.contains("image.index")
    };
    let read = |event: &Value| {
        let id = event["id"].as_str().filter(|id| !id.is_empty()).ok_or("id of an event")?;
        let action = one_word(event["action"].as_str()).unwrap_or("unknown");
        Ok(Happened { id: id.to_owned(), event: action.to_owned(), payload: event.clone() })
    };
    events.iter().filter(about_a_manifest).map(read).collect()
}

/// A CloudEvent by its HTTP binding, version 1.0: its attributes in headers (binary mode), or all of it in the body.
fn of_cloud_event(headers: &HeaderMap, body: Value) -> Result<Happened, &'static str> {
    let structured = text(headers, "content-type").is_some_and(|kind| kind.starts_with("application/cloudevents+json"));
    let attribute = |name: &str| match structured {
        true => body[name].as_str().map(str::to_owned),
        false => text(headers, &format!("ce-{name}")).map(str::to_owned),
    };
    let id = attribute("id").filter(|id| !id.is_empty()).ok_or("id of the CloudEvent")?;
    let source = attribute("source").ok_or("source of the CloudEvent")?;
    let kind = attribute("type").ok_or("type of the CloudEvent")?;
    let payload = match structured {
        true => body.clone(),
        false => json!({ "id": id, "source": source, "type": kind, "subject": attribute("subject"), "data": body }),
    };
    // Only both together name an event.
    let id = match (source.len(), id.as_str()) {
        (0..=80, id) if id.len() <= 40 => format!("{source}/{id}").replace(char::is_whitespace, "_"),
        _ => digest(format!("{source}\n{id}").as_bytes()),
    };
    Ok(Happened { id, event: one_word(Some(&kind)).unwrap_or("unknown").to_owned(), payload })
}

/// A word for the log and for rules: short, and of plain characters.
fn one_word(word: Option<&str>) -> Option<&str> {
    word.filter(|word| !word.is_empty() && word.len() <= 80 && word.bytes().all(|c| c.is_ascii_graphic()))
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
