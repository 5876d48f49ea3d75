//! `.env`: values for variables, in the grammar of the compose specification. Not that of `env_file`, which is Docker's.
//!
//! `NAME=value`, also with `export` in front; blanks around name and value do not count; `#` begins a comment, after a
//! value only behind a blank. `'…'` is taken as it is, but `\'` is a quote; in `"…"` `\n`, `\r`, `\t`, `\"`, `\\` and `\$`
//! are known. There and without quotes variables are put in as in a compose file, but that a lone `$` is one, and that what
//! is not set is empty, with a warning: those of the stack, and then those above in the file.

use std::collections::BTreeMap;

use crate::domain::{Compat, Masker, UnsetVariables};

use super::files::OPEN;
use super::findings::Findings;
use super::input::{Needs, RenderInput, VariableValue};
use super::interpolate::{self, Fault, Variables};
use super::path::folder_of;
use super::yaml::Position;

/// The name of the file that is read by itself.
const NAME: &str = ".env";
/// A file may have so many bytes.
const LARGEST: usize = 1 << 20;
/// What is said of a mistake in a file that was encrypted.
const HIDDEN: &str = "cannot be understood from here on; the file is encrypted, so nothing of it is shown";
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
        Some(Ok(data)) => parse(data, (&path, input.confidential.files.contains(&path)), outer, found),
    }
}

/// The values in a file; `outer` may be referred to, and counts more than what stands above. `None` when it is wrong, which
/// has been reported. The values of a file that was encrypted are secret, and nothing of them is said.
pub(super) fn parse(data: &[u8], (path, secret): (&str, bool), outer: &Values, found: &Findings) -> Option<Values> {
    let file = found.add_file(path, folder_of(path));
    let top = Position { file, line: 1, column: 1 };
    if data.len() > LARGEST {
        found.error(top, "", "is larger than 1 MiB", "split it, or keep large texts in files of their own");
        return None;
    }
    let Ok(text) = std::str::from_utf8(data) else {
        found.error(top, "", "is not UTF-8 text", "save it as UTF-8");
        return None;
    };
    let text = text.trim_start_matches('\u{feff}');
    // What would be said of a secret file holds parts of it.
    let apart = secret.then(|| Findings::new(Compat::Strict));
    let said = apart.as_ref().unwrap_or(found);
    let mut reader =
        Reader { text, rest: text, file, seen: 0, line: 1, begin: 0, outer, found: said, values: Values::new() };
    loop {
        match reader.assignment() {
            Ok(true) => {}
            Ok(false) => break,
            Err((at, Fault { message, hint })) => {
                match secret {
                    true => found.error(at, "", HIDDEN, FORM),
                    false => found.error(at, "", message, hint),
                }
                return None;
            }
        }
    }
    let mut values = reader.values;
    if let Some(apart) = apart {
        values.values_mut().for_each(|value| value.secret = true);
        if !apart.warnings(&Masker::new(&[])).is_empty() {
            found.warn(
                top,
                "",
                "a variable in it is not set; it counts as empty (the file is encrypted: no names are told)",
            );
        }
    }
    Some(values)
}

struct Reader<'t> {
    text: &'t str,
    rest: &'t str,
    file: usize,
    /// Bytes that lines were counted in.
    seen: usize,
    /// The line that they end in.
    line: u64,
    /// Where that line begins.
    begin: usize,
    outer: &'t Values,
    found: &'t Findings,
    values: Values,
}

impl<'t> Reader<'t> {
    /// Where the rest begins.
    fn here(&mut self) -> Position {
        let now = self.text.len() - self.rest.len();
        for (at, _) in self.text.get(self.seen..now).unwrap_or_default().match_indices('\n') {
            self.line += 1;
            self.begin = self.seen + at + 1;
        }
        self.seen = now;
        let column = self.text.get(self.begin..now).unwrap_or_default().chars().count();
        Position { file: self.file, line: self.line, column: u64::try_from(column + 1).unwrap_or(u64::MAX) }
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
                // A lone `$` in front of one that is meant as such would make a pair with it.
                Some("$$") if out.bytes().rev().take_while(|c| *c == b'$').count() % 2 == 1 => out.push_str("$$$"),
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

    /// All that was said of a file that was encrypted, and its values.
    fn told(text: &str) -> (Option<Values>, String) {
        let found = Findings::new(Compat::Strict);
        let values = parse(text.as_bytes(), (".env", true), &Values::new(), &found);
        let mask = Masker::new(&[]);
        let warnings: Vec<String> = found.warnings(&mask).into_iter().map(|warning| warning.message).collect();
        let errors = found.errors(&mask).map(|errors| errors.to_string()).unwrap_or_default();
        (values, warnings.join("\n") + &errors)
    }

    #[test]
    fn nothing_is_said_of_what_was_encrypted() {
        let (values, said) = told("PASSWORD=abc$Hunter2x");
        assert!(values.unwrap_or_default()["PASSWORD"].secret);
        assert!(said.contains("is not set") && !said.contains("Hunter2x"), "{said}");
        for text in ["A=ab${hunter2", "A='hunter2", "hunter 2=1", "A='1' hunter2"] {
            let (values, said) = told(text);
            assert!(values.is_none() && said.contains("the file is encrypted") && !said.contains("hunter"), "{said}");
        }
    }

    #[test]
    fn many_lines_are_read_in_one_go_and_too_many_not_at_all() {
        let many = "A=$X\n".repeat(LARGEST / 5);
        let found = Findings::new(Compat::Strict);
        let values = parse(many.as_bytes(), (".env", false), &Values::new(), &found).unwrap_or_default();
        assert_eq!(values.len(), 1);
        let last = found.warnings(&Masker::new(&[])).pop().map(|warning| (warning.line, warning.column));
        assert_eq!(last, Some((u64::try_from(LARGEST / 5).unwrap_or(0), 3)));
        let more = many + "A=$X\n";
        assert!(parse(more.as_bytes(), (".env", false), &Values::new(), &found).is_none());
    }

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let known = VariableValue { text: "stack".to_owned(), secret: true };
        let outer = Values::from([("S".to_owned(), known)]);
        let found = Findings::new(Compat::Strict);
        let values = parse(text.as_bytes(), ("deploy/.env", false), &outer, &found);
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
        let text = "A=1\nB=${A:+y}|${X:+y}|${X+y}\nC=${X:-${Y:-${A}}/d}\nD=${A:?no}${S?no}\nE=$$A \\$A\nF=\"\\$A ${X:-a\\\"b}\"\nG='it\\'s $A \\n'\nS=mine\nH=$S\nI=$2y$05$\nJ=\"$\\$A $$\\$A\"";
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
            ("J", "$$A $$A"),
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
        let values = parse(b"A=1\nB=x${NONE}", (".env", false), &Values::new(), &found).unwrap();
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
        let values = parse(text, (".env", false), &outer, &Findings::new(Compat::Strict)).unwrap_or_default();
        let secret: Vec<&str> =
            values.iter().filter(|(_, value)| value.secret).map(|(name, _)| name.as_str()).collect();
        assert_eq!(secret, ["A", "B", "E"]);
    }
}
