//! Conditions over a hook's payload: `ref == "refs/heads/main" && repository.name != "x"`. Small on purpose: no calls, no
//! arithmetic, nothing that could run long.

use serde_json::Value;

/// A condition that was read: comparisons that must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    comparisons: Vec<Comparison>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Comparison {
    path: Vec<String>,
    equal: bool,
    text: String,
}

impl When {
    /// Reads `PATH == "TEXT"` and `PATH != "TEXT"`, joined by `&&`. Within the text `\"` and `\\` are taken; `*` at its end
    /// stands for any rest.
    ///
    /// # Errors
    /// A phrase that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut comparisons = Vec::new();
        let mut rest = text.trim();
        loop {
            let end = rest.find(['=', '!']).ok_or_else(|| format!("`{rest}` compares nothing; {EXAMPLE}"))?;
            let (left, tail) = rest.split_at(end);
            let equal = tail.starts_with("==");
            if !equal && !tail.starts_with("!=") {
                return Err(format!("only == and != are known; {EXAMPLE}"));
            }
            let (text, tail) = quoted(tail[2..].trim_start())?;
            comparisons.push(Comparison { path: path(left.trim())?, equal, text });
            rest = tail.trim_start();
            if rest.is_empty() {
                return Ok(Self { comparisons });
            }
            rest = rest.strip_prefix("&&").ok_or_else(|| format!("`{rest}` is not expected here; {EXAMPLE}"))?.trim();
        }
    }

    /// Whether a payload meets the condition. A field that is not there equals nothing.
    #[must_use]
    pub fn holds(&self, payload: &Value) -> bool {
        self.comparisons.iter().all(|comparison| {
            let found = find(payload, &comparison.path).and_then(scalar);
            let equal = found.is_some_and(|found| match comparison.text.strip_suffix('*') {
                Some(start) => found.starts_with(start),
                None => found == comparison.text,
            });
            equal == comparison.equal
        })
    }
}

const EXAMPLE: &str = "write for example: ref == \"refs/heads/main\"";

/// Reads the path of a field, `repository.name`.
///
/// # Errors
/// A phrase that says what is wrong.
pub fn path(text: &str) -> Result<Vec<String>, String> {
    let good = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    let parts: Vec<String> = text.split('.').map(str::to_owned).collect();
    if parts.iter().all(|part| good(part)) {
        return Ok(parts);
    }
    Err(format!("`{text}` is not the path of a field; write for example `after` or `repository.name`"))
}

/// The value at a path, items of lists by their number.
#[must_use]
pub fn find<'v>(payload: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(payload, |value, part| match value {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        other => other.get(part),
    })
}

/// A single value as text.
#[must_use]
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

fn quoted(text: &str) -> Result<(String, &str), String> {
    let wrong = || format!("the text to compare with must stand in double quotes; {EXAMPLE}");
    let inner = text.strip_prefix('"').ok_or_else(wrong)?;
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in inner.char_indices() {
        match c {
            '"' | '\\' if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Ok((value, &inner[at + 1..])),
            _ if escaped => return Err("only \\\" and \\\\ are known in a quoted text".to_owned()),
            other => value.push(other),
        }
    }
    Err(wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fits;
    use serde_json::json;

    #[test]
    fn conditions_are_read_and_judged() {
        let payload =
            json!({ "ref": "refs/heads/main", "repository": { "name": "shop" }, "n": 3, "list": [{ "a": 1 }] });
        for (text, holds) in [
            ("ref == \"refs/heads/main\"", true),
            ("ref != \"refs/heads/main\"", false),
            ("ref == \"refs/heads/*\" && repository.name == \"shop\"", true),
            ("ref == \"refs/heads/*\" && repository.name == \"other\"", false),
            ("n == \"3\"", true),
            ("list.0.a == \"1\"", true),
            ("missing == \"x\"", false),
            ("missing != \"x\"", true),
        ] {
            assert_eq!(When::parse(text).map(|when| when.holds(&payload)), Ok(holds), "{text}");
        }
    }

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, name, expected) in [
            ("shop", "shop", true),
            ("shop", "shop2", false),
            ("shop*", "shop", true),
            ("shop*", "shop-eu", true),
            ("*", "", true),
            ("*-eu", "shop-eu", true),
            ("*-eu", "shop-eu-2", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c2b", false),
            ("a*bc*c", "abc", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "ref", "ref == main", "ref = \"x\"", "ref == \"x\" || a == \"b\"", "a b == \"x\"", "ref == \"x"]
        {
            assert!(When::parse(bad).is_err(), "{bad}");
        }
    }
}
