//! Answers of a server.

use serde_json::{Value, json};

use crate::cli::model::{Deployment, read};

/// A deployment in this phase, as the server sends it.
pub(in crate::cli) fn deployment_json(phase: &str) -> Value {
    let failed = matches!(phase, "Failed" | "RollingBack" | "RolledBack");
    let failure = json!({
        "class": "HealthCheck", "service": "web", "slot": 2, "node": "node-3", "error": "unhealthy container",
        "exitCode": 137, "logTail": ["listening on :8080", "cannot reach the database"],
        "healthLog": ["exit code 1: no answer on port 8080"],
    });
    json!({
        "id": "01dep", "stack": "shop", "environment": "default", "generation": 4, "trigger": "Api", "phase": phase,
        "verdict": null, "reason": if failed { "HealthCheck" } else { phase }, "message": "3 of 4 tasks are healthy",
        "failure": if failed { failure } else { Value::Null },
        "revision": "0123456789abcdef0123456789abcdef01234567",
        "images": [{ "service": "web", "image": "registry.example.org/app:2", "digest": null }],
        "actor": "admin", "statedReason": null, "rollbackOf": null, "rolledBackBy": null, "versionOf": null,
        "services": [
            { "service": "web", "wanted": 3, "healthy": 2, "obstacle": "starting on node-3" },
            { "service": "worker", "wanted": 1, "healthy": 1, "obstacle": null },
        ],
        "warnings": [], "createdAt": "2026-01-31T12:00:00Z", "finishedAt": null,
        "originalRequest": {}, "mappedRequest": {},
    })
}

/// The same, read.
pub(in crate::cli) fn deployment(phase: &str) -> Deployment {
    read(&deployment_json(phase)).unwrap()
}

/// A stack in this phase, as the server sends it.
pub(in crate::cli) fn stack_json(name: &str, phase: &str) -> Value {
    let good = json!([{ "service": "web", "image": "app:1", "digest": null }]);
    let wanted = json!([{ "service": "web", "image": "app:2", "digest": null }]);
    let held = phase == "RolledBack";
    json!({
        "name": name, "environment": "default", "generation": 4, "observedGeneration": 4, "phase": phase,
        "reason": if held { "RolledBack" } else { "Succeeded" }, "message": "what is wanted runs",
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Succeeded", "message": "what is wanted runs",
            "observedGeneration": 4, "since": "2026-01-31T11:00:00Z",
        }],
        "desired": { "ref": "main", "revision": "1".repeat(40), "images": wanted },
        "target": { "kind": "Desired", "revision": "2".repeat(40), "deploymentId": "01dep", "images": good },
        "live": { "revision": "2".repeat(40), "deploymentId": "01dep", "images": good },
        "lastGood": { "deploymentId": "01dep", "revision": "2".repeat(40), "since": "2026-01-31T11:00:00Z", "images": good },
        "held": if held {
            json!([{ "revision": "1".repeat(40), "deploymentId": "01bad", "reason": "web: unhealthy", "since": "2026-01-31T11:30:00Z", "images": wanted }])
        } else {
            json!([])
        },
        "pin": null, "deploymentId": "01dep", "suspension": null, "deletion": null,
        "drift": { "found": [], "corrections": 0, "correctedAt": null },
        "createdAt": "2026-01-31T10:00:00Z", "updatedAt": "2026-01-31T11:00:00Z",
    })
}
