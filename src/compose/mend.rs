//! How an error is mended where its message alone does not say it.

use super::keys::{Cli, KEYS, Key, Place, Treatment};
use super::near::closest;
use super::scalar::Kind;
use super::yaml::{Scalar, Value};

/// So many keys are named at most.
const MOST_KEYS: usize = 16;
/// So long a value is repeated at most.
const LONGEST_VALUE: usize = 40;

/// For a word that is none of these.
pub(super) fn word(word: &str, words: &[&str]) -> String {
    match (closest(word, words), words) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, [only]) => format!("write `{only}`, or remove the key"),
        (None, _) => "write one of these, or remove the key".to_owned(),
    }
}

/// For a value of another kind than `expected`.
pub(super) fn kind(expected: &str, found: &Value) -> String {
    let short = |scalar: &Scalar| scalar.text.len() <= LONGEST_VALUE && !scalar.text.contains('\n');
    let list = expected.ends_with("list");
    let text = expected.starts_with("text");
    match found {
        Value::Scalar(Scalar { kind: Kind::Null, .. }) => "remove the key or give it a value".to_owned(),
        Value::Scalar(_) if text => "put it in quotes".to_owned(),
        Value::Scalar(scalar) if expected == "a list" && short(scalar) => format!("write `[{}]`", scalar.text),
        Value::Scalar(_) if expected == "a list" => "write it as a list: `- VALUE`, one a line".to_owned(),
        Value::Scalar(_) | Value::List(_) if expected.starts_with("a map") => {
            "write `KEY: VALUE` below it, one a line".to_owned()
        }
        Value::Map(_) if list => "write it as a list: `- VALUE`, one a line".to_owned(),
        Value::List(_) | Value::Map(_) => "write one value in its place".to_owned(),
        Value::Scalar(_) if expected.starts_with("a duration") => "write it like `10s` or `1m30s`".to_owned(),
        Value::Scalar(_) if expected.starts_with("a size") => "write it like `512M`".to_owned(),
        Value::Scalar(_) => "write it in digits, such as `3`".to_owned(),
    }
}

/// For a number out of its limits.
pub(super) fn limits(least: i64, most: i64) -> String {
    if most == i64::MAX { format!("write {least} or more") } else { format!("write a number from {least} to {most}") }
}

/// For a key that may not stand in the map at `place`, whose reader asked for `known`: the key that was meant, where it
/// stands, or which keys there are.
pub(super) fn unknown_key(key: &str, place: Option<&Place>, known: &[&str], strict: bool) -> String {
    let shape = place.map_or("", |place| place.path.as_str());
    let at = |key: &str| place?.below(key)?.key;
    let may = |entry: &Key| {
        if strict { entry.treatment != Treatment::Refused } else { entry.cli != Cli::Refuses }
    };
    let mut known: Vec<&str> = known.iter().copied().filter(|key| at(key).is_none_or(may)).collect();
    known.sort_unstable();
    known.dedup();
    if let Some(near) = closest(key, &known) {
        return format!("did you mean `{near}`?");
    }
    let family = shape.split('.').next().unwrap_or_default();
    let elsewhere: Vec<&str> = KEYS
        .iter()
        .filter(|entry| may(entry) && entry.path.split('.').next() == Some(family))
        .filter_map(|entry| entry.path.strip_suffix(key)?.strip_suffix('.').map(|_| entry.path))
        .map(|path| path.strip_prefix(shape).and_then(|below| below.strip_prefix('.')).unwrap_or(path))
        .collect();
    match (elsewhere.as_slice(), known.len()) {
        ([path], _) => format!("it stands in `{path}`"),
        ([path, other], _) => format!("it stands in `{path}` and `{other}`"),
        (_, 0) => "remove it".to_owned(),
        (_, 1) => format!("remove it; the only key here is `{}`", known.concat()),
        (_, ..=MOST_KEYS) => format!("remove it; the keys here are {}", known.join(", ")),
        _ => "remove it, or begin its name with `x-`; the reference of compose files lists the keys".to_owned(),
    }
}

/// For text that is no YAML, by what the parser says of it.
pub(super) fn yaml(why: &str) -> &'static str {
    if why.contains("tab") {
        "indent with blanks"
    } else if why.contains("anchor") {
        "name the value with `&NAME` before"
    } else if why.contains("bracket") || why.contains("quote") || why.contains("unclosed") {
        "close it"
    } else {
        "look for a missing quote or bracket, or another indentation, here and in the line above"
    }
}
