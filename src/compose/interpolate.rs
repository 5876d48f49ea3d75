//! Variables in values: `$NAME` and `${NAME…}` in every text that is a value, never in a key.
//!
//! By the specification's rules: `${V:-default}` and `${V-default}`, `${V:+other}` and `${V+other}`, `${V:?message}` and
//! `${V?message}`, each with variables inside the second part; `$$` is a `$`. With `:` an empty value counts as unset.
//!
//! With the CLI's quirks: no `+`, no variables inside a default, a default ends at the first `}`, an operator is also taken
//! without braces (`$A-b`), operators are looked for in the order `:-`, `-`, `:?`, `?` anywhere in the expression, and a
//! variable that is not set is empty, whatever the policy says.

use std::collections::BTreeMap;

use crate::domain::UnsetVariables;

use super::compat::Difference;
use super::findings::Findings;
use super::input::VariableValue;
use super::scalar::Kind;
use super::trail::Walk;
use super::yaml::{Node, Position, Scalar, Value};

/// How deep variables may stand inside variables.
const DEEPEST: usize = 16;
/// The longest text that interpolation may make.
const LONGEST: usize = 1024 * 1024;

/// The values to put in, and what to do where there is none.
pub(super) struct Variables<'a> {
    pub(super) values: &'a BTreeMap<String, VariableValue>,
    /// Values that count where `values` has none.
    pub(super) below: Option<&'a BTreeMap<String, VariableValue>>,
    pub(super) unset: UnsetVariables,
}

impl Variables<'_> {
    fn get(&self, name: &str) -> Option<&VariableValue> {
        self.values.get(name).or_else(|| self.below.and_then(|below| below.get(name)))
    }
}

/// Puts variables into every text of the tree. What stands under `x-` keys at the top, our own apart, is left alone: it has no
/// meaning, and where an anchor carries it elsewhere it is done there.
pub(super) fn interpolate(tree: &mut Node, variables: &Variables<'_>, found: &Findings) {
    below(tree, &mut Walk::default(), variables, found);
}

fn below(node: &mut Node, walk: &mut Walk, variables: &Variables<'_>, found: &Findings) {
    let at = node.at;
    match &mut node.value {
        Value::Scalar(Scalar { text, kind: Kind::Text, interpolated }) if text.contains('$') => {
            let path = walk.path();
            let mut text_of = Expander { variables, found, at, path, compared: true, secret: false };
            match text_of.expand(text) {
                Ok(expanded) => {
                    *interpolated = expanded != *text;
                    *text = expanded;
                }
                Err(Fault { message, hint }) => found.error(at, path, message, hint),
            }
        }
        Value::Scalar(_) => {}
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                let before = walk.item(index);
                below(item, walk, variables, found);
                walk.back(before);
            }
        }
        Value::Map(entries) => {
            let top = walk.path().is_empty();
            for entry in
                entries.iter_mut().filter(|entry| !(top && entry.key.starts_with("x-") && entry.key != "x-skep"))
            {
                let before = walk.key(&entry.key);
                below(&mut entry.value, walk, variables, found);
                walk.back(before);
            }
        }
    }
}

/// Puts variables into a text of a `.env`, which the CLI does not read: by the specification's rules, and a lone `$` is
/// meant as such. Gives also whether something secret was put in.
pub(super) fn put_in(
    text: &str,
    variables: &Variables<'_>,
    found: &Findings,
    at: Position,
    path: &str,
) -> Result<(String, bool), Fault> {
    let mut expander = Expander { variables, found, at, path, compared: false, secret: false };
    let text = expander.strict(text, 1)?;
    Ok((text, expander.secret))
}

/// What is wrong with an expression, and the mend.
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) hint: String,
}

fn fault(message: impl Into<String>, hint: impl Into<String>) -> Fault {
    Fault { message: message.into(), hint: hint.into() }
}

const TOO_LONG: &str = "is longer than 1 MiB with its variables put in";
const ESCAPE: &str = "write `$$` for a `$` that is meant as such";

struct Expander<'a> {
    variables: &'a Variables<'a>,
    found: &'a Findings,
    at: Position,
    path: &'a str,
    /// Whether the CLI reads the text too.
    compared: bool,
    /// Whether something secret was put in.
    secret: bool,
}

impl Expander<'_> {
    fn differs(&self, difference: Difference) {
        if self.compared {
            self.found.differs(difference, self.at, self.path);
        }
    }

    fn taken(&mut self, value: &VariableValue) -> String {
        self.secret |= value.secret;
        value.text.clone()
    }

    fn expand(&mut self, text: &str) -> Result<String, Fault> {
        let expanded = if self.found.strict() { self.strict(text, 0)? } else { self.quirky(text)? };
        if expanded.len() > LONGEST {
            return Err(fault(TOO_LONG, "put large contents into a file"));
        }
        Ok(expanded)
    }

    fn strict(&mut self, text: &str, depth: usize) -> Result<String, Fault> {
        if depth > DEEPEST {
            return Err(fault(
                format!("variables inside variables, more than {DEEPEST} deep"),
                "name the inner ones in variables of their own",
            ));
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some(inside) = after.strip_prefix('{') {
                let end =
                    closing(inside).ok_or_else(|| fault(format!("`${{{inside}` has no closing brace"), ESCAPE))?;
                let (expression, after) = (inside.get(..end).unwrap_or(""), inside.get(end + 1..).unwrap_or(""));
                out.push_str(&self.braced(expression, depth)?);
                rest = after;
            } else {
                let (name, after) = name(after);
                if !name.is_empty() {
                    out.push_str(&self.plain(name)?);
                    if after.starts_with(['-', '?']) || after.starts_with(":-") || after.starts_with(":?") {
                        self.differs(Difference::BareOperator);
                    }
                } else if depth > 0 {
                    // Inside a default a lone `$` is common (hashes of passwords) and cannot be misread.
                    out.push('$');
                } else {
                    return Err(fault(
                        format!("`${}` is no variable", after.chars().take(1).collect::<String>()),
                        ESCAPE,
                    ));
                }
                rest = after;
            }
            if out.len() > LONGEST {
                return Err(fault(TOO_LONG, "put large contents into a file"));
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn braced(&mut self, expression: &str, depth: usize) -> Result<String, Fault> {
        let (name, operation) = name(expression);
        if name.is_empty() {
            return Err(fault(format!("`${{{expression}}}` does not begin with a variable's name"), ESCAPE));
        }
        let variables = self.variables;
        let value = variables.get(name);
        let (operation, filled) = match operation.strip_prefix(':') {
            Some(operation) => (operation, value.filter(|value| !value.text.is_empty())),
            None => (operation, value),
        };
        let mut operator = operation.chars();
        self.remark(expression, name, operation, filled.is_some());
        match (operator.next(), filled) {
            (None, _) if expression == name => self.plain(name),
            (Some('-'), Some(value)) | (Some('?'), Some(value)) => Ok(self.taken(value)),
            (Some('-'), None) => {
                let default = self.strict(operator.as_str(), depth + 1)?;
                if default != operator.as_str() {
                    self.differs(Difference::NestedVariable);
                }
                Ok(default)
            }
            (Some('+'), Some(_)) => self.strict(operator.as_str(), depth + 1),
            (Some('+'), None) => Ok(String::new()),
            (Some('?'), None) => {
                let message = self.strict(operator.as_str(), depth + 1)?;
                Err(required(name, &message))
            }
            _ => Err(fault(
                format!("`${{{expression}}}` is no expression"),
                "after the name may stand `:-`, `-`, `:+`, `+`, `:?` or `?`",
            )),
        }
    }

    /// Says where `docker stack deploy` would read an expression otherwise. What it refuses is not mentioned.
    fn remark(&self, expression: &str, name: &str, operation: &str, filled: bool) {
        let theirs = [":-", "-", ":?", "?"].iter().find_map(|operator| expression.split_once(operator));
        if theirs.is_some_and(|(theirs, _)| theirs != name) && operation.starts_with(['?', '-']) {
            self.differs(Difference::OperatorOrder);
        } else if operation.starts_with('-') && filled && operation.contains('}') {
            self.differs(Difference::NestedVariable);
        }
    }

    /// The value of a variable that has no operator.
    fn plain(&mut self, name: &str) -> Result<String, Fault> {
        let variables = self.variables;
        match (variables.get(name), variables.unset) {
            (Some(value), _) => Ok(self.taken(value)),
            (None, UnsetVariables::Error) if self.found.strict() => Err(fault(
                format!("variable `{name}` is not set"),
                format!("set it in the stack's `variables`, or give it a default: `${{{name}:-}}`"),
            )),
            (None, _) => {
                self.found.warn(self.at, self.path, &format!("variable `{name}` is not set; it counts as empty"));
                Ok(String::new())
            }
        }
    }

    fn quirky(&mut self, text: &str) -> Result<String, Fault> {
        let mut out = String::with_capacity(text.len());
        // Of several faults only that of the last expression counts: `Some(None)` is one of form.
        let (mut rest, mut fault, mut left_out) = (text, None, false);
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                rest = after;
                continue;
            }
            left_out |= fault.take().is_some();
            match quirky_expression(after) {
                None => {
                    fault = Some(None);
                    rest = after;
                }
                Some((expression, tail)) => {
                    match self.operated(expression) {
                        Ok(value) => out.push_str(&value),
                        Err(found) => fault = Some(Some(found)),
                    }
                    rest = tail;
                }
            }
        }
        out.push_str(rest);
        if let Some(fault) = fault {
            return Err(fault.unwrap_or_else(|| invalid(text)));
        }
        if left_out {
            let remark =
                "as with the CLI, a `$` or a required variable that is missing is left out, for a variable follows";
            self.found.warn(self.at, self.path, remark);
        }
        Ok(out)
    }

    fn operated(&mut self, expression: &str) -> Result<String, Fault> {
        let variables = self.variables;
        let value = |name: &str| variables.get(name).map(|value| value.text.clone());
        let filled = |name: &str| value(name).filter(|value| !value.is_empty());
        if let Some((name, default)) = expression.split_once(":-") {
            Ok(filled(name).unwrap_or_else(|| default.to_owned()))
        } else if let Some((name, default)) = expression.split_once('-') {
            Ok(value(name).unwrap_or_else(|| default.to_owned()))
        } else if let Some((name, message)) = expression.split_once(":?") {
            filled(name).ok_or_else(|| required(name, message))
        } else if let Some((name, message)) = expression.split_once('?') {
            value(name).ok_or_else(|| required(name, message))
        } else {
            self.plain(expression)
        }
    }
}

fn required(name: &str, message: &str) -> Fault {
    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
    fault(format!("required variable `{name}` is missing a value{message}"), "set it in the stack's `variables`")
}

fn invalid(text: &str) -> Fault {
    fault(format!("invalid interpolation format: `{text}`"), ESCAPE)
}

/// The expression that stands after a `$`, and what comes after it.
fn quirky_expression(after: &str) -> Option<(&str, &str)> {
    let braces = after.strip_prefix('{');
    let inside = braces.unwrap_or(after);
    let (found, tail) = name(inside);
    let operation = if tail.starts_with(":-") || tail.starts_with(":?") || tail.starts_with(['-', '?']) {
        tail.find('}').unwrap_or(tail.len())
    } else {
        0
    };
    let (expression, tail) = inside.split_at_checked(found.len() + operation).unwrap_or((inside, ""));
    let tail = if braces.is_some() { tail.strip_prefix('}')? } else { tail };
    (!found.is_empty()).then_some((expression, tail))
}

/// The variable's name that `text` begins with, which may be empty, and the rest.
fn name(text: &str) -> (&str, &str) {
    let first = text.bytes().next().is_some_and(|c| c.is_ascii_alphabetic() || c == b'_');
    let end = if first { text.bytes().take_while(|c| c.is_ascii_alphanumeric() || *c == b'_').count() } else { 0 };
    text.split_at_checked(end).unwrap_or(("", text))
}

/// Where the brace that was opened before `text` is closed, braces inside counted.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (index, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' if open == 0 => return Some(index),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Compat, Masker, Warning};

    fn expand(compat: Compat, text: &str) -> Result<String, String> {
        expanded(compat, text).0
    }

    fn expanded(compat: Compat, text: &str) -> (Result<String, String>, Vec<Warning>) {
        let values = [("SET", "value"), ("EMPTY", ""), ("OTHER", "o")]
            .into_iter()
            .map(|(name, text)| (name.to_owned(), VariableValue { text: text.to_owned(), secret: false }))
            .collect();
        let variables = Variables { values: &values, below: None, unset: UnsetVariables::Error };
        let found = Findings::new(compat);
        let (at, path) = (Position::default(), "p");
        let mut expander = Expander { variables: &variables, found: &found, at, path, compared: true, secret: false };
        let expanded = expander.expand(text).map_err(|fault| fault.message);
        (expanded, found.warnings(&Masker::new(&[])))
    }

    #[test]
    fn every_form_of_the_specification() {
        for (text, expected) in [
            ("no variable", "no variable"),
            ("$SET-x", "value-x"),
            ("${SET}x", "valuex"),
            ("a$$b$$${SET}", "a$b$value"),
            ("${NONE:-d}", "d"),
            ("${NONE-d}", "d"),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY-d}", ""),
            ("${SET:+a}", "a"),
            ("${SET+a}", "a"),
            ("${EMPTY:+a}", ""),
            ("${EMPTY+a}", "a"),
            ("${NONE:+a}|${NONE+a}", "|"),
            ("${SET:?no}${EMPTY?no}", "value"),
            ("${NONE:-${SET}/${OTHER:-x}}", "value/o"),
            ("${NONE:-{{.Node.Hostname}}}", "{{.Node.Hostname}}"),
            ("${NONE:-$2y$$05}", "$2y$05"),
            ("${SET:?use-b}", "value"),
        ] {
            assert_eq!(expand(Compat::Strict, text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for (text, expected) in [
            ("$NONE", "variable `NONE` is not set"),
            ("${NONE}", "variable `NONE` is not set"),
            ("${NONE:?set it}", "required variable `NONE` is missing a value: set it"),
            ("${EMPTY:?}", "required variable `EMPTY` is missing a value"),
            ("$1", "`$1` is no variable"),
            ("a$", "`$` is no variable"),
            ("${SET", "`${SET` has no closing brace"),
            ("${}", "`${}` does not begin with a variable's name"),
            ("${SET!x}", "`${SET!x}` is no expression"),
            ("${SET:}", "`${SET:}` is no expression"),
        ] {
            assert_eq!(expand(Compat::Strict, text), Err(expected.to_owned()), "{text}");
        }
    }

    /// Measured with the CLI 28.2.2; see the module's text for the rules.
    #[test]
    fn the_quirks_of_the_docker_cli() {
        for (text, expected) in [
            ("$NONE-b", "b"),
            ("x$NONE:-yy zz", "xyy zz"),
            ("$SET-alpine", "value"),
            ("${NONE:-${SET}}", "${SET}"),
            ("${NONE:?use-b}", "b"),
            ("${P:-$2y$05$x}", "$2y$05$x"),
            ("$${SET}", "${SET}"),
            ("x $? $SET", "x ? value"),
            ("$?$$SET$SET", "?$SETvalue"),
            ("${} $SET", "{} value"),
            ("${SET:+x} $NONE", "{SET:+x} "),
            ("${SET $SET", "{SET value"),
            ("${NONE:?need} ${OTHER}", " o"),
        ] {
            assert_eq!(expand(Compat::Cli, text).as_deref(), Ok(expected), "{text}");
        }
        for bad in ["${SET:+a}", "${SET", "$1", "$", "x $? $$ y", "$? ${NONE?need}", "$SET $?", "$SET ${SET:+x}"] {
            assert!(expand(Compat::Cli, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_the_cli_would_read_otherwise_is_said() {
        for (text, said) in [
            ("${SET:?use-b}", true),
            ("${NONE-a:-b}", true),
            ("${NONE:-a-b}", false),
            ("${NONE-a-b}", false),
            ("${NONE-a?b}", false),
        ] {
            let (_, warnings) = expanded(Compat::Strict, text);
            let remark = Difference::OperatorOrder.remark();
            assert_eq!(warnings.iter().any(|warning| warning.message.ends_with(&remark)), said, "{text}: {warnings:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn text_without_a_dollar_is_left_alone(text in "[^$]*") {
            for compat in [Compat::Strict, Compat::Cli] {
                proptest::prop_assert_eq!(expand(compat, &text), Ok(text.clone()));
            }
        }

        #[test]
        fn an_escaped_text_is_itself_again(text in ".*") {
            for compat in [Compat::Strict, Compat::Cli] {
                proptest::prop_assert_eq!(expand(compat, &text.replace('$', "$$")), Ok(text.clone()));
            }
        }
    }
}
