//! `kind: Environment` and `kind: Hook`.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::super::fields::{Field, Fields, Reader};
use super::super::{Code, DeclareError, check, rule};
use super::{Body, credential_name, environment_name, name};
use crate::domain::{Environment, EnvironmentName, Relay};
use crate::ledger::{Hook, HookProvider, HookRule, HookSecret};
use crate::ports::Sealer;

/// Characters that the secret of a hook has at least.
const SHORTEST_SECRET: usize = 8;
/// A far Skep may be silent for three times as long as this at most.
const LONGEST_BEAT: SignedDuration = SignedDuration::from_mins(1);

/// Reads an environment; `None` when something was refused.
pub(super) fn environment(reader: &mut Reader, mut fields: Fields<'_>) -> Option<Body> {
    let name = name(reader, &mut fields).and_then(|(text, at)| match EnvironmentName::parse(&text) {
        Ok(name) => Some(name),
        Err(error) => {
            reader.refuse(Code::Invalid, at, "name", error.to_string(), None);
            None
        }
    });
    let relay = fields.take("relay");
    if relay.is_some()
        && let Some(field) = ["endpoints", "tls", "ssh"].into_iter().find_map(|name| fields.take(name))
    {
        let message = format!("`{}` and `relay` exclude each other", field.path);
        reader.wrong(&field, message, Some("an environment is reached at its managers, or through another Skep"));
    }
    if let Some(field) = relay {
        let relay = self::relay(reader, &field);
        reader.finish(fields);
        return Some(Body::Environment(Environment { name: name?, relay: Some(relay?), ..Environment::default() }));
    }
    let mut credential = |field| {
        let field = fields.take(field)?;
        let mut inside = reader.map(&field)?;
        let name = match inside.take("credential") {
            Some(named) => credential_name(reader, &named),
            None => {
                let message = format!("`{}` names no credential", field.path);
                reader.wrong(&field, message, Some("write `{ credential: NAME }`"));
                None
            }
        };
        reader.finish(inside);
        name
    };
    let (tls, ssh) = (credential("tls"), credential("ssh"));
    let mut endpoints = Vec::new();
    match fields.take("endpoints") {
        Some(field) => {
            let items = reader.list(&field);
            if items.is_empty() {
                reader.wrong(&field, "`endpoints` names no engine".to_owned(), Some("name at least one manager"));
            }
            endpoints.extend(items.iter().filter_map(|item| endpoint(reader, item)));
        }
        None => {
            let hint = "add for example `endpoints: [unix:///var/run/docker.sock]`";
            reader.refuse(Code::Invalid, fields.at(), "endpoints", "`endpoints` is missing".to_owned(), Some(hint));
        }
    }
    reader.finish(fields);
    Some(Body::Environment(Environment { name: name?, endpoints, tls, ssh, relay: None }))
}

/// `relay:`: another Skep that keeps the environment.
fn relay(reader: &mut Reader, field: &Field<'_>) -> Option<Relay> {
    let mut fields = reader.map(field)?;
    let path = fields.path("url");
    let hint = "write for example `https://skep.example.org`";
    let url = match fields.take("url") {
        Some(field) => reader.text(&field).and_then(|text| match check::skep_address(&text) {
            Ok(url) => Some(url),
            Err(message) => {
                reader.wrong(&field, message, Some(hint));
                None
            }
        }),
        None => {
            reader.refuse(Code::Invalid, fields.at(), &path, format!("`{path}` is missing"), Some(hint));
            None
        }
    };
    let credential = match fields.take("credential") {
        Some(field) => credential_name(reader, &field),
        None => {
            let path = fields.path("credential");
            let hint = "name a credential of type SkepToken, with a token made there: `skep token create`";
            reader.refuse(Code::Invalid, fields.at(), &path, format!("`{path}` is missing"), Some(hint));
            None
        }
    };
    let environment = fields.take("environment");
    let environment = environment_name(reader, environment);
    let beat = fields.take("beat").map_or(Some(Relay::BEAT), |field| {
        let beat = reader.duration(&field, SignedDuration::from_secs(1))?;
        if beat > LONGEST_BEAT {
            reader.wrong(&field, format!("`{}` is longer than a minute", field.path), Some("leave it at 5s"));
            return None;
        }
        Some(beat)
    });
    reader.finish(fields);
    Some(Relay { url: url?, credential: credential?, environment: environment?, beat: beat? })
}

fn endpoint(reader: &mut Reader, field: &Field<'_>) -> Option<String> {
    let text = reader.text(field)?;
    let clean = !text.chars().any(|c| c.is_whitespace() || c.is_control());
    match text.split_once("://") {
        Some(("unix", path)) if clean && path.starts_with('/') => Some(text),
        Some(("tcp", address)) if clean && check::host_and_port(address) => Some(text),
        Some(("ssh", address)) if clean && check::ssh_address(address) => Some(text),
        _ => {
            let message = format!("`{text}` is not an engine's address");
            reader.wrong(
                field,
                message,
                Some("write unix:///path/to/docker.sock, tcp://host:port or ssh://user@host:port"),
            );
            None
        }
    }
}

/// Reads a hook; `None` when something was refused.
pub(super) fn hook(
    reader: &mut Reader,
    mut fields: Fields<'_>,
    sealer: &dyn Sealer,
) -> Result<Option<Body>, DeclareError> {
    let name = name(reader, &mut fields).and_then(|(text, at)| match check::hook_name(&text) {
        Ok(()) => Some(text),
        Err(message) => {
            reader.refuse(Code::Invalid, at, "name", message, None);
            None
        }
    });
    let provider = provider(reader, &mut fields);
    let unsigned = fields.take("unsigned").and_then(|field| Some((reader.boolean(&field)?, field)));
    let secret = match (fields.take("secret"), unsigned) {
        (Some(_), Some((true, field))) => {
            reader.wrong(&field, "the hook has a secret and is unsigned".to_owned(), Some("take one of the two away"));
            None
        }
        (Some(field), _) => secret(reader, &field, sealer)?,
        (None, Some((true, _))) => Some(HookSecret::Unsigned { unsigned: true }),
        (None, _) => {
            let hint =
                "add `secret: { credential: … }` or `secret: { value: … }`, the same text as on the sender's side";
            reader.refuse(Code::Invalid, fields.at(), "secret", "`secret` is missing".to_owned(), Some(hint));
            None
        }
    };
    let rules = match fields.take("rules") {
        Some(field) => reader.list(&field).iter().filter_map(|item| hook_rule(reader, item)).collect(),
        None => Vec::new(),
    };
    if rules.is_empty() {
        let hint = "add for example `rules: [{ stacks: [shop], set: { ref: after } }]`";
        reader.refuse(Code::Invalid, fields.at(), "rules", "the hook has no rule that holds".to_owned(), Some(hint));
    }
    reader.finish(fields);
    let (Some(name), Some(provider), Some(secret)) = (name, provider, secret) else { return Ok(None) };
    Ok(Some(Body::Hook(Hook { name, provider, secret, rules })))
}

fn provider(reader: &mut Reader, fields: &mut Fields<'_>) -> Option<HookProvider> {
    let Some(field) = fields.take("provider") else {
        let hint = "write `provider: GitHub` or `provider: Generic`";
        reader.refuse(Code::Invalid, fields.at(), "provider", "`provider` is missing".to_owned(), Some(hint));
        return None;
    };
    let words = [
        ("GitHub", HookProvider::GitHub),
        ("GitLab", HookProvider::GitLab),
        ("Gitea", HookProvider::Gitea),
        ("Bitbucket", HookProvider::Bitbucket),
        ("Registry", HookProvider::Registry),
        ("DockerHub", HookProvider::DockerHub),
        ("CloudEvents", HookProvider::CloudEvents),
        ("Generic", HookProvider::Generic),
    ];
    reader.choice(&field, &words)
}

fn secret(reader: &mut Reader, field: &Field<'_>, sealer: &dyn Sealer) -> Result<Option<HookSecret>, DeclareError> {
    let Some(mut fields) = reader.map(field) else { return Ok(None) };
    if let Some(named) = fields.take("credential") {
        let name = credential_name(reader, &named);
        reader.finish(fields);
        return Ok(name.map(|credential| HookSecret::Credential { credential }));
    }
    let Some(text) = reader.value_in(&mut fields, field) else { return Ok(None) };
    reader.finish(fields);
    let text = text.trim_end_matches(['\r', '\n']);
    if text.len() < SHORTEST_SECRET {
        let message = format!("the secret has less than {SHORTEST_SECRET} characters");
        reader.wrong(field, message, Some("take a random one"));
        return Ok(None);
    }
    Ok(Some(HookSecret::Value(sealer.seal(text.as_bytes())?)))
}

fn hook_rule(reader: &mut Reader, field: &Field<'_>) -> Option<HookRule> {
    let mut fields = reader.map(field)?;
    let before = reader.refusals.len();
    let when = fields.take("when").and_then(|field| {
        let text = reader.text(&field)?;
        rule::Expression::parse(&text).map_err(|message| reader.wrong(&field, message, None)).ok()?;
        Some(text)
    });
    let (stacks, catalogs) = (fields.take("stacks"), fields.take("catalogs"));
    if stacks.is_none() && catalogs.is_none() {
        let path = fields.path("stacks");
        let hint = "name the stacks, or `catalogs` to be looked at";
        reader.refuse(Code::Invalid, fields.at(), &path, format!("`{path}` is missing"), Some(hint));
    }
    let stacks = stacks.map(|field| patterns(reader, &field)).unwrap_or_default();
    let catalogs = catalogs.map(|field| patterns(reader, &field)).unwrap_or_default();
    let environment = fields.take("environment");
    let environment = environment_name(reader, environment);
    let set = fields.take("set").map(|field| mapping(reader, &field)).unwrap_or_default();
    reader.finish(fields);
    let whole = reader.refusals.len() == before;
    environment.filter(|_| whole).map(|environment| HookRule { when, stacks, catalogs, environment, set })
}

/// `set:`: what is set, and the expression over the payload that gives it.
fn mapping(reader: &mut Reader, field: &Field<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let Some(mut fields) = reader.map(field) else { return found };
    for (key, field) in fields.rest() {
        if key.text != "ref" && key.text.strip_prefix("images.").is_none_or(str::is_empty) {
            let message = format!("`{}` cannot be set by a hook", key.text);
            reader.refuse(Code::Invalid, key.at, &field.path, message, Some("set `ref` or `images.SERVICE`"));
            continue;
        }
        let Some(text) = reader.text(&field) else { continue };
        match rule::Expression::parse(&text) {
            Ok(_) => {
                found.insert(key.text.clone(), text);
            }
            Err(message) => reader.wrong(&field, message, None),
        }
    }
    found
}

/// Patterns of names.
pub(super) fn patterns(reader: &mut Reader, field: &Field<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for item in reader.list(field) {
        let Some(text) = reader.text(&item) else { continue };
        match check::pattern(&text) {
            Ok(()) => found.push(text),
            Err(message) => reader.wrong(&item, message, None),
        }
    }
    found
}
