//! What rendering is given, and what it gives back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::domain::{Compat, Digester, Rendered, StackName, UnsetVariables};

/// A compose file: its name, as errors are to show it, and its text.
#[derive(Debug, Clone, Copy)]
pub struct ComposeFile<'a> {
    /// The name.
    pub name: &'a str,
    /// The whole text, YAML.
    pub text: &'a str,
}

/// The value of a variable. Prints as `***` when it is secret.
#[derive(Clone, PartialEq, Eq)]
pub struct VariableValue {
    /// The value.
    pub text: String,
    /// Whether it must not be shown. Errors and warnings of the renderer mask it.
    pub secret: bool,
}

impl fmt::Debug for VariableValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.secret { f.write_str("***") } else { self.text.fmt(f) }
    }
}

/// The content of a file that the compose files name, or why it could not be read.
pub type Attachment = Result<Arc<[u8]>, String>;

/// Everything a rendering depends on: equal inputs give equal results.
#[derive(Debug, Clone, Copy)]
pub struct RenderInput<'a> {
    /// The stack's name.
    pub stack: &'a StackName,
    /// The compose files, in the order of merging.
    pub files: &'a [ComposeFile<'a>],
    /// Values for interpolation, and for `environment` entries without a value.
    pub variables: &'a BTreeMap<String, VariableValue>,
    /// Images to use in place of those in the files, by service: a tag (`1.4.2`), a digest (`sha256:…`), or a whole
    /// reference.
    pub images: &'a BTreeMap<String, String>,
    /// Whose rules apply where `docker stack deploy` has quirks.
    pub compat: Compat,
    /// What an unset variable means.
    pub unset: UnsetVariables,
    /// Contents of the files named by the compose files, by the path that [`Render::Needs`] gave.
    pub attachments: &'a BTreeMap<String, Attachment>,
    /// The folder of the first compose file, relative to the root of the repository; empty for the root itself. Its `.env`
    /// is asked for like any other file; it need not exist.
    pub folder: &'a str,
    /// Makes the digests of secrets.
    pub digester: &'a Digester,
}

/// What rendering came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Render {
    /// Everything was there.
    Done(Box<Rendered>),
    /// These files are wanted too: paths relative to the root of the repository, without `.` and `..`. Read them, add
    /// them to [`RenderInput::attachments`], and render again.
    Needs(BTreeSet<String>),
}
