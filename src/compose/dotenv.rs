//! `.env`: values for variables, in the grammar of the compose specification. Not that of `env_file`, which is Docker's.
//!
//! `NAME=value`, also with `export` in front; blanks around name and value do not count; `#` begins a comment, after a
//! value only behind a blank. `'…'` is taken as it is, but `\'` is a quote; in `"…"` `\n`, `\r`, `\t`, `\"`, `\\` and `\$`
//! are known. There and without quotes variables are put in as in a compose file, but that a lone `$` is one, and that what
//! is not set is empty, with a warning: those of the stack, and then those above in the file.

use std::collections::BTreeMap;

use crate::domain::UnsetVariables;

use super::files::OPEN;
use super::findings::Findings;
use super::input::{Needs, RenderInput, VariableValue};
use super::interpolate::{self, Fault, Variables};
use super::path::folder_of;
use super::yaml::Position;

/// The name of the file that is read by itself.
const NAME: &str = ".env";
/// How a line is mended.
const FORM: &str = "each line is `NAME=value` or a `#` comment";

type Values = BTreeMap<String, VariableValue>;

/// The values of the `.env` in `folder`; none when there is no such file. `None` while it must be read first, or when
/// it is wrong.
pub(super) fn of_folder(
    folder: &str,
    outer: &Values,
    input: &RenderInput<'_>,
    found: &Findings,
    needs: &mut Needs,
) -> Option<Values> {
    let path = if folder.is_empty() { NAME.to_owned() } else { format!("{folder}/{NAME}") };
    match input.attachments.get(&path) {
        None => {
            needs.files.insert(path);
            None
        }
        Some(Err(why)) if input.confidential.files.contains(&path) => {
            found.error(Default::default(), "", format!("cannot read `{path}`: {why}"), OPEN);
            None
        }
        // Most repositories have none.
        Some(Err(_)) => Some(Values::new()),
        Some(Ok(data)) => parse(data, &path, outer, found).map(|values| kept_secret(values, &path, input)),
    }
}

/// The values of a file, as secret as the file.
pub(super) fn kept_secret(mut values: Values, path: &str, input: &RenderInput<'_>) -> Values {
    if input.confidential.files.contains(path) {
        values.values_mut().for_each(|value| value.secret = true);
    }
    values
}

/// The values in a file; `outer` may be referred to, and counts more than what stands above. `None` when it is wrong, which
/// has been reported.
pub(super) fn parse(data: &[u8], path: &str, outer: &Values, found: &Findings) -> Option<Values> {
    let file = found.add_file(path, folder_of(path));
    let Ok(text) = std::str::from_utf8(data) else {
        let top = Position { file, line: 1, column: 1 };
        found.error(top, "", "is not UTF-8 text", "save it as UTF-8");
        return None;
    };
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = Reader { text, rest: text, file, outer, found, values: Values::new() };
    loop {
        match reader.assignment() {
            Ok(true) => {}
            Ok(false) => return Some(reader.values),
            Err((at, Fault { message, hint })) => {
                found.error(at, "", message, hint);
                return None;
            }
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    rest: &'t str,
    file: usize,
    outer: &'t Values,
    found: &'t Findings,
    values: Values,
}

impl<'t> Reader<'t> {
    /// Where the rest begins.
    fn here(&self) -> Position {
        let read = self.text.get(..self.text.len() - self.rest.len()).unwrap_or_default();
        let count = |number: usize| u64::try_from(number + 1).unwrap_or(u64::MAX);
        let column = read.chars().rev().take_while(|c| *c != '\n').count();
        Position { file: self.file, line: count(read.matches('\n').count()), column: count(column) }
    }

    /// Reads one assignment; `false` at the end.
    fn assignment(&mut self) -> Result<bool, (Position, Fault)> {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
            match self.rest.chars().next() {
                None => return Ok(false),
                Some('#') => self.skip_line(),
                Some(_) => break,
            }
        }
        let at = self.here();
        let end = self.rest.find(['\n', '=', '#']).unwrap_or(self.rest.len());
        let (head, tail) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        let name = head.trim();
        let name = name.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).unwrap_or(name).trim();
        let named = name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-'));
        if name.is_empty() || !named {
            return Err((at, fault(format!("`{name}` is no name of a variable"), FORM)));
        }
        let Some(tail) = tail.strip_prefix('=') else {
            // A name alone takes what is known already.
            self.rest = tail;
            self.skip_line();
            return Ok(true);
        };
        self.rest = tail.trim_start_matches([' ', '\t']);
        let at = self.here();
        let (text, secret) = self.value(name, at).map_err(|fault| (at, fault))?;
        self.values.insert(name.to_owned(), VariableValue { text, secret });
        Ok(true)
    }

    /// A value, and whether a secret one was put into it.
    fn value(&mut self, name: &str, at: Position) -> Result<(String, bool), Fault> {
        let quote = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let Some(quote) = quote else {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            let (line, tail) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
            let comment = [" #", "\t#"].iter().filter_map(|mark| line.find(mark)).min();
            let line =
                if line.starts_with('#') { "" } else { line.get(..comment.unwrap_or(line.len())).unwrap_or(line) };
            self.rest = tail;
            return self.expand(line.trim(), name, at);
        };
        let inside = self.rest.get(1..).unwrap_or_default();
        let Some(end) = closing(inside, quote) else {
            return Err(fault(
                format!("a {quote} is not closed"),
                "close it, or write `\\` in front of one that is meant",
            ));
        };
        let raw = inside.get(..end).unwrap_or_default();
        self.rest = inside.get(end + 1..).unwrap_or_default();
        let value = match quote {
            '"' => self.expand(&unescaped(raw, double), name, at)?,
            _ => (unescaped(raw, single), false),
        };
        self.nothing_more()?;
        Ok(value)
    }

    /// After a quoted value only a comment may follow.
    fn nothing_more(&mut self) -> Result<(), Fault> {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let (line, tail) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        let after = line.trim();
        if !after.is_empty() && !after.starts_with('#') {
            return Err(fault(format!("`{after}` stands behind a closed quote"), "put it inside, or remove it"));
        }
        self.rest = tail;
        Ok(())
    }

    fn expand(&self, text: &str, name: &str, at: Position) -> Result<(String, bool), Fault> {
        let variables = Variables { values: self.outer, below: Some(&self.values), unset: UnsetVariables::Empty };
        interpolate::put_in(text, &variables, self.found, at, name)
    }

    fn skip_line(&mut self) {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        self.rest = self.rest.get(end..).unwrap_or_default();
    }
}

fn fault(message: String, hint: &str) -> Fault {
    Fault { message, hint: hint.to_owned() }
}

fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(index),
            _ => {}
        }
    }
    None
}

/// The text with what stands behind each `\` replaced by what it means; what has no meaning stays as it is.
fn unescaped(text: &str, meaning: fn(char) -> Option<&'static str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, (c == '\\').then(|| chars.next()).flatten()) {
            (_, Some(next)) => match meaning(next) {
                Some(meant) => out.push_str(meant),
                None => out.extend([c, next]),
            },
            (c, None) => out.push(c),
        }
    }
    out
}

fn single(c: char) -> Option<&'static str> {
    (c == '\'').then_some("'")
}

/// A `$` that is meant as such is written twice for what puts variables in.
fn double(c: char) -> Option<&'static str> {
    Some(match c {
        'n' => "\n",
        'r' => "\r",
        't' => "\t",
        '"' => "\"",
        '\\' => "\\",
        '$' => "$$",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Compat, Masker};

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let known = VariableValue { text: "stack".to_owned(), secret: true };
        let outer = Values::from([("S".to_owned(), known)]);
        let found = Findings::new(Compat::Strict);
        let values = parse(text.as_bytes(), "deploy/.env", &outer, &found);
        match found.errors(&Masker::new(&[])) {
            Some(errors) => Err(errors.to_string()),
            None => Ok(values.unwrap_or_default().into_iter().map(|(name, value)| (name, value.text)).collect()),
        }
    }

    #[test]
    fn every_form() {
        let text = "\u{feff}# c\nA=1\nexport B = two # c\nC='$A # x'\nD=\"a\\nb \\\"$A\\\" ${S}\" # c\n\nE=\nF=a#b\nG=${X:-d}-$A-$\nH=\"two\nlines\"\nALONE\nI=#c\r\nJ=last";
        let pairs = [
            ("A", "1"),
            ("B", "two"),
            ("C", "$A # x"),
            ("D", "a\nb \"1\" stack"),
            ("E", ""),
            ("F", "a#b"),
            ("G", "d-1-$"),
            ("H", "two\nlines"),
            ("I", ""),
            ("J", "last"),
        ];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read(text), Ok(pairs.to_vec()));
    }

    #[test]
    fn variables_are_put_in_as_in_a_compose_file() {
        let text = "A=1\nB=${A:+y}|${X:+y}|${X+y}\nC=${X:-${Y:-${A}}/d}\nD=${A:?no}${S?no}\nE=$$A \\$A\nF=\"\\$A ${X:-a\\\"b}\"\nG='it\\'s $A \\n'\nS=mine\nH=$S\nI=$2y$05$";
        let pairs = [
            ("A", "1"),
            ("B", "y||"),
            ("C", "1/d"),
            ("D", "1stack"),
            ("E", "$A \\1"),
            ("F", "$A a\"b"),
            ("G", "it's $A \\n"),
            ("H", "stack"),
            ("I", "$2y$05$"),
            ("S", "mine"),
        ];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read(text), Ok(pairs.to_vec()));
    }

    #[test]
    fn faults_name_the_place_and_the_mend() {
        for (text, expected) in [
            ("A=1\n=2", "2:1: `` is no name of a variable; each line is `NAME=value` or a `#` comment"),
            ("A=1\n B C=2", "2:2: `B C` is no name of a variable; each line is `NAME=value` or a `#` comment"),
            ("A='1", "1:3: a ' is not closed; close it, or write `\\` in front of one that is meant"),
            ("\nA=\"1", "2:3: a \" is not closed; close it, or write `\\` in front of one that is meant"),
            ("A='1' 2", "1:3: `2` stands behind a closed quote; put it inside, or remove it"),
            (
                "A=1\n\nB= ${X:?say it}",
                "3:4: required variable `X` is missing a value: say it; set it in the stack's `variables`",
            ),
            ("A=${B", "1:3: `${B` has no closing brace; write `$$` for a `$` that is meant as such"),
            ("A=${B!}", "1:3: `${B!}` is no expression; after the name may stand `:-`, `-`, `:+`, `+`, `:?` or `?`"),
        ] {
            assert_eq!(read(text), Err(format!("deploy/.env:{expected}")), "{text}");
        }
    }

    #[test]
    fn what_is_not_set_is_empty_with_a_warning() {
        let found = Findings::new(Compat::Strict);
        let values = parse(b"A=1\nB=x${NONE}", ".env", &Values::new(), &found).unwrap();
        assert_eq!(values["B"].text, "x");
        let warnings = found.warnings(&Masker::new(&[]));
        let told: Vec<String> = warnings.iter().map(|it| format!("{}:{}: {}", it.file, it.line, it.message)).collect();
        assert_eq!(told, [".env:2: B: variable `NONE` is not set; it counts as empty"]);
    }

    #[test]
    fn what_a_secret_went_into_is_secret() {
        let known = VariableValue { text: "s".to_owned(), secret: true };
        let outer = Values::from([("S".to_owned(), known)]);
        let text = b"A=x$S\nB=$A\nC=1\nD=${S:+set}\nE=${NONE:-$S}";
        let values = parse(text, ".env", &outer, &Findings::new(Compat::Strict)).unwrap_or_default();
        let secret: Vec<&str> =
            values.iter().filter(|(_, value)| value.secret).map(|(name, _)| name.as_str()).collect();
        assert_eq!(secret, ["A", "B", "E"]);
    }
}
