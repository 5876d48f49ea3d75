//! `deploy`, `rollback` and `wait`: what brings a version about, and waits for it.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::get::one_deployment;
use super::{choose, look_up, no_stack, one_stack};
use crate::cli::args::{ApproveArgs, DeployArgs, Pair, RollbackArgs, WaitArgs};
use crate::cli::client::{Again, documents};
use crate::cli::console::clean;
use crate::cli::exit::{CliError, Exit};
use crate::cli::follow::{conclude, follow, last_word};
use crate::cli::model::{Deployment, read};
use crate::cli::output::{field, machine};
use crate::cli::session::{Session, command, once};
use crate::cli::text;

pub(super) async fn deploy(session: &Session<'_>, args: &DeployArgs) -> Result<Exit, CliError> {
    let pairs = |pairs: &[Pair], key: &str, value: &str| -> Value {
        pairs.iter().map(|pair| json!({ key: pair.key, value: pair.value })).collect()
    };
    let input = json!({
        "stack": session.stack(&args.stack),
        "ref": args.wanted,
        "images": pairs(&args.images, "service", "version"),
        "variables": pairs(&args.variables, "name", "value"),
        "reason": args.reason,
        "expectedGeneration": args.expect_generation,
        "idempotencyKey": once(),
    });
    let payload = session.order("deployStack", documents::DEPLOY, input, Again::Safe).await;
    let stack = &args.stack;
    let payload = payload.map_err(look_up).map_err(|error| match error.exit {
        Exit::Conflict => {
            let see = command(&format!("get stack {stack}"), session.environment());
            error.or_next(format!("see its generation: {see}"))
        }
        _ => error,
    })?;
    made(session, stack, &payload, args.wait).await
}

pub(super) async fn rollback(session: &Session<'_>, args: &RollbackArgs) -> Result<Exit, CliError> {
    let wanted = choose::wanted(session, &args.stack, args.deployment.as_ref()).await?;
    let input = json!({
        "stack": session.stack(&args.stack),
        "deployment": wanted,
        "until": args.until.map(|until| until.to_string()),
        "reason": args.reason,
        "idempotencyKey": once(),
    });
    let payload = session.order("rollbackStack", documents::ROLLBACK, input, Again::Safe).await;
    let history = command(&format!("history {}", args.stack), session.environment());
    let payload = payload.map_err(|error| error.or_next(format!("see where it can go back to: {history}")))?;
    if session.output.is_for_people() {
        let unpin = command(&format!("unpin {}", args.stack), session.environment());
        session.console.note(&format!("new versions wait until {unpin}"));
    }
    made(session, &args.stack, &payload, args.wait).await
}

/// Approves the plan that was looked at, or else the one the deployment waits with now.
pub(super) async fn approve(session: &Session<'_>, args: &ApproveArgs) -> Result<Exit, CliError> {
    let waiting = one_deployment(session, &args.deployment).await?;
    let deployment: Deployment = read(&waiting)?;
    let input = json!({
        "stack": { "name": deployment.stack, "environment": deployment.environment },
        "deployment": deployment.id,
        "plan": args.plan.as_deref().or_else(|| waiting.get("plan").and_then(Value::as_str)),
        "reason": args.reason,
    });
    let payload = session.order("approveDeployment", documents::APPROVE, input, Again::Safe).await;
    let diff = command(&format!("diff {}", deployment.stack), &deployment.environment);
    let payload = payload.map_err(|error| error.or_next(format!("see what it would change: {diff}")))?;
    made(session, &deployment.stack, &payload, args.wait).await
}

/// A deployment was made: says so, or follows it.
async fn made(session: &Session<'_>, stack: &str, payload: &Value, wait: bool) -> Result<Exit, CliError> {
    let value = payload.get("deployment").filter(|it| !it.is_null());
    let Some(value) = value else {
        let see = command(&format!("get stack {stack}"), session.environment());
        return Err(CliError::new(Exit::Error, "the server names no deployment").next(format!("see {see}")));
    };
    let deployment: Deployment = read(value)?;
    if wait {
        return await_it(session, &deployment.id).await;
    }
    if let Some(text) = machine(session.output, &last_word(value), field("deploymentId"))? {
        session.console.print(&text)?;
    } else {
        let Deployment { id, generation, phase, .. } = &deployment;
        session.console.print(&format!("{stack}: deployment {id} is {phase} (generation {generation})"))?;
        if deployment.ended().is_none() {
            let wait = command(&format!("wait {stack} {id}"), session.environment());
            session.console.note(&format!("follow it: {wait}, or at {}", clean(&session.page(&deployment))));
        }
    }
    Ok(Exit::Done)
}

/// Follows a deployment, and says what came of it.
async fn await_it(session: &Session<'_>, id: &str) -> Result<Exit, CliError> {
    let until = Instant::now() + session.timeout;
    let outcome = follow(session, id, until).await?;
    conclude(session, &outcome)?;
    Ok(outcome.exit)
}

pub(super) async fn wait(session: &Session<'_>, args: &WaitArgs) -> Result<Exit, CliError> {
    let stack = &args.stack;
    let id = match &args.deployment {
        Some(id) => id.clone(),
        None => newest(session, stack).await?,
    };
    let history = command(&format!("history {stack}"), session.environment());
    await_it(session, &id).await.map_err(|error| match error.exit {
        Exit::NotFound => CliError { next: Some(format!("see its deployments: {history}")), ..error },
        _ => error,
    })
}

/// The newest deployment that is not the answer to another's failure: that one's end waits for it anyway.
async fn newest(session: &Session<'_>, stack: &str) -> Result<String, CliError> {
    let variables = json!({ "stack": stack, "environment": session.environment(), "first": 20 });
    let data = session.ask(documents::DEPLOYMENTS, variables).await?;
    let edges = data.pointer("/deployments/edges").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for edge in edges {
        let deployment: Deployment = read(edge.get("node").unwrap_or(&Value::Null))?;
        if deployment.rollback_of.is_none() {
            if session.output.is_for_people() && deployment.ended().is_none() {
                let version = text::version(deployment.revision.as_deref(), &deployment.images);
                session.console.note(&format!("waiting for deployment {} {version}", deployment.id));
            }
            return Ok(deployment.id);
        }
    }
    let found = one_stack(session, stack).await?;
    let id = found.get("deploymentId").and_then(Value::as_str).map(str::to_owned);
    id.ok_or_else(|| no_stack(session, stack))
}
