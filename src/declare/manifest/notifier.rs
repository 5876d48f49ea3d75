//! `kind: Notifier`.

use reqwest::Url;

use super::super::fields::{Field, Fields, Reader};
use super::super::{Code, DeclareError};
use super::{Body, credential_name, name};
use crate::domain::{CredentialName, NotifierName, NotifierType, Sealed, Transition};
use crate::keys;
use crate::ports::Sealer;

/// The longest address that is taken.
const LONGEST: usize = 2048;

/// A notifier as a manifest asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct AskedNotifier {
    /// Its name.
    pub name: NotifierName,
    /// Whom it tells.
    pub kind: NotifierType,
    /// The address, sealed, and as much of it as people see.
    pub url: Option<(Sealed, String)>,
    /// The credential it needs.
    pub credential: Option<CredentialName>,
    /// Names of environments.
    pub environments: Vec<String>,
    /// Names of stacks there.
    pub stacks: Vec<String>,
    /// What it tells of.
    pub events: Vec<Transition>,
}

/// Reads a notifier; `None` when something was refused.
pub(super) fn read(
    reader: &mut Reader,
    mut fields: Fields<'_>,
    sealer: &dyn Sealer,
) -> Result<Option<Body>, DeclareError> {
    let name = name(reader, &mut fields).and_then(|(text, at)| match NotifierName::parse(&text) {
        Ok(name) => Some(name),
        Err(error) => {
            reader.refuse(Code::Invalid, at, "name", error.to_string(), None);
            None
        }
    });
    let kind = match fields.take("type") {
        Some(field) => reader.choice(&field, &NotifierType::ALL),
        None => {
            let hint = "write for example `type: Slack`";
            reader.refuse(Code::Invalid, fields.at(), "type", "`type` is missing".to_owned(), Some(hint));
            None
        }
    };
    let url = fields.take("url");
    let named = fields.take("credential");
    let credential = named.as_ref().and_then(|field| credential_name(reader, field));
    let environments = patterns(reader, fields.take("environments"));
    let stacks = patterns(reader, fields.take("stacks"));
    let events = fields.take("events").map(|field| transitions(reader, &field));
    if let Some(kind) = kind {
        complete(reader, &fields, kind, url.as_ref(), named.as_ref());
    }
    let url = match (&url, kind) {
        (Some(field), Some(kind)) => match address(reader, field, kind) {
            Some((text, place)) => Some((sealer.seal(text.as_bytes())?, place)),
            None => None,
        },
        _ => None,
    };
    reader.finish(fields);
    let (Some(name), Some(kind)) = (name, kind) else { return Ok(None) };
    let events = events.unwrap_or_else(|| kind.transitions());
    Ok(Some(Body::Notifier(AskedNotifier { name, kind, url, credential, environments, stacks, events })))
}

/// What each type cannot be without.
fn complete(
    reader: &mut Reader,
    fields: &Fields<'_>,
    kind: NotifierType,
    url: Option<&Field<'_>>,
    credential: Option<&Field<'_>>,
) {
    let mut missing = |field: &str, hint: &str| {
        let message = format!("a notifier of type {kind} needs `{field}`");
        reader.refuse(Code::Invalid, fields.at(), field, message, Some(hint));
    };
    match (kind, url, credential) {
        (NotifierType::Slack, None, None) => {
            missing("url", "give the address of the incoming webhook: `url: { fromEnv: … }`")
        }
        (NotifierType::Slack, Some(_), Some(field)) => {
            let message = "both `url` and `credential` hold the address of the incoming webhook".to_owned();
            reader.wrong(field, message, Some("take one of the two away"));
        }
        (NotifierType::Webhook | NotifierType::CloudEvents, None, _) => missing("url", "say where to send"),
        (NotifierType::Webhook, _, None) => {
            missing("credential", "name one of type Opaque: what is sent is signed with its value `secret`");
        }
        (kind, _, None) if kind.is_status() => missing("credential", "name one of type GitToken for the repositories"),
        _ => {}
    }
}

/// The address and what people see of it.
fn address(reader: &mut Reader, field: &Field<'_>, kind: NotifierType) -> Option<(String, String)> {
    let text = reader.value(field)?;
    let text = text.trim();
    // The text itself is not repeated: it may be a secret.
    let refused = |why: &str| format!("`url` is not an address to send to: {why}");
    let parsed = Url::parse(text).ok().filter(|url| url.has_host() && text.len() <= LONGEST);
    let (message, hint) = match &parsed {
        None => (refused("it cannot be read"), "write https://HOST/PATH"),
        Some(url) if !matches!(url.scheme(), "https" | "http") => {
            (refused("it is not https"), "write https://HOST/PATH")
        }
        Some(url) if !url.username().is_empty() || url.password().is_some() => {
            (refused("it holds a name or password"), "keep those in a credential")
        }
        Some(url) if url.fragment().is_some() => (refused("it holds a `#`"), "take it away, and all behind it"),
        Some(url) if !keys::may_carry_secrets(url) && (kind == NotifierType::Slack || kind.is_status()) => {
            (refused("a secret would cross the network in the clear"), "write https://")
        }
        Some(url) => return Some((text.to_owned(), url.origin().ascii_serialization())),
    };
    reader.wrong(field, message, Some(hint));
    None
}

fn patterns(reader: &mut Reader, field: Option<Field<'_>>) -> Vec<String> {
    let Some(field) = field else { return vec!["*".to_owned()] };
    let items = reader.list(&field);
    if items.is_empty() {
        reader.wrong(&field, format!("`{}` names nothing", field.path), Some("leave it out for all of them"));
    }
    let mut found = Vec::new();
    for item in &items {
        let Some(text) = reader.text(item) else { continue };
        match super::super::check::pattern(&text) {
            Ok(()) => found.push(text),
            Err(_) => {
                let message = format!("`{text}` is not a pattern for names, such as `shop` or `shop*`");
                reader.wrong(item, message, None);
            }
        }
    }
    found
}

fn transitions(reader: &mut Reader, field: &Field<'_>) -> Vec<Transition> {
    let items = reader.list(field);
    if items.is_empty() {
        reader.wrong(field, "`events` names nothing".to_owned(), Some("leave it out for what is usual"));
    }
    let mut found: Vec<Transition> = items.iter().filter_map(|it| reader.choice(it, &Transition::ALL)).collect();
    found.sort();
    found.dedup();
    found
}
