//! The way up: a declared stack runs, and then costs nothing.

use skep::domain::*;

use crate::world::*;

const WHOLE: &str = "\
services:
  web:
    image: app:1
    configs: [settings]
    secrets: [token]
    networks: [inner]
networks: { inner: {} }
configs: { settings: { content: hello } }
secrets: { token: { environment: TOKEN } }
";

#[tokio::test(start_paused = true)]
async fn a_declared_stack_converges_in_order_and_then_costs_nothing() {
    let world = World::running().await;
    let manifest =
        format!("{}variables: {{ TOKEN: {{ value: hunter2hunter2, secret: true }} }}\n", inline("shop", "", WHOLE));
    let id = world.apply(&manifest).await;
    world.until_phase(60, StackPhase::Converged).await;
    let made: Vec<String> = world.effects().into_iter().filter(|effect| !effect.contains("skep-claim")).collect();
    let kinds: Vec<&str> = made.iter().filter_map(|effect| effect.split(' ').nth(1)).collect();
    assert_eq!(kinds, ["network", "config", "secret", "service"], "{made:?}");
    let deployment = world.deployment(&id);
    assert_eq!(deployment.phase, DeploymentPhase::Converged);
    let status = world.status();
    assert_eq!(status.observed_generation, 1);
    assert_eq!(status.last_good.as_ref().map(|good| &good.version.deployment), Some(&id));
    assert_eq!(status.live, status.desired);
    assert_eq!(status.inventory.0.len(), 4);
    assert_eq!(world.condition(ConditionType::Ready), Some(ConditionStatus::True));
    assert_eq!(world.condition(ConditionType::RollbackReady), Some(ConditionStatus::True));
    assert!(!format!("{:?}", world.events()).contains("hunter2"));
    let steps: Vec<Event> = world.events().into_iter().filter(|event| event.kind == EventType::StepApplied).collect();
    let said: Vec<String> = steps.iter().map(|event| format!("{} {}", event.reason, event.message)).collect();
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(said[3].starts_with("Create service `shop_web`: "), "{said:?}");
    assert!(steps.iter().all(|event| event.deployment.as_ref() == Some(&id)));
    world.silence().await;
    assert_eq!(world.history().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_converged_stack_costs_nothing_after_a_restart_either() {
    let mut world = World::running().await;
    world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.silence().await;
    let writes = world.swarm.writes().len();
    world.restart();
    world.silence().await;
    assert_eq!(world.swarm.writes().len(), 0, "{writes}");
    assert_eq!(world.phase(), StackPhase::Converged);
}

#[tokio::test(start_paused = true)]
async fn a_last_good_version_that_cannot_be_read_back_is_said_and_the_next_one_mends_it() {
    let mut world = World::running().await;
    let id = world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.lose_kept(&id).await;
    let writes = world.swarm.writes().len();
    world.restart();
    world
        .until(60, "the parachute is not packed", |world| {
            world.condition(ConditionType::RollbackReady) == Some(ConditionStatus::False)
        })
        .await;
    world.until_phase(60, StackPhase::Failed).await;
    let status = world.status();
    let stalled = status.condition(ConditionType::Stalled).unwrap();
    assert_eq!(stalled.reason, Reason::LastGoodUnreadable);
    assert!(stalled.message.contains("Deploy a version anew"), "{}", stalled.message);
    assert_eq!(world.swarm.writes().len(), writes, "what runs is left alone");
    let next = world.image("web", "app:2").await;
    world.ends_as(60, &next, DeploymentPhase::Converged).await;
    assert_eq!(world.condition(ConditionType::RollbackReady), Some(ConditionStatus::True));
    assert_eq!(world.phase(), StackPhase::Converged);
}
