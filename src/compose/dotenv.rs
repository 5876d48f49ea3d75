//! `.env`: values for variables, in the grammar of the compose specification. Not that of `env_file`, which is Docker's.
//!
//! `NAME=value`, also with `export` in front; blanks around name and value do not count; `#` begins a comment, after a
//! value only behind a blank. `'…'` is taken as it is; in `"…"` `\n`, `\r`, `\t`, `\"`, `\\` and `\$` are known, and
//! variables are put in, as they are without quotes: those above in the file and those of the stack.

use std::collections::BTreeMap;

use super::findings::Findings;
use super::input::{Needs, RenderInput, VariableValue};

/// The name of the file that is read by itself.
const NAME: &str = ".env";
/// How a fault is mended.
pub(super) const HINT: &str = "each line is `NAME=value` or a `#` comment";

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
            found.error(Default::default(), "", format!("cannot read `{path}`: {why}"), "");
            None
        }
        // Most repositories have none.
        Some(Err(_)) => Some(Values::new()),
        Some(Ok(data)) => match parse(data, outer) {
            Ok(values) => Some(kept_secret(values, &path, input)),
            Err(fault) => {
                found.error(Default::default(), "", format!("`{path}` {fault}"), HINT);
                None
            }
        },
    }
}

/// The values of a file, as secret as the file.
pub(super) fn kept_secret(mut values: Values, path: &str, input: &RenderInput<'_>) -> Values {
    if input.confidential.files.contains(path) {
        values.values_mut().for_each(|value| value.secret = true);
    }
    values
}

/// The values in a file; `outer` may be referred to. The error says where and what.
pub(super) fn parse(data: &[u8], outer: &Values) -> Result<Values, String> {
    let text = std::str::from_utf8(data).map_err(|_| "is not UTF-8 text".to_owned())?;
    let mut reader = Reader { rest: text.trim_start_matches('\u{feff}'), line: 1, outer, values: Values::new() };
    loop {
        match reader.assignment() {
            Ok(true) => {}
            Ok(false) => return Ok(reader.values),
            Err(message) => return Err(format!("line {}: {message}", reader.line)),
        }
    }
}

struct Reader<'t> {
    rest: &'t str,
    line: usize,
    outer: &'t Values,
    values: Values,
}

impl<'t> Reader<'t> {
    /// Reads one assignment; `false` at the end.
    fn assignment(&mut self) -> Result<bool, String> {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\r']);
            match self.rest.chars().next() {
                None => return Ok(false),
                Some('\n') => self.next_line(),
                Some('#') => self.skip_line(),
                Some(_) => break,
            }
        }
        let end = self.rest.find(['\n', '=', '#']).unwrap_or(self.rest.len());
        let (head, tail) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        let name = head.trim();
        let name = name.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).unwrap_or(name).trim();
        let named = name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-'));
        if name.is_empty() || !named {
            return Err(format!("`{name}` is no name of a variable"));
        }
        let Some(tail) = tail.strip_prefix('=') else {
            // A name alone takes what is known already.
            self.rest = tail;
            self.skip_line();
            return Ok(true);
        };
        self.rest = tail.trim_start_matches([' ', '\t']);
        let (text, secret) = self.value()?;
        self.values.insert(name.to_owned(), VariableValue { text, secret });
        Ok(true)
    }

    /// A value, and whether a secret one was put into it.
    fn value(&mut self) -> Result<(String, bool), String> {
        match self.rest.chars().next() {
            Some('\'') => {
                let inside = self.rest.get(1..).unwrap_or_default();
                let end = inside.find('\'').ok_or("a ' is not closed")?;
                let text = inside.get(..end).unwrap_or_default().to_owned();
                self.rest = inside.get(end + 1..).unwrap_or_default();
                self.line += text.matches('\n').count();
                self.nothing_more()?;
                Ok((text, false))
            }
            Some('"') => {
                let inside = self.rest.get(1..).unwrap_or_default();
                let end = closing_quote(inside).ok_or("a \" is not closed")?;
                let raw = inside.get(..end).unwrap_or_default();
                self.rest = inside.get(end + 1..).unwrap_or_default();
                let value = self.expand(raw, true);
                self.line += raw.matches('\n').count();
                self.nothing_more()?;
                Ok(value)
            }
            _ => {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                let (line, tail) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
                let comment = [" #", "\t#"].iter().filter_map(|mark| line.find(mark)).min();
                let line =
                    if line.starts_with('#') { "" } else { line.get(..comment.unwrap_or(line.len())).unwrap_or(line) };
                self.rest = tail;
                Ok(self.expand(line.trim(), false))
            }
        }
    }

    /// After a quoted value only a comment may follow.
    fn nothing_more(&mut self) -> Result<(), String> {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let (line, tail) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        let after = line.trim();
        if !after.is_empty() && !after.starts_with('#') {
            return Err(format!("`{after}` stands behind a closed quote"));
        }
        self.rest = tail;
        Ok(())
    }

    /// Puts variables in: `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME-default}`. What is not known is empty.
    fn expand(&self, text: &str, escapes: bool) -> (String, bool) {
        let mut out = String::with_capacity(text.len());
        let mut secret = false;
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let after = rest.get(c.len_utf8()..).unwrap_or_default();
            rest = after;
            if c == '\\' && escapes {
                let Some(next) = after.chars().next() else { continue };
                match next {
                    'n' => out.push('\n'),
                    'r' => out.push('\r'),
                    't' => out.push('\t'),
                    '"' | '\\' | '$' => out.push(next),
                    _ => out.extend(['\\', next]),
                }
                rest = after.get(next.len_utf8()..).unwrap_or_default();
            } else if c == '$' {
                let braced = after.strip_prefix('{').and_then(|inside| Some((inside, inside.find('}')?)));
                let (expression, tail) = match braced {
                    Some((inside, end)) => (inside.get(..end).unwrap_or(""), inside.get(end + 1..).unwrap_or("")),
                    None => {
                        let end = after.bytes().take_while(|c| c.is_ascii_alphanumeric() || *c == b'_').count();
                        after.split_at_checked(end).unwrap_or(("", after))
                    }
                };
                if expression.is_empty() {
                    out.push('$');
                    continue;
                }
                rest = tail;
                let end = expression.bytes().take_while(|c| c.is_ascii_alphanumeric() || *c == b'_').count();
                let (name, operation) = expression.split_at_checked(end).unwrap_or((expression, ""));
                let value = self.values.get(name).or_else(|| self.outer.get(name));
                let (default, filled) = match (operation.strip_prefix(":-"), operation.strip_prefix('-')) {
                    (Some(default), _) => (default, value.filter(|value| !value.text.is_empty())),
                    (None, default) => (default.unwrap_or(""), value),
                };
                match filled {
                    Some(value) => {
                        secret |= value.secret;
                        out.push_str(&value.text);
                    }
                    None => out.push_str(default),
                }
            } else {
                out.push(c);
            }
        }
        (out, secret)
    }

    fn skip_line(&mut self) {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        self.rest = self.rest.get(end..).unwrap_or_default();
    }

    fn next_line(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
        self.line += 1;
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(index),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let known = VariableValue { text: "stack".to_owned(), secret: true };
        let outer = Values::from([("S".to_owned(), known)]);
        parse(text.as_bytes(), &outer)
            .map(|values| values.into_iter().map(|(name, value)| (name, value.text)).collect())
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
    fn faults_name_the_line() {
        for (text, expected) in [
            ("A=1\n=2", "line 2: `` is no name of a variable"),
            ("A=1\nB C=2", "line 2: `B C` is no name of a variable"),
            ("A='1", "line 1: a ' is not closed"),
            ("\nA=\"1", "line 2: a \" is not closed"),
            ("A='1' 2", "line 1: `2` stands behind a closed quote"),
        ] {
            assert_eq!(read(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_a_secret_went_into_is_secret() {
        let known = VariableValue { text: "s".to_owned(), secret: true };
        let values = parse(b"A=x$S\nB=$A\nC=1", &Values::from([("S".to_owned(), known)])).unwrap_or_default();
        let secret: Vec<&str> =
            values.iter().filter(|(_, value)| value.secret).map(|(name, _)| name.as_str()).collect();
        assert_eq!(secret, ["A", "B"]);
    }
}
