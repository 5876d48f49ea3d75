//! What rendering is given, and what it gives back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::domain::{Compat, CredentialName, Digester, Rendered, SecretBytes, StackName, UnsetVariables};

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
    /// What of all this must not be shown, and what credentials hold.
    pub confidential: &'a Confidential,
    /// Makes the digests of secrets.
    pub digester: &'a Digester,
}

/// What of an input must not be shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Confidential {
    /// Paths of attachments that are encrypted in the repository, also when they could not be opened.
    pub files: BTreeSet<String>,
    /// Values that were encrypted in them: masked in errors and warnings.
    pub values: Vec<SecretBytes>,
    /// Values of credentials that [`Render::Needs`] asked for, or why they cannot be had.
    pub credentials: BTreeMap<ValueOf, Result<SecretBytes, String>>,
}

/// A value of a credential.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueOf {
    /// The credential.
    pub credential: CredentialName,
    /// The key of the value; `None`: the only one that it holds.
    pub key: Option<String>,
}

/// What a rendering lacks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// Files: paths relative to the root of the repository, without `.` and `..`. Read them, and add them to
    /// [`RenderInput::attachments`].
    pub files: BTreeSet<String>,
    /// Values of credentials. Add them to [`Confidential::credentials`].
    pub values: BTreeSet<ValueOf>,
}

impl Needs {
    /// Whether nothing is lacking.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.values.is_empty()
    }
}

/// What rendering came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Render {
    /// Everything was there.
    Done(Box<Rendered>),
    /// More is wanted: get it, add it to the input, and render again.
    Needs(Needs),
}
