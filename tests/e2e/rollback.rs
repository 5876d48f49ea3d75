//! Versions that are bad, each in its own way: the whole stack comes back, the version is held, and it is left alone; the
//! next good one flows by itself.

use serde_json::Value;

use crate::git_http::Manner;
use crate::support::compose::Web;
use crate::support::hive::Stay;
use crate::support::stack::{Subject, of_commit};
use crate::support::watch::Watch;

/// The story of one bad version; gives its deployment.
async fn comes_back_from(topic: &str, web: Web) -> Value {
    let mut subject = Subject::running(Stay::together().await, topic).await;
    let good = subject.client.stack(&subject.name).await["lastGood"].clone();

    let bad = subject.push("2", web);
    let stack = subject.until_rolled_back(&bad).await;
    // Whole: the worker of the bad version was fine, and is back all the same.
    subject.assert_runs("1");
    assert_eq!(stack["lastGood"]["revision"], good["revision"]);
    assert!(of_commit(&stack["desired"], &bad), "what was asked stays asked: {stack:#}");
    assert_eq!(stack["target"]["revision"], good["revision"]);
    let condition = |kind: &str| {
        let all = stack["conditions"].as_array().unwrap();
        all.iter().find(|it| it["type"] == kind).map(|it| it["status"].clone()).unwrap_or_default()
    };
    assert_eq!(condition("RolledBack"), "True");

    // Left alone: Skep looks again, mends what it should, and does not try the held version.
    let deployments = subject.client.deployments(&subject.name).await;
    let versions = subject.versions();
    subject.nudge();
    let about_bad = |all: &[Value]| all.iter().filter(|it| of_commit(it, &bad)).count();
    let later = subject.client.deployments(&subject.name).await;
    assert_eq!(about_bad(&later), 1, "{later:#?}");
    assert_eq!(about_bad(&deployments), 1);
    assert_eq!(subject.versions()[0], versions[0], "web was not written to");

    // A newer one flows by itself.
    let next = subject.push("3", Web::Good);
    subject.until_converged_on(&next).await;
    subject.assert_runs("3");

    let failed = deployments.iter().find(|it| of_commit(it, &bad)).unwrap().clone();
    assert_eq!(failed["phase"], "RolledBack");
    let back =
        deployments.iter().find(|it| it["rollbackOf"] == failed["deploymentId"]).expect("the rollback is a deployment");
    assert_eq!(failed["rolledBackBy"], back["deploymentId"]);
    assert_eq!((&back["phase"], &back["trigger"]), (&"Converged".into(), &"Rollback".into()));
    failed
}

#[tokio::test]
async fn a_version_whose_task_exits_is_rolled_back() {
    let failure = comes_back_from("exits", Web::Exits).await["failure"].take();
    assert_eq!(failure["class"], "ExitCode", "{failure:#}");
    assert_eq!(failure["service"], "web");
    assert_eq!(failure["exitCode"], 3);
    let tail = failure["logTail"].as_array().unwrap();
    assert!(tail.iter().any(|line| line.as_str().unwrap().contains("giving up on purpose")), "{failure:#}");
}

#[tokio::test]
async fn a_version_that_cannot_be_scheduled_is_rolled_back() {
    let failure = comes_back_from("place", Web::Unschedulable).await["failure"].take();
    assert_eq!(failure["class"], "NoSuitableNode", "{failure:#}");
}

#[tokio::test]
async fn a_version_whose_image_is_not_there_is_rolled_back() {
    let failure = comes_back_from("absent", Web::NoImage).await["failure"].take();
    assert_eq!(failure["class"], "ImageMissing", "{failure:#}");
    assert!(failure["error"].as_str().unwrap().contains("skep-example:absent"), "{failure:#}");
}

#[tokio::test]
async fn a_version_that_is_unhealthy_is_rolled_back() {
    let failure = comes_back_from("health", Web::Unhealthy).await["failure"].take();
    assert_eq!(failure["class"], "HealthCheck", "{failure:#}");
    // The engine of the tests is one node: the check's own words are known.
    let said = failure["healthLog"].as_array().unwrap();
    assert!(
        !said.is_empty() && said.iter().any(|line| line.as_str().unwrap().starts_with("exit code 1")),
        "{failure:#}"
    );
}

#[tokio::test]
async fn a_bad_version_comes_back_with_the_git_host_gone() {
    // Alone: the git host is shared as Skep is.
    let mut subject = Subject::running(Stay::alone().await, "nogit").await;
    let bad = subject.push("2", Web::Unhealthy);
    let deployment = subject.until_deployment_of(&bad).await;
    let id = deployment["deploymentId"].as_str().unwrap();
    let mut watch = Watch::deployment(&subject.client, id);
    watch.until("at the engine", 20, |it| it["phase"] == "Applying" || it["phase"] == "Verifying").await;
    subject.hive.git.behave(Manner::Status(503));
    watch.until_phase("RolledBack", 120).await;
    subject.assert_runs("1");
    subject.until_rolled_back(&bad).await;

    subject.hive.git.behave(Manner::Serve);
    let next = subject.push("3", Web::Good);
    subject.until_converged_on(&next).await;
}

#[tokio::test]
async fn a_first_version_that_is_bad_has_nothing_to_go_back_to() {
    let mut subject = Subject::new(Stay::together().await, "first");
    let bad = subject.push("1", Web::Exits);
    subject.apply().await;
    let stack = subject.watch.until_phase("Failed", 120).await;
    assert!(of_commit(&stack["desired"], &bad));
    let good = subject.push("2", Web::Good);
    subject.until_converged_on(&good).await;
    subject.assert_runs("2");
}
