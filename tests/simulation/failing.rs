//! A version that fails is answered with the last good one, for the whole stack, once.

use std::time::Duration;

use skep::domain::*;
use skep::swarm::sim::{Behaviour, SimNode};

use crate::world::*;

/// v1 runs; v2 changes both services, and its web does as told.
async fn bad_version(behaviour: Behaviour, extra: &str) -> (World, DeploymentId, DeploymentId) {
    let world = World::running().await;
    let v1 = world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.swarm.image("app:2", behaviour);
    let compose = two("app:2", "job:2").replace("deploy: {", &format!("deploy: {{ {extra}"));
    let v2 = world.apply(&inline("shop", "", &compose)).await;
    (world, v1, v2)
}

/// v2 ended as it should: the whole stack is back, v2 is held, and a good v3 flows.
async fn went_back(world: &World, v1: &DeploymentId, v2: &DeploymentId, class: FailureClass) {
    world.until_phase(900, StackPhase::RolledBack).await;
    let failed = world.deployment(v2);
    assert_eq!(failed.phase, DeploymentPhase::RolledBack, "{}", world.report());
    let failure = failed.failure.clone().expect("a failure");
    assert_eq!(failure.class, class, "{failure:?}");
    assert_eq!(failure.service.as_deref(), Some("web"));
    let back = world.deployment(&failed.rolled_back_by.clone().expect("a rollback"));
    assert_eq!((back.origin.trigger, back.phase), (Trigger::Rollback, DeploymentPhase::Converged));
    assert_eq!(back.rollback_of.as_ref(), Some(v2));
    assert_eq!((world.image_of("shop_web"), world.image_of("shop_worker")), ("app:1".into(), "job:1".into()));
    let status = world.status();
    assert_eq!(status.held.len(), 1);
    assert_eq!(status.last_good.as_ref().map(|good| &good.version.deployment), Some(v1));
    assert_eq!(status.observed_generation, 2, "{}", world.report());
    assert_eq!(world.condition(ConditionType::RolledBack), Some(ConditionStatus::True));
    assert_eq!(world.condition(ConditionType::Stalled), None);
    world.silence().await;
    assert_eq!(world.phase(), StackPhase::RolledBack);
    let v3 = world.apply(&inline("shop", "", &two("app:3", "job:3"))).await;
    world.ends_as(120, &v3, DeploymentPhase::Converged).await;
    assert_eq!(world.phase(), StackPhase::Converged);
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_exits_is_rolled_back_with_its_last_words() {
    let (world, v1, v2) = bad_version(Behaviour::Exit { after: Duration::from_millis(500), code: 3 }, "").await;
    world.swarm.lines("app:2", &["reading settings", "boom"]);
    went_back(&world, &v1, &v2, FailureClass::ExitCode).await;
    let failure = world.deployment(&v2).failure.expect("a failure");
    assert_eq!(failure.exit_code, Some(3));
    assert_eq!(failure.log_tail, ["reading settings", "boom"]);
    assert_eq!(failure.node.as_deref(), Some("node-1"));
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_is_rolled_back() {
    let (world, v1, v2) = bad_version(Behaviour::Missing, "").await;
    went_back(&world, &v1, &v2, FailureClass::ImageMissing).await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_never_healthy_is_rolled_back() {
    let (world, v1, v2) = bad_version(Behaviour::Unhealthy { after: Duration::from_secs(3) }, "").await;
    world.swarm.checks("app:2", "GET /health\n503");
    went_back(&world, &v1, &v2, FailureClass::HealthCheck).await;
    let said = world.deployment(&v2).failure.expect("a failure").health_log;
    assert_eq!(said, ["exit code 1: GET /health", "503"].repeat(3));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_never_ready_is_rolled_back_at_the_progress_deadline() {
    let (world, v1, v2) = bad_version(Behaviour::Slow { ready_after: Duration::from_secs(100_000) }, "").await;
    went_back(&world, &v1, &v2, FailureClass::HealthCheck).await;
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_never_ends_is_rolled_back_at_the_progress_deadline() {
    let (world, v1, v2) = bad_version(Behaviour::PullHangs, "").await;
    went_back(&world, &v1, &v2, FailureClass::Deadline).await;
}

const SSD: &str = "placement: { constraints: [\"node.labels.disk == ssd\"] }, ";

#[tokio::test(start_paused = true)]
async fn a_version_that_no_node_can_take_is_known_before_anything_is_changed() {
    let world = World::running().await;
    let v1 = world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    let (effects, tasks) = (world.effects(), world.swarm.tasks_of("shop_web").len());
    let v2 = world
        .apply(&inline("shop", "", &two("app:2", "job:2").replace("deploy: {", &format!("deploy: {{ {SSD}"))))
        .await;
    world.until_phase(5, StackPhase::RolledBack).await;
    assert_eq!(world.effects(), effects, "nothing was written, not even to the service that is fine");
    assert_eq!(world.swarm.tasks_of("shop_web").len(), tasks);
    let failed = world.deployment(&v2);
    assert!(failed.progress.is_none());
    let message = failed.message.unwrap();
    let told = "no node can take it: node `node-1` does not meet `node.labels.disk == ssd` (it has no such label); \
                nothing was changed for it, and the last good version runs";
    assert!(message.contains(told), "{message}");
    went_back(&world, &v1, &v2, FailureClass::NoSuitableNode).await;
}

#[tokio::test(start_paused = true)]
async fn what_no_node_can_take_stays_held_until_a_person_says_otherwise() {
    let world = World::running().await;
    world.apply(&inline("shop", "onFailure: hold", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    let effects = world.effects();
    let compose = two("app:2", "job:1").replace("deploy: {", &format!("deploy: {{ {SSD}"));
    let v2 = world.apply(&inline("shop", "onFailure: hold", &compose)).await;
    world.ends_as(5, &v2, DeploymentPhase::Failed).await;
    assert_eq!(world.status().held.len(), 1);
    assert_eq!(world.effects(), effects, "nothing was changed for it");
    // The node that it asks for comes: the version is still held.
    world.swarm.node_label("node-1", "disk", "ssd");
    world.silence().await;
    assert_eq!(world.image_of("shop_web"), "app:1");
    let again = world.image("web", "app:2").await;
    world.ends_as(120, &again, DeploymentPhase::Converged).await;
}

#[tokio::test(start_paused = true)]
async fn a_first_version_that_no_node_can_take_makes_nothing() {
    let world = World::running().await;
    let compose = two("app:1", "job:1").replace("deploy: {", &format!("deploy: {{ {SSD}"));
    let v1 = world.apply(&inline("shop", "", &compose)).await;
    world.ends_as(5, &v1, DeploymentPhase::Failed).await;
    assert_eq!(world.phase(), StackPhase::Failed);
    assert_eq!(world.effects().iter().filter(|effect| effect.contains("shop")).count(), 0, "{}", world.report());
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_the_last_good_version_lacks_too_is_waited_for() {
    let world = World::running().await;
    world.swarm.add_node(&SimNode::worker("node-2").label("disk", "ssd"));
    let compose = |image: &str| two(image, "job:1").replace("deploy: {", &format!("deploy: {{ {SSD}"));
    world.apply(&inline("shop", "", &compose("app:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.swarm.node_down("node-2");
    let v2 = world.apply(&inline("shop", "", &compose("app:2"))).await;
    world.sleep(600).await;
    assert!(!world.deployment(&v2).phase.is_terminal(), "{}", world.report());
    world.swarm.node_up("node-2");
    world.ends_as(120, &v2, DeploymentPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_known_to_fail_stands_in_the_plan() {
    let world = World::running().await;
    world.push(&two("app:1", "job:1"));
    world.apply(&from_git("main", "")).await;
    world.until_phase(60, StackPhase::Converged).await;
    let place = "resources: { reservations: { memory: 900G }, limits: { memory: 990G } }, ";
    let bad = two("app:2", "job:1").replace("deploy: {", &format!("deploy: {{ {place}"));
    world.source.commit(URL, "bad", &[("stack.yml", &bad)]);
    let plan = world.inquiries().plan(&key("shop"), Some(&Wanted("bad".to_owned()))).await.unwrap();
    let told = plan.waiting.iter().find(|told| told.contains("no node can take it"));
    let told = told.unwrap_or_else(|| panic!("{plan:#?}"));
    assert!(told.starts_with("service `web`: ") && told.contains("node `node-1` has 8 GiB of memory"), "{told}");
    let plan = world.inquiries().plan(&key("shop"), None).await.unwrap();
    assert_eq!(plan.waiting, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn swarms_own_answer_to_a_failure_changes_nothing_of_ours() {
    for action in ["rollback", "pause", "continue"] {
        let update = format!("update_config: {{ failure_action: {action}, parallelism: 1, monitor: 5s }}, ");
        let (world, v1, v2) =
            bad_version(Behaviour::Exit { after: Duration::from_millis(200), code: 3 }, &update).await;
        went_back(&world, &v1, &v2, FailureClass::ExitCode).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_version_that_fails_has_nothing_to_go_back_to() {
    let world = World::running().await;
    world.swarm.image("app:1", Behaviour::Missing);
    let v1 = world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.ends_as(600, &v1, DeploymentPhase::Failed).await;
    assert_eq!(world.phase(), StackPhase::Failed);
    assert_eq!(world.condition(ConditionType::Stalled), Some(ConditionStatus::True));
    assert_eq!(world.status().observed_generation, 1);
    world.silence().await;
    let v2 = world.apply(&inline("shop", "", &two("app:2", "job:1"))).await;
    world.ends_as(120, &v2, DeploymentPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn with_hold_a_failed_version_stays_and_a_person_looks() {
    let world = World::running().await;
    world.apply(&inline("shop", "onFailure: hold", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.swarm.image("app:2", Behaviour::Missing);
    let v2 = world.apply(&inline("shop", "onFailure: hold", &two("app:2", "job:1"))).await;
    world.ends_as(600, &v2, DeploymentPhase::Failed).await;
    world.silence().await;
    assert_eq!(world.phase(), StackPhase::Failed);
    assert_eq!(world.image_of("shop_web"), "app:2");
    assert_eq!(world.status().observed_generation, 2);
    let v3 = world.apply(&inline("shop", "onFailure: hold", &two("app:3", "job:1"))).await;
    world.ends_as(120, &v3, DeploymentPhase::Converged).await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_fails_is_not_rolled_back() {
    let world = World::running().await;
    world.apply(&inline("shop", "progressDeadline: 1m, totalDeadline: 5m", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.swarm.image("app:2", Behaviour::Missing);
    world.swarm.image("app:1", Behaviour::Exit { after: Duration::ZERO, code: 9 });
    let v2 = world.apply(&inline("shop", "progressDeadline: 1m, totalDeadline: 5m", &two("app:2", "job:2"))).await;
    world.ends_as(1200, &v2, DeploymentPhase::Failed).await;
    let back = world.deployment(&world.deployment(&v2).rolled_back_by.expect("a rollback"));
    assert_eq!(back.phase, DeploymentPhase::Failed);
    assert_eq!(world.phase(), StackPhase::Failed);
    let count = world.history().len();
    world.sleep(3600).await;
    assert_eq!(world.history().len(), count, "{}", world.report());
}

#[tokio::test(start_paused = true)]
async fn what_the_last_good_version_needs_is_never_collected() {
    let compose = |text: &str, image: &str| {
        format!(
            "services:\n  web:\n    image: {image}\n    configs: [settings]\nconfigs: {{ settings: {{ content: {text} }} }}\n"
        )
    };
    let world = World::running().await;
    world.apply(&inline("shop", "", &compose("one", "app:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    let first = world.swarm.names(ObjectKind::Config);
    world.swarm.image("app:2", Behaviour::Missing);
    world.apply(&inline("shop", "", &compose("two", "app:2"))).await;
    world.until_phase(600, StackPhase::RolledBack).await;
    world.silence().await;
    assert_eq!(world.swarm.names(ObjectKind::Config), first, "the failed version's own config is gone again");
    world.apply(&inline("shop", "", &compose("three", "app:3"))).await;
    world.until_phase(600, StackPhase::Converged).await;
    world.silence().await;
    assert_eq!(world.swarm.names(ObjectKind::Config).len(), first.len());
    let made = world.events();
    assert!(made.iter().filter(|event| event.kind == EventType::Failed).count() <= 2);
}

#[tokio::test(start_paused = true)]
async fn the_way_back_makes_no_pauses_and_leaves_the_files_own_update_config() {
    let compose = |image: &str| {
        format!(
            "services:\n  web:\n    image: {image}\n    deploy:\n      replicas: 4\n      update_config: {{ parallelism: 1, delay: 60s }}\n"
        )
    };
    let world = World::running().await;
    world.apply(&inline("shop", "", &compose("app:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.swarm.image("app:2", Behaviour::ExitAfterHealthy { after: Duration::from_secs(150), code: 1 });
    let v2 = world.apply(&inline("shop", "", &compose("app:2"))).await;
    world.until_phase(300, StackPhase::RollingBack).await;
    world.until(5, "a rollback without pauses", |world| world.image_of("shop_web") == "app:1").await;
    assert_eq!(world.spec("shop_web").update_config.map(|config| config.delay), Some(0), "{}", world.report());
    world.until_phase(50, StackPhase::RolledBack).await;
    world.ends_as(1, &v2, DeploymentPhase::RolledBack).await;
    world
        .until(5, "the file's own update config", |world| {
            world.spec("shop_web").update_config.is_some_and(|config| config.delay == 60_000_000_000)
        })
        .await;
    world.silence().await;
    assert_eq!(world.last_trigger(), (Trigger::Rollback, DeploymentPhase::Converged), "{}", world.report());
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_was_removed_by_hand_is_made_again_from_the_sealed_copy_on_the_way_back() {
    let manifest = |image: &str, value: &str| {
        let text = format!(
            "services:\n  web:\n    image: {image}\n    secrets: [key]\n    deploy: {{ replicas: 1 }}\n\
             secrets:\n  key: {{ environment: KEY }}\n"
        );
        format!("{}variables: {{ KEY: {{ value: {value}, secret: true }} }}\n", inline("shop", "", &text))
    };
    let used = |world: &World| world.spec("shop_web").task_template.container_spec.secrets[0].secret_name.clone();
    let world = World::running().await;
    world.apply(&manifest("app:1", "the-first-value")).await;
    world.until_phase(60, StackPhase::Converged).await;
    let first = used(&world);
    world.swarm.image("app:2", Behaviour::Exit { after: Duration::from_secs(3), code: 1 });
    let failing = world.apply(&manifest("app:2", "the-second-value")).await;
    world.until(60, "the service uses the second secret", |world| used(world) != first).await;
    world.swarm.foreign_remove(&ObjectRef::new(ObjectKind::Secret, &first)).unwrap();
    assert_eq!(world.swarm.secret_data(&first), None);
    world.ends_as(300, &failing, DeploymentPhase::RolledBack).await;
    assert_eq!(used(&world), first);
    assert_eq!(world.swarm.secret_data(&first).unwrap().expose_text(), Some("the-first-value"));
    world.until_phase(60, StackPhase::RolledBack).await;
    world.silence().await;
}
