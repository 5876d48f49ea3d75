//! A newer version comes first, a person may stop anything, and each deployment ends in a defined phase.

use std::time::Duration;

use skep::domain::*;
use skep::swarm::sim::Behaviour;

use crate::world::*;

const SLOW: Behaviour = Behaviour::Slow { ready_after: Duration::from_secs(60) };

async fn converged() -> World {
    let world = World::running().await;
    world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world
}

async fn in_phase(world: &World, id: &DeploymentId, phase: DeploymentPhase) {
    world.until(300, &format!("{phase:?}"), |world| world.deployment(id).phase == phase).await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_version_pre_empts_one_that_is_under_way() {
    let world = converged().await;
    world.swarm.image("app:2", SLOW);
    let v2 = world.apply(&inline("shop", "", &two("app:2", "job:2"))).await;
    in_phase(&world, &v2, DeploymentPhase::Verifying).await;
    world.sleep(5).await;
    let v3 = world.apply(&inline("shop", "", &two("app:3", "job:3"))).await;
    world.ends_as(1, &v2, DeploymentPhase::Superseded).await;
    world.ends_as(120, &v3, DeploymentPhase::Converged).await;
    world.silence().await;
    assert!(world.status().held.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_newer_version_pre_empts_while_steps_are_carried_out() {
    let world = converged().await;
    for wait in 0..12 {
        let old = world.apply(&inline("shop", "", &two(&format!("app:a{wait}"), &format!("job:a{wait}")))).await;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let new = world.apply(&inline("shop", "", &two(&format!("app:b{wait}"), &format!("job:b{wait}")))).await;
        world.ends_as(10, &old, DeploymentPhase::Superseded).await;
        world.ends_as(120, &new, DeploymentPhase::Converged).await;
        world.laws();
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_version_pre_empts_a_rollback() {
    let world = converged().await;
    world.swarm.image("app:2", Behaviour::Missing);
    let v2 = world.apply(&inline("shop", "", &two("app:2", "job:2"))).await;
    in_phase(&world, &v2, DeploymentPhase::RollingBack).await;
    let v3 = world.apply(&inline("shop", "", &two("app:3", "job:3"))).await;
    world.ends_as(1, &v2, DeploymentPhase::Failed).await;
    let back = world.deployment(&v2).rolled_back_by.expect("a rollback");
    assert_eq!(world.deployment(&back).phase, DeploymentPhase::Superseded);
    world.ends_as(120, &v3, DeploymentPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_version_left_half_way_wrote_is_taken_back_when_the_newer_one_cannot_be_rendered() {
    for (policy, image) in [("drift: report", "app:1"), ("irreversible: true", "app:2")] {
        let world = World::running().await;
        world.apply(&inline("shop", policy, &two("app:1", "job:1"))).await;
        world.until_phase(60, StackPhase::Converged).await;
        world.swarm.image("app:2", SLOW);
        let v2 = world.apply(&inline("shop", policy, &two("app:2", "job:2"))).await;
        in_phase(&world, &v2, DeploymentPhase::Verifying).await;
        let v3 = world.apply(&inline("shop", policy, "services: { web: { imagee: x } }")).await;
        world.ends_as(10, &v3, DeploymentPhase::Failed).await;
        world.sleep(120).await;
        assert_eq!(world.image_of("shop_web"), image, "{policy}\n{}", world.report());
        assert_eq!(world.phase(), StackPhase::Failed, "{}", world.report());
        world.silence().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_cancelled_under_way_is_taken_back_and_held() {
    let world = converged().await;
    world.swarm.image("app:2", SLOW);
    let v2 = world.apply(&inline("shop", "", &two("app:2", "job:2"))).await;
    in_phase(&world, &v2, DeploymentPhase::Verifying).await;
    world.declare.cancel(&key("shop"), None, &ask()).await.unwrap();
    world.ends_as(1, &v2, DeploymentPhase::Cancelled).await;
    world.until_phase(120, StackPhase::RolledBack).await;
    assert_eq!(world.image_of("shop_web"), "app:1");
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_deployment_cancelled_before_it_wrote_leaves_everything_and_new_pushes_flow() {
    let world = World::running().await;
    world.push(&two("app:1", "job:1"));
    world.apply(&from_git("main", "")).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.source.hang(URL, true);
    let v2 = world.apply(&from_git("refs/heads/main", "")).await;
    in_phase(&world, &v2, DeploymentPhase::Fetching).await;
    world.declare.cancel(&key("shop"), None, &ask()).await.unwrap();
    world.ends_as(1, &v2, DeploymentPhase::Cancelled).await;
    world.push(&two("app:2", "job:1"));
    world.source.hang(URL, false);
    world.sleep(600).await;
    assert_eq!((world.history().len(), world.phase()), (2, StackPhase::Failed), "{}", world.report());
    world.silence().await;
    world.push(&two("app:3", "job:1"));
    world.until_phase(180, StackPhase::Converged).await;
    assert_eq!(world.image_of("shop_web"), "app:3");
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_rollback_leaves_the_stack_to_a_person() {
    for named in [false, true] {
        let world = converged().await;
        world.swarm.image("app:2", Behaviour::Missing);
        let v2 = world.apply(&inline("shop", "", &two("app:2", "job:2"))).await;
        in_phase(&world, &v2, DeploymentPhase::RollingBack).await;
        world.declare.cancel(&key("shop"), Some(&v2).filter(|_| named), &ask()).await.unwrap();
        world.ends_as(1, &v2, DeploymentPhase::Failed).await;
        assert_eq!(world.phase(), StackPhase::Failed);
        world.silence().await;
        assert_eq!(world.history().len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_deployment_that_is_cancelled_is_defined_too() {
    let world = World::running().await;
    world.swarm.image("app:1", SLOW);
    let v1 = world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    in_phase(&world, &v1, DeploymentPhase::Verifying).await;
    world.declare.cancel(&key("shop"), None, &ask()).await.unwrap();
    world.ends_as(1, &v1, DeploymentPhase::Cancelled).await;
    assert_eq!(world.phase(), StackPhase::Failed);
    assert_eq!(world.status().observed_generation, 1);
    world.silence().await;
}
