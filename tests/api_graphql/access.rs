//! Tokens and roles: who is let in, what each role may do, when it ends, and what the command line ends with.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use skep::ports::{Scan, Store};

use crate::world::{SHOP, World};

const ROLES: [&str; 4] = ["Viewer", "Deployer", "Operator", "Admin"];

impl World {
    /// Makes a token; gives what the mutation answers.
    pub(crate) async fn create_token(&self, input: Value) -> Value {
        const QUERY: &str = "mutation M($input: CreateTokenInput!) { createToken(input: $input) { value \
            token { name role environments stacks createdBy createdAt expiresAt lastUsedAt } \
            userErrors { code message field hint } } }";
        self.data(QUERY, json!({ "input": input })).await["createToken"].clone()
    }

    /// A token over everything.
    pub(crate) async fn token(&self, name: &str, role: &str) -> String {
        let made = self.create_token(json!({ "name": name, "role": role })).await;
        made["value"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
    }

    async fn revoke(&self, name: &str) -> Value {
        const QUERY: &str =
            "mutation M($input: RevokeTokenInput!) { revokeToken(input: $input) { name userErrors { code } } }";
        self.data(QUERY, json!({ "input": { "name": name } })).await["revokeToken"].clone()
    }

    async fn status_as(&self, token: &str) -> u16 {
        let query = json!({ "query": "{ environments { name } }" });
        self.post(&query).bearer_auth(token).send().await.unwrap().status().as_u16()
    }
}

#[tokio::test]
async fn a_token_is_shown_once_and_kept_as_a_digest() {
    let world = World::new().await;
    let made = world.create_token(json!({ "name": "ci", "role": "Deployer", "stacks": ["web-*"] })).await;
    assert_eq!(made["userErrors"], json!([]), "{made}");
    let value = made["value"].as_str().unwrap();
    assert!(value.starts_with("skep_") && value.len() == 48, "{value}");
    assert_eq!((&made["token"]["environments"], &made["token"]["stacks"]), (&json!(["*"]), &json!(["web-*"])));
    assert_eq!((&made["token"]["createdBy"], &made["token"]["expiresAt"]), (&json!("admin"), &Value::Null));
    assert_eq!(world.status_as(value).await, 200);
    for wrong in [&value[..47], &format!("{value}A"), &value.to_uppercase(), "skep_"] {
        assert_eq!(world.status_as(wrong).await, 401, "{wrong}");
    }
    let tokens = world.ask("{ tokens { name role createdBy } events { edges { node { message } } } }", json!({})).await;
    assert!(!tokens.to_string().contains(&value[5..]), "{tokens}");
    for entry in world.store.scan(&Scan::all("")).unwrap() {
        let text = format!("{} {}", entry.key, String::from_utf8_lossy(&entry.value));
        assert!(!text.contains(&value[5..]), "{text}");
    }
    let another = world.token("other", "Viewer").await;
    assert_ne!(another, value);
}

#[tokio::test]
async fn the_use_of_a_token_is_written_down_sparingly() {
    let world = World::new().await;
    let token = world.token("ci", "Viewer").await;
    let used = async || world.data("{ tokens { lastUsedAt } }", json!({})).await["tokens"][0]["lastUsedAt"].clone();
    assert_eq!(used().await, Value::Null);
    let mut changes = world.store.watch();
    assert_eq!(world.status_as(&token).await, 200);
    tokio::time::timeout(Duration::from_secs(20), futures_util::StreamExt::next(&mut changes)).await.unwrap();
    let first = used().await;
    assert!(first.is_string());
    let revision = world.ledger.revision();
    for _ in 0..20 {
        assert_eq!(world.status_as(&token).await, 200);
    }
    assert_eq!((used().await, world.ledger.revision()), (first, revision));
}

#[tokio::test]
async fn a_token_that_makes_no_sense_is_refused() {
    let world = World::new().await;
    world.token("ci", "Viewer").await;
    for (input, code, field) in [
        (json!({ "name": "ci", "role": "Viewer" }), "CONFLICT", "name"),
        (json!({ "name": "admin", "role": "Viewer" }), "INVALID", "name"),
        (json!({ "name": "hook/x", "role": "Viewer" }), "INVALID", "name"),
        (json!({ "name": "a", "role": "Viewer", "stacks": [] }), "INVALID", "stacks"),
        (json!({ "name": "a", "role": "Viewer", "environments": ["a b"] }), "INVALID", "environments"),
        (json!({ "name": "a", "role": "Viewer", "expiresAt": "2020-01-01T00:00:00Z" }), "INVALID", "expiresAt"),
    ] {
        let revision = world.ledger.revision();
        let refused = world.create_token(input.clone()).await;
        assert_eq!(refused["userErrors"][0]["code"], code, "{input}: {refused}");
        assert_eq!(refused["userErrors"][0]["field"], field, "{input}: {refused}");
        assert_eq!((&refused["value"], world.ledger.revision()), (&Value::Null, revision), "{input}");
    }
    assert_eq!(world.revoke("nobody").await["userErrors"][0]["code"], "NOT_FOUND");
}

/// Every mutation with an input, and the least role it takes. Those that cannot be carried out for another reason still
/// have to be let through to it.
fn mutations() -> Vec<(&'static str, Value, usize)> {
    let stack = json!({ "name": "shop" });
    let plain = json!({ "stack": stack });
    vec![
        ("applyStack", json!({ "manifest": SHOP, "dryRun": true }), 2),
        ("deployStack", json!({ "stack": stack, "ref": "v2" }), 1),
        ("rollbackStack", plain.clone(), 1),
        ("unpinStack", plain.clone(), 1),
        ("releaseHold", plain.clone(), 1),
        ("cancelDeployment", plain.clone(), 1),
        ("approveDeployment", json!({ "stack": stack, "deployment": "nothing" }), 2),
        ("suspendStack", json!({ "stack": stack, "reason": "why" }), 2),
        ("resumeStack", plain.clone(), 2),
        ("reconcileStack", plain.clone(), 1),
        ("claimEnvironment", json!({}), 2),
        ("syncCatalog", json!({ "name": "none" }), 3),
        ("deleteCatalog", json!({ "name": "none" }), 3),
        ("redeliverHook", json!({ "hook": "none", "delivery": "none" }), 3),
        ("deleteHook", json!({ "name": "none" }), 3),
        ("adoptStack", json!({ "stack": stack, "manifest": SHOP, "dryRun": true }), 2),
        ("releaseStack", plain.clone(), 2),
        ("deleteStack", json!({ "stack": stack, "confirmName": "shop" }), 2),
        ("deleteEnvironment", json!({ "name": "nowhere" }), 3),
        ("setCredential", json!({ "name": "x" }), 3),
        ("trustHost", json!({ "credential": "x", "line": "y" }), 3),
        ("deleteCredential", json!({ "name": "x" }), 3),
        ("deleteNotifier", json!({ "name": "x" }), 3),
        ("testNotifier", json!({ "name": "x" }), 3),
        ("createToken", json!({ "name": "controller", "role": "Viewer" }), 3),
        ("revokeToken", json!({ "name": "nobody" }), 3),
        ("setLogFilter", json!({ "filter": "info" }), 3),
    ]
}

#[tokio::test]
async fn each_role_may_what_the_table_says() {
    let world = World::with_shop().await;
    let types = world
        .data("{ __schema { mutationType { fields { name args { type { ofType { name } } } } } } }", json!({}))
        .await;
    let fields = types["__schema"]["mutationType"]["fields"].as_array().unwrap().clone();
    let known: BTreeSet<&str> = mutations().iter().map(|(name, ..)| *name).collect();
    let there: BTreeSet<&str> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert_eq!(known, there, "each mutation has its row here");
    for (role, name) in ROLES.iter().enumerate() {
        let token = world.token(&name.to_lowercase().replace("admin", "root"), name).await;
        for (mutation, input, least) in mutations() {
            let field = fields.iter().find(|field| field["name"] == mutation).unwrap();
            let kind = field["args"][0]["type"]["ofType"]["name"].as_str().unwrap();
            let query = format!(
                "mutation M($input: {kind}!) {{ it: {mutation}(input: $input) {{ userErrors {{ code message }} }} }}"
            );
            let revision = world.ledger.revision();
            let answer = world.ask_as(&token, &query, json!({ "input": input })).await;
            let code = &answer["data"]["it"]["userErrors"][0]["code"];
            assert_eq!(code == "FORBIDDEN", role < least, "{name} {mutation}: {answer}");
            if role < least {
                let written = world.store.scan(&Scan::all("")).unwrap();
                let newer = written.iter().filter(|it| it.revision > revision && !it.key.starts_with("token-used/"));
                assert_eq!(newer.count(), 0, "{name} {mutation} wrote");
            }
        }
        for (query, least) in [
            ("{ credentials { name } }", 3),
            ("{ tokens { name } }", 3),
            ("{ logFilter }", 3),
            ("{ notifiers { name status { lastError } } }", 3),
            ("{ credentialTest(name: \"x\", url: \"https://example.org/x.git\") { url } }", 3),
            ("{ stacks { edges { node { name } } } }", 0),
            ("{ plan(stack: \"shop\") { digest } }", 0),
        ] {
            let answer = world.ask_as(&token, query, json!({})).await;
            let code = &answer["errors"][0]["extensions"]["code"];
            assert_eq!(code == "FORBIDDEN", role < least, "{name} {query}: {answer}");
        }
        let metrics = world.http.get(world.url("/metrics")).bearer_auth(&token).send().await.unwrap();
        assert_eq!(metrics.status(), 200, "{name}");
        // What the greater roles did is undone for the next one.
        let mut stack = world.ledger.stack(&crate::world::shop()).unwrap().unwrap().value;
        stack.control = skep::domain::StackControl::default();
        world.ledger.commit(skep::ledger::Batch::new().put_stack(&stack)).await.unwrap();
    }
    let narrow = world.create_token(json!({ "name": "narrow", "role": "Admin", "stacks": ["shop"] })).await;
    let narrow = narrow["value"].as_str().unwrap();
    let metrics = world.http.get(world.url("/metrics")).bearer_auth(narrow).send().await.unwrap();
    assert_eq!(metrics.status(), 403);
    for manifest in [
        "kind: Environment\nname: mine\nendpoints: [\"unix:///x\"]\n",
        "kind: Credential\nname: mine\ntype: Opaque\nhosts: [a.example.org]\ndata: { x: y }\n",
        "kind: Hook\nname: mine\nprovider: Generic\nsecret: { credential: x }\nrules: [{ stacks: [\"*\"], environment: default }]\n",
        "kind: Notifier\nname: mine\ntype: CloudEvents\nurl: https://a.example.org\n",
        &SHOP.replace("name: shop", "name: another"),
    ] {
        let query = "mutation M($m: String!) { applyStack(input: { manifest: $m }) { userErrors { code line } } }";
        let answer = world.ask_as(narrow, query, json!({ "m": manifest })).await;
        assert_eq!(answer["data"]["applyStack"]["userErrors"][0]["code"], "FORBIDDEN", "{manifest}: {answer}");
    }
}

#[tokio::test]
async fn what_is_open_ends_with_its_token() {
    let world = World::with_shop().await;
    let soon = Timestamp::now() + Duration::from_millis(1_500);
    let made = world.create_token(json!({ "name": "brief", "role": "Viewer", "expiresAt": soon })).await;
    let brief = made["value"].as_str().unwrap().to_owned();
    let long = world.token("long", "Operator").await;
    let mut open = Vec::new();
    for token in [&brief, &long] {
        let mut socket = world.socket_as(token).await;
        socket.subscribe("1", "subscription { stackChanged(name: \"shop\") { stack { name } } }").await;
        assert_eq!(socket.data().await["stack"]["name"], "shop");
        open.push(socket);
    }
    assert_eq!(world.revoke("long").await, json!({ "name": "long", "userErrors": [] }));
    // Told at once after the revocation, and nothing of it.
    world.deploy("v2").await;
    for (socket, token) in open.iter_mut().zip([&brief, &long]).rev() {
        loop {
            let message = socket.next().await;
            if message["payload"]["errors"].is_array() {
                assert_eq!(message["payload"]["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{message}");
                break;
            }
            assert!(token == &brief && message["type"] == "next", "{message}");
        }
        assert_eq!(socket.next().await, json!({ "type": "complete", "id": "1" }));
        // The connection is open still: it answers nothing.
        for query in [
            "query { stacks { edges { node { name } } } }",
            "mutation { reconcileStack(input: { stack: { name: \"shop\" } }) { userErrors { code } } }",
            "subscription { stacksChanged { sequence } }",
        ] {
            socket.subscribe("2", query).await;
            let message = socket.next().await.to_string();
            assert!(message.contains("UNAUTHENTICATED") && !message.contains("\"name\""), "{query}: {message}");
            while socket.next().await["type"] != "complete" {}
        }
        assert_eq!(world.status_as(token).await, 401);
    }
    // A token of the same name is another one.
    world.token("long", "Viewer").await;
    assert_eq!(world.status_as(&long).await, 401);
}

#[tokio::test]
async fn the_log_says_who_and_by_which_way() {
    let world = World::with_shop().await;
    let token = world.token("ci", "Deployer").await;
    let deploy = |version: &str| json!({ "query": format!("mutation {{ deployStack(input: {{ stack: {{ name: \"shop\" }}, ref: \"{version}\" }}) {{ deployment {{ actor }} userErrors {{ code }} }} }}") });
    let answer: Value = world.post(&deploy("v2")).bearer_auth(&token).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["data"]["deployStack"]["deployment"]["actor"], "ci", "{answer}");
    let by_cli = world.post(&deploy("v3")).bearer_auth(&token).header("user-agent", "skep/0.1.0").send().await.unwrap();
    assert_eq!(by_cli.status(), 200);
    let by_rest = world.http.put(world.url("/api/v1/stacks/shop/deploy")).bearer_auth(&token);
    let by_rest = by_rest.header("content-type", "application/json").body("{\"ref\": \"v4\"}").send().await.unwrap();
    assert_eq!(by_rest.status(), 201);
    let query = "{ events(stack: \"shop\", first: 200) { edges { node { type actor via } } } }";
    let data = world.data(query, json!({})).await;
    let made: Vec<(Value, Value)> = data["events"]["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| &edge["node"])
        .filter(|event| event["type"] == "DeploymentCreated")
        .map(|event| (event["actor"].clone(), event["via"].clone()))
        .collect();
    let expected = [("admin", "GraphQL"), ("ci", "GraphQL"), ("ci", "Cli"), ("ci", "Rest")];
    assert_eq!(made, expected.map(|(actor, via)| (json!(actor), json!(via))));
}

/// Runs the program itself.
async fn skep(world: &World, token: &str, line: &str) -> (i32, String, String) {
    let ran = tokio::process::Command::new(env!("CARGO_BIN_EXE_skep"))
        .args(["--server", &world.url(""), "--data", "/nonexistent", "--token", token])
        .args(line.split_whitespace())
        .env_remove("SKEP_OUTPUT")
        .output()
        .await
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (ran.status.code().unwrap(), text(ran.stdout), text(ran.stderr))
}

#[tokio::test]
async fn the_command_line_keeps_tokens_and_ends_with_4_when_it_may_not() {
    let world = World::with_shop().await;
    let admin = crate::world::TOKEN;
    let (code, out, err) =
        skep(&world, admin, "token create ci --role deployer --stacks web-* --stacks shop --expires 90d").await;
    assert_eq!(code, 0, "{err}");
    let token = out.trim().to_owned();
    assert!(token.starts_with("skep_") && err.contains("not shown again"), "{out} {err}");
    let (code, out, _) = skep(&world, admin, "token list -o json").await;
    let listed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &listed[0]["name"], &listed[0]["stacks"]), (0, &json!("ci"), &json!(["web-*", "shop"])));
    assert!(!out.contains(&token));
    let (_, table, _) = skep(&world, admin, "token list").await;
    assert!(table.contains("Deployer") && table.contains("web-* shop") && table.contains("in 8"), "{table}");

    assert_eq!(skep(&world, &token, "get stack shop -o name").await.0, 0);
    assert_eq!(skep(&world, &token, "deploy shop --ref v2").await.0, 0);
    for line in [
        "suspend shop --reason why",
        "delete shop --yes",
        "token list",
        "token create x --role viewer",
        "credential list",
    ] {
        let (code, out, err) = skep(&world, &token, line).await;
        assert_eq!((code, out.as_str()), (4, ""), "{line}: {err}");
        assert!(err.contains("may not"), "{line}: {err}");
    }
    let hidden = SHOP.replace("name: shop", "name: other");
    world.apply(&hidden).await;
    for line in ["get stack other", "deploy other --ref v2", "delete other --yes", "suspend other --reason why"] {
        assert_eq!(skep(&world, &token, line).await.0, 3, "{line}");
    }
    let (code, out, _) = skep(&world, admin, "token create bot --role viewer -o json").await;
    let made: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &made["role"]), (0, &json!("Viewer")));
    assert_eq!(skep(&world, made["value"].as_str().unwrap(), "get stacks").await.0, 0);
    assert_eq!(skep(&world, admin, "token revoke ci").await.0, 0);
    for line in ["get stacks", "deploy shop --ref v3", "events -w", "get stacks -w"] {
        let (code, _, err) = skep(&world, &token, line).await;
        assert_eq!(code, 4, "{line}: {err}");
    }
    assert_eq!(skep(&world, admin, "token revoke ci").await.0, 3);
    assert_eq!(skep(&world, admin, "token create x --role root").await.0, 2);
}
