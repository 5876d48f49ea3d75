//! Versions that are good: pushed, or named in a mutation.

use serde_json::json;

use crate::support::compose::Web;
use crate::support::docker;
use crate::support::hive::Stay;
use crate::support::stack::{Subject, of_commit};
use crate::support::watch::Watch;

#[tokio::test]
async fn a_pushed_version_converges_and_so_does_the_next() {
    let mut subject = Subject::running(Stay::together().await, "push").await;
    let second = subject.push("2", Web::Good);
    let stack = subject.until_converged_on(&second).await;
    subject.assert_runs("2");

    assert_eq!(stack["generation"], stack["observedGeneration"]);
    assert_eq!(stack["held"], json!([]));
    assert!(of_commit(&stack["lastGood"], &second), "{stack:#}");
    let all = subject.client.deployments(&subject.name).await;
    let triggers: Vec<_> = all.iter().map(|it| (it["trigger"].clone(), it["phase"].clone())).collect();
    assert_eq!(triggers, [(json!("Git"), json!("Converged")), (json!("Api"), json!("Converged"))]);
}

#[tokio::test]
async fn one_mutation_changes_an_image_and_an_old_manifest_does_not_undo_it() {
    let mut subject = Subject::running(Stay::together().await, "image").await;
    let before = subject.client.stack(&subject.name).await;
    let more = json!({
        "images": [{ "service": "web", "version": "2" }],
        "expectedGeneration": before["generation"],
        "reason": "the e2e test says so",
    });
    let payload = subject.act("deployStack", more.clone()).await;
    let id = payload["deployment"]["deploymentId"].as_str().unwrap().to_owned();
    let deployment = Watch::deployment(&subject.client, &id).until_phase("Converged", 120).await;
    assert_eq!(deployment["trigger"], "Api");
    let stack = subject.name.clone();
    let image = |name: &str| {
        let spec = docker::service(&format!("{stack}_{name}")).unwrap();
        spec["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].as_str().unwrap().to_owned()
    };
    assert!(image("web").starts_with("skep-example:2"), "{}", image("web"));
    assert!(image("worker").starts_with("skep-example:1"), "{}", image("worker"));

    // The generation has moved: who still thinks of the old one is told so.
    let mut stale = more;
    stale["stack"] = crate::support::graphql::stack_ref(&subject.name);
    let errors = subject.client.mutate("deployStack", &stale).await.expect_err("a conflict");
    assert_eq!(errors[0]["code"], "CONFLICT");

    let after = subject.watch.until_phase("Converged", 10).await;
    let versions = subject.versions();
    let again = subject.apply().await;
    assert_eq!(again["stack"]["generation"], after["generation"], "an old file changes nothing");
    subject.nudge();
    assert!(image("web").starts_with("skep-example:2"));
    let all = subject.client.deployments(&subject.name).await;
    // The nudge is drift, and its correction is recorded as one.
    assert_eq!(all.iter().filter(|it| it["trigger"] != "Drift").count(), 2);
    assert_eq!(subject.versions()[0], versions[0], "web was not written to");
}

#[tokio::test]
async fn deploy_and_wait_ends_with_what_became_of_it() {
    let subject = Subject::running(Stay::together().await, "cli").await;
    let run = |arguments: &[&str]| {
        let output = subject.hive.cli(arguments);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = run(&["deploy", &subject.name, "--image", "web=2", "--wait", "-o", "json"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&["deploy", &subject.name, "--image", "web=broken", "--wait", "-o", "json"]);
    assert_eq!(code, Some(11), "{said}");
    let end: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(end["phase"], "RolledBack");
    let (code, _) = run(&["get", "stack", "there-is-no-such-stack"]);
    assert_eq!(code, Some(3));
}
