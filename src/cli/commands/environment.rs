//! Care for environments.

use serde_json::{Value, json};

use super::{get, watch};
use crate::cli::args::EnvironmentAction;
use crate::cli::client::{Again, documents};
use crate::cli::exit::{CliError, Exit};
use crate::cli::model::{Environment, read};
use crate::cli::output::{field, machine};
use crate::cli::session::Session;

pub(super) async fn act(session: &Session<'_>, action: &EnvironmentAction) -> Result<Exit, CliError> {
    match action {
        EnvironmentAction::Claim { name, reason } => claim(session, name, reason.as_deref()).await,
    }
}

/// Orders the claim, and waits until the controller has made it.
async fn claim(session: &Session<'_>, name: &str, reason: Option<&str>) -> Result<Exit, CliError> {
    // The log is followed from before the order, so that its end is not missed.
    let mut feed = watch::log(session, None, 1);
    let input = json!({ "environment": name, "reason": reason });
    session.order("claimEnvironment", documents::CLAIM_ENVIRONMENT, input, Again::Never).await?;
    loop {
        let found = get::environments(session).await?;
        let this = found.iter().find(|it| it.get("name").and_then(Value::as_str) == Some(name));
        let Some(this) = this else {
            return Err(CliError::new(Exit::NotFound, format!("environment `{name}` is gone")));
        };
        if read::<Environment>(this)?.claim.state == "Ours" {
            match machine(session.output, this, field("name"))? {
                Some(text) => session.console.print(&text)?,
                None => session.console.print(&format!("{name} is kept by this Skep"))?,
            }
            return Ok(Exit::Done);
        }
        watch::environment_event(session, &mut feed).await?;
    }
}
