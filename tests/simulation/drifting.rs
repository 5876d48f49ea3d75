//! Other people's hands: corrected, or only shown, and never fought with.

use skep::domain::*;

use crate::world::*;

fn meddle(world: &World, image: &str) {
    let change = |spec: &mut ServiceSpec| spec.task_template.container_spec.image = image.to_owned();
    world.swarm.foreign_update("shop_web", change).unwrap();
}

async fn converged(policy: &str) -> World {
    let world = World::running().await;
    world.apply(&inline("shop", policy, &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.sleep(10).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_foreign_change_is_undone_within_a_second() {
    let world = converged("").await;
    meddle(&world, "evil:1");
    world.until(1, "it is undone", |world| world.image_of("shop_web") == "app:1").await;
    world.until_phase(60, StackPhase::Converged).await;
    assert_eq!(world.last_trigger(), (Trigger::Drift, DeploymentPhase::Converged));
    let found = world.events().into_iter().find(|event| event.kind == EventType::DriftDetected).unwrap().message;
    assert!(found.contains("Image") && found.contains("by another client of the engine"), "{found}");
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_object_is_made_again() {
    let world = converged("").await;
    world.swarm.foreign_remove(&ObjectRef::new(ObjectKind::Service, "shop_worker")).unwrap();
    world.until(2, "it is back", |world| world.swarm.service("shop_worker").is_some()).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_writer_who_repeats_himself_is_slowed_down_for() {
    let world = converged("").await;
    world.swarm.forget_calls();
    let mut marked = false;
    for round in 0..600 {
        meddle(&world, &format!("evil:{round}"));
        world.sleep(1).await;
        let status = world.status();
        let drifted = status.condition(ConditionType::Drifted);
        marked |= drifted.is_some_and(|it| it.reason == Reason::Conflict && it.message.contains("again and again"));
    }
    assert!(marked, "whoever looks is told that two writers are at it");
    let writes = world.swarm.writes().len();
    assert!(writes < 40, "{writes} corrections in ten minutes");
    world.until_phase(400, StackPhase::Converged).await;
    assert_eq!(world.image_of("shop_web"), "app:1");
    let count = world.history().len();
    assert!(count < 40, "{count} deployments");
}

#[tokio::test(start_paused = true)]
async fn reported_drift_is_shown_and_left() {
    let world = converged("drift: report").await;
    world.swarm.forget_calls();
    meddle(&world, "evil:1");
    world.until(5, "it is shown", |world| world.condition(ConditionType::Drifted) == Some(ConditionStatus::True)).await;
    world.silence().await;
    assert_eq!(world.image_of("shop_web"), "evil:1");
    assert!(world.swarm.writes().is_empty());
}

fn labelled(world: &World, service: &str) -> Option<String> {
    world.swarm.service(service).and_then(|live| live.spec.labels.get("owner").cloned())
}

/// Fields of one stack: some are put right, some are only shown.
#[tokio::test(start_paused = true)]
async fn a_field_that_is_only_reported_is_left_until_the_next_deployment() {
    let mut world = converged(r#"report: ["web:/Labels/owner", "worker:/Mode"]"#).await;
    world.swarm.forget_calls();
    let label = |spec: &mut ServiceSpec| drop(spec.labels.insert("owner".to_owned(), "ops".to_owned()));
    world.swarm.foreign_update("shop_web", label).unwrap();
    world.until(5, "it is shown", |world| world.condition(ConditionType::Drifted) == Some(ConditionStatus::True)).await;
    world.silence().await;
    assert!(world.swarm.writes().is_empty(), "and left: {}", world.report());
    let status = world.status();
    assert!(status.drift.stays && status.drift.found[0].contains("/Labels/owner"), "{:?}", status.drift);

    // Another field of the same service is put right, and this one stays; in another service it is no such field.
    meddle(&world, "evil:1");
    world.swarm.foreign_update("shop_worker", label).unwrap();
    let right = |world: &World| world.image_of("shop_web") == "app:1" && labelled(world, "shop_worker").is_none();
    world.until(5, "that is undone", right).await;
    world.until_phase(60, StackPhase::Converged).await;
    assert_eq!(world.last_trigger(), (Trigger::Drift, DeploymentPhase::Converged));
    assert_eq!(labelled(&world, "shop_web").as_deref(), Some("ops"));
    world
        .until(5, "it is still shown", |world| world.condition(ConditionType::Drifted) == Some(ConditionStatus::True))
        .await;
    world.silence().await;
    assert_eq!(labelled(&world, "shop_web").as_deref(), Some("ops"));
    assert!(world.status().drift.stays);

    // So it does after a restart; the next deployment writes it anew.
    world.restart();
    world.silence().await;
    assert_eq!(labelled(&world, "shop_web").as_deref(), Some("ops"));
    let policy = r#"report: ["web:/Labels/owner"]"#;
    world.apply(&inline("shop", policy, &two("app:2", "job:1"))).await;
    world.until(60, "the next version runs", |world| world.image_of("shop_web") == "app:2").await;
    world.until_phase(60, StackPhase::Converged).await;
    assert_eq!(labelled(&world, "shop_web"), None);
    world.silence().await;
    assert_ne!(world.condition(ConditionType::Drifted), Some(ConditionStatus::True));
}

#[tokio::test(start_paused = true)]
async fn an_observed_stack_is_never_written() {
    let world = World::running().await;
    world.apply(&inline("shop", "mode: observe", &two("app:1", "job:1"))).await;
    world.sleep(30).await;
    world.swarm.forget_calls();
    world.sleep(3600).await;
    assert!(world.swarm.writes().is_empty());
    assert!(world.swarm.names(ObjectKind::Service).is_empty());
    world.apply(&inline("shop", "mode: auto", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_belongs_to_someone_else_stops_everything_before_the_first_write() {
    let world = World::running().await;
    let foreign = ServiceSpec {
        name: "shop_web".into(),
        task_template: TaskSpec {
            container_spec: ContainerSpec { image: "x:1".into(), ..ContainerSpec::default() },
            ..TaskSpec::default()
        },
        ..ServiceSpec::default()
    };
    let foreign = world.swarm.foreign_service(&foreign).unwrap();
    world.laws_of().is_foreign(&foreign.id);
    world.sleep(5).await;
    world.swarm.forget_calls();
    let id = world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.ends_as(10, &id, DeploymentPhase::Failed).await;
    assert_eq!(world.deployment(&id).failure.map(|failure| failure.class), Some(FailureClass::Preflight));
    assert!(world.swarm.writes().is_empty());
    world.sleep(3600).await;
    assert!(world.swarm.writes().is_empty());
    world.always();
    assert_eq!(world.phase(), StackPhase::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_leaves_what_somebody_made_under_a_name_of_ours() {
    let world = converged("").await;
    world.swarm.foreign_remove(&ObjectRef::new(ObjectKind::Service, "shop_web")).unwrap();
    let task = TaskSpec {
        container_spec: ContainerSpec { image: "x:1".into(), ..ContainerSpec::default() },
        ..TaskSpec::default()
    };
    let spec = ServiceSpec { name: "shop_web".into(), task_template: task, ..ServiceSpec::default() };
    let theirs = world.swarm.foreign_service(&spec).unwrap();
    world.laws_of().is_foreign(&theirs.id);
    // Ours was about to be made again, which is noted before it is found that it cannot be.
    world.until(10, "it is in the way", |world| world.phase() == StackPhase::Failed).await;
    world.declare.delete(&key("shop"), false, &ask()).await.unwrap();
    world.until(60, "the stack is gone", |world| world.stack().is_none()).await;
    assert_eq!(world.swarm.service("shop_web").map(|live| live.id.clone()), Some(theirs.id));
    assert_eq!(world.swarm.names(ObjectKind::Service), ["shop_web"]);
    world.always();
}

#[tokio::test(start_paused = true)]
async fn drift_that_is_corrected_does_not_hide_a_version_that_failed() {
    let world = converged("").await;
    let v2 = world.apply(&inline("shop", "", "services: { web: { imagee: x } }")).await;
    world.ends_as(10, &v2, DeploymentPhase::Failed).await;
    meddle(&world, "evil:1");
    world.until(5, "it is undone", |world| world.image_of("shop_web") == "app:1").await;
    world.sleep(60).await;
    assert_eq!(world.phase(), StackPhase::Failed, "{}", world.report());
    world.silence().await;
    // A look that is asked for tries it again all the same.
    let count = world.history().len();
    world.declare.reconcile(&key("shop"), &ask()).await.unwrap();
    world.until(5, "it is tried again", |world| world.history().len() == count + 1).await;
    assert_eq!(world.last_trigger(), (Trigger::Api, DeploymentPhase::Failed));
}
