//! What the health checks of a task's container came to. A node knows its own containers alone: of one on another node than
//! the one that answers nothing is known here.

use hyper::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::read::escape;
use super::session::Session;
use crate::ports::{EngineCheck, SwarmError};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireTask {
    status: WireStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireStatus {
    container_status: Option<WireContainerStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireContainerStatus {
    #[serde(rename = "ContainerID")]
    id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireContainer {
    state: WireState,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireState {
    health: Option<WireHealth>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireHealth {
    log: Option<Vec<WireCheck>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireCheck {
    end: String,
    exit_code: i64,
    output: String,
}

impl From<WireCheck> for EngineCheck {
    fn from(it: WireCheck) -> Self {
        Self { time: it.end.parse::<Timestamp>().ok(), exit_code: it.exit_code, output: it.output }
    }
}

impl Session {
    /// The last checks of a task's container.
    pub(super) async fn health(&self, task: &str, last: usize) -> Result<Option<Vec<EngineCheck>>, SwarmError> {
        let object = format!("the health of task `{task}`");
        let found: WireTask = self.document(&format!("/tasks/{}", escape(task)), &object).await?;
        let container = found.status.container_status.map(|status| status.id).filter(|id| !id.is_empty());
        let Some(container) = container else { return Ok(None) };
        let found = self.document(&format!("/containers/{}/json", escape(&container)), &object).await;
        let found: WireContainer = match found {
            Err(SwarmError::NotFound { .. }) => return Ok(None),
            found => found?,
        };
        let mut checks = found.state.health.and_then(|health| health.log).unwrap_or_default();
        checks.drain(..checks.len().saturating_sub(last));
        Ok(Some(checks.into_iter().map(Into::into).collect()))
    }

    async fn document<T: DeserializeOwned>(&self, path: &str, object: &str) -> Result<T, SwarmError> {
        let body = self.request(Method::GET, path, None, object).await?;
        let call = self.call_about(&Method::GET, object);
        serde_json::from_slice(&body).map_err(|error| call.engine(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_read_as_the_engine_writes_them() {
        let text = r#"{ "Id": "c1", "State": { "Status": "exited", "Health": { "Status": "unhealthy", "FailingStreak": 2,
            "Log": [{ "Start": "2026-11-30T12:00:00.5+01:00", "End": "2026-11-30T12:00:01.25+01:00", "ExitCode": 1,
                      "Output": "wget: server returned error\n" }] } } }"#;
        let found: WireContainer = serde_json::from_str(text).unwrap();
        let checks: Vec<EngineCheck> = found.state.health.unwrap().log.unwrap().into_iter().map(Into::into).collect();
        let time = "2026-11-30T11:00:01.25Z".parse().ok();
        assert_eq!(checks, [EngineCheck { time, exit_code: 1, output: "wget: server returned error\n".into() }]);
        for none in [r#"{ "State": {} }"#, r#"{ "State": { "Health": { "Log": null } } }"#, "{}"] {
            let found: WireContainer = serde_json::from_str(none).unwrap();
            assert!(found.state.health.and_then(|health| health.log).is_none(), "{none}");
        }
    }
}
