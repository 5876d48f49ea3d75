//! What a policy and the files say about single objects: fields of others, protection, what is made again, and order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use skep::domain::{
    Action, ConfigSpec, Course, DeployJob, Desired, DesiredService, Effect, NetworkSpec, ObjectKind, ObjectRef,
    PROTECT_LABEL, STACK_LABEL, SecretSpec, ServiceField, ServiceSpec, When,
};
use skep::plan::{Plan, Prune, Refusal, Waiting};

use super::model::{Ask, World, stack};

fn service(key: &str, more: &Value) -> DesiredService {
    let mut spec = json!({
        "Name": format!("shop_{key}"),
        "TaskTemplate": {"ContainerSpec": {"Image": "demo:1"}},
        "Mode": {"Replicated": {"Replicas": 2}},
    });
    for (name, value) in more.as_object().unwrap() {
        spec[name] = value.clone();
    }
    DesiredService { key: key.to_owned(), spec: serde_json::from_value(spec).unwrap() }
}

fn desired(services: &[(&str, Value)]) -> Desired {
    let mut desired = Desired::empty(stack().name);
    for (key, more) in services {
        let service = service(key, more);
        desired.services.insert(service.spec.name.clone(), service);
    }
    desired
}

fn network(option: &str) -> NetworkSpec {
    NetworkSpec {
        name: "shop_net".to_owned(),
        driver: "overlay".to_owned(),
        options: [("x".to_owned(), option.to_owned())].into(),
        ..NetworkSpec::default()
    }
}

fn plan(world: &World, desired: &Desired, prune: Prune, allow_recreate: bool) -> Plan {
    plan_on(Course::Deploy, world, desired, prune, allow_recreate)
}

fn plan_on(course: Course, world: &World, desired: &Desired, prune: Prune, allow_recreate: bool) -> Plan {
    let needed = &BTreeSet::new();
    world.plan(&Ask { desired, prune, needed, deployment: "d2", allow_recreate, adopt: false, course })
}

fn told(plan: &Plan) -> Vec<String> {
    let effect = |effect: &Effect| match effect {
        Effect::Remove { .. } => "remove",
        Effect::UpdateService { .. } => "update",
        _ => "create",
    };
    plan.steps.iter().map(|step| format!("{:?} {} {}", step.action, effect(&step.effect), step.object.name)).collect()
}

#[test]
fn a_field_that_somebody_else_owns_keeps_its_live_value() {
    let mut wanted = desired(&[("web", json!({})), ("db", json!({}))]);
    wanted.ignore(&[
        ServiceField::parse("web:/Mode/Replicated/Replicas").unwrap(),
        ServiceField::parse("*:/TaskTemplate/ContainerSpec/Labels/by~1hand").unwrap(),
        ServiceField::parse("web:/Mode/Replicated/Replicas/0/nonsense").unwrap(),
    ]);
    let mut world = World::with(&wanted);
    let changed = |world: &mut World, name: &str, change: &dyn Fn(&mut ServiceSpec)| {
        let live = world.live.services.get_mut(name).unwrap();
        change(&mut Arc::make_mut(live).spec);
    };
    for name in ["shop_web", "shop_db"] {
        changed(&mut world, name, &|spec| {
            spec.mode.replicated.as_mut().unwrap().replicas = Some(7);
            spec.task_template.container_spec.labels.insert("by/hand".to_owned(), "x".to_owned());
        });
    }
    // The other service's number is nobody else's.
    assert_eq!(told(&plan(&world, &wanted, Prune::Later, false)), ["Update update shop_db"]);
    // What is changed for another reason keeps them too.
    wanted.services.get_mut("shop_web").unwrap().spec.task_template.container_spec.image = "demo:2".to_owned();
    let plan = plan(&world, &wanted, Prune::Later, false);
    let step = plan.steps.iter().find(|step| step.object.name == "shop_web").unwrap();
    let Effect::UpdateService { spec, .. } = &step.effect else { panic!("{step:?}") };
    assert_eq!(spec.mode.replicated.as_ref().unwrap().replicas, Some(7));
    assert_eq!(spec.task_template.container_spec.labels["by/hand"], "x");
    assert_eq!(step.changes.len(), 1, "{:?}", step.changes);
    // A field that the other one took away is not put back.
    wanted.services.get_mut("shop_db").unwrap().spec.task_template.container_spec.labels =
        [("by/hand".to_owned(), "ours".to_owned())].into();
    changed(&mut world, "shop_db", &|spec| spec.task_template.container_spec.labels.clear());
    changed(&mut world, "shop_db", &|spec| spec.mode.replicated.as_mut().unwrap().replicas = Some(2));
    let plan = self::plan(&world, &wanted, Prune::Later, false);
    assert_eq!(told(&plan), ["Update update shop_web"]);
}

#[test]
fn what_is_protected_is_never_removed() {
    let protect = json!({PROTECT_LABEL: "true"});
    let mut before = desired(&[
        ("web", json!({})),
        (
            "db",
            json!({"Labels": protect, "TaskTemplate": {"ContainerSpec": {"Image": "db"}, "Networks": [{"Target": "shop_net"}]}}),
        ),
        ("old", json!({})),
    ]);
    let mut net = network("1");
    net.name = "shop_kept".to_owned();
    net.labels.insert(PROTECT_LABEL.to_owned(), "true".to_owned());
    before.networks.insert(net.name.clone(), net);
    before.networks.insert("shop_net".to_owned(), network("1"));
    let world = World::with(&before);
    let left = |plan: &Plan| {
        plan.waiting.iter().find_map(|waiting| match waiting {
            Waiting::Protected(objects) => Some(objects.clone()),
            _ => None,
        })
    };
    let kept =
        [ObjectRef::new(ObjectKind::Network, "shop_kept"), ObjectRef::new(ObjectKind::Service, "shop_db")].to_vec();
    let after = plan(&world, &desired(&[("web", json!({}))]), Prune::Asked, true);
    assert_eq!(told(&after), ["Remove remove shop_old"]);
    assert_eq!(left(&after), Some(kept.clone()));
    // Nor with the whole stack; and what it uses stays with it.
    let all = plan(&world, &desired(&[]), Prune::Everything, true);
    assert_eq!(told(&all), ["Remove remove shop_old", "Remove remove shop_web"]);
    assert_eq!(left(&all), Some(kept));
}

#[test]
fn what_is_protected_is_not_made_again() {
    let protected = |mode: Value| {
        json!({
            "Labels": {PROTECT_LABEL: "true"},
            "Mode": mode,
            "TaskTemplate": {"ContainerSpec": {"Image": "db"}, "Networks": [{"Target": "shop_net"}]},
        })
    };
    let state = |mode: Value, option: &str| {
        let mut wanted = desired(&[("web", json!({})), ("db", protected(mode))]);
        wanted.networks.insert("shop_net".to_owned(), network(option));
        wanted
    };
    let replicated = || json!({"Replicated": {"Replicas": 1}});
    let world = World::with(&state(replicated(), "1"));
    // Neither by its own mode, nor for a network that it is on.
    let mode = plan(&world, &state(json!({"Global": {}}), "1"), Prune::Later, true);
    assert!(matches!(&mode.refused[..], [Refusal::Protected { .. }]), "{:?}", mode.refused);
    let moved = plan(&world, &state(replicated(), "2"), Prune::Later, true);
    assert!(matches!(&moved.refused[..], [Refusal::Immutable { .. }]), "{:?}", moved.refused);
    for refused in [&mode, &moved] {
        assert!(!told(refused).iter().any(|step| step.contains("remove")), "{:?}", told(refused));
    }
    // A network may be protected itself.
    let with = |option: &str| {
        let mut wanted = desired(&[("web", json!({}))]);
        let mut net = network(option);
        net.labels.insert(PROTECT_LABEL.to_owned(), "true".to_owned());
        wanted.networks.insert("shop_net".to_owned(), net);
        wanted
    };
    let world = World::with(&with("1"));
    let refused = plan(&world, &with("2"), Prune::Later, true);
    assert!(matches!(&refused.refused[..], [Refusal::Protected { .. }]), "{:?}", refused.refused);
    assert!(refused.refused[0].to_string().contains("x-skep.protect"));
    // With the word taken from it in the file it goes.
    let mut bare = with("2");
    bare.networks.get_mut("shop_net").unwrap().labels.clear();
    assert_eq!(told(&plan(&world, &bare, Prune::Later, true)).len(), 2);
}

#[test]
fn labels_follow_the_file_where_swarm_can_change_them() {
    let state = |labels: &[(&str, &str)]| {
        let labels: BTreeMap<String, String> =
            labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
        let mut wanted = desired(&[("web", json!({}))]);
        let mut net = network("1");
        net.labels.clone_from(&labels);
        wanted.networks.insert(net.name.clone(), net);
        let (name, key, data) = ("shop_site".to_owned(), "site".to_owned(), b"x".to_vec());
        let config =
            ConfigSpec { name: name.clone(), key: key.clone(), labels: labels.clone(), data, templating: None };
        wanted.configs.insert(name.clone(), config);
        let secret = SecretSpec { name: name.clone(), key, labels, templating: None, driver: None };
        wanted.secrets.insert(name, secret);
        wanted
    };
    let mut world = World::with(&state(&[("team", "a"), ("old", "x")]));
    let wanted = state(&[("team", "b"), (PROTECT_LABEL, "true")]);
    let found = plan(&world, &wanted, Prune::Later, false);
    let relabelled: Vec<_> = found
        .steps
        .iter()
        .map(|step| match &step.effect {
            Effect::Relabel { object, labels, .. } => (object.kind, labels.clone()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(relabelled.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [ObjectKind::Config, ObjectKind::Secret]);
    let changed: Vec<&str> = found.steps[0].changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(changed, ["/Labels/dev.skep.protect", "/Labels/old", "/Labels/team"]);
    for (_, labels) in &relabelled {
        assert_eq!((labels.get("team").map(String::as_str), labels.contains_key("old")), (Some("b"), false));
        assert!(labels.contains_key(STACK_LABEL) && labels.contains_key(PROTECT_LABEL), "{labels:?}");
    }
    assert!(
        matches!(&found.waiting[..], [Waiting::NetworkLabels(net)] if net.name == "shop_net"),
        "{:?}",
        found.waiting
    );
    world.run(&found).unwrap();
    assert!(plan(&world, &wanted, Prune::Later, false).steps.is_empty());
}

#[test]
fn another_driver_of_a_secret_is_a_difference() {
    let state = |option: &str| {
        let mut wanted = desired(&[("web", json!({}))]);
        let (name, key) = ("vaulted".to_owned(), "key".to_owned());
        let driver = Some(("vault".to_owned(), BTreeMap::from([("path".to_owned(), option.to_owned())])));
        let secret = SecretSpec { name: name.clone(), key, labels: BTreeMap::new(), templating: None, driver };
        wanted.secrets.insert(name, secret);
        wanted
    };
    let world = World::with(&state("a"));
    assert!(plan(&world, &state("a"), Prune::Later, false).is_empty());
    let refused = plan(&world, &state("b"), Prune::Later, true);
    assert!(matches!(&refused.refused[..], [Refusal::Immutable { object, .. }] if object.kind == ObjectKind::Secret));
}

#[test]
fn what_the_file_states_of_a_network_no_more_is_a_difference() {
    let with = |options: &[(&str, &str)]| {
        let mut wanted = desired(&[("web", json!({}))]);
        let mut net = network("1");
        net.options.extend(options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        wanted.networks.insert(net.name.clone(), net);
        wanted
    };
    let mut world = World::with(&with(&[("encrypted", "")]));
    // What the engine adds by itself is none.
    let live = Arc::make_mut(world.live.networks.get_mut("shop_net").unwrap());
    live.options.insert("com.docker.network.driver.overlay.vxlanid_list".to_owned(), "4097".to_owned());
    live.options.insert("of.a.newer.engine".to_owned(), "1".to_owned());
    live.enable_ipv6 = true;
    assert!(plan(&world, &with(&[("encrypted", "")]), Prune::Later, false).is_empty());
    // Nor are they when the file says other labels, which stay as they are; nor for what was accepted as it is.
    let mut labelled = with(&[("encrypted", "")]);
    labelled.networks.get_mut("shop_net").unwrap().labels.insert("team".to_owned(), "a".to_owned());
    assert!(plan(&world, &labelled, Prune::Later, true).is_empty());
    for course in [Course::Repair, Course::Rollback] {
        assert!(plan_on(course, &world, &with(&[]), Prune::Later, true).is_empty());
    }
    let refused = plan(&world, &with(&[]), Prune::Later, false);
    assert!(matches!(&refused.refused[..], [Refusal::Immutable { .. }]), "{:?}", refused.refused);
    assert_eq!(told(&plan(&world, &with(&[]), Prune::Later, true)).len(), 2);
}

#[test]
fn another_mode_is_a_new_service_if_that_is_allowed() {
    let world = World::with(&desired(&[("web", json!({})), ("db", json!({}))]));
    let mut wanted = desired(&[("web", json!({"Mode": {"Global": {}}})), ("db", json!({}))]);
    let refused = plan(&world, &wanted, Prune::Later, false);
    assert!(matches!(&refused.refused[..], [Refusal::Immutable { .. }]));
    assert!(refused.refused[0].to_string().contains("policy.allowRecreate"));
    let allowed = plan(&world, &wanted, Prune::Later, true);
    assert_eq!(told(&allowed), ["Recreate remove shop_web", "Recreate create shop_web"]);
    assert!(allowed.steps.iter().all(|step| step.action == Action::Recreate && step.reason.contains("does not run")));
    let mut world = world;
    world.run(&allowed).unwrap();
    assert!(plan(&world, &wanted, Prune::Later, true).is_empty());
    // Where nothing of the kind has to change, the permission changes nothing.
    wanted.services.get_mut("shop_db").unwrap().spec.task_template.container_spec.image = "demo:2".to_owned();
    assert_eq!(told(&plan(&world, &wanted, Prune::Later, true)), ["Update update shop_db"]);
}

#[test]
fn another_network_takes_its_services_along() {
    let on = json!({"ContainerSpec": {"Image": "demo:1"}, "Networks": [{"Target": "shop_net"}]});
    let services = [("web", json!({"TaskTemplate": on})), ("db", json!({"TaskTemplate": on})), ("other", json!({}))];
    let mut before = desired(&services);
    before.networks.insert("shop_net".to_owned(), network("1"));
    let mut world = World::with(&before);
    Arc::make_mut(world.live.services.get_mut("shop_web").unwrap()).spec.mode.replicated.as_mut().unwrap().replicas =
        Some(2);
    let mut wanted = desired(&services);
    wanted.networks.insert("shop_net".to_owned(), network("2"));
    assert!(!plan(&world, &wanted, Prune::Later, false).refused.is_empty());
    let allowed = plan(&world, &wanted, Prune::Later, true);
    let expected = [
        "Recreate remove shop_db",
        "Recreate remove shop_web",
        "Recreate remove shop_net",
        "Recreate create shop_net",
        "Recreate create shop_db",
        "Recreate create shop_web",
    ];
    assert_eq!(told(&allowed), expected);
    world.run(&allowed).unwrap();
    assert!(plan(&world, &wanted, Prune::Later, true).is_empty());
    // Somebody else's service on it keeps it where it is.
    let mut spec = service("stranger", &json!({"TaskTemplate": on})).spec;
    spec.name = "stranger".to_owned();
    world.put_service("s".to_owned(), &spec).unwrap();
    let refused = plan(&world, &before, Prune::Later, true);
    assert!(matches!(&refused.refused[..], [Refusal::Immutable { .. }]), "{:?}", refused.refused);
    assert_eq!(told(&refused), Vec::<String>::new());
}

#[test]
fn services_come_after_those_they_depend_on() {
    let mut wanted = desired(&[("a", json!({})), ("b", json!({})), ("c", json!({}))]);
    let after = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    wanted.depends_on.insert("shop_a".to_owned(), after(&["shop_c", "shop_gone"]));
    wanted.depends_on.insert("shop_c".to_owned(), after(&["shop_b"]));
    let plan = plan(&World::default(), &wanted, Prune::Later, false);
    assert_eq!(told(&plan), ["Create create shop_b", "Create create shop_c", "Create create shop_a"]);
}

/// What may be carried out when these have settled: steps, jobs, and what waits for what.
fn ready(plan: &Plan, settled: &[&str]) -> (Vec<String>, Vec<String>, Vec<String>) {
    let settled = settled.iter().map(|name| format!("shop_{name}")).collect();
    let ready = plan.ready(&settled);
    let held = ready
        .held_back
        .iter()
        .map(|(name, awaited)| format!("{name}: {}", awaited.iter().map(String::as_str).collect::<Vec<_>>().join(" ")));
    (told(&Plan { steps: ready.steps.clone(), ..Plan::default() }), ready.jobs.into_iter().collect(), held.collect())
}

fn awaits(wanted: &mut Desired, name: &str, on: &[&str]) {
    for map in [&mut wanted.depends_on, &mut wanted.awaits] {
        map.insert(format!("shop_{name}"), on.iter().map(|name| format!("shop_{name}")).collect());
    }
}

fn job(key: &str, when: When) -> (String, DeployJob) {
    let mode = json!({"Mode": {"Replicated": null, "ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}}});
    let service = service(key, &mode);
    (service.spec.name.clone(), DeployJob { when, service, deadline: None, only: None })
}

fn names(of: &[&str]) -> Vec<String> {
    of.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_service_is_written_when_what_it_waits_for_has_settled_and_not_before() {
    let mut wanted = desired(&[("api", json!({})), ("cache", json!({})), ("db", json!({})), ("web", json!({}))]);
    awaits(&mut wanted, "api", &["db"]);
    awaits(&mut wanted, "web", &["api"]);
    let mut world = World::default();
    let first = plan(&world, &wanted, Prune::Later, false);
    let (steps, _, held) = ready(&first, &[]);
    assert_eq!(steps, names(&["Create create shop_cache", "Create create shop_db"]));
    assert_eq!(held, names(&["shop_api: shop_db", "shop_web: shop_api"]));
    // What is still to be written has not settled, whatever is said.
    assert_eq!(ready(&first, &["db", "api"]).0, steps);
    world.run(&Plan { steps: first.ready(&BTreeSet::new()).steps, ..Plan::default() }).unwrap();
    let second = plan(&world, &wanted, Prune::Later, false);
    assert_eq!(ready(&second, &["cache"]).0, Vec::<String>::new());
    assert_eq!(ready(&second, &["db"]).0, names(&["Create create shop_api"]));
    // What runs is put right at once.
    let repair = plan_on(Course::Repair, &world, &wanted, Prune::Later, false);
    assert_eq!(ready(&repair, &[]).0, names(&["Create create shop_api", "Create create shop_web"]));
}

#[test]
fn a_service_follows_one_that_is_held_back_in_its_order() {
    let mut wanted = desired(&[("a", json!({})), ("b", json!({})), ("c", json!({}))]);
    awaits(&mut wanted, "b", &["c"]);
    wanted.depends_on.insert("shop_a".to_owned(), BTreeSet::from(["shop_b".to_owned()]));
    let plan = plan(&World::default(), &wanted, Prune::Later, false);
    let (steps, _, held) = ready(&plan, &[]);
    assert_eq!(steps, names(&["Create create shop_c"]));
    assert_eq!(held, names(&["shop_a: shop_b", "shop_b: shop_c"]));
}

#[test]
fn a_job_before_the_deployment_holds_all_back_but_what_it_depends_on() {
    let mut wanted = desired(&[("db", json!({})), ("web", json!({}))]);
    wanted.jobs = [job("migrate", When::Pre), job("smoke", When::Post)].into();
    awaits(&mut wanted, "migrate", &["db"]);
    let mut world = World::default();
    let first = plan(&world, &wanted, Prune::Later, false);
    assert_eq!(first.jobs.len(), 2);
    let (steps, jobs, held) = ready(&first, &[]);
    assert_eq!((steps, jobs), (names(&["Create create shop_db"]), vec![]));
    assert_eq!(held, names(&["shop_migrate: shop_db", "shop_web: shop_migrate"]));
    world.run(&Plan { steps: first.ready(&BTreeSet::new()).steps, ..Plan::default() }).unwrap();
    let second = plan(&world, &wanted, Prune::Later, false);
    assert_eq!(ready(&second, &["db"]).1, names(&["shop_migrate"]));
    let (steps, jobs, held) = ready(&second, &["db", "migrate"]);
    assert_eq!((steps, jobs, held), (names(&["Create create shop_web"]), vec![], vec![]));
    // A job that has not ended well holds the deployment back also when no service is to be written.
    world.run(&Plan { steps: second.steps, ..Plan::default() }).unwrap();
    let last = plan(&world, &wanted, Prune::Later, false);
    assert!(last.is_empty() && !last.ready(&BTreeSet::from(["shop_db".to_owned()])).held_back.is_empty());
    for course in [Course::Adopt, Course::Repair] {
        assert!(plan_on(course, &world, &wanted, Prune::Later, false).jobs.is_empty(), "{course:?}");
    }
}

#[test]
fn a_run_of_a_job_is_told_its_way_and_marked() {
    let mut wanted = desired(&[("web", json!({}))]);
    wanted.jobs = [job("migrate", When::Pre)].into();
    let back = plan_on(Course::Rollback, &World::default(), &wanted, Prune::Later, false);
    let run = &back.jobs[0].service.spec;
    assert!(run.task_template.container_spec.env.contains(&"SKEP_DIRECTION=rollback".to_owned()), "{run:?}");
    assert_eq!(run.labels.get("dev.skep.hook").map(String::as_str), Some("pre"));
    assert!(run.labels.contains_key("dev.skep.deployment") && run.labels.contains_key("dev.skep.stack"));
}

#[test]
fn what_stands_under_the_name_of_a_job_is_not_taken_for_it() {
    let before = desired(&[("web", json!({})), ("migrate", json!({}))]);
    let world = World::with(&before);
    let mut wanted = desired(&[("web", json!({}))]);
    wanted.jobs = [job("migrate", When::Pre)].into();
    let refused = plan(&world, &wanted, Prune::Later, false);
    assert!(matches!(&refused.refused[..], [Refusal::Immutable { .. }]), "{:?}", refused.refused);
    // One that was a job already makes room, and is not pruned before.
    let mut before = desired(&[("web", json!({}))]);
    let old = job("migrate", When::Pre).1.service;
    before.services.insert(old.spec.name.clone(), old);
    let world = World::with(&before);
    let taken = plan(&world, &wanted, Prune::Asked, false);
    assert!(taken.refused.is_empty() && taken.steps.is_empty(), "{taken:?}");
    let mut world = World::default();
    let mut spec = service("migrate", &json!({})).spec;
    spec.labels = [("dev.skep.instance".to_owned(), "another".to_owned())].into();
    world.put_service("x".to_owned(), &spec).unwrap();
    let refused = plan(&world, &wanted, Prune::Later, false);
    assert!(matches!(&refused.refused[..], [Refusal::Foreign { .. }]), "{:?}", refused.refused);
}

#[test]
fn where_ports_and_waiting_stand_in_a_circle_the_ports_count() {
    let port = json!({"EndpointSpec": {"Ports": [{"TargetPort": 80, "PublishedPort": 80}]}});
    let world = World::with(&desired(&[("web", port.clone())]));
    // The proxy takes the port that the web gives up, and the web waits for the proxy.
    let mut wanted = desired(&[("web", json!({})), ("proxy", port)]);
    awaits(&mut wanted, "web", &["proxy"]);
    let plan = plan(&world, &wanted, Prune::Later, false);
    let (steps, _, held) = ready(&plan, &[]);
    assert_eq!(steps, names(&["Update update shop_web", "Create create shop_proxy"]));
    assert!(held.is_empty(), "{held:?}");
}
