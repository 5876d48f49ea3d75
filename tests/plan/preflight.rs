//! What is known to fail before anything is changed, node by node, and what is not the version's own fault.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use skep::domain::{
    Course, DeployJob, Desired, DesiredService, FailureClass, LiveService, Node, NodeAvailability, NodeState, Platform,
    ServiceSpec, VersionIndex, When,
};
use skep::plan::{Preflight, Prune, preflight};

use super::model::{Ask, World, stack};

const GIB: i64 = 1 << 30;

fn node(name: &str, labels: &[(&str, &str)]) -> Node {
    Node {
        id: format!("id-{name}"),
        hostname: name.to_owned(),
        addr: "10.1.2.3".to_owned(),
        state: NodeState::Ready,
        availability: NodeAvailability::Active,
        manager: name == "k1",
        leader: name == "k1",
        engine: "20.10.24".to_owned(),
        platform: Platform { os: "linux".to_owned(), architecture: "x86_64".to_owned() },
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        engine_labels: BTreeMap::from([("storage".to_owned(), "zfs".to_owned())]),
        nano_cpus: 4_000_000_000,
        memory_bytes: 8 * GIB,
        generic: BTreeMap::from([("gpu".to_owned(), 2)]),
    }
}

fn world(nodes: &[Node]) -> World {
    let mut world = World::default();
    world.live.nodes = nodes.iter().map(|node| (node.id.clone(), Arc::new(node.clone()))).collect();
    world
}

fn spec(name: &str, task: &Value, mode: &Value, ports: &Value) -> ServiceSpec {
    let mut template = json!({"ContainerSpec": {"Image": "demo:1"}});
    for (key, value) in task.as_object().unwrap() {
        template[key] = value.clone();
    }
    let spec = json!({"Name": name, "TaskTemplate": template, "Mode": mode, "EndpointSpec": {"Ports": ports}});
    serde_json::from_value(spec).unwrap()
}

fn replicas(count: u64) -> Value {
    json!({"Replicated": {"Replicas": count}})
}

fn on_node(port: u32) -> Value {
    json!([{"TargetPort": 80, "PublishedPort": port, "PublishMode": "host"}])
}

/// A version of these services.
fn version(specs: &[ServiceSpec]) -> Desired {
    let mut desired = Desired::empty(stack().name);
    for spec in specs {
        let key = spec.name.trim_start_matches("shop_").to_owned();
        desired.services.insert(spec.name.clone(), DesiredService { key, spec: Box::new(spec.clone()) });
    }
    desired
}

/// A version whose `web` asks for this of its tasks.
fn web(task: &Value) -> Desired {
    version(&[spec("shop_web", task, &replicas(2), &json!([]))])
}

fn constrained(constraints: &[&str]) -> Desired {
    web(&json!({"Placement": {"Constraints": constraints}}))
}

/// A service of somebody else.
fn other(world: &mut World, spec: ServiceSpec) {
    let (id, version) = (format!("id-{}", spec.name), VersionIndex(1));
    let (created_at, updated_at, update, job_iteration) = (None, None, None, None);
    let live = LiveService { id, version, spec, created_at, updated_at, update, job_iteration };
    world.live.services.insert(live.spec.name.clone(), Arc::new(live));
}

fn look(world: &World, desired: &Desired, good: Option<&Desired>) -> Preflight {
    let plan = world.plan(&Ask {
        desired,
        prune: Prune::Later,
        needed: &BTreeSet::new(),
        deployment: "d2",
        allow_recreate: false,
        adopt: false,
        course: Course::Deploy,
    });
    preflight(&plan, desired, good, &world.live)
}

/// The only thing found, in a sentence.
fn told(world: &World, desired: &Desired) -> String {
    let found = look(world, desired, None);
    let [failure] = found.refused.as_slice() else { panic!("not one thing was found: {found:#?}") };
    format!("{} {}", failure.class, failure.sentence())
}

#[test]
fn what_no_node_meets_is_told_node_by_node() {
    let mut nodes = [node("k1", &[("disk", "hdd")]), node("k2", &[]), node("k3", &[("disk", "ssd")]), node("k4", &[])];
    nodes[2].availability = NodeAvailability::Drain;
    nodes[3].state = NodeState::Down;
    let found = told(&world(&nodes), &constrained(&["node.labels.disk == ssd"]));
    insta::assert_snapshot!(found, @"NoSuitableNode service `web`: no node can take it: node `k1` does not meet `node.labels.disk == ssd` (its label says `hdd`); node `k2` does not meet `node.labels.disk == ssd` (it has no such label); node `k3` is drained; node `k4` is not there");
    nodes[2].availability = NodeAvailability::Active;
    assert_eq!(look(&world(&nodes), &constrained(&["node.labels.disk == ssd"]), None), Preflight::default());
}

#[test]
fn constraints_mean_what_they_mean_to_swarm() {
    let world = world(&[node("k1", &[("Disk", "SSD")])]);
    for met in [
        "node.labels.Disk==ssd",
        "node.labels.disk != ssd",
        "NODE.LABELS.Disk == SSD",
        "engine.labels.storage == ZFS",
        "node.role == manager",
        "node.role!=worker",
        "node.hostname == K1",
        "node.id == id-k1",
        "node.platform.os == linux",
        "node.platform.arch == x86_64",
        "node.ip == 10.1.2.3",
        "node.ip == 10.1.0.0/16",
        "node.ip != 10.2.0.0/16",
    ] {
        assert_eq!(look(&world, &constrained(&[met]), None), Preflight::default(), "{met}");
    }
    for unmet in [
        "node.labels.Disk != ssd",
        "node.labels.disk == ssd",
        "engine.labels.storage != zfs",
        "node.role == worker",
        "node.hostname != k1",
        "node.platform.arch == amd64",
        "node.ip == 10.1.2.4",
        "node.ip == 10.2.0.0/16",
        "node.ip != 10.1.0.0/16",
        "node.ip == somewhere",
        "node.colour == red",
    ] {
        assert_eq!(look(&world, &constrained(&[unmet]), None).refused.len(), 1, "{unmet}");
    }
}

#[test]
fn amounts_and_platforms_that_no_node_has_are_refused() {
    let nodes = [node("k1", &[])];
    let reserved = |memory: i64, cpus: i64| {
        web(&json!({"Resources": {"Reservations": {"MemoryBytes": memory, "NanoCPUs": cpus}}}))
    };
    insta::assert_snapshot!(told(&world(&nodes), &reserved(9 * GIB, 0)), @"NoSuitableNode service `web`: no node can take it: node `k1` has 8 GiB of memory, and 9 GiB are reserved");
    insta::assert_snapshot!(told(&world(&nodes), &reserved(0, 4_500_000_000)), @"NoSuitableNode service `web`: no node can take it: node `k1` has 4 CPUs, and 4.5 are reserved");
    // Each would have room, both have not.
    insta::assert_snapshot!(told(&world(&nodes), &reserved(5 * GIB, 0)), @"NoSuitableNode service `web`: of 2 tasks only 1 would have a place: node `k1` has room for 1");
    assert_eq!(look(&world(&nodes), &reserved(4 * GIB, 2_000_000_000), None), Preflight::default());
    let generic = |kind: &str, count: i64| {
        let reserved = json!([{"DiscreteResourceSpec": {"Kind": kind, "Value": count}}]);
        web(&json!({"Resources": {"Reservations": {"GenericResources": reserved}}}))
    };
    insta::assert_snapshot!(told(&world(&nodes), &generic("gpu", 3)), @"NoSuitableNode service `web`: no node can take it: node `k1` has 2 of `gpu`, and 3 are reserved");
    insta::assert_snapshot!(told(&world(&nodes), &generic("fpga", 1)), @"NoSuitableNode service `web`: no node can take it: node `k1` has 0 of `fpga`, and 1 are reserved");
    insta::assert_snapshot!(told(&world(&nodes), &generic("gpu", 2)), @"NoSuitableNode service `web`: of 2 tasks only 1 would have a place: node `k1` has room for 1");
    assert_eq!(look(&world(&nodes), &generic("gpu", 1), None), Preflight::default());
    let limit = |cpus: i64| web(&json!({"Resources": {"Limits": {"NanoCPUs": cpus}}}));
    insta::assert_snapshot!(told(&world(&nodes), &limit(5_000_000_000)), @"NoSuitableNode service `web`: no node can take it: node `k1` has 4 CPUs, and its engine refuses a limit of 5");
    let arm = web(&json!({"Placement": {"Platforms": [{"OS": "linux", "Architecture": "aarch64"}]}}));
    insta::assert_snapshot!(told(&world(&nodes), &arm), @"NoSuitableNode service `web`: no node can take it: node `k1` is linux/amd64, and the image is for linux/arm64");
    let both =
        json!({"Placement": {"Platforms": [{"Architecture": "arm64"}, {"OS": "linux", "Architecture": "amd64"}]}});
    assert_eq!(look(&world(&nodes), &web(&both), None), Preflight::default());
    let few = web(&json!({"Placement": {"MaxReplicas": 1}}));
    insta::assert_snapshot!(told(&world(&nodes), &few), @"NoSuitableNode service `web`: of 2 tasks only 1 would have a place: node `k1` has room for 1");
    // More memory than there is may be allowed: it is only never used up.
    let much = look(&world(&nodes), &web(&json!({"Resources": {"Limits": {"MemoryBytes": 64 * GIB}}})), None);
    assert_eq!(much.refused, []);
    insta::assert_snapshot!(much.warnings.join("\n"), @"service `web`: its limit of 64 GiB of memory is more than any node has (8 GiB)");
}

#[test]
fn a_port_of_the_nodes_goes_to_one_task_of_each() {
    let mut two = world(&[node("k1", &[]), node("k2", &[])]);
    let web = |count: u64| version(&[spec("shop_web", &json!({}), &replicas(count), &on_node(80))]);
    assert_eq!(look(&two, &web(2), None), Preflight::default());
    insta::assert_snapshot!(told(&two, &web(3)), @"PortConflict service `web`: port 80/tcp of the nodes is wanted by 3 tasks, 2 nodes can take one, and one task of a node can have it; publish another port, or let Swarm publish it (mode `ingress`)");
    // One of somebody else leaves one node; one on each leaves none.
    other(&mut two, spec("proxy", &json!({}), &replicas(1), &on_node(80)));
    assert_eq!(look(&two, &web(1), None), Preflight::default());
    insta::assert_snapshot!(told(&two, &web(2)), @"PortConflict service `web`: port 80/tcp of the nodes is wanted by 2 tasks, 2 nodes can take one, and service `proxy` holds it on 1 of them; publish another port, or let Swarm publish it (mode `ingress`)");
    other(&mut two, spec("proxy", &json!({}), &json!({"Global": {}}), &on_node(80)));
    assert_eq!(look(&two, &web(1), None).refused[0].class, FailureClass::PortConflict);
    // Not where they are kept apart, or for another port.
    let apart = json!({"Placement": {"Constraints": ["node.hostname == k2"]}});
    other(&mut two, spec("proxy", &apart, &json!({"Global": {}}), &on_node(80)));
    assert_eq!(look(&two, &web(1), None), Preflight::default());
    assert_eq!(look(&two, &web(2), None).refused.len(), 1);
    other(&mut two, spec("proxy", &json!({}), &json!({"Global": {}}), &on_node(81)));
    assert_eq!(look(&two, &web(2), None), Preflight::default());
    // Within the stack it is the same; both are named.
    let both = [
        spec("shop_a", &json!({}), &json!({"Global": {}}), &on_node(82)),
        spec("shop_b", &json!({}), &replicas(1), &on_node(82)),
    ];
    let found = look(&two, &version(&both), None);
    assert_eq!(found.refused.iter().map(|it| it.service.as_deref().unwrap()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_job_that_no_node_can_take_is_found_before_anything_is_changed() {
    let mut version = web(&json!({}));
    let job = |constraint: &str| {
        let on = json!({"Placement": {"Constraints": [constraint]}});
        let spec = spec("shop_migrate", &on, &json!({"ReplicatedJob": {}}), &json!([]));
        let service = DesiredService { key: "migrate".to_owned(), spec: Box::new(spec) };
        DeployJob { when: When::Pre, service, deadline: None, only: None }
    };
    version.jobs.insert("shop_migrate".to_owned(), job("node.role == worker"));
    let world = world(&[node("k1", &[])]);
    assert!(told(&world, &version).contains("service `migrate`: no node can take it"));
    version.jobs.insert("shop_migrate".to_owned(), job("node.role == manager"));
    assert_eq!(look(&world, &version, None), Preflight::default());
}

#[test]
fn what_the_last_good_version_would_meet_too_is_not_the_versions_fault() {
    let gpu = constrained(&["node.labels.gpu == 1"]);
    let mut newer = gpu.clone();
    for service in newer.services.values_mut() {
        service.spec.task_template.container_spec.image = "demo:2".to_owned();
    }
    let world = world(&[node("k1", &[])]);
    assert_eq!(look(&world, &newer, Some(&gpu)), Preflight::default());
    assert_eq!(look(&world, &newer, Some(&web(&json!({})))).refused.len(), 1);
    assert_eq!(look(&world, &newer, None).refused.len(), 1);
}

#[test]
fn nothing_is_said_of_a_swarm_without_a_node_and_of_services_without_a_task() {
    let mut away = node("k1", &[]);
    away.availability = NodeAvailability::Drain;
    let gpu = constrained(&["node.labels.gpu == 1"]);
    assert_eq!(look(&world(&[away]), &gpu, None), Preflight::default());
    let task = json!({"Placement": {"Constraints": ["node.labels.gpu == 1"]}});
    let none = version(&[spec("shop_web", &task, &replicas(0), &json!([]))]);
    assert_eq!(look(&world(&[node("k1", &[])]), &none, None), Preflight::default());
    // What a job does one after the other needs one place.
    let job = json!({"ReplicatedJob": {"MaxConcurrent": 5, "TotalCompletions": 9}});
    let task = json!({"Resources": {"Reservations": {"MemoryBytes": 5 * GIB}}});
    let job = version(&[spec("shop_job", &task, &job, &json!([]))]);
    assert_eq!(look(&world(&[node("k1", &[])]), &job, None), Preflight::default());
}

#[test]
fn a_service_that_needs_no_step_is_not_looked_at() {
    let task = json!({"Placement": {"Constraints": ["node.labels.gpu == 1"]}});
    let desired = version(&[spec("shop_web", &task, &replicas(1), &json!([]))]);
    let mut world = World::with(&desired);
    world.live.nodes.insert("id-k1".to_owned(), Arc::new(node("k1", &[])));
    assert_eq!(look(&world, &desired, None), Preflight::default());
}
