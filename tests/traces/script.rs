//! Operations on a Swarm as data, and what is seen of them: the same for the engine and for the simulator.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use skep::domain::*;
use skep::ports::{Listing, Swarm, SwarmError, TaskFilter, WatchedKind};

/// How often tasks and services are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A wait of at least so long goes on until nothing new was seen for [`REST`], but no longer than [`PATIENCE`].
const LONG: Duration = Duration::from_secs(3);
const REST: Duration = Duration::from_secs(9);
const PATIENCE: Duration = Duration::from_secs(60);

/// One operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Op {
    Create(String, Form),
    Update(String, Form),
    /// An update with the version that the service had when it was made.
    Outdated(String, Form),
    Remove(String),
    /// So many milliseconds pass.
    Wait(u64),
}

/// What of a service differs between scenarios.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Form {
    /// What its containers do, as the simulator's words have it: `run`, `exit:CODE:SECONDSs`, `unhealthy:1s`, `missing`.
    pub(crate) does: String,
    /// Tells versions apart that do the same.
    pub(crate) version: u64,
    pub(crate) replicas: u64,
    pub(crate) mode: String,
    pub(crate) order: String,
    pub(crate) action: String,
    pub(crate) parallelism: u64,
    pub(crate) delay: u64,
    pub(crate) monitor: u64,
    pub(crate) ratio: f64,
    pub(crate) restart: String,
    pub(crate) attempts: u64,
    pub(crate) nowhere: bool,
    pub(crate) label: String,
}

impl Default for Form {
    fn default() -> Self {
        Self {
            does: "run".into(),
            version: 1,
            replicas: 1,
            mode: String::new(),
            order: String::new(),
            action: String::new(),
            parallelism: 1,
            delay: 0,
            monitor: 2_000,
            ratio: 0.0,
            restart: String::new(),
            attempts: 0,
            nowhere: false,
            label: String::new(),
        }
    }
}

/// What was seen: the answers to the operations, and of each service the states of Swarm's updater and, place by place, what
/// became of its tasks. Ids and times are left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Trace {
    answers: Vec<String>,
    updates: BTreeMap<String, Vec<String>>,
    tasks: BTreeMap<String, Vec<String>>,
}

impl Trace {
    /// Without the states of the updater that may be over before the next look: a rollback's beginning, and an update's that is
    /// rolled back. An engine goes through both within milliseconds, when the task of the new version is refused at once and
    /// the old one still stands. What follows says that they were.
    pub(crate) fn settled(mut self) -> Self {
        for states in self.updates.values_mut() {
            let passed = |state: &str, next: &str| match state {
                "RollbackStarted" => next == "RollbackCompleted",
                "Updating" => next == "RollbackStarted" || next == "RollbackCompleted",
                _ => false,
            };
            let mut kept: Vec<String> = Vec::new();
            for state in states.drain(..).rev() {
                if kept.last().is_none_or(|next| !passed(&state, next)) {
                    kept.push(state);
                }
            }
            kept.reverse();
            // Two rollbacks of which no look saw the second begin are one to it.
            kept.dedup();
            *states = kept;
        }
        // How often in a while the same is tried again is a matter of how fast the machine is.
        for tasks in self.tasks.values_mut() {
            tasks.dedup();
        }
        self
    }
}

fn nanos(milliseconds: u64) -> i64 {
    i64::try_from(milliseconds).unwrap() * 1_000_000
}

impl Form {
    fn script(&self) -> String {
        let mut parts = self.does.split(':');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("exit"), Some(code), Some(after)) => format!("sleep {}; exit {code}", after.trim_end_matches('s')),
            _ => "sleep 3600".to_owned(),
        }
    }

    fn spec(&self, name: &str) -> ServiceSpec {
        let missing = self.does == "missing";
        let mut container_spec = ContainerSpec {
            image: if missing { "nosuch:1" } else { "skep-example:1" }.to_owned(),
            command: ["/bin/sh", "-c"].map(str::to_owned).into(),
            env: vec![format!("SIM={}", self.does), format!("VERSION={}", self.version)],
            stop_signal: "SIGKILL".to_owned(),
            ..ContainerSpec::default()
        };
        container_spec.command.push(self.script());
        if self.does.starts_with("unhealthy") {
            container_spec.healthcheck = Some(Healthcheck {
                test: ["CMD-SHELL", "exit 1"].map(str::to_owned).into(),
                interval: nanos(1_000),
                timeout: nanos(1_000),
                retries: 1,
                ..Healthcheck::default()
            });
        }
        let job = self.mode == "job";
        let mode = match self.mode.as_str() {
            "job" => ServiceMode {
                replicated_job: Some(ReplicatedJob {
                    max_concurrent: Some(self.replicas),
                    total_completions: Some(self.replicas),
                }),
                ..ServiceMode::default()
            },
            "global" => ServiceMode { global: Some(serde_json::Map::new()), ..ServiceMode::default() },
            _ => {
                ServiceMode { replicated: Some(Replicated { replicas: Some(self.replicas) }), ..ServiceMode::default() }
            }
        };
        let update = UpdateConfig {
            parallelism: self.parallelism,
            delay: nanos(self.delay),
            failure_action: self.action.clone(),
            monitor: nanos(self.monitor),
            max_failure_ratio: self.ratio,
            order: self.order.clone(),
            ..UpdateConfig::default()
        };
        let restart = RestartPolicy {
            condition: self.restart.clone(),
            delay: Some(nanos(500)),
            max_attempts: (self.attempts > 0).then_some(self.attempts),
            ..RestartPolicy::default()
        };
        let placement = self
            .nowhere
            .then(|| Placement { constraints: vec!["node.labels.zone == nowhere".to_owned()], ..Placement::default() });
        let labels = (!self.label.is_empty()).then(|| ("x".to_owned(), self.label.clone()));
        ServiceSpec {
            name: name.to_owned(),
            labels: labels.into_iter().collect(),
            task_template: TaskSpec { container_spec, restart_policy: Some(restart), placement, ..TaskSpec::default() },
            mode,
            update_config: (!job).then_some(update.clone()),
            rollback_config: (!job).then_some(UpdateConfig { failure_action: "pause".into(), ..update }),
            ..ServiceSpec::default()
        }
    }
}

fn said(answer: &Result<Applied, SwarmError>) -> String {
    match answer {
        Ok(_) => "ok",
        Err(SwarmError::Conflict { .. }) => "conflict",
        Err(SwarmError::Exists { .. }) => "exists",
        Err(SwarmError::NotFound { .. }) => "not found",
        Err(SwarmError::Refused { .. }) => "refused",
        Err(SwarmError::InUse { .. }) => "in use",
        Err(_) => "failed",
    }
    .to_owned()
}

/// What has been seen of one task.
#[derive(Debug, Default)]
struct Seen {
    place: String,
    created: Option<jiff::Timestamp>,
    made_from: String,
    states: Vec<String>,
}

struct Player<'a> {
    swarm: &'a dyn Swarm,
    prefix: &'a str,
    /// Name, id and first version.
    services: BTreeMap<String, (String, VersionIndex)>,
    seen: BTreeMap<String, Seen>,
    /// Tasks that the newest look found.
    there: BTreeSet<String>,
    /// How much was new so far.
    noted: u64,
    trace: Trace,
}

/// Plays a script; names on the Swarm begin with `prefix`.
pub(crate) async fn play(swarm: &dyn Swarm, prefix: &str, ops: &[Op]) -> Trace {
    let (services, seen, there) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    let mut player = Player { swarm, prefix, services, seen, there, noted: 0, trace: Trace::default() };
    for op in ops {
        player.op(op).await;
    }
    player.told()
}

impl Player<'_> {
    async fn op(&mut self, op: &Op) {
        let material = Material::default();
        let answer = match op {
            Op::Wait(milliseconds) => {
                self.wait(Duration::from_millis(*milliseconds)).await;
                return;
            }
            Op::Create(name, form) => {
                let spec = form.spec(&format!("{}{name}", self.prefix));
                let answer = self.swarm.apply(&Effect::CreateService(spec), &material).await;
                if let Ok(made) = &answer
                    && let Some(live) = self.live(&made.id).await
                {
                    self.services.insert(name.clone(), (made.id.clone(), live.version));
                }
                answer
            }
            Op::Update(name, form) => self.update(name, form).await,
            Op::Outdated(name, form) => {
                let Some((id, version)) = self.services.get(name).cloned() else { return };
                let spec = form.spec(&format!("{}{name}", self.prefix));
                self.swarm.apply(&Effect::UpdateService { id, version, spec }, &material).await
            }
            Op::Remove(name) => {
                let Some((id, _)) = self.services.get(name).cloned() else { return };
                let object = ObjectRef::new(ObjectKind::Service, format!("{}{name}", self.prefix));
                self.swarm.apply(&Effect::Remove { object, id }, &material).await
            }
        };
        self.trace.answers.push(said(&answer));
    }

    /// The Swarm itself writes to a service now and then, so a conflict is a reason to look again.
    async fn update(&self, name: &str, form: &Form) -> Result<Applied, SwarmError> {
        let gone = || SwarmError::NotFound { object: name.to_owned(), reason: String::new() };
        let (id, _) = self.services.get(name).cloned().ok_or_else(gone)?;
        loop {
            let live = self.live(&id).await.ok_or_else(gone)?;
            let spec = form.spec(&format!("{}{name}", self.prefix));
            let effect = Effect::UpdateService { id: id.clone(), version: live.version, spec };
            match self.swarm.apply(&effect, &Material::default()).await {
                Err(SwarmError::Conflict { .. }) => tokio::time::sleep(LOOK).await,
                answer => return answer,
            }
        }
    }

    async fn live(&self, id: &str) -> Option<std::sync::Arc<LiveService>> {
        match self.swarm.inspect(WatchedKind::Service, id).await {
            Ok(Some(Listing::Services(mut all))) => all.pop(),
            _ => None,
        }
    }

    /// Looks on for so long; after a long wait, until all has come to rest, because an engine may be slow.
    async fn wait(&mut self, span: Duration) {
        let begun = tokio::time::Instant::now();
        let (mut rests_since, mut before) = (begun, 0);
        loop {
            self.look().await;
            let now = tokio::time::Instant::now();
            if self.noted != before {
                (rests_since, before) = (now, self.noted);
            }
            let rest = span < LONG || now - rests_since >= REST || now - begun >= PATIENCE;
            if now - begun >= span && rest {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look(&mut self) {
        self.there.clear();
        for (name, (id, _)) in self.services.clone() {
            let Some(live) = self.live(&id).await else { continue };
            if let Some(update) = &live.update {
                let states = self.trace.updates.entry(name.clone()).or_default();
                let state = format!("{:?}", update.state);
                if states.last() != Some(&state) {
                    states.push(state);
                    self.noted += 1;
                }
            }
            let tasks = self.swarm.tasks(&TaskFilter::Services(vec![id])).await.unwrap_or_default();
            for task in tasks {
                self.task(&name, &task);
            }
        }
    }

    fn task(&mut self, name: &str, task: &Task) {
        self.there.insert(task.id.clone());
        if !self.seen.contains_key(&task.id) {
            self.noted += 1;
        }
        let seen = self.seen.entry(task.id.clone()).or_default();
        seen.place = format!("{name}.{}", task.slot.map_or("node".to_owned(), |slot| slot.to_string()));
        seen.created = task.created_at;
        seen.made_from = task.spec.container_spec.env.join(" ");
        let held_up = task.state == TaskState::Pending && !task.error.is_empty();
        let ends = matches!(
            task.state,
            TaskState::Running | TaskState::Complete | TaskState::Failed | TaskState::Rejected | TaskState::Shutdown
        );
        if !ends && !held_up {
            return;
        }
        let error = if task.error.is_empty() { String::new() } else { format!(" ({})", task.error) };
        let state = format!("{:?}{error}", task.state);
        if seen.states.last() != Some(&state) {
            seen.states.push(state);
            self.noted += 1;
        }
    }

    fn told(mut self) -> Trace {
        for (id, seen) in &mut self.seen {
            // A task that is to go is shown shut down for 0 to 250 ms, as the reaper's rounds fall: no look is sure to see it.
            if !self.there.contains(id) && seen.states.last().is_some_and(|last| last == "Shutdown") {
                seen.states.pop();
            }
        }
        let mut all: Vec<Seen> = self.seen.into_values().collect();
        all.sort_by_key(|a| a.created);
        for seen in all {
            let line = format!("{}: {}", seen.made_from, seen.states.join(", "));
            self.trace.tasks.entry(seen.place).or_default().push(line);
        }
        self.trace
    }
}
