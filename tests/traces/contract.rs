//! What Skep asks of an engine, and what it is promised: one suite for the real engine and for the simulated one. What the
//! simulator did not keep here, no simulated schedule could be trusted with.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use serde_json::json;
use skep::domain::*;
use skep::ports::{BoxStream, Listing, Swarm, SwarmError, SwarmEvent, TaskFilter, WatchedKind};
use skep::swarm::sim::SimSwarm;

use crate::engine::{PATIENCE, Scratch, connect};

/// Each of them on both.
macro_rules! on_both {
    ($($name:ident,)*) => {
        mod on_the_engine {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Scratch::new("contract").await).await;
            })*
        }

        mod on_the_simulator {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                super::$name(super::Scratch::of(std::sync::Arc::new(super::SimSwarm::default()))).await;
            })*
        }
    };
}

on_both! {
    a_service_with_every_field_reads_back_as_it_was_sent,
    of_a_service_with_few_fields_the_engine_fills_in_what_is_known,
    networks_of_the_node_keep_their_names,
    a_service_is_made_changed_and_removed,
    networks_configs_and_secrets_are_made_read_and_removed,
    what_is_used_cannot_be_removed_and_what_is_missing_cannot_be_used,
    an_id_that_is_out_of_date_is_looked_up_anew,
    a_bad_spec_is_refused_with_the_engines_words,
    events_tell_of_what_is_made_changed_and_removed,
    tasks_tell_how_it_went,
    the_tasks_of_jobs_have_the_slots_they_should,
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn network(name: &str) -> NetworkSpec {
    NetworkSpec { name: name.to_owned(), driver: "overlay".to_owned(), attachable: true, ..NetworkSpec::default() }
}

fn config(name: &str) -> ConfigSpec {
    let labels = map([("a", "b")]);
    ConfigSpec { name: name.to_owned(), key: "c".to_owned(), labels, data: b"content\0\xff".to_vec(), templating: None }
}

fn secret(name: &str) -> (Effect, Material) {
    let spec = SecretSpec {
        name: name.to_owned(),
        key: "s".to_owned(),
        labels: map([("a", "b")]),
        templating: None,
        driver: None,
    };
    let material = Material([(name.to_owned(), SecretBytes::new(b"hunter2".to_vec()))].into());
    (Effect::CreateSecret(spec), material)
}

fn removal(kind: ObjectKind, name: &str, id: &str) -> Effect {
    Effect::Remove { object: ObjectRef::new(kind, name), id: id.to_owned() }
}

/// Sets every field that API 1.41 has.
fn every_field(scratch: &Scratch) -> ServiceSpec {
    let mut spec = scratch.service("all", "sleep 3600");
    spec.labels = map([("com.example.label", "x")]);
    spec.mode = ServiceMode { replicated: Some(Replicated { replicas: Some(0) }), ..ServiceMode::default() };
    let update = UpdateConfig {
        parallelism: 2,
        delay: 1_000_000_000,
        failure_action: "rollback".to_owned(),
        monitor: 7_000_000_000,
        max_failure_ratio: 0.25,
        order: "start-first".to_owned(),
        ..UpdateConfig::default()
    };
    spec.rollback_config = Some(UpdateConfig { failure_action: "continue".to_owned(), ..update.clone() });
    spec.update_config = Some(update);
    spec.endpoint_spec = Some(EndpointSpec {
        mode: "vip".to_owned(),
        ports: vec![PortConfig {
            name: "web".to_owned(),
            protocol: "udp".to_owned(),
            target_port: 8080,
            published_port: 28099,
            publish_mode: "host".to_owned(),
        }],
        ..EndpointSpec::default()
    });
    let mut task = task_fields(scratch);
    task.container_spec = container_fields(scratch, spec.task_template.container_spec);
    spec.task_template = task;
    spec
}

fn task_fields(scratch: &Scratch) -> TaskSpec {
    TaskSpec {
        resources: Some(Resources {
            limits: Some(ResourceSet {
                nano_cpus: 500_000_000,
                memory_bytes: 64 << 20,
                pids: 50,
                ..ResourceSet::default()
            }),
            reservations: Some(ResourceSet {
                nano_cpus: 100_000_000,
                memory_bytes: 16 << 20,
                generic_resources: vec![json!({"DiscreteResourceSpec": {"Kind": "SSD", "Value": 3}})],
                ..ResourceSet::default()
            }),
            ..Resources::default()
        }),
        restart_policy: Some(RestartPolicy {
            condition: "on-failure".to_owned(),
            delay: Some(2_000_000_000),
            max_attempts: Some(4),
            window: Some(90_000_000_000),
            ..RestartPolicy::default()
        }),
        placement: Some(Placement {
            constraints: words(["node.role == manager"]),
            preferences: vec![json!({"Spread": {"SpreadDescriptor": "node.labels.zone"}})],
            max_replicas: 3,
            platforms: vec![Platform { architecture: "amd64".to_owned(), os: "linux".to_owned() }],
            ..Placement::default()
        }),
        networks: vec![NetworkAttachment {
            target: scratch.name("net"),
            aliases: words(["w2", "w1"]),
            driver_opts: map([("opt", "1")]),
        }],
        log_driver: Some(LogDriver { name: "json-file".to_owned(), options: map([("max-file", "3")]) }),
        force_update: 7,
        runtime: Some("container".to_owned()),
        ..TaskSpec::default()
    }
}

fn container_fields(scratch: &Scratch, base: ContainerSpec) -> ContainerSpec {
    let file =
        |name: &str| Some(FileTarget { name: name.to_owned(), uid: "103".into(), gid: "104".into(), mode: 0o440 });
    let mount = |kind: &str, target: &str| Mount { kind: kind.into(), target: target.into(), ..Mount::default() };
    ContainerSpec {
        labels: map([("inner", "1")]),
        args: words(["one", "two words"]),
        hostname: "{{.Node.Hostname}}".to_owned(),
        env: words(["B=2", "A=1", "EMPTY="]),
        dir: "/srv".to_owned(),
        user: "1000:1000".to_owned(),
        groups: words(["audio", "99"]),
        privileges: Some(json!({
            "CredentialSpec": null,
            "SELinuxContext": {"Disable": true, "User": "u", "Role": "r", "Type": "t", "Level": "l"}
        })),
        tty: true,
        open_stdin: true,
        read_only: true,
        mounts: vec![
            Mount {
                source: scratch.name("data"),
                read_only: true,
                volume_options: Some(json!({
                    "NoCopy": true, "Labels": {"l": "1"}, "DriverConfig": {"Name": "local", "Options": {"o": "1"}}
                })),
                ..mount("volume", "/data")
            },
            Mount {
                source: "/srv".to_owned(),
                consistency: "cached".to_owned(),
                bind_options: Some(json!({"Propagation": "rslave"})),
                ..mount("bind", "/hb")
            },
            Mount { tmpfs_options: Some(json!({"SizeBytes": 1_000_000, "Mode": 0o1777})), ..mount("tmpfs", "/tmp") },
        ],
        stop_signal: "SIGINT".to_owned(),
        stop_grace_period: Some(3_000_000_000),
        healthcheck: Some(Healthcheck {
            test: words(["CMD-SHELL", "true"]),
            interval: 5_000_000_000,
            timeout: 2_000_000_000,
            start_period: 9_000_000_000,
            retries: 4,
            ..Healthcheck::default()
        }),
        hosts: words(["10.0.0.1 one", "::1 six"]),
        dns_config: Some(DnsConfig {
            nameservers: words(["8.8.8.8"]),
            search: words(["example.org"]),
            options: words(["ndots:2"]),
        }),
        secrets: vec![SecretReference {
            file: file("renamed"),
            secret_name: scratch.name("secret"),
            ..SecretReference::default()
        }],
        configs: vec![ConfigReference {
            file: file("/etc/c"),
            config_name: scratch.name("config"),
            ..ConfigReference::default()
        }],
        isolation: Some("default".to_owned()),
        init: Some(true),
        sysctls: map([("net.core.somaxconn", "1024")]),
        capability_add: words(["CAP_NET_ADMIN"]),
        capability_drop: words(["ALL"]),
        ulimits: vec![Ulimit { name: "nofile".to_owned(), soft: 20_000, hard: 40_000 }],
        ..base
    }
}

/// Newer engines say of privileges also what is not asked for. The plan takes that for nothing.
fn without_false(mut spec: ServiceSpec) -> ServiceSpec {
    if let Some(serde_json::Value::Object(privileges)) = &mut spec.task_template.container_spec.privileges {
        privileges.retain(|_, value| *value != false);
    }
    spec
}

/// The differences between what is sent and what is read back, all of them: what engine 20.10 fills in.
fn as_read_back(mut sent: ServiceSpec) -> ServiceSpec {
    let task = &mut sent.task_template;
    task.runtime.get_or_insert_with(|| "container".to_owned());
    task.container_spec.isolation.get_or_insert_with(|| "default".to_owned());
    for mount in &mut task.container_spec.mounts {
        mount.consistency.clear();
    }
    if let Some(endpoint) = &mut sent.endpoint_spec {
        fill(&mut endpoint.mode, "vip");
        for port in &mut endpoint.ports {
            fill(&mut port.protocol, "tcp");
            fill(&mut port.publish_mode, "ingress");
        }
    }
    if let Some(replicated) = &mut sent.mode.replicated {
        replicated.replicas.get_or_insert(1);
    }
    for config in [&mut sent.update_config, &mut sent.rollback_config].into_iter().flatten() {
        fill(&mut config.failure_action, "pause");
        fill(&mut config.order, "stop-first");
    }
    sent
}

fn fill(field: &mut String, default: &str) {
    if field.is_empty() {
        default.clone_into(field);
    }
}

/// Waits for an event.
async fn next(events: &mut BoxStream<'static, Result<SwarmEvent, SwarmError>>, wanted: impl Fn(&SwarmEvent) -> bool) {
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            let event = events.next().await.expect("the stream goes on").expect("the engine is there");
            if wanted(&event) {
                return;
            }
        }
    });
    found.await.expect("the event comes");
}

impl Scratch {
    /// A piece of another Swarm, which nobody has to tidy.
    fn of(swarm: Arc<dyn Swarm>) -> Self {
        Self { swarm, prefix: "skt".to_owned(), real: false }
    }

    /// The same piece by a connection of its own, which knows nothing of what was done by this one.
    fn again(&self) -> Self {
        let swarm = if self.real { connect() } else { Arc::clone(&self.swarm) };
        Self { swarm, prefix: self.prefix.clone(), real: self.real }
    }

    /// A service that runs `script`; the simulator, which runs nothing, is told what comes of that.
    fn service_that(&self, what: &str, script: &str, simulated: &str) -> ServiceSpec {
        let mut spec = self.service(what, script);
        spec.task_template.container_spec.env = vec![format!("SIM={simulated}")];
        spec
    }

    async fn make_secret(&self, name: &str) -> String {
        let (effect, material) = secret(name);
        self.swarm.apply(&effect, &material).await.expect("the secret is made").id
    }

    async fn refusal(&self, effect: Effect) -> SwarmError {
        self.swarm.apply(&effect, &Material::default()).await.expect_err("the engine says no")
    }
}

async fn a_service_with_every_field_reads_back_as_it_was_sent(scratch: Scratch) {
    scratch.apply(Effect::CreateNetwork(network(&scratch.name("net")))).await;
    scratch.apply(Effect::CreateConfig(config(&scratch.name("config")))).await;
    scratch.make_secret(&scratch.name("secret")).await;
    let sent = every_field(&scratch);
    let id = scratch.apply(Effect::CreateService(sent.clone())).await;
    // The one field of them that engines drop.
    let sent = as_read_back(sent);

    assert_eq!(without_false(scratch.live(&id).await.spec.clone()), sent);
    let Listing::Services(services) = scratch.swarm.list(WatchedKind::Service).await.unwrap() else { panic!() };
    let listed = services.iter().find(|service| service.id == id).expect("it is listed");
    assert_eq!(without_false(listed.spec.clone()), sent);
    assert!(listed.created_at.is_some() && listed.update.is_none() && listed.job_iteration.is_none());

    // A connection that has not made any of it sees the same names.
    match scratch.again().swarm.inspect(WatchedKind::Service, &id).await.unwrap() {
        Some(Listing::Services(services)) => assert_eq!(services[0].spec, sent),
        other => panic!("{other:?}"),
    }
}

async fn of_a_service_with_few_fields_the_engine_fills_in_what_is_known(scratch: Scratch) {
    let mut sent = scratch.service("few", "sleep 3600");
    sent.mode = ServiceMode { replicated: Some(Replicated { replicas: None }), ..ServiceMode::default() };
    sent.update_config = Some(UpdateConfig::default());
    sent.endpoint_spec = Some(EndpointSpec {
        ports: vec![PortConfig { target_port: 80, ..PortConfig::default() }],
        ..EndpointSpec::default()
    });
    let id = scratch.apply(Effect::CreateService(sent.clone())).await;
    assert_eq!(scratch.live(&id).await.spec, as_read_back(sent));
}

async fn networks_of_the_node_keep_their_names(scratch: Scratch) {
    for name in ["host", "bridge"] {
        let mut sent = scratch.service(name, "sleep 3600");
        sent.mode.replicated = Some(Replicated { replicas: Some(0) });
        sent.task_template.networks = vec![NetworkAttachment { target: name.to_owned(), ..Default::default() }];
        let id = scratch.apply(Effect::CreateService(sent.clone())).await;
        let sent = as_read_back(sent);
        assert_eq!(scratch.live(&id).await.spec, sent, "{name}");
        assert_eq!(scratch.update(&id, |_| ()).await.spec, sent, "{name}");
    }
}

async fn a_service_is_made_changed_and_removed(scratch: Scratch) {
    let sent = scratch.service("web", "sleep 3600");
    let id = scratch.apply(Effect::CreateService(sent.clone())).await;
    let first = scratch.live(&id).await;

    let mut changed = first.spec.clone();
    changed.labels = map([("x", "y")]);
    let second = scratch.update(&id, |spec| spec.labels = map([("x", "y")])).await;
    assert_eq!(second.spec, changed);
    assert!(second.version > first.version && second.updated_at > first.updated_at);
    let late = Effect::UpdateService { id: id.clone(), version: first.version, spec: changed };
    assert!(matches!(scratch.refusal(late).await, SwarmError::Conflict { .. }));

    let again = scratch.refusal(Effect::CreateService(sent.clone())).await;
    assert!(matches!(&again, SwarmError::Exists { object, .. } if object.contains(&sent.name)), "{again}");

    let remove = removal(ObjectKind::Service, &sent.name, &id);
    scratch.apply(remove.clone()).await;
    assert_eq!(scratch.swarm.inspect(WatchedKind::Service, &id).await, Ok(None));
    scratch.apply(remove).await;
    let late = Effect::UpdateService { id, version: second.version, spec: sent };
    assert!(matches!(scratch.refusal(late).await, SwarmError::NotFound { .. }));
}

async fn networks_configs_and_secrets_are_made_read_and_removed(scratch: Scratch) {
    let names = ["net", "config", "secret"].map(|what| scratch.name(what));
    let spec = NetworkSpec {
        labels: map([(NAMESPACE_LABEL, "shop")]),
        options: map([("encrypted", "")]),
        ipam: Some(json!({"Driver": "default", "Config": [{"Subnet": "10.213.77.0/24"}]})),
        internal: true,
        ..network(&names[0])
    };
    let net = scratch.apply(Effect::CreateNetwork(spec.clone())).await;
    let conf = scratch.apply(Effect::CreateConfig(config(&names[1]))).await;
    let sec = scratch.make_secret(&names[2]).await;

    let Some(Listing::Networks(found)) = scratch.swarm.inspect(WatchedKind::Network, &net).await.unwrap() else {
        panic!()
    };
    assert_eq!((&found[0].name, &found[0].driver, &found[0].labels), (&names[0], &spec.driver, &spec.labels));
    assert!(
        found[0].internal && found[0].attachable && !found[0].ingress && found[0].options.contains_key("encrypted")
    );
    assert_eq!(found[0].ipam.as_ref().unwrap()["Config"][0]["Subnet"], "10.213.77.0/24");
    let Some(Listing::Configs(found)) = scratch.swarm.inspect(WatchedKind::Config, &conf).await.unwrap() else {
        panic!()
    };
    assert_eq!((&found[0].name, &found[0].data, &found[0].labels), (&names[1], &config("").data, &map([("a", "b")])));
    let Some(Listing::Secrets(found)) = scratch.swarm.inspect(WatchedKind::Secret, &sec).await.unwrap() else {
        panic!()
    };
    assert_eq!((&found[0].name, &found[0].labels), (&names[2], &map([("a", "b")])));

    let taken = scratch.refusal(Effect::CreateNetwork(spec)).await;
    assert!(matches!(&taken, SwarmError::Exists { reason, .. } if reason.contains("carries this stack's")), "{taken}");
    let foreign = scratch.refusal(Effect::CreateNetwork(network(&names[0]))).await;
    assert!(matches!(&foreign, SwarmError::Exists { reason, .. } if reason.contains("no label of")), "{foreign}");
    let taken = scratch.refusal(Effect::CreateConfig(config(&names[1]))).await;
    assert!(matches!(taken, SwarmError::Exists { .. }), "{taken}");
    let (effect, material) = secret(&names[2]);
    let taken = scratch.swarm.apply(&effect, &material).await.unwrap_err();
    assert!(matches!(taken, SwarmError::Exists { .. }), "{taken}");
    let empty = scratch.refusal(effect).await;
    assert!(matches!(&empty, SwarmError::Refused { reason, .. } if reason.contains("content")), "{empty}");

    for (kind, watched, name, id) in [
        (ObjectKind::Network, WatchedKind::Network, &names[0], &net),
        (ObjectKind::Config, WatchedKind::Config, &names[1], &conf),
        (ObjectKind::Secret, WatchedKind::Secret, &names[2], &sec),
    ] {
        scratch.apply(removal(kind, name, id)).await;
        assert_eq!(scratch.swarm.inspect(watched, id).await, Ok(None), "{kind}");
        scratch.apply(removal(kind, name, id)).await;
    }
}

async fn what_is_used_cannot_be_removed_and_what_is_missing_cannot_be_used(scratch: Scratch) {
    let names = ["net", "config", "secret"].map(|what| scratch.name(what));
    let net = scratch.apply(Effect::CreateNetwork(network(&names[0]))).await;
    let conf = scratch.apply(Effect::CreateConfig(config(&names[1]))).await;
    let sec = scratch.make_secret(&names[2]).await;
    let mut user = scratch.service("user", "sleep 3600");
    user.mode.replicated = Some(Replicated { replicas: Some(0) });
    let task = &mut user.task_template;
    task.networks = vec![NetworkAttachment { target: names[0].clone(), ..Default::default() }];
    let file = Some(FileTarget { name: "x".into(), uid: "0".into(), gid: "0".into(), mode: 0o444 });
    let refer = |name: &str| ConfigReference { config_name: name.to_owned(), file: file.clone(), ..Default::default() };
    task.container_spec.configs = vec![refer(&names[1])];
    task.container_spec.secrets =
        vec![SecretReference { secret_name: names[2].clone(), file: file.clone(), ..Default::default() }];
    scratch.apply(Effect::CreateService(user.clone())).await;

    for (kind, name, id) in [
        (ObjectKind::Network, &names[0], &net),
        (ObjectKind::Config, &names[1], &conf),
        (ObjectKind::Secret, &names[2], &sec),
    ] {
        let error = scratch.refusal(removal(kind, name, id)).await;
        assert!(matches!(error, SwarmError::InUse { .. }), "{kind}: {error}");
    }

    user.name = scratch.name("other");
    user.task_template.container_spec.configs = vec![refer(&scratch.name("nowhere"))];
    let error = scratch.refusal(Effect::CreateService(user.clone())).await;
    assert!(matches!(&error, SwarmError::NotFound { object, .. } if object.contains("nowhere")), "{error}");
    user.task_template.container_spec.configs.clear();
    user.task_template.networks[0].target = scratch.name("nowhere");
    let error = scratch.refusal(Effect::CreateService(user)).await;
    assert!(matches!(error, SwarmError::NotFound { .. }), "{error}");
}

async fn an_id_that_is_out_of_date_is_looked_up_anew(scratch: Scratch) {
    let names = ["secret", "net"].map(|what| scratch.name(what));
    let secret_id = scratch.make_secret(&names[0]).await;
    let net_id = scratch.apply(Effect::CreateNetwork(network(&names[1]))).await;
    let other = scratch.again();
    other.apply(removal(ObjectKind::Secret, &names[0], &secret_id)).await;
    other.apply(removal(ObjectKind::Network, &names[1], &net_id)).await;
    other.make_secret(&names[0]).await;
    other.apply(Effect::CreateNetwork(network(&names[1]))).await;

    let mut user = scratch.service("user", "sleep 3600");
    user.mode.replicated = Some(Replicated { replicas: Some(0) });
    user.task_template.networks = vec![NetworkAttachment { target: names[1].clone(), ..Default::default() }];
    let file = Some(FileTarget { name: "x".into(), uid: "0".into(), gid: "0".into(), mode: 0o444 });
    user.task_template.container_spec.secrets =
        vec![SecretReference { secret_name: names[0].clone(), file, ..Default::default() }];
    let id = scratch.apply(Effect::CreateService(user.clone())).await;
    assert_eq!(scratch.live(&id).await.spec, as_read_back(user));
}

async fn a_bad_spec_is_refused_with_the_engines_words(scratch: Scratch) {
    let mut memory = scratch.service("bad", "true");
    let little = ResourceSet { memory_bytes: 1 << 20, ..ResourceSet::default() };
    memory.task_template.resources = Some(Resources { limits: Some(little), ..Resources::default() });
    let mut constraint = scratch.service("bad", "true");
    constraint.task_template.placement =
        Some(Placement { constraints: words(["node.role is manager"]), ..Placement::default() });
    let mut action = scratch.service("bad", "true");
    action.update_config = Some(UpdateConfig { failure_action: "pray".to_owned(), ..UpdateConfig::default() });
    let mut nameless = scratch.service("bad", "true");
    nameless.name.clear();
    for (spec, words) in
        [(memory, "at least 4MiB"), (constraint, "constraint expected"), (action, "pray"), (nameless, "name")]
    {
        let error = scratch.refusal(Effect::CreateService(spec)).await;
        assert!(matches!(&error, SwarmError::Refused { reason, .. } if reason.contains(words)), "{error}");
    }
}

async fn events_tell_of_what_is_made_changed_and_removed(scratch: Scratch) {
    let mut events = scratch.swarm.events().await.expect("events");
    let conf = scratch.apply(Effect::CreateConfig(config(&scratch.name("config")))).await;
    let sec = scratch.make_secret(&scratch.name("secret")).await;
    let net = scratch.apply(Effect::CreateNetwork(network(&scratch.name("net")))).await;
    let mut spec = scratch.service("web", "sleep 3600");
    spec.mode.replicated = Some(Replicated { replicas: Some(0) });
    let service = scratch.apply(Effect::CreateService(spec.clone())).await;

    let kinds = [
        (WatchedKind::Config, ObjectKind::Config, &conf, scratch.name("config")),
        (WatchedKind::Secret, ObjectKind::Secret, &sec, scratch.name("secret")),
        (WatchedKind::Network, ObjectKind::Network, &net, scratch.name("net")),
        (WatchedKind::Service, ObjectKind::Service, &service, spec.name),
    ];
    let mut missing: Vec<_> =
        kinds.iter().map(|(kind, _, id, name)| (*kind, (*id).clone(), Some(name.clone()))).collect();
    while !missing.is_empty() {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.expect("in time").expect("on").expect("there");
        missing.retain(|(kind, id, name)| (*kind, id, name) != (event.kind, &event.id, &event.name) || event.removed);
    }

    scratch.update(&service, |spec| spec.labels = map([("x", "y")])).await;
    next(&mut events, |event| event.id == service && !event.removed).await;
    for (watched, kind, id, name) in kinds {
        scratch.apply(removal(kind, &name, id)).await;
        next(&mut events, |event| event.kind == watched && &event.id == id && event.removed).await;
    }
}

async fn tasks_tell_how_it_went(scratch: Scratch) {
    let name = scratch.name("net");
    scratch.apply(Effect::CreateNetwork(network(&name))).await;
    let mut spec = scratch.service_that("fails", "sleep 0.1; exit 3", "exit:3:100ms");
    spec.task_template.restart_policy = Some(RestartPolicy { condition: "none".to_owned(), ..Default::default() });
    spec.task_template.networks = vec![NetworkAttachment { target: name, ..Default::default() }];
    let id = scratch.apply(Effect::CreateService(spec.clone())).await;
    let failed = scratch.tasks(&id, |tasks| tasks.iter().any(|task| task.state == TaskState::Failed)).await;
    let task = &failed[0];
    assert_eq!((task.slot, task.exit_code, task.service_id.as_str()), (Some(1), Some(3), id.as_str()));
    assert!(task.error.contains("non-zero exit (3)") && !task.node_id.is_empty() && task.state_since.is_some());
    assert_eq!(task.spec.networks, spec.task_template.networks);
    assert_eq!(task.spec.container_spec.command, spec.task_template.container_spec.command);

    // Tasks outlive their service; a filter by it still finds them, or nothing, and is no error.
    scratch.apply(removal(ObjectKind::Service, &spec.name, &id)).await;
    scratch.tasks(&id, <[_]>::is_empty).await;
    assert_eq!(scratch.swarm.tasks(&TaskFilter::Services(Vec::new())).await, Ok(Vec::new()));
}

async fn the_tasks_of_jobs_have_the_slots_they_should(scratch: Scratch) {
    let mut replicated = scratch.service_that("job", "true", "exit:0");
    let two = ReplicatedJob { max_concurrent: Some(2), total_completions: Some(2) };
    replicated.mode = ServiceMode { replicated_job: Some(two), ..ServiceMode::default() };
    let mut global = scratch.service_that("gjob", "true", "exit:0");
    global.mode = ServiceMode { global_job: Some(serde_json::Map::new()), ..ServiceMode::default() };
    let replicated_id = scratch.apply(Effect::CreateService(replicated.clone())).await;
    let global_id = scratch.apply(Effect::CreateService(global)).await;

    let done = |tasks: &[Arc<Task>]| !tasks.is_empty() && tasks.iter().all(|task| task.state == TaskState::Complete);
    let tasks = scratch.tasks(&replicated_id, |tasks| tasks.len() == 2 && done(tasks)).await;
    let mut slots: Vec<_> = tasks.iter().map(|task| (task.slot, task.exit_code, task.job_iteration)).collect();
    slots.sort_unstable();
    assert_eq!(slots, [(Some(0), Some(0), Some(0)), (Some(1), Some(0), Some(0))]);
    let tasks = scratch.tasks(&global_id, done).await;
    assert_eq!(tasks[0].slot, None);

    let live = scratch.live(&replicated_id).await;
    assert_eq!((live.job_iteration, live.spec.mode.kind()), (Some(0), "ReplicatedJob"));
    assert_eq!(scratch.update(&replicated_id, |_| ()).await.job_iteration, Some(1));
}
