//! What a notifier would tell of: each real transition once, whatever the log holds beside it.

use std::time::Duration;

use skep::domain::*;
use skep::swarm::sim::Behaviour;

use crate::world::*;

/// The transitions of the whole log, as far as they are told when everything is asked for.
fn told(world: &World) -> Vec<Transition> {
    let of = |event: &Event| {
        let deployment = event.deployment.as_ref().map(|id| world.deployment(id));
        Transition::of(event, deployment.as_ref())
    };
    world.events().iter().filter_map(of).collect()
}

#[tokio::test(start_paused = true)]
async fn a_version_that_converges_is_told_of_when_it_starts_and_when_it_is_there() {
    let world = World::running().await;
    world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    assert_eq!(told(&world), [Transition::Started, Transition::Converged]);
    // The same version under another generation changes nothing.
    world.apply(&inline("shop", "monitor: 6s", &two("app:1", "job:1"))).await;
    world.until(60, "it is observed", |world| world.status().observed_generation == 2).await;
    world.silence().await;
    assert_eq!(told(&world)[2..], [Transition::Unchanged]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_and_its_rollback_are_one_story() {
    let world = World::running().await;
    world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.swarm.image("app:2", Behaviour::Exit { after: Duration::from_millis(500), code: 3 });
    world.apply(&inline("shop", "", &two("app:2", "job:2"))).await;
    world.until_phase(900, StackPhase::RolledBack).await;
    world.silence().await;
    assert_eq!(told(&world)[2..], [Transition::Started, Transition::Failed, Transition::RolledBack]);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_does_not_come_about_is_told_as_that() {
    let world = World::running().await;
    world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.swarm.image("app:2", Behaviour::Exit { after: Duration::from_millis(500), code: 3 });
    let v2 = world.apply(&inline("shop", "", &two("app:2", "job:2"))).await;
    world.until_phase(900, StackPhase::RollingBack).await;
    world.swarm.image("app:1", Behaviour::Exit { after: Duration::from_millis(500), code: 1 });
    world.ends_as(4000, &v2, DeploymentPhase::Failed).await;
    assert_eq!(told(&world)[2..], [Transition::Started, Transition::Failed, Transition::RollbackFailed]);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_before_the_first_write_has_failed_once_and_not_started() {
    let world = World::running().await;
    let id = world.apply(&inline("shop", "", "services: { web: { imagee: x } }")).await;
    world.ends_as(10, &id, DeploymentPhase::Failed).await;
    world.sleep(3600).await;
    assert_eq!(told(&world), [Transition::Failed]);
}

#[tokio::test(start_paused = true)]
async fn corrected_drift_and_a_name_that_is_taken_are_told_once() {
    let world = World::running().await;
    world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.sleep(10).await;
    let change = |spec: &mut ServiceSpec| spec.task_template.container_spec.image = "evil:1".to_owned();
    world.swarm.foreign_update("shop_web", change).unwrap();
    world.until(5, "it is undone", |world| world.image_of("shop_web") == "app:1").await;
    world.until_phase(60, StackPhase::Converged).await;
    world.silence().await;
    assert_eq!(told(&world)[2..], [Transition::DriftCorrected]);

    world.swarm.foreign_remove(&ObjectRef::new(ObjectKind::Service, "shop_worker")).unwrap();
    let foreign = ServiceSpec {
        name: "shop_worker".into(),
        task_template: TaskSpec {
            container_spec: ContainerSpec { image: "x:1".into(), ..ContainerSpec::default() },
            ..TaskSpec::default()
        },
        ..ServiceSpec::default()
    };
    let foreign = world.swarm.foreign_service(&foreign).unwrap();
    world.laws_of().is_foreign(&foreign.id);
    world.until_phase(60, StackPhase::Failed).await;
    world.sleep(3600).await;
    assert_eq!(told(&world)[3..], [Transition::Stalled]);
    world.swarm.foreign_remove(&ObjectRef::new(ObjectKind::Service, "shop_worker")).unwrap();
    world.until_phase(400, StackPhase::Converged).await;
    assert!(told(&world)[4..].contains(&Transition::Recovered), "{:?}", told(&world));
}
