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
    /// What is logged now.
    filter: String,
    /// Why nothing was changed; empty when the request was carried out.
    user_errors: Vec<UserError>,
}

impl SetLogFilterPayload {
    /// Changes what is logged.
    pub(super) fn set(log: &dyn LogFilter, filter: &str, actor: &str) -> async_graphql::Result<Self> {
        let before = log.filter();
        let user_errors = match log.set(filter) {
            Ok(()) => {
                tracing::info!(actor, before, filter, "what is logged was changed");
                Vec::new()
            }
            Err(error) => {
                let refusal = Refusal::new(Code::Invalid, format!("the filter makes no sense: {error}"));
                let hint = "error, warn, info, debug or trace; or for parts: `info,skep::source=debug`";
                user_errors(refusal.field("filter").hint(hint).into())?
            }
        };
        Ok(Self { filter: log.filter(), user_errors })
    }
}
