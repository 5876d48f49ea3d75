//! `kind: Stack`.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::super::fields::{Field, Fields, Reader};
use super::super::yaml::Value;
use super::super::{Code, DeclareError, Limits, check};
use super::{Body, credential_name, environment_name, order, stack_name};
use crate::domain::{
    Compat, CredentialName, DriftPolicy, FollowRule, FollowedImage, GitSource, GitUrl, ImageWish, ImagesPolicy, Mode,
    OnFailure, Policy, ServiceField, Source, StackKey, StackSpec, UnsetVariables, Variable, Wanted,
};
use crate::ports::Sealer;

/// The compose file that is read when none is named.
const COMPOSE: &str = "docker-stack.yml";
/// How often refs are listed when nothing is said.
const POLL: SignedDuration = SignedDuration::from_mins(1);

/// How often a registry is asked about an image that is followed, when nothing is said.
const IMAGE_POLL: SignedDuration = SignedDuration::from_mins(5);

/// Reads a stack; `None` when something was refused.
pub(super) fn read(
    reader: &mut Reader,
    mut fields: Fields<'_>,
    sealer: &dyn Sealer,
    limits: &Limits,
) -> Result<Option<Body>, DeclareError> {
    let name = stack_name(reader, &mut fields);
    let environment = fields.take("environment");
    let environment = environment_name(reader, environment);
    let source = source(reader, &mut fields, limits);
    let compose = compose(reader, &mut fields, source.as_ref());
    let compats = [("strict", Compat::Strict), ("cli", Compat::Cli)];
    let compat = fields.take("compat").map_or(Some(Compat::default()), |field| reader.choice(&field, &compats));
    let variables = match fields.take("variables") {
        Some(field) => variables(reader, &field, sealer, limits)?,
        None => BTreeMap::new(),
    };
    let images = fields.take("images").map(|field| images(reader, &field)).unwrap_or_default();
    let decryption = fields.take("decryption").and_then(|field| decryption(reader, &field));
    let depends_on = fields.take("dependsOn").map(|field| order::dependencies(reader, &field, environment.as_ref()));
    let policy = fields.take("policy").map_or_else(|| Some(Policy::default()), |field| policy(reader, &field));
    reader.finish(fields);
    let parts = (name, environment, source, compat, policy);
    let (Some(name), Some(environment), Some(source), Some(compat), Some(policy)) = parts else { return Ok(None) };
    let depends_on = depends_on.unwrap_or_default();
    let spec = StackSpec { source, compose, compat, variables, images, decryption, depends_on, policy };
    Ok(Some(Body::Stack(StackKey { environment, name }, Box::new(spec))))
}

fn source(reader: &mut Reader, fields: &mut Fields<'_>, limits: &Limits) -> Option<Source> {
    let inline = fields.take("inline");
    match (fields.take("source"), inline) {
        (Some(source), None) => git(reader, &source).map(Source::Git),
        (None, Some(inline)) => {
            let text = reader.text(&inline)?;
            if text.trim().is_empty() {
                reader.wrong(&inline, "`inline` holds no compose text".to_owned(), None);
                return None;
            }
            if text.len() > limits.inline_bytes {
                let message = format!("`inline` is larger than {} bytes", limits.inline_bytes);
                let hint = "keep the compose file in a git repository and name it with `source`";
                reader.refuse(Code::TooLarge, inline.node.at, &inline.path, message, Some(hint));
                return None;
            }
            Some(Source::Inline(text))
        }
        (Some(_), Some(inline)) => {
            let message = "`source` and `inline` exclude each other".to_owned();
            reader.wrong(&inline, message, Some("keep the one that holds the compose text"));
            None
        }
        (None, None) => {
            let message = "the stack has no `source`".to_owned();
            let hint = "add `source: { git: …, ref: … }`, or compose text as `inline: |`";
            reader.refuse(Code::Invalid, fields.at(), "source", message, Some(hint));
            None
        }
    }
}

/// Reads a place in a git repository.
pub(super) fn git(reader: &mut Reader, field: &Field<'_>) -> Option<GitSource> {
    let mut fields = reader.map(field)?;
    let url = required(reader, &mut fields, "git", "the address of the repository").and_then(|field| {
        let text = reader.text(&field)?;
        GitUrl::parse(&text).map_err(|error| reader.wrong(&field, error.to_string(), None)).ok()
    });
    let wanted =
        required(reader, &mut fields, "ref", "a branch, a tag, a commit, or a range over tags").and_then(|field| {
            let text = reader.text(&field)?;
            check::wanted(&text).map_err(|message| reader.wrong(&field, message, None)).ok()
        });
    let path = match fields.take("path") {
        None => Some(String::new()),
        Some(field) => {
            let text = reader.text(&field)?;
            check::folder(&text).map_err(|message| reader.wrong(&field, message, None)).ok()
        }
    };
    let credential = fields.take("credential").and_then(|field| {
        let scheme = url.as_ref().map_or("https", GitUrl::scheme);
        if !matches!(scheme, "https" | "ssh") {
            let message = format!("a credential is not used over {scheme}://");
            reader.wrong(
                &field,
                message,
                Some("write the address with https:// or ssh://, or leave the credential out"),
            );
        }
        credential_name(reader, &field)
    });
    let least = SignedDuration::from_secs(1);
    let poll = fields.take("poll").map_or(Some(POLL), |field| reader.duration(&field, least));
    reader.finish(fields);
    Some(GitSource { url: url?, wanted: Wanted(wanted?), path: path?, credential, poll: poll? })
}

/// Which credential opens what is encrypted in the repository.
fn decryption(reader: &mut Reader, field: &Field<'_>) -> Option<CredentialName> {
    let mut fields = reader.map(field)?;
    let credential = required(reader, &mut fields, "credential", "the credential of type Age that opens the files");
    let credential = credential.and_then(|field| credential_name(reader, &field));
    reader.finish(fields);
    credential
}

fn required<'n>(reader: &mut Reader, fields: &mut Fields<'n>, name: &'static str, what: &str) -> Option<Field<'n>> {
    let found = fields.take(name);
    if found.is_none() {
        let path = fields.path(name);
        let message = format!("`{path}` is missing: {what}");
        reader.refuse(Code::Invalid, fields.at(), &path, message, None);
    }
    found
}

fn compose(reader: &mut Reader, fields: &mut Fields<'_>, source: Option<&Source>) -> Vec<String> {
    let inline = matches!(source, Some(Source::Inline(_)));
    let Some(field) = fields.take("compose") else {
        return if inline { Vec::new() } else { vec![COMPOSE.to_owned()] };
    };
    if inline {
        let message = "`compose` has no meaning beside `inline`".to_owned();
        reader.wrong(&field, message, Some("remove it: the inline text is the compose file"));
        return Vec::new();
    }
    let items = reader.list(&field);
    if items.is_empty() && matches!(field.node.value, Value::List(_)) {
        reader.wrong(&field, "`compose` names no file".to_owned(), Some("name at least one, or leave it out"));
    }
    let mut files = Vec::new();
    for item in items {
        let Some(text) = reader.text(&item) else { continue };
        match check::file(&text) {
            Ok(file) => files.push(file),
            Err(message) => reader.wrong(&item, message, None),
        }
    }
    files
}

fn variables(
    reader: &mut Reader,
    field: &Field<'_>,
    sealer: &dyn Sealer,
    limits: &Limits,
) -> Result<BTreeMap<String, Variable>, DeclareError> {
    let mut found = BTreeMap::new();
    let Some(mut fields) = reader.map(field) else { return Ok(found) };
    for (key, field) in fields.rest() {
        if let Err(message) = check::variable(&key.text) {
            reader.refuse(Code::Invalid, key.at, &field.path, message, None);
            continue;
        }
        let Some((text, secret)) = variable(reader, &field) else { continue };
        if text.len() > limits.value_bytes {
            let message = format!("the value of `{}` is larger than {} bytes", key.text, limits.value_bytes);
            reader.refuse(Code::TooLarge, field.node.at, &field.path, message, None);
            continue;
        }
        let value = if secret { Variable::Secret(sealer.seal(text.as_bytes())?) } else { Variable::Plain(text) };
        found.insert(key.text.clone(), value);
    }
    Ok(found)
}

/// A variable's value, and whether it is secret.
fn variable(reader: &mut Reader, field: &Field<'_>) -> Option<(String, bool)> {
    if !matches!(field.node.value, Value::Map(_)) {
        return reader.text(field).map(|text| (text, false));
    }
    let mut fields = reader.map(field)?;
    let value = reader.value_in(&mut fields, field);
    let secret = fields.take("secret").map_or(Some(false), |field| reader.boolean(&field));
    reader.finish(fields);
    Some((value?, secret?))
}

fn images(reader: &mut Reader, field: &Field<'_>) -> BTreeMap<String, ImageWish> {
    let mut found = BTreeMap::new();
    let Some(mut fields) = reader.map(field) else { return found };
    for (key, field) in fields.rest() {
        if matches!(field.node.value, Value::Map(_)) {
            let followed = followed(reader, &field);
            match check::service(&key.text) {
                Ok(()) => found.extend(followed.map(|it| (key.text.clone(), ImageWish::Followed(it)))),
                Err(message) => reader.wrong(&field, message, None),
            }
            continue;
        }
        let Some(text) = reader.text(&field) else { continue };
        match check::service(&key.text).and_then(|()| check::image(&text)) {
            Ok(()) => {
                found.insert(key.text.clone(), ImageWish::Named(text));
            }
            Err(message) => reader.wrong(&field, message, None),
        }
    }
    found
}

/// The rule by which an image is followed.
fn followed(reader: &mut Reader, field: &Field<'_>) -> Option<FollowedImage> {
    let mut fields = reader.map(field)?;
    let mut rules: Vec<(Field<'_>, FollowRule)> = Vec::new();
    let mut named = 0;
    let makers: [fn(String) -> FollowRule; 3] = [FollowRule::Semver, FollowRule::Digest, FollowRule::Pattern];
    for (word, make) in ["semver", "digest", "pattern"].into_iter().zip(makers) {
        let Some(rule) = fields.take(word) else { continue };
        named += 1;
        rules.extend(reader.text(&rule).map(|text| (rule, make(text))));
    }
    if named != 1 {
        let message = format!("`{}` has to say one of `semver`, `digest` and `pattern`", field.path);
        reader.wrong(field, message, Some("write for example `{ semver: \"~1.4\" }`, or a tag alone"));
    }
    let least = SignedDuration::from_secs(1);
    let poll = fields.take("poll").map_or(Some(IMAGE_POLL), |field| reader.duration(&field, least));
    reader.finish(fields);
    let (place, rule) = rules.pop().filter(|_| named == 1)?;
    if let Err(message) = rule.check() {
        reader.wrong(&place, message, None);
        return None;
    }
    Some(FollowedImage { rule, poll: poll? })
}

fn policy(reader: &mut Reader, field: &Field<'_>) -> Option<Policy> {
    let mut fields = reader.map(field)?;
    let before = reader.refusals.len();
    let mut policy = Policy::default();
    mode(reader, &mut fields, &mut policy);
    let failures = [("rollback", OnFailure::Rollback), ("hold", OnFailure::Hold)];
    set(reader, &mut fields, "onFailure", &mut policy.on_failure, |r, f| r.choice(f, &failures));
    set(reader, &mut fields, "irreversible", &mut policy.irreversible, Reader::boolean);
    let second = SignedDuration::from_secs(1);
    set(reader, &mut fields, "progressDeadline", &mut policy.progress_deadline, |r, f| r.duration(f, second));
    set(reader, &mut fields, "totalDeadline", &mut policy.total_deadline, |r, f| r.duration(f, second));
    set(reader, &mut fields, "monitor", &mut policy.monitor, |r, f| r.duration(f, SignedDuration::ZERO));
    set(reader, &mut fields, "bake", &mut policy.bake, |r, f| r.duration(f, SignedDuration::ZERO));
    let drifts = [("correct", DriftPolicy::Correct), ("report", DriftPolicy::Report)];
    set(reader, &mut fields, "drift", &mut policy.drift, |r, f| r.choice(f, &drifts));
    set(reader, &mut fields, "prune", &mut policy.prune, Reader::boolean);
    let images = [("changed", ImagesPolicy::Changed), ("always", ImagesPolicy::Always), ("never", ImagesPolicy::Never)];
    set(reader, &mut fields, "images", &mut policy.images, |r, f| r.choice(f, &images));
    let unset = [("error", UnsetVariables::Error), ("empty", UnsetVariables::Empty)];
    set(reader, &mut fields, "unsetVariables", &mut policy.unset_variables, |r, f| r.choice(f, &unset));
    set(reader, &mut fields, "ignore", &mut policy.ignore, service_fields);
    set(reader, &mut fields, "report", &mut policy.report, service_fields);
    set(reader, &mut fields, "allowRecreate", &mut policy.allow_recreate, Reader::boolean);
    set(reader, &mut fields, "schedule", &mut policy.schedule, order::schedule);
    reader.finish(fields);
    if reader.refusals.len() == before
        && let Err(message) = check::deadlines(&policy)
    {
        reader.wrong(field, message, Some("raise policy.totalDeadline, or lower the other"));
    }
    Some(policy)
}

/// Fields of services; what is none is told.
fn service_fields(reader: &mut Reader, field: &Field<'_>) -> Option<Vec<ServiceField>> {
    let mut found = Vec::new();
    for item in reader.list(field) {
        let Some(text) = reader.text(&item) else { continue };
        match ServiceField::parse(&text) {
            Ok(one) => found.push(one),
            Err(message) => reader.wrong(&item, message, None),
        }
    }
    Some(found)
}

fn set<T>(
    reader: &mut Reader,
    fields: &mut Fields<'_>,
    name: &'static str,
    slot: &mut T,
    read: impl FnOnce(&mut Reader, &Field<'_>) -> Option<T>,
) {
    if let Some(value) = fields.take(name).and_then(|field| read(reader, &field)) {
        *slot = value;
    }
}

fn mode(reader: &mut Reader, fields: &mut Fields<'_>, policy: &mut Policy) {
    let Some(field) = fields.take("mode") else { return };
    let words = [("auto", Mode::Auto), ("observe", Mode::Observe), ("approve", Mode::Approve)];
    if let Some(mode) = reader.choice(&field, &words) {
        policy.mode = mode;
    }
}
