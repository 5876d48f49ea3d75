//! `deploy`: how many tasks, where, with how much, and how they are replaced.

use std::collections::BTreeMap;

use serde_json::{Map, json};

use crate::domain::{
    Desired, Placement, Replicated, ReplicatedJob, ResourceSet, Resources, RestartPolicy, ServiceMode, StackName,
    UpdateConfig,
};

use super::beyond;
use super::field::{Field, Table};
use super::findings::Findings;
use super::mend;
use super::units;
use super::yaml::{Entry, Node, Position};

/// Swarm takes no less.
const LEAST_MEMORY: i64 = 4 * 1024 * 1024;
/// Swarm takes no less: a thousandth of a CPU.
const LEAST_CPU: i64 = 1_000_000;

/// What `deploy` says.
#[derive(Default)]
pub(super) struct Deploy {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) mode: ServiceMode,
    pub(super) endpoint_mode: String,
    pub(super) resources: Option<Resources>,
    pub(super) restart_policy: Option<RestartPolicy>,
    pub(super) placement: Option<Placement>,
    pub(super) update_config: Option<UpdateConfig>,
    pub(super) rollback_config: Option<UpdateConfig>,
}

impl Deploy {
    /// Reads the section of a service and what stands beside it; with nothing it is a single replica.
    pub(super) fn read(service: &Table<'_>) -> Self {
        let mut deploy = match service.given("deploy").and_then(|field| field.table()) {
            Some(table) => Self::section(&table),
            None => Self {
                mode: ServiceMode { replicated: Some(Replicated::default()), ..ServiceMode::default() },
                ..Self::default()
            },
        };
        beyond::scale(service, &mut deploy.mode);
        beyond::resources(service, &mut deploy.resources);
        // The CLI sends both, also when they are empty. To the engine that is not the same as nothing: a task that was
        // made from the one is replaced for the other.
        deploy.resources.get_or_insert_default();
        deploy.placement.get_or_insert_default().platforms.extend(beyond::platform(service));
        if let Some(replicated) = &mut deploy.mode.replicated
            && !service.field.found.strict()
        {
            replicated.replicas.get_or_insert(1);
        }
        deploy
    }

    fn section(table: &Table<'_>) -> Self {
        let labels = table.given("labels").map(|labels| labels.labels()).unwrap_or_default();
        let mut deploy = Self { labels, ..Self::default() };
        deploy.mode = mode(table);
        if let Some(endpoint) = table.given("endpoint_mode").and_then(|mode| mode.text().map(|text| (mode, text))) {
            let lower = endpoint.1.to_lowercase();
            if lower != "vip" && lower != "dnsrr" && !lower.is_empty() {
                let hint = mend::word(&lower, &["vip", "dnsrr"]);
                endpoint.0.error(format!("`{}` is none of vip, dnsrr", endpoint.1), hint);
            }
            deploy.endpoint_mode = lower;
        }
        deploy.resources = table.given("resources").and_then(|resources| read_resources(&resources));
        deploy.restart_policy = table.given("restart_policy").and_then(|policy| restart_policy(&policy));
        deploy.placement = table.given("placement").and_then(|placement| read_placement(&placement));
        for (key, rollback) in [("update_config", false), ("rollback_config", true)] {
            let Some(field) = table.given(key) else { continue };
            if deploy.mode.is_job() && !rollback {
                field.error("a job has no update config", "remove it: a job's tasks are not replaced");
            }
            let config = update_config(&field, rollback);
            *(if rollback { &mut deploy.rollback_config } else { &mut deploy.update_config }) = config;
        }
        table.finish();
        deploy
    }
}

fn mode(table: &Table<'_>) -> ServiceMode {
    let replicas = table.given("replicas");
    let count = replicas.as_ref().and_then(Field::count);
    let mut mode = ServiceMode::default();
    let word = table.given("mode").map(|mode| mode.word(&["replicated", "global", "replicated-job", "global-job"]));
    match word.as_ref().map(|word| word.as_deref()) {
        None | Some(None | Some("replicated")) => mode.replicated = Some(Replicated { replicas: count }),
        Some(Some("replicated-job")) => {
            mode.replicated_job = Some(ReplicatedJob { max_concurrent: count, total_completions: count });
        }
        Some(Some(global)) => {
            if let Some(replicas) = &replicas {
                replicas.error(format!("replicas do not go with the mode {global}"), "remove one of them");
            }
            *(if global == "global" { &mut mode.global } else { &mut mode.global_job }) = Some(Map::new());
        }
    }
    mode
}

/// Says which services are set to one replica although the files name no number: what was scaled is scaled back.
pub(super) fn warn_of_single_replicas(
    services: &[(&Entry, Field<'_>)],
    stack: &StackName,
    desired: &Desired,
    at: Position,
    found: &Findings,
) {
    let is_replicated = |key: &str| {
        let service = desired.services.get(&format!("{stack}_{key}"));
        service.is_some_and(|service| service.spec.mode.replicated.is_some())
    };
    let is_named = |node: &Node| {
        node.get("deploy").and_then(|deploy| deploy.get("replicas")).is_some_and(|replicas| !replicas.is_null())
    };
    let unnamed = services.iter().filter(|(entry, field)| is_replicated(&entry.key) && !is_named(field.node));
    let unnamed: Vec<String> = unnamed.map(|(entry, _)| format!("`{}`", entry.key)).collect();
    if !unnamed.is_empty() {
        let message = format!(
            "no number of replicas is named for {}: each deployment sets 1, as `docker stack deploy` does, also where a person or an autoscaler has set another; `compat: strict` keeps the number that runs",
            unnamed.join(", ")
        );
        found.warn(at, "services", &message);
    }
}

fn update_config(field: &Field<'_>, rollback: bool) -> Option<UpdateConfig> {
    let table = field.table()?;
    let mut config = UpdateConfig { parallelism: 1, ..UpdateConfig::default() };
    if let Some(parallelism) = table.given("parallelism").and_then(|count| count.count()) {
        config.parallelism = parallelism;
    }
    config.delay = table.given("delay").and_then(|delay| delay.duration()).unwrap_or(0);
    config.monitor = table.given("monitor").and_then(|monitor| monitor.duration()).unwrap_or(0);
    if let Some(action) = table.given("failure_action") {
        config.failure_action = action.word(&["pause", "continue", "rollback"]).unwrap_or_default();
        if rollback && config.failure_action == "rollback" {
            action.warn("a rollback is not rolled back: this counts as `pause`");
        }
    }
    if let Some(ratio) = table.given("max_failure_ratio") {
        config.max_failure_ratio = ratio.number().unwrap_or(0.0);
        if !(0.0..=1.0).contains(&config.max_failure_ratio) {
            ratio.error("is not between 0 and 1", "0.1 is one task in ten");
        }
    }
    config.order =
        table.given("order").and_then(|order| order.word(&["stop-first", "start-first"])).unwrap_or_default();
    table.finish();
    Some(config)
}

fn restart_policy(field: &Field<'_>) -> Option<RestartPolicy> {
    let table = field.table()?;
    let mut policy = RestartPolicy::default();
    let words = ["none", "on-failure", "any"];
    if let Some(condition) = table.given("condition") {
        match condition.node.written() {
            Some(word @ ("always" | "unless-stopped")) => {
                condition.error(format!("`{word}` is none of {}", words.join(", ")), "write `any`");
            }
            _ => policy.condition = condition.word(&words).unwrap_or_default(),
        }
    }
    policy.delay = table.given("delay").and_then(|delay| delay.duration());
    policy.max_attempts = table.given("max_attempts").and_then(|attempts| attempts.count());
    policy.window = table.given("window").and_then(|window| window.duration());
    table.finish();
    Some(policy)
}

/// The service's own `restart`, which counts when there is no `deploy.restart_policy`.
pub(super) fn restart(field: &Field<'_>) -> Option<RestartPolicy> {
    let text = field.text()?;
    let (word, attempts) = match text.split_once(':') {
        Some((word, attempts)) => (word, Some(attempts)),
        None => (text.as_str(), None),
    };
    let policy = |condition: &str, max_attempts| {
        Some(RestartPolicy { condition: condition.to_owned(), max_attempts, ..RestartPolicy::default() })
    };
    match (word, attempts) {
        ("always" | "unless-stopped", None) => policy("any", None),
        ("on-failure", None) => policy("on-failure", None),
        ("on-failure", Some(attempts)) => match attempts.parse() {
            Ok(attempts) => policy("on-failure", Some(attempts)),
            Err(_) => {
                field.error(format!("`{attempts}` is not a number of attempts"), "write it like `on-failure:3`");
                None
            }
        },
        ("no" | "", None) => {
            field.warn("Swarm restarts the task all the same; write `deploy.restart_policy.condition: none`");
            None
        }
        _ => {
            let words = ["no", "always", "on-failure", "unless-stopped"];
            field.error(format!("`{text}` is none of {}", words.join(", ")), mend::word(word, &words));
            None
        }
    }
}

fn read_resources(field: &Field<'_>) -> Option<Resources> {
    let table = field.table()?;
    let limits = table.given("limits").and_then(|set| resource_set(&set, false));
    let reservations = table.given("reservations").and_then(|set| resource_set(&set, true));
    table.finish();
    Some(Resources { limits, reservations, ..Resources::default() })
}

fn resource_set(field: &Field<'_>, reservations: bool) -> Option<ResourceSet> {
    let table = field.table()?;
    let mut set = ResourceSet {
        nano_cpus: table.given("cpus").and_then(|field| cpus(&field)).unwrap_or(0),
        memory_bytes: table.given("memory").and_then(|field| memory(&field)).unwrap_or(0),
        ..ResourceSet::default()
    };
    if reservations {
        for item in table.given("generic_resources").map(|list| list.list()).unwrap_or_default() {
            set.generic_resources.extend(generic_resource(&item));
        }
    } else if let Some(pids) = table.given("pids") {
        set.pids = pids.integer().unwrap_or(0);
    }
    table.finish();
    Some(set)
}

/// A number of CPUs, in billionths.
pub(super) fn cpus(field: &Field<'_>) -> Option<i64> {
    let text = field.text_as_written().filter(|text| !text.is_empty());
    let value = text.and_then(|text| field.check(units::cpus(&text), "write it like `0.5`"))?;
    if value != 0 && value < LEAST_CPU {
        field.error("is less than 0.001 CPUs", "Swarm takes no less");
    }
    Some(value)
}

/// An amount of memory, in bytes.
pub(super) fn memory(field: &Field<'_>) -> Option<i64> {
    let value = field.bytes()?;
    if value != 0 && value < LEAST_MEMORY {
        field.error(format!("{value} bytes are less than 4 MiB"), "Swarm takes no less");
    }
    Some(value)
}

fn generic_resource(field: &Field<'_>) -> Option<serde_json::Value> {
    let table = field.table()?;
    let spec = table.get("discrete_resource_spec");
    table.finish();
    let Some(spec) = spec else {
        field.error("has no `discrete_resource_spec`", "give `kind` and `value`");
        return None;
    };
    let inner = spec.table()?;
    let kind = inner.get("kind").and_then(|kind| kind.filled());
    let value = inner.get("value").and_then(|value| value.integer());
    inner.finish();
    if kind.is_none() || value.is_none() {
        spec.error("needs `kind` and `value`", "write it like `{ kind: gpu, value: 2 }`");
    }
    Some(json!({"DiscreteResourceSpec": {"Kind": kind?, "Value": value?}}))
}

/// What the engine takes as a constraint; seen with 20.10, where the same is an error of the whole service.
fn check_constraint(text: &str) -> Result<(), String> {
    let parts = text.split_once("==").or_else(|| text.split_once("!="));
    let (key, value) = parts.ok_or_else(|| format!("`{text}` has no operator"))?;
    let (key, value) = (key.trim(), value.trim());
    let begins = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if key.len() < 2 || !begins || !key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err(format!("`{key}` of `{text}` is no name of a node's property"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || ":-_.*()?+[]\\^$|/".contains(c);
    if value.is_empty() || !value.chars().all(plain) {
        return Err(format!("`{value}` of `{text}` is no value that a constraint can have"));
    }
    Ok(())
}

fn read_placement(field: &Field<'_>) -> Option<Placement> {
    let table = field.table()?;
    let mut placement = Placement::default();
    for item in table.given("constraints").map(|list| list.list()).unwrap_or_default() {
        let Some(text) = item.text() else { continue };
        if let Err(what) = check_constraint(&text) {
            item.error(what, "write it like `node.role == manager`");
        }
        placement.constraints.push(text);
    }
    for item in table.given("preferences").map(|list| list.list()).unwrap_or_default() {
        let Some(preference) = item.table() else { continue };
        match preference.get("spread").and_then(|spread| spread.filled()) {
            Some(spread) => placement.preferences.push(json!({"Spread": {"SpreadDescriptor": spread}})),
            None => item.error("has no `spread`", "write it like `spread: node.labels.zone`"),
        }
        preference.finish();
    }
    placement.max_replicas = table.given("max_replicas_per_node").and_then(|count| count.count()).unwrap_or(0);
    table.finish();
    Some(placement)
}
