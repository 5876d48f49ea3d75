//! What the managers' API does: makes, changes and removes objects, or says why not, in the engine's own words.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::SimNode;
use super::check;
use super::world::{Secret, Service, Tick, World};
use crate::domain::{
    Applied, ConfigSpec, Effect, LiveConfig, LiveNetwork, LiveSecret, LiveService, Material, NAMESPACE_LABEL,
    NetworkSpec, Node, NodeAvailability, NodeState, ObjectKind, ObjectRef, STACK_LABEL, SecretSpec, ServiceSpec,
    TUNNELS_OPTION, TaskState, UpdateState, UpdateStatus, VersionIndex,
};
use crate::ports::{SwarmError, WatchedKind};

type Answer = Result<Applied, SwarmError>;

/// Networks every node has without the Swarm knowing of them.
const NODE_NETWORKS: [&str; 3] = ["host", "bridge", "none"];

impl World {
    /// Carries an effect out.
    pub(super) fn carry_out(&mut self, effect: &Effect, material: &Material) -> Answer {
        match effect {
            Effect::CreateNetwork(spec) => self.create_network(spec),
            Effect::CreateConfig(spec) => self.create_config(spec),
            Effect::CreateSecret(spec) => self.create_secret(spec, material),
            Effect::CreateService(spec) => self.create_service(spec),
            Effect::UpdateService { id, version, spec } => self.update_service(id, *version, spec),
            Effect::Relabel { object, id, version, labels } => self.relabel(object, id, *version, labels),
            Effect::Own { id, .. } => Ok(applied(id.clone())),
            Effect::Remove { object, id } => self.remove(object, id),
        }
    }

    pub(super) fn create_network(&mut self, spec: &NetworkSpec) -> Answer {
        let object = ObjectRef::new(ObjectKind::Network, &spec.name);
        let holder = self.networks.values().find(|network| network.name == spec.name);
        if holder.is_some() || NODE_NETWORKS.contains(&spec.name.as_str()) {
            // The adapter looks whose it is.
            let ours = [STACK_LABEL, NAMESPACE_LABEL].iter().any(|label| {
                let stack = spec.labels.get(*label);
                stack.is_some() && holder.is_some_and(|holder| holder.labels.get(*label) == stack)
            });
            let whose = if ours { "it carries this stack's label" } else { "it carries no label of this stack" };
            let reason = format!("network with name {} already exists; {whose}", spec.name);
            return Err(SwarmError::Exists { object: object.to_string(), reason });
        }
        let network = LiveNetwork {
            id: self.fresh_id(),
            name: spec.name.clone(),
            driver: if spec.driver.is_empty() { "overlay".to_owned() } else { spec.driver.clone() },
            labels: spec.labels.clone(),
            options: network_options(spec, 4_097 + self.networks.len()),
            internal: spec.internal,
            attachable: spec.attachable,
            ingress: false,
            enable_ipv6: spec.enable_ipv6,
            ipam: Some(ipam(spec, self.networks.len())),
        };
        self.bump();
        self.note(&format!("network {} created", spec.name));
        self.tell(WatchedKind::Network, &network.id, &spec.name, false);
        let id = network.id.clone();
        self.networks.insert(id.clone(), Arc::new(network));
        Ok(applied(id))
    }

    /// The network every Swarm has for its published ports.
    pub(super) fn add_ingress(&mut self) {
        let spec = NetworkSpec { name: "ingress".to_owned(), driver: "overlay".to_owned(), ..NetworkSpec::default() };
        let made = self.create_network(&spec);
        if let Some(network) = made.ok().and_then(|made| self.networks.get_mut(&made.id)) {
            Arc::make_mut(network).ingress = true;
        }
    }

    pub(super) fn create_config(&mut self, spec: &ConfigSpec) -> Answer {
        let object = ObjectRef::new(ObjectKind::Config, &spec.name);
        free(&object, self.configs.values().any(|config| config.name == spec.name))?;
        let config = LiveConfig {
            id: self.fresh_id(),
            version: self.bump(),
            name: spec.name.clone(),
            labels: spec.labels.clone(),
            data: spec.data.clone(),
        };
        self.note(&format!("config {} created", spec.name));
        self.tell(WatchedKind::Config, &config.id, &spec.name, false);
        let id = config.id.clone();
        self.configs.insert(id.clone(), Arc::new(config));
        Ok(applied(id))
    }

    pub(super) fn create_secret(&mut self, spec: &SecretSpec, material: &Material) -> Answer {
        let object = ObjectRef::new(ObjectKind::Secret, &spec.name);
        let data = material.0.get(&spec.name).cloned();
        if data.is_none() && spec.driver.is_none() {
            let reason = "its content is not at hand".to_owned();
            return Err(SwarmError::Refused { object: object.to_string(), reason });
        }
        free(&object, self.secrets.values().any(|secret| secret.live.name == spec.name))?;
        let live = LiveSecret {
            id: self.fresh_id(),
            version: self.bump(),
            name: spec.name.clone(),
            labels: spec.labels.clone(),
            driver: spec.driver.clone(),
        };
        self.note(&format!("secret {} created", spec.name));
        self.tell(WatchedKind::Secret, &live.id, &spec.name, false);
        let id = live.id.clone();
        self.secrets.insert(id.clone(), Secret { live: Arc::new(live), data });
        Ok(applied(id))
    }

    fn relabel(&mut self, object: &ObjectRef, id: &str, at: VersionIndex, labels: &BTreeMap<String, String>) -> Answer {
        let version = self.bump();
        let current = match object.kind {
            ObjectKind::Config => self.configs.get(id).map(|config| config.version),
            ObjectKind::Secret => self.secrets.get(id).map(|secret| secret.live.version),
            ObjectKind::Network | ObjectKind::Service => None,
        };
        match current {
            None => return Err(no_such(object, id)),
            Some(current) if current != at => return Err(SwarmError::Conflict { object: object.to_string() }),
            Some(_) => {}
        }
        if let Some(config) = self.configs.get_mut(id) {
            *config = Arc::new(LiveConfig { version, labels: labels.clone(), ..LiveConfig::clone(config) });
            self.tell(WatchedKind::Config, id, &object.name, false);
        } else if let Some(secret) = self.secrets.get_mut(id) {
            let live = LiveSecret { version, labels: labels.clone(), ..LiveSecret::clone(&secret.live) };
            secret.live = Arc::new(live);
            self.tell(WatchedKind::Secret, id, &object.name, false);
        }
        Ok(applied(id.to_owned()))
    }

    pub(super) fn create_service(&mut self, spec: &ServiceSpec) -> Answer {
        let object = ObjectRef::new(ObjectKind::Service, &spec.name);
        let spec = check::normalised(spec);
        check::valid(&object, &spec)?;
        self.refers_to_what_exists(&spec)?;
        free(&object, self.services.values().any(|service| service.live.spec.name == spec.name))?;
        self.ports_are_free(&object, &spec, "")?;
        let (id, version, date) = (self.fresh_id(), self.bump(), self.date());
        let is_job = spec.mode.is_job();
        let name = spec.name.clone();
        let live = LiveService {
            id: id.clone(),
            version,
            spec,
            created_at: Some(date),
            updated_at: Some(date),
            update: None,
            job_iteration: is_job.then_some(0),
        };
        let service = Service {
            live: Arc::new(live),
            spec_version: version.0,
            previous: None,
            update: None,
            restarts: BTreeMap::new(),
            made: 0,
        };
        self.services.insert(id.clone(), service);
        self.note(&format!("service {name} created"));
        self.tell(WatchedKind::Service, &id, &name, false);
        self.after(1, Tick::Allocate { service: id.clone() });
        self.after(2, Tick::Reconcile { service: id.clone() });
        Ok(applied(id))
    }

    /// Accepts a new spec. Every accepted one, changed or not, becomes the spec, makes the old one the previous spec,
    /// takes the update status away, and runs a job again.
    pub(super) fn update_service(&mut self, id: &str, version: VersionIndex, spec: &ServiceSpec) -> Answer {
        let object = ObjectRef::new(ObjectKind::Service, &spec.name);
        let Some(service) = self.services.get(id) else { return Err(no_such(&object, id)) };
        let old = service.live.clone();
        let spec = check::normalised(spec);
        check::valid(&object, &spec)?;
        check::may_become(&object, &old.spec, &spec)?;
        self.refers_to_what_exists(&spec)?;
        self.ports_are_free(&object, &spec, id)?;
        if old.version != version {
            return Err(SwarmError::Conflict { object: object.to_string() });
        }
        self.accept(id, spec, None);
        Ok(applied(id.to_owned()))
    }

    /// Writes a spec a manager has accepted.
    pub(super) fn accept(&mut self, id: &str, spec: ServiceSpec, status: Option<UpdateStatus>) {
        let Some(service) = self.services.get_mut(id) else { return };
        service.previous = Some((service.live.spec.clone(), service.spec_version));
        service.spec_version = service.live.version.0;
        let name = spec.name.clone();
        self.write_service(id, |live| {
            live.job_iteration = spec.mode.is_job().then(|| live.job_iteration.map_or(0, |iteration| iteration + 1));
            live.spec = spec;
            live.update = status;
        });
        self.note(&format!("service {name} spec changed"));
        let delay = self.about(1, 5);
        self.after(delay, Tick::Reconcile { service: id.to_owned() });
    }

    /// Rolls a service back as `docker service rollback` does: the two specs change places.
    pub(super) fn manual_rollback(&mut self, id: &str) -> Answer {
        let Some(service) = self.services.get(id) else {
            return Err(no_such(&ObjectRef::new(ObjectKind::Service, id), id));
        };
        let object = ObjectRef::new(ObjectKind::Service, &service.live.spec.name);
        let Some((previous, _)) = service.previous.clone() else {
            let reason = format!("service {} does not have a previous spec", object.name);
            return Err(SwarmError::Refused { object: object.to_string(), reason });
        };
        let status = UpdateStatus {
            state: UpdateState::RollbackStarted,
            started_at: Some(self.date()),
            message: "manually requested rollback".to_owned(),
        };
        self.accept(id, previous, Some(status));
        Ok(applied(id.to_owned()))
    }

    pub(super) fn remove(&mut self, object: &ObjectRef, id: &str) -> Answer {
        let kind = match object.kind {
            ObjectKind::Network => {
                let name = self.networks.get(id).map(|network| network.name.clone());
                if let Some(name) = name {
                    self.network_is_unused(object, &name)?;
                }
                self.networks.remove(id).map(|_| WatchedKind::Network)
            }
            ObjectKind::Config => {
                let name = self.configs.get(id).map(|config| config.name.clone()).unwrap_or_default();
                let uses = |spec: &ServiceSpec| {
                    spec.task_template.container_spec.configs.iter().any(|config| config.config_name == name)
                };
                self.is_unused(object, "config", &name, uses)?;
                self.configs.remove(id).map(|_| WatchedKind::Config)
            }
            ObjectKind::Secret => {
                let name = self.secrets.get(id).map(|secret| secret.live.name.clone()).unwrap_or_default();
                let uses = |spec: &ServiceSpec| {
                    spec.task_template.container_spec.secrets.iter().any(|secret| secret.secret_name == name)
                };
                self.is_unused(object, "secret", &name, uses)?;
                self.secrets.remove(id).map(|_| WatchedKind::Secret)
            }
            ObjectKind::Service => self.services.remove(id).map(|_| WatchedKind::Service),
        };
        // What is gone already is as it should be.
        let Some(kind) = kind else { return Ok(applied(String::new())) };
        self.bump();
        self.note(&format!("{} {} removed", object.kind, object.name));
        self.tell(kind, id, &object.name, true);
        for task in self.in_order(|task| task.live.service_id == id) {
            self.set_desired(&task, TaskState::Remove);
        }
        Ok(applied(String::new()))
    }

    fn is_unused(
        &self,
        object: &ObjectRef,
        what: &str,
        name: &str,
        uses: impl Fn(&ServiceSpec) -> bool,
    ) -> Result<(), SwarmError> {
        let mut users: Vec<&str> = self
            .services
            .values()
            .map(|service| &service.live.spec)
            .filter(|spec| uses(spec))
            .map(|spec| spec.name.as_str())
            .collect();
        users.sort_unstable();
        if users.is_empty() {
            return Ok(());
        }
        let services = if users.len() == 1 { "service" } else { "services" };
        let reason = format!(
            "rpc error: code = InvalidArgument desc = {what} '{name}' is in use by the following {services}: {}",
            users.join(", ")
        );
        Err(SwarmError::InUse { object: object.to_string(), reason })
    }

    fn network_is_unused(&self, object: &ObjectRef, name: &str) -> Result<(), SwarmError> {
        let on_it =
            |networks: &[crate::domain::NetworkAttachment]| networks.iter().any(|network| network.target == name);
        let service = self.services.values().find(|service| on_it(&service.live.spec.task_template.networks));
        let runs = |task: &crate::domain::Task| task.desired <= TaskState::Running && task.state <= TaskState::Running;
        let task = self.tasks.values().find(|task| runs(&task.live) && on_it(&task.live.spec.networks));
        let user = match (service, task) {
            (Some(service), _) => format!("service {}", service.live.id),
            (None, Some(task)) => format!("task {}", task.live.id),
            (None, None) => return Ok(()),
        };
        let reason = format!("rpc error: code = FailedPrecondition desc = network {name} is in use by {user}");
        Err(SwarmError::InUse { object: object.to_string(), reason })
    }

    fn refers_to_what_exists(&self, spec: &ServiceSpec) -> Result<(), SwarmError> {
        let template = &spec.task_template;
        let missing = |kind, name: &str| Err(no_such(&ObjectRef::new(kind, name), name));
        for network in &template.networks {
            let found = self.networks.values().any(|known| known.name == network.target || known.id == network.target);
            if !found && !NODE_NETWORKS.contains(&network.target.as_str()) {
                return missing(ObjectKind::Network, &network.target);
            }
        }
        for config in &template.container_spec.configs {
            if !self.configs.values().any(|known| known.name == config.config_name) {
                return missing(ObjectKind::Config, &config.config_name);
            }
        }
        for secret in &template.container_spec.secrets {
            if !self.secrets.values().any(|known| known.live.name == secret.secret_name) {
                return missing(ObjectKind::Secret, &secret.secret_name);
            }
        }
        Ok(())
    }

    fn ports_are_free(&self, object: &ObjectRef, spec: &ServiceSpec, own: &str) -> Result<(), SwarmError> {
        let wanted = check::ingress_ports(spec);
        for service in self.services.values().filter(|service| service.live.id != own) {
            let taken = check::ingress_ports(&service.live.spec);
            if let Some((port, _)) = wanted.iter().find(|port| taken.contains(port)) {
                let (name, id) = (&service.live.spec.name, &service.live.id);
                let reason = format!(
                    "rpc error: code = InvalidArgument desc = port '{port}' is already in use by service '{name}' ({id}) as an ingress port"
                );
                return Err(SwarmError::Refused { object: object.to_string(), reason });
            }
        }
        Ok(())
    }

    /// Adds a node to the Swarm; the first one leads.
    pub(super) fn add_node(&mut self, node: &SimNode) -> String {
        let id = self.fresh_id();
        let live = Node {
            id: id.clone(),
            hostname: node.hostname.clone(),
            addr: String::new(),
            state: NodeState::Ready,
            availability: NodeAvailability::Active,
            manager: node.manager,
            leader: node.manager && !self.nodes.values().any(|node| node.leader),
            engine: "20.10.24".to_owned(),
            platform: node.platform.clone(),
            labels: node.labels.clone(),
            engine_labels: BTreeMap::new(),
            nano_cpus: node.nano_cpus,
            memory_bytes: node.memory_bytes,
            generic: BTreeMap::new(),
        };
        self.nodes.insert(id.clone(), Arc::new(live));
        self.node_changed(&id);
        id
    }

    /// Changes a node, and lets everything follow from it.
    pub(super) fn change_node(&mut self, hostname: &str, change: impl FnOnce(&mut Node)) {
        let Some((id, node)) = self.nodes.iter_mut().find(|(_, node)| node.hostname == hostname) else { return };
        let id = id.clone();
        let before = node.state;
        change(Arc::make_mut(node));
        let node = node.clone();
        self.note(&format!("node {hostname} {:?} {:?}", node.state, node.availability));
        if node.state == NodeState::Down || node.availability == NodeAvailability::Drain {
            self.evacuate(&id);
        }
        if before != NodeState::Ready && node.state == NodeState::Ready {
            self.agent_returns(&id);
        }
        self.node_changed(&id);
    }

    fn node_changed(&mut self, id: &str) {
        let Some(hostname) = self.nodes.get(id).map(|node| node.hostname.clone()) else { return };
        self.bump();
        self.tell(WatchedKind::Node, id, &hostname, false);
        self.kick_scheduler();
        let all: Vec<String> = self
            .services
            .iter()
            .filter(|(_, service)| service.live.spec.mode.global.is_some())
            .map(|(id, _)| id.clone())
            .collect();
        for service in all {
            self.after(5, Tick::Reconcile { service });
        }
    }
}

fn applied(id: String) -> Applied {
    Applied { id, warnings: Vec::new() }
}

fn free(object: &ObjectRef, taken: bool) -> Result<(), SwarmError> {
    if !taken {
        return Ok(());
    }
    let reason = format!(
        "rpc error: code = AlreadyExists desc = name conflicts with an existing object: {} {} already exists",
        object.kind, object.name
    );
    Err(SwarmError::Exists { object: object.to_string(), reason })
}

fn no_such(object: &ObjectRef, id: &str) -> SwarmError {
    SwarmError::NotFound { object: object.to_string(), reason: format!("{} {id} not found", object.kind) }
}

/// The driver writes into the options which tunnel it took.
fn network_options(spec: &NetworkSpec, tunnel: usize) -> BTreeMap<String, String> {
    let mut options = spec.options.clone();
    options.insert(TUNNELS_OPTION.to_owned(), tunnel.to_string());
    options
}

/// What the allocator makes of the addresses a network asked for.
fn ipam(spec: &NetworkSpec, count: usize) -> serde_json::Value {
    let mut ipam = spec.ipam.clone().unwrap_or_else(|| serde_json::json!({}));
    if ipam.get("Driver").is_none() {
        ipam["Driver"] = "default".into();
    }
    if ipam.get("Config").and_then(|config| config.as_array()).is_none_or(Vec::is_empty) {
        let net = format!("10.0.{count}");
        ipam["Config"] = serde_json::json!([{ "Subnet": format!("{net}.0/24"), "Gateway": format!("{net}.1") }]);
    }
    ipam
}
