//! A newer version does not wait for an older one to end.

use crate::support::compose::{Web, compose};
use crate::support::hive::Stay;
use crate::support::stack::{Subject, of_commit};
use crate::support::watch::Watch;

#[tokio::test]
async fn a_newer_version_takes_over_during_an_update() {
    let mut subject = Subject::running(Stay::together().await, "during").await;
    let second = subject.push("2", Web::Undecided);
    let deployment = subject.until_deployment_of(&second).await;
    let mut watch = Watch::deployment(&subject.client, deployment["deploymentId"].as_str().unwrap());
    watch.until_phase("Verifying", 20).await;

    let third = subject.push("3", Web::Good);
    let stack = subject.until_converged_on(&third).await;
    subject.assert_runs("3");
    assert_eq!(watch.until_phase("Superseded", 5).await["failure"], serde_json::Value::Null, "left without blame");
    assert_eq!(stack["held"], serde_json::json!([]));
}

#[tokio::test]
async fn a_newer_version_takes_over_during_a_rollback() {
    let mut subject = Subject::new(Stay::together().await, "back");
    // Its way back takes some seconds, long enough to be caught on it: the old tasks are stopped first, and start slowly.
    let stop_first = |release: &str, web: Web| compose(release, web).replace("start-first", "stop-first");
    let first = subject.push_text(&stop_first("1", Web::Slow));
    subject.apply().await;
    subject.until_converged_on(&first).await;
    let second = subject.push_text(&stop_first("2", Web::Exits));
    subject.watch.until_phase("RollingBack", 60).await;

    let third = subject.push("3", Web::Good);
    subject.until_converged_on(&third).await;
    subject.assert_runs("3");
    let all = subject.client.deployments(&subject.name).await;
    let failed = all.iter().find(|it| of_commit(it, &second)).unwrap();
    let back = all.iter().find(|it| it["rollbackOf"] == failed["deploymentId"]).unwrap();
    assert_eq!(back["phase"], "Superseded");
    assert_eq!(failed["failure"]["class"], "ExitCode");
    assert!(!failed["finishedAt"].is_null(), "every deployment ends: {failed:#}");
}
