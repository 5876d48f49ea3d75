//! What the server logs, and changing it.

use async_graphql::{InputObject, SimpleObject};

use super::payload::{UserError, user_errors};
use crate::declare::{Code, Refusal};
use crate::ports::LogFilter;

/// What `setLogFilter` takes.
#[derive(Debug, InputObject)]
pub(super) struct SetLogFilterInput {
    /// A level (error, warn, info, debug, trace), or a filter like `info,skep::source=debug`.
    pub(super) filter: String,
}

/// What `setLogFilter` answers.
#[derive(SimpleObject)]
pub(super) struct SetLogFilterPayload {
    /// What is logged now; null when the request was refused.
    filter: Option<String>,
    /// Why nothing was changed; empty when the request was carried out.
    user_errors: Vec<UserError>,
}

impl SetLogFilterPayload {
    /// Changes what is logged.
    pub(super) fn set(log: &dyn LogFilter, filter: &str, actor: &str) -> async_graphql::Result<Self> {
        let before = log.filter();
        if let Err(error) = log.set(filter) {
            let hint = "error, warn, info, debug or trace; or for parts: `info,skep::source=debug`";
            let refusal = Refusal::new(Code::Invalid, format!("the filter makes no sense: {error}"));
            return Self::refused(refusal.field("filter").hint(hint));
        }
        tracing::info!(actor, before, filter, "what is logged was changed");
        Ok(Self { filter: Some(log.filter()), user_errors: Vec::new() })
    }

    /// Changes nothing.
    pub(super) fn refused(refusal: Refusal) -> async_graphql::Result<Self> {
        Ok(Self { filter: None, user_errors: user_errors(refusal.into())? })
    }
}
