//! `/api/v1/doctor`.

use actix_web::HttpResponse;
use serde_json::json;

use super::call::Call;
use super::problem::Answer;

/// `GET /api/v1/doctor`.
pub(super) async fn get(call: Call) -> Answer {
    call.query()?.finish()?;
    let findings = call.guard.doctor().await?;
    Ok(HttpResponse::Ok().json(json!({ "time": call.state.ambient().now(), "findings": findings })))
}
