//! Builders that read like the story they tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::assess::{AssessInput, Assessment, Verdict, assess};
use crate::domain::{
    Desired, DesiredService, EndpointSpec, Healthcheck, LiveService, Node, NodeAvailability, NodeState, Platform,
    Policy, PortConfig, Progress, Replicated, ReplicatedJob, ResourceSet, Resources, RestartPolicy, ServiceProgress,
    ServiceSpec, Snapshot, StackName, Task, TaskState, Tasks, UpdateConfig, UpdateState, UpdateStatus, VersionIndex,
    Written,
};

/// A point of time, in seconds after the start of the deployment.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

/// A service of the stack.
#[derive(Clone)]
pub(super) struct Svc(pub(super) DesiredService);

pub(super) fn service(key: &str) -> Svc {
    let mut spec = ServiceSpec { name: format!("shop_{key}"), ..Default::default() };
    spec.task_template.container_spec.image = "demo:1".into();
    spec.mode.replicated = Some(Replicated { replicas: Some(1) });
    Svc(DesiredService { key: key.into(), spec: Box::new(spec) })
}

impl Svc {
    fn with(mut self, change: impl FnOnce(&mut ServiceSpec)) -> Self {
        change(&mut self.0.spec);
        self
    }
    pub(super) fn image(self, image: &str) -> Self {
        self.with(|spec| spec.task_template.container_spec.image = image.into())
    }
    pub(super) fn replicas(self, replicas: u64) -> Self {
        self.with(|spec| spec.mode.replicated = Some(Replicated { replicas: Some(replicas) }))
    }
    pub(super) fn replicas_left_out(self) -> Self {
        self.with(|spec| spec.mode.replicated = Some(Replicated { replicas: None }))
    }
    pub(super) fn global(self) -> Self {
        self.with(|spec| {
            spec.mode = Default::default();
            spec.mode.global = Some(Default::default());
        })
    }
    pub(super) fn job(self, completions: u64) -> Self {
        let job = ReplicatedJob { max_concurrent: Some(completions), total_completions: Some(completions) };
        self.with(|spec| {
            spec.mode = Default::default();
            spec.mode.replicated_job = Some(job);
        })
    }
    pub(super) fn label(self, value: &str) -> Self {
        self.with(|spec| drop(spec.labels.insert("tier".into(), value.into())))
    }
    pub(super) fn constraint(self, text: &str) -> Self {
        self.with(|spec| {
            spec.task_template.placement.get_or_insert_default().constraints.push(text.into());
        })
    }
    pub(super) fn memory(self, limit: i64) -> Self {
        let limits = Some(ResourceSet { memory_bytes: limit, ..Default::default() });
        self.with(|spec| spec.task_template.resources = Some(Resources { limits, ..Default::default() }))
    }
    pub(super) fn healthcheck(self) -> Self {
        let test = vec!["CMD".into(), "check".into()];
        self.with(|spec| {
            spec.task_template.container_spec.healthcheck = Some(Healthcheck { test, ..Default::default() });
        })
    }
    pub(super) fn port(self, number: u32, mode: &str) -> Self {
        let port =
            PortConfig { target_port: 80, published_port: number, publish_mode: mode.into(), ..Default::default() };
        self.with(|spec| {
            spec.endpoint_spec = Some(EndpointSpec { ports: vec![port], ..Default::default() });
        })
    }
    pub(super) fn restart(self, condition: &str, attempts: Option<u64>) -> Self {
        let policy = RestartPolicy { condition: condition.into(), max_attempts: attempts, ..Default::default() };
        self.with(|spec| spec.task_template.restart_policy = Some(policy))
    }
    pub(super) fn update(self, change: impl FnOnce(&mut UpdateConfig)) -> Self {
        self.with(|spec| change(spec.update_config.get_or_insert_default()))
    }
}

/// A task of a service.
#[derive(Clone)]
pub(super) struct T {
    key: String,
    task: Task,
    old: bool,
    baseline: bool,
}

/// A task made from the wanted spec, in slot 1, created right after the start.
pub(super) fn task(key: &str) -> T {
    let task = Task {
        id: String::new(),
        service_id: format!("id-{key}"),
        slot: Some(1),
        node_id: "n1".into(),
        spec: Default::default(),
        state: TaskState::Preparing,
        desired: TaskState::Running,
        message: String::new(),
        error: String::new(),
        exit_code: None,
        job_iteration: None,
        created_at: Some(at(1)),
        state_since: Some(at(1)),
    };
    T { key: key.into(), task, old: false, baseline: false }
}

impl T {
    fn with(mut self, change: impl FnOnce(&mut Task)) -> Self {
        change(&mut self.task);
        self
    }
    pub(super) fn state(self, state: TaskState, second: i64) -> Self {
        self.with(|task| {
            task.state = state;
            task.state_since = Some(at(second));
        })
    }
    pub(super) fn created(self, second: i64) -> Self {
        self.with(|task| task.created_at = Some(at(second)))
    }
    pub(super) fn slot(self, slot: u64) -> Self {
        self.with(|task| task.slot = Some(slot))
    }
    pub(super) fn on(self, node: &str) -> Self {
        self.with(|task| task.node_id = node.into())
    }
    /// Of a global service: it has a node and no slot.
    pub(super) fn everywhere_on(self, node: &str) -> Self {
        self.with(|task| {
            task.node_id = node.into();
            task.slot = None;
        })
    }
    /// Made from the last good version's spec.
    pub(super) fn old(mut self) -> Self {
        self.old = true;
        self
    }
    /// It was there before this deployment wrote the service.
    pub(super) fn recorded(mut self) -> Self {
        self.baseline = true;
        self.with(|task| task.created_at = Some(at(-100)))
    }
    pub(super) fn running(self, since: i64) -> Self {
        self.state(TaskState::Running, since)
    }
    pub(super) fn starting(self) -> Self {
        self.state(TaskState::Starting, 1)
    }
    pub(super) fn ready(self) -> Self {
        self.state(TaskState::Ready, 1).with(|task| task.desired = TaskState::Ready)
    }
    pub(super) fn pending(self, error: &str) -> Self {
        self.state(TaskState::Pending, 1).with(|task| {
            task.error = error.into();
            task.node_id.clear();
        })
    }
    fn ended(self, state: TaskState, second: i64, error: &str, code: Option<i64>) -> Self {
        self.state(state, second).with(|task| {
            task.desired = TaskState::Shutdown;
            task.error = error.into();
            task.exit_code = code;
        })
    }
    pub(super) fn failed(self, second: i64, code: i64) -> Self {
        self.ended(TaskState::Failed, second, &format!("task: non-zero exit ({code})"), Some(code))
    }
    pub(super) fn failed_with(self, second: i64, error: &str) -> Self {
        self.ended(TaskState::Failed, second, error, None)
    }
    pub(super) fn rejected(self, second: i64, error: &str) -> Self {
        self.ended(TaskState::Rejected, second, error, None)
    }
    pub(super) fn complete(self, second: i64) -> Self {
        self.ended(TaskState::Complete, second, "", Some(0))
    }
    pub(super) fn told_to_stop(self) -> Self {
        self.with(|task| task.desired = TaskState::Shutdown)
    }
    pub(super) fn told_to_go(self) -> Self {
        self.with(|task| task.desired = TaskState::Remove)
    }
    pub(super) fn iteration(self, iteration: u64) -> Self {
        self.with(|task| task.job_iteration = Some(iteration))
    }
    pub(super) fn task(self) -> Task {
        self.task
    }
}

/// A deployment under way.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) target: Desired,
    pub(super) last_good: Option<Desired>,
    pub(super) progress: Progress,
    pub(super) live: Snapshot,
    pub(super) tasks: Tasks,
    pub(super) policy: Policy,
}

fn desired<const N: usize>(services: [Svc; N]) -> Desired {
    let mut desired = Desired::empty(StackName::parse("shop").unwrap());
    desired.services = services.into_iter().map(|service| (service.0.spec.name.clone(), service.0)).collect();
    desired
}

pub(super) fn node(id: &str) -> Node {
    Node {
        id: id.into(),
        hostname: format!("host-{id}"),
        addr: String::new(),
        state: NodeState::Ready,
        availability: NodeAvailability::Active,
        manager: true,
        leader: true,
        engine: "20.10.24".into(),
        platform: Platform::default(),
        labels: BTreeMap::new(),
        engine_labels: BTreeMap::new(),
        nano_cpus: 0,
        memory_bytes: 0,
        generic: BTreeMap::new(),
    }
}

impl Scene {
    /// A first deployment: everything was made by it.
    pub(super) fn first<const N: usize>(services: [Svc; N]) -> Self {
        let progress = Progress {
            started_at: at(0),
            progress_deadline: at(300),
            total_deadline: at(3600),
            waiting_since: None,
            applied: true,
            applied_at: Some(at(0)),
            healthy_most: 0,
            healthy_since: None,
            baking_since: None,
            newest_task: None,
            held_back: Default::default(),
            services: BTreeMap::new(),
        };
        let target = desired(services);
        let tasks = Tasks::default();
        let mut scene =
            Self { target, last_good: None, progress, live: Snapshot::default(), tasks, policy: Policy::default() };
        scene.policy.monitor = SignedDuration::from_secs(5);
        scene.live.nodes.insert("n1".into(), Arc::new(node("n1")));
        scene.write();
        scene
    }

    /// A deployment after a good one: services that differ were written, the others were left alone.
    pub(super) fn after<const M: usize, const N: usize>(good: [Svc; M], services: [Svc; N]) -> Self {
        let mut scene = Self::first(services);
        scene.last_good = Some(desired(good));
        scene.write();
        scene
    }

    fn write(&mut self) {
        for (name, service) in &self.target.services {
            let good = self.last_good.as_ref().and_then(|good| good.services.get(name));
            let same = good.is_some_and(|good| good.spec == service.spec);
            let written = if same { Written::Unchanged } else { Written::Accepted };
            let known = ServiceProgress { existed: good.is_some(), written, ..Default::default() };
            self.progress.services.insert(name.clone(), known);
            let live = LiveService {
                id: format!("id-{}", service.key),
                version: VersionIndex(1),
                spec: (*service.spec).clone(),
                created_at: None,
                updated_at: None,
                update: None,
                job_iteration: None,
            };
            self.live.services.insert(name.clone(), Arc::new(live));
        }
    }

    pub(super) fn known(&mut self, key: &str) -> &mut ServiceProgress {
        self.progress.services.get_mut(&format!("shop_{key}")).unwrap()
    }

    pub(super) fn live(&mut self, key: &str) -> &mut LiveService {
        Arc::make_mut(self.live.services.get_mut(&format!("shop_{key}")).unwrap())
    }

    pub(super) fn node(mut self, id: &str, change: impl FnOnce(&mut Node)) -> Self {
        let mut node = node(id);
        change(&mut node);
        self.live.nodes.insert(id.into(), Arc::new(node));
        self
    }

    /// What Swarm's updater says, begun at this second.
    pub(super) fn updater(mut self, key: &str, state: UpdateState, began: i64) -> Self {
        let message = "update paused due to failure or early termination of task x".into();
        self.live(key).update = Some(UpdateStatus { state, started_at: Some(at(began)), message });
        self
    }

    /// The tasks are now these.
    pub(super) fn tasks<const N: usize>(mut self, tasks: [T; N]) -> Self {
        self.set(tasks);
        self
    }

    pub(super) fn set<const N: usize>(&mut self, tasks: [T; N]) {
        self.tasks = Tasks::default();
        for (index, mut t) in tasks.into_iter().enumerate() {
            let name = format!("shop_{}", t.key);
            let version = if t.old { self.last_good.as_ref().unwrap() } else { &self.target };
            t.task.spec = version.services[&name].spec.task_template.clone();
            t.task.id = format!("{}-{index}", if t.baseline { "recorded" } else { "task" });
            let known = self.known(&t.key);
            if t.baseline {
                known.baseline.insert(t.task.id.clone());
            }
            let list = self.tasks.by_service.entry(t.task.service_id.clone()).or_default();
            list.push(Arc::new(t.task));
        }
    }

    pub(super) fn input(&self, second: i64) -> AssessInput<'_> {
        AssessInput {
            target: &self.target,
            progress: &self.progress,
            live: &self.live,
            tasks: &self.tasks,
            last_good: self.last_good.as_ref(),
            policy: &self.policy,
            now: at(second),
        }
    }

    /// Looks, and keeps what is to be kept, as the controller does.
    pub(super) fn look(&mut self, second: i64) -> String {
        let found = self.assess(second);
        self.progress.healthy_since = found.healthy_since;
        self.progress.baking_since = found.baking_since;
        self.progress.newest_task = found.newest_task;
        word(&found.verdict)
    }

    pub(super) fn assess(&self, second: i64) -> Assessment {
        assess(&self.input(second))
    }

    /// The verdict at one moment, nothing kept.
    pub(super) fn verdict(&self, second: i64) -> String {
        word(&self.assess(second).verdict)
    }

    /// The verdict once everything has been watched through the monitor period.
    pub(super) fn watched(&mut self, second: i64) -> String {
        self.look(second);
        self.look(second + 5)
    }
}

/// A verdict in a word or two.
pub(super) fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Progressing => "Progressing".into(),
        Verdict::Converged => "Converged".into(),
        Verdict::Waiting(failure) => format!("Waiting {}", failure.class),
        Verdict::Failed(failure) => format!("Failed {}", failure.class),
    }
}

/// `web` goes from demo:1 to demo:2.
pub(super) fn update() -> Scene {
    Scene::after([service("web")], [service("web").image("demo:2")])
}

pub(super) fn update_of(replicas: u64) -> Scene {
    Scene::after([service("web").replicas(replicas)], [service("web").replicas(replicas).image("demo:2")])
}
