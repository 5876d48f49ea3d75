//! Reads what `apply` is given: files, folders, stdin. Several files become one manifest, so that all or none is recorded;
//! places in it are told as places in the files.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::credential::{of_environment, of_file};
use crate::cli::exit::{CliError, Exit};
use crate::cli::model::UserError;
use crate::declare::{Reference, ReferenceKind, References, references};
use crate::domain::SecretBytes;

/// The text to send, and where its lines come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) text: String,
    /// Name and lines before the first line of each.
    files: Vec<(String, u64)>,
    /// The values the text refers to, read here: relative paths begin at the folder of the file they stand in.
    references: References,
}

impl Manifest {
    /// Reads everything.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, CliError> {
        let (mut texts, mut references) = (Vec::new(), References::new());
        for path in paths {
            if path.as_os_str() == "-" {
                let mut text = String::new();
                let read = io::stdin().lock().read_to_string(&mut text);
                read.map_err(|error| unreadable("stdin", &error))?;
                refer(&text, Path::new(""), &mut references)?;
                texts.push(("stdin".to_owned(), text));
            } else {
                for file in files(path)? {
                    let name = file.display().to_string();
                    let text = fs::read_to_string(&file).map_err(|error| unreadable(&name, &error))?;
                    refer(&text, file.parent().unwrap_or(Path::new("")), &mut references)?;
                    texts.push((name, text));
                }
            }
        }
        Ok(Self { references, ..Self::of(texts) })
    }

    /// The values the text refers to, as they are sent.
    pub(super) fn references(&self) -> Value {
        let one = |(of, value): (&Reference, &SecretBytes)| {
            let kind = match of.kind {
                ReferenceKind::FromEnv => "FromEnv",
                ReferenceKind::FromFile => "FromFile",
            };
            json!({ "kind": kind, "name": of.name, "value": value.expose_text() })
        };
        self.references.iter().map(one).collect()
    }

    /// Of texts by name.
    pub(super) fn of(texts: Vec<(String, String)>) -> Self {
        let (mut text, mut files, mut lines) = (String::new(), Vec::new(), 0);
        for (name, part) in texts {
            if !text.is_empty() {
                text.push_str("---\n");
                lines += 1;
            }
            files.push((name, lines));
            text.push_str(part.strip_prefix('\u{feff}').unwrap_or(&part));
            if !text.ends_with('\n') {
                text.push('\n');
            }
            lines = u64::try_from(text.lines().count()).unwrap_or(u64::MAX);
        }
        Self { text, files, references: References::new() }
    }

    /// Says `compat: cli` for a stack that says nothing of it. Gives the file that this belongs into, if it is from one;
    /// `None` when the manifest has no place for it.
    pub(super) fn say_cli(&mut self, stack: &str) -> Option<Option<PathBuf>> {
        let text = with_cli(&self.text, stack)?;
        let same = self.text.lines().zip(text.lines()).take_while(|(before, after)| before == after).count();
        self.text = text;
        let at = u64::try_from(same).unwrap_or(u64::MAX);
        let within = self.files.iter().rposition(|(_, before)| *before <= at)?;
        for (_, before) in self.files.iter_mut().skip(within + 1) {
            *before += 1;
        }
        let name = self.files.get(within).map(|(name, _)| name.clone())?;
        Some((name != "stdin").then(|| name.into()))
    }

    /// The name of the file, when there is but one.
    pub(super) fn file(&self) -> Option<&str> {
        match self.files.as_slice() {
            [(name, _)] => Some(name),
            _ => None,
        }
    }

    /// A place in the manifest, as one in its file.
    pub(super) fn place(&self, mut error: UserError) -> UserError {
        if let Some(line) = error.line
            && let Some((name, before)) = self.files.iter().rev().find(|(_, before)| *before < line)
        {
            error.line = Some(line - before);
            error.file = Some(name.clone());
        }
        error
    }
}

/// A manifest with `compat: cli` behind the name of a stack, in the document that declares it; `None` when that says
/// something of it already, or is not written line by line.
pub(super) fn with_cli(text: &str, stack: &str) -> Option<String> {
    let value = |line: &str, key: &str| {
        let value = line.strip_prefix(key)?.strip_prefix(':')?.split(" #").next()?.trim();
        Some(value.trim_matches(['"', '\'']).to_owned())
    };
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let ends = |line: &&str| line.starts_with("---");
    let mut from = 0;
    loop {
        let rest = lines.get(from..)?;
        let to = rest.iter().position(ends).map_or(lines.len(), |at| from + at);
        let document = lines.get(from..to)?;
        let says =
            |key: &str, wanted: &str| document.iter().position(|line| value(line, key).is_some_and(|it| it == wanted));
        let at = says("name", stack).filter(|_| says("kind", "Stack").is_some());
        if let Some(at) = at {
            if document.iter().any(|line| value(line, "compat").is_some()) {
                return None;
            }
            let (before, after) = lines.split_at_checked(from + at + 1)?;
            let end = if before.last().is_some_and(|line| line.ends_with('\n')) { "" } else { "\n" };
            return Some(format!("{}{end}compat: cli\n{}", before.concat(), after.concat()));
        }
        from = to + 1;
    }
}

/// Reads what a text refers to.
fn refer(text: &str, folder: &Path, found: &mut References) -> Result<(), CliError> {
    for reference in references(text) {
        let value = match reference.kind {
            ReferenceKind::FromEnv => of_environment(&reference.name)?,
            ReferenceKind::FromFile => of_file(&folder.join(&reference.name))?,
        };
        let value = SecretBytes::new(value.into_bytes());
        match found.get(&reference) {
            Some(known) if *known != value => {
                let message = format!("`fromFile: {}` means two files in two of the manifests", reference.name);
                return Err(CliError::new(Exit::Error, message).next("apply them one after the other"));
            }
            _ => drop(found.insert(reference, value)),
        }
    }
    Ok(())
}

/// The file itself or, of a folder, its YAML files by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, CliError> {
    let name = path.display().to_string();
    let kind = fs::metadata(path).map_err(|error| unreadable(&name, &error))?;
    if !kind.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| unreadable(&name, &error))? {
        let file = entry.map_err(|error| unreadable(&name, &error))?.path();
        let yaml = file.extension().is_some_and(|it| it == "yml" || it == "yaml");
        if yaml && file.is_file() {
            found.push(file);
        }
    }
    found.sort();
    if found.is_empty() {
        let message = format!("the folder {name} holds no file that ends in .yml or .yaml");
        return Err(CliError::new(Exit::Error, message).next("name a file: `skep apply -f FILE`"));
    }
    Ok(found)
}

fn unreadable(name: &str, error: &io::Error) -> CliError {
    CliError::new(Exit::Error, format!("{name} cannot be read: {error}"))
        .next("check the path after -f; `-` reads stdin")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u64) -> UserError {
        let code = "INVALID".into();
        UserError { code, message: "x".into(), field: None, file: None, line: Some(line), column: Some(1), hint: None }
    }

    #[test]
    fn one_file_is_sent_as_it_is() {
        let one = Manifest::of(vec![("a.yml".into(), "kind: Stack\n".into())]);
        assert_eq!((one.text.as_str(), one.file()), ("kind: Stack\n", Some("a.yml")));
        assert_eq!(one.place(at(1)).line, Some(1));
    }

    #[test]
    fn places_in_several_files_are_told_as_places_in_each() {
        let parts = [("a.yml", "1\n2"), ("b.yml", "1\n2\n3\n"), ("c.yml", "1\n")];
        let whole = Manifest::of(parts.map(|(name, text)| (name.into(), text.into())).into());
        assert_eq!(whole.text, "1\n2\n---\n1\n2\n3\n---\n1\n");
        assert_eq!(whole.file(), None);
        for (line, file, inside) in
            [(1, "a.yml", 1), (2, "a.yml", 2), (4, "b.yml", 1), (6, "b.yml", 3), (8, "c.yml", 1)]
        {
            let place = whole.place(at(line));
            assert_eq!((place.file.as_deref(), place.line), (Some(file), Some(inside)), "{line}");
        }
    }

    #[test]
    fn the_rules_of_the_cli_are_written_where_nothing_is_said() {
        let two = "kind: Stack\nname: a\n---\n# b\nname: \"b\" # the second\nkind: Stack\ninline: |\n  name: a\n";
        let written = with_cli(two, "b").unwrap();
        assert_eq!(written, two.replace("# the second\n", "# the second\ncompat: cli\n"));
        assert_eq!(with_cli(&written, "b"), None, "it says it already");
        assert_eq!(with_cli("kind: Stack\nname: a", "a").unwrap(), "kind: Stack\nname: a\ncompat: cli\n");
        for none in
            ["kind: Hook\nname: a\n", "{ kind: Stack, name: a }\n", "kind: Stack\nname: a\ncompat: strict\n", ""]
        {
            assert_eq!(with_cli(none, "a"), None, "{none}");
        }
        let mut whole =
            Manifest::of(vec![("a.yml".into(), "kind: Stack\nname: a\n".into()), ("b.yml".into(), two.into())]);
        assert_eq!(whole.say_cli("b"), Some(Some("b.yml".into())));
        assert_eq!(whole.say_cli("a"), Some(Some("a.yml".into())));
        assert_eq!((whole.place(at(1)).file.as_deref(), whole.place(at(5)).line), (Some("a.yml"), Some(1)));
        assert_eq!(whole.text.matches("compat: cli").count(), 2);
    }

    #[test]
    fn what_a_manifest_refers_to_is_read_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let text = "kind: Credential\nname: a\ndata: { token: { fromFile: token.txt } }\n";
        fs::write(folder.path().join("a.yml"), text).unwrap();
        let gone = Manifest::read(&[folder.path().join("a.yml")]).unwrap_err();
        assert!(gone.message.contains("token.txt cannot be read"), "{gone}");
        fs::write(folder.path().join("token.txt"), "hunter2\n").unwrap();
        let manifest = Manifest::read(&[folder.path().join("a.yml")]).unwrap();
        assert_eq!(manifest.text, text, "the text itself is sent as it is");
        let sent = json!([{ "kind": "FromFile", "name": "token.txt", "value": "hunter2\n" }]);
        assert_eq!(manifest.references(), sent);
        assert!(!format!("{manifest:?}").contains("hunter2"));
    }

    #[test]
    fn a_folder_gives_its_yaml_by_name() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(&[folder.path().into()]).unwrap_err().exit, Exit::Error);
        for (name, text) in [("b.yaml", "b\n"), ("a.yml", "a\n"), ("c.txt", "c\n")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::create_dir(folder.path().join("d.yml")).unwrap();
        assert_eq!(Manifest::read(&[folder.path().into()]).unwrap().text, "a\n---\nb\n");
        let gone = Manifest::read(&[folder.path().join("none.yml")]).unwrap_err();
        assert!(gone.message.contains("none.yml cannot be read"), "{gone}");
    }
}
