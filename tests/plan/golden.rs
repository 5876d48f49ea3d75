//! Plans kept as files: `tests/plans/<case>/`.
//!
//! | file | holds |
//! | --- | --- |
//! | `case.json` | `about`: what the case shows; `prune`; `needed`: `["config site"]`, by the keys of `before` |
//! |  | `adopt`: the stack of `docker stack deploy` is taken over, with `rotate_secrets` if that is said |
//! | `before.json` | what was brought about before; the engine's own additions included |
//! | `live.json` | what somebody changed since: objects by kind and name, merged in; `null` takes one away |
//! | `inventory.json` | what is remembered otherwise than it was: `{"service shop_web": {"id": null}}`; `null` forgets |
//! | `desired.json` | what is worked towards |
//! | `plan.txt` | the plan; `UPDATE_GOLDEN=1 cargo test --test plan` writes it anew |
//!
//! After each case that is not refused the plan is carried out on the model, and the next one must be empty.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use skep::domain::{
    Action, ConfigSpec, Course, Desired, DesiredService, Digest, IMAGE_LABEL, LiveConfig, LiveNetwork, LiveSecret,
    LiveService, Material, NAMESPACE_LABEL, NetworkSpec, ObjectKind, ObjectRef, SecretSpec, ServiceSpec, VersionIndex,
    content_name,
};
use skep::plan::{Plan, Prune, adopted_names};

use super::model::{Ask, World, digester, stack};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    about: String,
    #[serde(default)]
    prune: Option<String>,
    #[serde(default)]
    needed: Vec<String>,
    #[serde(default)]
    adopt: bool,
    #[serde(default)]
    rotate_secrets: bool,
}

/// A version in short: names without the stack, contents in place of digests.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Short {
    networks: Map<String, Value>,
    configs: Map<String, Value>,
    secrets: Map<String, Value>,
    services: std::collections::BTreeMap<String, ShortService>,
    external_networks: BTreeSet<String>,
    external_configs: BTreeSet<String>,
    external_secrets: BTreeSet<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ShortService {
    image: String,
    networks: Vec<String>,
    configs: Vec<String>,
    secrets: Vec<String>,
    /// `8080:80`, or `8080:80/host` for a port of the node alone.
    ports: Vec<String>,
    /// Merged into the spec, in the engine's words.
    spec: Value,
}

fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            into.as_object_mut().unwrap().shift_remove(key);
        } else {
            merge(into.as_object_mut().unwrap().entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

impl Short {
    fn config_name(&self, key: &str) -> String {
        let content = self.configs.get(key).and_then(Value::as_str).map(|content| Digest::of(content.as_bytes()));
        content.map_or(key.to_owned(), |digest| content_name(&stack().name, key, &digest))
    }

    fn secret_name(&self, key: &str) -> String {
        let content = self.secrets.get(key).and_then(Value::as_str);
        let digest = content.map(|content| digester().digest(content.as_bytes()));
        digest.map_or(key.to_owned(), |digest| content_name(&stack().name, key, &digest))
    }

    fn network_name(&self, key: &str) -> String {
        if self.networks.contains_key(key) { format!("shop_{key}") } else { key.to_owned() }
    }

    /// The real name of what `kind key` stands for.
    fn object(&self, text: &str) -> ObjectRef {
        match text.split_once(' ').unwrap() {
            ("config", key) => ObjectRef::new(ObjectKind::Config, self.config_name(key)),
            ("secret", key) => ObjectRef::new(ObjectKind::Secret, self.secret_name(key)),
            ("network", key) => ObjectRef::new(ObjectKind::Network, self.network_name(key)),
            (_, key) => ObjectRef::new(ObjectKind::Service, format!("shop_{key}")),
        }
    }

    fn service(&self, key: &str, short: &ShortService) -> DesiredService {
        let file = |name: &str| json!({"Name": name, "UID": "0", "GID": "0", "Mode": 292});
        let ports = short.ports.iter().map(|port| {
            let (published, rest) = port.split_once(':').unwrap();
            let (target, mode) = rest.split_once('/').unwrap_or((rest, ""));
            let number = |text: &str| text.parse::<u32>().unwrap();
            json!({"TargetPort": number(target), "PublishedPort": number(published), "PublishMode": mode})
        });
        let mut spec = json!({
            "Name": format!("shop_{key}"),
            "Labels": {NAMESPACE_LABEL: "shop", IMAGE_LABEL: short.image},
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": short.image,
                    "Labels": {NAMESPACE_LABEL: "shop"},
                    "Configs": short.configs.iter().map(|used| json!({"File": file(used), "ConfigName": self.config_name(used)})).collect::<Vec<_>>(),
                    "Secrets": short.secrets.iter().map(|used| json!({"File": file(used), "SecretName": self.secret_name(used)})).collect::<Vec<_>>(),
                },
                "Networks": short.networks.iter().map(|used| json!({"Target": self.network_name(used), "Aliases": [key]})).collect::<Vec<_>>(),
            },
            "Mode": {"Replicated": {}},
            "EndpointSpec": {"Ports": ports.collect::<Vec<_>>()},
        });
        if !short.spec.is_null() {
            merge(&mut spec, &short.spec);
        }
        DesiredService { key: key.to_owned(), spec: serde_json::from_value(spec).unwrap() }
    }

    fn desired(&self) -> Desired {
        let mut desired = Desired::empty(stack().name);
        let labels = || [(NAMESPACE_LABEL.to_owned(), "shop".to_owned())].into();
        for (key, patch) in &self.networks {
            let mut spec =
                json!({"Name": self.network_name(key), "Driver": "overlay", "Labels": {NAMESPACE_LABEL: "shop"}});
            merge(&mut spec, patch);
            let spec: NetworkSpec = serde_json::from_value(spec).unwrap();
            desired.networks.insert(spec.name.clone(), spec);
        }
        for (key, content) in &self.configs {
            let (name, data) = (self.config_name(key), content.as_str().unwrap().into());
            let spec = ConfigSpec { name: name.clone(), key: key.clone(), labels: labels(), data, templating: None };
            desired.configs.insert(name, spec);
        }
        for key in self.secrets.keys() {
            let name = self.secret_name(key);
            let (key, labels) = (key.clone(), labels());
            let spec = SecretSpec { name: name.clone(), key, labels, templating: None, driver: None };
            desired.secrets.insert(name, spec);
        }
        for (key, short) in &self.services {
            let service = self.service(key, short);
            desired.services.insert(service.spec.name.clone(), service);
        }
        desired.external_networks.clone_from(&self.external_networks);
        desired.external_configs.clone_from(&self.external_configs);
        desired.external_secrets.clone_from(&self.external_secrets);
        desired
    }
}

/// Merges what somebody else did into a world.
fn interfere(world: &mut World, live: &Value) {
    for (kind, objects) in live.as_object().unwrap() {
        for (name, patch) in objects.as_object().unwrap() {
            match kind.as_str() {
                "services" => put_service(world, name, patch),
                "networks" => put_network(world, name, patch),
                "configs" => put_config(world, name, patch),
                "secrets" => put_secret(world, name, patch),
                other => panic!("unknown kind {other}"),
            }
        }
    }
}

fn id(patch: &Value, known: Option<&str>) -> String {
    patch["id"].as_str().or(known).unwrap_or("stranger").to_owned()
}

fn labels(patch: &Value) -> std::collections::BTreeMap<String, String> {
    serde_json::from_value(patch.get("labels").cloned().unwrap_or(json!({}))).unwrap()
}

fn put_service(world: &mut World, name: &str, patch: &Value) {
    let known = world.live.services.remove(name);
    if patch.is_null() {
        return;
    }
    let base = known.as_ref().map_or(ServiceSpec::default(), |live| live.spec.clone());
    let mut spec = serde_json::to_value(base).unwrap();
    merge(&mut spec, &patch["spec"]);
    spec["Name"] = json!(name);
    let live = LiveService {
        id: id(patch, known.as_ref().map(|live| live.id.as_str())),
        version: VersionIndex(99),
        spec: serde_json::from_value(spec).unwrap(),
        created_at: None,
        updated_at: None,
        update: None,
        job_iteration: None,
    };
    world.live.services.insert(name.to_owned(), Arc::new(live));
}

fn put_network(world: &mut World, name: &str, patch: &Value) {
    let before = world.live.networks.remove(name);
    if patch["allocated"] == json!(false) {
        let live = LiveNetwork::clone(&before.unwrap());
        let live = LiveNetwork { driver: String::new(), options: [].into(), ipam: None, ..live };
        world.live.networks.insert(name.to_owned(), Arc::new(live));
    } else if !patch.is_null() {
        let live = LiveNetwork {
            id: id(patch, None),
            name: name.to_owned(),
            driver: patch["driver"].as_str().unwrap_or("overlay").to_owned(),
            labels: labels(patch),
            options: [("com.docker.network.driver.overlay.vxlanid_list".to_owned(), "4099".to_owned())].into(),
            internal: false,
            attachable: patch["attachable"] == json!(true),
            ingress: false,
            enable_ipv6: false,
            ipam: None,
        };
        world.live.networks.insert(name.to_owned(), Arc::new(live));
    }
}

fn put_config(world: &mut World, name: &str, patch: &Value) {
    world.live.configs.remove(name);
    if !patch.is_null() {
        let data = patch["data"].as_str().unwrap_or_default().into();
        let version = VersionIndex(99);
        let live = LiveConfig { id: id(patch, None), version, name: name.to_owned(), labels: labels(patch), data };
        world.live.configs.insert(name.to_owned(), Arc::new(live));
    }
}

fn put_secret(world: &mut World, name: &str, patch: &Value) {
    world.live.secrets.remove(name);
    if !patch.is_null() {
        let version = VersionIndex(99);
        let live =
            LiveSecret { id: id(patch, None), version, name: name.to_owned(), labels: labels(patch), driver: None };
        world.live.secrets.insert(name.to_owned(), Arc::new(live));
    }
}

fn remember(world: &mut World, inventory: &Value) {
    for (text, patch) in inventory.as_object().unwrap() {
        let object = Short::default().object(text);
        if patch.is_null() {
            world.inventory.0.remove(&object).unwrap_or_else(|| panic!("{object} is not in the inventory"));
        } else {
            let since = Default::default();
            let id = patch["id"].as_str().map(str::to_owned);
            let entry = skep::domain::InventoryEntry { id, digest: Digest::of(b""), since };
            world.inventory.0.insert(object, entry);
        }
    }
}

fn render(about: &str, plan: &Plan) -> String {
    let mut text = format!("# {about}\n");
    for refusal in &plan.refused {
        writeln!(text, "! {refusal}").unwrap();
    }
    for step in &plan.steps {
        let mark = match step.action {
            Action::Create => '+',
            Action::Update => '~',
            Action::Remove => '-',
            Action::Recreate => '?',
            Action::Adopt => '*',
        };
        writeln!(text, "{mark} {} {}  {}", step.object.kind, step.object.name, step.reason).unwrap();
        for change in &step.changes {
            let value =
                |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
            writeln!(text, "    {}: {} → {}", change.path, value(&change.from), value(&change.to)).unwrap();
        }
    }
    for waiting in &plan.waiting {
        writeln!(text, "… {waiting}").unwrap();
    }
    writeln!(text, "= {} unchanged", plan.unchanged).unwrap();
    text
}

fn read(folder: &Path, file: &str) -> Option<Value> {
    let text = std::fs::read_to_string(folder.join(file)).ok()?;
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}/{file}: {error}", folder.display())))
}

fn short(folder: &Path, file: &str) -> Short {
    let value = read(folder, file).unwrap_or(json!({}));
    serde_json::from_value(value).unwrap_or_else(|error| panic!("{}/{file}: {error}", folder.display()))
}

/// The version a case works towards. A case may come to have a `stack.yml` in place of `desired.json`: this is the only
/// place that would have to know.
fn desired(folder: &Path) -> Desired {
    short(folder, "desired.json").desired()
}

fn prune(word: Option<&str>) -> Prune {
    match word {
        None | Some("Later") => Prune::Later,
        Some("Never") => Prune::Never,
        Some("Guarded") => Prune::Guarded,
        Some("Asked") => Prune::Asked,
        Some("Everything") => Prune::Everything,
        Some(other) => panic!("prune {other:?} is unknown"),
    }
}

/// Carries a plan out and looks again: nothing may be left to do.
fn settles(name: &str, world: &mut World, plan: &Plan, ask: &Ask<'_>) {
    world.run(plan).unwrap_or_else(|error| panic!("{name}: the engine refuses the plan: {error}"));
    let again = world.plan(ask);
    assert!(again.is_empty(), "{name}: the plan is not empty once it has been carried out: {again:#?}");
}

#[test]
fn every_case_gives_the_plan_that_was_written_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let mut folders: Vec<_> = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 20, "only {} cases in {}", folders.len(), root.display());
    let mut wrong = Vec::new();
    for folder in &folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let case: Case = serde_json::from_value(read(folder, "case.json").unwrap()).unwrap();
        let before = short(folder, "before.json");
        let mut world = World::with(&before.desired());
        interfere(&mut world, &read(folder, "live.json").unwrap_or(json!({})));
        remember(&mut world, &read(folder, "inventory.json").unwrap_or(json!({})));
        let mut desired = desired(folder);
        if case.adopt {
            let names = adopted_names(&stack(), &desired, &world.live, case.rotate_secrets);
            names.give(&mut desired, &mut Material::default());
        }
        let needed = case.needed.iter().map(|text| before.object(text)).collect();
        let ask = Ask {
            desired: &desired,
            prune: prune(case.prune.as_deref()),
            needed: &needed,
            deployment: "d2",
            allow_recreate: false,
            adopt: case.adopt,
            course: if case.adopt { Course::Adopt } else { Course::Deploy },
        };
        let plan = world.plan(&ask);
        let text = render(&case.about, &plan);
        let file = folder.join("plan.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &text).unwrap();
        } else if std::fs::read_to_string(&file).unwrap_or_default() != text {
            wrong.push(format!("{name} gives\n{text}"));
        }
        if plan.refused.is_empty() {
            settles(&name, &mut world, &plan, &ask);
        }
    }
    assert!(wrong.is_empty(), "{}\n(UPDATE_GOLDEN=1 writes them anew)", wrong.join("\n"));
}
