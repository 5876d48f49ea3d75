//! What a hook's rules say: expressions over the payload in CEL, the Common Expression Language (cel.dev), such as
//! `ref == "refs/heads/main" && commits.exists(c, "deploy/x.yml" in c.modified)`.
//!
//! The members of the payload are variables of their own. Two more are always there: `payload`, the whole of it (for a
//! member whose name CEL keeps for itself), and `event`, what happened at the sender's in one word.

use cel::{Context, Program, Value as CelValue};
use serde_json::Value;

/// Characters of an expression: the parser is recursive, and nobody reads a longer one.
const LONGEST: usize = 1000;
/// Brackets, signs and negations inside one another.
const DEEPEST: usize = 32;

/// An expression that was read.
#[derive(Debug)]
pub struct Expression(Program);

/// A payload, ready to be asked about.
pub struct Facts(Context<'static, 'static>);

impl Facts {
    /// The variables of one delivery.
    ///
    /// # Errors
    /// A phrase, when the payload cannot be held as CEL's values.
    pub fn new(payload: &Value, event: &str) -> Result<Self, String> {
        let mut context = Context::default();
        let wrong = |name: &str| format!("`{name}` of the payload cannot be read");
        for (name, value) in payload.as_object().into_iter().flatten() {
            context.add_variable(name.as_str(), value).map_err(|_| wrong(name))?;
        }
        context.add_variable("payload", payload).map_err(|_| wrong("payload"))?;
        context.add_variable("event", event).map_err(|_| wrong("event"))?;
        Ok(Self(context))
    }
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// A phrase that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.chars().count() > LONGEST || deepest(text) > DEEPEST {
            return Err(format!("the expression is longer than {LONGEST} characters, or nested too deep"));
        }
        Program::compile(text).map(Self).map_err(|errors| {
            let first = errors.to_string();
            let first = first.lines().find(|line| !line.trim().is_empty()).unwrap_or("it cannot be read").trim();
            format!("`{text}` is not an expression of CEL: {first}; {EXAMPLE}")
        })
    }

    /// Why a condition does not hold; none when it does. One that cannot be answered, because a field is not there, does
    /// not.
    #[must_use]
    pub fn objection(&self, facts: &Facts) -> Option<String> {
        match self.0.execute(&facts.0) {
            Ok(CelValue::Bool(true)) => None,
            Ok(CelValue::Bool(false)) => Some("its condition is false".to_owned()),
            Ok(_) => Some("its condition is neither true nor false".to_owned()),
            Err(error) => Some(format!("its condition cannot be answered: {error}")),
        }
    }

    /// The single value of an expression, as text. `None` when there is none, or more than one.
    #[must_use]
    pub fn value(&self, facts: &Facts) -> Option<String> {
        match self.0.execute(&facts.0).ok()?.json().ok()? {
            Value::String(text) => Some(text),
            value @ (Value::Bool(_) | Value::Number(_)) => Some(value.to_string()),
            _ => None,
        }
    }

    /// Whether the expression asks what happened: one that does not is only about pushes.
    #[must_use]
    pub fn asks_for_the_event(&self) -> bool {
        self.0.references().has_variable("event")
    }
}

const EXAMPLE: &str = "write for example: ref == \"refs/heads/main\"";

/// How deep an expression is nested at the most, whatever stands in its texts.
fn deepest(text: &str) -> usize {
    let (mut depth, mut most, mut signs) = (0_usize, 0, 0);
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '!' | '-' | '?' => signs += 1,
            _ => {}
        }
        most = most.max(depth + signs);
    }
    most
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::fits;

    #[test]
    fn conditions_are_read_and_judged() {
        let payload = json!({
            "ref": "refs/heads/main", "repository": { "name": "shop" }, "n": 3, "list": [{ "a": 1, "files": ["x"] }],
            "package": { "tag": "1.2" },
        });
        let facts = Facts::new(&payload, "push").unwrap();
        for (text, holds) in [
            ("ref == \"refs/heads/main\"", true),
            ("ref != \"refs/heads/main\"", false),
            ("ref.startsWith(\"refs/heads/\") && repository.name == \"shop\"", true),
            ("ref.matches(\"^refs/heads/(main|next)$\")", true),
            ("ref == \"x\" || n == 3", true),
            ("n > 3", false),
            ("list[0].a == 1", true),
            ("list.exists(c, \"x\" in c.files)", true),
            ("payload[\"package\"].tag == \"1.2\"", true),
            ("event in [\"push\", \"release\"]", true),
            ("missing == \"x\"", false),
            ("missing != \"x\"", false),
            ("!has(payload.missing)", true),
            ("ref", false),
        ] {
            assert_eq!(Expression::parse(text).map(|it| it.objection(&facts).is_none()), Ok(holds), "{text}");
        }
    }

    #[test]
    fn a_single_value_is_text() {
        let payload = json!({ "after": "abc", "n": 3, "list": [1], "release": { "tag_name": "v1.4" }, "none": null });
        let facts = Facts::new(&payload, "release").unwrap();
        for (text, value) in [
            ("after", Some("abc")),
            ("n", Some("3")),
            ("release.tag_name", Some("v1.4")),
            ("release.tag_name + \"-alpine\"", Some("v1.4-alpine")),
            ("list", None),
            ("none", None),
            ("missing", None),
        ] {
            assert_eq!(Expression::parse(text).unwrap().value(&facts).as_deref(), value, "{text}");
        }
    }

    #[test]
    fn an_expression_knows_whether_it_asks_what_happened() {
        assert!(Expression::parse("event == \"release\" && ref == \"x\"").unwrap().asks_for_the_event());
        assert!(!Expression::parse("payload.event == \"release\"").unwrap().asks_for_the_event());
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
        for bad in ["", "ref == main ==", "ref = \"x\"", "a b == \"x\"", "ref == \"x", "f("] {
            assert!(Expression::parse(bad).is_err(), "{bad}");
        }
        for deep in ["(".repeat(900), "!".repeat(900), "[".repeat(900), "a.".repeat(499), "a?b:".repeat(240)] {
            let _ = Expression::parse(&deep);
        }
        assert!(Expression::parse(&format!("{}true{}", "(".repeat(40), ")".repeat(40))).is_err());
        assert!(Expression::parse(&format!("a == \"{}\"", "x".repeat(1000))).is_err());
    }
}
