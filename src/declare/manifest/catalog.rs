//! `kind: Catalog`.

use super::super::fields::{Field, Fields, Reader};
use super::super::{Code, check};
use super::{Body, name, other, stack};
use crate::domain::Catalog;

/// Stacks that one commit may delete, when nothing is said.
const PRUNE_LIMIT: u32 = 5;

/// Reads a catalog; `None` when something was refused.
pub(super) fn read(reader: &mut Reader, mut fields: Fields<'_>) -> Option<Body> {
    let name = name(reader, &mut fields).and_then(|(text, at)| match check::hook_name(&text) {
        Ok(()) => Some(text),
        Err(message) => {
            reader.refuse(Code::Invalid, at, "name", message.replace("hook name", "catalog name"), None);
            None
        }
    });
    let source = match fields.take("source") {
        Some(field) => stack::git(reader, &field),
        None => {
            let hint = "add `source: { git: …, ref: main, path: stacks/*.yml }`";
            reader.refuse(Code::Invalid, fields.at(), "source", "`source` is missing".to_owned(), Some(hint));
            None
        }
    };
    let prune = fields.take("prune").map_or(Some(true), |field| reader.boolean(&field));
    let prune_limit = fields.take("pruneLimit").map_or(Some(PRUNE_LIMIT), |field| limit(reader, &field));
    let (mut environments, mut names) = (vec!["default".to_owned()], vec!["*".to_owned()]);
    if let Some(field) = fields.take("allow")
        && let Some(mut inside) = reader.map(&field)
    {
        for (word, kept) in [("environments", &mut environments), ("names", &mut names)] {
            if let Some(field) = inside.take(word) {
                *kept = patterns(reader, &field);
            }
        }
        reader.finish(inside);
    }
    reader.finish(fields);
    Some(Body::Catalog(Catalog {
        name: name?,
        source: source?,
        prune: prune?,
        prune_limit: prune_limit?,
        environments,
        names,
        generation: 0,
        sync_token: None,
    }))
}

fn limit(reader: &mut Reader, field: &Field<'_>) -> Option<u32> {
    let text = reader.text(field)?;
    let number = text.parse().ok();
    if number.is_none() {
        let message = format!("`{}` is `{text}`: it is a number of stacks", field.path);
        reader.wrong(field, message, Some("write for example `pruneLimit: 5`"));
    }
    number
}

fn patterns(reader: &mut Reader, field: &Field<'_>) -> Vec<String> {
    let found = other::patterns(reader, field);
    if found.is_empty() {
        reader.wrong(field, format!("`{}` allows nothing", field.path), Some("name at least one pattern, or `*`"));
    }
    found
}
