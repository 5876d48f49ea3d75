//! What commands print, and what they send.

use serde_json::{Value, json};

use super::fake::{Fake, Frame};
use super::sample::{deployment_json, stack_json};
use crate::cli::Exit;

fn page(field: &str, nodes: &[Value], next: Option<&str>) -> Value {
    let edges: Vec<Value> = nodes.iter().map(|node| json!({ "node": node })).collect();
    json!({ field: { "edges": edges, "pageInfo": { "hasNextPage": next.is_some(), "endCursor": next } } })
}

fn event(sequence: u64) -> Value {
    json!({
        "sequence": sequence, "time": "2026-01-31T12:00:00Z", "environment": "default", "stack": "shop",
        "deploymentId": "01dep", "type": "PhaseChanged", "reason": "Applying", "message": format!("line {sequence}"),
        "actor": "skep",
    })
}

#[tokio::test]
async fn a_stack_has_every_key_of_the_contract() {
    let fake = Fake::default().answer("Stack", json!({ "stack": stack_json("shop", "Converged") }));
    let stack = fake.run("get stack shop -o json").await.json();
    let keys: Vec<&str> = stack.as_object().unwrap().keys().map(String::as_str).collect();
    for key in [
        "name",
        "environment",
        "generation",
        "observedGeneration",
        "phase",
        "reason",
        "message",
        "conditions",
        "desired",
        "target",
        "live",
        "lastGood",
        "held",
        "pin",
        "deploymentId",
    ] {
        assert!(keys.contains(&key), "{key} is missing: {keys:?}");
    }
    assert_eq!(stack["pin"], Value::Null);
    // The documents select them all: the server cannot leave one out.
    for key in ["conditions { type status reason message observedGeneration since }", "desired { ref revision"] {
        assert!(crate::cli::client::documents::STACK.contains(key), "{key}");
    }
}

#[tokio::test]
async fn lists_go_through_all_pages() {
    let fake = Fake::default()
        .answer("Stacks", page("stacks", &[stack_json("blog", "Converged")], Some("c1")))
        .answer("Stacks", page("stacks", &[stack_json("shop", "Failed")], None));
    let ran = fake.run("get stacks -o name").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, "blog\nshop\n"));
    let asked = fake.asked("Stacks");
    assert_eq!((&asked[0]["after"], &asked[1]["after"]), (&Value::Null, &json!("c1")));
}

#[tokio::test]
async fn an_empty_list_says_what_to_type() {
    let fake = Fake::default().answer("Stacks", page("stacks", &[], None));
    let ran = fake.run("get stacks").await;
    assert_eq!(ran.out, "");
    assert_eq!(ran.err, "no stack is declared\nnext: declare one: `skep apply -f FILE`\n");
    assert_eq!(fake.run("get stacks -o json").await.json(), json!([]));
}

#[tokio::test]
async fn a_deployment_without_waiting_says_how_to_follow_it() {
    let payload = json!({ "stack": stack_json("shop", "Progressing"), "deployment": deployment_json("Pending"), "userErrors": [] });
    let fake = Fake::default().answer("Deploy", json!({ "deployStack": payload }));
    let ran = fake.run("deploy shop --image web=2").await;
    assert_eq!(ran.out, "shop: deployment 01dep is Pending (generation 4)\n");
    let follow = ran.err.strip_prefix("follow it: `skep wait shop 01dep`, or at http://127.0.0.1:").unwrap();
    assert!(follow.ends_with("/deployments/01dep\n"), "{ran:?}");
    // Where the server knows the address that people reach it at, that is it.
    let mut known = deployment_json("Pending");
    known["url"] = json!("https://skep.example.org/deployments/01dep");
    let payload = json!({ "stack": stack_json("shop", "Progressing"), "deployment": known, "userErrors": [] });
    let ran = Fake::default().answer("Deploy", json!({ "deployStack": payload })).run("deploy shop").await;
    assert_eq!(ran.err, "follow it: `skep wait shop 01dep`, or at https://skep.example.org/deployments/01dep\n");
    let keys = fake.run("deploy shop -o json").await.json();
    let keys: Vec<&String> = keys.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["deploymentId", "stack", "environment", "generation", "phase", "reason", "message"]);
    assert_eq!(fake.run("deploy shop -o name").await.out, "01dep\n");
    let asked = fake.asked("Deploy");
    assert_ne!(asked[0]["input"]["idempotencyKey"], asked[1]["input"]["idempotencyKey"]);
}

#[tokio::test]
async fn wait_skips_the_answers_to_failures() {
    let mut answer = deployment_json("Converged");
    answer["id"] = json!("01back");
    answer["rollbackOf"] = json!("01dep");
    let last = json!({ "sequence": 1, "deployment": deployment_json("RolledBack") });
    let fake = Fake::default()
        .answer("Deployments", page("deployments", &[answer, deployment_json("RolledBack")], None))
        .feed("FollowDeployment", [Frame::Item(last)]);
    let ran = fake.run("wait shop").await;
    assert_eq!(ran.exit, Exit::RolledBack, "{ran:?}");
    assert_eq!(fake.asked("FollowDeployment"), [json!({ "id": "01dep" })]);
}

#[tokio::test]
async fn apply_sends_files_as_one_and_tells_places_in_each() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    file("a.yml", "kind: Environment\nname: prod\n");
    file("b.yml", "kind: Stack\nnme: shop\n");
    let line = format!("apply -f {}", folder.path().display());
    let error = json!({
        "code": "INVALID", "message": "`nme` is no field of a stack", "field": "nme", "file": null, "line": 5, "column": 1,
        "hint": "write `name`",
    });
    let fake = Fake::default().answer("Apply", json!({ "applyStack": { "documents": [], "userErrors": [error] } }));
    let ran = fake.run(&line).await;
    assert_eq!(ran.exit, Exit::Error);
    let place = format!("{}:2:1: `nme` is no field of a stack", folder.path().join("b.yml").display());
    assert!(ran.err.contains(&place) && ran.err.contains("next: write `name`"), "{ran:?}");
    let input = fake.asked("Apply")[0]["input"].clone();
    assert_eq!(input["manifest"], "kind: Environment\nname: prod\n---\nkind: Stack\nnme: shop\n");
    assert_eq!(input["dryRun"], false);
}

#[tokio::test]
async fn apply_tells_what_became_of_each_document() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("skep.yml");
    std::fs::write(&path, "kind: Stack\n").unwrap();
    let stack = |name: &str, created: bool, changes: Value| {
        json!({
            "kind": "Stack", "name": name, "environment": "default", "created": created, "changes": changes,
            "stack": { "generation": 4 }, "deployment": deployment_json("Pending"),
        })
    };
    let hook = json!({
        "kind": "Hook", "name": "push", "environment": null, "created": false, "changes": [], "stack": null,
        "deployment": null,
    });
    let documents = json!([stack("shop", true, json!(["source"])), stack("blog", false, json!(["images.web"])), hook]);
    let answer = json!({ "applyStack": { "documents": documents, "userErrors": [] } });
    let fake = Fake::default().answer("Apply", answer.clone());
    let ran = fake.run(&format!("apply -f {}", path.display())).await;
    assert_eq!(ran.out, "stack shop created\nstack blog changed: images.web\nhook push unchanged\n");
    assert!(ran.err.starts_with("follow it: `skep wait shop 01dep`, or at http://127.0.0.1:"), "{ran:?}");
    let dry = fake.run(&format!("apply -f {} --dry-run", path.display())).await;
    assert!(dry.out.starts_with("stack shop would be created\nstack blog would be changed"), "{dry:?}");
    assert_eq!(dry.err, "");
    assert_eq!(fake.asked("Apply")[1]["input"]["dryRun"], true);

    let converged = Frame::Item(json!({ "sequence": 1, "deployment": deployment_json("Converged") }));
    let failed = Frame::Item(json!({ "sequence": 1, "deployment": deployment_json("Failed") }));
    let fake = Fake::default().answer("Apply", answer).feed("FollowDeployment", [converged, Frame::Break, failed]);
    let ran = fake.run(&format!("apply -f {} --wait -o json", path.display())).await;
    assert_eq!(ran.exit, Exit::Failed, "{ran:?}");
    let found = ran.json();
    assert_eq!(found[0]["phase"], "Converged");
    assert_eq!(found[1]["phase"], "Failed");
    assert_eq!((&found[2]["phase"], &found[2]["kind"]), (&Value::Null, &json!("Hook")));
}

#[tokio::test]
async fn orders_say_what_was_done() {
    let payload = |field: &str| json!({ field: { "stack": stack_json("shop", "Suspended"), "deployment": null, "userErrors": [] } });
    for (operation, field, line, said) in [
        ("Unpin", "unpinStack", "unpin shop", "shop unpinned"),
        ("ReleaseHold", "releaseHold", "release-hold shop", "shop released"),
        ("Resume", "resumeStack", "resume shop", "shop resumed"),
        ("Reconcile", "reconcileStack", "reconcile shop", "shop will be looked at now"),
        ("Cancel", "cancelDeployment", "cancel shop", "shop will be cancelled"),
        ("Suspend", "suspendStack", "suspend shop --reason why --until 2h", "shop suspended until 2"),
    ] {
        let fake = Fake::default().answer(operation, payload(field));
        let ran = fake.run(line).await;
        assert!(ran.exit == Exit::Done && ran.out.starts_with(said), "{line}: {ran:?}");
        assert_eq!(fake.run(&format!("{line} -o json")).await.json()["name"], "shop");
    }
}

#[tokio::test]
async fn delete_waits_until_the_stack_is_gone() {
    let fake = Fake::default()
        .answer("Stack", json!({ "stack": stack_json("shop", "Converged") }))
        .answer("Delete", json!({ "deleteStack": { "stack": null, "deployment": null, "userErrors": [] } }))
        .feed(
            "FollowStack",
            [
                Frame::Item(json!({ "sequence": 1, "stack": stack_json("shop", "Progressing") })),
                Frame::Item(json!({ "sequence": 2, "stack": null })),
            ],
        );
    let ran = fake.run("delete shop --yes --reason gone").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, "shop is deleted; its volumes are kept\n"), "{ran:?}");
    let input = &fake.asked("Delete")[0]["input"];
    assert_eq!((&input["confirmName"], &input["keepRunning"]), (&json!("shop"), &json!(false)));
}

#[tokio::test]
async fn the_log_is_asked_for_what_is_wanted_of_it() {
    let fake = Fake::default().answer("Events", page("events", &[event(2), event(1)], None));
    let ran = fake.run("events --deployment 01dep --type Failed --type Held --actor ada --limit 7 -o name").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, "1\n2\n"), "{ran:?}");
    let asked = json!({
        "environment": null, "stack": null, "deployment": "01dep", "types": ["Failed", "Held"], "actor": "ada", "first": 7,
    });
    assert_eq!(fake.asked("Events"), [asked]);
    let followed = Fake::default().feed("FollowEvents", [Frame::Error("INVALID", "enough")]);
    followed.run("events shop -w --deployment 01dep --limit 3").await;
    let asked = json!({
        "environment": null, "stack": "shop", "deployment": "01dep", "types": null, "actor": null, "last": 3,
    });
    assert_eq!(followed.asked("FollowEvents"), [asked]);
}

#[tokio::test]
async fn watching_gives_one_object_a_line() {
    let fake = Fake::default().feed(
        "FollowEvents",
        [
            Frame::Item(json!({ "sequence": 1, "event": event(1) })),
            Frame::Item(json!({ "sequence": 2, "event": event(2) })),
            Frame::Break,
            Frame::Item(json!({ "sequence": 3, "event": event(3) })),
            Frame::Error("INVALID", "enough"),
        ],
    );
    let ran = fake.run("events shop -w -o json").await;
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, [event(1), event(2), event(3)], "{ran:?}");
    assert_eq!(fake.asked("FollowEvents")[1]["after"], 2);
}

#[tokio::test]
async fn watching_stacks_tells_what_changes_and_what_goes() {
    let (blog, shop) = (stack_json("blog", "Converged"), stack_json("shop", "Progressing"));
    let done = stack_json("shop", "Converged");
    let change = |sequence: u64, snapshot: Value, stack: Value, deleted: Value| {
        Frame::Item(json!({ "sequence": sequence, "snapshot": snapshot, "stack": stack, "deleted": deleted }))
    };
    let gone = json!({ "name": "blog", "environment": "default" });
    let frames = [
        change(1, json!([blog, shop]), Value::Null, Value::Null),
        change(2, Value::Null, shop.clone(), Value::Null),
        change(3, Value::Null, done.clone(), Value::Null),
        change(4, Value::Null, Value::Null, gone),
        change(5, json!([]), Value::Null, Value::Null),
        Frame::Error("INVALID", "enough"),
    ];
    let ran = Fake::default().feed("FollowStacks", frames.clone()).run("get stacks -w -o json").await;
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let deleted = |name: &str| json!({ "name": name, "environment": "default", "deleted": true });
    assert_eq!(lines, [blog, shop, done, deleted("blog"), deleted("shop")], "{ran:?}");
    let ran = Fake::default().feed("FollowStacks", frames).run("get stacks -w").await;
    assert_eq!(ran.out.matches("STACK").count(), 1, "{ran:?}");
    assert_eq!(ran.out.lines().count(), 4, "{ran:?}");
    assert!(ran.err.contains("blog (default) is deleted"), "{ran:?}");
}

fn log_line(service: Option<&str>, text: &str) -> Value {
    json!({
        "time": "2026-01-31T12:00:00.5Z", "service": service, "task": service.map(|_| "t1"),
        "slot": service.map(|_| 2), "node": service.map(|_| "node-1"), "stream": "Stdout", "text": text,
    })
}

fn log_of(lines: &[Value], ended: bool, sequence: u64) -> Frame {
    Frame::Item(json!({ "sequence": sequence, "ended": ended, "lines": lines }))
}

#[tokio::test]
async fn a_log_is_printed_line_by_line_and_resumed() {
    let fake = Fake::default().feed(
        "FollowLogs",
        [
            log_of(&[], false, 0),
            log_of(&[log_line(None, "a step"), log_line(Some("web"), "two  words")], false, 7),
            Frame::Break,
            log_of(&[log_line(Some("web"), "")], false, 8),
            log_of(&[], true, 8),
        ],
    );
    let ran = fake.run("logs shop/web -f --tail 5 --since 2026-01-31T00:00:00Z").await;
    assert_eq!(ran.exit, Exit::Done, "{ran:?}");
    assert_eq!(ran.out, "skep | a step\nweb.2@node-1 | two  words\nweb.2@node-1 | \n");
    assert!(ran.err.contains("connection lost") && ran.err.contains("connected again"), "{ran:?}");
    let asked = fake.asked("FollowLogs");
    let first = json!({
        "deployment": null, "stack": "shop", "environment": "default", "service": "web", "tail": 5,
        "since": "2026-01-31T00:00:00Z", "follow": true,
    });
    assert_eq!(asked[0], first);
    assert_eq!((asked.len(), &asked[1]["after"]), (2, &json!(7)));
}

#[tokio::test]
async fn a_log_has_times_and_forms() {
    let fake =
        || Fake::default().feed("FollowLogs", [log_of(&[log_line(Some("web"), "up")], false, 7), log_of(&[], true, 7)]);
    let ran = fake().run("logs shop --timestamps").await;
    assert_eq!(ran.out, "2026-01-31T12:00:00.500000000Z web.2@node-1 | up\n");
    let ran = fake().run("logs --deployment 01dep -o json").await;
    assert_eq!((ran.json()["text"].clone(), ran.out.lines().count()), (json!("up"), 1));
    let ran = Fake::default().feed("FollowLogs", [log_of(&[], true, 0)]).run("logs shop").await;
    assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (Exit::Done, "", "nothing was written\n"));
}

#[tokio::test]
async fn a_log_that_is_not_there_is_said_to_be() {
    let none = Fake::default().feed("FollowLogs", [Frame::Error("NOT_FOUND", "stack `default/shop` is not there")]);
    let ran = none.run("logs shop").await;
    assert_eq!(ran.exit, Exit::NotFound, "{ran:?}");
    assert!(ran.err.contains("next: see what there is"), "{ran:?}");
    let other =
        Fake::default().answer("Deployment", json!({ "deployment": super::sample::deployment_json("Converged") }));
    let ran = other.run("logs blog --deployment 01dep").await;
    assert_eq!(ran.exit, Exit::NotFound, "{ran:?}");
    assert!(ran.err.contains("is one of stack `shop`, not of `blog`"), "{ran:?}");
}

/// One whose version is told by its first letter.
fn converged(id: &str, revision: &str, live: bool) -> Value {
    let mut it = deployment_json("Converged");
    it["id"] = json!(id);
    it["revision"] = json!(revision.repeat(40));
    if live {
        it["statedReason"] = json!("runs now");
    }
    it
}

#[tokio::test]
async fn a_rollback_asks_which_version_comes_back() {
    let mut stack = stack_json("shop", "Converged");
    stack["live"]["deploymentId"] = json!("01now");
    stack["live"]["revision"] = json!("a".repeat(40));
    let mut again = converged("01two", "b", false);
    again["statedReason"] = json!("the same once more");
    let found = [
        converged("01now", "a", true),
        deployment_json("Failed"),
        converged("01three", "b", false),
        again,
        converged("01one", "c", false),
    ];
    let payload = json!({ "stack": stack, "deployment": deployment_json("Pending"), "userErrors": [] });
    let fake = || {
        Fake::default()
            .answer("Stack", json!({ "stack": stack }))
            .answer("Deployments", page("deployments", &found, None))
            .answer("Rollback", json!({ "rollbackStack": payload }))
    };
    let chosen = fake();
    let ran = chosen.run_answered("rollback shop", "2\n").await;
    assert_eq!(ran.exit, Exit::Done, "{ran:?}");
    assert!(ran.err.starts_with("Which version shall come back?\n   1  bbbbbbbb"), "{}", ran.err);
    assert!(ran.err.contains("   2  cccccccc") && !ran.err.contains("   3 "), "{}", ran.err);
    assert_eq!(chosen.asked("Rollback")[0]["input"]["deployment"], "01one");
    // Nothing, or nonsense, rolls nothing back.
    for (answer, said) in
        [("\n", "nothing was rolled back"), ("9\n", "`9` is none of them"), ("no\n", "`no` is none of them")]
    {
        let left = fake();
        let ran = left.run_answered("rollback shop", answer).await;
        assert_eq!(ran.exit, Exit::Error, "{ran:?}");
        assert!(
            ran.err.contains(said) && ran.err.contains("next: name one: `skep rollback shop DEPLOYMENT`"),
            "{ran:?}"
        );
        assert!(left.asked("Rollback").is_empty());
    }
    // Nobody is asked who has said it, or who is not there.
    for line in ["rollback shop 01three", "rollback shop -o json"] {
        let said = fake();
        assert_eq!(said.run_answered(line, "2\n").await.exit, Exit::Done, "{line}");
        let wanted = said.asked("Rollback")[0]["input"]["deployment"].clone();
        assert_eq!(wanted, if line.ends_with("json") { Value::Null } else { json!("01three") });
    }
    let script = fake();
    assert_eq!(script.run("rollback shop").await.exit, Exit::Done);
    assert_eq!(script.asked("Rollback")[0]["input"]["deployment"], Value::Null);
}

#[tokio::test]
async fn a_difference_is_written_as_it_is_asked_for() {
    let step = json!({ "kind": "Service", "name": "shop_web", "action": "Update", "reason": "it differs",
        "changes": [{ "path": "/Image", "from": "app:1", "to": "app:2" }] });
    let plan = json!({ "plan": { "digest": "0123", "unchanged": 1, "waiting": [], "warnings": [], "steps": [step] } });
    let fake = Fake::default().answer("Plan", plan);
    let said = |form: &'static str| {
        let fake = fake.clone();
        async move { fake.run(&format!("diff shop{form}")).await }
    };
    assert!(said("").await.out.contains("~ Update Service shop_web"));
    assert!(said(" --format unified").await.out.contains("@@ /Image @@\n-app:1\n+app:2\n"));
    assert!(said(" --format markdown").await.out.starts_with("### `shop`: 1 to update"));
    let json = said(" --format json").await.json();
    assert_eq!(json, said(" -o json").await.json());
    assert_eq!(said(" --format unified").await.exit, Exit::Error, "a difference is 1");
}

#[tokio::test]
async fn every_error_ends_with_what_to_type_next() {
    let lines = [
        "get stack no",
        "deploy shop",
        "rollback shop",
        "unpin shop",
        "release-hold shop",
        "cancel shop",
        "suspend shop --reason r",
        "resume shop",
        "reconcile shop",
        "wait shop",
        "history shop",
        "diff shop",
        "render shop",
        "logs shop",
        "events -w",
        "delete shop",
        "delete shop --yes",
        "release shop",
        "credential list",
        "token list",
        "hook list",
        "catalog list",
        "notifier list",
        "environment list",
        "get environments",
        "get deployment 01x",
        "watch shop",
        "approve 01x",
    ];
    // Nobody is there at all; and somebody is, who takes no token.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for line in lines {
        let away = super::fake::run_at(nobody, line, Some("x"), crate::cli::session::Interrupt::default()).await;
        let refused = Fake::default().run_with(line, Some("wrong")).await;
        for ran in [away, refused] {
            assert_ne!(ran.exit, Exit::Done, "{line}: {ran:?}");
            let last = ran.err.lines().last().unwrap_or_default();
            assert!(last.starts_with("next: "), "{line}: {ran:?}");
        }
    }
}
