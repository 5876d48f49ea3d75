//! Errors and warnings as they are found: a rendering goes on as far as it makes sense and reports all of them.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::domain::{Compat, Masker, Warning};

use super::compat::Difference;
use super::error::{RenderError, RenderErrors};
use super::yaml::Position;

/// A file that positions point into.
struct File {
    name: String,
    /// Where the paths that it names begin, from the root of the repository.
    folder: String,
}

/// Collects what is found. Readers of single fields write into it, so that they need not stop at the first error.
pub(super) struct Findings {
    files: RefCell<Vec<File>>,
    compat: Compat,
    errors: RefCell<Vec<(Position, RenderError)>>,
    warnings: RefCell<Vec<(Position, Warning)>>,
    /// What was warned of, and where: each is kept once.
    warned: RefCell<BTreeSet<(Position, String)>>,
}

impl Findings {
    /// Nothing found yet.
    pub(super) fn new(compat: Compat) -> Self {
        Self {
            files: RefCell::default(),
            compat,
            errors: RefCell::default(),
            warnings: RefCell::default(),
            warned: RefCell::default(),
        }
    }

    /// Takes up a file; gives the number that positions in it carry.
    pub(super) fn add_file(&self, name: &str, folder: &str) -> usize {
        let mut files = self.files.borrow_mut();
        files.push(File { name: name.to_owned(), folder: folder.to_owned() });
        files.len() - 1
    }

    /// The folder that paths written at this place begin in.
    pub(super) fn folder(&self, at: Position) -> String {
        self.files.borrow().get(at.file).map(|file| file.folder.clone()).unwrap_or_default()
    }

    /// Whether the specification's rules apply, not the CLI's quirks.
    pub(super) fn strict(&self) -> bool {
        self.compat == Compat::Strict
    }

    /// Something is wrong. An empty hint is none. The same message at the same place is kept once: an anchor's content
    /// is read as often as it is used.
    pub(super) fn error(&self, at: Position, field: &str, message: impl Into<String>, hint: impl Into<String>) {
        let (message, hint) = (message.into(), hint.into());
        let mut errors = self.errors.borrow_mut();
        if at.line > 0 && errors.iter().any(|(place, error)| *place == at && error.message == message) {
            return;
        }
        let file = self.file(at);
        let hint = (!hint.is_empty()).then_some(hint);
        let error = RenderError { file, line: at.line, column: at.column, field: field.to_owned(), message, hint };
        errors.push((at, error));
    }

    /// Something deserves a remark. `field` is put in front of it.
    pub(super) fn warn(&self, at: Position, field: &str, message: &str) {
        let message = format!("{field}: {message}");
        if self.warned.borrow_mut().insert((at, message.clone())) {
            let file = self.file(at);
            self.warnings.borrow_mut().push((at, Warning { file, line: at.line, column: at.column, message }));
        }
    }

    /// A meaning that `docker stack deploy` would not have given; see [`Difference`].
    pub(super) fn differs(&self, difference: Difference, at: Position, field: &str) {
        self.warn(at, field, &difference.remark());
    }

    /// What was said of a file that positions cannot point into.
    pub(super) fn note(&self, file: &str, message: String) {
        let warning = Warning { file: file.to_owned(), line: 0, column: 0, message };
        self.warnings.borrow_mut().push((Position::default(), warning));
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_clean(&self) -> bool {
        self.errors.borrow().is_empty()
    }

    fn file(&self, at: Position) -> String {
        if at.line == 0 {
            String::new()
        } else {
            self.files.borrow().get(at.file).map(|file| file.name.clone()).unwrap_or_default()
        }
    }

    /// The errors in the order of the files, with secret values masked; `None` if there are none.
    pub(super) fn errors(&self, masker: &Masker) -> Option<RenderErrors> {
        let mut errors = self.errors.take();
        errors.sort_by_key(|(at, _)| *at);
        RenderErrors::new(
            errors
                .into_iter()
                .map(|(_, error)| RenderError {
                    message: masker.mask(&error.message),
                    hint: error.hint.map(|hint| masker.mask(&hint)),
                    field: masker.mask(&error.field),
                    ..error
                })
                .collect(),
        )
    }

    /// The warnings in the order of the files, with secret values masked.
    pub(super) fn warnings(&self, masker: &Masker) -> Vec<Warning> {
        let mut warnings = self.warnings.take();
        warnings.sort_by_key(|(at, _)| *at);
        warnings.into_iter().map(|(_, warning)| Warning { message: masker.mask(&warning.message), ..warning }).collect()
    }
}
