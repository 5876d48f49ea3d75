//! What a command works with: the way to the server, the console, and what holds for every command.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::args::{Globals, Output};
use super::client::{Again, Client};
use super::console::Console;
use super::exit::{CliError, Exit};
use super::model::{Deployment, UserError, read};

/// The environment when none is said.
const DEFAULT_ENVIRONMENT: &str = "default";

/// What stops waiting: Ctrl-C or, in tests, a word.
#[derive(Debug, Clone, Default)]
pub(super) enum Interrupt {
    #[default]
    Signal,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests cannot send themselves signals"))]
    Word(Arc<Notify>),
}

impl Interrupt {
    /// Waits for it. From then on Ctrl-C does nothing else.
    pub(super) async fn wait(&self) {
        match self {
            Self::Signal => {
                if tokio::signal::ctrl_c().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            Self::Word(word) => word.notified().await,
        }
    }
}

/// What a command works with.
pub(super) struct Session<'a> {
    pub(super) client: Client,
    pub(super) console: &'a Console,
    pub(super) output: Output,
    /// As it was said.
    pub(super) environment: Option<String>,
    pub(super) timeout: Duration,
    pub(super) interrupt: Interrupt,
}

impl<'a> Session<'a> {
    pub(super) fn new(globals: &Globals, console: &'a Console) -> Result<Self, CliError> {
        Ok(Self {
            client: Client::new(globals)?,
            console,
            output: globals.output,
            environment: globals.environment.clone().filter(|name| !name.is_empty()),
            timeout: globals.timeout,
            interrupt: Interrupt::default(),
        })
    }

    /// The environment of a stack.
    pub(super) fn environment(&self) -> &str {
        self.environment.as_deref().unwrap_or(DEFAULT_ENVIRONMENT)
    }

    /// Names a stack, for a mutation.
    pub(super) fn stack(&self, name: &str) -> Value {
        json!({ "name": name, "environment": self.environment() })
    }

    /// The address of a deployment's page: as the server says it, or else below the address it is asked at.
    pub(super) fn page(&self, deployment: &Deployment) -> String {
        let below = || self.client.page(&format!("deployments/{}", deployment.id));
        deployment.url.clone().unwrap_or_else(below)
    }

    /// Asks something that changes nothing.
    pub(super) async fn ask(&self, document: &str, variables: Value) -> Result<Value, CliError> {
        self.client.ask(document, variables, Again::Safe).await
    }

    /// Orders something; gives the payload.
    pub(super) async fn order(
        &self,
        field: &str,
        document: &str,
        input: Value,
        again: Again,
    ) -> Result<Value, CliError> {
        let mut data = self.client.ask(document, json!({ "input": input }), again).await?;
        let payload = data.get_mut(field).map(Value::take).unwrap_or_default();
        let errors: Vec<UserError> = read(payload.get("userErrors").unwrap_or(&Value::Null))?;
        if errors.is_empty() { Ok(payload) } else { Err(refused(&errors)) }
    }
}

/// A command to type, for a stack of an environment.
pub(super) fn command(what: &str, environment: &str) -> String {
    if environment == DEFAULT_ENVIRONMENT {
        format!("`skep {what}`")
    } else {
        format!("`skep -e {environment} {what}`")
    }
}

/// A key under which a request works only once.
pub(super) fn once() -> String {
    format!("cli-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
}

/// What is wrong with a request, as one error.
pub(super) fn refused(errors: &[UserError]) -> CliError {
    let mut codes = errors.iter().map(|error| Exit::of_server(&error.code));
    let first = codes.next().unwrap_or(Exit::Error);
    // Several kinds of fault at once are just an error.
    let exit = if codes.all(|code| code == first) { first } else { Exit::Error };
    let message = errors.iter().map(|error| refusal(error, errors.len() > 1)).collect::<Vec<_>>().join("\n");
    let error = CliError::new(exit, message);
    match errors {
        [UserError { hint: Some(hint), .. }] => error.next(hint),
        _ => error,
    }
}

/// `FILE:LINE:COLUMN: field: message (hint)`, as far as each is known.
fn refusal(error: &UserError, with_hint: bool) -> String {
    let mut text = error.file.clone().unwrap_or_default();
    for number in [error.line, error.column].into_iter().flatten() {
        let mark = if text.is_empty() { "line " } else { ":" };
        text.push_str(&format!("{mark}{number}"));
    }
    if !text.is_empty() {
        text.push_str(": ");
    }
    if let Some(field) = error.field.as_ref().filter(|field| !error.message.contains(field.as_str())) {
        text.push_str(&format!("{field}: "));
    }
    text.push_str(&error.message);
    if let Some(hint) = error.hint.as_ref().filter(|_| with_hint) {
        text.push_str(&format!(" ({hint})"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str) -> UserError {
        UserError {
            code: code.into(),
            message: "it is not a duration".into(),
            field: Some("policy.monitor".into()),
            file: Some("skep.yml".into()),
            line: Some(3),
            column: Some(7),
            hint: Some("write 5m".into()),
        }
    }

    #[test]
    fn a_refusal_says_where_and_how_to_mend_it() {
        let one = refused(&[error("INVALID")]);
        assert_eq!(one.message, "skep.yml:3:7: policy.monitor: it is not a duration");
        assert_eq!((one.exit, one.next.as_deref()), (Exit::Error, Some("write 5m")));
        let two = refused(&[error("INVALID"), UserError { file: None, column: None, ..error("INVALID") }]);
        assert_eq!(
            two.message,
            "skep.yml:3:7: policy.monitor: it is not a duration (write 5m)\n\
             line 3: policy.monitor: it is not a duration (write 5m)"
        );
    }

    #[test]
    fn the_kind_of_refusal_is_the_exit_code() {
        for (code, exit) in [
            ("INVALID", Exit::Error),
            ("UNSUPPORTED", Exit::Error),
            ("TOO_LARGE", Exit::Error),
            ("NOT_FOUND", Exit::NotFound),
            ("FORBIDDEN", Exit::Refused),
            ("CONFLICT", Exit::Conflict),
        ] {
            assert_eq!(refused(&[error(code)]).exit, exit, "{code}");
        }
        assert_eq!(refused(&[error("CONFLICT"), error("INVALID")]).exit, Exit::Error);
    }

    #[test]
    fn commands_name_the_environment_when_it_matters() {
        assert_eq!(command("wait shop", "default"), "`skep wait shop`");
        assert_eq!(command("wait shop", "prod"), "`skep -e prod wait shop`");
    }
}
