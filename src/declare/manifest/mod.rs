//! Manifests: YAML documents of the kinds Stack, Environment, Credential, Hook, Catalog and Notifier, read with positions. Every
//! mistake in a text is reported at once; what this version cannot do yet is refused by name, never dropped.

mod catalog;
mod credential;
mod notifier;
mod order;
mod other;
mod stack;

use std::collections::BTreeMap;

pub use credential::AskedCredential;
pub(in crate::declare) use credential::STACKS_HINT;
pub use notifier::AskedNotifier;

use super::fields::{Field, Fields, Reader};
use super::reference::References;
use super::yaml::{self, Node, Place, Value};
use super::{Code, DeclareError, Limits, Refusal};
use crate::domain::{Catalog, CredentialName, Environment, EnvironmentName, StackKey, StackName, StackSpec};
use crate::ledger::Hook;
use crate::ports::Sealer;

/// A manifest that was read: at least one document.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// In the order of the text.
    pub documents: Vec<Document>,
}

/// One document.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The document as it came in: its text, or, when it holds secrets, its values with `***` in place of them.
    pub original: serde_json::Value,
    /// What it declares.
    pub body: Body,
    place: Option<(Place, Option<String>)>,
}

/// What a document declares.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A stack.
    Stack(StackKey, Box<StackSpec>),
    /// An environment.
    Environment(Environment),
    /// A credential, its values sealed.
    Credential(AskedCredential),
    /// A hook, its secret sealed.
    Hook(Hook),
    /// A catalog.
    Catalog(Catalog),
    /// A notifier, its address sealed.
    Notifier(AskedNotifier),
}

impl Document {
    /// A refusal about a field of this document.
    pub(super) fn refuse(&self, code: Code, field: &str, message: String, hint: Option<String>) -> Refusal {
        let mut refusal = Refusal::new(code, message).field(field);
        refusal.hint = hint;
        if let Some((at, file)) = &self.place {
            (refusal.line, refusal.column, refusal.file) = (Some(at.line), Some(at.column), file.clone());
        }
        refusal
    }
}

impl Manifest {
    /// Reads a text, with the values that came beside it. Secret values are sealed here and kept nowhere in the clear.
    ///
    /// # Errors
    /// [`DeclareError::Refused`] with everything that is wrong, each with line and column.
    pub fn read(
        text: &str,
        file: Option<&str>,
        references: &References,
        sealer: &dyn Sealer,
        limits: &Limits,
    ) -> Result<Self, DeclareError> {
        if text.len() > limits.manifest_bytes {
            let most = limits.manifest_bytes;
            return Err(Refusal::new(Code::TooLarge, format!("the manifest is larger than {most} bytes"))
                .hint("split it, or move inline compose text into a repository")
                .into());
        }
        let pieces = yaml::documents(text);
        if pieces.is_empty() {
            return Err(Refusal::new(Code::Invalid, "the manifest holds no document")
                .hint("begin with `kind: Stack`, `name:` and `source:`")
                .into());
        }
        if pieces.len() > limits.documents {
            let message = format!("the manifest holds {} documents; {} is the most", pieces.len(), limits.documents);
            return Err(Refusal::new(Code::TooLarge, message).hint("apply it in parts").into());
        }
        let references = references.clone();
        let mut reader = Reader { file: file.map(str::to_owned), refusals: Vec::new(), references };
        let mut documents = Vec::new();
        for piece in &pieces {
            match yaml::parse(piece) {
                Ok(node) => documents.extend(Self::document(&mut reader, piece, &node, sealer, limits)?),
                Err(mut refusal) => {
                    refusal.file.clone_from(&reader.file);
                    reader.refusals.push(*refusal);
                }
            }
        }
        twice(&documents, &mut reader);
        if reader.refusals.is_empty() { Ok(Self { documents }) } else { Err(DeclareError::Refused(reader.refusals)) }
    }

    fn document(
        reader: &mut Reader,
        piece: &yaml::Piece<'_>,
        node: &Node,
        sealer: &dyn Sealer,
        limits: &Limits,
    ) -> Result<Option<Document>, DeclareError> {
        let before = reader.refusals.len();
        let Some(mut fields) = reader.map(&Field { path: String::new(), node }) else { return Ok(None) };
        let Some(kind) = fields.take("kind") else {
            let hint = "write `kind: Stack`, `kind: Environment`, `kind: Credential`, `kind: Hook`, `kind: Catalog` or `kind: Notifier`";
            reader.refuse(Code::Invalid, fields.at(), "kind", "the document has no `kind`".to_owned(), Some(hint));
            return Ok(None);
        };
        let kinds = [
            ("Stack", Kind::Stack),
            ("Environment", Kind::Environment),
            ("Credential", Kind::Credential),
            ("Hook", Kind::Hook),
            ("Catalog", Kind::Catalog),
            ("Notifier", Kind::Notifier),
        ];
        let Some(kind) = reader.choice(&kind, &kinds) else { return Ok(None) };
        let place = name_place(node);
        let body = match kind {
            Kind::Stack => stack::read(reader, fields, sealer, limits)?,
            Kind::Environment => other::environment(reader, fields),
            Kind::Credential => credential::read(reader, fields, sealer, limits)?,
            Kind::Hook => other::hook(reader, fields, sealer)?,
            Kind::Catalog => catalog::read(reader, fields),
            Kind::Notifier => notifier::read(reader, fields, sealer)?,
        };
        let Some(body) = body.filter(|_| reader.refusals.len() == before) else { return Ok(None) };
        let original = redacted(node, kind).unwrap_or_else(|| piece.text.trim_end().into());
        Ok(Some(Document { original, body, place: Some((place, reader.file.clone())) }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stack,
    Environment,
    Credential,
    Hook,
    Catalog,
    Notifier,
}

/// Where the document's name stands; its beginning when it has none.
fn name_place(node: &Node) -> Place {
    match &node.value {
        Value::Map(entries) => {
            entries.iter().find(|(key, _)| key.text == "name").map_or(node.at, |(_, value)| value.at)
        }
        _ => node.at,
    }
}

/// The document as values with `***` in place of secrets; `None` when it holds none.
fn redacted(node: &Node, kind: Kind) -> Option<serde_json::Value> {
    let mut json = node.to_json();
    match kind {
        Kind::Environment | Kind::Catalog => None,
        Kind::Hook => {
            *json.get_mut("secret")? = "***".into();
            Some(json)
        }
        Kind::Notifier => {
            *json.get_mut("url")? = "***".into();
            Some(json)
        }
        Kind::Credential => {
            if let Some(data) = json.get_mut("data") {
                *data = "***".into();
            }
            Some(json)
        }
        Kind::Stack => {
            let variables = json.get_mut("variables")?.as_object_mut()?;
            let mut found = false;
            for variable in variables.values_mut() {
                // `secret: false` keeps its value.
                let secret = variable.get("secret").and_then(|secret| secret.as_str());
                if secret.is_some_and(|secret| !secret.eq_ignore_ascii_case("false")) {
                    *variable = serde_json::json!({ "value": "***", "secret": "true" });
                    found = true;
                }
            }
            found.then_some(json)
        }
    }
}

/// Refuses a second document that declares the same thing.
fn twice(documents: &[Document], reader: &mut Reader) {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for document in documents {
        let what = match &document.body {
            Body::Stack(key, _) => format!("stack `{}` in environment `{}`", key.name, key.environment),
            Body::Environment(environment) => format!("environment `{}`", environment.name),
            Body::Credential(credential) => format!("credential `{}`", credential.name),
            Body::Catalog(catalog) => format!("catalog `{}`", catalog.name),
            Body::Hook(hook) => format!("hook `{}`", hook.name),
            Body::Notifier(notifier) => format!("notifier `{}`", notifier.name),
        };
        let line = document.place.as_ref().map_or(0, |(at, _)| at.line);
        if let Some(first) = seen.get(&what) {
            let message = format!("{what} is declared twice, first in line {first}");
            let hint = Some("give one of them another name or environment".to_owned());
            reader.refusals.push(document.refuse(Code::Invalid, "name", message, hint));
        } else {
            seen.insert(what, line);
        }
    }
}

/// The name of a document, as text.
fn name(reader: &mut Reader, fields: &mut Fields<'_>) -> Option<(String, Place)> {
    match fields.take("name") {
        Some(field) => reader.text(&field).map(|text| (text, field.node.at)),
        None => {
            let at = fields.at();
            reader.refuse(Code::Invalid, at, "name", "`name` is missing".to_owned(), Some("every document has one"));
            None
        }
    }
}

fn stack_name(reader: &mut Reader, fields: &mut Fields<'_>) -> Option<StackName> {
    let (text, at) = name(reader, fields)?;
    match StackName::parse(&text) {
        Ok(name) => Some(name),
        Err(error) => {
            reader.refuse(Code::Invalid, at, "name", error.to_string(), None);
            None
        }
    }
}

/// The environment a field names; the default one when it is left out.
fn environment_name(reader: &mut Reader, field: Option<Field<'_>>) -> Option<EnvironmentName> {
    let Some(field) = field else { return Some(EnvironmentName::default()) };
    match EnvironmentName::parse(&reader.text(&field)?) {
        Ok(name) => Some(name),
        Err(error) => {
            reader.wrong(&field, error.to_string(), None);
            None
        }
    }
}

/// The credential a field names.
fn credential_name(reader: &mut Reader, field: &Field<'_>) -> Option<CredentialName> {
    match CredentialName::parse(&reader.text(field)?) {
        Ok(name) => Some(name),
        Err(error) => {
            reader.wrong(field, error.to_string(), None);
            None
        }
    }
}
