//! Each way to end, by a command that ends so.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::fake::{Fake, Frame, NoHost, TOKEN, run_at};
use super::sample::{deployment_json, stack_json};
use crate::cli::session::Interrupt;
use crate::cli::{Exit, enter};

/// The answer to `deploy`.
fn deployed() -> Value {
    json!({ "deployStack": {
        "stack": stack_json("shop", "Progressing"), "deployment": deployment_json("Pending"), "userErrors": [],
    } })
}

/// A message about the deployment.
fn item(sequence: u64, phase: &str) -> Frame {
    Frame::Item(json!({ "sequence": sequence, "deployment": deployment_json(phase) }))
}

/// The same, of one that is answered by a rollback.
fn answered(sequence: u64, phase: &str) -> Frame {
    let mut deployment = deployment_json(phase);
    deployment["rolledBackBy"] = json!("01back");
    Frame::Item(json!({ "sequence": sequence, "deployment": deployment }))
}

fn followed(frames: impl IntoIterator<Item = Frame>) -> Fake {
    Fake::default().answer("Deploy", deployed()).feed("FollowDeployment", frames)
}

#[tokio::test]
async fn converged_is_0() {
    let fake = followed([item(1, "Pending"), item(2, "Applying"), item(3, "Verifying"), item(4, "Converged")]);
    let ran = fake.run("deploy shop --ref v2 --image web=2 --set K=V --reason why --expect-generation 3 --wait").await;
    assert_eq!(ran.exit, Exit::Done, "{ran:?}");
    assert!(ran.out.starts_with("shop converged on 01234567 in "), "{ran:?}");
    assert_eq!(ran.out.lines().count(), 1);
    for line in ["shop Pending", "shop Applying", "shop Verifying", "shop web 2/3 healthy: starting on node-3"] {
        assert_eq!(ran.err.matches(line).count(), 1, "{line}: {ran:?}");
    }
    let asked = fake.asked("Deploy");
    let input = &asked[0]["input"];
    assert_eq!(input["stack"], json!({ "name": "shop", "environment": "default" }));
    assert_eq!((&input["ref"], &input["expectedGeneration"]), (&json!("v2"), &json!(3)));
    assert_eq!(input["images"], json!([{ "service": "web", "version": "2" }]));
    assert_eq!(input["variables"], json!([{ "name": "K", "value": "V" }]));
    assert_eq!(fake.asked("FollowDeployment"), [json!({ "id": "01dep" })]);
}

#[tokio::test]
async fn refused_input_is_1() {
    let ran = Fake::default().refuse("Deploy", "deployStack", "INVALID").run("deploy shop").await;
    assert_eq!(ran.exit, Exit::Error);
    assert!(ran.err.contains("skep: that cannot be"), "{ran:?}");
    assert_eq!(ran.out, "");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_1() {
    // Bound and let go: nobody listens.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for line in ["get stacks", "events -w", "get stacks -w"] {
        let ran = run_at(address, line, Some(TOKEN), Interrupt::Word(Arc::new(Notify::new()))).await;
        assert_eq!(ran.exit, Exit::Error, "{line}");
        assert!(ran.err.contains("no answer from") && ran.err.contains("next: start a server"), "{ran:?}");
    }
}

#[test]
fn bad_usage_is_2() {
    let end = |line: &str| enter(line.split_whitespace().map(Into::into), &NoHost);
    assert_eq!(end("skep deploy"), Exit::Usage);
    assert_eq!(end("skep serve --listen 0.0.0.0:7717"), Exit::Usage);
    assert_eq!(end("skep --server nowhere get stacks"), Exit::Usage);
    assert_eq!(end("skep serve"), Exit::Error);
}

#[tokio::test]
async fn a_deletion_without_a_yes_is_2() {
    let ran = Fake::default().run("delete shop").await;
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("next: give --yes: `skep delete shop --yes`"), "{ran:?}");
}

#[tokio::test]
async fn what_is_not_there_is_3() {
    let none = || Fake::default().answer("Stack", json!({ "stack": null }));
    let empty = json!({ "deployments": { "edges": [], "pageInfo": { "hasNextPage": false, "endCursor": null } } });
    for (fake, line) in [
        (none(), "get stack shop"),
        (none().answer("Deployments", empty.clone()), "history shop"),
        (none().answer("Deployments", empty), "wait shop"),
        (none(), "delete shop --yes"),
        (Fake::default().answer("Deployment", json!({ "deployment": null })), "get deployment 01x"),
        (Fake::default().answer("Environments", json!({ "environments": [] })), "-e prod get environments"),
        (Fake::default().refuse("Deploy", "deployStack", "NOT_FOUND"), "deploy shop"),
        (Fake::default().feed("FollowDeployment", [Frame::Error("NOT_FOUND", "none")]), "wait shop 01x"),
        (
            Fake::default().feed("FollowStack", [Frame::Item(json!({ "sequence": 1, "stack": null }))]),
            "get stack shop -w",
        ),
    ] {
        let ran = fake.run(line).await;
        assert_eq!(ran.exit, Exit::NotFound, "{line}: {ran:?}");
        assert!(ran.err.contains("\nnext: "), "{line}: {ran:?}");
    }
}

#[tokio::test]
async fn no_right_is_4() {
    for line in ["get stacks", "events -w", "wait shop 01dep", "deploy shop"] {
        for token in [None, Some("another")] {
            let ran = Fake::default().run_with(line, token).await;
            assert_eq!(ran.exit, Exit::Refused, "{line}: {ran:?}");
            assert!(ran.err.contains("admin.token"), "{line}: {ran:?}");
            assert!(!ran.err.contains("another"), "{line}: {ran:?}");
        }
    }
    let ran = Fake::default().refuse("Deploy", "deployStack", "FORBIDDEN").run("deploy shop").await;
    assert_eq!(ran.exit, Exit::Refused);
}

#[tokio::test]
async fn a_conflict_is_5() {
    let fake = Fake::default().refuse("Deploy", "deployStack", "CONFLICT");
    let ran = fake.run("-e prod deploy shop --expect-generation 3").await;
    assert_eq!(ran.exit, Exit::Conflict);
    assert!(ran.err.contains("next: see its generation: `skep -e prod get stack shop`"), "{ran:?}");
}

#[tokio::test]
async fn failed_is_10() {
    let ran = followed([item(1, "Failed")]).run("deploy shop --wait").await;
    assert_eq!(ran.exit, Exit::Failed);
    assert!(ran.out.starts_with("shop failed on 01234567"), "{ran:?}");
    for line in [
        "why   HealthCheck: service web slot 2 on node node-3: unhealthy container (exit code 137)",
        "| cannot reach the database",
        "now   nothing was brought back",
        "page  http://127.0.0.1:",
        "/deployments/01dep",
    ] {
        assert!(ran.err.contains(line), "{line}: {ran:?}");
    }
    let ran = followed([item(1, "Cancelled")]).run("deploy shop --wait").await;
    assert_eq!(ran.exit, Exit::Failed);
    assert!(ran.out.contains("was cancelled"), "{ran:?}");
}

#[tokio::test]
async fn rolled_back_is_11_and_waits_for_the_way_back() {
    let mut back = deployment_json("Converged");
    back["id"] = json!("01back");
    back["revision"] = json!("f".repeat(40));
    let fake = followed([item(1, "Verifying"), answered(2, "RollingBack"), answered(3, "RolledBack")])
        .answer("Deployment", json!({ "deployment": back }));
    let ran = fake.run("deploy shop --wait -o json").await;
    assert_eq!(ran.exit, Exit::RolledBack, "{ran:?}");
    let message = "3 of 4 tasks are healthy";
    assert_eq!(
        ran.json(),
        json!({
            "deploymentId": "01dep", "stack": "shop", "environment": "default", "generation": 4,
            "phase": "RolledBack", "reason": "HealthCheck", "message": message,
        })
    );
    assert!(ran.err.contains("shop RollingBack") && ran.err.contains("ffffffff runs again"), "{ran:?}");
    assert!(ran.err.contains("held until `skep release-hold shop`"), "{ran:?}");
}

#[tokio::test]
async fn out_of_time_is_12() {
    let ran = followed([item(1, "Verifying")]).run("deploy shop --wait --timeout 300ms").await;
    assert_eq!(ran.exit, Exit::TimedOut);
    assert!(ran.out.contains("still going on") && ran.err.contains("follow on: `skep wait shop 01dep`"), "{ran:?}");
}

#[tokio::test]
async fn superseded_is_13() {
    let ran = followed([item(1, "Applying"), item(2, "Superseded")]).run("deploy shop --wait").await;
    assert_eq!(ran.exit, Exit::Superseded);
    assert!(ran.err.contains("follow the newer one: `skep wait shop`"), "{ran:?}");
}

#[tokio::test]
async fn interrupted_is_130_and_says_how_to_follow_on() {
    let ran = followed([item(1, "Applying"), Frame::Interrupt]).run("deploy shop --wait").await;
    assert_eq!(ran.exit, Exit::Interrupted);
    assert!(ran.out.contains("goes on: Applying") && ran.err.contains("`skep wait shop 01dep`"), "{ran:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_is_made_again_and_resumed() {
    let fake = followed([item(1, "Applying"), item(7, "Verifying"), Frame::Break, item(9, "Converged")]);
    let ran = fake.run("deploy shop --wait").await;
    assert_eq!(ran.exit, Exit::Done, "{ran:?}");
    assert!(ran.err.contains("connection lost") && ran.err.contains("connected again"), "{ran:?}");
    let asked = fake.asked("FollowDeployment");
    assert_eq!(asked, [json!({ "id": "01dep" }), json!({ "id": "01dep", "after": 7 })]);
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again() {
    let error = |code: &str| json!({ "data": null, "errors": [{ "message": "full", "extensions": { "code": code } }] });
    for code in ["BUSY", "UNAVAILABLE"] {
        let fake = followed([item(1, "Pending"), item(2, "Applying"), answered(3, "RolledBack")])
            .raw("Deployment", error(code))
            .answer("Deployment", json!({ "deployment": deployment_json("Converged") }));
        let ran = fake.run("deploy shop --wait").await;
        assert_eq!((ran.exit, fake.asked("Deployment").len()), (Exit::RolledBack, 2), "{ran:?}");
    }
    let fake = Fake::default().raw("Stacks", error("BUSY"));
    let ran = fake.run("get stacks").await;
    assert_eq!((ran.exit, fake.asked("Stacks").len()), (Exit::Error, 4), "it ends: {ran:?}");
    let fake = Fake::default().raw("Stacks", error("TIMED_OUT"));
    assert_eq!((fake.run("get stacks").await.exit, fake.asked("Stacks").len()), (Exit::Error, 1));
}

#[tokio::test]
async fn diff_has_codes_of_its_own() {
    let plan = |steps: Value| {
        let plan = json!({ "digest": "01", "steps": steps, "jobs": [], "waiting": [], "warnings": [], "unchanged": 1 });
        Fake::default().answer("Plan", json!({ "plan": plan }))
    };
    let ran = plan(json!([])).run("diff shop").await;
    assert_eq!((ran.exit.code(), ran.out.as_str()), (0, "no difference; 1 unchanged (plan 01)\n"));
    let step = json!({
        "kind": "Service", "name": "shop_web", "action": "Update", "reason": "it differs",
        "changes": [{ "path": "/Name", "from": null, "to": 1 }],
    });
    let ran = plan(json!([step])).run("diff shop --ref v2 -o json").await;
    assert_eq!(ran.exit.code(), 1);
    assert_eq!(ran.json(), json!({ "digest": "01", "steps": [step], "jobs": [] }));
    let missing = json!({ "data": null, "errors": [{ "message": "none", "extensions": { "code": "NOT_FOUND" } }] });
    let ran = Fake::default().raw("Plan", missing).run("diff shop").await;
    assert_eq!(ran.exit.code(), 2, "{ran:?}");
    assert_eq!(Fake::default().run_with("diff shop", None).await.exit.code(), 2);
}
