//! What Skep tells of its work on the real engine: one trace for each deployment, and figures that say what happened.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Value, json};
use skep::telemetry::Meters;

use crate::collector::{attribute, hex};
use crate::support::compose::Web;
use crate::support::hive::{Stay, sum};
use crate::support::panels;
use crate::support::stack::{Subject, of_commit};

/// The span that a request names as the one it is below.
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn a_deployment_is_traced_to_its_calls_to_the_engine_and_its_rollback_is_counted() {
    let mut subject = Subject::running(Stay::together().await, "observed").await;
    let before = subject.hive.metrics("application/openmetrics-text");
    let looked = subject.hive.metrics("*/*");
    // Somebody else changes something, which is undone.
    subject.nudge();
    let bad = subject.push("2", Web::Exits);
    subject.until_rolled_back(&bad).await;
    let deployments = subject.client.deployments(&subject.name).await;
    let failed = deployments.iter().find(|it| of_commit(it, &bad)).unwrap();
    let back = deployments.iter().find(|it| it["rollbackOf"] == failed["deploymentId"]).unwrap();

    let collector = &subject.hive.collector;
    let id = failed["deploymentId"].as_str().unwrap().to_owned();
    let of = |span: &Span, id: &str| attribute(&span.attributes, "skep.deployment.id").as_deref() == Some(id);
    let whole = collector.until("deployment", |span| span.name == "deployment" && of(span, &id));
    assert_eq!(attribute(&whole.attributes, "skep.failure.class").as_deref(), Some("ExitCode"));
    assert_eq!(whole.status.as_ref().map(|status| status.code()), Some(StatusCode::Error));
    // The commit was read from git, and the service was written: each in a stage of this deployment.
    for (stage, call, name) in [("render", "git", "Read"), ("apply", "engine", "UpdateService")] {
        let stages = |span: &Span| span.name == stage && span.trace_id == whole.trace_id;
        let stage = collector.until(stage, |span| stages(span) && span.parent_span_id == whole.span_id);
        let call = collector.until(name, |span| {
            span.name == call
                && span.trace_id == whole.trace_id
                && attribute(&span.attributes, "skep.call").as_deref() == Some(name)
        });
        assert_eq!(hex(&call.trace_id), hex(&stage.trace_id));
        collector.until("the stage of the call", |span| span.span_id == call.parent_span_id && stages(span));
        assert!(call.start_time_unix_nano >= whole.start_time_unix_nano);
        assert!(call.end_time_unix_nano <= whole.end_time_unix_nano);
    }
    let id = back["deploymentId"].as_str().unwrap().to_owned();
    let answer = collector.until("rollback", |span| span.name == "deployment" && of(span, &id));
    assert_eq!(answer.links.first().map(|link| &link.trace_id), Some(&whole.trace_id), "it says what it answers");
    assert_ne!(answer.trace_id, whole.trace_id);

    let text = subject.hive.metrics("application/openmetrics-text");
    let grew = |name: &str, labels: &[&str]| sum(&text, name, labels) - sum(&before, name, labels);
    let environment = "environment=\"default\"";
    assert!(grew("skep_rollbacks_total", &[environment, "class=\"ExitCode\""]) >= 1.0, "{text}");
    assert!(grew("skep_rollback_seconds_count", &[environment]) >= 1.0, "{text}");
    assert!(grew("skep_drift_total", &[environment, "action=\"Corrected\""]) >= 1.0, "{text}");
    assert!(grew("skep_deployments_total", &["trigger=\"Git\"", "phase=\"RolledBack\""]) >= 1.0, "{text}");
    assert!(grew("skep_engine_calls_total", &["call=\"UpdateService\"", "outcome=\"Ok\""]) >= 2.0, "{text}");
    assert!(grew("skep_git_calls_total", &["call=\"Read\"", "outcome=\"Ok\""]) >= 1.0, "{text}");
    assert!(grew("skep_reconciles_total", &[environment, "outcome=\"Done\""]) >= 1.0, "{text}");
    assert!(grew("skep_store_commits_total", &["outcome=\"Ok\""]) >= 1.0, "{text}");
    assert!(grew("skep_store_sync_seconds_count", &[]) >= 1.0, "{text}");
    assert!(sum(&text, "skep_desired_to_converged_seconds_count", &[environment]) >= 1.0, "{text}");
    let stack = format!("stack=\"{}\"", subject.name);
    assert_eq!(sum(&text, "skep_stack_info", &[&stack, "phase=\"RolledBack\""]), 1.0, "{text}");
    assert!(sum(&text, "skep_store_size_bytes", &[]) > 0.0, "{text}");

    // Few series: what each name has is counted, so that a label with a value of its own for each event is found.
    let mut series: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        *series.entry(line.split(['{', ' ']).next().unwrap()).or_default() += 1;
    }
    let many: Vec<_> = series.iter().filter(|(name, count)| !name.ends_with("_bucket") && **count > 200).collect();
    assert!(many.is_empty(), "{many:?}");
    // What a test of the rules and panels takes to be there is what was counted.
    let known = Meters::new();
    for name in series.keys().filter(|name| name.ends_with("_total") || name.ends_with("_count")) {
        assert!(known.names().iter().any(|it| it == name), "{name}");
    }
    let classic = subject.hive.metrics("*/*");
    assert!(classic.contains("# TYPE skep_rollbacks_total counter") && !classic.contains("# EOF"), "{classic}");
    // With all that has happened by now in it: what has not is not told.
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool, which .ci/setup brings");
    promtool.stdin.take().unwrap().write_all(classic.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    // Every panel shows something of it, but those that tell of what did not happen.
    let empty = panels::empty(&looked, &classic);
    let quiet = ["skep_reconcile_errors_total", "outcome!=", "skep_registry_call_seconds"];
    let odd: Vec<_> = empty.iter().filter(|it| !quiet.iter().any(|quiet| it.contains(quiet))).collect();
    assert!(odd.is_empty(), "{odd:#?}");
}

#[tokio::test]
async fn a_deployment_that_a_request_asked_for_is_one_trace_from_the_request_to_the_engine() {
    let mut subject = Subject::running(Stay::together().await, "asked").await;
    let client = subject.hive.client().in_trace(PARENT);
    let images = json!([{ "service": "web", "version": "skep-example:2" }]);
    let payload = client.act("deployStack", &subject.name, json!({ "images": images })).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    assert_eq!(payload["deployment"]["traceId"], trace);
    let id = payload["deployment"]["deploymentId"].as_str().unwrap().to_owned();
    let wanted = |it: &Value| it["phase"] == "Converged" && it["lastGood"]["deploymentId"] == id.as_str();
    subject.watch.until("converged on it", 120, wanted).await;

    let collector = &subject.hive.collector;
    let of = |span: &Span| hex(&span.trace_id) == trace;
    let request = collector.until("request", |span| of(span) && span.name == "POST /graphql");
    assert_eq!(hex(&request.parent_span_id), "00f067aa0ba902b7", "below what its sender named");
    let whole = collector.until("deployment", |span| of(span) && span.name == "deployment");
    assert_eq!(attribute(&whole.attributes, "skep.deployment.id"), Some(id));
    assert_eq!(whole.parent_span_id, request.span_id);
    let call = collector.until("the write", |span| {
        of(span)
            && span.name == "engine"
            && attribute(&span.attributes, "skep.call").as_deref() == Some("UpdateService")
    });
    assert_eq!(attribute(&call.attributes, "skep.object"), Some(subject.service("web")));
    let stage = collector.until("its stage", |span| of(span) && span.span_id == call.parent_span_id);
    assert_eq!((stage.name.as_str(), &stage.parent_span_id), ("apply", &whole.span_id));
}
