//! `hook test`, `hook deliveries` and `hook redeliver`: what they ask, what they print, and how they end.

use serde_json::{Value, json};

use super::fake::Fake;
use crate::cli::Exit;

fn stack(name: &str, environment: &str) -> Value {
    json!({ "name": name, "environment": environment })
}

fn refusal(name: &str, message: &str) -> Value {
    json!({ "stack": stack(name, "default"), "code": "CONFLICT", "message": message })
}

/// A delivery that led to nothing yet.
fn delivery(id: &str, outcome: &str, more: Value) -> Value {
    let mut it = json!({
        "id": id, "deliveryId": format!("sender-{id}"), "event": "push", "at": "2026-01-31T12:00:00Z", "againBy": null,
        "deployments": [], "reconciled": [], "synced": [], "refused": [], "kept": true, "outcome": outcome,
        "message": null,
    });
    for (name, value) in more.as_object().unwrap() {
        it[name] = value.clone();
    }
    it
}

fn deliveries() -> Vec<Value> {
    let taken = json!({
        "deployments": ["01dep"], "reconciled": [stack("blog", "prod")], "synced": ["platform"],
        "refused": [refusal("old", "it is being deleted")],
    });
    let form = json!({ "deliveryId": "", "kept": false, "message": "the delivery is a form" });
    vec![
        delivery("01e", "Ignored", json!({ "message": "no rule is about it (rule 1: its condition is false)" })),
        delivery("01d", "Refused", form),
        delivery("01c", "Refused", json!({ "refused": [refusal("shop", "it is being deleted")] })),
        delivery("01b", "LookedAgain", json!({ "reconciled": [stack("shop", "default")], "againBy": "ada" })),
        delivery("01a", "Deployed", taken),
    ]
}

#[tokio::test]
async fn deliveries_are_listed_with_what_became_of_each() {
    let fake = Fake::default().answer("HookDeliveries", json!({ "hookDeliveries": deliveries() }));
    let ran = fake.run("hook deliveries shop-push --limit 5").await;
    assert_eq!(ran.exit, Exit::Done, "{ran:?}");
    assert_eq!(fake.asked("HookDeliveries"), [json!({ "hook": "shop-push", "first": 5 })]);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with("DELIVERY") && lines[0].ends_with("OUTCOME"), "{}", lines[0]);
    for (line, (id, sender, outcome)) in lines[1..].iter().zip([
        ("01e", "sender-01e", "ignored: no rule is about it (rule 1: its condition is false)"),
        ("01d", "-", "refused: the delivery is a form"),
        ("01c", "sender-01c", "not shop: it is being deleted"),
        ("01b", "again, by ada", "looked at shop"),
        (
            "01a",
            "sender-01a",
            "deployed 01dep; looked at prod/blog; looked at catalog platform; not old: it is being deleted",
        ),
    ]) {
        let fits = line.starts_with(id) && line.contains(sender) && line.trim_end().ends_with(outcome);
        assert!(fits, "{id}: {line}");
    }
    assert_eq!(lines.len(), 6);
    let json = fake.run("hook deliveries shop-push -o json").await.json();
    assert_eq!(json, Value::Array(deliveries()));
    let names = fake.run("hook deliveries shop-push -o name").await.out;
    assert_eq!(names.lines().collect::<Vec<_>>(), ["01e", "01d", "01c", "01b", "01a"]);

    let none = Fake::default().answer("HookDeliveries", json!({ "hookDeliveries": [] }));
    let ran = none.run("hook deliveries shop-push").await;
    assert!(ran.exit == Exit::Done && ran.err.contains("no delivery is known of that hook"), "{ran:?}");
}

#[tokio::test]
async fn a_test_says_of_each_rule_and_stack_what_would_be_done() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("push.json");
    std::fs::write(&file, "{\"ref\": \"refs/heads/main\"}").unwrap();
    let trial = |name: &str, outcome: &str, message: Option<&str>| {
        let set = json!([{ "field": "ref", "value": "abc" }]);
        json!({ "stack": stack(name, "default"), "rule": 1, "set": set, "outcome": outcome, "message": message })
    };
    let trials = json!([{
        "event": "push", "catalogs": ["platform"],
        "rules": [
            { "number": 1, "holds": true, "objection": null },
            { "number": 2, "holds": false, "objection": "its condition is false" },
        ],
        "stacks": [
            trial("shop", "Deploys", None),
            trial("blog", "Nothing", None),
            trial("wiki", "LooksAgain", None),
            trial("old", "Refuses", Some("it is being deleted")),
        ],
    }]);
    let fake = Fake::default().answer("HookTrial", json!({ "hookTrial": trials }));
    let line = format!("hook test shop-push --payload {} --event push", file.display());
    let ran = fake.run(&line).await;
    assert_eq!(ran.exit, Exit::Done, "{ran:?}");
    let asked = json!({ "hook": "shop-push", "event": "push", "payload": "{\"ref\": \"refs/heads/main\"}" });
    assert_eq!(fake.asked("HookTrial"), [asked]);
    insta::assert_snapshot!(ran.out.trim_end(), @r"
    event push
      rule 1  yes
      rule 2  no: its condition is false
      stack shop  is deployed with ref=abc  (rule 1)
      stack blog  is at ref=abc already  (rule 1)
      stack wiki  has its source looked at again  (rule 1)
      stack old  does not take it: it is being deleted  (rule 1)
      catalog platform  is looked at
    ");
    assert_eq!(fake.run(&format!("{line} -o json")).await.json(), trials);

    // What no rule is about, and what tells of nothing at all.
    let idle = json!([{ "event": "push", "catalogs": [], "stacks": [],
        "rules": [{ "number": 1, "holds": false, "objection": "its condition is false" }] }]);
    let fake = Fake::default().answer("HookTrial", json!({ "hookTrial": idle }));
    assert!(fake.run(&line).await.out.trim_end().ends_with("no stack: nothing would be done"));
    let fake = Fake::default().answer("HookTrial", json!({ "hookTrial": [] }));
    assert_eq!(fake.run(&line).await.out.trim_end(), "it tells of nothing that rules can be about");
    let away = fake.run("hook test shop-push --payload /nowhere/push.json").await;
    assert!(away.exit == Exit::Error && away.err.contains("`/nowhere/push.json` cannot be read"), "{away:?}");
    let error = json!({ "message": "the payload is not JSON", "extensions": { "code": "INVALID" } });
    let fake = Fake::default().raw("HookTrial", json!({ "data": null, "errors": [error] }));
    let refused = fake.run(&line).await;
    assert!(refused.exit == Exit::Error && refused.err.contains("the payload is not JSON"), "{refused:?}");
}

#[tokio::test]
async fn a_delivery_that_is_done_again_says_what_it_led_to() {
    let payload = |more: Value| {
        let mut it = json!({
            "deliveryId": "again-01", "deployments": [], "reconciled": [], "synced": [], "refused": [], "message": null,
            "userErrors": [],
        });
        for (name, value) in more.as_object().unwrap() {
            it[name] = value.clone();
        }
        json!({ "redeliverHook": it })
    };
    let line = "hook redeliver shop-push 01a --reason because";
    let done = json!({
        "deployments": ["01dep"], "reconciled": [stack("blog", "prod")], "refused": [refusal("old", "it is being deleted")],
    });
    let fake = Fake::default().answer("RedeliverHook", payload(done));
    let ran = fake.run(line).await;
    assert_eq!(ran.exit, Exit::Done, "{ran:?}");
    let asked = json!({ "input": { "hook": "shop-push", "delivery": "01a", "reason": "because" } });
    assert_eq!(fake.asked("RedeliverHook"), [asked]);
    insta::assert_snapshot!(ran.out.trim_end(), @r"
    done again by hook shop-push, as again-01
      deployment 01dep
      looked at prod/blog
      not old: it is being deleted
    ");
    let json = fake.run(&format!("{line} -o json")).await.json();
    assert_eq!((&json["deliveryId"], json.get("userErrors")), (&json!("again-01"), None));

    let fake = Fake::default().answer("RedeliverHook", payload(json!({ "message": "no rule is about it" })));
    assert!(fake.run(line).await.out.trim_end().ends_with("  nothing was to be done: no rule is about it"));
    let fake = Fake::default().answer("RedeliverHook", payload(json!({})));
    assert!(fake.run(line).await.out.trim_end().ends_with("  nothing was to be done"));

    for (code, exit) in [("NOT_FOUND", Exit::NotFound), ("CONFLICT", Exit::Conflict), ("FORBIDDEN", Exit::Refused)] {
        let ran = Fake::default().refuse("RedeliverHook", "redeliverHook", code).run(line).await;
        assert!(ran.exit == exit && ran.err.contains("that cannot be"), "{code}: {ran:?}");
    }
}
