//! Reading typed fields out of a tree: every mistake is collected with its place, and a field nobody asked for is one.

use jiff::SignedDuration;

use super::duration::parse_duration;
use super::reference::{Reference, ReferenceKind, References};
use super::yaml::{Key, Node, Place, Value};
use super::{Code, Refusal};

/// Collects what is wrong.
pub(super) struct Reader {
    pub(super) file: Option<String>,
    pub(super) refusals: Vec<Refusal>,
    /// The values that came beside the text.
    pub(super) references: References,
}

/// The entries of a mapping that have not been asked for yet.
pub(super) struct Fields<'n> {
    path: String,
    at: Place,
    entries: Vec<&'n (Key, Node)>,
    known: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// The dotted path of a field here.
    pub(super) fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Where the mapping begins.
    pub(super) fn at(&self) -> Place {
        self.at
    }

    /// A field, if it is there.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Field<'n>> {
        self.known.push(name);
        let place = self.entries.iter().position(|(key, _)| key.text == name)?;
        let (_, node) = self.entries.remove(place);
        Some(Field { path: self.path(name), node })
    }

    /// All that is left, each by its own name: for mappings with free keys.
    pub(super) fn rest(&mut self) -> Vec<(&'n Key, Field<'n>)> {
        let path = self.path.clone();
        std::mem::take(&mut self.entries)
            .into_iter()
            .map(|(key, node)| (key, Field { path: format!("{path}.{}", key.text), node }))
            .collect()
    }
}

/// A value with its path.
#[derive(Clone)]
pub(super) struct Field<'n> {
    pub(super) path: String,
    pub(super) node: &'n Node,
}

impl Reader {
    /// Notes a refusal at a place.
    pub(super) fn refuse(&mut self, code: Code, at: Place, field: &str, message: String, hint: Option<&str>) {
        self.refusals.push(Refusal {
            code,
            message,
            field: (!field.is_empty()).then(|| field.to_owned()),
            file: self.file.clone(),
            line: Some(at.line),
            column: Some(at.column),
            hint: hint.map(str::to_owned),
        });
    }

    /// Notes that a field's value makes no sense.
    pub(super) fn wrong(&mut self, field: &Field<'_>, message: String, hint: Option<&str>) {
        self.refuse(Code::Invalid, field.node.at, &field.path, message, hint);
    }

    fn expected(&mut self, field: &Field<'_>, what: &str) {
        let found = match field.node.value {
            Value::Null => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        };
        let name = if field.path.is_empty() { "the document".to_owned() } else { format!("`{}`", field.path) };
        self.wrong(field, format!("{name} must be {what}, and is {found}"), None);
    }

    /// The fields of a mapping.
    pub(super) fn map<'n>(&mut self, field: &Field<'n>) -> Option<Fields<'n>> {
        match &field.node.value {
            Value::Map(entries) => Some(Fields {
                path: field.path.clone(),
                at: field.node.at,
                entries: entries.iter().collect(),
                known: Vec::new(),
            }),
            _ => {
                self.expected(field, "a mapping");
                None
            }
        }
    }

    /// The items of a list.
    pub(super) fn list<'n>(&mut self, field: &Field<'n>) -> Vec<Field<'n>> {
        match &field.node.value {
            Value::List(items) => {
                items.iter().enumerate().map(|(n, node)| Field { path: format!("{}[{n}]", field.path), node }).collect()
            }
            _ => {
                self.expected(field, "a list");
                Vec::new()
            }
        }
    }

    /// A single value as it was written.
    pub(super) fn text(&mut self, field: &Field<'_>) -> Option<String> {
        match &field.node.value {
            Value::Scalar { text, .. } => Some(text.clone()),
            _ => {
                self.expected(field, "text");
                None
            }
        }
    }

    /// A value that may be secret: text, or a mapping with `value`, `fromEnv` or `fromFile` alone.
    pub(super) fn value(&mut self, field: &Field<'_>) -> Option<String> {
        if !matches!(field.node.value, Value::Map(_)) {
            return self.text(field);
        }
        let mut fields = self.map(field)?;
        let value = self.value_in(&mut fields, field);
        self.finish(fields);
        value
    }

    /// The value that a mapping gives as `value`, `fromEnv` or `fromFile`; what else is in it is left.
    pub(super) fn value_in(&mut self, fields: &mut Fields<'_>, whole: &Field<'_>) -> Option<String> {
        let value = fields.take("value");
        let elsewhere: Vec<(ReferenceKind, Field<'_>)> = [ReferenceKind::FromEnv, ReferenceKind::FromFile]
            .into_iter()
            .filter_map(|kind| Some((kind, fields.take(kind.field())?)))
            .collect();
        match (value, elsewhere.as_slice()) {
            (Some(value), []) => self.text(&value),
            (None, [(kind, field)]) => self.referenced(*kind, field),
            (None, []) => {
                let hint = "give the text itself, or `value`, `fromEnv` or `fromFile`";
                self.wrong(whole, format!("`{}` holds no value", whole.path), Some(hint));
                None
            }
            _ => {
                let message = format!("`{}` takes its value from more than one place", whole.path);
                self.wrong(whole, message, Some("keep one of `value`, `fromEnv` and `fromFile`"));
                None
            }
        }
    }

    fn referenced(&mut self, kind: ReferenceKind, field: &Field<'_>) -> Option<String> {
        let name = self.text(field)?;
        let found = self.references.get(&Reference { kind, name: name.clone() });
        let text = found.and_then(|value| value.expose_text()).map(str::to_owned);
        if text.is_none() {
            let message = format!("the value of `{}: {name}` did not come with the manifest", kind.field());
            let hint = "`skep apply` reads it where it is run; another client sends it as `references`";
            self.wrong(field, message, Some(hint));
        }
        text
    }

    /// `true` or `false`, without quotes.
    pub(super) fn boolean(&mut self, field: &Field<'_>) -> Option<bool> {
        match &field.node.value {
            Value::Scalar { text, plain: true } if text.eq_ignore_ascii_case("true") => Some(true),
            Value::Scalar { text, plain: true } if text.eq_ignore_ascii_case("false") => Some(false),
            _ => {
                self.expected(field, "true or false");
                None
            }
        }
    }

    /// A duration of at least `least`.
    pub(super) fn duration(&mut self, field: &Field<'_>, least: SignedDuration) -> Option<SignedDuration> {
        let text = self.text(field)?;
        match parse_duration(&text) {
            Ok(duration) if duration >= least => Some(duration),
            Ok(_) => {
                let least = super::format_duration(least);
                self.wrong(field, format!("`{}` is {text}; the least is {least}", field.path), None);
                None
            }
            Err(message) => {
                self.wrong(field, message, None);
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, field: &Field<'_>, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(field)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let hint = closest(&text, &names).map(|word| format!("did you mean `{word}`?"));
        let message = format!("`{}` cannot be `{text}`; it is one of {}", field.path, names.join(", "));
        self.wrong(field, message, hint.as_deref());
        None
    }

    /// Refuses what nobody asked for.
    pub(super) fn finish(&mut self, fields: Fields<'_>) {
        for (key, _) in &fields.entries {
            let path = fields.path(&key.text);
            let hint = match closest(&key.text, &fields.known) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("known here: {}", fields.known.join(", ")),
            };
            self.refuse(Code::Invalid, key.at, &path, format!("unknown field `{path}`"), Some(&hint));
        }
    }
}

/// The name most like `text`, if one is like it at all.
pub(super) fn closest<'a>(text: &str, names: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.replace(['-', '_'], "").to_lowercase();
    let wanted = plain(text);
    names
        .iter()
        .map(|name| (distance(&wanted, &plain(name)), *name))
        .filter(|(far, name)| *far <= 2.min(name.len() / 2))
        .min_by_key(|(far, _)| *far)
        .map(|(_, name)| name)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = change.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
