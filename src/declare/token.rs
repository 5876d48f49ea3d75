//! API tokens: made by an admin, shown once, kept as a digest, and gone when they are revoked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::write::ATTEMPTS;
use super::{Ask, Code, Declare, DeclareError, Refusal};
use crate::domain::{Access, ApiToken, Event, EventType, Grant, Place, Role, Scope, SecretBytes, TokenName};
use crate::ledger::{Batch, RecordKey};

/// What every token begins with, so that scanners know one when they see it.
pub const TOKEN_PREFIX: &str = "skep_";
/// Names that stand for others in the log.
const RESERVED: [&str; 4] = ["admin", "controller", "serve", "skep"];
/// Patterns of one list at most, and characters of one.
const PATTERNS: (usize, usize) = (50, 100);

/// What a token is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateToken {
    /// Its name.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// Patterns of environments.
    pub environments: Vec<String>,
    /// Patterns of stacks.
    pub stacks: Vec<String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A token that was just made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewToken {
    /// What is kept of it.
    pub token: ApiToken,
    /// The token itself: this is the only time it is known.
    pub value: SecretBytes,
}

/// The digest a token is known by: SHA-256, as hex digits.
#[must_use]
pub fn token_digest(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Declare {
    /// Makes a token: 256 random bits behind [`TOKEN_PREFIX`]. Only its digest is kept.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: not an admin of everything, a name that is taken, a scope that covers nothing, a time that
    /// has passed.
    pub async fn create_token(&self, asked: &CreateToken, ask: &Ask) -> Result<NewToken, DeclareError> {
        self.permit(ask, Access::Administer, Place::Installation)?;
        self.check_ask(ask)?;
        let name = token_name(&asked.name)?;
        let environments = patterns("environments", &asked.environments)?;
        let stacks = patterns("stacks", &asked.stacks)?;
        let now = self.now();
        if asked.expires_at.is_some_and(|end| end <= now) {
            return Err(Refusal::new(Code::Invalid, "that time has passed").field("expiresAt").into());
        }
        let value = random_token()?;
        let token = ApiToken {
            name,
            id: self.ambient.new_id(),
            digest: token_digest(&value),
            grant: Grant { role: asked.role, scope: Scope { environments, stacks } },
            created_by: ask.actor.name.clone(),
            created_at: now,
            expires_at: asked.expires_at,
        };
        let scope = &token.grant.scope;
        let message = format!(
            "token `{}` was made: {:?} of the stacks {} in {}",
            token.name,
            token.grant.role,
            scope.stacks.join(" "),
            scope.environments.join(" ")
        );
        let event = self.token_event(EventType::TokenCreated, message, ask);
        if !self.committed(Batch::new().put_token(&token).event(&event)).await? {
            let message = format!("there is a token `{}` already", token.name);
            return Err(Refusal::new(Code::Conflict, message)
                .field("name")
                .hint("revoke it first, or take another name")
                .into());
        }
        Ok(NewToken { token, value: SecretBytes::new(value.as_bytes().to_vec()) })
    }

    /// Revokes a token: from now on nobody comes in with it, and what was open with it ends.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: not an admin of everything, or no such token.
    pub async fn revoke_token(&self, name: &str, ask: &Ask) -> Result<ApiToken, DeclareError> {
        self.permit(ask, Access::Administer, Place::Installation)?;
        self.check_ask(ask)?;
        let name = token_name(name)?;
        for _ in 0..ATTEMPTS {
            let Some(found) = self.ledger.token(&name)? else {
                let message = format!("there is no token `{name}`");
                return Err(Refusal::new(Code::NotFound, message)
                    .field("name")
                    .hint("see all: `skep token list`")
                    .into());
            };
            let event = self.token_event(EventType::TokenRevoked, format!("token `{name}` was revoked"), ask);
            let key = RecordKey::Token(name.clone());
            let batch = Batch::new().expect(&key, Some(found.revision)).delete_token(&found.value).event(&event);
            if self.committed(batch).await? {
                return Ok(found.value);
            }
        }
        Err(Refusal::new(Code::Conflict, format!("token `{name}` is being changed by others")).hint("try again").into())
    }

    fn token_event(&self, kind: EventType, message: String, ask: &Ask) -> Event {
        let why = ask.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        self.own_event(kind, format!("{message}{why}"), ask)
    }
}

fn random_token() -> Result<Zeroizing<String>, DeclareError> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| crate::ports::SealError::Entropy)?;
    Ok(Zeroizing::new(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes.as_slice()))))
}

fn token_name(text: &str) -> Result<TokenName, DeclareError> {
    let refused = |message: String| DeclareError::from(Refusal::new(Code::Invalid, message).field("name"));
    if RESERVED.iter().any(|name| name.eq_ignore_ascii_case(text)) {
        return Err(refused(format!("`{text}` stands for another in the log; take another name")));
    }
    TokenName::parse(text).map_err(|error| refused(error.to_string()))
}

/// Checks patterns of names.
fn patterns(field: &str, patterns: &[String]) -> Result<Vec<String>, DeclareError> {
    let refused = |message: String| {
        let hint = "write names, with `*` for any run of characters";
        DeclareError::from(Refusal::new(Code::Invalid, message).field(field).hint(hint))
    };
    if patterns.is_empty() || patterns.len() > PATTERNS.0 {
        return Err(refused(format!("a token names 1 to {} patterns here; {} were given", PATTERNS.0, patterns.len())));
    }
    let fine = |c: u8| c.is_ascii_alphanumeric() || b"-_*".contains(&c);
    match patterns.iter().find(|it| it.is_empty() || it.len() > PATTERNS.1 || !it.bytes().all(fine)) {
        Some(bad) => Err(refused(format!("`{bad}` is no pattern of names"))),
        None => Ok(patterns.to_vec()),
    }
}
