//! Which form a file has, and the way there and back.

use serde::Serialize;

use super::dotenv;
use super::ini;
use super::tree::{Entries, Tree};
use crate::domain::SecretBytes;
use crate::ports::DecryptError;

/// The key of the metadata.
const OWN: &str = "sops";
/// The key that a binary file's content stands under.
const DATA: &str = "data";

/// The forms that SOPS writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Yaml,
    Json,
    Dotenv,
    Binary,
    Ini,
}

/// Which form SOPS chooses for a name.
fn form_of(path: &str) -> Form {
    let ends = |end: &str| path.to_ascii_lowercase().ends_with(end);
    match () {
        () if ends(".yaml") || ends(".yml") => Form::Yaml,
        () if ends(".json") => Form::Json,
        () if ends(".env") => Form::Dotenv,
        () if ends(".ini") => Form::Ini,
        () => Form::Binary,
    }
}

/// An encrypted file, read.
pub(super) struct Document {
    form: Form,
    /// The documents of the file, without the metadata; one, but for YAML.
    pub(super) trees: Vec<Entries>,
    /// What stands under `sops`.
    pub(super) metadata: Tree,
}

/// Where the metadata begin, in each form.
const MARKS: [&str; 4] = ["sops:", "\"sops\"", "sops_mac=", "[sops]"];

/// Whether a file is encrypted: it has metadata with a MAC, or looks like it and is damaged. Most files are told apart
/// without being read.
pub(super) fn is_encrypted(path: &str, bytes: &[u8]) -> bool {
    let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    let looks = has(b"ENC[") && has(b"mac") && MARKS.iter().any(|mark| has(mark.as_bytes()));
    looks && !matches!(parse(path, bytes), Ok(None))
}

/// The documents of a file, and its form; `None` when nothing of it is encrypted.
fn parse(path: &str, bytes: &[u8]) -> Result<Option<(Form, Vec<Tree>)>, DecryptError> {
    let malformed = |reason: &dyn std::fmt::Display| DecryptError::Malformed(first_line(&reason.to_string()));
    let text = std::str::from_utf8(bytes).map_err(|error| malformed(&error));
    let is_ours =
        |tree: &Tree| tree.get(OWN).is_some_and(|own| own.get("mac").is_some() || own.get("version").is_some());
    let form = form_of(path);
    let trees = match form {
        Form::Dotenv => vec![dotenv::read(text?)?],
        Form::Ini => vec![ini::read(text?)?],
        // What SOPS was told to write may have another name than the form goes by.
        Form::Binary => {
            let text = text?;
            let json = serde_json::from_str::<Tree>(text).ok();
            if let Some(tree) = json.filter(is_ours) {
                let whole = matches!(&tree, Tree::Map(entries) if entries.len() == 2) && tree.get(DATA).is_some();
                return Ok(Some((if whole { Form::Binary } else { Form::Json }, vec![tree])));
            }
            let lines = dotenv::read(text).ok().filter(is_ours).map(|tree| (Form::Dotenv, vec![tree]));
            let yaml = || serde_saphyr::from_multiple::<Tree>(text).ok().map(|trees| (Form::Yaml, trees));
            return Ok(lines.or_else(yaml).filter(|(_, trees)| trees.iter().any(is_ours)));
        }
        Form::Json => vec![serde_json::from_str(text?).map_err(|error| malformed(&error))?],
        Form::Yaml => serde_saphyr::from_multiple(text?).map_err(|error| malformed(&error))?,
    };
    Ok(trees.iter().any(is_ours).then_some((form, trees)))
}

/// Parsers quote what they read, in further lines.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(160).collect()
}

impl Document {
    /// Reads an encrypted file.
    pub(super) fn read(path: &str, bytes: &[u8]) -> Result<Self, DecryptError> {
        let none = || DecryptError::Malformed("it has no `sops`".to_owned());
        let (form, found) = parse(path, bytes)?.ok_or_else(none)?;
        let (mut trees, mut metadata) = (Vec::new(), None);
        for tree in found {
            let Tree::Map(entries) = tree else {
                return Err(DecryptError::Malformed("a document of it is no map".to_owned()));
            };
            let (own, entries): (Entries, Entries) = entries.into_iter().partition(|(key, _)| key == OWN);
            trees.push(entries);
            metadata = metadata.or(own.into_iter().next().map(|(_, own)| own));
        }
        Ok(Self { form, trees, metadata: metadata.ok_or_else(none)? })
    }

    /// The file as it was.
    pub(super) fn write(self) -> Result<SecretBytes, DecryptError> {
        let lost = |_| DecryptError::Malformed("a value of it cannot be written as text".to_owned());
        let bytes = match self.form {
            Form::Yaml => yaml(self.trees)?,
            Form::Json => {
                let mut bytes = Vec::new();
                let indent = serde_json::ser::PrettyFormatter::with_indent(b"\t");
                let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, indent);
                let tree = Tree::Map(self.trees.into_iter().next().unwrap_or_default());
                tree.serialize(&mut serializer).map_err(lost)?;
                bytes.push(b'\n');
                bytes
            }
            Form::Dotenv => dotenv::write(&self.trees),
            Form::Ini => ini::write(&self.trees),
            Form::Binary => {
                let mut entries = self.trees.into_iter().flatten();
                match entries.find(|(key, _)| key == DATA) {
                    Some((_, Tree::Text(text))) => text.as_bytes().to_vec(),
                    Some((_, Tree::Bytes(bytes))) => bytes.to_vec(),
                    _ => return Err(DecryptError::Malformed("it has no `data`".to_owned())),
                }
            }
        };
        Ok(SecretBytes::new(bytes))
    }
}

/// YAML that reads back as the same; where the writer has no form for it, JSON, which is YAML too.
fn yaml(trees: Vec<Entries>) -> Result<Vec<u8>, DecryptError> {
    let mut text = String::new();
    for (index, entries) in trees.into_iter().enumerate() {
        let tree = Tree::Map(entries);
        let same = |text: &String| serde_saphyr::from_str::<Tree>(text).is_ok_and(|read| read == tree);
        let written = serde_saphyr::to_string(&tree).ok().filter(same);
        let written = match written {
            Some(written) => written,
            None => serde_json::to_string_pretty(&tree)
                .map_err(|_| DecryptError::Malformed("a value of it cannot be written as text".to_owned()))?,
        };
        if index > 0 {
            text.push_str("---\n");
        }
        text.push_str(&written);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok(text.into_bytes())
}
