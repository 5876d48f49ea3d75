//! What rendering refuses: one error for each thing that is wrong, each with its place and the mend.

use std::fmt;

use thiserror::Error;

/// One thing that is wrong with the input.
///
/// Prints as `FILE:LINE:COLUMN: FIELD: MESSAGE; HINT`, leaving out what is not known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct RenderError {
    /// The compose file; empty for what does not come from a file, such as an image override.
    pub file: String,
    /// Line, from 1; 0 when not known.
    pub line: u64,
    /// Column in characters, from 1; 0 when not known.
    pub column: u64,
    /// The field as a dotted path, such as `services.web.ports[0]`; may be empty.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it, when there is more to say than the message does.
    pub hint: Option<String>,
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            f.write_str(&self.file)?;
            if self.line > 0 {
                write!(f, ":{}:{}", self.line, self.column)?;
            }
            f.write_str(": ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with the input, in the order of the files; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct RenderErrors(Vec<RenderError>);

impl RenderErrors {
    /// These errors, or `None` if there are none.
    #[must_use]
    pub fn new(errors: Vec<RenderError>) -> Option<Self> {
        (!errors.is_empty()).then_some(Self(errors))
    }

    /// The errors, in the order of the files.
    #[must_use]
    pub fn errors(&self) -> &[RenderError] {
        &self.0
    }
}

impl From<RenderError> for RenderErrors {
    fn from(error: RenderError) -> Self {
        Self(vec![error])
    }
}

impl IntoIterator for RenderErrors {
    type Item = RenderError;
    type IntoIter = std::vec::IntoIter<RenderError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for RenderErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}
