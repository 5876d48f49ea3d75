//! Tokens: what is known of them, and the one time that they are shown.

use async_graphql::{Enum, InputObject, SimpleObject};

use super::payload::{UserError, user_errors};
use super::time::Time;
use crate::declare::{CreateToken, DeclareError, NewToken};
use crate::domain::{self, ApiToken};

/// What a caller is for. Each may do what those before it may.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::Role", rename_items = "PascalCase")]
pub(super) enum Role {
    /// Reads.
    Viewer,
    /// Brings versions about, and takes them back.
    Deployer,
    /// Declares stacks and deletes them.
    Operator,
    /// Keeps the installation: environments, credentials, hooks, notifiers, tokens.
    Admin,
}

/// A token that lets a caller in. What it is was shown once.
#[derive(SimpleObject)]
#[graphql(name = "Token")]
pub(super) struct TokenView {
    /// Its name: the actor of what is done with it.
    name: String,
    /// What its holder may do.
    role: Role,
    /// Where: patterns of environments.
    environments: Vec<String>,
    /// Where: patterns of stacks' names.
    stacks: Vec<String>,
    /// Who made it.
    created_by: String,
    /// When it was made.
    created_at: Time,
    /// When it ends by itself, if ever. One that has ended lets nobody in.
    expires_at: Option<Time>,
    /// When it was last used, to within ten minutes.
    last_used_at: Option<Time>,
}

impl From<(ApiToken, Option<jiff::Timestamp>)> for TokenView {
    fn from((it, used): (ApiToken, Option<jiff::Timestamp>)) -> Self {
        Self {
            name: it.name.to_string(),
            role: it.grant.role.into(),
            environments: it.grant.scope.environments,
            stacks: it.grant.scope.stacks,
            created_by: it.created_by,
            created_at: it.created_at.into(),
            expires_at: it.expires_at.map(Into::into),
            last_used_at: used.map(Into::into),
        }
    }
}

/// What `createToken` takes.
#[derive(Debug, InputObject)]
pub(super) struct CreateTokenInput {
    /// Its name: letters, digits, `-` and `_`.
    name: String,
    /// What its holder may do.
    role: Role,
    /// Where: patterns of environments, `*` for any run of characters.
    #[graphql(default_with = "everywhere()")]
    environments: Vec<String>,
    /// Where: patterns of stacks' names.
    #[graphql(default_with = "everywhere()")]
    stacks: Vec<String>,
    /// When it ends by itself; never, when left out.
    expires_at: Option<Time>,
    /// Why, for the record.
    pub(super) reason: Option<String>,
}

fn everywhere() -> Vec<String> {
    vec!["*".to_owned()]
}

impl From<CreateTokenInput> for CreateToken {
    fn from(it: CreateTokenInput) -> Self {
        Self {
            name: it.name,
            role: it.role.into(),
            environments: it.environments,
            stacks: it.stacks,
            expires_at: it.expires_at.map(|time| time.0),
        }
    }
}

/// What `revokeToken` takes.
#[derive(Debug, InputObject)]
pub(super) struct RevokeTokenInput {
    /// Its name.
    pub(super) name: String,
    /// Why, for the record.
    pub(super) reason: Option<String>,
}

/// What `createToken` answers.
#[derive(SimpleObject)]
pub(super) struct CreateTokenPayload {
    /// What is kept of the token; null when the request was refused.
    token: Option<TokenView>,
    /// The token itself. It is not shown again.
    value: Option<String>,
    /// Why nothing was written; empty when the request was carried out.
    user_errors: Vec<UserError>,
}

impl CreateTokenPayload {
    pub(super) fn new(outcome: Result<NewToken, DeclareError>) -> async_graphql::Result<Self> {
        match outcome {
            Ok(made) => Ok(Self {
                value: made.value.expose_text().map(str::to_owned),
                token: Some((made.token, None).into()),
                user_errors: Vec::new(),
            }),
            Err(cause) => Ok(Self { token: None, value: None, user_errors: user_errors(cause)? }),
        }
    }
}

/// What `revokeToken` answers.
#[derive(SimpleObject)]
pub(super) struct RevokeTokenPayload {
    /// The name of the token; null when the request was refused.
    name: Option<String>,
    /// Why nothing was written; empty when the request was carried out.
    user_errors: Vec<UserError>,
}

impl RevokeTokenPayload {
    pub(super) fn new(outcome: Result<ApiToken, DeclareError>) -> async_graphql::Result<Self> {
        match outcome {
            Ok(token) => Ok(Self { name: Some(token.name.to_string()), user_errors: Vec::new() }),
            Err(cause) => Ok(Self { name: None, user_errors: user_errors(cause)? }),
        }
    }
}
