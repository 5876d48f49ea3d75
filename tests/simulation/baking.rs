//! A version that bakes: good for the monitor period, and watched for longer before it counts as good.

use std::time::Duration;

use skep::domain::*;
use skep::swarm::sim::{Behaviour, CallKind, SimNode, SimOptions};

use crate::world::*;

const BAKE: &str = "bake: 10m, monitor: 5s, totalDeadline: 5m, progressDeadline: 1m";

async fn baking(second: Behaviour) -> (World, DeploymentId) {
    let nodes = [SimNode::manager("node-1"), SimNode::worker("node-2")];
    let mut world = World::with(SimOptions::default().nodes(nodes)).await;
    world.start(None);
    world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.swarm.image("app:2", second);
    let v2 = world.apply(&inline("shop", BAKE, &two("app:2", "job:2"))).await;
    world
        .until(60, "it bakes", |world| {
            world.deployment(&v2).progress.is_some_and(|progress| progress.baking_since.is_some())
        })
        .await;
    (world, v2)
}

#[tokio::test(start_paused = true)]
async fn a_version_counts_as_good_when_it_has_baked() {
    let (world, v2) = baking(Behaviour::Run).await;
    let since = world.deployment(&v2).progress.and_then(|progress| progress.baking_since);
    let end = since.and_then(|since| since.checked_add(jiff::SignedDuration::from_mins(10)).ok());
    assert_eq!(world.next().and_then(|next| next.at), end);
    world.swarm.forget_calls();
    world.sleep(590).await;
    assert_eq!(world.deployment(&v2).phase, DeploymentPhase::Verifying, "{}", world.report());
    assert_eq!(world.condition(ConditionType::Healthy), Some(ConditionStatus::True));
    let listings = world.swarm.calls().get(&CallKind::Tasks).copied().unwrap_or_default();
    assert!(listings < 320, "{listings} listings of tasks in ten minutes of baking");
    world.ends_as(30, &v2, DeploymentPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_regression_in_the_bake_time_rolls_back_though_the_task_comes_up_again() {
    let late = Behaviour::ExitAfterHealthy { after: Duration::from_secs(200), code: 7 };
    let (world, v2) = baking(late).await;
    // `continue` would have Swarm go on, and each new task is healthy for minutes.
    world.ends_as(300, &v2, DeploymentPhase::RolledBack).await;
    assert_eq!(world.deployment(&v2).failure.and_then(|failure| failure.exit_code), Some(7));
    assert_eq!(world.image_of("shop_web"), "app:1");
    assert_eq!(world.status().held.len(), 1);
    world.until_phase(60, StackPhase::RolledBack).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_has_baked_is_not_judged_by_what_comes_later() {
    let late = Behaviour::ExitAfterHealthy { after: Duration::from_secs(900), code: 7 };
    let (world, v2) = baking(late).await;
    world.ends_as(700, &v2, DeploymentPhase::Converged).await;
    world.sleep(900).await;
    assert!(world.status().held.is_empty());
    assert_eq!(world.image_of("shop_web"), "app:2");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_goes_while_it_bakes_is_not_the_versions_fault() {
    let (world, v2) = baking(Behaviour::Run).await;
    world.sleep(100).await;
    world.swarm.node_down("node-2");
    world.sleep(200).await;
    world.swarm.node_up("node-2");
    world.ends_as(400, &v2, DeploymentPhase::Converged).await;
    assert!(world.status().held.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_way_back_does_not_bake_and_a_newer_version_does_not_wait_for_it() {
    let (world, v2) = baking(Behaviour::Run).await;
    world.swarm.image("app:3", Behaviour::Missing);
    let v3 = world.apply(&inline("shop", BAKE, &two("app:3", "job:3"))).await;
    world.ends_as(60, &v2, DeploymentPhase::Superseded).await;
    world.ends_as(120, &v3, DeploymentPhase::RolledBack).await;
    assert_eq!(world.image_of("shop_web"), "app:1", "the version that had not baked is not gone back to");
}

#[tokio::test(start_paused = true)]
async fn the_bake_time_goes_on_over_a_restart() {
    let (mut world, v2) = baking(Behaviour::Run).await;
    world.sleep(400).await;
    world.restart();
    world.sleep(150).await;
    assert_eq!(world.deployment(&v2).phase, DeploymentPhase::Verifying);
    world.ends_as(90, &v2, DeploymentPhase::Converged).await;
}
