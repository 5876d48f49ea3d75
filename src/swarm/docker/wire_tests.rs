//! Recorded answers of engine 20.10 (API 1.41), and answers no engine gives yet.

use serde_json::json;

use super::*;

const JOB: &str = r#"{"ID":"v1kn03buk4r07bhumw6im1vld","Version":{"Index":43},"CreatedAt":"2026-11-23T18:57:06.096924219Z","UpdatedAt":"2026-11-23T18:57:06.096924219Z","Spec":{"Name":"j","Labels":{},"TaskTemplate":{"ContainerSpec":{"Image":"demo:v1","Args":["/bin/true"],"Init":false,"DNSConfig":{},"Isolation":"default"},"Resources":{"Limits":{},"Reservations":{}},"Placement":{},"ForceUpdate":0,"Runtime":"container"},"Mode":{"ReplicatedJob":{"MaxConcurrent":1,"TotalCompletions":1}},"EndpointSpec":{"Mode":"vip"}},"Endpoint":{"Spec":{}},"JobStatus":{"JobIteration":{},"LastExecution":"2026-11-23T18:57:06.096895446Z"}}"#;

const TASK: &str = r#"{"ID":"8gkyjstu35tn94fvjkszhndf2","Version":{"Index":54},"CreatedAt":"2026-11-23T18:57:06.097607362Z","UpdatedAt":"2026-11-23T18:57:07.043504759Z","Labels":{},"Spec":{"ContainerSpec":{"Image":"demo:v1","Args":["/bin/true"],"Init":false,"DNSConfig":{},"Isolation":"default"},"Resources":{"Limits":{},"Reservations":{}},"Placement":{},"ForceUpdate":0},"ServiceID":"v1kn03buk4r07bhumw6im1vld","NodeID":"p85dqz9uu1sve293gu7lxuchx","Status":{"Timestamp":"2026-11-23T18:57:06.97452493Z","State":"complete","Message":"finished","ContainerStatus":{"ContainerID":"79f1","PID":0,"ExitCode":0},"PortStatus":{}},"DesiredState":"complete","JobIteration":{}}"#;

const NETWORKS: &str = r#"[{"Name":"ingress","Id":"g6en79t4hjop25qi902n8urv2","Created":"2026-11-23T18:27:13.987835701Z","Scope":"swarm","Driver":"overlay","EnableIPv6":false,"IPAM":{"Driver":"default","Options":null,"Config":[{"Subnet":"10.0.0.0/24","Gateway":"10.0.0.1"}]},"Internal":false,"Attachable":false,"Ingress":true,"ConfigFrom":{"Network":""},"ConfigOnly":false,"Containers":null,"Options":{"com.docker.network.driver.overlay.vxlanid_list":"4096"},"Labels":null},{"Name":"host","Id":"9601","Scope":"local","Driver":"host","Labels":{}}]"#;

fn read<W: Wire>(value: Value) -> W::Live {
    one::<W>(value.to_string().as_bytes()).expect("it is read")
}

#[test]
fn a_recorded_job_is_read() {
    let service = one::<WireService>(JOB.as_bytes()).expect("it is read");
    assert_eq!((service.version, service.job_iteration), (VersionIndex(43), Some(0)));
    assert!(service.spec.mode.is_job());
    assert_eq!(service.update, None);
    assert_eq!(service.created_at.map(Timestamp::as_second), Some(1_795_460_226));
}

#[test]
fn a_recorded_task_is_read() {
    let task = one::<WireTask>(TASK.as_bytes()).expect("it is read");
    assert_eq!((task.state, task.desired), (TaskState::Complete, TaskState::Complete));
    assert_eq!((task.slot, task.exit_code, task.job_iteration), (None, Some(0), Some(0)));
    assert_eq!(task.message, "finished");
}

#[test]
fn a_task_that_runs_has_no_exit_code() {
    let mut value: Value = serde_json::from_str(TASK).expect("JSON");
    value["Status"]["State"] = json!("running");
    value["Slot"] = json!(3);
    let task = read::<WireTask>(value);
    assert_eq!((task.state, task.exit_code, task.slot), (TaskState::Running, None, Some(3)));
}

#[test]
fn networks_of_one_node_are_no_networks_of_the_swarms() {
    let networks = list::<WireNetwork>(NETWORKS.as_bytes()).expect("a list");
    let networks: Vec<_> = networks.into_iter().flatten().collect();
    assert_eq!(networks.len(), 1);
    assert!(networks[0].ingress && networks[0].labels.is_empty());
}

#[test]
fn words_nobody_knows_yet_are_kept() {
    let mut value: Value = serde_json::from_str(JOB).expect("JSON");
    value["UpdateStatus"] = json!({"State": "meditating", "StartedAt": "0001-01-01T00:00:00Z"});
    value["Spec"]["TaskTemplate"]["RestartPolicy"] = json!({"Condition": "on-full-moon"});
    value["Spec"]["TaskTemplate"]["ContainerSpec"]["FutureField"] = json!({"a": [1]});
    value["Spec"]["UpdateConfig"] = json!({"Parallelism": u64::MAX, "Hurry": true});
    let service = read::<WireService>(value);
    let update = service.update.expect("there is one");
    assert_eq!((update.state, update.started_at), (UpdateState::Other("meditating".to_owned()), None));
    let task = service.spec.task_template;
    assert_eq!(task.restart_policy.expect("there is one").condition, "on-full-moon");
    assert_eq!(task.container_spec.extra["FutureField"], json!({"a": [1]}));
    let update = service.spec.update_config.expect("there is one");
    assert_eq!((update.parallelism, &update.extra["Hurry"]), (u64::MAX, &json!(true)));

    let mut value: Value = serde_json::from_str(TASK).expect("JSON");
    value["Status"]["State"] = json!("levitating");
    assert_eq!(read::<WireTask>(value).state, TaskState::Unknown);

    let node = read::<WireNode>(json!({"ID": "n", "Spec": {"Availability": "maybe"}, "Status": {"State": "asleep"}}));
    assert_eq!((node.state, node.availability), (NodeState::Unknown, NodeAvailability::Pause));
}

#[test]
fn one_odd_object_hides_no_other() {
    let good: Value = serde_json::from_str(JOB).expect("JSON");
    let mut odd = good.clone();
    odd["Spec"]["Labels"] = json!(["not", "a", "map"]);
    let body = json!([odd, good, {}, 7]).to_string();
    let services = list::<WireService>(body.as_bytes()).expect("a list");
    assert_eq!(services.len(), 1);
}

#[test]
fn what_is_no_list_is_an_error_and_null_is_an_empty_one() {
    assert!(list::<WireService>(b"{\"message\":\"x\"}").is_err());
    assert!(list::<WireService>(b"<html>").is_err());
    assert_eq!(list::<WireService>(b"null"), Ok(Vec::new()));
}

#[test]
fn what_a_node_has_of_other_resources_is_counted_by_kind() {
    let resources = json!([
        {"DiscreteResourceSpec": {"Kind": "ssd", "Value": 3}},
        {"NamedResourceSpec": {"Kind": "gpu", "Value": "uuid-1"}},
        {"NamedResourceSpec": {"Kind": "gpu", "Value": "uuid-2"}},
    ]);
    let node = read::<WireNode>(json!({"ID": "n", "Description": {"Resources": {"GenericResources": resources}}}));
    assert_eq!(node.generic, [("gpu".to_owned(), 2), ("ssd".to_owned(), 3)].into());
    let none = read::<WireNode>(json!({"ID": "n", "Description": {"Resources": {"GenericResources": null}}}));
    assert!(none.generic.is_empty());
}

#[test]
fn a_secrets_driver_is_read_back() {
    let spec = json!({"Name": "s", "Labels": null, "Driver": {"Name": "vault", "Options": {"path": "a"}}});
    let secret = read::<WireSecret>(json!({"ID": "s", "Version": {"Index": 1}, "Spec": spec}));
    assert_eq!(secret.driver, Some(("vault".to_owned(), [("path".to_owned(), "a".to_owned())].into())));
}
