//! `/api/v1/environments…`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::call::{Call, invalid};
use super::problem::{Answer, NOT_FOUND, Problem};
use crate::domain::{Claim, CredentialName, Environment, EnvironmentName, EnvironmentStatus, Relay};

/// `GET /api/v1/environments`: by name, all on one page.
pub(super) async fn list(call: Call) -> Answer {
    call.query()?.finish()?;
    let items: Vec<_> = call.guard.environments()?.into_iter().map(EnvironmentView::from).collect();
    Ok(HttpResponse::Ok().json(json!({ "items": items })))
}

/// `GET /api/v1/environments/{name}`.
pub(super) async fn get(call: Call) -> Answer {
    call.query()?.finish()?;
    let name = EnvironmentName::parse(call.part("name")).map_err(|cause| invalid("name", cause.to_string()))?;
    match call.guard.environment(&name)? {
        Some(found) => Ok(HttpResponse::Ok().json(EnvironmentView::from(found))),
        None => {
            let message = format!("there is no environment `{name}`");
            let problem = Problem::new(StatusCode::NOT_FOUND, NOT_FOUND, message).field("name");
            Err(problem.hint("those there are: GET /api/v1/environments"))
        }
    }
}

/// A named Swarm, and what is known of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EnvironmentView {
    name: EnvironmentName,
    endpoints: Vec<String>,
    tls: Option<CredentialName>,
    ssh: Option<CredentialName>,
    /// In place of endpoints.
    relay: Option<RelayView>,
    /// None before the first look, like all that follows.
    connected: Option<bool>,
    since: Option<Timestamp>,
    message: Option<String>,
    engine: Option<String>,
    api: Option<String>,
    node_count: Option<u64>,
    claim: ClaimView,
}

/// Another Skep that keeps it.
#[derive(Serialize)]
struct RelayView {
    url: String,
    credential: CredentialName,
    environment: EnvironmentName,
}

impl From<Relay> for RelayView {
    fn from(it: Relay) -> Self {
        Self { url: it.url, credential: it.credential, environment: it.environment }
    }
}

/// Who may write to it.
#[derive(Serialize)]
struct ClaimView {
    state: &'static str,
    instance: Option<String>,
    epoch: Option<u64>,
}

impl From<Option<Claim>> for ClaimView {
    fn from(claim: Option<Claim>) -> Self {
        match claim.unwrap_or(Claim::Unknown) {
            Claim::Unknown => Self { state: "Unknown", instance: None, epoch: None },
            Claim::Ours(epoch) => Self { state: "Ours", instance: None, epoch: Some(epoch) },
            Claim::Foreign { instance, epoch } => {
                Self { state: "Foreign", instance: Some(instance), epoch: Some(epoch) }
            }
        }
    }
}

impl From<(Environment, Option<EnvironmentStatus>)> for EnvironmentView {
    fn from((environment, status): (Environment, Option<EnvironmentStatus>)) -> Self {
        let known = status.as_ref();
        Self {
            name: environment.name,
            endpoints: environment.endpoints,
            tls: environment.tls,
            ssh: environment.ssh,
            relay: environment.relay.map(Into::into),
            connected: known.map(|status| status.connected),
            since: known.map(|status| status.since),
            message: known.and_then(|status| status.message.clone()),
            engine: known.and_then(|status| status.engine.clone()),
            api: known.and_then(|status| status.api.clone()),
            node_count: known.map(|status| status.nodes),
            claim: status.map(|status| status.claim).into(),
        }
    }
}
