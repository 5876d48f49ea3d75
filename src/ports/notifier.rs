//! Trying a notifier out: a person's word, answered by whoever sends.

use super::{BoxFuture, InquiryError};
use crate::domain::NotifierName;

/// What came of a test message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifierAnswer {
    /// Whether it was taken.
    pub delivered: bool,
    /// The status that was answered with, if there was an answer.
    pub status: Option<u16>,
    /// What came back, or why nothing did. Holds no secret.
    pub message: String,
}

/// Sends test messages.
pub trait Notifiers: Send + Sync + 'static {
    /// Sends one now; gives what came back.
    fn test<'a>(&'a self, name: &'a NotifierName) -> BoxFuture<'a, Result<NotifierAnswer, InquiryError>>;
}

/// Sends nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNotifiers;

impl Notifiers for NoNotifiers {
    fn test<'a>(&'a self, _: &'a NotifierName) -> BoxFuture<'a, Result<NotifierAnswer, InquiryError>> {
        Box::pin(async { Err(InquiryError::Failed("this server sends nothing".to_owned())) })
    }
}
