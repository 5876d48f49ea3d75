//! A small model of the engine: it carries steps out, refuses what Swarm refuses, and gives specs back as Swarm does.
//! What it fills in is what was measured by sending specs and reading them back raw (API 1.41).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;
use skep::domain::{
    ConfigSpec, Course, DeploymentId, Desired, Digest, Digester, Effect, Inventory, InventoryEntry, LiveConfig,
    LiveNetwork, LiveSecret, LiveService, NetworkSpec, ObjectKind, ObjectRef, Replicated, ServiceSpec, Snapshot,
    StackKey, StackName, Step, VersionIndex,
};
use skep::plan::{Pace, Plan, PlanInput, Prune, plan};

/// The installation's id in all tests.
pub(crate) const INSTANCE: &str = "skep-1";

/// The key of the stack that is planned.
pub(crate) fn stack() -> StackKey {
    StackKey { environment: Default::default(), name: StackName::parse("shop").unwrap() }
}

pub(crate) fn digester() -> Digester {
    Digester::new([7; 32])
}

/// A Swarm, and what is remembered of the stack's objects on it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct World {
    pub(crate) live: Snapshot,
    pub(crate) inventory: Inventory,
    last_id: u64,
}

/// What a plan is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Ask<'a> {
    pub(crate) desired: &'a Desired,
    pub(crate) prune: Prune,
    pub(crate) needed: &'a BTreeSet<ObjectRef>,
    pub(crate) deployment: &'a str,
    pub(crate) allow_recreate: bool,
    pub(crate) adopt: bool,
    pub(crate) course: Course,
}

impl World {
    pub(crate) fn plan(&self, ask: &Ask<'_>) -> Plan {
        plan(&PlanInput {
            stack: &stack(),
            instance: INSTANCE,
            desired: ask.desired,
            revision: None,
            deployment: &DeploymentId(ask.deployment.to_owned()),
            live: &self.live,
            inventory: &self.inventory,
            needed: ask.needed,
            prune: ask.prune,
            pace: Pace::Declared,
            allow_recreate: ask.allow_recreate,
            adopt: ask.adopt,
            course: ask.course,
            previous: None,
            digester: &digester(),
        })
    }

    /// A world in which this was brought about from nothing.
    pub(crate) fn with(desired: &Desired) -> Self {
        let mut world = Self::default();
        let ask = Ask {
            desired,
            prune: Prune::Later,
            needed: &BTreeSet::new(),
            deployment: "d1",
            allow_recreate: false,
            adopt: false,
            course: Course::Deploy,
        };
        world
            .run(&world.plan(&ask))
            .unwrap_or_else(|error| panic!("the state before cannot be brought about: {error}"));
        world
    }

    /// Carries a plan out and remembers what is owned, as the controller does.
    pub(crate) fn run(&mut self, plan: &Plan) -> Result<(), String> {
        assert!(plan.refused.is_empty(), "a refused plan is not carried out: {:?}", plan.refused);
        for step in &plan.steps {
            self.step(step).map_err(|error| format!("{}: {error}", step.object))?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let id = self.apply(&step.effect)?;
        if matches!(step.effect, Effect::Remove { .. }) {
            self.inventory.0.remove(&step.object);
        } else {
            let entry = InventoryEntry { id: Some(id), digest: Digest::of(b""), since: Timestamp::UNIX_EPOCH };
            self.inventory.0.insert(step.object.clone(), entry);
        }
        Ok(())
    }

    fn next_id(&mut self) -> String {
        self.last_id += 1;
        format!("id{}", self.last_id)
    }

    /// Carries one effect out; gives the object's id.
    pub(crate) fn apply(&mut self, effect: &Effect) -> Result<String, String> {
        match effect {
            Effect::CreateNetwork(spec) => self.create_network(spec),
            Effect::CreateConfig(spec) => self.create_config(spec),
            Effect::CreateSecret(spec) => {
                free(self.live.secrets.contains_key(&spec.name))?;
                let (id, version) = (self.next_id(), VersionIndex(self.last_id));
                let live = LiveSecret {
                    id: id.clone(),
                    version,
                    name: spec.name.clone(),
                    labels: spec.labels.clone(),
                    driver: spec.driver.clone(),
                };
                self.live.secrets.insert(spec.name.clone(), Arc::new(live));
                Ok(id)
            }
            Effect::CreateService(spec) => {
                free(self.live.services.contains_key(&spec.name))?;
                let id = self.next_id();
                self.put_service(id, spec)
            }
            Effect::UpdateService { id, version, spec } => {
                let live = self.live.services.get(&spec.name).ok_or("not found")?;
                if live.id != *id || live.version != *version {
                    return Err("update out of sequence".to_owned());
                }
                if live.spec.mode.kind() != spec.mode.kind() {
                    return Err("service mode change is not allowed".to_owned());
                }
                self.put_service(id.clone(), spec)
            }
            Effect::Relabel { object, id, version, labels } => self.relabel(object, id, *version, labels),
            Effect::Own { id, .. } => Ok(id.clone()),
            Effect::Remove { object, id } => self.remove(object, id).map(|()| id.clone()),
        }
    }

    fn relabel(
        &mut self,
        object: &ObjectRef,
        id: &str,
        version: VersionIndex,
        labels: &BTreeMap<String, String>,
    ) -> Result<String, String> {
        let next = VersionIndex(self.last_id + 1);
        if let Some(config) =
            self.live.configs.get_mut(&object.name).filter(|it| object.kind == ObjectKind::Config && it.id == id)
        {
            (config.version == version).then_some(()).ok_or("update out of sequence")?;
            *config = Arc::new(LiveConfig { version: next, labels: labels.clone(), ..LiveConfig::clone(config) });
        } else if let Some(secret) = self.live.secrets.get_mut(&object.name).filter(|it| it.id == id) {
            (secret.version == version).then_some(()).ok_or("update out of sequence")?;
            *secret = Arc::new(LiveSecret { version: next, labels: labels.clone(), ..LiveSecret::clone(secret) });
        } else {
            return Err("not found".to_owned());
        }
        self.last_id += 1;
        Ok(id.to_owned())
    }

    fn create_network(&mut self, spec: &NetworkSpec) -> Result<String, String> {
        free(self.live.networks.contains_key(&spec.name))?;
        let id = self.next_id();
        let mut options = spec.options.clone();
        options.insert("com.docker.network.driver.overlay.vxlanid_list".into(), "4097".into());
        let mut ipam = spec.ipam.clone().unwrap_or_else(|| json!({"Config": [{"Subnet": "10.0.1.0/24"}]}));
        ipam["Driver"] = json!("default");
        for config in ipam["Config"].as_array_mut().into_iter().flatten() {
            config["Gateway"] = json!("10.0.1.1");
        }
        let live = LiveNetwork {
            id: id.clone(),
            name: spec.name.clone(),
            driver: spec.driver.clone(),
            labels: spec.labels.clone(),
            options,
            internal: spec.internal,
            attachable: spec.attachable,
            ingress: false,
            enable_ipv6: spec.enable_ipv6,
            ipam: Some(ipam),
        };
        self.live.networks.insert(spec.name.clone(), Arc::new(live));
        Ok(id)
    }

    fn create_config(&mut self, spec: &ConfigSpec) -> Result<String, String> {
        free(self.live.configs.contains_key(&spec.name))?;
        let (id, version) = (self.next_id(), VersionIndex(self.last_id));
        let live = LiveConfig {
            id: id.clone(),
            version,
            name: spec.name.clone(),
            labels: spec.labels.clone(),
            data: spec.data.clone(),
        };
        self.live.configs.insert(spec.name.clone(), Arc::new(live));
        Ok(id)
    }

    /// Puts a service there, checked and filled in as Swarm does it.
    pub(crate) fn put_service(&mut self, id: String, spec: &ServiceSpec) -> Result<String, String> {
        self.check_references(spec)?;
        self.check_ports(spec)?;
        self.last_id += 1;
        let live = LiveService {
            id: id.clone(),
            version: VersionIndex(self.last_id),
            spec: read_back(spec),
            created_at: None,
            updated_at: None,
            update: None,
            job_iteration: None,
        };
        self.live.services.insert(spec.name.clone(), Arc::new(live));
        Ok(id)
    }

    fn check_references(&self, spec: &ServiceSpec) -> Result<(), String> {
        let task = &spec.task_template;
        for network in &task.networks {
            let there = matches!(network.target.as_str(), "host" | "bridge" | "none")
                || self.live.networks.contains_key(&network.target);
            there.then_some(()).ok_or(format!("network {} not found", network.target))?;
        }
        for used in &task.container_spec.configs {
            let there = self.live.configs.contains_key(&used.config_name);
            there.then_some(()).ok_or(format!("config {} not found", used.config_name))?;
        }
        for used in &task.container_spec.secrets {
            let there = self.live.secrets.contains_key(&used.secret_name);
            there.then_some(()).ok_or(format!("secret {} not found", used.secret_name))?;
        }
        Ok(())
    }

    /// Swarm refuses a port that another service has, unless both publish it on the node alone.
    fn check_ports(&self, spec: &ServiceSpec) -> Result<(), String> {
        let ports = |spec: &ServiceSpec| -> Vec<(u32, String, bool)> {
            let ports = spec.endpoint_spec.iter().flat_map(|endpoint| &endpoint.ports);
            ports
                .filter(|port| port.published_port != 0)
                .map(|port| {
                    let protocol = if port.protocol.is_empty() { "tcp" } else { &port.protocol };
                    (port.published_port, protocol.to_owned(), port.publish_mode == "host")
                })
                .collect()
        };
        let own = ports(spec);
        for other in self.live.services.values().filter(|other| other.spec.name != spec.name) {
            for (number, protocol, on_node) in ports(&other.spec) {
                if own.iter().any(|(n, p, host)| *n == number && *p == protocol && !(*host && on_node)) {
                    return Err(format!("port '{number}' is already in use by service '{}'", other.spec.name));
                }
            }
        }
        Ok(())
    }

    fn remove(&mut self, object: &ObjectRef, id: &str) -> Result<(), String> {
        let name = object.name.as_str();
        let in_use = self.live.services.values().any(|live| {
            let task = &live.spec.task_template;
            match object.kind {
                ObjectKind::Service => false,
                ObjectKind::Network => task.networks.iter().any(|used| used.target == name),
                ObjectKind::Config => task.container_spec.configs.iter().any(|used| used.config_name == name),
                ObjectKind::Secret => task.container_spec.secrets.iter().any(|used| used.secret_name == name),
            }
        });
        if in_use {
            return Err("it is in use by a service".to_owned());
        }
        let known = match object.kind {
            ObjectKind::Service => self.live.services.get(name).map(|live| live.id.clone()),
            ObjectKind::Network => self.live.networks.get(name).map(|live| live.id.clone()),
            ObjectKind::Config => self.live.configs.get(name).map(|live| live.id.clone()),
            ObjectKind::Secret => self.live.secrets.get(name).map(|live| live.id.clone()),
        };
        if known.as_deref() != Some(id) {
            return Err("not found".to_owned());
        }
        match object.kind {
            ObjectKind::Service => drop(self.live.services.remove(name)),
            ObjectKind::Network => drop(self.live.networks.remove(name)),
            ObjectKind::Config => drop(self.live.configs.remove(name)),
            ObjectKind::Secret => drop(self.live.secrets.remove(name)),
        }
        Ok(())
    }
}

fn free(taken: bool) -> Result<(), String> {
    if taken { Err("name conflicts with an existing object".to_owned()) } else { Ok(()) }
}

fn fill(text: &mut String, with: &str) {
    if text.is_empty() {
        with.clone_into(text);
    }
}

/// A spec as Swarm gives it back after it was sent.
pub(crate) fn read_back(sent: &ServiceSpec) -> ServiceSpec {
    let mut spec = sent.clone();
    let task = &mut spec.task_template;
    task.runtime.get_or_insert_with(|| "container".to_owned());
    let container = &mut task.container_spec;
    container.isolation.get_or_insert_with(|| "default".to_owned());
    if let Some(privileges) = container.privileges.as_mut().and_then(|value| value.as_object_mut()) {
        privileges.retain(|_, value| *value != json!(false));
    }
    container.configs.sort_by(|a, b| a.config_name.cmp(&b.config_name));
    container.secrets.sort_by(|a, b| a.secret_name.cmp(&b.secret_name));
    if let Some(policy) = &mut task.restart_policy {
        fill(&mut policy.condition, "any");
        policy.max_attempts.get_or_insert(0);
    }
    for config in [&mut spec.update_config, &mut spec.rollback_config].into_iter().flatten() {
        fill(&mut config.failure_action, "pause");
        fill(&mut config.order, "stop-first");
    }
    if spec.mode.kind() == "Replicated" {
        spec.mode.replicated.get_or_insert(Replicated::default()).replicas.get_or_insert(1);
    }
    if let Some(job) = &mut spec.mode.replicated_job {
        let concurrent = *job.max_concurrent.get_or_insert(1);
        job.total_completions.get_or_insert(concurrent);
    }
    let endpoint = spec.endpoint_spec.get_or_insert_default();
    fill(&mut endpoint.mode, "vip");
    for port in &mut endpoint.ports {
        fill(&mut port.protocol, "tcp");
        fill(&mut port.publish_mode, "ingress");
    }
    spec
}
