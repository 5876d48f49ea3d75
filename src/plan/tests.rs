//! When two specs mean the same, and what a plan's digest covers. Whole plans are tried in `tests/plan`.

use serde_json::{Value, json};

use super::{Plan, canonical, changes, differences, keep_live, same_task};
use crate::domain::{
    Action, Change, ConfigSpec, DEPLOYMENT_LABEL, Digester, Effect, LiveService, ObjectKind, ObjectRef, REVISION_LABEL,
    SPEC_LABEL, ServiceSpec, Step, VersionIndex,
};

fn base() -> Value {
    json!({
        "Name": "shop_web",
        "Labels": {"a": "1"},
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": "demo:1",
                "Env": ["A=1"],
                "Configs": [{"ConfigName": "c1"}],
                "Mounts": [{"Type": "volume", "Target": "/data"}],
            },
            "RestartPolicy": {"Delay": 1_000_000_000},
            "Networks": [{"Target": "n1", "Aliases": ["web"]}],
        },
        "Mode": {"Replicated": {"Replicas": 2}},
        "UpdateConfig": {"Parallelism": 1, "MaxFailureRatio": 0},
        "EndpointSpec": {"Ports": [{"TargetPort": 80, "PublishedPort": 8080}]},
    })
}

/// The base with values put at JSON pointers; what is missing on the way is made.
fn spec(patches: &[(&str, Value)]) -> ServiceSpec {
    let mut spec = base();
    for (path, value) in patches {
        let mut place = &mut spec;
        for step in path.split('/').skip(1) {
            place = match step.parse::<usize>() {
                Ok(index) => &mut place[index],
                Err(_) => &mut place[step],
            };
        }
        *place = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

const CONTAINER: &str = "/TaskTemplate/ContainerSpec";

/// Field, as sent, as read back, and something that really differs. The measured list (API 1.41), row by row, and what
/// else means the same.
fn rows() -> Vec<(String, Value, Value, Value)> {
    let container = |field: &str| format!("{CONTAINER}/{field}");
    let row = |path: &str, sent, read, other| (path.to_owned(), sent, read, other);
    vec![
        row("/TaskTemplate/Runtime", Value::Null, json!("container"), json!("plugin")),
        row("/EndpointSpec", json!({}), json!({"Mode": "vip"}), json!({"Mode": "dnsrr"})),
        row("/EndpointSpec", Value::Null, json!({"Mode": "vip"}), json!({"Mode": "dnsrr"})),
        row("/EndpointSpec/Ports/0/Protocol", json!(""), json!("tcp"), json!("udp")),
        row("/EndpointSpec/Ports/0/PublishMode", json!(""), json!("ingress"), json!("host")),
        row("/Mode", json!({"Replicated": {}}), json!({"Replicated": {"Replicas": 1}}), json!({"Global": {}})),
        row("/Mode", json!({}), json!({"Replicated": {"Replicas": 1}}), json!({"Replicated": {"Replicas": 2}})),
        row(
            "/Mode",
            json!({"ReplicatedJob": {"MaxConcurrent": 2}}),
            json!({"ReplicatedJob": {"MaxConcurrent": 2, "TotalCompletions": 2}}),
            json!({"ReplicatedJob": {"MaxConcurrent": 2, "TotalCompletions": 1}}),
        ),
        row("/UpdateConfig/FailureAction", json!(""), json!("pause"), json!("rollback")),
        row("/UpdateConfig/Order", json!(""), json!("stop-first"), json!("start-first")),
        (container("Isolation"), Value::Null, json!("default"), json!("hyperv")),
        (container("Isolation"), json!(""), json!("default"), json!("process")),
        (container("Privileges"), json!({"NoNewPrivileges": false}), Value::Null, json!({"NoNewPrivileges": true})),
        (container("DNSConfig"), Value::Null, json!({}), json!({"Search": ["x"]})),
        (container("Configs/0/ConfigID"), json!(""), json!("id7"), Value::Null),
        (container("Mounts/0/VolumeOptions"), Value::Null, json!({}), json!({"NoCopy": true})),
        (container("Env"), json!(["B=2", "A=1"]), json!(["A=1", "B=2"]), json!(["A=1", "B=3"])),
        (container("Env"), json!(["A=1", "A=2"]), json!(["A=1", "A=2"]), json!(["A=2", "A=1"])),
        row("/TaskTemplate/RestartPolicy/Condition", json!(""), json!("any"), json!("none")),
        row("/TaskTemplate/RestartPolicy/MaxAttempts", Value::Null, json!(0), json!(3)),
        row(
            "/TaskTemplate/Resources",
            Value::Null,
            json!({"Limits": {}, "Reservations": {}}),
            json!({"Limits": {"Pids": 5}}),
        ),
        row("/TaskTemplate/Placement", Value::Null, json!({}), json!({"Constraints": ["node.role==manager"]})),
        row("/TaskTemplate/Networks/0/Aliases", json!(["web", "a"]), json!(["a", "web"]), json!(["a"])),
        row("/NewerThanThis", Value::Null, json!({"x": 1}), Value::Null),
    ]
}

#[test]
fn what_the_engine_fills_in_is_no_difference_and_anything_else_is() {
    for (path, sent, read, other) in rows() {
        let (sent, read) = (spec(&[(&path, sent)]), spec(&[(&path, read)]));
        assert_eq!(changes(&read, &sent), [], "{path}");
        assert_eq!(changes(&sent, &read), [], "{path}");
        assert_eq!(canonical(&canonical(&sent)), canonical(&sent), "{path}");
        if !other.is_null() {
            assert_ne!(changes(&read, &spec(&[(&path, other)])), [], "{path}");
        }
    }
}

#[test]
fn labels_that_only_say_who_changed_it_last_are_no_difference() {
    let mut stamped = spec(&[]);
    for label in [SPEC_LABEL, REVISION_LABEL, DEPLOYMENT_LABEL] {
        stamped.labels.insert(label.into(), "x".into());
    }
    assert_eq!(changes(&spec(&[]), &stamped), []);
}

#[test]
fn swarm_lets_a_task_go_on_under_another_placement_and_nothing_else() {
    let same = |path: &str, value: Value| same_task(&spec(&[]).task_template, &spec(&[(path, value)]).task_template);
    assert!(same("/TaskTemplate/Placement", json!({"Constraints": ["node.role==manager"]})));
    assert!(same("/Labels/a", json!("2")));
    assert!(same("/Mode", json!({"Replicated": {"Replicas": 9}})));
    assert!(!same("/TaskTemplate/ContainerSpec/Image", json!("demo:2")));
    assert!(!same("/TaskTemplate/ContainerSpec/Labels", json!({"a": "1"})));
    assert!(!same("/TaskTemplate/ForceUpdate", json!(1)));
    assert!(!same("/TaskTemplate/RestartPolicy/Delay", json!(2)));
}

#[test]
fn an_update_keeps_platforms_only_for_the_image_they_were_found_for() {
    let platforms = json!({"Platforms": [{"Architecture": "amd64", "OS": "linux"}]});
    let live = LiveService {
        id: "id1".into(),
        version: VersionIndex(1),
        spec: spec(&[("/TaskTemplate/Placement", platforms)]),
        created_at: None,
        updated_at: None,
        update: None,
        job_iteration: None,
    };
    let kept =
        |wanted: &ServiceSpec| keep_live(wanted, &live).task_template.placement.unwrap_or_default().platforms.len();
    assert_eq!(kept(&spec(&[])), 1);
    assert_eq!(kept(&spec(&[("/TaskTemplate/ContainerSpec/Image", json!("demo:2"))])), 0);
    let unnamed = keep_live(&spec(&[("/Mode", json!({}))]), &live);
    assert_eq!(unnamed.mode.replicated.and_then(|replicated| replicated.replicas), Some(2), "no mode is replicated");
}

#[test]
fn a_difference_is_named_by_its_place() {
    let from = json!({"a/b": 1, "list": [{"x": 1}, {"x": 2}], "plain": [1], "gone": true});
    let to = json!({"a/b": 2, "list": [{"x": 1}, {"x": 3}], "plain": [1, 2], "new": "y"});
    let change = |path: &str, from: Value, to: Value| Change {
        path: path.into(),
        from: (!from.is_null()).then_some(from),
        to: (!to.is_null()).then_some(to),
    };
    let expected = [
        change("/a~1b", json!(1), json!(2)),
        change("/gone", json!(true), Value::Null),
        change("/list/1/x", json!(2), json!(3)),
        change("/new", Value::Null, json!("y")),
        change("/plain", json!([1]), json!([1, 2])),
    ];
    assert_eq!(differences(&from, &to), expected);
}

fn creates(content: &str, deployment: &str) -> Plan {
    let labels = [(SPEC_LABEL.to_owned(), content.to_owned()), (DEPLOYMENT_LABEL.to_owned(), deployment.to_owned())];
    let spec = ConfigSpec { name: "c".into(), key: "c".into(), labels: labels.into(), data: vec![], templating: None };
    let step = Step {
        object: ObjectRef::new(ObjectKind::Config, "c"),
        action: Action::Create,
        reason: String::new(),
        changes: Vec::new(),
        effect: Effect::CreateConfig(spec),
    };
    Plan { steps: vec![step], ..Default::default() }
}

#[test]
fn an_approval_covers_what_is_made_but_not_by_which_deployment() {
    let digester = Digester::new([1; 32]);
    assert_eq!(creates("x", "d1").digest(&digester), creates("x", "d2").digest(&digester));
    assert_ne!(creates("x", "d1").digest(&digester), creates("y", "d1").digest(&digester));
    assert_ne!(creates("x", "d1").digest(&digester), Plan::default().digest(&digester));
}
