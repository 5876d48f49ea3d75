//! INI files as SOPS writes them: sections of `name = value` lines, the metadata flattened in a section `sops`.
//!
//! What stands before the first section is in one named `DEFAULT`. Comments begin with `;` or `#`, on a line of their own or
//! after a value and a blank. A value that a plain line cannot hold stands in back quotes, three double quotes, or a pair of
//! either kind of quotes. These are the rules of the library that SOPS reads and writes INI with (gopkg.in/ini.v1). A
//! reading that differs from SOPS's own cannot pass unseen: the MAC is over the values, and each is bound to its place.

use super::dotenv::place;
use super::tree::{Entries, Tree};
use crate::ports::DecryptError;

/// The section of the metadata.
const OWN: &str = "sops";
/// The section of what stands before the first.
const FIRST: &str = "DEFAULT";
const TRIPLE: &str = "\"\"\"";

/// The sections as maps, the metadata as a tree under `sops`.
pub(super) fn read(text: &str) -> Result<Tree, DecryptError> {
    let mut sections: Vec<(String, Entries)> = vec![(FIRST.to_owned(), Entries::new())];
    let mut own = Entries::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let malformed = |what: &str| DecryptError::Malformed(format!("line {} {what}", index + 1));
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            let (name, _) = name.rsplit_once(']').ok_or_else(|| malformed("begins a section that does not end"))?;
            sections.push((name.trim().to_owned(), Entries::new()));
            continue;
        }
        let (name, rest) = name(line).ok_or_else(|| malformed("is not `name = value`"))?;
        let value = match rest
            .strip_prefix(TRIPLE)
            .map(|rest| (rest, TRIPLE))
            .or(rest.strip_prefix('`').map(|rest| (rest, "`")))
        {
            Some((rest, mark)) => {
                let mut value = rest.to_owned();
                while !value.contains(mark) {
                    let (_, line) = lines.next().ok_or_else(|| malformed("has a value that does not end"))?;
                    value.push('\n');
                    value.push_str(line);
                }
                value.split(mark).next().unwrap_or_default().to_owned()
            }
            None => plain(rest).to_owned(),
        };
        let Some((section, entries)) = sections.last_mut() else { continue };
        if section == OWN {
            place(&mut own, name, Tree::text(value.replace("\\n", "\n")));
        } else {
            entries.push((name.to_owned(), Tree::text(value)));
        }
    }
    let mut entries: Entries = sections
        .into_iter()
        .filter(|(name, entries)| name != OWN && (name != FIRST || !entries.is_empty()))
        .map(|(name, entries)| (name, Tree::Map(entries)))
        .collect();
    if !own.is_empty() {
        entries.push((OWN.to_owned(), Tree::Map(own)));
    }
    Ok(Tree::Map(entries))
}

/// The name of a line, and what stands behind its `=` or `:`.
fn name(line: &str) -> Option<(&str, &str)> {
    for mark in [TRIPLE, "`"] {
        if let Some((name, rest)) = line.strip_prefix(mark).and_then(|rest| rest.split_once(mark)) {
            let rest = rest.trim_start().strip_prefix(['=', ':'])?;
            return Some((name, rest.trim_start()));
        }
    }
    let (name, rest) = line.split_once(['=', ':'])?;
    let name = name.trim();
    (!name.is_empty()).then_some((name, rest.trim_start()))
}

/// A value on its line: without a comment behind it, and without quotes around it.
fn plain(rest: &str) -> &str {
    let comment = [" ;", " #", "\t;", "\t#"].iter().filter_map(|mark| rest.find(mark)).min();
    let value = rest.get(..comment.unwrap_or(rest.len())).unwrap_or(rest).trim();
    let quoted = |quote: char| {
        value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)).filter(|it| !it.contains(quote))
    };
    quoted('"').or_else(|| quoted('\'')).unwrap_or(value)
}

/// The sections again.
pub(super) fn write(trees: &[Entries]) -> Vec<u8> {
    let mut text = zeroize::Zeroizing::new(String::new());
    for (name, section) in trees.iter().flatten() {
        if !text.is_empty() {
            text.push('\n');
        }
        if name != FIRST {
            text.push_str(&format!("[{name}]\n"));
        }
        let Tree::Map(entries) = section else { continue };
        for (name, value) in entries {
            let value = match value {
                Tree::Text(text) => quoted(text),
                Tree::Bytes(bytes) => quoted(&String::from_utf8_lossy(bytes)),
                Tree::Bool(value) => value.to_string(),
                Tree::Int(value) => value.to_string(),
                Tree::Float(value) => value.to_string(),
                Tree::Null | Tree::List(_) | Tree::Map(_) => String::new(),
            };
            let name = if name.contains(['"', '=', ':']) { format!("`{name}`") } else { name.clone() };
            text.push_str(&format!("{name} = {value}\n"));
        }
    }
    text.as_bytes().to_vec()
}

/// A value so that it reads back as the same.
fn quoted(text: &str) -> String {
    match () {
        () if text.contains(['\n', '`']) => format!("{TRIPLE}{text}{TRIPLE}"),
        () if text.contains(['#', ';']) => format!("`{text}`"),
        () if text.trim() != text || text.starts_with(['"', '\'']) => format!("\"{text}\""),
        () => text.to_owned(),
    }
}
