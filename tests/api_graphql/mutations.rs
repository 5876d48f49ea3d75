//! Every mutation.

use serde_json::{Value, json};
use skep::domain::Actor;

use crate::world::{SHOP, World, shop};

fn only(value: &Value) -> &Value {
    let errors = value["userErrors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{value}");
    assert_eq!(value["stack"], Value::Null);
    &errors[0]
}

fn id(value: &Value) -> String {
    assert_eq!(value["userErrors"], json!([]), "{value}");
    value["deployment"]["deploymentId"].as_str().unwrap().to_owned()
}

fn stack(more: Value) -> Value {
    let mut input = json!({ "stack": { "name": "shop" } });
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    input
}

#[tokio::test]
async fn apply_records_and_is_three_way() {
    let world = World::new().await;
    let first = world.apply(SHOP).await;
    assert_eq!(
        (first["stack"]["generation"].clone(), first["deployment"]["phase"].clone()),
        (json!(1), json!("Pending"))
    );
    assert_eq!(
        (first["deployment"]["trigger"].clone(), first["deployment"]["verdict"].clone()),
        (json!("Api"), json!("Progressing"))
    );
    assert!(!first.to_string().contains("hunter2"));
    world.deploy("v2").await;
    let again = world.apply(SHOP).await;
    assert_eq!(again["stack"]["generation"], 2);
    let changed = world.apply(&SHOP.replace("ref: main", "ref: main, path: x")).await;
    assert_eq!(changed["stack"]["generation"], 3);
    let data = world
        .data(
            "{ stack(name: \"shop\") { desired { ref } source { path } variables { name value secret } } }",
            json!({}),
        )
        .await;
    assert_eq!(data["stack"]["desired"]["ref"], "v2");
    assert_eq!(data["stack"]["source"]["path"], "x");
    assert_eq!(data["stack"]["variables"], json!([{ "name": "KEY", "value": null, "secret": true }]));
}

#[tokio::test]
async fn a_broken_manifest_is_answered_with_places_and_nothing_is_written() {
    let world = World::new().await;
    let before = world.ledger.revision();
    let answer = world.apply(&SHOP.replace("images:", "imagse:")).await;
    let error = only(&answer);
    assert_eq!(error["code"], "INVALID");
    assert_eq!(
        (error["file"].clone(), error["line"].clone(), error["column"].clone()),
        (json!("shop.yml"), json!(5), json!(1))
    );
    assert_eq!(error["field"], "imagse");
    assert_eq!(error["hint"], "did you mean `images`?");
    let answer = world.apply(&SHOP.replace("name: shop", "name: shop\nenvironment: prod")).await;
    assert_eq!(only(&answer)["code"], "NOT_FOUND");
    let answer = world.apply("kind: Environment\nname: far\nrelay: { url: x }\nendpoints: [\"unix:///x\"]\n").await;
    let errors = answer["userErrors"].as_array().unwrap();
    let fields: Vec<_> = errors.iter().map(|error| (&error["code"], &error["field"])).collect();
    let wrong = ["endpoints", "relay.url", "relay.credential"].map(|field| (json!("INVALID"), json!(field)));
    assert_eq!(fields, wrong.each_ref().map(|(code, field)| (code, field)));
    let answer = world.apply(&SHOP.replace("images:", "dependsOn: [{ stack: shop }]\nimages:")).await;
    assert_eq!((only(&answer)["code"].clone(), only(&answer)["field"].clone()), (json!("INVALID"), json!("dependsOn")));
    let answer = world.apply("kind: [").await;
    assert_eq!(only(&answer)["code"], "INVALID");
    assert_eq!(world.ledger.revision(), before);
}

#[tokio::test]
async fn a_dry_run_shows_and_writes_nothing() {
    let world = World::with_shop().await;
    let before = world.ledger.revision();
    let query = "mutation M($input: ApplyStackInput!) { applyStack(input: $input) { \
        deployment { id } documents { kind name environment created changes stack { generation } } userErrors { code } } }";
    let input = json!({ "input": { "manifest": SHOP.replace("main", "v2"), "dryRun": true } });
    let answer = world.data(query, input).await["applyStack"].clone();
    assert_eq!(answer["deployment"], Value::Null);
    let document = json!({ "kind": "Stack", "name": "shop", "environment": "default", "created": false,
        "changes": ["source.ref"], "stack": { "generation": 2 } });
    assert_eq!(answer["documents"], json!([document]));
    assert_eq!(world.ledger.revision(), before);
}

#[tokio::test]
async fn deploy_sets_ref_images_and_variables() {
    let world = World::with_shop().await;
    let input = stack(json!({
        "ref": "v2",
        "images": [{ "service": "web", "version": "2" }],
        "variables": [{ "name": "KEY", "value": "correct horse" }, { "name": "A", "value": "b" }],
        "reason": "because",
        "expectedGeneration": 1,
        "idempotencyKey": "k1",
    }));
    let answer = world.mutate("deployStack", "DeployStackInput", input.clone()).await;
    assert_eq!(answer["stack"]["generation"], 2);
    assert_eq!(answer["deployment"]["statedReason"], "because");
    assert_eq!(answer["deployment"]["actor"], "admin");
    let asked = &answer["deployment"]["originalRequest"];
    assert_eq!(asked["variables"], json!({ "A": "b", "KEY": "***" }));
    assert!(!answer.to_string().contains("correct horse"));

    let same = world.mutate("deployStack", "DeployStackInput", input.clone()).await;
    assert_eq!(id(&same), id(&answer));
    let mut other = input.clone();
    other["ref"] = json!("v3");
    assert_eq!(only(&world.mutate("deployStack", "DeployStackInput", other).await)["field"], "idempotencyKey");
    let mut late = input;
    late["idempotencyKey"] = json!("k2");
    let late = world.mutate("deployStack", "DeployStackInput", late).await;
    assert_eq!(
        (only(&late)["code"].clone(), only(&late)["field"].clone()),
        (json!("CONFLICT"), json!("expectedGeneration"))
    );
}

#[tokio::test]
async fn deploy_names_what_is_wrong() {
    let world = World::with_shop().await;
    for (input, code, field) in [
        (json!({ "stack": { "name": "shup" }, "ref": "v2" }), "NOT_FOUND", "stack"),
        (json!({ "stack": { "name": "a b" }, "ref": "v2" }), "INVALID", "stack.name"),
        (stack(json!({ "ref": "a..b" })), "INVALID", "ref"),
        (stack(json!({ "images": [{ "service": "web", "version": "~1" }] })), "INVALID", "images.web"),
        (stack(json!({ "variables": [{ "name": "1", "value": "x" }] })), "INVALID", "variables.1"),
        (
            stack(json!({ "images": [{ "service": "w", "version": "1" }, { "service": "w", "version": "2" }] })),
            "INVALID",
            "images",
        ),
    ] {
        let answer = world.mutate("deployStack", "DeployStackInput", input).await;
        assert_eq!((only(&answer)["code"].clone(), only(&answer)["field"].clone()), (json!(code), json!(field)));
    }
}

#[tokio::test]
async fn rollback_pins_and_unpin_lets_go() {
    let world = World::with_shop().await;
    let first = id(&world.deploy("v1").await);
    world.converge(&first, "v1").await;
    let second = id(&world.deploy("v2").await);
    world.converge(&second, "v2").await;
    let input = stack(json!({ "reason": "it is slow" }));
    let answer = world.mutate("rollbackStack", "RollbackStackInput", input).await;
    assert_eq!(answer["stack"]["pin"], json!({ "versionOf": first, "reason": "it is slow" }));
    assert_eq!(
        (answer["deployment"]["trigger"].clone(), answer["deployment"]["versionOf"].clone()),
        (json!("Rollback"), json!(first))
    );
    // A global id is taken as well as a bare one.
    let global = world.data("query Q($id: ID!) { deployment(id: $id) { id } }", json!({ "id": second })).await;
    let input = stack(json!({ "deployment": global["deployment"]["id"] }));
    let answer = world.mutate("rollbackStack", "RollbackStackInput", input).await;
    assert_eq!(answer["stack"]["pin"]["versionOf"], json!(second));
    let answer = world.mutate("unpinStack", "UnpinStackInput", stack(json!({}))).await;
    assert_eq!(answer["stack"]["pin"], Value::Null);
    assert_eq!(answer["stack"]["deploymentId"], answer["deployment"]["deploymentId"]);
    let none = World::with_shop().await.mutate("rollbackStack", "RollbackStackInput", stack(json!({}))).await;
    assert_eq!(only(&none)["code"], "CONFLICT");
}

#[tokio::test]
async fn a_persons_other_words() {
    let world = World::with_shop().await;
    let first = world.deployment(&world.ledger.stack(&shop()).unwrap().unwrap().value.deployment.0).id.0;
    let until = "2999-01-01T00:00:00Z";
    let answer = world
        .mutate("suspendStack", "SuspendStackInput", stack(json!({ "reason": "maintenance", "until": until })))
        .await;
    assert_eq!(answer["stack"]["suspension"], json!({ "reason": "maintenance", "until": until }));
    assert_eq!(
        only(&world.mutate("suspendStack", "SuspendStackInput", stack(json!({ "reason": " " }))).await)["field"],
        "reason"
    );
    let answer = world.mutate("resumeStack", "ResumeStackInput", stack(json!({}))).await;
    assert_eq!(answer["stack"]["suspension"], Value::Null);
    let answer = world.mutate("reconcileStack", "ReconcileStackInput", stack(json!({}))).await;
    assert!(answer["stack"]["requestedReconcile"].is_string());
    let answer = world.mutate("releaseHold", "ReleaseHoldInput", stack(json!({}))).await;
    assert_eq!(id(&answer), first, "nothing is held: nothing happens");
    let answer = world.mutate("cancelDeployment", "CancelDeploymentInput", stack(json!({}))).await;
    assert_eq!(id(&answer), first);
    world.converge(&first, "v1").await;
    let answer = world.mutate("cancelDeployment", "CancelDeploymentInput", stack(json!({ "deployment": first }))).await;
    assert_eq!(only(&answer)["code"], "CONFLICT");
}

#[tokio::test]
async fn delete_wants_the_name_once_more() {
    let world = World::with_shop().await;
    let answer = world.mutate("deleteStack", "DeleteStackInput", stack(json!({ "confirmName": "shup" }))).await;
    assert_eq!(only(&answer)["field"], "confirmName");
    let input = stack(json!({ "confirmName": "shop", "keepRunning": true }));
    let answer = world.mutate("deleteStack", "DeleteStackInput", input).await;
    assert_eq!(answer["stack"]["deletion"], json!({ "keepRunning": true }));
    assert_eq!(
        world.ledger.stack(&shop()).unwrap().unwrap().value.control.deletion.unwrap().actor,
        Actor::new("admin")
    );
}

#[tokio::test]
async fn adopt_records_an_order_and_release_takes_it_back() {
    let world = World::new().await;
    let adopt = |name: &str, dry_run: bool| {
        let stack = json!({ "name": name });
        json!({ "stack": stack, "manifest": SHOP, "file": "shop.yml", "dryRun": dry_run })
    };
    let answer = world.mutate("adoptStack", "AdoptStackInput", adopt("other", false)).await;
    let error = only(&answer);
    assert_eq!(
        (&error["code"], &error["field"], &error["file"]),
        (&json!("INVALID"), &json!("name"), &json!("shop.yml"))
    );
    let empty = json!({ "manifest": "kind: Environment\nname: prod\nendpoints: [unix:///x]\n" });
    assert_eq!(only(&world.mutate("adoptStack", "AdoptStackInput", empty).await)["field"], "manifest");
    assert!(world.ledger.stack(&shop()).unwrap().is_none(), "what is refused writes nothing");

    let dry = world.mutate("adoptStack", "AdoptStackInput", adopt("shop", true)).await;
    assert_eq!((&dry["deployment"], &dry["userErrors"]), (&Value::Null, &json!([])));
    assert!(world.ledger.stack(&shop()).unwrap().is_none(), "a dry run writes nothing");

    let answer = world.mutate("adoptStack", "AdoptStackInput", adopt("shop", false)).await;
    let first = id(&answer);
    assert_eq!(answer["deployment"]["trigger"], "Adopt");
    let order = world.ledger.stack(&shop()).unwrap().unwrap().value.control.adoption.unwrap();
    assert_eq!((order.deployment.as_str(), order.rotate_secrets), (first.as_str(), false));
    let again = world.mutate("adoptStack", "AdoptStackInput", adopt("shop", false)).await;
    assert_eq!(id(&again), first, "the same order once more is no new one");
    let rotate = json!({ "manifest": SHOP, "rotateSecrets": true });
    assert_ne!(id(&world.mutate("adoptStack", "AdoptStackInput", rotate).await), first);

    let answer = world.mutate("releaseStack", "ReleaseStackInput", stack(json!({}))).await;
    assert_eq!(answer["stack"]["deletion"], json!({ "keepRunning": true }));
    assert!(world.ledger.stack(&shop()).unwrap().unwrap().value.control.deletion.unwrap().release);
}
