//! The simulator against what was measured on the engine (20.10): all in virtual time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;

use super::{Behaviour, CallKind, SimConnector, SimNode, SimOptions, SimSwarm};
use crate::domain::*;
use crate::ports::{Ambient, Listing, Swarm, SwarmConnector, SwarmError, TaskFilter, WatchedKind};

const SECOND: i64 = 1_000_000_000;

fn app(image: &str, replicas: u64) -> ServiceSpec {
    let container_spec = ContainerSpec { image: image.into(), ..ContainerSpec::default() };
    ServiceSpec {
        name: "app".into(),
        task_template: TaskSpec { container_spec, ..TaskSpec::default() },
        mode: ServiceMode { replicated: Some(Replicated { replicas: Some(replicas) }), ..ServiceMode::default() },
        ..ServiceSpec::default()
    }
}

fn updating(mut spec: ServiceSpec, action: &str, monitor: i64) -> ServiceSpec {
    spec.update_config = Some(UpdateConfig {
        parallelism: 1,
        failure_action: action.into(),
        monitor: monitor * SECOND,
        ..UpdateConfig::default()
    });
    spec
}

fn placed(mut spec: ServiceSpec, constraint: &str) -> ServiceSpec {
    spec.task_template.placement = Some(Placement { constraints: vec![constraint.to_owned()], ..Placement::default() });
    spec
}

fn job(image: &str, completions: u64) -> ServiceSpec {
    let mode = ReplicatedJob { max_concurrent: Some(1), total_completions: Some(completions) };
    ServiceSpec { mode: ServiceMode { replicated_job: Some(mode), ..ServiceMode::default() }, ..app(image, 1) }
}

async fn send(sim: &SimSwarm, effect: Effect) -> Result<Applied, SwarmError> {
    sim.apply(&effect, &Material::default()).await
}

async fn create(sim: &SimSwarm, spec: ServiceSpec) {
    send(sim, Effect::CreateService(spec)).await.unwrap();
}

async fn update(sim: &SimSwarm, spec: ServiceSpec) {
    let live = sim.service(&spec.name).unwrap();
    send(sim, Effect::UpdateService { id: live.id.clone(), version: live.version, spec }).await.unwrap();
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

fn status(sim: &SimSwarm) -> Option<UpdateState> {
    sim.service("app").unwrap().update.as_ref().map(|status| status.state.clone())
}

fn image_of(task: &Task) -> &str {
    &task.spec.container_spec.image
}

fn running(sim: &SimSwarm) -> Vec<Arc<Task>> {
    let mut tasks = sim.tasks_of("app");
    tasks.retain(|task| task.state == TaskState::Running && task.desired == TaskState::Running);
    tasks
}

fn running_images(sim: &SimSwarm) -> Vec<String> {
    running(sim).iter().map(|task| image_of(task).to_owned()).collect()
}

/// The trace without times, from `since` on.
fn lines(sim: &SimSwarm, since: usize) -> Vec<String> {
    sim.trace().split_off(since).iter().map(|line| line.trim_start().split_once(' ').unwrap().1.to_owned()).collect()
}

/// Milliseconds from the line that has `from` to the one that has `to`.
fn between(sim: &SimSwarm, from: &str, to: &str) -> u64 {
    let at = |what: &str| {
        let trace = sim.trace();
        let line = trace.iter().find(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what} in {trace:#?}"));
        line.trim_start().split_once(' ').unwrap().0.parse::<u64>().unwrap()
    };
    at(to) - at(from)
}

#[tokio::test(start_paused = true)]
async fn a_new_service_goes_through_the_states_at_the_engines_pace() {
    let sim = SimSwarm::default();
    let since = sim.trace().len();
    create(&sim, app("app:1", 1)).await;
    seconds(3).await;
    assert_eq!(
        lines(&sim, since),
        [
            "service app created",
            "task app.1#1 new desired=Running",
            "task app.1#1 Pending",
            "task app.1#1 Assigned",
            "task app.1#1 Preparing",
            "task app.1#1 Ready",
            "task app.1#1 Starting",
            "task app.1#1 Running",
        ]
    );
    let took = between(&sim, "app created", "app.1#1 Running");
    assert!((700..1_200).contains(&took), "{took} ms");
    assert_eq!(status(&sim), None, "a create has no update status");
    let service = sim.service("app").unwrap();
    assert_eq!(service.spec.task_template.runtime.as_deref(), Some("container"));
    assert_eq!(sim.tasks_of("app")[0].spec.runtime, None);
}

#[tokio::test(start_paused = true)]
async fn an_update_stops_first_and_completes_one_monitor_period_after_the_last_slot() {
    let sim = SimSwarm::default();
    create(&sim, updating(app("app:1", 2), "pause", 2)).await;
    seconds(3).await;
    let since = sim.trace().len();
    update(&sim, updating(app("app:2", 2), "pause", 2)).await;
    seconds(20).await;
    let lines = lines(&sim, since);
    let place = |what: &str| lines.iter().position(|line| line == what).unwrap_or_else(|| panic!("{what}: {lines:#?}"));
    assert!(place("service app update=Updating") < place("task app.1#3 new desired=Ready"));
    assert!(place("task app.1#1 Shutdown") < place("task app.1#3 desired=Running"));
    assert!(place("task app.1#3 Running") < place("task app.2#4 new desired=Ready"), "one slot at a time");
    assert_eq!(status(&sim), Some(UpdateState::Completed));
    assert_eq!(between(&sim, "app.2#4 Running", "update=Completed"), 2_000);
    assert_eq!(running_images(&sim), ["app:2", "app:2"]);
}

#[tokio::test(start_paused = true)]
async fn start_first_stops_the_old_task_when_the_new_one_runs() {
    let sim = SimSwarm::default();
    let first = |image: &str| {
        let mut spec = updating(app(image, 1), "pause", 2);
        spec.update_config.as_mut().unwrap().order = "start-first".into();
        spec
    };
    create(&sim, first("app:1")).await;
    seconds(3).await;
    update(&sim, first("app:2")).await;
    seconds(10).await;
    assert!(between(&sim, "app.1#2 Running", "app.1#1 desired=Shutdown") < 10);
    assert_eq!(status(&sim), Some(UpdateState::Completed));
}

#[tokio::test(start_paused = true)]
async fn a_bad_update_pauses_and_its_tasks_go_on_crashing() {
    let sim = SimSwarm::default();
    sim.image("app:bad", Behaviour::Exit { after: Duration::ZERO, code: 3 });
    create(&sim, updating(app("app:1", 1), "pause", 4)).await;
    seconds(3).await;
    update(&sim, updating(app("app:bad", 1), "pause", 4)).await;
    seconds(30).await;
    assert_eq!(status(&sim), Some(UpdateState::Paused));
    let tasks = sim.tasks_of("app");
    let failed: Vec<_> = tasks.iter().filter(|task| task.state == TaskState::Failed).collect();
    assert!(failed.len() > 2, "restarts go on: {tasks:#?}");
    assert!(failed.iter().all(|task| task.error == "task: non-zero exit (3)" && task.exit_code == Some(3)));
    let message = sim.service("app").unwrap().update.as_ref().unwrap().message.clone();
    assert!(message.starts_with("update paused due to failure or early termination of task "), "{message}");
    assert!(tasks.len() <= 6, "history is kept short: {}", tasks.len());
}

#[tokio::test(start_paused = true)]
async fn a_rollback_rewrites_the_spec_and_forgets_the_bad_one() {
    let sim = SimSwarm::default();
    create(&sim, updating(app("app:1", 1), "pause", 4)).await;
    seconds(3).await;
    let mut bad = updating(app("app:2", 1), "rollback", 4);
    bad.task_template.container_spec.env = vec!["SIM=exit:3".into()];
    update(&sim, bad).await;
    seconds(30).await;
    assert_eq!(status(&sim), Some(UpdateState::RollbackCompleted));
    let spec = &sim.service("app").unwrap().spec;
    assert_eq!(spec.task_template.container_spec.image, "app:1");
    assert_eq!(spec.update_config.as_ref().unwrap().failure_action, "pause", "the old spec's own");
    assert_eq!(sim.previous_spec("app"), None);
    assert_eq!(running_images(&sim), ["app:1"]);
    assert!(matches!(sim.foreign_rollback("app"), Err(SwarmError::Refused { .. })));
}

#[tokio::test(start_paused = true)]
async fn with_two_slots_a_failure_is_read_only_when_both_were_replaced() {
    let sim = SimSwarm::default();
    sim.image("app:bad", Behaviour::Exit { after: Duration::ZERO, code: 3 });
    create(&sim, updating(app("app:1", 2), "rollback", 12)).await;
    seconds(3).await;
    update(&sim, updating(app("app:bad", 2), "rollback", 12)).await;
    seconds(60).await;
    assert!(between(&sim, "app.2#2 Shutdown", "update=RollbackStarted") < 3_000);
    assert_eq!(status(&sim), Some(UpdateState::RollbackCompleted));
    assert_eq!(running_images(&sim), ["app:1", "app:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_rollback_is_never_rolled_back() {
    let sim = SimSwarm::default();
    create(&sim, updating(app("app:1", 1), "rollback", 4)).await;
    seconds(3).await;
    sim.image("app:1", Behaviour::Exit { after: Duration::ZERO, code: 1 });
    sim.image("app:2", Behaviour::Exit { after: Duration::ZERO, code: 2 });
    update(&sim, updating(app("app:2", 1), "rollback", 4)).await;
    seconds(30).await;
    assert_eq!(status(&sim), Some(UpdateState::RollbackPaused));
}

#[tokio::test(start_paused = true)]
async fn failures_below_the_ratio_and_with_continue_end_nothing() {
    let sim = SimSwarm::default();
    let spec = |image: &str, action: &str, ratio: f64| {
        let mut spec = updating(app(image, 1), action, 2);
        spec.update_config.as_mut().unwrap().max_failure_ratio = ratio;
        spec
    };
    sim.image("app:bad", Behaviour::Exit { after: Duration::ZERO, code: 3 });
    create(&sim, spec("app:1", "pause", 0.0)).await;
    seconds(3).await;
    update(&sim, spec("app:bad", "continue", 0.0)).await;
    seconds(10).await;
    assert_eq!(status(&sim), Some(UpdateState::Completed), "while its tasks crash");
    update(&sim, spec("app:1", "pause", 0.0)).await;
    seconds(20).await;
    update(&sim, spec("app:bad", "pause", 1.0)).await;
    seconds(10).await;
    assert_eq!(status(&sim), Some(UpdateState::Completed));
}

#[tokio::test(start_paused = true)]
async fn an_update_nobody_can_place_stays_updating_with_nothing_running() {
    let sim = SimSwarm::default();
    create(&sim, updating(app("app:1", 1), "rollback", 2)).await;
    seconds(3).await;
    update(&sim, placed(updating(app("app:2", 1), "rollback", 2), "node.labels.disk==ssd")).await;
    seconds(3_600).await;
    assert_eq!(status(&sim), Some(UpdateState::Updating));
    assert!(running(&sim).is_empty());
    let waiting = sim.tasks_of("app").pop().unwrap();
    assert_eq!(waiting.state, TaskState::Pending);
    assert_eq!(waiting.error, "no suitable node (scheduling constraints not satisfied on 1 node)");
    sim.node_label("node-1", "disk", "ssd");
    seconds(10).await;
    assert_eq!(status(&sim), Some(UpdateState::Completed), "the updater never gave up");
    assert_eq!(running_images(&sim), ["app:2"]);
}

#[tokio::test(start_paused = true)]
async fn going_back_from_an_update_nobody_can_place_takes_a_second() {
    // Measured: the task that never had a node is shut down by the scheduler at once, and the way is free.
    let sim = SimSwarm::default();
    create(&sim, updating(app("app:1", 1), "pause", 2)).await;
    seconds(3).await;
    update(&sim, placed(updating(app("app:2", 1), "pause", 2), "node.role==worker")).await;
    seconds(7).await;
    update(&sim, updating(app("app:1", 1), "pause", 2)).await;
    seconds(2).await;
    assert_eq!(running_images(&sim), ["app:1"]);
    let never = sim.tasks_of("app").into_iter().find(|task| image_of(task) == "app:2").unwrap();
    assert_eq!((never.state, never.message.as_str()), (TaskState::Shutdown, "pending task scheduling"));
}

#[tokio::test(start_paused = true)]
async fn reservations_host_ports_and_max_replicas_keep_tasks_waiting() {
    let sim = SimSwarm::default();
    let mut greedy = app("app:1", 1);
    let reservations = Some(ResourceSet { memory_bytes: 16 << 30, ..ResourceSet::default() });
    greedy.task_template.resources = Some(Resources { reservations, ..Resources::default() });
    let mut port = ServiceSpec { name: "port".into(), ..app("app:1", 2) };
    let host = PortConfig { target_port: 80, published_port: 80, publish_mode: "host".into(), ..PortConfig::default() };
    port.endpoint_spec = Some(EndpointSpec { ports: vec![host], ..EndpointSpec::default() });
    let mut few = ServiceSpec { name: "few".into(), ..app("app:1", 2) };
    few.task_template.placement = Some(Placement { max_replicas: 1, ..Placement::default() });
    for spec in [greedy, port, few] {
        create(&sim, spec).await;
    }
    seconds(3).await;
    let error = |name: &str| {
        let tasks = sim.tasks_of(name);
        tasks.iter().find(|task| task.state == TaskState::Pending).map(|task| task.error.clone()).unwrap()
    };
    assert_eq!(error("app"), "no suitable node (insufficient resources on 1 node)");
    assert_eq!(error("port"), "no suitable node (host-mode port already in use on 1 node)");
    assert_eq!(error("few"), "no suitable node (max replicas per node limit exceed)");
}

#[tokio::test(start_paused = true)]
async fn what_containers_do_shows_in_their_tasks() {
    let sim = SimSwarm::default();
    for (name, word) in [
        ("missing", "missing"),
        ("sick", "unhealthy:4s"),
        ("oom", "oom:1s"),
        ("done", "exit:0:1s"),
        ("slow", "slow:20s"),
        ("hung", "hang"),
        ("late", "healthy-exit:137:2s"),
    ] {
        let mut spec = ServiceSpec { name: name.into(), ..app("app:1", 1) };
        spec.task_template.container_spec.env = vec![format!("SIM={word}")];
        spec.task_template.restart_policy =
            Some(RestartPolicy { condition: "none".into(), ..RestartPolicy::default() });
        create(&sim, spec).await;
    }
    seconds(10).await;
    let seen = |name: &str| {
        let task = sim.tasks_of(name).pop().unwrap();
        (task.state, task.error.clone(), task.exit_code)
    };
    let unhealthy = "task: non-zero exit (137): dockerexec: unhealthy container".to_owned();
    assert_eq!(seen("missing"), (TaskState::Rejected, "No such image: app:1".to_owned(), None));
    assert_eq!(seen("sick"), (TaskState::Failed, unhealthy.clone(), Some(137)));
    assert_eq!(seen("late"), (TaskState::Failed, unhealthy, Some(137)));
    assert_eq!(seen("oom"), (TaskState::Failed, "task: non-zero exit (137)".to_owned(), Some(137)));
    assert_eq!(seen("done"), (TaskState::Complete, String::new(), Some(0)));
    assert_eq!(seen("slow").0, TaskState::Starting);
    assert_eq!(seen("hung").0, TaskState::Preparing);
    seconds(20).await;
    assert_eq!(seen("slow").0, TaskState::Running);
    assert!(
        !sim.trace().iter().any(|line| line.contains("sick") && line.contains("Running") && !line.contains("desired"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_rolls_back_within_a_second_of_being_found_missing() {
    let sim = SimSwarm::default();
    sim.image("app:gone", Behaviour::Missing);
    create(&sim, updating(app("app:1", 2), "rollback", 5)).await;
    seconds(3).await;
    update(&sim, updating(app("app:gone", 2), "rollback", 5)).await;
    seconds(30).await;
    assert_eq!(status(&sim), Some(UpdateState::RollbackCompleted));
    assert!(between(&sim, "update=Updating", "update=RollbackStarted") < 600);
    assert_eq!(running_images(&sim), ["app:1", "app:1"]);
}

#[tokio::test(start_paused = true)]
async fn an_update_that_changes_nothing_takes_the_status_and_the_way_back() {
    let sim = SimSwarm::default();
    create(&sim, updating(app("app:1", 1), "pause", 2)).await;
    seconds(3).await;
    update(&sim, updating(app("app:2", 1), "pause", 2)).await;
    seconds(10).await;
    let before = sim.service("app").unwrap();
    let tasks = sim.tasks_of("app");
    update(&sim, updating(app("app:2", 1), "pause", 2)).await;
    seconds(10).await;
    let after = sim.service("app").unwrap();
    assert_eq!(after.update, None);
    assert!(after.version > before.version);
    assert_eq!(sim.previous_spec("app"), Some(after.spec.clone()));
    assert_eq!(sim.tasks_of("app"), tasks, "no task is touched");
}

#[tokio::test(start_paused = true)]
async fn sending_the_bad_spec_again_ends_the_watch_for_ever() {
    let sim = SimSwarm::default();
    sim.image("app:bad", Behaviour::Exit { after: Duration::from_secs(1), code: 3 });
    create(&sim, updating(app("app:1", 1), "rollback", 30)).await;
    seconds(3).await;
    update(&sim, updating(app("app:bad", 1), "rollback", 30)).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    update(&sim, updating(app("app:bad", 1), "rollback", 30)).await;
    seconds(120).await;
    assert_eq!(status(&sim), None, "a crash loop nobody speaks of");
    assert_eq!(sim.service("app").unwrap().spec.task_template.container_spec.image, "app:bad");
}

#[tokio::test(start_paused = true)]
async fn labels_replicas_and_met_constraints_restart_nothing() {
    let sim = SimSwarm::default();
    create(&sim, app("app:1", 2)).await;
    seconds(3).await;
    let before: Vec<String> = running(&sim).iter().map(|task| task.id.clone()).collect();
    let mut spec = placed(app("app:1", 2), "node.hostname==node-1");
    spec.labels.insert("a".into(), "b".into());
    update(&sim, spec).await;
    seconds(5).await;
    let after: Vec<String> = running(&sim).iter().map(|task| task.id.clone()).collect();
    assert_eq!(before, after);
    assert_eq!(status(&sim), None);
}

#[tokio::test(start_paused = true)]
async fn there_and_back_again_makes_new_tasks_of_the_first_spec() {
    let sim = SimSwarm::default();
    for image in ["app:1", "app:2", "app:1"] {
        match sim.service("app") {
            None => create(&sim, updating(app(image, 1), "pause", 1)).await,
            Some(_) => update(&sim, updating(app(image, 1), "pause", 1)).await,
        }
        seconds(10).await;
    }
    let of_first: Vec<_> = sim.tasks_of("app").into_iter().filter(|task| image_of(task) == "app:1").collect();
    assert_eq!(of_first.iter().map(|task| task.state).collect::<Vec<_>>(), [TaskState::Shutdown, TaskState::Running]);
    assert_eq!(of_first[0].spec, of_first[1].spec, "nothing but the id tells them apart");
}

#[tokio::test(start_paused = true)]
async fn a_second_update_takes_over_from_the_first() {
    let sim = SimSwarm::default();
    create(&sim, updating(app("app:1", 2), "pause", 2)).await;
    seconds(3).await;
    update(&sim, updating(app("app:2", 2), "pause", 2)).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    update(&sim, updating(app("app:3", 2), "pause", 2)).await;
    seconds(20).await;
    assert_eq!(status(&sim), Some(UpdateState::Completed));
    assert_eq!(running_images(&sim), ["app:3", "app:3"]);
    assert_eq!(sim.previous_spec("app").unwrap().task_template.container_spec.image, "app:2");
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_to_its_end_and_again_on_every_update() {
    let sim = SimSwarm::default();
    sim.image("job:1", Behaviour::Exit { after: Duration::from_secs(1), code: 0 });
    create(&sim, job("job:1", 2)).await;
    seconds(10).await;
    let done = |sim: &SimSwarm| {
        let tasks = sim.tasks_of("app");
        tasks.iter().map(|task| (task.slot, task.state, task.desired, task.job_iteration)).collect::<Vec<_>>()
    };
    let complete = |slot, iteration| (Some(slot), TaskState::Complete, TaskState::Complete, Some(iteration));
    assert_eq!(done(&sim), [complete(0, 0), complete(1, 0)]);
    update(&sim, job("job:1", 2)).await;
    seconds(10).await;
    assert_eq!(sim.service("app").unwrap().job_iteration, Some(1));
    assert_eq!(done(&sim), [complete(0, 1), complete(1, 1)]);
    assert_eq!(status(&sim), None);
}

#[tokio::test(start_paused = true)]
async fn a_failing_job_is_tried_as_often_as_its_policy_says() {
    let sim = SimSwarm::default();
    sim.image("job:bad", Behaviour::Exit { after: Duration::ZERO, code: 1 });
    let mut spec = job("job:bad", 1);
    spec.task_template.restart_policy = Some(RestartPolicy {
        condition: "on-failure".into(),
        delay: Some(SECOND),
        max_attempts: Some(2),
        ..RestartPolicy::default()
    });
    create(&sim, spec).await;
    seconds(60).await;
    let tasks = sim.tasks_of("app");
    assert_eq!(tasks.iter().filter(|task| task.state == TaskState::Failed).count(), 3, "once, and twice again");
}

#[tokio::test(start_paused = true)]
async fn scaling_makes_and_removes_slots() {
    let sim = SimSwarm::default();
    create(&sim, app("app:1", 1)).await;
    seconds(3).await;
    update(&sim, app("app:1", 3)).await;
    seconds(3).await;
    assert_eq!(running(&sim).iter().map(|task| task.slot).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    update(&sim, app("app:1", 1)).await;
    seconds(5).await;
    assert_eq!(sim.tasks_of("app").len(), 1, "the reaper took the others");
    assert_eq!(status(&sim), None);
    let id = sim.service("app").unwrap().id.clone();
    send(&sim, Effect::Remove { object: ObjectRef::new(ObjectKind::Service, "app"), id }).await.unwrap();
    seconds(5).await;
    assert_eq!(sim.tasks(&TaskFilter::All).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_lost_node_has_its_tasks_made_anew_elsewhere() {
    let sim = SimSwarm::new(SimOptions::default().nodes([SimNode::manager("one"), SimNode::worker("two")]));
    let everywhere = ServiceSpec {
        name: "agent".into(),
        mode: ServiceMode { global: Some(serde_json::Map::new()), ..ServiceMode::default() },
        ..app("agent:1", 1)
    };
    create(&sim, app("app:1", 2)).await;
    create(&sim, everywhere).await;
    seconds(3).await;
    let nodes = |tasks: &[Arc<Task>]| {
        let runs = tasks.iter().filter(|t| t.state == TaskState::Running && t.desired == TaskState::Running);
        let mut nodes: Vec<String> = runs.map(|task| task.node_id.clone()).collect();
        nodes.sort();
        nodes.dedup();
        nodes.len()
    };
    assert_eq!((nodes(&sim.tasks_of("app")), nodes(&sim.tasks_of("agent"))), (2, 2), "spread");
    sim.node_down("two");
    seconds(10).await;
    assert_eq!((nodes(&sim.tasks_of("app")), nodes(&sim.tasks_of("agent"))), (1, 1));
    assert_eq!(running(&sim).len(), 2);
    sim.node_up("two");
    seconds(10).await;
    assert_eq!((nodes(&sim.tasks_of("app")), nodes(&sim.tasks_of("agent"))), (1, 2), "nobody moves back");
    sim.node_drain("one");
    seconds(10).await;
    assert_eq!((running(&sim).len(), nodes(&sim.tasks_of("app"))), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_stale_version_is_a_conflict_and_a_name_is_taken_once() {
    let sim = SimSwarm::default();
    create(&sim, app("app:1", 1)).await;
    let live = sim.service("app").unwrap();
    seconds(1).await;
    let stale = Effect::UpdateService { id: live.id.clone(), version: live.version, spec: app("app:2", 1) };
    assert!(matches!(send(&sim, stale).await, Err(SwarmError::Conflict { .. })), "the allocator wrote meanwhile");
    assert!(matches!(send(&sim, Effect::CreateService(app("app:1", 1))).await, Err(SwarmError::Exists { .. })));
    let unknown = Effect::UpdateService { id: "x".into(), version: live.version, spec: app("app:2", 1) };
    assert!(matches!(send(&sim, unknown).await, Err(SwarmError::NotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_is_used_cannot_be_removed_and_what_is_missing_cannot_be_used() {
    let sim = SimSwarm::default();
    let mut spec = app("app:1", 1);
    spec.task_template.networks = vec![NetworkAttachment { target: "net".into(), ..NetworkAttachment::default() }];
    let secret = SecretReference { secret_name: "key".into(), ..SecretReference::default() };
    spec.task_template.container_spec.secrets = vec![secret];
    assert!(matches!(send(&sim, Effect::CreateService(spec.clone())).await, Err(SwarmError::NotFound { .. })));
    let network = NetworkSpec { name: "net".into(), driver: "overlay".into(), ..NetworkSpec::default() };
    send(&sim, Effect::CreateNetwork(network)).await.unwrap();
    let key = SecretSpec {
        name: "key".into(),
        key: "key".into(),
        labels: Default::default(),
        templating: None,
        driver: None,
    };
    let material = Material([("key".to_owned(), SecretBytes::new(b"hunter2".to_vec()))].into());
    let made = sim.apply(&Effect::CreateSecret(key), &material).await.unwrap();
    assert_eq!(sim.secret_data("key").unwrap().expose(), b"hunter2");
    create(&sim, spec).await;
    let remove = Effect::Remove { object: ObjectRef::new(ObjectKind::Secret, "key"), id: made.id };
    let error = send(&sim, remove.clone()).await.unwrap_err();
    assert!(error.to_string().contains("secret 'key' is in use by the following service: app"), "{error}");
    let network = ObjectRef::new(ObjectKind::Network, "net");
    assert!(matches!(sim.foreign_remove(&network), Err(SwarmError::InUse { .. })));
    sim.foreign_remove(&ObjectRef::new(ObjectKind::Service, "app")).unwrap();
    send(&sim, remove).await.unwrap();
    sim.foreign_remove(&network).unwrap();
    assert_eq!(sim.names(ObjectKind::Network), ["ingress"]);
}

#[tokio::test(start_paused = true)]
async fn the_managers_refuse_what_they_cannot_read_or_share() {
    let sim = SimSwarm::default();
    let published = |name: &str| {
        let port = PortConfig { target_port: 80, published_port: 8080, ..PortConfig::default() };
        let endpoint_spec = Some(EndpointSpec { ports: vec![port], ..EndpointSpec::default() });
        ServiceSpec { name: name.into(), endpoint_spec, ..app("app:1", 1) }
    };
    create(&sim, published("app")).await;
    seconds(1).await;
    update(&sim, published("app")).await;
    let mut dnsrr = published("dns");
    dnsrr.endpoint_spec.as_mut().unwrap().mode = "dnsrr".into();
    for bad in [published("other"), dnsrr, placed(app("app:1", 1), "node.role=manager")] {
        let answer = send(&sim, Effect::CreateService(bad)).await;
        assert!(matches!(answer, Err(SwarmError::Refused { .. })), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_hides_an_effect_and_a_scripted_failure_has_none() {
    let sim = SimSwarm::default();
    let refused = SwarmError::Engine { endpoint: "sim".into(), reason: "raft: proposal dropped".into() };
    sim.fail_next(CallKind::CreateService, refused.clone());
    sim.lose_answer_next(CallKind::CreateService);
    assert_eq!(send(&sim, Effect::CreateService(app("app:1", 1))).await, Err(refused));
    assert!(sim.service("app").is_none());
    let lost = send(&sim, Effect::CreateService(app("app:1", 1))).await.unwrap_err();
    assert!(lost.is_doubtful());
    assert!(sim.service("app").is_some());
    let writes = sim.writes();
    assert_eq!(writes.iter().map(|write| write.took_effect).collect::<Vec<_>>(), [false, true]);
    assert_eq!(sim.calls().get(&CallKind::CreateService), Some(&2));
}

#[tokio::test(start_paused = true)]
async fn a_manager_out_of_reach_fails_calls_and_ends_streams_while_the_swarm_goes_on() {
    let sim = SimSwarm::default();
    let mut events = sim.events().await.unwrap();
    create(&sim, app("app:1", 1)).await;
    sim.set_down(true);
    assert!(matches!(sim.info().await, Err(SwarmError::Unreachable { .. })));
    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        seen.push(event);
    }
    assert!(matches!(seen.pop(), Some(Err(SwarmError::Unreachable { .. }))));
    assert_eq!(seen.len(), 1, "the service was created: {seen:?}");
    seconds(3).await;
    sim.set_down(false);
    assert_eq!(running(&sim).len(), 1);
    sim.no_quorum(true);
    assert!(matches!(sim.list(WatchedKind::Service).await, Err(SwarmError::NoQuorum { .. })));
    sim.no_quorum(false);
    sim.hang(true);
    assert!(matches!(sim.info().await, Err(SwarmError::Unreachable { .. })));
}

#[tokio::test(start_paused = true)]
async fn without_a_quorum_nothing_moves_until_there_is_one() {
    let sim = SimSwarm::default();
    create(&sim, app("app:1", 1)).await;
    sim.no_quorum(true);
    seconds(60).await;
    assert!(sim.tasks_of("app").is_empty());
    sim.no_quorum(false);
    seconds(3).await;
    assert_eq!(running(&sim).len(), 1);
    assert!(between(&sim, "app created", "app.1#1 Running") >= 59_000);
}

#[tokio::test(start_paused = true)]
async fn whoever_listens_to_events_hears_of_the_swarms_own_writes() {
    let sim = SimSwarm::default();
    let mut events = sim.events().await.unwrap();
    create(&sim, updating(app("app:1", 1), "pause", 2)).await;
    let id = sim.service("app").unwrap().id.clone();
    for _ in 0..2 {
        let event = events.next().await.unwrap().unwrap();
        assert_eq!((event.kind, &event.id), (WatchedKind::Service, &id), "the create, then the allocator");
    }
    seconds(3).await;
    update(&sim, updating(app("app:2", 1), "pause", 2)).await;
    let began = tokio::time::Instant::now();
    for _ in 0..3 {
        events.next().await.unwrap().unwrap();
    }
    assert_eq!(status(&sim), Some(UpdateState::Completed), "the update, updating, completed");
    assert!(began.elapsed() > Duration::from_secs(2), "and the last came when it was time");
    sim.drop_events(1);
    sim.duplicate_events(1);
    sim.foreign_update("app", |spec| drop(spec.labels.insert("a".into(), "1".into()))).unwrap();
    sim.foreign_update("app", |spec| drop(spec.labels.insert("a".into(), "2".into()))).unwrap();
    for _ in 0..2 {
        events.next().await.unwrap().unwrap();
    }
    assert!(
        tokio::time::timeout(Duration::from_secs(60), events.next()).await.is_err(),
        "one was lost, one came twice"
    );
}

#[tokio::test(start_paused = true)]
async fn what_others_do_is_neither_a_call_nor_a_write() {
    let sim = SimSwarm::default();
    sim.foreign_service(&ServiceSpec { name: "theirs".into(), ..app("theirs:1", 1) }).unwrap();
    create(&sim, app("app:1", 1)).await;
    seconds(3).await;
    let theirs = (sim.service("theirs"), sim.tasks_of("theirs"));
    update(&sim, app("app:2", 1)).await;
    seconds(30).await;
    assert_eq!((sim.service("theirs"), sim.tasks_of("theirs")), theirs);
    assert_eq!(sim.writes().len(), 2);
    assert_eq!(sim.call_count(), 2);
    sim.forget_calls();
    seconds(3_600).await;
    assert_eq!(sim.call_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_container_writes_the_lines_it_is_given() {
    let sim = SimSwarm::default();
    sim.image("app:1", Behaviour::Exit { after: Duration::from_secs(1), code: 1 });
    sim.lines("app:1", &["one", "two", "panic: no database"]);
    create(&sim, app("app:1", 1)).await;
    seconds(4).await;
    let task = sim.tasks_of("app").remove(0);
    let lines: Vec<String> = sim.task_logs(&task.id, 2).await.unwrap().into_iter().map(|line| line.line).collect();
    assert_eq!(lines, ["two", "panic: no database"]);
    assert!(matches!(sim.task_logs("nobody", 2).await, Err(SwarmError::NotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_environment_is_connected_by_its_name() {
    let sim = SimSwarm::default();
    let connector = SimConnector::new().with("default", sim.clone());
    let environment =
        |name: EnvironmentName| Environment { name, endpoints: vec!["unix:///x".into()], ..Environment::default() };
    let swarm = connector.connect(&environment(EnvironmentName::default())).unwrap();
    let Listing::Nodes(nodes) = swarm.list(WatchedKind::Node).await.unwrap() else { panic!("no nodes") };
    assert_eq!(nodes.len(), 1);
    assert_eq!(sim.call_count(), 1);
    let found = swarm.inspect(WatchedKind::Node, &nodes[0].id).await.unwrap();
    assert_eq!(found, Some(Listing::Nodes(nodes)));
    assert_eq!(swarm.inspect(WatchedKind::Node, "x").await.unwrap(), None);
    assert!(connector.connect(&environment(EnvironmentName::parse("other").unwrap())).is_err());
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_trace() {
    async fn run(seed: u64) -> (Vec<String>, Vec<Arc<Task>>) {
        let sim = SimSwarm::new(SimOptions::default().seed(seed).nodes(["a", "b", "c"].map(SimNode::manager)));
        sim.image("app:2", Behaviour::Exit { after: Duration::from_secs(1), code: 3 });
        create(&sim, updating(app("app:1", 5), "rollback", 6)).await;
        seconds(3).await;
        update(&sim, updating(app("app:2", 5), "rollback", 6)).await;
        seconds(2).await;
        sim.node_down("b");
        seconds(60).await;
        (sim.trace(), sim.tasks_of("app"))
    }
    let first = run(7).await;
    let second = run(7).await;
    assert_eq!(first.0, second.0);
    assert_eq!(
        first.1.iter().map(|task| &task.id).collect::<Vec<_>>(),
        second.1.iter().map(|task| &task.id).collect::<Vec<_>>()
    );
    assert_ne!(first.0, run(8).await.0);
}

#[tokio::test(start_paused = true)]
async fn ids_sort_by_time_and_the_date_moves_with_the_clock() {
    let sim = SimSwarm::default();
    let (ambient, twin) = (sim.ambient(3), sim.ambient(3));
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(ambient.new_id());
        ids.push(ambient.new_id());
        seconds(1).await;
    }
    assert!(ids.is_sorted(), "{ids:?}");
    assert!(ids.iter().all(|id| id.len() == 26));
    assert_eq!(ambient.now().to_string(), "2026-01-01T00:00:04Z");
    assert_ne!(ids[0], twin.new_id(), "time is in it");
    let _ = (ambient.random(), twin.random());
}

/// After any storm, a good spec on healthy nodes ends with exactly its tasks.
#[tokio::test(start_paused = true)]
async fn whatever_went_before_a_good_spec_ends_with_exactly_its_tasks() {
    for seed in 0..200 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let sim = SimSwarm::new(SimOptions::default().seed(seed).nodes(["a", "b"].map(SimNode::manager)));
        let words = ["run", "run", "exit:1", "exit:0:2s", "unhealthy:2s", "missing", "slow:3s", "unhealthy-zero:1s"];
        let any = |dice: &mut fastrand::Rng| {
            let action = ["pause", "continue", "rollback"][dice.usize(..3)];
            let mut spec = updating(app("app:1", dice.u64(0..5)), action, dice.i64(1..8));
            let config = spec.update_config.as_mut().unwrap();
            config.parallelism = dice.u64(0..3);
            config.delay = dice.i64(0..3) * SECOND;
            config.order = ["stop-first", "start-first"][dice.usize(..2)].into();
            spec.task_template.container_spec.env = vec![format!("SIM={}", words[dice.usize(..words.len())])];
            if dice.bool() {
                spec = placed(spec, ["node.hostname==a", "node.hostname!=a", "node.labels.x==y"][dice.usize(..3)]);
            }
            spec
        };
        sim.foreign_service(&any(&mut dice)).unwrap();
        for _ in 0..dice.usize(1..8) {
            tokio::time::sleep(Duration::from_millis(dice.u64(0..9_000))).await;
            match dice.u8(..6) {
                0 => sim.node_down("b"),
                1 => sim.node_up("b"),
                2 => sim.node_drain("a"),
                3 => sim.node_activate("a"),
                _ => drop(sim.foreign_update("app", |spec| *spec = any(&mut dice)).unwrap()),
            }
        }
        sim.node_up("b");
        sim.node_activate("a");
        let good = updating(app("app:good", 3), "pause", 1);
        sim.foreign_update("app", |spec| *spec = good).unwrap();
        seconds(180).await;
        assert_eq!(running_images(&sim), ["app:good"; 3], "seed {seed}: {:#?}", sim.trace());
        let alive = sim.tasks_of("app").into_iter().filter(|task| !task.state.is_over()).count();
        assert_eq!(alive, 3, "seed {seed}: {:#?}", sim.trace());
    }
}
