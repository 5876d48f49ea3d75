//! `kind: Credential`.

use std::collections::BTreeMap;

use super::super::fields::{Field, Fields, Reader};
use super::super::{Code, DeclareError, Limits, check};
use super::{Body, name};
use crate::domain::{CredentialHost, CredentialName, CredentialType, Sealed, SecretBytes};
use crate::keys;
use crate::ports::Sealer;

/// How a stack is named in `stacks` of a credential.
pub(in crate::declare) const STACKS_HINT: &str =
    "write names such as `shop`, `shop-*`, or with the environment `prod/shop`";

/// A credential as a manifest asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct AskedCredential {
    /// Its name.
    pub name: CredentialName,
    /// What it is for.
    pub kind: CredentialType,
    /// Where it may go.
    pub hosts: Vec<CredentialHost>,
    /// Stacks that it may go into.
    pub stacks: Vec<String>,
    /// The values the manifest gives, sealed.
    pub data: BTreeMap<String, Sealed>,
}

/// Reads a credential; `None` when something was refused. Whether its values fit together is seen when they stand beside
/// those that are kept already.
pub(super) fn read(
    reader: &mut Reader,
    mut fields: Fields<'_>,
    sealer: &dyn Sealer,
    limits: &Limits,
) -> Result<Option<Body>, DeclareError> {
    let name = name(reader, &mut fields).and_then(|(text, at)| match CredentialName::parse(&text) {
        Ok(name) => Some(name),
        Err(error) => {
            reader.refuse(Code::Invalid, at, "name", error.to_string(), None);
            None
        }
    });
    let kind = match fields.take("type") {
        Some(field) => reader.choice(&field, &CredentialType::ALL),
        None => {
            let hint = "write for example `type: GitToken`";
            reader.refuse(Code::Invalid, fields.at(), "type", "`type` is missing".to_owned(), Some(hint));
            None
        }
    };
    let mut hosts = Vec::new();
    if let Some(field) = fields.take("hosts") {
        for item in reader.list(&field) {
            let Some(text) = reader.text(&item) else { continue };
            match CredentialHost::parse(&text) {
                Ok(host) => hosts.push(host),
                Err(message) => reader.wrong(&item, message, Some("name hosts, without scheme and path")),
            }
        }
    }
    let mut stacks = Vec::new();
    if let Some(field) = fields.take("stacks") {
        for item in reader.list(&field) {
            let Some(text) = reader.text(&item) else { continue };
            match check::stacks(&text) {
                Ok(()) => stacks.push(text),
                Err(message) => reader.wrong(&item, message, Some(STACKS_HINT)),
            }
        }
    }
    let data = match (fields.take("data"), kind) {
        (Some(field), Some(kind)) => data(reader, &field, kind, sealer, limits)?,
        _ => BTreeMap::new(),
    };
    reader.finish(fields);
    let (Some(name), Some(kind)) = (name, kind) else { return Ok(None) };
    Ok(Some(Body::Credential(AskedCredential { name, kind, hosts, stacks, data })))
}

fn data(
    reader: &mut Reader,
    field: &Field<'_>,
    kind: CredentialType,
    sealer: &dyn Sealer,
    limits: &Limits,
) -> Result<BTreeMap<String, Sealed>, DeclareError> {
    let mut found = BTreeMap::new();
    let Some(mut fields) = reader.map(field) else { return Ok(found) };
    for (key, field) in fields.rest() {
        if let Some(wrong) = keys::unknown(kind, &key.text) {
            reader.refuse(Code::Invalid, key.at, &field.path, wrong.message, wrong.hint.as_deref());
            continue;
        }
        let Some(text) = reader.value(&field) else { continue };
        if text.len() > limits.value_bytes {
            let message = format!("the value of `{}` is larger than {} bytes", key.text, limits.value_bytes);
            reader.refuse(Code::TooLarge, field.node.at, &field.path, message, None);
            continue;
        }
        let value = keys::tidy(kind, &key.text, SecretBytes::new(text.into_bytes()));
        found.insert(key.text.clone(), sealer.seal(value.expose())?);
    }
    Ok(found)
}
