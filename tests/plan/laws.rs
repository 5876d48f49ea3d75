//! Laws that hold for every plan, tried on generated pairs of what is wanted and what is there: drifted services, missing
//! objects, leftovers of the stack's own, other people's objects under all kinds of names.
//!
//! The generator is seeded, so that a run can be repeated; `PROPTEST_CASES` asks for more cases. The test counts what it
//! has met and fails when a kind of step, a refusal or a reason to wait was never among it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;
use skep::domain::{
    Action, ConfigSpec, Course, Desired, DesiredService, Digest, Effect, INSTANCE_LABEL, LABEL_PREFIX, LiveConfig,
    LiveNetwork, LiveService, NAMESPACE_LABEL, NetworkSpec, ObjectKind, ObjectRef, PROTECT_LABEL, STACK_LABEL,
    SecretSpec, ServiceSpec, VersionIndex, content_name,
};
use skep::plan::{Owner, Plan, Prune, Refusal, Waiting, changes, keep_live};

use super::model::{Ask, INSTANCE, World, digester, stack};

/// A service in short. Numbers stand for names.
#[derive(Debug, Clone)]
struct Wish {
    image: u8,
    mode: u8,
    replicas: Option<u64>,
    port: Option<(u32, bool)>,
    network: Option<u8>,
    config: Option<(u8, u8)>,
    secret: Option<(u8, u8)>,
    label: Option<u8>,
    update: bool,
    protect: bool,
}

/// A version in short.
#[derive(Debug, Clone)]
struct Version {
    services: Vec<Option<Wish>>,
    /// A network that services may use: none, plain, or with another option.
    networks: Vec<u8>,
    /// Declares this external network.
    external: Option<bool>,
    /// A label of all networks, configs and secrets.
    tier: Option<u8>,
    /// Whether secrets come from an external driver.
    driver: bool,
}

fn wish() -> impl Strategy<Value = Wish> {
    let port = prop::option::weighted(0.4, (8000..8004_u32, prop::bool::weighted(0.3)));
    let file = || prop::option::weighted(0.3, (0..2_u8, 0..2_u8));
    let flags = (any::<bool>(), prop::bool::weighted(0.1));
    let rest = (prop::option::weighted(0.5, 0..2_u8), file(), file(), prop::option::of(0..2_u8), flags);
    let mode = prop_oneof![20 => Just(0_u8), 1 => Just(1), 1 => Just(2)];
    (1..3_u8, mode, prop::option::of(0..3_u64), port, rest).prop_map(|(image, mode, replicas, port, rest)| {
        let (network, config, secret, label, (update, protect)) = rest;
        Wish { image, mode, replicas, port, network, config, secret, label, update, protect }
    })
}

fn version() -> impl Strategy<Value = Version> {
    let network = prop_oneof![12 => Just(1_u8), 1 => Just(2)];
    (
        prop::collection::vec(prop::option::weighted(0.6, wish()), 5),
        prop::collection::vec(network, 2),
        prop_oneof![20 => Just(None), 3 => Just(Some(true)), 1 => Just(Some(false))],
        prop::option::weighted(0.2, 0..2_u8),
        prop::bool::weighted(0.05),
    )
        .prop_map(|(services, networks, external, tier, driver)| Version {
            services,
            networks,
            external,
            tier,
            driver,
        })
}

/// The same version with some services as in another one, so that most services of a pair stay as they are.
fn near(other: &Version, version: Version, same: &[bool]) -> Version {
    let services = version.services.iter().zip(&other.services).zip(same);
    Version {
        services: services.map(|((new, old), same)| if *same { old.clone() } else { new.clone() }).collect(),
        ..version
    }
}

impl Version {
    fn desired(&self) -> Desired {
        let mut desired = Desired::empty(stack().name);
        for (index, wish) in self.services.iter().enumerate() {
            if let Some(wish) = wish {
                let key = format!("s{index}");
                let spec = self.spec(&format!("shop_{key}"), wish, &mut desired);
                desired.services.insert(spec.name.clone(), DesiredService { key, spec: Box::new(spec) });
            }
        }
        if self.external.is_some() {
            desired.external_networks.insert("ext".to_owned());
        }
        desired
    }

    /// The labels of its networks, configs and secrets.
    fn labels(&self) -> BTreeMap<String, String> {
        let tier = self.tier.map(|tier| ("tier".to_owned(), tier.to_string()));
        [(NAMESPACE_LABEL.to_owned(), "shop".to_owned())].into_iter().chain(tier).collect()
    }

    fn spec(&self, name: &str, wish: &Wish, desired: &mut Desired) -> ServiceSpec {
        let mut spec = json!({
            "Name": name,
            "Labels": {NAMESPACE_LABEL: "shop"},
            "TaskTemplate": {"ContainerSpec": {"Image": format!("demo:{}", wish.image)}},
            "Mode": match wish.mode {
                0 => wish.replicas.map_or(json!({"Replicated": {}}), |n| json!({"Replicated": {"Replicas": n}})),
                1 => json!({"Global": {}}),
                _ => json!({"ReplicatedJob": {"MaxConcurrent": 2}}),
            },
        });
        if let Some(label) = wish.label {
            spec["Labels"]["tier"] = json!(label.to_string());
        }
        if wish.protect {
            spec["Labels"][PROTECT_LABEL] = json!("true");
        }
        if let Some((port, host)) = wish.port {
            let mode = if host { "host" } else { "" };
            spec["EndpointSpec"] = json!({"Ports": [{"TargetPort": 80, "PublishedPort": port, "PublishMode": mode}]});
        }
        if wish.update && wish.mode == 0 {
            spec["UpdateConfig"] = json!({"Parallelism": 1, "MaxFailureRatio": 0});
        }
        if let Some(network) = wish.network {
            let name = format!("shop_n{network}");
            let (driver, labels) = ("overlay".to_owned(), self.labels());
            let mut wanted = NetworkSpec { name, driver, labels, ..Default::default() };
            if self.networks[usize::from(network)] == 2 {
                wanted.options.insert("encrypted".to_owned(), String::new());
            }
            spec["TaskTemplate"]["Networks"] = json!([{"Target": wanted.name}]);
            desired.networks.insert(wanted.name.clone(), wanted);
        }
        if let Some((key, content)) = wish.config {
            let (key, data) = (format!("c{key}"), vec![content]);
            let name = content_name(&stack().name, &key, &Digest::of(&data));
            spec["TaskTemplate"]["ContainerSpec"]["Configs"] = json!([{"ConfigName": name}]);
            let config = ConfigSpec { name: name.clone(), key, labels: self.labels(), data, templating: None };
            desired.configs.insert(name, config);
        }
        if let Some((key, content)) = wish.secret {
            let key = format!("k{key}");
            let name = content_name(&stack().name, &key, &digester().digest(&[content]));
            spec["TaskTemplate"]["ContainerSpec"]["Secrets"] = json!([{"SecretName": name}]);
            let driver = self.driver.then(|| ("vault".to_owned(), BTreeMap::new()));
            let secret = SecretSpec { name: name.clone(), key, labels: self.labels(), templating: None, driver };
            desired.secrets.insert(name, secret);
        }
        serde_json::from_value(spec).unwrap()
    }
}

/// Something that happened on the Swarm behind the controller's back. The number chooses an object.
#[derive(Debug, Clone)]
enum Mishap {
    /// The object was removed by hand, if nothing uses it.
    Removed(ObjectKind, u8),
    /// The service was changed by hand.
    Scaled(u8),
    Forced(u8),
    Relabelled(u8),
    Reimaged(u8),
    /// The answer to the create was lost: no id is remembered.
    Unanswered(u8),
    /// Nothing is remembered of the object.
    Forgotten(u8),
    /// Someone made a service of this name after ours was gone, with these labels.
    Usurped(u8, u8),
    /// Someone else's service that uses a network of ours and holds a port.
    Neighbour(u8, Option<u32>),
    /// A config of the wanted name has another content.
    Scribbled(u8),
    /// The stack is one that `docker stack deploy` made: nothing has labels of Skep, and nothing is remembered.
    HandedBack,
}

fn mishap() -> impl Strategy<Value = Mishap> {
    use ObjectKind as Kind;
    let kind = prop_oneof![Just(Kind::Service), Just(Kind::Network), Just(Kind::Config), Just(Kind::Secret)];
    prop_oneof![
        4 => (kind, any::<u8>()).prop_map(|(kind, n)| Mishap::Removed(kind, n)),
        2 => any::<u8>().prop_map(Mishap::Scaled),
        2 => any::<u8>().prop_map(Mishap::Forced),
        2 => any::<u8>().prop_map(Mishap::Relabelled),
        2 => any::<u8>().prop_map(Mishap::Reimaged),
        2 => any::<u8>().prop_map(Mishap::Unanswered),
        1 => any::<u8>().prop_map(Mishap::Forgotten),
        1 => (any::<u8>(), 0..4_u8).prop_map(|(n, who)| Mishap::Usurped(n, who)),
        2 => (any::<u8>(), prop::option::weighted(0.2, 8000..8004_u32)).prop_map(|(n, port)| Mishap::Neighbour(n, port)),
        1 => any::<u8>().prop_map(Mishap::Scribbled),
        2 => Just(Mishap::HandedBack),
    ]
}

fn choose<T: Clone>(all: impl Iterator<Item = T>, n: u8) -> Option<T> {
    let all: Vec<T> = all.collect();
    (!all.is_empty()).then(|| all[usize::from(n) % all.len()].clone())
}

/// Labels of other people's objects.
fn labels_of(who: u8) -> BTreeMap<String, String> {
    let of = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    match who {
        0 => BTreeMap::new(),
        1 => of(&[(NAMESPACE_LABEL, "shop")]),
        2 => of(&[(INSTANCE_LABEL, INSTANCE), (STACK_LABEL, "default/blog")]),
        _ => of(&[(INSTANCE_LABEL, "skep-2"), (STACK_LABEL, "default/shop")]),
    }
}

impl Mishap {
    fn happen(&self, world: &mut World) {
        match *self {
            Self::Removed(kind, n) => remove_by_hand(world, kind, n),
            Self::Scaled(n) => change(world, n, |spec| {
                if let Some(replicated) = &mut spec.mode.replicated {
                    replicated.replicas = Some(9);
                }
            }),
            Self::Forced(n) => change(world, n, |spec| spec.task_template.force_update += 1),
            Self::Relabelled(n) => change(world, n, |spec| drop(spec.labels.insert("oob".into(), "1".into()))),
            Self::Reimaged(n) => change(world, n, |spec| spec.task_template.container_spec.image = "oob".into()),
            Self::Unanswered(n) => {
                if let Some(object) = choose(world.inventory.0.keys().cloned(), n) {
                    world.inventory.0.entry(object).and_modify(|entry| entry.id = None);
                }
            }
            Self::Forgotten(n) => {
                if let Some(object) = choose(world.inventory.0.keys().cloned(), n) {
                    world.inventory.0.remove(&object);
                }
            }
            Self::Usurped(n, who) => usurp(world, n, who),
            Self::Neighbour(n, port) => neighbour(world, n, port),
            Self::Scribbled(n) => {
                if let Some(name) = choose(world.live.configs.keys().cloned(), n) {
                    let known = &world.live.configs[&name];
                    let scribbled = LiveConfig { data: b"other".to_vec(), ..(**known).clone() };
                    world.live.configs.insert(name, Arc::new(scribbled));
                }
            }
            Self::HandedBack => hand_back(world),
        }
    }
}

fn hand_back(world: &mut World) {
    let bare = |labels: &mut BTreeMap<String, String>| {
        if labels.get(STACK_LABEL) == Some(&stack().to_string()) {
            labels.retain(|label, _| !label.starts_with(LABEL_PREFIX) || label == PROTECT_LABEL);
        }
    };
    world.live.services.values_mut().for_each(|live| bare(&mut Arc::make_mut(live).spec.labels));
    world.live.networks.values_mut().for_each(|live| bare(&mut Arc::make_mut(live).labels));
    world.live.configs.values_mut().for_each(|live| bare(&mut Arc::make_mut(live).labels));
    world.live.secrets.values_mut().for_each(|live| bare(&mut Arc::make_mut(live).labels));
    world.inventory.0.clear();
}

fn remove_by_hand(world: &mut World, kind: ObjectKind, n: u8) {
    let object = choose(world.inventory.0.keys().filter(|object| object.kind == kind).cloned(), n);
    let Some(object) = object else { return };
    if let Some(id) = live_id(world, &object) {
        // What is in use stays: the engine says so.
        let _ = world.apply(&Effect::Remove { object, id });
    }
}

fn change(world: &mut World, n: u8, how: impl FnOnce(&mut ServiceSpec)) {
    let Some(name) = choose(world.live.services.keys().cloned(), n) else { return };
    let mut spec = world.live.services[&name].spec.clone();
    how(&mut spec);
    let id = world.live.services[&name].id.clone();
    world.put_service(id, &spec).unwrap();
}

fn usurp(world: &mut World, n: u8, who: u8) {
    let name = choose(world.live.services.keys().cloned(), n).unwrap_or("shop_s0".to_owned());
    let spec = ServiceSpec { name: name.clone(), labels: labels_of(who), ..Default::default() };
    world.live.services.remove(&name);
    world.put_service(format!("other{n}"), &spec).unwrap();
}

fn neighbour(world: &mut World, n: u8, port: Option<u32>) {
    let mut spec = ServiceSpec { name: format!("blog_{n}"), labels: labels_of(n % 4), ..Default::default() };
    let network = choose(world.live.networks.keys().cloned(), n);
    spec.task_template.networks =
        network.map(|target| serde_json::from_value(json!({"Target": target})).unwrap()).into_iter().collect();
    if let Some(port) = port {
        let ports = json!({"Ports": [{"TargetPort": 80, "PublishedPort": port}]});
        spec.endpoint_spec = Some(serde_json::from_value(ports).unwrap());
    }
    // A port that is taken already stays taken: the engine says so.
    let _ = world.put_service(format!("blog{n}"), &spec);
}

/// One generated case.
#[derive(Debug, Clone)]
struct Case {
    before: Version,
    after: Version,
    mishaps: Vec<Mishap>,
    prune: Prune,
    needed: Vec<u8>,
    recreate: bool,
    adopt: bool,
}

fn case() -> impl Strategy<Value = Case> {
    let prune = prop_oneof![Just(Prune::Later), Just(Prune::Never), Just(Prune::Guarded), Just(Prune::Asked)];
    let same = prop::collection::vec(prop::bool::weighted(0.4), 5);
    let needed = prop::collection::vec(any::<u8>(), 0..2);
    let flags = (prop::bool::weighted(0.03), prop::bool::weighted(0.3), prop::bool::weighted(0.3));
    (version(), version(), same, prop::collection::vec(mishap(), 0..4), prune, needed, flags).prop_map(
        |(before, after, same, mishaps, prune, needed, (empty, recreate, adopt))| {
            let mut after = near(&before, after, &same);
            if empty {
                after.services.iter_mut().for_each(|wish| *wish = None);
            }
            Case { before, after, mishaps, prune, needed, recreate, adopt }
        },
    )
}

impl Case {
    /// The Swarm before the plan, or nothing if what was before could not be brought about.
    fn world(&self) -> Option<World> {
        let mut world = World::default();
        if self.before.external.is_some() || self.after.external == Some(true) {
            external(&mut world);
        }
        let before = self.before.desired();
        let none = BTreeSet::new();
        let first = world.plan(&Ask {
            desired: &before,
            prune: Prune::Later,
            needed: &none,
            deployment: "d1",
            allow_recreate: false,
            adopt: false,
            course: Course::Deploy,
        });
        if !first.refused.is_empty() {
            return None;
        }
        world.run(&first).unwrap();
        if self.after.external == Some(false) {
            world.live.networks.remove("ext");
        }
        self.mishaps.iter().for_each(|mishap| mishap.happen(&mut world));
        Some(world)
    }

    fn needed(&self, world: &World) -> BTreeSet<ObjectRef> {
        self.needed.iter().filter_map(|n| choose(world.inventory.0.keys().cloned(), *n)).collect()
    }
}

fn external(world: &mut World) {
    let live = LiveNetwork {
        id: "ext".to_owned(),
        name: "ext".to_owned(),
        driver: "overlay".to_owned(),
        labels: BTreeMap::new(),
        options: BTreeMap::new(),
        internal: false,
        attachable: true,
        ingress: false,
        enable_ipv6: false,
        ipam: None,
    };
    world.live.networks.insert(live.name.clone(), Arc::new(live));
}

/// What was met, by name.
#[derive(Debug, Default)]
struct Tally(BTreeMap<String, u64>);

impl Tally {
    fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    fn plan(&mut self, plan: &Plan) {
        for step in &plan.steps {
            self.count(format!("{:?} {}", step.action, step.object.kind));
        }
        for step in plan.steps.iter().filter(|step| step.reason.contains("holds port")) {
            self.count(format!("Early {:?} {}", step.action, step.object.kind));
        }
        for refusal in &plan.refused {
            self.count(match refusal {
                Refusal::Foreign { owner, .. } => match owner {
                    Owner::ThisStack => panic!("refused as this stack's own"),
                    Owner::OtherStack(_) => "Foreign OtherStack",
                    Owner::OtherInstance(_) => "Foreign OtherInstance",
                    Owner::DockerStack(_) => "Foreign DockerStack",
                    Owner::Somebody => "Foreign Somebody",
                },
                Refusal::MissingExternal(_) => "MissingExternal",
                Refusal::Immutable { object, .. } => match object.kind {
                    ObjectKind::Network => "Immutable network",
                    ObjectKind::Config => "Immutable config",
                    ObjectKind::Secret => "Immutable secret",
                    ObjectKind::Service => "Immutable service",
                },
                Refusal::Protected { .. } => "Protected is to change",
                Refusal::PortTaken { .. } => "PortTaken",
            });
        }
        for waiting in &plan.waiting {
            self.count(match waiting {
                Waiting::PruneAfterConvergence(_) => "PruneAfterConvergence",
                Waiting::PruneGuard { .. } => "PruneGuard",
                Waiting::NothingWanted(_) => "NothingWanted",
                Waiting::NotInTheFile(_) => "NotInTheFile",
                Waiting::UsedByOthers(_) => "UsedByOthers",
                Waiting::Protected(_) => "Protected is left",
                Waiting::NetworkLabels(_) => "NetworkLabels",
            });
        }
    }

    /// Everything that the laws speak of has to have been met.
    fn check(&self) {
        let wanted = [
            "Create network",
            "Create config",
            "Create secret",
            "Create service",
            "Update config",
            "Update secret",
            "Update service",
            "Recreate network",
            "Recreate service",
            "Adopt network",
            "Adopt config",
            "Adopt secret",
            "Adopt service",
            "Remove network",
            "Remove config",
            "Remove secret",
            "Remove service",
            "Early Remove service",
            "Foreign OtherStack",
            "Foreign OtherInstance",
            "Foreign DockerStack",
            "Foreign Somebody",
            "MissingExternal",
            "Immutable network",
            "Immutable config",
            "Immutable secret",
            "Immutable service",
            "Protected is to change",
            "PortTaken",
            "PruneAfterConvergence",
            "PruneGuard",
            "NothingWanted",
            "NotInTheFile",
            "UsedByOthers",
            "Protected is left",
            "NetworkLabels",
            "carried out",
            "refused",
            "empty at once",
            "settled after 1",
            "settled after 2",
            "needed kept",
            "foreign kept",
            "deleted",
        ];
        for (what, times) in &self.0 {
            println!("{times:6}  {what}");
        }
        let missing: Vec<_> = wanted.iter().filter(|what| !self.0.contains_key(**what)).collect();
        assert!(missing.is_empty(), "never met: {missing:?}");
    }
}

/// What is made again is taken away first; then networks, configs, secrets, services, each made or changed; then removals,
/// from services to networks. Only a service that holds a port goes before.
fn in_order(plan: &Plan) {
    let rank = |step: &skep::domain::Step| match (step.action, step.object.kind) {
        (Action::Recreate, ObjectKind::Service) if matches!(step.effect, Effect::Remove { .. }) => -1,
        (Action::Remove, _) if step.reason.contains("holds port") => 3,
        (Action::Remove, ObjectKind::Service) => 5,
        (Action::Remove, ObjectKind::Secret) => 6,
        (Action::Remove, ObjectKind::Config) => 7,
        (Action::Remove, ObjectKind::Network) => 8,
        (_, ObjectKind::Network) => 0,
        (_, ObjectKind::Config) => 1,
        (_, ObjectKind::Secret) => 2,
        (_, ObjectKind::Service) => 4,
    };
    assert!(plan.steps.is_sorted_by_key(rank), "out of order: {:#?}", plan.steps);
}

/// What holds for every single plan.
fn lawful(world: &World, ask: &Ask<'_>, plan: &Plan) {
    assert_eq!(*plan, world.plan(ask), "the same values give another plan");
    in_order(plan);
    let mut touched = BTreeSet::new();
    for step in &plan.steps {
        let again = step.action == Action::Recreate;
        assert!(touched.insert((&step.object, again && is_removal(step))), "{} is touched twice", step.object);
        assert_eq!(step.object, step.effect.object());
        if step.action == Action::Adopt {
            let remembered = world.inventory.0.get(&step.object).and_then(|entry| entry.id.clone());
            let own = remembered.is_some() && remembered == live_id(world, &step.object);
            assert!(ask.adopt && !own, "{} is taken over", step.object);
        } else {
            assert_eq!(step.action == Action::Update, !step.changes.is_empty(), "{} changes nothing", step.object);
        }
        assert!(ask.allow_recreate || !again, "{} is made again", step.object);
        if is_removal(step) {
            // Of what is wanted the file says whether it is protected; of what is not, its own label.
            let wanted =
                ask.desired.services.get(&step.object.name).filter(|_| step.object.kind == ObjectKind::Service);
            let protected = match wanted {
                Some(wanted) => wanted.spec.labels.contains_key(PROTECT_LABEL),
                None => is_protected(world, &step.object),
            };
            assert!(!protected, "{} is protected", step.object);
        }
        if step.action == Action::Remove {
            assert!(!ask.needed.contains(&step.object), "{} is needed", step.object);
            assert!(world.inventory.0.contains_key(&step.object), "{} is not owned", step.object);
            let deleting = ask.prune == Prune::Everything;
            assert!(deleting || !ask.desired.services.is_empty(), "an empty version removes");
            let early = step.reason.contains("holds port");
            let may = match ask.prune {
                Prune::Never => false,
                Prune::Later => early,
                Prune::Guarded | Prune::Asked | Prune::Everything => true,
            };
            assert!(may, "{} is removed under {:?}", step.object, ask.prune);
        }
    }
}

fn is_removal(step: &skep::domain::Step) -> bool {
    matches!(step.effect, Effect::Remove { .. })
}

fn live_id(world: &World, object: &ObjectRef) -> Option<String> {
    let name = &object.name;
    match object.kind {
        ObjectKind::Service => world.live.services.get(name).map(|live| live.id.clone()),
        ObjectKind::Network => world.live.networks.get(name).map(|live| live.id.clone()),
        ObjectKind::Config => world.live.configs.get(name).map(|live| live.id.clone()),
        ObjectKind::Secret => world.live.secrets.get(name).map(|live| live.id.clone()),
    }
}

fn is_protected(world: &World, object: &ObjectRef) -> bool {
    let live = (object.kind == ObjectKind::Service).then(|| world.live.services.get(&object.name)).flatten();
    live.is_some_and(|live| live.spec.labels.contains_key(PROTECT_LABEL))
}

/// Other people's objects: those that no plan may touch.
fn foreign(world: &World, adopt: bool) -> BTreeMap<String, Arc<LiveService>> {
    let ours = |live: &LiveService| {
        let labels = &live.spec.labels;
        let remembered = world.inventory.0.get(&ObjectRef::new(ObjectKind::Service, &live.spec.name));
        let adoptable = labels.get(NAMESPACE_LABEL).is_some_and(|namespace| namespace == "shop");
        labels.get(INSTANCE_LABEL).is_none_or(|instance| instance == INSTANCE)
            && (remembered.is_some_and(|entry| entry.id.as_ref() == Some(&live.id))
                || labels.get(STACK_LABEL) == Some(&stack().to_string())
                || (adopt && adoptable && !labels.contains_key(INSTANCE_LABEL)))
    };
    world.live.services.iter().filter(|(_, live)| !ours(live)).map(|(a, b)| (a.clone(), b.clone())).collect()
}

/// All wanted services are as wanted, and no other owned one is left.
fn reached(world: &World, ask: &Ask<'_>) {
    for (name, wanted) in &ask.desired.services {
        let live = &world.live.services[name];
        let mut spec = keep_live(&wanted.spec, live);
        // A job that was taken over is not written at all: it would run again.
        if live.spec.mode.replicated_job.is_none() || live.spec.labels.contains_key(INSTANCE_LABEL) {
            spec.labels.extend([(INSTANCE_LABEL.into(), INSTANCE.into()), (STACK_LABEL.into(), stack().to_string())]);
        }
        assert_eq!(changes(&live.spec, &spec), [], "{name} is not as wanted");
    }
    if !ask.desired.services.is_empty() {
        for object in world.inventory.0.keys().filter(|object| object.kind == ObjectKind::Service) {
            let gone = !world.live.services.contains_key(&object.name);
            let wanted = ask.desired.services.contains_key(&object.name);
            let foreign = foreign(world, ask.adopt).contains_key(&object.name);
            let stays = ask.needed.contains(object) || is_protected(world, object);
            assert!(gone || wanted || foreign || stays, "{object} is left");
        }
    }
}

fn try_case(case: &Case, tally: &mut Tally) {
    let Some(mut world) = case.world() else { return tally.count("no state before") };
    let desired = case.after.desired();
    let needed = case.needed(&world);
    let ask = |prune, deployment| Ask {
        desired: &desired,
        prune,
        needed: &needed,
        deployment,
        allow_recreate: case.recreate,
        adopt: case.adopt,
        course: Course::Deploy,
    };
    let foreign = foreign(&world, case.adopt);
    let needed_there: Vec<_> = needed.iter().filter(|object| is_there(&world, object)).cloned().collect();

    let first = world.plan(&ask(case.prune, "d2"));
    lawful(&world, &ask(case.prune, "d2"), &first);
    tally.plan(&first);
    if !first.refused.is_empty() {
        return tally.count("refused");
    }
    tally.count("carried out");
    world.run(&first).unwrap_or_else(|error| panic!("the engine refuses: {error}\n{first:#?}"));
    let mut rounds = 0;
    loop {
        // Another deployment of the same version: its own labels are no reason to change anything.
        let ask = ask(Prune::Asked, "d3");
        let plan = world.plan(&ask);
        lawful(&world, &ask, &plan);
        tally.plan(&plan);
        assert_eq!(plan.refused, [], "refused after it has been carried out");
        if plan.is_empty() {
            reached(&world, &ask);
            break;
        }
        rounds += 1;
        assert!(rounds < 3, "not at rest after three plans: {plan:#?}");
        world.run(&plan).unwrap_or_else(|error| panic!("the engine refuses: {error}\n{plan:#?}"));
    }
    tally.count(if first.is_empty() && rounds == 0 {
        "empty at once".to_owned()
    } else {
        format!("settled after {}", rounds + 1)
    });
    for (name, live) in &foreign {
        assert_eq!(world.live.services.get(name), Some(live), "somebody else's {name} was touched");
        tally.count("foreign kept");
    }
    for object in &needed_there {
        assert!(is_there(&world, object), "{object} was needed");
        tally.count("needed kept");
    }
    delete(&mut world, tally);
}

/// Deleting the stack leaves nothing of it but what somebody else uses.
fn delete(world: &mut World, tally: &mut Tally) {
    let foreign = foreign(world, false);
    let (desired, none) = (Desired::empty(stack().name), BTreeSet::new());
    let ask = Ask {
        desired: &desired,
        prune: Prune::Everything,
        needed: &none,
        deployment: "d4",
        allow_recreate: false,
        adopt: false,
        course: Course::Deploy,
    };
    let plan = world.plan(&ask);
    lawful(world, &ask, &plan);
    let left_to_others =
        plan.waiting.iter().all(|left| matches!(left, Waiting::UsedByOthers(_) | Waiting::Protected(_)));
    assert!(!plan.has_writes() && left_to_others, "{plan:#?}");
    world.run(&plan).unwrap_or_else(|error| panic!("the engine refuses: {error}\n{plan:#?}"));
    assert!(world.plan(&ask).is_empty());
    assert_eq!(foreign.keys().collect::<Vec<_>>(), self::foreign(world, false).keys().collect::<Vec<_>>());
    let left = world.inventory.0.keys().filter(|object| object.kind == ObjectKind::Service && is_there(world, object));
    let may_stay = |object: &ObjectRef| foreign.contains_key(&object.name) || is_protected(world, object);
    assert!(left.into_iter().all(may_stay), "a service is left");
    tally.count("deleted");
}

fn is_there(world: &World, object: &ObjectRef) -> bool {
    match object.kind {
        ObjectKind::Service => world.live.services.contains_key(&object.name),
        ObjectKind::Network => world.live.networks.contains_key(&object.name),
        ObjectKind::Config => world.live.configs.contains_key(&object.name),
        ObjectKind::Secret => world.live.secrets.contains_key(&object.name),
    }
}

#[test]
fn repeated_plan_and_apply_reaches_the_target_and_touches_nothing_else() {
    let config = Config { failure_persistence: None, ..Config::default() };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { 1000 };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config { cases, ..config }, rng);
    let tally = std::cell::RefCell::new(Tally::default());
    let result = runner.run(&case(), |case| {
        try_case(&case, &mut tally.borrow_mut());
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    tally.borrow().check();
}

/// A stack of many services in a Swarm of many more: a plan is made in the blink of an eye.
#[test]
fn a_plan_is_cheap_in_a_crowded_swarm() {
    let mut desired = Desired::empty(stack().name);
    let wish = Wish {
        image: 1,
        mode: 0,
        replicas: Some(2),
        port: None,
        network: Some(0),
        config: Some((0, 0)),
        secret: Some((0, 0)),
        label: Some(1),
        update: true,
        protect: false,
    };
    let version = Version { services: Vec::new(), networks: vec![1, 1], external: None, tier: None, driver: false };
    for index in 0..50 {
        let spec = version.spec(&format!("shop_s{index}"), &wish, &mut desired);
        desired.services.insert(spec.name.clone(), DesiredService { key: format!("s{index}"), spec: Box::new(spec) });
    }
    let mut world = World::with(&desired);
    for index in 0..5000 {
        let spec = ServiceSpec { name: format!("other_{index}"), ..Default::default() };
        let live = LiveService {
            id: format!("other{index}"),
            version: VersionIndex(1),
            spec,
            created_at: None,
            updated_at: None,
            update: None,
            job_iteration: None,
        };
        world.live.services.insert(live.spec.name.clone(), Arc::new(live));
    }
    let ask = Ask {
        desired: &desired,
        prune: Prune::Guarded,
        needed: &BTreeSet::new(),
        deployment: "d2",
        allow_recreate: false,
        adopt: false,
        course: Course::Deploy,
    };
    let started = std::time::Instant::now();
    for _ in 0..20 {
        assert!(world.plan(&ask).is_empty());
    }
    let each = started.elapsed() / 20;
    println!("a plan over 50 services among 5000 took {each:?}");
    assert!(each < std::time::Duration::from_millis(200), "a plan took {each:?}");
}
