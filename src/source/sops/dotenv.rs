//! `NAME=value` lines as SOPS writes them: a `\n` in a value is a new line, and the metadata stand flattened under names
//! that begin with `sops_`.

use super::tree::{Entries, Tree};
use crate::ports::DecryptError;

/// What names of metadata begin with.
const PREFIX: &str = "sops_";
const LIST: &str = "__list_";
const MAP: &str = "__map_";

/// The lines as a map, the metadata as a tree under `sops`.
pub(super) fn read(text: &str) -> Result<Tree, DecryptError> {
    let mut entries = Entries::new();
    let mut own = Entries::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let Some((name, value)) = line.split_once('=') else {
            return Err(DecryptError::Malformed(format!("line {} is not `NAME=value`", index + 1)));
        };
        let value = Tree::text(value.replace("\\n", "\n"));
        match name.strip_prefix(PREFIX) {
            Some(name) => place(&mut own, name, value),
            None => entries.push((name.to_owned(), value)),
        }
    }
    if !own.is_empty() {
        entries.push(("sops".to_owned(), Tree::Map(own)));
    }
    Ok(Tree::Map(entries))
}

/// Puts a value of the metadata where its name says: `age__list_0__map_enc` is `enc` of the first of `age`.
pub(super) fn place(own: &mut Entries, name: &str, value: Tree) {
    let item = name.split_once(LIST).and_then(|(list, rest)| {
        let (index, key) = rest.split_once(MAP)?;
        Some((list, index.parse::<usize>().ok()?, key))
    });
    let Some((list, index, key)) = item else { return own.push((name.to_owned(), value)) };
    if !own.iter().any(|(known, _)| known == list) {
        own.push((list.to_owned(), Tree::List(Vec::new())));
    }
    let Some((_, Tree::List(items))) = own.iter_mut().find(|(known, _)| known == list) else { return };
    // The lines of one item follow one another, and there are never so many.
    while items.len() <= index && items.len() < 100 {
        items.push(Tree::Map(Entries::new()));
    }
    if let Some(Tree::Map(item)) = items.get_mut(index) {
        item.push((key.to_owned(), value));
    }
}

/// The lines again.
pub(super) fn write(trees: &[Entries]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in trees.iter().flatten() {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(b'=');
        match value {
            Tree::Text(text) => bytes.extend_from_slice(text.replace('\n', "\\n").as_bytes()),
            Tree::Bytes(value) => bytes.extend_from_slice(value),
            Tree::Bool(value) => bytes.extend_from_slice(value.to_string().as_bytes()),
            Tree::Int(value) => bytes.extend_from_slice(value.to_string().as_bytes()),
            Tree::Float(value) => bytes.extend_from_slice(value.to_string().as_bytes()),
            Tree::Null | Tree::List(_) | Tree::Map(_) => {}
        }
        bytes.push(b'\n');
    }
    bytes
}
