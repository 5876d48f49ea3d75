//! YAML as a tree that knows where each of its values stands. What a value means is decided by the one who asks for it, so
//! `1.10` stays the text it was written as.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::{Code, Refusal};

/// A place in a text, line and column from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) value: Value,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    /// As written; `plain` when it is neither quoted nor certainly text.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) at: Place,
    pub(super) text: String,
}

impl Node {
    /// As JSON, with every scalar as text.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Scalar { text, .. } => text.clone().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => serde_json::Value::Object(
                entries.iter().map(|(key, node)| (key.text.clone(), node.to_json())).collect(),
            ),
        }
    }
}

/// One document of a text.
pub(super) struct Piece<'t> {
    /// How many lines come before it.
    pub(super) lines_before: u64,
    /// Its text; the marker that opens it is replaced with spaces, so that columns are right.
    pub(super) text: std::borrow::Cow<'t, str>,
}

/// Cuts a text at its document markers. YAML has it that `---` at the start of a line is one wherever it stands, also in
/// the middle of a block of text. Documents that hold nothing but comments are left out.
pub(super) fn documents(text: &str) -> Vec<Piece<'_>> {
    let marker = |line: &str, mark: &str| {
        line.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
    };
    let (mut pieces, mut from, mut at, mut line, mut first) = (Vec::new(), 0, 0, 0_u64, 0_u64);
    for each in text.split_inclusive('\n') {
        if at > from && marker(each, "---") {
            pieces.push((first, &text[from..at]));
            (from, first) = (at, line);
        }
        at += each.len();
        line += 1;
        if marker(each, "...") {
            pieces.push((first, &text[from..at - each.len()]));
            (from, first) = (at, line);
        }
    }
    pieces.push((first, &text[from..]));
    let empty = |text: &str| {
        text.lines().all(|line| {
            let line = line.strip_prefix("---").unwrap_or(line).trim();
            line.is_empty() || line.starts_with('#') || line.starts_with('%')
        })
    };
    pieces
        .into_iter()
        .filter(|(_, text)| !empty(text))
        .map(|(lines_before, text)| Piece {
            lines_before,
            text: match text.strip_prefix("---") {
                Some(rest) => format!("   {rest}").into(),
                None => text.into(),
            },
        })
        .collect()
}

/// Reads one document.
pub(super) fn parse(piece: &Piece<'_>) -> Result<Node, Box<Refusal>> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! { max_depth: 64, max_nodes: 100_000, max_aliases: 1_000 },
    };
    let text = piece.text.as_ref();
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Ok(Shape { text, lines_before: piece.lines_before }.node(raw)),
        Err(error) => {
            let error = error.without_snippet();
            let mut refusal = Refusal::new(Code::Invalid, format!("it is not YAML: {}", bare(&error.render())));
            if let Some(at) = error.location() {
                refusal.line = Some(at.line() + piece.lines_before);
                refusal.column = Some(at.column());
            }
            Err(Box::new(refusal))
        }
    }
}

/// A parser's message in one line, without the place it repeats.
fn bare(message: &str) -> String {
    let line = message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    match line.rfind(" at line ") {
        Some(at) => line[..at].to_owned(),
        None => line.to_owned(),
    }
}

/// A value as the parser gives it: it has decided already what looks like a number or a truth value.
enum Raw {
    Null,
    /// The text stands in the source; this is what it was taken for.
    Guessed(String),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Guessed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Guessed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Guessed(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Guessed(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Guessed(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Guessed(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

struct Shape<'t> {
    text: &'t str,
    lines_before: u64,
}

impl Shape<'_> {
    fn place(&self, at: &Location) -> Place {
        Place { line: at.line() + self.lines_before, column: at.column() }
    }

    fn node(&self, raw: Spanned<Raw>) -> Node {
        let value = match raw.value {
            Raw::Null => Value::Null,
            Raw::Text(text) => Value::Scalar { text, plain: false },
            Raw::Guessed(guess) => {
                Value::Scalar { text: self.source(&raw.defined).map_or(guess, str::to_owned), plain: true }
            }
            Raw::List(items) => Value::List(items.into_iter().map(|item| self.node(item)).collect()),
            Raw::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| (Key { at: self.place(&key.referenced), text: key.value }, self.node(value)))
                    .collect(),
            ),
        };
        Node { at: self.place(&raw.referenced), value }
    }

    /// The text a plain scalar was written as.
    fn source(&self, at: &Location) -> Option<&str> {
        let from = usize::try_from(at.span().byte_offset()?).ok()?;
        let length = usize::try_from(at.span().byte_len()?).ok()?;
        let text = self.text.get(from..from.checked_add(length)?)?.trim();
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Result<Node, Box<Refusal>> {
        documents(text).first().map_or_else(|| Err(Box::new(Refusal::new(Code::Invalid, "nothing"))), parse)
    }

    fn scalar(node: &Node, key: &str) -> Option<(String, bool, Place)> {
        let Value::Map(entries) = &node.value else { return None };
        let (_, node) = entries.iter().find(|(known, _)| known.text == key)?;
        let Value::Scalar { text, plain } = &node.value else { return None };
        Some((text.clone(), *plain, node.at))
    }

    #[test]
    fn a_plain_scalar_stays_as_it_was_written() {
        let node =
            tree("a: 1.10\nb: 0777\nc: yes\nd: 'yes'\ne: 1_000 # x\nf: text\ng: 22:22\nh: &x 1.20\ni: *x\n").unwrap();
        let text = |key| scalar(&node, key).map(|(text, plain, _)| (text, plain)).unwrap();
        assert_eq!(text("a"), ("1.10".into(), true));
        assert_eq!(text("b"), ("0777".into(), true));
        assert_eq!(text("c"), ("yes".into(), true));
        assert_eq!(text("d"), ("yes".into(), false));
        assert_eq!(text("e"), ("1_000".into(), true));
        assert_eq!(text("f").0, "text");
        assert_eq!(text("g").0, "22:22");
        assert_eq!(text("i"), ("1.20".into(), true));
    }

    #[test]
    fn places_count_from_the_start_of_the_whole_text() {
        let text = "# head\n---\na: 1\n---\nb:\n  - x\n  - c: d\n";
        let pieces = documents(text);
        assert_eq!(pieces.len(), 2);
        let Value::Map(entries) = parse(&pieces[1]).unwrap().value else { panic!("no map") };
        assert_eq!(entries[0].0.at, Place { line: 5, column: 1 });
        let Value::List(items) = &entries[0].1.value else { panic!("no list") };
        let Value::Map(inner) = &items[1].value else { panic!("no map") };
        assert_eq!(inner[0].1.at, Place { line: 7, column: 8 });
    }

    #[test]
    fn broken_yaml_and_a_key_given_twice_are_refused_with_the_place() {
        let broken = tree("a: 1\nb: [1,\n").unwrap_err();
        assert!(broken.line.is_some(), "{broken}");
        let twice = tree("a: 1\nb: 2\na: 3\n").unwrap_err();
        assert_eq!(twice.line, Some(3), "{twice}");
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for n in 1..12 {
            let refs = vec![format!("*a{}", n - 1); 9].join(", ");
            text.push_str(&format!("a{n}: &a{n} [{refs}]\n"));
        }
        assert!(tree(&text).is_err());
    }
}
