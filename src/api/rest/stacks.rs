//! `/api/v1/stacks…`.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use serde_json::json;

use super::body::{DeployBody, ManifestBody};
use super::call::{Call, Parameters, invalid};
use super::problem::{Answer, Problem};
use crate::api::graphql::GlobalId;
use crate::api::view::{DeploymentView, StackView};
use crate::declare::{AppliedDocument, ApplyOptions, Ask, Declared, Refusal};
use crate::domain::{EnvironmentName, Stack, StackKey};

/// Stacks of a page when nothing is said, and the most.
const PAGE: (u64, u64) = (50, 200);

/// `GET /api/v1/stacks`: by environment and name; `nextCursor` is null on the last page.
pub(super) async fn list(call: Call) -> Answer {
    let mut query = call.query()?;
    let environment = query.environment()?;
    let limit = query.number("limit", 1, PAGE.1)?.unwrap_or(PAGE.0);
    let after = query.text("cursor").map(|cursor| read_cursor(&cursor)).transpose()?;
    query.finish()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = call.guard.stacks(environment.as_ref())?;
    // In the order of the records' keys, so that it is the same on every page.
    found.retain(|stack| after.as_ref().is_none_or(|after| stack.key.to_string() > after.to_string()));
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| GlobalId::Stack(last.key.clone()).encode().0);
    let items = found.into_iter().map(|stack| view(&call, stack)).collect::<Result<Vec<_>, Problem>>()?;
    Ok(HttpResponse::Ok().json(json!({ "items": items, "nextCursor": next })))
}

fn read_cursor(cursor: &str) -> Result<StackKey, Problem> {
    match GlobalId::decode(cursor) {
        Some(GlobalId::Stack(key)) => Ok(key),
        _ => {
            Err(invalid("cursor", "`cursor` is not a cursor of this list").hint("take `nextCursor` of the page before"))
        }
    }
}

/// `POST /api/v1/stacks`: declares the stack of a document.
pub(super) async fn post(mut call: Call) -> Answer {
    let mut query = call.query()?;
    let environment = query.environment()?;
    let ask = conditional(&call, &mut query)?;
    query.finish()?;
    let body = ManifestBody::read(&call.body().await?, None, environment.as_ref())?;
    let (applied, view) = apply(&call, &body, &ask).await?;
    // Also of what was made by the same request before, whose answer may have been lost.
    let mut answer = match applied.created || !applied.changes.is_empty() {
        true => HttpResponse::Created(),
        false => HttpResponse::Ok(),
    };
    Ok(answer.insert_header((LOCATION, address(&view))).json(view))
}

/// `GET /api/v1/stacks/{name}`.
pub(super) async fn get(call: Call) -> Answer {
    let mut query = call.query()?;
    let environment = query.environment()?;
    query.finish()?;
    let key = call.key(environment)?;
    match call.guard.stack(&key)? {
        Some((stack, status)) => Ok(HttpResponse::Ok().json(StackView::from((&stack, &status)))),
        None => Err(call.state.declare().no_such_stack(&key, call.guard.grant()).into()),
    }
}

/// `PUT /api/v1/stacks/{name}`: the same as a POST, for the name in the address.
pub(super) async fn put(mut call: Call) -> Answer {
    let mut query = call.query()?;
    let environment = query.environment()?;
    let ask = conditional(&call, &mut query)?;
    query.finish()?;
    let key = call.key(environment.clone())?;
    let body = ManifestBody::read(&call.body().await?, Some(&key.name), environment.as_ref())?;
    let (applied, view) = apply(&call, &body, &ask).await?;
    match applied.created {
        true => Ok(HttpResponse::Created().insert_header((LOCATION, address(&view))).json(view)),
        false => Ok(HttpResponse::Ok().json(view)),
    }
}

/// `DELETE /api/v1/stacks/{name}`: orders it; the controller removes what the stack owns, and then the record.
pub(super) async fn delete(call: Call) -> Answer {
    let mut query = call.query()?;
    let environment = query.environment()?;
    let keep_running = query.boolean("keepRunning")?;
    let confirm = query.text("confirm");
    let ask = conditional(&call, &mut query)?;
    query.finish()?;
    let key = call.key(environment)?;
    if confirm.as_deref() != Some(key.name.as_str()) {
        let message = match confirm {
            Some(other) => format!("`{other}` is not the name of the stack `{}`", key.name),
            None => "a stack is deleted only when its name is repeated".to_owned(),
        };
        return Err(invalid("confirm", message).hint(format!("add ?confirm={}", key.name)));
    }
    let declared = call.state.declare().delete(&key, keep_running, &ask).await?;
    Ok(HttpResponse::Accepted().json(view(&call, declared.stack)?))
}

/// `PUT /api/v1/stacks/{name}/deploy`: writes the desired version; 200 when nothing new is to be deployed.
pub(super) async fn deploy(mut call: Call) -> Answer {
    let mut query = call.query()?;
    let environment = query.environment()?;
    query.finish()?;
    let key = call.key(environment)?;
    let body = DeployBody::read(&call.body().await?)?;
    let ask = Ask { reason: body.reason, expected_generation: body.expected_generation, ..call.ask()? };
    let before = call.guard.stack(&key)?.map(|(stack, _)| stack.deployment);
    let Declared { stack, deployment, changed } = call.state.declare().deploy(&key, &body.request, &ask).await?;
    // A deployment is always there: it is recorded with the stack and never deleted before it.
    let Some(deployment) = deployment else {
        return Err(call.state.declare().no_such_stack(&stack.key, call.guard.grant()).into());
    };
    let made = changed && before.as_ref() != Some(&deployment.id);
    let location = (LOCATION, format!("/api/v1/deployments/{}", deployment.id));
    let mut answer = if made { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(answer.insert_header(location).json(DeploymentView::from(deployment)))
}

/// A request with what the query says of its conditions.
fn conditional(call: &Call, query: &mut Parameters) -> Result<Ask, Problem> {
    let expected_generation = query.number("expectedGeneration", 0, u64::MAX)?;
    Ok(Ask { reason: query.text("reason"), expected_generation, ..call.ask()? })
}

/// Applies a document that holds one stack.
async fn apply(call: &Call, body: &ManifestBody, ask: &Ask) -> Result<(AppliedDocument, StackView), Problem> {
    let applied = call.state.declare().apply(&body.text, &ApplyOptions::default(), ask).await;
    let mut applied = applied.map_err(|error| body.placed(error))?;
    let document = applied.documents.pop();
    let stack = document.as_ref().and_then(|document| document.stack.as_ref());
    // The same Idempotency-Key once more, and the stack has been deleted since.
    let gone = || Problem::from(Refusal::new(crate::declare::Code::NotFound, "the stack was deleted since"));
    let view = view(call, stack.ok_or_else(gone)?.clone())?;
    Ok((document.ok_or_else(gone)?, view))
}

/// A stack with its status.
fn view(call: &Call, stack: Stack) -> Result<StackView, Problem> {
    let (stack, status) = call.guard.with_status(stack)?;
    Ok((&stack, &status).into())
}

/// Where a stack is read.
fn address(stack: &StackView) -> String {
    match &stack.environment {
        environment if *environment == EnvironmentName::default() => format!("/api/v1/stacks/{}", stack.name),
        environment => format!("/api/v1/stacks/{}?environment={environment}", stack.name),
    }
}
