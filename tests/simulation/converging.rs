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
