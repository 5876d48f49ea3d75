//! `/api/v1/deployments…`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use jiff::Timestamp;
use serde_json::json;

use super::call::{Call, Parameters, invalid};
use super::problem::{Answer, NOT_FOUND, Problem};
use crate::api::graphql::{GlobalId, deployment_id};
use crate::api::guard::DeploymentFilter;
use crate::api::view::DeploymentView;
use crate::domain::{DeploymentId, GitUrl, StackName};

/// Deployments of a page when nothing is said, and the most.
const PAGE: (u64, u64) = (50, 200);

/// `GET /api/v1/deployments`: the newest first; `nextCursor` is null on the last page.
pub(super) async fn list(call: Call) -> Answer {
    let mut query = call.query()?;
    let filter = filter(&mut query)?;
    let limit = query.number("limit", 1, PAGE.1)?.unwrap_or(PAGE.0);
    let before = query.text("cursor").map(|cursor| read_cursor(&cursor)).transpose()?;
    query.finish()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = call.guard.search(&filter, before, limit + 1)?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| GlobalId::Deployment(last.id.clone()).encode().0);
    let items: Vec<_> = found.into_iter().map(DeploymentView::from).collect();
    Ok(HttpResponse::Ok().json(json!({ "items": items, "nextCursor": next })))
}

fn filter(query: &mut Parameters) -> Result<DeploymentFilter, Problem> {
    let environment = query.environment()?;
    let stack = query.text("stack").map(|name| StackName::parse(&name)).transpose();
    let repository = query.text("repository").map(|url| GitUrl::parse(&url)).transpose();
    let commit = query.text("commit").map(|text| text.to_ascii_lowercase());
    let hex = |text: &String| (4..=40).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_hexdigit());
    if let Some(commit) = commit.as_ref().filter(|commit| !hex(commit)) {
        let message = format!("`commit` is `{commit}`; it is the first 4 to 40 hex digits of a commit");
        return Err(invalid("commit", message));
    }
    Ok(DeploymentFilter {
        environment,
        stack: stack.map_err(|cause| invalid("stack", cause.to_string()))?,
        repository: repository.map_err(|cause| invalid("repository", cause.to_string()))?,
        commit,
        phase: query.one_of("status")?,
        since: time(query, "since")?,
        until: time(query, "until")?,
    })
}

fn time(query: &mut Parameters, name: &'static str) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = query.text(name) else { return Ok(None) };
    let unreadable = |_| {
        let message = format!("`{name}` is `{text}`; it is a time like 2026-01-31T12:00:00Z");
        invalid(name, message).hint("in an address, write `+` as %2B")
    };
    text.parse().map(Some).map_err(unreadable)
}

fn read_cursor(cursor: &str) -> Result<DeploymentId, Problem> {
    match GlobalId::decode(cursor) {
        Some(GlobalId::Deployment(id)) => Ok(id),
        _ => {
            Err(invalid("cursor", "`cursor` is not a cursor of this list").hint("take `nextCursor` of the page before"))
        }
    }
}

/// `GET /api/v1/deployments/{id}`.
pub(super) async fn get(call: Call) -> Answer {
    call.query()?.finish()?;
    let id = deployment_id(call.part("id"));
    match call.guard.deployment(&id)? {
        Some(found) => Ok(HttpResponse::Ok().json(DeploymentView::from(found))),
        None => Err(no_such_deployment(&call)),
    }
}

pub(super) fn no_such_deployment(call: &Call) -> Problem {
    let message = format!("there is no deployment `{}`", call.part("id"));
    let hint = "a stack's newest one is its `deploymentId`: GET /api/v1/stacks/{name}";
    Problem::new(StatusCode::NOT_FOUND, NOT_FOUND, message).field("id").hint(hint)
}
