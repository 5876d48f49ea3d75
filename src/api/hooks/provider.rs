//! What each provider sends, as its own documentation has it: how it proves who it is, what it calls a delivery and what
//! happened, and what of the body the rules are asked about.
//!
//! | provider | proof | id | event |
//! | --- | --- | --- | --- |
//! | GitHub | `X-Hub-Signature-256` | `X-GitHub-Delivery` | `X-GitHub-Event` |
//! | GitLab | `webhook-signature`, or `X-Gitlab-Token` | `webhook-id`; or `Idempotency-Key`, or else `X-Gitlab-Event-UUID` | `object_kind` in the body |
//! | Gitea, Forgejo | `X-Gitea-Signature` | `X-Gitea-Delivery` | `X-Gitea-Event` |
//! | Bitbucket Cloud | `X-Hub-Signature` | `X-Request-UUID` | `X-Event-Key` |
//! | Registry | `Authorization: Bearer` | `id` of each event | `action` of each event |
//! | Docker Hub | none | digest of the body | `push` |
//! | CloudEvents | `webhook-signature`, or `X-Skep-Signature-256` | `webhook-id`, or `source` and `id` in the body | its `type` |
//! | Generic | `webhook-signature`, or `X-Skep-Signature-256` | `webhook-id`, or `X-Skep-Delivery` | `X-Skep-Event` |
//!
//! `webhook-signature` is that of the Standard Webhooks specification, and covers `webhook-id`: the only id in a header that its
//! proof covers. GitLab's secret token and a registry's are the secret itself: they say nothing of the body, so such a hook wants
//! TLS.

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

/// What the secret of its hook proves of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Its `webhook-id`, its time and its body.
    Standard,
    /// Its body, or no more than who sends; no header.
    Body,
}

/// Why a request tells of nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Untold {
    #[error("the delivery lacks {0}: an id works once, so each delivery needs one")]
    Lacks(&'static str),
    #[error(
        "the delivery is a CloudEvent in binary mode: its id, source and type are in headers, which X-Skep-Signature-256 does \
         not sign"
    )]
    Binary,
}

impl Untold {
    /// The mend.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Lacks(_) => {
                "see that the hook's `provider` is who sends; a sender of your own gives a fresh UUID each time"
            }
            Self::Binary => {
                "send it in structured mode, with `Content-Type: application/cloudevents+json` and all of it in the body; or \
                 sign it as the Standard Webhooks specification has it, with webhook-id, webhook-timestamp and \
                 webhook-signature"
            }
        }
    }
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

/// What a request proves; none when its sender does not know the secret.
pub(super) fn proves(
    provider: HookProvider,
    secret: &SecretBytes,
    now: Timestamp,
    (headers, body): (&HeaderMap, &[u8]),
) -> Option<Proof> {
    let header = |name| text(headers, name);
    let said = || {
        let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
        Some(signature::Standard { id, timestamp, signatures: header("webhook-signature")? })
    };
    let stands = || signature::stands(secret, now.as_second(), body, said());
    // Where there are two ways, both are tried, so that neither is told by the time.
    let (standard, other) = match provider {
        HookProvider::GitHub => (false, signature::signs(secret, body, "sha256=", header("x-hub-signature-256"))),
        HookProvider::Bitbucket => (false, signature::signs(secret, body, "sha256=", header("x-hub-signature"))),
        HookProvider::Gitea => (false, signature::signs(secret, body, "", header("x-gitea-signature"))),
        // The newer signing token, or the older secret one.
        HookProvider::GitLab => (stands(), signature::shows(secret, "", header("x-gitlab-token"))),
        HookProvider::Registry => (false, signature::shows(secret, "Bearer ", header("authorization"))),
        HookProvider::CloudEvents | HookProvider::Generic => {
            (stands(), signature::signs(secret, body, "sha256=", header("x-skep-signature-256")))
        }
        // Only a hook that says so takes what is not signed.
        HookProvider::DockerHub => (false, false),
    };
    if standard { Some(Proof::Standard) } else { other.then_some(Proof::Body) }
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

/// What a request tells of, by what it proved; an unsigned hook's proves nothing.
///
/// # Errors
/// What it lacks, or why it cannot be taken so.
pub(super) fn happened(
    (provider, proof): (HookProvider, Option<Proof>),
    headers: &HeaderMap,
    body: &[u8],
    payload: Value,
) -> Result<Vec<Happened>, Untold> {
    let word = |name, or: &str| one_word(text(headers, name)).unwrap_or(or).to_owned();
    let one = |id: String, event: String, payload| Ok(vec![Happened { id, event, payload }]);
    let named = |name| named(headers, name);
    // An id that is signed counts, and none beside it that anybody on the way could change.
    let id = |names: &[&'static str]| match proof {
        Some(Proof::Standard) => named("webhook-id"),
        Some(Proof::Body) => first(names.iter().map(|name| named(name))),
        None => first(names.iter().chain(&["webhook-id"]).map(|name| named(name))),
    };
    match provider {
        HookProvider::GitHub => one(named("X-GitHub-Delivery")?, word("x-github-event", "unknown"), payload),
        HookProvider::GitLab => {
            let event = one_word(payload["object_kind"].as_str()).unwrap_or("unknown").to_owned();
            one(id(&["Idempotency-Key", "X-Gitlab-Event-UUID"])?, event, payload)
        }
        HookProvider::Gitea => one(named("X-Gitea-Delivery")?, word("x-gitea-event", "unknown"), payload),
        HookProvider::Bitbucket => one(named("X-Request-UUID")?, word("x-event-key", "unknown"), payload),
        HookProvider::Generic => one(id(&["X-Skep-Delivery"])?, word("x-skep-event", "delivery"), payload),
        HookProvider::DockerHub => one(digest(body), "push".to_owned(), payload),
        HookProvider::Registry => of_registry(&payload),
        HookProvider::CloudEvents => of_cloud_event(headers, payload, proof).map(|event| vec![event]),
    }
}

/// What a header says, if it says anything.
fn named(headers: &HeaderMap, name: &'static str) -> Result<String, Untold> {
    let said = text(headers, name).map(str::trim).filter(|id| !id.is_empty());
    said.map(str::to_owned).ok_or(Untold::Lacks(name))
}

/// The first that is there; of none, what the first lacks.
fn first(mut all: impl Iterator<Item = Result<String, Untold>>) -> Result<String, Untold> {
    let first = all.next().unwrap_or(Err(Untold::Lacks("an id")));
    first.or_else(|lacks| all.find_map(Result::ok).ok_or(lacks))
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
/// distribution.github.io/distribution/about/notifications. One without an id has an empty one, and keeps no other back.
fn of_registry(envelope: &Value) -> Result<Vec<Happened>, Untold> {
    let events = envelope["events"].as_array().ok_or(Untold::Lacks("events"))?;
    let about_a_manifest = |event: &&Value| {
        let kind = event["target"]["mediaType"].as_str().unwrap_or_default();
        event["target"]["tag"].is_string() || kind.contains("manifest") || kind.contains("image.index")
    };
    let read = |event: &Value| {
        let id = event["id"].as_str().unwrap_or_default();
        let action = one_word(event["action"].as_str()).unwrap_or("unknown");
        Happened { id: id.to_owned(), event: action.to_owned(), payload: event.clone() }
    };
    Ok(events.iter().filter(about_a_manifest).map(read).collect())
}

/// A CloudEvent by its HTTP binding, version 1.0: its attributes in headers (binary mode), or all of it in the body. A proof of
/// the body alone says nothing of headers: what was sent once could be sent again under another id.
fn of_cloud_event(headers: &HeaderMap, body: Value, proof: Option<Proof>) -> Result<Happened, Untold> {
    let structured = text(headers, "content-type").is_some_and(|kind| kind.starts_with("application/cloudevents+json"));
    if !structured && proof == Some(Proof::Body) {
        return Err(Untold::Binary);
    }
    let attribute = |name: &str| match structured {
        true => body[name].as_str().map(str::to_owned),
        false => text(headers, &format!("ce-{name}")).map(str::to_owned),
    };
    let id = attribute("id").filter(|id| !id.is_empty()).ok_or(Untold::Lacks("id of the CloudEvent"))?;
    let source = attribute("source").ok_or(Untold::Lacks("source of the CloudEvent"))?;
    let kind = attribute("type").ok_or(Untold::Lacks("type of the CloudEvent"))?;
    let payload = match structured {
        true => body.clone(),
        false => json!({ "id": id, "source": source, "type": kind, "subject": attribute("subject"), "data": body }),
    };
    let id = match (proof, source.len(), id.as_str()) {
        (Some(Proof::Standard), ..) => named(headers, "webhook-id")?,
        // Only both together name an event.
        (_, 0..=80, id) if id.len() <= 40 => format!("{source}/{id}").replace(char::is_whitespace, "_"),
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
