//! `/api/v1/deployments/…`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use super::call::Call;
use super::problem::{Answer, NOT_FOUND, Problem};
use crate::api::graphql::deployment_id;
use crate::api::view::DeploymentView;

/// Lines of each service when nothing is said, and the most.
const LINES: (u64, u64) = (200, 10_000);

/// `GET /api/v1/deployments/{id}`.
pub(super) async fn get(call: Call) -> Answer {
    call.query()?.finish()?;
    let id = deployment_id(call.part("id"));
    match call.guard.deployment(&id)? {
        Some(found) => Ok(HttpResponse::Ok().json(DeploymentView::from(found))),
        None => Err(no_such_deployment(&call)),
    }
}

/// `GET /api/v1/deployments/{id}/logs`: raw text.
pub(super) async fn logs(call: Call) -> Answer {
    let mut query = call.query()?;
    let tail = query.number("tail", 1, LINES.1)?.unwrap_or(LINES.0);
    query.finish()?;
    let id = deployment_id(call.part("id"));
    let tail = u32::try_from(tail).unwrap_or(u32::MAX);
    match call.guard.logs(&id, tail).await? {
        Some(text) => Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(text)),
        None => Err(no_such_deployment(&call)),
    }
}

fn no_such_deployment(call: &Call) -> Problem {
    let message = format!("there is no deployment `{}`", call.part("id"));
    let hint = "a stack's newest one is its `deploymentId`: GET /api/v1/stacks/{name}";
    Problem::new(StatusCode::NOT_FOUND, NOT_FOUND, message).field("id").hint(hint)
}
