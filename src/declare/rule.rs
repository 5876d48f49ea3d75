//! What a hook's rules say: expressions over the payload in CEL, the Common Expression Language (cel.dev), such as
//! `ref == "refs/heads/main" && commits.exists(c, "deploy/x.yml" in c.modified)`.
//!
//! The members of the payload are variables of their own. Two more are always there: `payload`, the whole of it (for a
//! member whose name CEL keeps for itself), and `event`, what happened at the sender's in one word.

mod meter;

use cel::{Context, Program, Value as CelValue};
use serde_json::Value;

pub use self::meter::Exceeded;
use self::meter::{Bounds, Meter, Metered};

/// Characters of an expression: the parser is recursive, and nobody reads a longer one.
const LONGEST: usize = 1000;
/// Brackets, signs and negations inside one another.
const DEEPEST: usize = 32;

/// An expression that was read.
#[derive(Debug)]
pub struct Expression {
    metered: Metered,
    asks_for_the_event: bool,
}

/// A payload, ready to be asked about, within bounds.
pub struct Facts {
    context: Context<'static, 'static>,
    meter: Meter,
}

impl Facts {
    /// The variables of one delivery.
    ///
    /// # Errors
    /// A phrase, when the payload cannot be held as CEL's values.
    pub fn new(payload: &Value, event: &str) -> Result<Self, String> {
        Self::within(Bounds::default(), payload, event)
    }

    fn within(bounds: Bounds, payload: &Value, event: &str) -> Result<Self, String> {
        let mut context = Context::default();
        let meter = Meter::within(bounds, &mut context).map_err(|error| error.to_string())?;
        let wrong = |name: &str| format!("`{name}` of the payload cannot be read");
        for (name, value) in payload.as_object().into_iter().flatten() {
            context.add_variable(name.as_str(), value).map_err(|_| wrong(name))?;
        }
        context.add_variable("payload", payload).map_err(|_| wrong("payload"))?;
        context.add_variable("event", event).map_err(|_| wrong("event"))?;
        Ok(Self { context, meter })
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
        let program = Program::compile(text).map_err(|errors| {
            let first = errors.to_string();
            let first = first.lines().find(|line| !line.trim().is_empty()).unwrap_or("it cannot be read").trim();
            format!("`{text}` is not an expression of CEL: {first}; {EXAMPLE}")
        })?;
        let metered = Metered::new(program.expression())?;
        Ok(Self { metered, asks_for_the_event: program.references().has_variable("event") })
    }

    fn execute(&self, facts: &Facts) -> Result<Result<CelValue, cel::ExecutionError>, Exceeded> {
        self.metered.execute(&facts.context, &facts.meter)
    }

    /// Why a condition does not hold; none when it does. One that cannot be answered, because a field is not there, does
    /// not.
    ///
    /// # Errors
    /// It costs too much to say.
    pub fn objection(&self, facts: &Facts) -> Result<Option<String>, Exceeded> {
        Ok(match self.execute(facts)? {
            Ok(CelValue::Bool(true)) => None,
            Ok(CelValue::Bool(false)) => Some("its condition is false".to_owned()),
            Ok(_) => Some("its condition is neither true nor false".to_owned()),
            Err(error) => Some(format!("its condition cannot be answered: {error}")),
        })
    }

    /// The single value of an expression, as text. `None` when there is none, or more than one.
    ///
    /// # Errors
    /// It costs too much to say.
    pub fn value(&self, facts: &Facts) -> Result<Option<String>, Exceeded> {
        let found = self.execute(facts)?.ok().and_then(|value| value.json().ok());
        Ok(match found {
            Some(Value::String(text)) => Some(text),
            Some(value @ (Value::Bool(_) | Value::Number(_))) => Some(value.to_string()),
            _ => None,
        })
    }

    /// Whether the expression asks what happened: one that does not is only about pushes.
    #[must_use]
    pub fn asks_for_the_event(&self) -> bool {
        self.asks_for_the_event
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
            ("list.map(c, c.files[0]) == [\"x\"] && list.map(c, c.a > 0, c.a + n)[0] == 4", true),
            ("list.filter(c, c.a == 1)[0].files == [\"x\"] && size(list.filter(c, c.a == 2)) == 0", true),
            ("list.all(c, c.files.exists_one(f, f == \"x\"))", true),
            ("has(list[0].files) && !has(list[0].other) && {\"a\": [n]}.a[0] == 3", true),
            ("[1, 0].exists(d, 3 / d == 3)", true),
            ("[0, 1].exists(d, 3 / d == 3)", true),
            ("[0].exists(d, 3 / d == 3)", false),
            ("event in [\"push\", \"release\"]", true),
            ("missing == \"x\"", false),
            ("missing != \"x\"", false),
            ("!has(payload.missing)", true),
            ("ref", false),
        ] {
            assert_eq!(Expression::parse(text).map(|it| it.objection(&facts).unwrap().is_none()), Ok(holds), "{text}");
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
            assert_eq!(Expression::parse(text).unwrap().value(&facts), Ok(value.map(str::to_owned)), "{text}");
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
        for deep in [
            "(".repeat(900),
            "!".repeat(900),
            "[".repeat(900),
            "a.".repeat(499),
            "a?b:".repeat(240),
            "a+".repeat(499) + "a",
        ] {
            let _ = Expression::parse(&deep);
        }
        assert!(Expression::parse(&format!("{}true{}", "(".repeat(40), ")".repeat(40))).is_err());
        assert!(Expression::parse(&format!("a == \"{}\"", "x".repeat(1000))).is_err());
    }

    #[test]
    fn a_rule_costs_no_more_than_its_bounds() {
        let payload = json!({ "list": vec![1; 2000], "text": "x".repeat(1 << 16), "ref": "x" });
        let ample = Bounds { steps: u32::MAX, bytes: usize::MAX, time: std::time::Duration::from_secs(600) };
        let answer = |bounds, text: &str| {
            let facts = Facts::within(bounds, &payload, "push").unwrap();
            let expression = Expression::parse(text).unwrap();
            let (asked, value) = (expression.objection(&facts), expression.value(&facts));
            assert_eq!(asked.clone().err(), value.err(), "{text}");
            asked
        };
        // Loops within loops: 4 000 000 rounds, and 20 to the power of 4.
        let twenty = format!("[{}]", "0,".repeat(19) + "0");
        let deep = format!("{twenty}.all(a, {twenty}.all(b, {twenty}.all(c, {twenty}.all(d, true))))");
        for text in [
            "list.exists(a, list.exists(b, a + b == 3))",
            "list.all(a, list.all(b, true))",
            "list.exists_one(a, list.exists_one(b, false))",
            "size(list.filter(a, size(list.filter(b, false)) > 0)) > 0",
            "size(list.map(a, size(list.map(b, b)))) > 0",
            "size(list.map(a, list.exists(b, false), a)) > 0",
            // What would be an answer without the loop is none either.
            "list.exists(a, list.exists(b, false)) || true",
            &deep,
        ] {
            assert_eq!(answer(Bounds { steps: 1000, ..ample }, text), Err(Exceeded::Steps), "{text}");
            assert_eq!(
                answer(Bounds { time: std::time::Duration::ZERO, ..ample }, text),
                Err(Exceeded::Time),
                "{text}"
            );
        }
        // As it is by default, whichever bound comes first.
        assert!(answer(Bounds::default(), &deep).is_err());
        // A value that doubles with each sum, list or loop.
        let doubling = "[text].map(a, [a + a].map(b, [b + b].map(c, [c + c].map(d, d + d))))[0] == [\"\"]";
        let lists = "[text].map(a, [[a, a]].map(b, [[b, b]].map(c, [[c, c]].map(d, [d, d]))))[0] == [\"\"]";
        let sums = format!("{}text == \"\"", "text + ".repeat(40));
        let entries: String = (0..60).map(|n| format!("\"k{n}\": text, ")).collect();
        let maps = format!("{{{entries}\"b\": text}}.b == \"\"");
        for text in [doubling, lists, sums.as_str(), maps.as_str()] {
            assert_eq!(answer(Bounds { bytes: 1 << 20, ..ample }, text), Err(Exceeded::Size), "{text}");
        }
        // What is asked of a push is far from them.
        let commits = vec![json!({ "id": "x".repeat(40), "modified": ["a/b", "c/d"] }); 2000];
        let push =
            Facts::within(Bounds { time: ample.time, ..Bounds::default() }, &json!({ "commits": commits }), "push");
        let asked = Expression::parse("commits.exists(c, c.modified.exists(f, f.startsWith(\"deploy/\")))").unwrap();
        assert_eq!(asked.objection(&push.unwrap()), Ok(Some("its condition is false".to_owned())));
        let five = "list.all(a, list.all(b, list.all(c, list.all(d, list.all(e, true)))))";
        assert!(Expression::parse(five).unwrap_err().contains("loops within one another"));
        // The deepest that is read is answered, too, on a stack as a server's threads have it.
        let many = |sign: &str, count: usize| format!("{}ref == \"\"", format!("ref {sign} ").repeat(count));
        for (sign, wanted) in [("+", 40), ("==", 40)] {
            let facts = Facts::within(ample, &payload, "push").unwrap();
            assert!(Expression::parse(&many(sign, wanted)).unwrap().objection(&facts).unwrap().is_some(), "{sign}");
            assert!(Expression::parse(&many(sign, 130)).unwrap_err().contains("parts within one another"), "{sign}");
        }
        let alternatives = format!("{}ref == \"x\"", "ref == \"y\" || ".repeat(30));
        assert_eq!(
            Expression::parse(&alternatives).unwrap().objection(&Facts::within(ample, &payload, "").unwrap()),
            Ok(None)
        );
    }
}
