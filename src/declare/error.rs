//! Why something was not declared: for people, with the place and the mend.

use std::fmt;

use thiserror::Error;

use crate::ledger::LedgerError;
use crate::ports::SealError;

/// The stable word of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// What was sent makes no sense.
    Invalid,
    /// A stack, deployment or environment is not there.
    NotFound,
    /// Someone else was faster, a key was used twice, or the thing is not in a state for it.
    Conflict,
    /// The caller may not.
    Forbidden,
    /// It is in the contract, and this version cannot do it yet.
    Unsupported,
    /// Larger than is taken.
    TooLarge,
}

impl Code {
    /// The word as it is sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "INVALID",
            Self::NotFound => "NOT_FOUND",
            Self::Conflict => "CONFLICT",
            Self::Forbidden => "FORBIDDEN",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooLarge => "TOO_LARGE",
        }
    }
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The stable word.
    pub code: Code,
    /// What is wrong. Holds no secret.
    pub message: String,
    /// The field, as a dotted path: `policy.monitor`, `input.ref`.
    pub field: Option<String>,
    /// The file, when the sender named it.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: Option<u64>,
    /// Column, from 1.
    pub column: Option<u64>,
    /// How to mend it.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal without a place.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None, file: None, line: None, column: None, hint: None }
    }

    /// With the field it is about.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// With the mend.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "{line}:{column}: ")?;
        } else if self.file.is_some() {
            f.write_str(" ")?;
        }
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

/// Why nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeclareError {
    /// The request is wrong, or does not fit what is there. At least one refusal.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Refused(Vec<Refusal>),
    /// The store failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A secret could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl From<Refusal> for DeclareError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(vec![refusal])
    }
}

impl From<Box<Refusal>> for DeclareError {
    fn from(refusal: Box<Refusal>) -> Self {
        Self::from(*refusal)
    }
}

impl DeclareError {
    /// The refusals, empty when the store or the seal failed.
    #[must_use]
    pub fn refusals(&self) -> &[Refusal] {
        match self {
            Self::Refused(refusals) => refusals,
            Self::Ledger(_) | Self::Seal(_) => &[],
        }
    }
}
