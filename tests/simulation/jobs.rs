//! Jobs before and after a deployment: each runs once, is awaited by nobody's worker, stops or takes back what it should, and
//! is gone when it is over.

use std::time::Duration;

use skep::domain::*;
use skep::sim::gate::At;
use skep::swarm::sim::Behaviour;

use crate::world::*;

/// A database, a web of this image, a job before (of the image `migrate:N`) and one after (`smoke:N`).
fn compose(number: u64) -> String {
    format!(
        "services:\n  db:\n    image: db:1\n  web:\n    image: app:{number}\n    deploy: {{ replicas: 2 }}\n\
         \x20 migrate:\n    image: migrate:{number}\n    x-skep: {{ hook: pre, deadline: 1m }}\n\
         \x20   depends_on: {{ db: {{ condition: service_healthy }} }}\n\
         \x20 smoke:\n    image: smoke:{number}\n    x-skep: {{ hook: post, deadline: 1m }}\n"
    )
}

fn exits(after: u64, code: i64) -> Behaviour {
    Behaviour::Exit { after: Duration::from_secs(after), code }
}

/// A world in which the jobs of these versions end well after some seconds.
async fn world(versions: std::ops::RangeInclusive<u64>) -> World {
    let world = World::new().await;
    jobs_end_well(&world, versions);
    world
}

fn jobs_end_well(world: &World, versions: std::ops::RangeInclusive<u64>) {
    for number in versions {
        world.swarm.image(&format!("migrate:{number}"), exits(3, 0));
        world.swarm.image(&format!("smoke:{number}"), exits(2, 0));
        world.swarm.lines(&format!("migrate:{number}"), &["migrating", "done"]);
    }
}

async fn v1_runs() -> (World, DeploymentId) {
    let mut world = world(1..=3).await;
    world.start(None);
    let v1 = world.apply(&inline("shop", "", &compose(1))).await;
    world.ends_as(120, &v1, DeploymentPhase::Converged).await;
    world.until_phase(10, StackPhase::Converged).await;
    (world, v1)
}

/// How often the service of a job was made.
fn runs(world: &World, job: &str) -> usize {
    world.effects().iter().filter(|effect| **effect == format!("create service shop_{job}")).count()
}

fn run(world: &World, id: &DeploymentId, job: &str) -> JobRun {
    let deployment = world.deployment(id);
    deployment.jobs.get(&format!("shop_{job}")).cloned().unwrap_or_else(|| panic!("{job} ran\n{}", world.report()))
}

fn no_job_is_left(world: &World) {
    let names = world.swarm.names(ObjectKind::Service);
    assert!(!names.iter().any(|name| name.ends_with("migrate") || name.ends_with("smoke")), "{names:?}");
    assert!(world.status().ending.is_empty(), "{}", world.report());
}

fn index(world: &World, effect: &str) -> usize {
    let effects = world.effects();
    effects.iter().position(|it| it == effect).unwrap_or_else(|| panic!("{effect} in {effects:?}"))
}

fn is_told(spec: &ServiceSpec, what: &str) -> bool {
    spec.task_template.container_spec.env.iter().any(|entry| entry == what)
}

/// The environment of every run of a job, in order.
fn told(world: &World, job: &str, name: &str) -> Vec<String> {
    let made = world.swarm.writes().into_iter().filter(|call| call.took_effect).filter_map(|call| match call.effect {
        Effect::CreateService(spec) if spec.name == format!("shop_{job}") => Some(spec),
        _ => None,
    });
    let value = |spec: ServiceSpec| {
        let env = spec.task_template.container_spec.env;
        env.iter().find_map(|entry| entry.strip_prefix(&format!("{name}=")).map(str::to_owned)).unwrap_or_default()
    };
    made.map(value).collect()
}

#[tokio::test(start_paused = true)]
async fn jobs_run_once_in_their_place_and_leave_their_log() {
    let (world, v1) = v1_runs().await;
    let order = [
        "create service shop_db",
        "create service shop_migrate",
        "create service shop_web",
        "create service shop_smoke",
    ];
    assert!(order.windows(2).all(|pair| index(&world, pair[0]) < index(&world, pair[1])), "{:?}", world.effects());
    let migrated = run(&world, &v1, "migrate");
    assert_eq!((migrated.state, migrated.exit_code), (JobState::Succeeded, Some(0)));
    assert_eq!(migrated.log_tail, ["migrating", "done"]);
    assert_eq!(run(&world, &v1, "smoke").state, JobState::Succeeded);
    world.sleep(5).await;
    no_job_is_left(&world);
    assert_eq!((runs(&world, "migrate"), runs(&world, "smoke")), (1, 1));
    world.silence().await;
    assert_eq!((runs(&world, "migrate"), runs(&world, "smoke")), (0, 0), "left alone it runs none again");

    let v2 = world.apply(&inline("shop", "", &compose(2))).await;
    world.ends_as(120, &v2, DeploymentPhase::Converged).await;
    world.sleep(5).await;
    no_job_is_left(&world);
    assert_eq!(told(&world, "migrate", "SKEP_DIRECTION"), ["deploy"], "the calls of v1 are forgotten");
    assert_eq!(told(&world, "migrate", "SKEP_DEPLOYMENT"), [v2.as_str()]);
    assert_eq!(told(&world, "smoke", "SKEP_HOOK"), ["post"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_before_is_watched_through_and_says_what_waits_for_it() {
    let mut world = world(1..=1).await;
    world.swarm.image("migrate:1", exits(40, 0));
    world.start(None);
    let v1 = world.apply(&inline("shop", "", &compose(1))).await;
    world.until(30, "the job runs", |world| world.swarm.service("shop_migrate").is_some()).await;
    world.sleep(3).await;
    let deployment = world.deployment(&v1);
    assert_eq!(deployment.phase, DeploymentPhase::Applying);
    let message = deployment.message.clone().unwrap_or_default();
    assert!(message.contains("`migrate` (pre)") && message.contains("`web` waits for migrate"), "{message}");
    let web = deployment.services.iter().find(|service| service.service == "web").expect("web");
    assert_eq!(web.waits_for, ["migrate"]);
    assert!(world.swarm.service("shop_web").is_none());
    world.ends_as(120, &v1, DeploymentPhase::Converged).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_before_that_fails_stops_the_deployment_and_nothing_of_the_stack_is_changed() {
    let (world, v1) = v1_runs().await;
    world.swarm.image("migrate:2", exits(2, 7));
    world.swarm.lines("migrate:2", &["altering table", "no such column"]);
    world.swarm.forget_calls();
    let tasks = world.swarm.tasks_of("shop_web");
    let v2 = world.apply(&inline("shop", "", &compose(2))).await;
    world.ends_as(120, &v2, DeploymentPhase::Failed).await;
    let failure = world.deployment(&v2).failure.expect("a failure");
    assert_eq!((failure.class, failure.exit_code), (FailureClass::Hook, Some(7)));
    assert_eq!(failure.service.as_deref(), Some("migrate"));
    assert_eq!(failure.log_tail, ["altering table", "no such column"]);
    assert_eq!(run(&world, &v2, "migrate").state, JobState::Failed);
    world.silence().await;
    no_job_is_left(&world);
    assert_eq!(world.swarm.tasks_of("shop_web"), tasks, "no task of the last good version was touched");
    assert_eq!(world.history().len(), 2, "nothing was rolled back: {}", world.report());
    assert_eq!(world.status().held.len(), 1);
    assert_eq!(world.status().live.map(|live| live.deployment), Some(v1));
    assert_eq!(world.status().target.map(|target| target.kind), Some(TargetKind::LastGood));
    assert_eq!(world.phase(), StackPhase::RolledBack);
    assert_eq!(world.condition(ConditionType::Healthy), Some(ConditionStatus::True));
    // A mended version flows.
    let v3 = world.apply(&inline("shop", "", &compose(3))).await;
    world.ends_as(120, &v3, DeploymentPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_after_that_fails_takes_the_version_back_and_the_way_back_is_told_to_the_jobs() {
    let (world, _) = v1_runs().await;
    world.swarm.image("smoke:2", exits(2, 1));
    world.swarm.lines("smoke:2", &["GET / 500"]);
    world.swarm.forget_calls();
    let v2 = world.apply(&inline("shop", "", &compose(2))).await;
    world.ends_as(300, &v2, DeploymentPhase::RolledBack).await;
    let failed = world.deployment(&v2);
    let failure = failed.failure.expect("a failure");
    assert_eq!((failure.class, failure.service.as_deref()), (FailureClass::Hook, Some("smoke")));
    assert_eq!(failure.log_tail, ["GET / 500"]);
    world.until_phase(60, StackPhase::RolledBack).await;
    let back = failed.rolled_back_by.expect("a rollback");
    assert_eq!(world.deployment(&back).phase, DeploymentPhase::Converged);
    assert_eq!(told(&world, "migrate", "SKEP_DIRECTION"), ["deploy", "rollback"]);
    assert_eq!(told(&world, "smoke", "SKEP_DIRECTION"), ["deploy", "rollback"]);
    assert_eq!(run(&world, &back, "smoke").direction, Direction::Rollback);
    assert_eq!(world.image_of("shop_web"), "app:1");
    world.silence().await;
    no_job_is_left(&world);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_does_not_end_in_time_has_failed_and_is_ended() {
    let (world, _) = v1_runs().await;
    world.swarm.image("migrate:2", Behaviour::Run);
    let v2 = world.apply(&inline("shop", "", &compose(2))).await;
    let begun = tokio::time::Instant::now();
    world.ends_as(120, &v2, DeploymentPhase::Failed).await;
    assert!((55..75).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    let failure = world.deployment(&v2).failure.expect("a failure");
    assert_eq!(failure.class, FailureClass::Hook);
    assert!(failure.error.contains("had not ended"), "{}", failure.error);
    world.silence().await;
    no_job_is_left(&world);
    assert!(world.swarm.tasks_of("shop_migrate").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_runs_longer_than_the_progress_deadline_is_left_its_own_time() {
    let mut world = world(1..=1).await;
    world.swarm.image("migrate:1", exits(50, 0));
    world.start(None);
    let v1 = world.apply(&inline("shop", "progressDeadline: 20s", &compose(1))).await;
    world.ends_as(120, &v1, DeploymentPhase::Converged).await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_version_ends_the_job_under_way_before_its_own_begins() {
    let (world, _) = v1_runs().await;
    world.swarm.image("migrate:2", exits(40, 0));
    let v2 = world.apply(&inline("shop", "", &compose(2))).await;
    world
        .until(30, "the second job runs", |world| {
            world.swarm.tasks_of("shop_migrate").iter().any(|task| task.state == TaskState::Running)
        })
        .await;
    let v3 = world.apply(&inline("shop", "", &compose(3))).await;
    let end = tokio::time::Instant::now() + Duration::from_secs(120);
    while !world.deployment(&v3).phase.is_terminal() {
        assert!(tokio::time::Instant::now() < end, "{}", world.report());
        tokio::time::sleep(Duration::from_millis(50)).await;
        let under_way = world.swarm.trace();
        let count = running_jobs(&under_way);
        assert!(count <= 1, "{count} runs side by side\n{}", world.report());
    }
    assert_eq!(world.deployment(&v2).phase, DeploymentPhase::Superseded);
    assert_eq!(run(&world, &v2, "migrate").state, JobState::Stopped);
    assert_eq!(world.deployment(&v3).phase, DeploymentPhase::Converged);
    world.silence().await;
    no_job_is_left(&world);
}

/// Runs of the job whose task runs, by the trace: `task shop_migrate.0 #1 running`, and so on.
fn running_jobs(trace: &[String]) -> usize {
    let mut running = std::collections::BTreeSet::new();
    for line in trace.iter().filter(|line| line.contains("shop_migrate")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(label) = words.get(2) else { continue };
        if line.contains("Running") && !line.contains("desired") {
            running.insert((*label).to_owned());
        } else if ["Complete", "Failed", "Shutdown", "Rejected", "deleted"].iter().any(|word| line.contains(word)) {
            running.remove(*label);
        }
    }
    running.len()
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_deployment_ends_its_job_and_changes_nothing() {
    let (world, v1) = v1_runs().await;
    world.swarm.image("migrate:2", exits(40, 0));
    let v2 = world.apply(&inline("shop", "", &compose(2))).await;
    world.until(30, "the job runs", |world| world.swarm.service("shop_migrate").is_some()).await;
    world.declare.cancel(&key("shop"), None, &ask()).await.unwrap();
    world.ends_as(30, &v2, DeploymentPhase::Cancelled).await;
    assert_eq!(run(&world, &v2, "migrate").state, JobState::Stopped);
    world.silence().await;
    no_job_is_left(&world);
    assert_eq!(world.image_of("shop_web"), "app:1");
    assert_eq!(world.status().live.map(|live| live.deployment), Some(v1));
    assert_eq!(world.history().len(), 2, "{}", world.report());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_while_the_job_after_runs_takes_the_version_back() {
    let (world, _) = v1_runs().await;
    world.swarm.image("smoke:2", exits(50, 0));
    world.swarm.image("app:2", Behaviour::ExitAfterHealthy { after: Duration::from_secs(20), code: 3 });
    let v2 = world.apply(&inline("shop", "", &compose(2))).await;
    world.ends_as(300, &v2, DeploymentPhase::RolledBack).await;
    assert_eq!(run(&world, &v2, "smoke").state, JobState::Stopped);
    assert_eq!(world.deployment(&v2).failure.map(|failure| failure.service), Some(Some("web".to_owned())));
    world.until_phase(60, StackPhase::RolledBack).await;
    world.silence().await;
    no_job_is_left(&world);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_gone_back_past_is_held_when_its_job_after_fails() {
    let mut world = world(1..=2).await;
    world.start(None);
    let policy = "irreversible: true";
    let v1 = world.apply(&inline("shop", policy, &compose(1))).await;
    world.ends_as(120, &v1, DeploymentPhase::Converged).await;
    world.swarm.image("smoke:2", exits(2, 1));
    let v2 = world.apply(&inline("shop", policy, &compose(2))).await;
    world.ends_as(120, &v2, DeploymentPhase::Failed).await;
    world.silence().await;
    assert_eq!(world.image_of("shop_web"), "app:2");
    assert_eq!(runs(&world, "migrate"), 0, "no job runs after the failure");
    no_job_is_left(&world);
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_back_past_what_cannot_be_gone_back_past_until_something_converges() {
    let mut world = world(1..=5).await;
    world.start(None);
    let v1 = world.apply(&inline("shop", "", &compose(1))).await;
    world.ends_as(120, &v1, DeploymentPhase::Converged).await;
    world.swarm.image("smoke:2", exits(2, 1));
    let v2 = world.apply(&inline("shop", "irreversible: true", &compose(2))).await;
    world.ends_as(120, &v2, DeploymentPhase::Failed).await;
    // The next one says nothing of the kind, and fails; version 1 knows nothing of what version 2 has done.
    world.swarm.image("smoke:3", exits(2, 1));
    let v3 = world.apply(&inline("shop", "irreversible: false", &compose(3))).await;
    world.ends_as(120, &v3, DeploymentPhase::Failed).await;
    world.silence().await;
    assert_eq!(world.image_of("shop_web"), "app:3");
    // From what converges after that, the way back is open again.
    let v4 = world.apply(&inline("shop", "irreversible: false", &compose(4))).await;
    world.ends_as(120, &v4, DeploymentPhase::Converged).await;
    world.swarm.image("smoke:5", exits(2, 1));
    let v5 = world.apply(&inline("shop", "irreversible: false", &compose(5))).await;
    world.ends_as(300, &v5, DeploymentPhase::RolledBack).await;
    assert_eq!(world.image_of("shop_web"), "app:4");
    world.silence().await;
    no_job_is_left(&world);
}

#[tokio::test(start_paused = true)]
async fn putting_right_what_runs_runs_no_job() {
    let (world, _) = v1_runs().await;
    world.swarm.forget_calls();
    for service in ["db", "web"] {
        world.swarm.foreign_remove(&ObjectRef::new(ObjectKind::Service, format!("shop_{service}"))).unwrap();
    }
    world
        .until(60, "both are back", |world| {
            world.swarm.service("shop_db").is_some() && world.swarm.service("shop_web").is_some()
        })
        .await;
    world.until_phase(60, StackPhase::Converged).await;
    world.silence().await;
    assert_eq!(world.last_trigger().0, Trigger::Drift);
    assert_eq!((runs(&world, "migrate"), runs(&world, "smoke")), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_version_of_which_only_the_job_changed_runs_it() {
    let (world, _) = v1_runs().await;
    world.swarm.forget_calls();
    let v2 = world.apply(&inline("shop", "", &compose(1).replace("migrate:1", "migrate:2"))).await;
    world.ends_as(120, &v2, DeploymentPhase::Converged).await;
    assert_eq!(run(&world, &v2, "migrate").state, JobState::Succeeded);
    assert!(!world.effects().iter().any(|effect| effect.starts_with("update")), "{:?}", world.effects());
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_for_one_direction_runs_this_way_only() {
    let mut world = world(1..=2).await;
    world.start(None);
    let compose = |number| compose(number).replace("hook: pre, ", "hook: pre, direction: deploy, ");
    let v1 = world.apply(&inline("shop", "", &compose(1))).await;
    world.ends_as(120, &v1, DeploymentPhase::Converged).await;
    world.swarm.image("smoke:2", exits(2, 1));
    let v2 = world.apply(&inline("shop", "", &compose(2))).await;
    world.ends_as(300, &v2, DeploymentPhase::RolledBack).await;
    assert_eq!(told(&world, "migrate", "SKEP_DIRECTION"), ["deploy", "deploy"]);
    assert_eq!(told(&world, "smoke", "SKEP_DIRECTION"), ["deploy", "deploy", "rollback"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_removed_by_somebody_else_has_failed_and_is_not_run_again() {
    let (world, _) = v1_runs().await;
    world.swarm.image("migrate:2", exits(40, 0));
    let v2 = world.apply(&inline("shop", "", &compose(2))).await;
    world.until(30, "the job runs", |world| world.swarm.service("shop_migrate").is_some()).await;
    world.sleep(3).await;
    world.swarm.foreign_remove(&ObjectRef::new(ObjectKind::Service, "shop_migrate")).unwrap();
    world.ends_as(60, &v2, DeploymentPhase::Failed).await;
    world.silence().await;
    assert_eq!(world.image_of("shop_web"), "app:1");
}

/// A manager that lags shows neither the job nor what was made for it.
#[tokio::test(start_paused = true)]
async fn a_job_that_a_lagging_manager_does_not_know_of_yet_is_not_called_removed() {
    let (world, _) = v1_runs().await;
    world.swarm.image("migrate:2", exits(4, 0));
    world.swarm.stale_reads(Duration::from_secs(8));
    let v2 = world.apply(&inline("shop", "", &compose(2))).await;
    world.ends_as(200, &v2, DeploymentPhase::Converged).await;
    assert_eq!(runs(&world, "migrate"), 2, "of each version once: {}", world.report());
    world.silence().await;
    no_job_is_left(&world);
}

#[tokio::test(start_paused = true)]
async fn a_job_no_node_can_take_because_there_is_none_is_waited_for() {
    let (world, _) = v1_runs().await;
    world.swarm.node_drain("node-1");
    world.swarm.forget_calls();
    let compose = |number| compose(number).replace("    depends_on: { db: { condition: service_healthy } }\n", "");
    let v2 = world.apply(&inline("shop", "", &compose(2))).await;
    world.sleep(180).await;
    assert_eq!(world.deployment(&v2).phase, DeploymentPhase::Applying, "{}", world.report());
    world.swarm.node_activate("node-1");
    world.ends_as(200, &v2, DeploymentPhase::Converged).await;
    assert_eq!(runs(&world, "migrate"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_stack_gives_its_job_the_time_back() {
    let (world, _) = v1_runs().await;
    world.swarm.image("migrate:2", exits(50, 0));
    let v2 = world.apply(&inline("shop", "", &compose(2))).await;
    world.until(30, "the job runs", |world| world.swarm.service("shop_migrate").is_some()).await;
    let why = skep::declare::Ask { reason: Some("a pause".to_owned()), ..ask() };
    world.declare.suspend(&key("shop"), None, &why).await.unwrap();
    world.sleep(300).await;
    world.declare.resume(&key("shop"), &ask()).await.unwrap();
    world.ends_as(120, &v2, DeploymentPhase::Converged).await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_stack_takes_its_job_along() {
    let mut world = world(1..=1).await;
    world.swarm.image("migrate:1", Behaviour::Run);
    world.start(None);
    world.apply(&inline("shop", "", &compose(1))).await;
    world.until(30, "the job runs", |world| world.swarm.service("shop_migrate").is_some()).await;
    world.declare.delete(&key("shop"), false, &ask()).await.unwrap();
    world.until(60, "the stack is gone", |world| world.stack().is_none()).await;
    assert!(world.swarm.names(ObjectKind::Service).is_empty());
}

/// All places to die at, `count` of each kind.
fn places(count: u64) -> impl Iterator<Item = At> {
    (1..=count).flat_map(|n| [At::BeforeWrite(n), At::AfterWrite(n), At::BeforeCommit(n), At::AfterCommit(n)])
}

/// Runs until the controller has died (or not, if it never got there), then lets another one go on.
async fn die_and_go_on(world: &mut World, seconds: u64) {
    let gate = world.gate();
    let _ = tokio::time::timeout(Duration::from_secs(seconds), gate.crashed.notified()).await;
    world.sleep(3).await;
    world.restart();
}

#[tokio::test(start_paused = true)]
async fn a_deployment_with_jobs_survives_a_crash_anywhere_and_runs_none_twice() {
    for at in places(12) {
        let mut world = world(1..=2).await;
        world.start(Some(at));
        let v1 = world.apply(&inline("shop", "", &compose(1))).await;
        die_and_go_on(&mut world, 40).await;
        world.ends_as(180, &v1, DeploymentPhase::Converged).await;
        world.sleep(30).await;
        world.laws();
        for job in ["migrate", "smoke"] {
            assert_eq!(runs(&world, job), 1, "{at:?}: {:?}", world.effects());
            assert_eq!(run(&world, &v1, job).state, JobState::Succeeded, "{at:?}");
        }
        assert!(is_told(&made(&world, "migrate"), &format!("SKEP_DEPLOYMENT={v1}")), "{at:?}");
        no_job_is_left(&world);
        assert_eq!(world.history().len(), 1, "{at:?}");
    }
}

fn made(world: &World, job: &str) -> ServiceSpec {
    let of = |call: skep::swarm::sim::WriteCall| match call.effect {
        Effect::CreateService(spec) if spec.name == format!("shop_{job}") => Some(spec),
        _ => None,
    };
    world.swarm.writes().into_iter().find_map(of).expect("it was made")
}

#[tokio::test(start_paused = true)]
async fn a_job_before_that_fails_stops_it_wherever_skep_dies() {
    for at in places(8) {
        let mut world = world(1..=2).await;
        world.start(None);
        let v1 = world.apply(&inline("shop", "", &compose(1))).await;
        world.ends_as(120, &v1, DeploymentPhase::Converged).await;
        world.sleep(10).await;
        world.kill();
        world.start(Some(at));
        world.sleep(2).await;
        world.swarm.forget_calls();
        world.swarm.image("migrate:2", exits(2, 7));
        let v2 = world.apply(&inline("shop", "", &compose(2))).await;
        die_and_go_on(&mut world, 30).await;
        world.ends_as(120, &v2, DeploymentPhase::Failed).await;
        world.sleep(30).await;
        world.laws();
        assert_eq!(runs(&world, "migrate"), 1, "{at:?}: {:?}", world.effects());
        assert!(!world.effects().iter().any(|effect| effect.contains("shop_web")), "{at:?}: {:?}", world.effects());
        assert_eq!(world.status().held.len(), 1, "{at:?}\n{}", world.report());
        no_job_is_left(&world);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollback_with_jobs_survives_a_crash_anywhere() {
    let commits = (2..=16).step_by(3).flat_map(|n| [At::BeforeCommit(n), At::AfterCommit(n)]);
    for at in (1..=14).flat_map(|n| [At::BeforeWrite(n), At::AfterWrite(n)]).chain(commits) {
        let mut world = world(1..=2).await;
        world.start(None);
        let v1 = world.apply(&inline("shop", "", &compose(1))).await;
        world.ends_as(120, &v1, DeploymentPhase::Converged).await;
        world.sleep(10).await;
        world.kill();
        world.start(Some(at));
        world.sleep(2).await;
        world.swarm.forget_calls();
        world.swarm.image("smoke:2", exits(2, 1));
        let v2 = world.apply(&inline("shop", "", &compose(2))).await;
        die_and_go_on(&mut world, 60).await;
        world.ends_as(300, &v2, DeploymentPhase::RolledBack).await;
        world.until_phase(60, StackPhase::RolledBack).await;
        world.sleep(30).await;
        world.laws();
        assert_eq!(told(&world, "migrate", "SKEP_DIRECTION"), ["deploy", "rollback"], "{at:?}");
        assert_eq!(told(&world, "smoke", "SKEP_DIRECTION"), ["deploy", "rollback"], "{at:?}");
        assert_eq!(world.image_of("shop_web"), "app:1", "{at:?}");
        no_job_is_left(&world);
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_answer_is_lost_is_found_and_not_run_again() {
    let mut world = world(1..=1).await;
    world.start(None);
    // Of the creates the second is that of the job.
    let v1 = world.apply(&inline("shop", "", &compose(1))).await;
    world.until(30, "the first service is there", |world| world.swarm.service("shop_db").is_some()).await;
    world.swarm.lose_answer_next(skep::swarm::sim::CallKind::CreateService);
    world.ends_as(180, &v1, DeploymentPhase::Converged).await;
    assert_eq!((runs(&world, "migrate"), runs(&world, "smoke")), (1, 1), "{:?}", world.effects());
    world.silence().await;
}
