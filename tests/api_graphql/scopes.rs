//! No field and no event of a stack out of scope reaches a caller, whatever his role and scope: a property over generated
//! tokens, each tried at every way to read, with the real server.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use skep::api::graphql::GlobalId;
use skep::domain::{DeploymentId, DriftStatus, EnvironmentName, Event, EventType, StackKey, StackName, StackStatus};
use skep::ledger::Batch;

use crate::world::{TOKEN, World, mark};

const ENVIRONMENTS: [&str; 2] = ["alpha", "beta"];
const STACKS: [&str; 4] = ["web-a", "web-b", "db-a", "db-b"];
/// In every scope: what comes of it tells that all before it has come.
const FENCE: &str = "fence";

/// Patterns with what they are meant to reach: not by the code that is tested.
const ENVIRONMENT_PATTERNS: [(&str, &[&str]); 5] =
    [("*", &["alpha", "beta"]), ("alpha", &["alpha"]), ("be*", &["beta"]), ("*lph*", &["alpha"]), ("bet", &[])];
const STACK_PATTERNS: [(&str, &[&str]); 7] = [
    ("*", &STACKS),
    ("web-*", &["web-a", "web-b"]),
    ("*-a", &["web-a", "db-a"]),
    ("db-b", &["db-b"]),
    ("d*b", &["db-b"]),
    ("web", &[]),
    ("*-c", &[]),
];

fn key(environment: &str, name: &str) -> StackKey {
    StackKey { environment: EnvironmentName::parse(environment).unwrap(), name: StackName::parse(name).unwrap() }
}

fn all() -> Vec<StackKey> {
    ENVIRONMENTS.iter().flat_map(|environment| STACKS.iter().map(move |name| key(environment, name))).collect()
}

fn event(key: &StackKey, text: String) -> Event {
    Event {
        time: Timestamp::now(),
        kind: EventType::PhaseChanged,
        environment: key.environment.clone(),
        stack: Some(key.name.clone()),
        deployment: None,
        reason: text.clone(),
        message: text,
        actor: "controller".into(),
        via: None,
    }
}

struct Fleet {
    world: World,
    deployments: BTreeMap<StackKey, DeploymentId>,
}

/// The mark of an environment.
fn place(environment: &str) -> String {
    format!("zq-place-{environment}-qz")
}

impl Fleet {
    async fn new() -> Self {
        let world = World::new().await;
        let mut manifest = Vec::new();
        for environment in ENVIRONMENTS {
            manifest.push(format!(
                "kind: Environment\nname: {environment}\nendpoints: [\"unix:///{}\"]\n",
                place(environment)
            ));
        }
        for key in all().iter().chain([&key("default", FENCE)]) {
            let mark = mark(key);
            manifest.push(format!(
                "kind: Stack\nname: {}\nenvironment: {}\nsource: {{ git: https://example.org/{mark}.git, ref: {mark}, path: {mark} }}\n\
                 variables: {{ KEY: {mark} }}\nimages: {{ web: {mark} }}\n",
                key.name, key.environment
            ));
        }
        let applied = world.apply(&manifest.join("---\n")).await;
        assert_eq!(applied["userErrors"], json!([]), "{applied}");
        let mut fleet = Self { world, deployments: BTreeMap::new() };
        for key in all() {
            let stack = fleet.world.ledger.stack(&key).unwrap().unwrap().value;
            fleet.deployments.insert(key.clone(), stack.deployment);
            fleet.touch(&key).await;
            // A line that names a stack without being about it, as a hook's is.
            let beside = Event { stack: None, kind: EventType::HookReceived, ..event(&key, mark(&key)) };
            fleet.world.ledger.commit(Batch::new().event(&beside)).await.unwrap();
        }
        fleet
    }

    /// Writes all that a controller writes about a stack, in one go.
    async fn touch(&self, key: &StackKey) {
        let stack = self.world.ledger.stack(key).unwrap().unwrap().value;
        let mut deployment = self.world.ledger.deployment(&stack.deployment).unwrap().unwrap().value;
        deployment.message = Some(mark(key));
        let drift = DriftStatus { found: vec![mark(key)], ..DriftStatus::default() };
        let status = StackStatus { drift, ..StackStatus::default() };
        let batch = Batch::new().put_stack(&stack).put_status(key, &status).put_deployment(&deployment);
        self.world.ledger.commit(batch.event(&event(key, mark(key)))).await.unwrap();
    }
}

/// A generated token: its role and patterns, and what it is meant to reach.
#[derive(Debug, Clone, PartialEq)]
struct Drawn {
    role: &'static str,
    environments: Vec<(&'static str, &'static [&'static str])>,
    stacks: Vec<(&'static str, &'static [&'static str])>,
}

impl Drawn {
    fn reaches(&self, key: &StackKey) -> bool {
        self.environments.iter().any(|(_, names)| names.contains(&key.environment.as_str()))
            && self.stacks.iter().any(|(_, names)| names.contains(&key.name.as_str()))
    }

    fn reaches_environment(&self, name: &str) -> bool {
        self.environments.iter().any(|(_, names)| names.contains(&name))
    }

    fn is_everything(&self) -> bool {
        self.environments.iter().any(|(it, _)| *it == "*") && self.stacks.iter().any(|(it, _)| *it == "*")
    }
}

fn drawn() -> impl Strategy<Value = Drawn> {
    (
        prop::sample::select(vec!["Viewer", "Deployer", "Operator", "Admin"]),
        prop::sample::subsequence(ENVIRONMENT_PATTERNS.to_vec(), 1..=2),
        prop::sample::subsequence(STACK_PATTERNS.to_vec(), 1..=2),
    )
        .prop_map(|(role, environments, stacks)| Drawn { role, environments, stacks })
}

/// One caller, and what may not reach him.
struct Caller<'f> {
    fleet: &'f Fleet,
    drawn: &'f Drawn,
    token: String,
    hidden: Vec<(String, String)>,
}

impl Caller<'_> {
    /// Fails when a text holds anything of what is hidden.
    fn check(&self, what: &str, text: &str) {
        for (name, mark) in &self.hidden {
            assert!(!text.contains(mark.as_str()), "{:?}: {what} shows {name}: {text}", self.drawn);
        }
    }

    async fn ask(&self, query: &str, variables: Value) -> Value {
        let answer = self.fleet.world.ask_as(&self.token, query, variables.clone()).await;
        self.check(&format!("{query} {variables}"), &answer.to_string());
        answer
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let world = &self.fleet.world;
        let answer = world.http.get(world.url(path)).bearer_auth(&self.token).send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        self.check(path, &text);
        (status, text)
    }

    /// A connection in pages of one: what is counted there is all there is.
    async fn page(&self, field: &str, arguments: &str, node: &str) -> Vec<Value> {
        let (mut after, mut found) = (Value::Null, Vec::new());
        loop {
            let query = format!(
                "query Q($after: String) {{ it: {field}(first: 3, after: $after{arguments}) {{ edges {{ cursor node {{ {node} }} }} pageInfo {{ hasNextPage endCursor }} }} }}"
            );
            let answer = self.ask(&query, json!({ "after": after })).await;
            let page = &answer["data"]["it"];
            let edges = page["edges"].as_array().unwrap_or_else(|| panic!("{answer}"));
            found.extend(edges.iter().map(|edge| edge["node"].clone()));
            if page["pageInfo"]["hasNextPage"] != true {
                return found;
            }
            assert!(!edges.is_empty(), "more is promised, and there is none: {answer}");
            after = page["pageInfo"]["endCursor"].clone();
        }
    }
}

const STACK: &str = "id name environment message conditions { message } desired { ref } source { git ref path } variables { name value } \
    images { service version } drift { found } deploymentId deployment { message } deployments { edges { node { deploymentId } } }";
const EVENT: &str = "id sequence environment stack deploymentId reason message";

/// Queries, connections, nodes and inquiries.
async fn reads(caller: &Caller<'_>, visible: &BTreeSet<StackKey>) {
    let fleet = caller.fleet;
    let names = |found: &[Value]| -> BTreeSet<StackKey> {
        found.iter().map(|it| key(it["environment"].as_str().unwrap(), it["stackName"].as_str().unwrap())).collect()
    };
    let fence = BTreeSet::from([key("default", FENCE)]);
    let expected: BTreeSet<StackKey> = visible.union(&fence).cloned().collect();
    let stacks = caller.page("stacks", "", &format!("stackName: name {STACK}")).await;
    assert_eq!((names(&stacks), stacks.len()), (expected.clone(), expected.len()), "{:?}", caller.drawn);
    let deployments = caller
        .page("deployments", "", "stackName: stack environment deploymentId message originalRequest mappedRequest")
        .await;
    assert_eq!((names(&deployments), deployments.len()), (expected.clone(), expected.len()), "{:?}", caller.drawn);
    for backwards in [true, false] {
        let events = caller.page("events", &format!(", backwards: {backwards}"), EVENT).await;
        for event in events.iter().filter(|event| event["stack"].is_string()) {
            let of = key(event["environment"].as_str().unwrap(), event["stack"].as_str().unwrap());
            assert!(expected.contains(&of), "{:?}: {event}", caller.drawn);
        }
        let beside = events
            .iter()
            .filter(|event| event["message"].as_str().unwrap().starts_with("zq-") && event["stack"].is_null());
        let admin = caller.drawn.role == "Admin" && caller.drawn.is_everything();
        assert_eq!(beside.count() > 0, admin, "{:?}", caller.drawn);
    }
    let environments = caller.ask("{ environments { name endpoints nodes { hostname } } }", json!({})).await;
    let seen: Vec<&str> = environments["data"]["environments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    let reached = ENVIRONMENTS.into_iter().filter(|name| caller.drawn.reaches_environment(name));
    assert_eq!(seen, reached.chain(["default"]).collect::<Vec<_>>(), "{:?}", caller.drawn);
    for key in all() {
        let there = visible.contains(&key);
        let id = &fleet.deployments[&key];
        let by_name = json!({ "name": key.name, "environment": key.environment });
        let query = format!(
            "query Q($name: String!, $environment: String!) {{ it: stack(name: $name, environment: $environment) {{ {STACK} }} }}"
        );
        assert_eq!(caller.ask(&query, by_name.clone()).await["data"]["it"].is_object(), there, "{key}");
        for id in [GlobalId::Stack(key.clone()), GlobalId::Deployment(id.clone())] {
            let query = "query Q($id: ID!) { it: node(id: $id) { id ... on Stack { message source { git } } ... on Deployment { message } } }";
            assert_eq!(caller.ask(query, json!({ "id": id.encode() })).await["data"]["it"].is_object(), there, "{key}");
        }
        let query = "query Q($id: ID!) { it: deployment(id: $id) { deploymentId message originalRequest } }";
        assert_eq!(
            caller.fleet.world.ask_as(&caller.token, query, json!({ "id": id.as_str() })).await["data"]["it"]
                .is_object(),
            there
        );
        let query = "query Q($name: String!, $environment: String!) { it: deployments(stack: $name, environment: $environment) { edges { node { deploymentId message } } } }";
        let history = caller.ask(query, by_name.clone()).await;
        assert_eq!(history["data"]["it"]["edges"].as_array().unwrap().is_empty(), !there, "{key}");
        let query = "query Q($name: String!, $environment: String!) { it: plan(stack: $name, environment: $environment) { steps { name reason } } }";
        assert_eq!(caller.ask(query, by_name).await["data"]["it"].is_object(), there, "{key}");
        for (path, status) in [
            (format!("/api/v1/stacks/{}?environment={}", key.name, key.environment), 200),
            (format!("/api/v1/deployments/{id}"), 200),
            (format!("/api/v1/deployments/{id}/logs"), 200),
        ] {
            // The id that was asked for is said again; nothing else of it is.
            let world = &fleet.world;
            let answer = world.http.get(world.url(&path)).bearer_auth(&caller.token).send().await.unwrap();
            let found = answer.status().as_u16();
            let text = answer.text().await.unwrap();
            assert_eq!(found, if there { status } else { 404 }, "{path}: {text}");
            assert!(there || !text.contains(&mark(&key)), "{path}: {text}");
        }
    }
    let last = fleet.world.ledger.events(None, true, 1).unwrap()[0].0;
    for sequence in (1..=last).step_by(5) {
        let query = format!("query Q($id: ID!) {{ it: node(id: $id) {{ ... on Event {{ {EVENT} }} }} }}");
        caller.ask(&query, json!({ "id": GlobalId::Event(sequence).encode() })).await;
    }
    for path in ["/api/v1/stacks", "/api/v1/deployments"] {
        let (mut cursor, mut found) = (String::new(), BTreeSet::new());
        loop {
            let (status, text) = caller.get(&format!("{path}?limit=2{cursor}")).await;
            assert_eq!(status, 200);
            let page: Value = serde_json::from_str(&text).unwrap();
            found.extend(page["items"].as_array().unwrap().iter().map(|it| {
                let name = it.get("stack").unwrap_or(&it["name"]).as_str().unwrap();
                self::key(it["environment"].as_str().unwrap(), name)
            }));
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(found, expected, "{path}");
    }
}

/// Mutations: what is hidden is not found, and no hint names it.
async fn writes(caller: &Caller<'_>, visible: &BTreeSet<StackKey>) {
    for key in all().into_iter().filter(|key| !visible.contains(key)) {
        for (mutation, kind, more) in [
            ("deployStack", "DeployStackInput", json!({ "ref": "v2" })),
            ("suspendStack", "SuspendStackInput", json!({ "reason": "why" })),
            ("deleteStack", "DeleteStackInput", json!({ "confirmName": key.name })),
            ("rollbackStack", "RollbackStackInput", json!({ "deployment": caller.fleet.deployments[&key].as_str() })),
        ] {
            let query = format!(
                "mutation M($input: {kind}!) {{ it: {mutation}(input: $input) {{ stack {{ name }} deployment {{ deploymentId }} userErrors {{ code hint }} }} }}"
            );
            let ask = async |name: &str| {
                let mut input = more.clone();
                input["stack"] = json!({ "name": name, "environment": key.environment });
                if mutation == "deleteStack" {
                    input["confirmName"] = json!(name);
                }
                caller.ask(&query, json!({ "input": input })).await["data"]["it"].clone()
            };
            let answer = ask(key.name.as_str()).await;
            assert_eq!(answer["userErrors"][0]["code"], "NOT_FOUND", "{:?} {mutation} {key}: {answer}", caller.drawn);
            let hint = answer["userErrors"][0]["hint"].as_str().unwrap_or_default();
            let hidden = STACKS.iter().filter(|name| !visible.contains(&self::key(key.environment.as_str(), name)));
            for name in hidden {
                assert!(!hint.contains(name), "{:?} {mutation} {key}: {hint}", caller.drawn);
            }
        }
    }
}

/// Subscriptions: the snapshots, and all that comes until the fence has.
async fn follows(caller: &Caller<'_>, visible: &BTreeSet<StackKey>) {
    let fleet = caller.fleet;
    let mut socket = fleet.world.socket_as(&caller.token).await;
    socket.subscribe("stacks", &format!("subscription {{ stacksChanged {{ snapshot {{ {STACK} }} stack {{ {STACK} }} deleted {{ name environment }} }} }}")).await;
    socket.subscribe("events", &format!("subscription {{ eventAdded(last: 200) {{ event {{ {EVENT} }} }} }}")).await;
    let page = format!("total phases {{ count }} environments order {{ name environment }} stacks {{ {STACK} }}");
    socket.subscribe("page", &format!("subscription {{ stackPageChanged(first: 200) {{ {page} }} }}")).await;
    for (n, key) in all().iter().enumerate() {
        socket
            .subscribe(
                &format!("stack{n}"),
                &format!(
                    "subscription {{ stackChanged(name: \"{}\", environment: \"{}\") {{ stack {{ {STACK} }} }} }}",
                    key.name, key.environment
                ),
            )
            .await;
        socket
            .subscribe(
                &format!("deployment{n}"),
                &format!(
                    "subscription {{ deploymentChanged(id: \"{}\") {{ deployment {{ message }} }} }}",
                    fleet.deployments[key]
                ),
            )
            .await;
    }
    // Each has begun: its first message is there.
    let mut begun = BTreeSet::new();
    let mut heard: BTreeMap<String, u64> = BTreeMap::new();
    while begun.len() < 3 + 2 * all().len() {
        let message = socket.next().await;
        if message["id"] == "page" {
            let page = &message["payload"]["data"]["stackPageChanged"];
            assert_eq!(page["total"], visible.len() + 1, "{:?}: what is not seen is not counted: {page}", caller.drawn);
            assert_eq!(page["order"].as_array().map(Vec::len), Some(visible.len() + 1), "{:?}: {page}", caller.drawn);
            for name in page["environments"].as_array().unwrap() {
                let name = name.as_str().unwrap();
                assert!(name == "default" || caller.drawn.reaches_environment(name), "{:?}: {page}", caller.drawn);
            }
        }
        caller.check("a subscription", &message["payload"].to_string());
        begun.insert(message["id"].as_str().unwrap().to_owned());
    }
    for key in all() {
        fleet.touch(&key).await;
    }
    let fence = format!("the fence of {}", caller.token.len());
    let fenced = key("default", FENCE);
    let deleted = key("beta", "db-b");
    // A stack that goes is told to those alone who saw it.
    let kept = fleet.world.ledger.stack(&deleted).unwrap().unwrap().value;
    fleet.world.ledger.commit(Batch::new().delete_stack(&deleted)).await.unwrap();
    let (mut stacks, mut events) = (false, false);
    fleet.touch(&fenced).await;
    fleet.world.ledger.commit(Batch::new().event(&event(&fenced, fence.clone()))).await.unwrap();
    while !(stacks && events) {
        let message = socket.next().await;
        let (id, text) = (message["id"].as_str().unwrap().to_owned(), message["payload"].to_string());
        caller.check(&id, &text);
        if message["payload"]["data"]["stacksChanged"]["deleted"]["name"] == "db-b" {
            assert!(visible.contains(&deleted), "{:?}: {message}", caller.drawn);
        }
        stacks |= id == "stacks" && text.contains(&mark(&fenced));
        events |= id == "events" && text.contains(&fence);
        if message["type"] == "next" {
            *heard.entry(id).or_default() += 1;
        }
    }
    for (n, key) in all().iter().enumerate() {
        if !visible.contains(key) {
            assert_eq!(heard.get(&format!("stack{n}")), None, "{:?}: something is told of {key}", caller.drawn);
            assert_eq!(heard.get(&format!("deployment{n}")), None, "{:?}: something is told of {key}", caller.drawn);
        }
    }
    fleet.world.ledger.commit(Batch::new().put_stack(&kept)).await.unwrap();
    fleet.touch(&deleted).await;
}

#[test]
fn nothing_of_a_stack_out_of_scope_reaches_a_caller() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let fleet = runtime.block_on(Fleet::new());
    let config = Config { cases: 32, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let number = std::cell::Cell::new(0_u32);
    let tried =
        runner.run(&drawn(), |drawn| {
            runtime.block_on(async {
                number.set(number.get() + 1);
                let patterns = |drawn: &[(&str, &[&str])], fence: &str| -> Vec<String> {
                    drawn.iter().map(|(pattern, _)| (*pattern).to_owned()).chain([fence.to_owned()]).collect()
                };
                let name = format!("t{}", number.get());
                let made = fleet.world.create_token(json!({
                "name": name, "role": drawn.role,
                "environments": patterns(&drawn.environments, "default"), "stacks": patterns(&drawn.stacks, FENCE),
            })).await;
                let token = made["value"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
                let visible: BTreeSet<StackKey> = all().into_iter().filter(|key| drawn.reaches(key)).collect();
                let everything = drawn.role == "Admin" && drawn.is_everything();
                let hidden = all().into_iter().filter(|key| !visible.contains(key) && !everything);
                let mut hidden: Vec<(String, String)> = hidden.map(|key| (key.to_string(), mark(&key))).collect();
                let places = ENVIRONMENTS.into_iter().filter(|name| !drawn.reaches_environment(name));
                hidden.extend(places.map(|name| (name.to_owned(), place(name))));
                let caller = Caller { fleet: &fleet, drawn: &drawn, token, hidden };
                reads(&caller, &visible).await;
                writes(&caller, &visible).await;
                follows(&caller, &visible).await;
            });
            Ok(())
        });
    assert_eq!(tried, Ok(()));
    assert!(number.get() >= 32);
}

/// The logs of a stack out of scope are not there, whichever way they are asked for.
#[tokio::test]
async fn no_log_of_a_stack_out_of_scope_is_given_out() {
    let fleet = Fleet::new().await;
    let (mine, other) = (key("alpha", "web-a"), key("beta", "web-a"));
    let made = fleet.world.create_token(json!({
        "name": "logs", "role": "Viewer", "environments": ["alpha"], "stacks": ["web-*"],
    }));
    let token = made.await["value"].as_str().unwrap().to_owned();
    let ask = async |query: String| {
        let mut socket = fleet.world.socket_as(&token).await;
        socket.subscribe("1", &format!("subscription {{ {query} {{ ended lines {{ text }} }} }}")).await;
        let mut all = String::new();
        loop {
            let message = socket.next().await;
            all.push_str(&message.to_string());
            if message["type"] == "complete" || message["type"] == "error" || message.to_string().contains("NOT_FOUND")
            {
                return all;
            }
        }
    };
    for (key, there) in [(mine, true), (other, false)] {
        let id = &fleet.deployments[&key];
        let stack = format!("logLines(stack: \"{}\", environment: \"{}\", follow: false)", key.name, key.environment);
        for query in [stack, format!("logLines(deployment: \"{id}\", follow: false)")] {
            let text = ask(query.clone()).await;
            assert_eq!(text.contains("NOT_FOUND"), !there, "{query}: {text}");
            assert_eq!(text.contains("a step"), there, "{query}: {text}");
        }
        for follow in [false, true] {
            let path = fleet.world.url(&format!("/api/v1/deployments/{id}/logs?follow={follow}"));
            let answer = fleet.world.http.get(path).bearer_auth(&token).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), if there { 200 } else { 404 });
        }
    }
}

/// The marks are there to be found: what may see everything sees every one of them.
#[tokio::test]
async fn every_mark_reaches_the_admin() {
    let fleet = Fleet::new().await;
    for query in [
        format!("{{ stacks(first: 200) {{ edges {{ node {{ {STACK} }} }} }} }}"),
        format!("{{ events(first: 200) {{ edges {{ node {{ {EVENT} }} }} }} }}"),
    ] {
        let text = fleet.world.ask_as(TOKEN, &query, json!({})).await.to_string();
        for key in all() {
            assert!(text.contains(&mark(&key)), "{key}");
        }
    }
}
