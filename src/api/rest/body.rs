//! Bodies: a manifest document as JSON, and what is to be deployed.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use serde_json::{Map, Value};

use super::call::invalid;
use super::problem::{INVALID, Problem};
use crate::declare::{Code, DeclareError, DeployRequest, Refusal, VariableValue};
use crate::domain::{EnvironmentName, SecretBytes, StackName};

/// A document of kind Stack, as text for the reader of manifests: JSON is YAML, so that what is refused there has its
/// place in the body that was sent.
pub(super) struct ManifestBody {
    pub(super) text: String,
    /// What was put in behind the first brace for what the body leaves out: after this line and column, so many.
    put_in: (u64, u64, u64),
}

impl ManifestBody {
    /// Reads a body. The kind may be left out, and so may what the address says.
    pub(super) fn read(
        body: &[u8],
        name: Option<&StackName>,
        environment: Option<&EnvironmentName>,
    ) -> Result<Self, Problem> {
        let (text, map) = object(body)?;
        let mut missing = String::new();
        let wanted = [
            ("kind", Some("Stack")),
            ("name", name.map(StackName::as_str)),
            ("environment", environment.map(EnvironmentName::as_str)),
        ];
        for (field, wanted) in wanted {
            let Some(wanted) = wanted else { continue };
            match map.get(field) {
                None => missing.push_str(&format!("\"{field}\": \"{wanted}\", ")),
                Some(Value::String(said)) if said == wanted => {}
                Some(_) if field == "kind" => {
                    return Err(invalid("kind", "this address takes a document of kind Stack"));
                }
                Some(_) => {
                    let message = format!("the body's `{field}` is not `{wanted}`, which the address says");
                    return Err(invalid(field, message).hint("leave it out of one of them"));
                }
            }
        }
        let text = one_character_each(text);
        let brace = text.find('{').unwrap_or_default();
        let (head, tail) = text.split_at(brace + 1);
        let line = head.matches('\n').count();
        let column = head.rsplit('\n').next().map_or(0, |last| last.chars().count());
        let place = (line + 1, column, missing.len());
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Ok(Self { text: format!("{head}{missing}{tail}"), put_in: (number(place.0), number(place.1), number(place.2)) })
    }

    /// The refusals with their places in the body as it was sent.
    pub(super) fn placed(&self, error: DeclareError) -> DeclareError {
        let DeclareError::Refused(mut refusals) = error else { return error };
        let (line, column, length) = self.put_in;
        for refusal in refusals.iter_mut().filter(|refusal| refusal.line == Some(line)) {
            match refusal.column {
                Some(at) if at > column + length => refusal.column = Some(at - length),
                Some(at) if at > column => (refusal.line, refusal.column) = (None, None),
                _ => {}
            }
        }
        DeclareError::Refused(refusals)
    }
}

/// A body that is a JSON object.
fn object(body: &[u8]) -> Result<(&str, Map<String, Value>), Problem> {
    // What the parser says may quote the body; its position helps more.
    let broken = |line: usize, column: usize| {
        Problem::new(StatusCode::BAD_REQUEST, INVALID, "the body is not JSON").at(line, column)
    };
    let text = std::str::from_utf8(body).map_err(|_| broken(1, 1).hint("send it as UTF-8"))?;
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok((text, map)),
        Ok(_) => Err(Problem::new(StatusCode::BAD_REQUEST, INVALID, "the body is not a JSON object").at(1, 1)),
        Err(error) => Err(broken(error.line(), error.column())),
    }
}

/// JSON writes a character beyond the basic plane as two escapes, which YAML does not know: put together here.
fn one_character_each(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let unit =
            |from: usize| rest.get(from..from + 6)?.strip_prefix("\\u").and_then(|it| u16::from_str_radix(it, 16).ok());
        let pair = unit(0).zip(unit(6)).and_then(|(high, low)| char::decode_utf16([high, low]).next()?.ok());
        let (length, character) = match pair {
            Some(character) if character > '\u{ffff}' => (12, Some(character)),
            _ => (rest.chars().take(2).map(char::len_utf8).sum(), None),
        };
        match character {
            Some(character) => out.push(character),
            None => out.push_str(&rest[..length]),
        }
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

/// What is to be deployed, and on which conditions.
#[derive(Default)]
pub(super) struct DeployBody {
    pub(super) request: DeployRequest,
    pub(super) reason: Option<String>,
    pub(super) expected_generation: Option<u64>,
}

impl DeployBody {
    /// Reads a body; everything that is wrong with it is said at once. Values are never repeated: they may be secret.
    pub(super) fn read(body: &[u8]) -> Result<Self, Problem> {
        let (_, map) = object(body)?;
        let mut reader = Reader { map, refusals: Vec::new() };
        let (wanted, commit) = (reader.text("ref"), reader.text("commit"));
        let wanted = reader.version(wanted, commit);
        let request = DeployRequest { wanted, images: reader.images(), variables: reader.variables() };
        let (reason, expected_generation) = (reader.text("reason"), reader.number("expectedGeneration"));
        reader.finish()?;
        Ok(Self { request, reason, expected_generation })
    }
}

/// Takes fields out of an object, and notes what is wrong with them.
struct Reader {
    map: Map<String, Value>,
    refusals: Vec<Refusal>,
}

impl Reader {
    fn refuse(&mut self, field: &str, message: String) {
        self.refusals.push(Refusal::new(Code::Invalid, message).field(field));
    }

    /// A field that is there and not null.
    fn take(&mut self, field: &str) -> Option<Value> {
        self.map.shift_remove(field).filter(|value| !value.is_null())
    }

    fn text(&mut self, field: &str) -> Option<String> {
        match self.take(field)? {
            Value::String(text) => Some(text),
            _ => {
                self.refuse(field, format!("`{field}` must be text"));
                None
            }
        }
    }

    fn number(&mut self, field: &str) -> Option<u64> {
        let value = self.take(field)?;
        let number = value.as_u64();
        if number.is_none() {
            self.refuse(field, format!("`{field}` must be a whole number from 0 on"));
        }
        number
    }

    fn object(&mut self, field: &str, hint: &str) -> Map<String, Value> {
        match self.take(field) {
            None => Map::new(),
            Some(Value::Object(map)) => map,
            Some(_) => {
                self.refuse(field, format!("`{field}` must be an object, such as {hint}"));
                Map::new()
            }
        }
    }

    /// `commit` is a `ref` that can be nothing else.
    fn version(&mut self, wanted: Option<String>, commit: Option<String>) -> Option<String> {
        let Some(commit) = commit else { return wanted };
        if wanted.is_some() {
            self.refuse("commit", "`commit` and `ref` exclude each other".to_owned());
        } else if !(7..=40).contains(&commit.len()) || !commit.bytes().all(|c| c.is_ascii_hexdigit()) {
            self.refuse("commit", "`commit` is not a commit: it has 7 to 40 hex digits".to_owned());
        }
        Some(commit)
    }

    fn images(&mut self) -> BTreeMap<String, String> {
        let mut images = BTreeMap::new();
        for (service, version) in self.object("images", "{\"web\": \"1.4.2\"}") {
            match version {
                Value::String(version) => {
                    images.insert(service, version);
                }
                _ => self.refuse(&format!("images.{service}"), "a version is text: a tag or a digest".to_owned()),
            }
        }
        images
    }

    fn variables(&mut self) -> BTreeMap<String, VariableValue> {
        let mut variables = BTreeMap::new();
        for (name, given) in self.object("variables", "{\"DOMAIN\": \"shop.example.org\"}") {
            match variable(given) {
                Some(value) => {
                    variables.insert(name, value);
                }
                None => {
                    let message = "a variable is text, or {\"value\": text, \"secret\": true}".to_owned();
                    self.refuse(&format!("variables.{name}"), message);
                }
            }
        }
        variables
    }

    /// Refuses what nobody asked for, and all that was wrong.
    fn finish(mut self) -> Result<(), Problem> {
        let unknown: Vec<String> = self.map.keys().cloned().collect();
        for field in unknown {
            let hint = "known here: ref, commit, images, variables, reason, expectedGeneration";
            let refusal = Refusal::new(Code::Invalid, format!("unknown field `{field}`"));
            self.refusals.push(refusal.field(field).hint(hint));
        }
        if self.refusals.is_empty() { Ok(()) } else { Err(DeclareError::Refused(self.refusals).into()) }
    }
}

fn variable(given: Value) -> Option<VariableValue> {
    let value = |text: String, secret| Some(VariableValue { value: SecretBytes::new(text.into_bytes()), secret });
    let mut map = match given {
        Value::String(text) => return value(text, false),
        Value::Object(map) => map,
        _ => return None,
    };
    let secret = match map.shift_remove("secret") {
        None => false,
        Some(Value::Bool(secret)) => secret,
        Some(_) => return None,
    };
    match map.shift_remove("value") {
        Some(Value::String(text)) if map.is_empty() => value(text, secret),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_escapes_become_one_character_and_others_stay() {
        for (text, expected) in [
            (r#"{"a": "\ud83d\ude00!"}"#, "{\"a\": \"\u{1f600}!\"}"),
            (r#""\\ud83d\\ude00""#, r#""\\ud83d\\ude00""#),
            (r#""\u00e9\n\"ö\\""#, r#""\u00e9\n\"ö\\""#),
            (r#""\\\ud83d\ude00""#, "\"\\\\\u{1f600}\""),
        ] {
            assert_eq!(one_character_each(text), expected);
        }
    }

    #[test]
    fn what_was_put_in_moves_no_place() {
        let body = ManifestBody::read(b"\n  {\"a\": 1}", None, None).unwrap();
        assert_eq!(body.text, "\n  {\"kind\": \"Stack\", \"a\": 1}");
        let refused = |line, column| {
            let refusal = Refusal { line: Some(line), column: Some(column), ..Refusal::new(Code::Invalid, "x") };
            let error = body.placed(refusal.into());
            (error.refusals()[0].line, error.refusals()[0].column)
        };
        assert_eq!(refused(2, 3), (Some(2), Some(3)));
        assert_eq!(refused(2, 21), (Some(2), Some(4)));
        assert_eq!(refused(2, 5), (None, None));
        assert_eq!(refused(3, 1), (Some(3), Some(1)));
    }
}
