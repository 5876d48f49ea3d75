//! The differences between two specs, field by field, with the engine's names.

use serde_json::Value;

use super::canonical;
use crate::domain::{Change, IMAGE_LABEL, ServiceSpec};

/// What would change if `to` replaced `from`; empty when the two mean the same to Swarm.
#[must_use]
pub fn changes(from: &ServiceSpec, to: &ServiceSpec) -> Vec<Change> {
    let (from, to) = (canonical(from), canonical(to));
    if from == to {
        return Vec::new();
    }
    let value = |spec: &ServiceSpec| serde_json::to_value(spec).unwrap_or(Value::Null);
    differences(&value(&from), &value(&to))
}

/// The differences between two JSON values. Lists of different length, and lists of plain values, are one difference.
#[must_use]
pub fn differences(from: &Value, to: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    walk("", Some(from), Some(to), &mut found);
    found
}

fn walk(path: &str, from: Option<&Value>, to: Option<&Value>, found: &mut Vec<Change>) {
    match (from, to) {
        (Some(a), Some(b)) if a == b => {}
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let step = key.replace('~', "~0").replace('/', "~1");
                walk(&format!("{path}/{step}"), a.get(key), b.get(key), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b)))
            if a.len() == b.len() && a.iter().chain(b).all(Value::is_object) =>
        {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                walk(&format!("{path}/{index}"), Some(a), Some(b), found);
            }
        }
        (from, to) => found.push(Change { path: path.to_owned(), from: from.cloned(), to: to.cloned() }),
    }
}

/// One phrase for a set of changes. It names values only where they are names: of images, configs, secrets.
pub(super) fn reason(changes: &[Change]) -> String {
    let image = changes.iter().find(|change| change.path == "/TaskTemplate/ContainerSpec/Image");
    // The label that repeats the image as it was written says nothing more.
    let more = changes.iter().filter(|change| image.is_none() || !change.path.ends_with(IMAGE_LABEL)).count();
    let Some(first) = image.or(changes.first()) else { return "nothing differs".to_owned() };
    let text = |value: &Option<Value>| value.as_ref().and_then(Value::as_str).unwrap_or("none").to_owned();
    let word = match first.path.rsplit('/').next() {
        _ if image.is_some() => Some("image"),
        Some("ConfigName") => Some("config"),
        Some("SecretName") => Some("secret"),
        _ => None,
    };
    let first = match word {
        Some(word) => format!("{word} {} → {}", text(&first.from), text(&first.to)),
        None => format!("{} differs", first.path),
    };
    if more > 1 { format!("{first}, and {} more", more - 1) } else { first }
}
