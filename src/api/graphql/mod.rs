//! The GraphQL schema: views of what is recorded, mutations that record, subscriptions that follow the record.
//!
//! A view is a `From` of a domain type. Nothing here decides: mutations call `declare`, and what is read or asked comes
//! through the guard.

mod adopt;
mod catalog;
mod credential;
mod deployment;
mod enums;
mod event;
mod event_type;
mod fleet;
mod hook;
mod ids;
mod input;
mod limits;
mod log;
mod log_filter;
mod mutation;
mod node;
mod notifier;
mod page;
mod payload;
mod query;
mod spec;
mod stack;
mod subscription;
mod task;
mod time;
mod token;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_graphql::{Context, Error, ErrorExtensions, Schema, SchemaBuilder};

pub use ids::{GlobalId, deployment_id};
use mutation::Mutation;
use query::Query;
use subscription::Subscription;

use super::caller::{Caller, Door};
use super::feed::Feed;
use super::guard::{Guard, GuardError, Shelf};
use crate::declare::{Declare, DeclareError};
use crate::domain::Stack;
use crate::ledger::LedgerError;
use crate::ports::{LogFilter, Notifiers};

/// The schema.
pub(super) type SkepSchema = Schema<Query, Mutation, Subscription>;

/// What resolvers work with.
#[derive(Clone)]
pub(super) struct GraphContext {
    pub(super) declare: Declare,
    pub(super) shelf: Shelf,
    pub(super) door: Door,
    pub(super) feed: Feed,
    pub(super) notifiers: Arc<dyn Notifiers>,
    pub(super) log: Arc<dyn LogFilter>,
    /// The address that people reach the page at.
    pub(super) public_url: Option<Arc<str>>,
}

/// How deep a query may go.
const DEEPEST: usize = 20;
/// What a query may cost: a field costs one, a list its length times what is in it.
const COSTLIEST: usize = 50_000;

fn builder() -> SchemaBuilder<Query, Mutation, Subscription> {
    Schema::build(Query, Mutation, Subscription)
        .register_output_type::<query::Node>()
        .limit_depth(DEEPEST)
        .limit_recursive_depth(DEEPEST + 10)
        .limit_complexity(COSTLIEST)
        .limit_directives(5)
        .extension(limits::Limits)
}

/// The schema, with what its resolvers work with.
pub(super) fn schema(context: GraphContext) -> SkepSchema {
    builder().data(context).finish()
}

/// The schema as text: what `schema.graphql` holds and `skep schema` prints.
#[must_use]
pub fn sdl() -> String {
    let text = builder().finish().sdl();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    format!("{}\n", lines.join("\n").trim())
}

fn context<'c>(ctx: &Context<'c>) -> async_graphql::Result<&'c GraphContext> {
    ctx.data::<GraphContext>()
}

/// The caller, who may have been let in long ago.
fn caller<'c>(ctx: &Context<'c>) -> async_graphql::Result<&'c Caller> {
    let caller = ctx.data::<Caller>()?;
    context(ctx)?.door.still(caller).map_err(|_| ended())?;
    Ok(caller)
}

/// What the caller may read. Every resolver reads through it.
fn guard(ctx: &Context<'_>) -> async_graphql::Result<Guard> {
    Ok(context(ctx)?.shelf.guard(caller(ctx)?))
}

/// The caller's token holds no more.
fn ended() -> Error {
    error("UNAUTHENTICATED", "the token was revoked, or has expired")
}

/// What the guard keeps back, or the world did not answer.
fn refused(cause: GuardError) -> Error {
    match cause {
        GuardError::Forbidden(cause) => error("FORBIDDEN", cause.to_string()),
        GuardError::Ledger(cause) => unavailable(cause),
        GuardError::Inquiry(cause) => query::inquiry(&cause),
    }
}

/// An error with a stable code.
fn error(code: &str, message: impl Into<String>) -> Error {
    let code = code.to_owned();
    Error::new(message).extend_with(|_, extensions| extensions.set("code", code))
}

/// The store cannot be read or written.
fn unavailable(cause: LedgerError) -> Error {
    tracing::error!(error = %cause, "the store failed");
    error("UNAVAILABLE", cause.to_string())
}

/// A use-case that failed by no fault of the asker's, or where there is no place for a refusal.
fn fault(cause: DeclareError) -> Error {
    match cause {
        DeclareError::Ledger(cause) => unavailable(cause),
        cause => error("UNAVAILABLE", cause.to_string()),
    }
}

/// A stack with its status.
fn with_status(guard: &Guard, stack: Stack) -> async_graphql::Result<stack::StackView> {
    Ok(guard.with_status(stack).map_err(unavailable)?.into())
}
