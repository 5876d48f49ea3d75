//! Typed reading of a tree: each reader says what is wrong, and where, by itself, and gives `None`.
//!
//! A [`Table`] knows which keys were asked for; what is left over at the end is an unknown key, never dropped.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::compat::Difference;
use super::findings::Findings;
use super::keys::{self, Cli, Place, Treatment};
use super::mend;
use super::scalar::{Kind, printed};
use super::trail::Trail;
use super::units;
use super::yaml::{Entry, Node, Position, Scalar, Value};

/// How a size is written.
pub(super) const BYTES: &str = "write a number, of bytes or with `k`, `M` or `G` behind it";

/// A value with the path that leads to it.
#[derive(Clone)]
pub(super) struct Field<'a> {
    pub(super) node: &'a Node,
    trail: Trail<'a>,
    /// Where the table of all keys has it, if it does.
    place: Option<&'static Place>,
    pub(super) found: &'a Findings,
}

impl<'a> Field<'a> {
    /// The root of a file, with the empty path.
    pub(super) fn root(node: &'a Node, found: &'a Findings) -> Self {
        Self { node, trail: Trail::from(String::new()), place: Some(Place::top()), found }
    }

    /// A value somewhere; `shape` is its path as [`keys::KEYS`] has it.
    pub(super) fn at_path(node: &'a Node, path: String, shape: &str, found: &'a Findings) -> Self {
        Self { node, trail: Trail::from(path), place: Place::find(shape), found }
    }

    /// The dotted path.
    pub(super) fn path(&self) -> String {
        self.trail.path()
    }

    pub(super) fn at(&self) -> Position {
        self.node.at
    }

    /// Reports an error here.
    pub(super) fn error(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.found.error(self.at(), &self.path(), message, hint);
    }

    /// Reports a warning here.
    pub(super) fn warn(&self, message: &str) {
        self.found.warn(self.at(), &self.path(), message);
    }

    /// The value, or the error of what stands behind `result`, with the mend.
    pub(super) fn check<T>(&self, result: Result<T, String>, hint: &str) -> Option<T> {
        result.map_err(|message| self.error(message, hint)).ok()
    }

    fn wrong(&self, expected: &str) {
        let found = match &self.node.value {
            Value::Scalar(scalar) => scalar.kind.name(),
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        };
        self.error(format!("must be {expected}, but is {found}"), mend::kind(expected, &self.node.value));
    }

    fn scalar(&self) -> Option<&'a Scalar> {
        match &self.node.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// Text; what YAML reads as a number, a boolean or a date is refused.
    pub(super) fn text(&self) -> Option<String> {
        match self.scalar() {
            Some(Scalar { kind: Kind::Text, text, .. }) => Some(text.clone()),
            _ => {
                self.wrong("text");
                None
            }
        }
    }

    /// Text that is not empty.
    pub(super) fn filled(&self) -> Option<String> {
        let text = self.text()?;
        if text.is_empty() {
            self.error("is empty", "remove the key or give it a value");
            return None;
        }
        Some(text)
    }

    /// Text, if it says anything: an empty one, such as a variable without a value leaves, is as if the key were not there.
    pub(super) fn unless_empty(&self) -> Option<String> {
        self.text().filter(|text| !text.is_empty())
    }

    /// Text, or a number as it is written; strictly text where the CLI's quirks apply.
    pub(super) fn text_as_written(&self) -> Option<String> {
        match self.scalar() {
            Some(Scalar { kind: Kind::Int(_) | Kind::Float(_), text, .. }) if self.found.strict() => Some(text.clone()),
            _ => self.text(),
        }
    }

    /// One of these words; an empty text is none.
    pub(super) fn word(&self, words: &[&str]) -> Option<String> {
        self.one_of(self.unless_empty()?, words)
    }

    /// One of these words, in capitals or not; an empty text is none.
    pub(super) fn word_in_any_case(&self, words: &[&str]) -> Option<String> {
        self.one_of(self.unless_empty()?.to_ascii_lowercase(), words)
    }

    fn one_of(&self, text: String, words: &[&str]) -> Option<String> {
        if words.contains(&text.as_str()) {
            return Some(text);
        }
        self.error(format!("`{text}` is none of {}", words.join(", ")), mend::word(&text, words));
        None
    }

    /// A value of a variable, label or option: text, or a number as Go prints it; `None` inside for null.
    fn printed(&self, booleans: bool) -> Option<Option<String>> {
        let Some(scalar) = self.scalar() else {
            self.wrong("text or a number");
            return None;
        };
        if matches!(scalar.kind, Kind::Bool(_)) && !booleans {
            self.error("must be text or a number, but is a boolean", format!("write \"{}\"", scalar.text));
            return None;
        }
        if let Kind::Float(value) = scalar.kind
            && !value.is_finite()
        {
            self.wrong("text or a finite number");
            return None;
        }
        let text = printed(scalar.kind, &scalar.text);
        if let Some(text) = &text
            && *text != scalar.text
        {
            self.warn(&format!(
                "YAML reads {} as {}: the value will be `{text}`; put it in quotes to keep what is written",
                scalar.text,
                scalar.kind.name()
            ));
        }
        Some(text)
    }

    /// Text that may stand for another type: an interpolated one always, any one by the specification's rules.
    fn castable(&self, scalar: &'a Scalar) -> Option<&'a str> {
        (scalar.kind == Kind::Text && (scalar.interpolated || self.found.strict())).then_some(scalar.text.as_str())
    }

    /// A whole number, in decimal when it comes from text.
    pub(super) fn integer(&self) -> Option<i64> {
        let Some(scalar) = self.scalar() else {
            self.wrong("a whole number");
            return None;
        };
        let value = match scalar.kind {
            Kind::Int(value) => i64::try_from(value).ok(),
            Kind::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => format!("{value}").parse().ok(),
            _ => self.castable(scalar).and_then(|text| text.parse::<i64>().ok()),
        };
        if value.is_none() {
            match (scalar.kind, self.castable(scalar)) {
                (Kind::Text, Some(text)) => {
                    self.error(format!("`{text}` is not a whole number"), mend::kind("a number", &self.node.value));
                }
                (Kind::Text, None) => self.error("must be a whole number, but is text", "remove the quotes"),
                _ => self.wrong("a whole number"),
            }
        }
        value
    }

    /// A whole number from `least` to `most`.
    pub(super) fn within(&self, least: i64, most: i64) -> Option<i64> {
        let value = self.integer()?;
        if (least..=most).contains(&value) {
            return Some(value);
        }
        let message = if most == i64::MAX {
            format!("{value} is below {least}")
        } else {
            format!("{value} is not between {least} and {most}")
        };
        self.error(message, mend::limits(least, most));
        None
    }

    /// A whole number that is not negative.
    pub(super) fn count(&self) -> Option<u64> {
        self.within(0, i64::MAX).and_then(|value| u64::try_from(value).ok())
    }

    /// A number.
    pub(super) fn number(&self) -> Option<f64> {
        let value = self.scalar().and_then(|scalar| match scalar.kind {
            Kind::Int(value) => value.to_string().parse().ok(),
            Kind::Float(value) => Some(value),
            _ => self.castable(scalar).and_then(|text| text.parse().ok()),
        });
        if value.is_none() {
            self.wrong("a number");
        }
        value.filter(|value: &f64| value.is_finite())
    }

    /// A boolean; from text also `y`, `yes`, `on`, `n`, `no`, `off`.
    pub(super) fn boolean(&self) -> Option<bool> {
        let value = self.scalar().and_then(|scalar| match scalar.kind {
            Kind::Bool(value) => Some(value),
            _ => match self.castable(scalar)?.to_ascii_lowercase().as_str() {
                "y" | "yes" | "true" | "on" => Some(true),
                "n" | "no" | "false" | "off" => Some(false),
                _ => None,
            },
        });
        if value.is_none() {
            self.error("must be true or false", "write `true` or `false`, without quotes");
        }
        value
    }

    /// A duration in nanoseconds.
    pub(super) fn duration(&self) -> Option<i64> {
        match self.scalar() {
            Some(Scalar { kind: Kind::Text, text, .. }) => match units::duration(text) {
                Ok(value) => Some(value),
                Err(message) => {
                    self.error(message, "write it like `10s`, `1m30s` or `500ms`");
                    None
                }
            },
            Some(Scalar { kind: Kind::Int(value), .. }) => {
                self.error("a duration needs a unit", format!("write `{value}s` for seconds"));
                None
            }
            _ => {
                self.wrong("a duration such as `10s`");
                None
            }
        }
    }

    /// A number of bytes.
    pub(super) fn bytes(&self) -> Option<i64> {
        match self.scalar() {
            Some(Scalar { kind: Kind::Int(_), .. }) => self.within(0, i64::MAX),
            Some(Scalar { kind: Kind::Text, text, .. }) => self.check(units::bytes(text), BYTES),
            _ => {
                self.wrong("a size such as `512M`");
                None
            }
        }
    }

    /// The items of a list.
    pub(super) fn list(&self) -> Vec<Field<'a>> {
        let Value::List(items) = &self.node.value else {
            self.wrong("a list");
            return Vec::new();
        };
        let place = self.below(keys::ITEM);
        let item = |(index, node)| Field { node, trail: self.trail.item(index), place, found: self.found };
        items.iter().enumerate().map(item).collect()
    }

    /// A list of texts.
    pub(super) fn texts(&self) -> Vec<String> {
        self.list().iter().filter_map(Field::text).collect()
    }

    /// One text, or a list of them.
    pub(super) fn text_or_list(&self) -> Vec<Field<'a>> {
        match &self.node.value {
            Value::Scalar(Scalar { kind: Kind::Text, .. }) => vec![self.clone()],
            Value::List(_) => self.list(),
            _ => {
                self.wrong("text or a list");
                Vec::new()
            }
        }
    }

    /// The entries of a map, each as a field, by key.
    pub(super) fn entries(&self) -> Vec<(&'a Entry, Field<'a>)> {
        let Value::Map(entries) = &self.node.value else {
            self.wrong("a map");
            return Vec::new();
        };
        entries.iter().map(|entry| (entry, self.child(entry, keys::ANY))).collect()
    }

    fn child(&self, entry: &'a Entry, step: &str) -> Field<'a> {
        let (trail, place) = (self.trail.key(&entry.key), self.below(step));
        Field { node: &entry.value, trail, place, found: self.found }
    }

    fn below(&self, step: &str) -> Option<&'static Place> {
        self.place?.below(step)
    }

    /// A map whose keys are known.
    pub(super) fn table(&self) -> Option<Table<'a>> {
        if !matches!(self.node.value, Value::Map(_)) {
            self.wrong("a map");
            return None;
        }
        let table = Table { field: self.clone(), hidden: Vec::new(), asked: RefCell::default() };
        let hidden = table.entries().iter().filter(|entry| self.is_left_out(entry)).map(|entry| entry.key.as_str());
        Some(Table { hidden: hidden.collect(), ..table })
    }

    /// Whether an entry is not to be read: it is refused or left out, which is said here.
    fn is_left_out(&self, entry: &Entry) -> bool {
        let Some(key) = self.below(&entry.key).and_then(|place| place.key) else { return false };
        let path = || self.trail.key(&entry.key).path();
        let strict = self.found.strict();
        let (treatment, note) = (key.treatment, key.note);
        match (treatment, key.cli) {
            (_, Cli::Refuses) if !strict => {
                let hint = if treatment == Treatment::Refused { note } else { "remove it, or use `compat: strict`" };
                self.found.error(entry.at, &path(), "`docker stack deploy` refuses it", hint);
            }
            _ if key.by_reader => return false,
            (Treatment::Refused, Cli::Ignores) if is_off(&entry.value) => {}
            (Treatment::Refused, Cli::Ignores) if strict => {
                let message = format!("Swarm cannot do this: `{}` is not part of a service", entry.key);
                self.found.error(entry.at, &path(), message, note);
            }
            (Treatment::Refused, _) if strict => self.found.error(entry.at, &path(), "not supported in a stack", note),
            (Treatment::Warned, _) => self.found.warn(entry.at, &path(), &format!("ignored: {note}")),
            (_, Cli::Ignores) if !strict && !is_off(&entry.value) => {
                self.found.warn(entry.at, &path(), "ignored, as `docker stack deploy` ignores it");
            }
            (_, Cli::Ignores) if !strict => {}
            (Treatment::Better, Cli::Ignores) => {
                self.found.differs(Difference::Honoured, entry.at, &path());
                return false;
            }
            _ => return false,
        }
        true
    }

    /// `KEY: value` as a map, or `KEY=value` and `KEY` as a list; later ones win. The values print as Go prints them;
    /// booleans are taken by the specification's rules alone.
    pub(super) fn pairs(&self) -> BTreeMap<String, Option<String>> {
        let mut pairs = BTreeMap::new();
        match &self.node.value {
            Value::List(_) => {
                for item in self.list() {
                    let Some(text) = item.text() else { continue };
                    let (key, value) = match text.split_once('=') {
                        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                        None => (text, None),
                    };
                    if key.is_empty() {
                        item.error("has no name in front of `=`", "write it as `NAME=VALUE`");
                    } else {
                        pairs.insert(key, value);
                    }
                }
            }
            Value::Map(_) => {
                for (entry, field) in self.entries() {
                    if let Some(value) = field.printed(self.found.strict()) {
                        pairs.insert(entry.key.clone(), value);
                    }
                }
            }
            Value::Scalar(_) => self.wrong("a map, or a list of KEY=VALUE"),
        }
        pairs
    }

    /// Labels: pairs, where no value is the empty one.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        self.pairs().into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect()
    }

    /// Options: a map of text or numbers.
    pub(super) fn options(&self) -> BTreeMap<String, String> {
        let mut options = BTreeMap::new();
        for (entry, field) in self.entries() {
            if let Some(value) = field.printed(false) {
                options.insert(entry.key.clone(), value.unwrap_or_default());
            }
        }
        options
    }
}

/// `false`, null and empty lists ask for nothing.
fn is_off(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(Scalar { kind, .. }) => matches!(kind, Kind::Null | Kind::Bool(false)),
        Value::List(items) => items.is_empty(),
        Value::Map(_) => false,
    }
}

/// A map whose keys are known. Every key that is asked for is known; [`Table::finish`] refuses the others. What the table
/// of all keys refuses or leaves out is not there.
pub(super) struct Table<'a> {
    pub(super) field: Field<'a>,
    hidden: Vec<&'a str>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    fn entries(&self) -> &'a [Entry] {
        match &self.field.node.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of `key`, if the map has it.
    pub(super) fn get(&self, key: &'static str) -> Option<Field<'a>> {
        self.asked.borrow_mut().push(key);
        let entry = self.entries().iter().find(|entry| entry.key == key && !self.hidden.contains(&key))?;
        Some(self.field.child(entry, key))
    }

    /// The value of `key`, if the map has it and it is not null.
    pub(super) fn given(&self, key: &'static str) -> Option<Field<'a>> {
        self.get(key).filter(|field| !field.node.is_null())
    }

    /// The place of the key.
    pub(super) fn key_at(&self, key: &str) -> Position {
        self.entries().iter().find(|entry| entry.key == key).map_or(self.field.at(), |entry| entry.at)
    }

    /// The path of a key.
    pub(super) fn path_of(&self, key: &str) -> String {
        let above = self.field.path();
        if above.is_empty() { key.to_owned() } else { format!("{above}.{key}") }
    }

    /// Reports every key that was never asked for, `x-…` apart.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for entry in self.entries() {
            let key = entry.key.as_str();
            if asked.contains(&key) || self.hidden.contains(&key) || key.starts_with("x-") {
                continue;
            }
            let hint = mend::unknown_key(key, self.field.place, &asked, self.field.found.strict());
            self.field.found.error(entry.at, &self.path_of(&entry.key), "unknown key", hint);
        }
    }
}
