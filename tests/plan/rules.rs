//! What a policy and the files say about single objects: fields of others, protection, what is made again, and order.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use skep::domain::{
    Action, Desired, DesiredService, Effect, Ignored, NetworkSpec, ObjectKind, ObjectRef, PROTECT_LABEL, ServiceSpec,
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
    world.plan(&Ask { desired, prune, needed: &BTreeSet::new(), deployment: "d2", allow_recreate, adopt: false })
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
        Ignored::parse("web:/Mode/Replicated/Replicas").unwrap(),
        Ignored::parse("*:/TaskTemplate/ContainerSpec/Labels/by~1hand").unwrap(),
        Ignored::parse("web:/Mode/Replicated/Replicas/0/nonsense").unwrap(),
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
