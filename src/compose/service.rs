//! One service of the files to one service of the Swarm.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    ContainerSpec, DesiredService, EndpointSpec, IMAGE_LABEL, NAMESPACE_LABEL, NetworkAttachment, PROTECT_LABEL,
    ServiceSpec, TaskSpec,
};

use super::beyond;
use super::binds::BindRoot;
use super::container;
use super::deploy::{self, Deploy};
use super::field::{Field, Table};
use super::files::Files;
use super::image;
use super::input::{Needs, RenderInput};
use super::mounts::{self, Volume};
use super::networks::Networks;
use super::own::{Hook, Own};
use super::ports::{self, Published};
use super::relations::{self, Dependences, Known};

/// The longest name of a service, the stack's included.
const LONGEST_NAME: usize = 63;

/// The sections that services refer to, and what is gathered on the way.
pub(super) struct Surroundings<'a> {
    pub(super) input: &'a RenderInput<'a>,
    pub(super) services: Vec<&'a str>,
    /// Those whose profile is not asked for.
    pub(super) sleeping: BTreeSet<String>,
    pub(super) networks: Networks,
    pub(super) volumes: BTreeMap<String, Volume>,
    pub(super) used_volumes: BTreeSet<String>,
    pub(super) bind_root: BindRoot,
    pub(super) configs: Files,
    pub(super) secrets: Files,
    pub(super) needs: Needs,
    /// Ports that every node publishes, and the service that does.
    pub(super) ingress: BTreeMap<(u32, String), String>,
    /// How many more ports the stack may have.
    pub(super) ports_left: usize,
    /// What each service depends on, by key.
    pub(super) order: BTreeMap<String, Dependences>,
}

impl Surroundings<'_> {
    /// The service `key`, and whether it is a job before or after a deployment. `None` when it cannot be made out at all;
    /// what is wrong has been reported.
    pub(super) fn service(&mut self, key: &str, field: &Field<'_>) -> Option<(DesiredService, Option<Hook>)> {
        let table = field.table()?;
        let stack = self.input.stack;
        let name = format!("{stack}_{key}");
        check_name(field, &name);
        let after = relations::report(&table, &Known { services: &self.services, sleeping: &self.sleeping });
        if !after.is_empty() {
            self.order.insert(key.to_owned(), after);
        }

        let mut deploy = Deploy::read(&table);
        let own = Own::read(&table);
        let mut labels = deploy.labels.clone();
        labels.insert(NAMESPACE_LABEL.to_owned(), stack.to_string());
        let mut container_spec = self.container(&table, stack.as_str());
        if let Some(image) = image_of(&table, self.input, key) {
            labels.insert(IMAGE_LABEL.to_owned(), image.clone());
            let hint = "write it like `registry.example.org/team/name:1.2`";
            container_spec.image = field_of(&table, "image").check(image::familiar(&image), hint).unwrap_or_default();
        }
        let mut restart = table.given("restart").and_then(|restart| match deploy.restart_policy {
            Some(_) => None,
            // That is what such a job does anyway.
            None if own.hook.is_some() && restart.node.written() == Some("no") => None,
            None => deploy::restart(&restart),
        });
        restart = deploy.restart_policy.take().or(restart);
        if let Some(hook) = own.hook {
            hook.make(&table, &mut deploy, &mut restart);
        }
        if own.protect {
            labels.insert(PROTECT_LABEL.to_owned(), "true".to_owned());
        }
        let networks = match beyond::node_network(&table) {
            Some(target) => vec![NetworkAttachment { target, ..NetworkAttachment::default() }],
            None => self.networks.attach(table.get("networks").as_ref(), key, stack),
        };
        let log_driver = table.given("logging").and_then(|logging| container::logging(&logging));
        let endpoint_spec = self.endpoint(&table, key, &deploy.endpoint_mode);
        table.finish();

        let task_template = TaskSpec {
            container_spec,
            resources: deploy.resources,
            restart_policy: restart,
            placement: deploy.placement,
            networks,
            log_driver,
            ..TaskSpec::default()
        };
        let spec = ServiceSpec {
            name,
            labels,
            task_template,
            mode: deploy.mode,
            update_config: deploy.update_config,
            rollback_config: deploy.rollback_config,
            // Also when it is empty: the CLI sends it, and the engine keeps what it was sent.
            endpoint_spec: Some(endpoint_spec),
            ..ServiceSpec::default()
        };
        Some((DesiredService { key: key.to_owned(), spec: Box::new(spec) }, own.hook))
    }

    fn container(&mut self, table: &Table<'_>, stack: &str) -> ContainerSpec {
        let text = |key| table.get(key).and_then(|field| field.text()).unwrap_or_default();
        let flag = |key| table.get(key).and_then(|field| field.boolean()).unwrap_or(false);
        let mut labels = table.get("labels").map(|labels| labels.labels()).unwrap_or_default();
        labels.insert(NAMESPACE_LABEL.to_owned(), stack.to_owned());
        let (capability_add, capability_drop) = container::capabilities(table.get("cap_add"), table.get("cap_drop"));
        let words = |key| table.get(key).map(|field| container::words(&field)).unwrap_or_default();
        let mut mounts = table
            .given("volumes")
            .map(|field| mounts::mounts(&field, &self.volumes, &self.bind_root, &mut self.used_volumes))
            .unwrap_or_default();
        beyond::memory_mounts(table, &mut mounts);
        let mut configs = table.given("configs").map(|list| self.configs.config_references(&list)).unwrap_or_default();
        let mut privileges = beyond::privileges(table);
        if let Some(field) = table.given("credential_spec") {
            self.configs.credential_spec(&field, &mut privileges, &mut configs);
        }
        ContainerSpec {
            labels,
            command: words("entrypoint"),
            args: words("command"),
            hostname: text("hostname"),
            env: container::environment(table, self.input, &mut self.needs),
            dir: text("working_dir"),
            user: text("user"),
            tty: flag("tty"),
            open_stdin: flag("stdin_open"),
            read_only: flag("read_only"),
            mounts,
            groups: beyond::groups(table),
            privileges: Some(privileges),
            oom_score_adj: table.given("oom_score_adj").and_then(|score| container::oom_score(&score)).unwrap_or(0),
            stop_signal: text("stop_signal"),
            stop_grace_period: table.get("stop_grace_period").and_then(|period| period.duration()),
            healthcheck: table.get("healthcheck").and_then(|check| container::healthcheck(&check)),
            hosts: table.get("extra_hosts").map(|hosts| container::hosts(&hosts)).unwrap_or_default(),
            dns_config: container::dns(table),
            secrets: table.get("secrets").map(|list| self.secrets.secret_references(&list)).unwrap_or_default(),
            configs,
            isolation: table.get("isolation").and_then(|isolation| isolation.unless_empty()),
            init: table.get("init").and_then(|init| init.boolean()),
            sysctls: table.get("sysctls").map(|sysctls| sysctls.labels()).unwrap_or_default(),
            capability_add,
            capability_drop,
            ulimits: table.get("ulimits").map(|limits| container::ulimits(&limits)).unwrap_or_default(),
            ..ContainerSpec::default()
        }
    }

    /// How the service is reached. A port in `ingress` mode belongs to one service of the whole Swarm.
    fn endpoint(&mut self, table: &Table<'_>, key: &str, mode: &str) -> EndpointSpec {
        let published = table.get("ports").map(|ports| ports::ports(&ports, &mut self.ports_left)).unwrap_or_default();
        let found = table.field.found;
        for Published { port, at, path } in &published {
            if port.publish_mode == "host" {
                continue;
            }
            if mode == "dnsrr" {
                let hint = "give the port `mode: host`, or remove `endpoint_mode`";
                found.error(*at, path, "a port in ingress mode does not go with `endpoint_mode: dnsrr`", hint);
            }
            if port.published_port == 0 {
                continue;
            }
            let protocol = if port.protocol.is_empty() { "tcp" } else { port.protocol.as_str() };
            let other = self.ingress.insert((port.published_port, protocol.to_owned()), key.to_owned());
            if let Some(other) = other.filter(|other| other != key) {
                let message = format!("port {}/{protocol} is published by `{other}` already", port.published_port);
                found.error(*at, path, message, "each port of the Swarm belongs to one service");
            }
        }
        let ports = published.into_iter().map(|published| published.port).collect();
        EndpointSpec { mode: mode.to_owned(), ports, ..EndpointSpec::default() }
    }
}

/// A field for reports, at the key or else at the whole map.
fn field_of<'a>(table: &Table<'a>, key: &'static str) -> Field<'a> {
    table.get(key).unwrap_or_else(|| table.field.clone())
}

/// The image as written, or as overridden.
fn image_of(table: &Table<'_>, input: &RenderInput<'_>, key: &str) -> Option<String> {
    let field = table.get("image");
    let image = match &field {
        Some(field) => Some(field.filled()?),
        None => None,
    };
    if let Some(version) = input.images.get(key) {
        return match image::overridden(image.as_deref(), version) {
            Ok(image) => Some(image),
            Err(why) => {
                let hint = "give a tag, a digest, or a whole image";
                table.field.found.error(Default::default(), &format!("images.{key}"), why, hint);
                None
            }
        };
    }
    if image.is_none() {
        table.field.error("has no image", "Swarm runs images only: name one in `image`");
    }
    image
}

fn check_name(field: &Field<'_>, name: &str) {
    let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inside = name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
    if !inside || !edge(name.bytes().last()) {
        let hint = "letters, digits, `-` and `_`; a letter or digit last";
        field.error(format!("`{name}` is no name for a service"), hint);
    } else if name.len() > LONGEST_NAME {
        let message =
            format!("the service's full name `{name}` has {} characters; {LONGEST_NAME} is the most", name.len());
        field.error(message, "shorten it, or the stack's name");
    }
}
