//! `environment`: named Swarms and their nodes.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{apply, get, watch};
use crate::cli::args::{ApplyArgs, EnvironmentApplyArgs, EnvironmentCommand, GetArgs, What};
use crate::cli::client::{Again, documents};
use crate::cli::console::clean;
use crate::cli::exit::{CliError, Exit};
use crate::cli::model::{Environment, read};
use crate::cli::output::{field, machine};
use crate::cli::session::Session;
use crate::cli::show;

pub(super) async fn environment(session: &Session<'_>, what: &EnvironmentCommand) -> Result<Exit, CliError> {
    match what {
        EnvironmentCommand::List => {
            get::get(session, &GetArgs { what: What::Environments, watch: false, limit: 1 }).await
        }
        EnvironmentCommand::Get { name } => one(session, name).await,
        EnvironmentCommand::Claim { name, reason } => claim(session, name, reason.as_deref()).await,
        EnvironmentCommand::Apply(args) => declare(session, args).await,
        EnvironmentCommand::Delete { name, reason } => delete(session, name, reason.as_deref()).await,
    }
}

async fn one(session: &Session<'_>, name: &str) -> Result<Exit, CliError> {
    let mut data = session.ask(documents::ENVIRONMENT, json!({ "name": name })).await?;
    let found = data.get_mut("environment").map(Value::take).unwrap_or_default();
    if found.is_null() {
        let error = CliError::new(Exit::NotFound, format!("there is no environment `{name}`"));
        return Err(error.next("see all of them: `skep environment list`"));
    }
    match machine(session.output, &found, field("name"))? {
        Some(text) => session.console.print(&text)?,
        None => {
            session.console.print(&show::environment(&read(&found)?, Timestamp::now(), session.console.paint))?;
        }
    }
    Ok(Exit::Done)
}

async fn declare(session: &Session<'_>, args: &EnvironmentApplyArgs) -> Result<Exit, CliError> {
    let reason = args.reason.clone();
    let Some(name) = &args.name else {
        let files = args.file.iter().cloned().collect();
        return apply::apply(session, &ApplyArgs { files, dry_run: false, reason, wait: false }).await;
    };
    let mut document = json!({ "kind": "Environment", "name": name });
    match &args.relay {
        Some(url) => {
            document["relay"] = json!({ "url": url, "credential": args.credential });
            if let Some(far) = &args.far {
                document["relay"]["environment"] = json!(far);
            }
        }
        None => document["endpoints"] = json!(args.endpoints),
    }
    for (field, credential) in [("tls", &args.tls), ("ssh", &args.ssh)] {
        if let Some(credential) = credential {
            document[field] = json!({ "credential": credential });
        }
    }
    // JSON is YAML.
    apply::text(session, &document.to_string(), reason.as_deref()).await
}

async fn delete(session: &Session<'_>, name: &str, reason: Option<&str>) -> Result<Exit, CliError> {
    let input = json!({ "name": name, "reason": reason });
    session.order("deleteEnvironment", documents::DELETE_ENVIRONMENT, input, Again::Safe).await?;
    let result = json!({ "name": name });
    match machine(session.output, &result, field("name"))? {
        Some(text) => session.console.print(&text)?,
        None => session.console.print(&format!("environment {} is forgotten; its Swarm goes on", clean(name)))?,
    }
    Ok(Exit::Done)
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
