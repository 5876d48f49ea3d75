//! Jobs, global services, services scaled to zero, and numbers left to others.

use std::time::Duration;

use skep::domain::*;
use skep::swarm::sim::{Behaviour, SimNode, SimOptions};

use crate::world::*;

async fn converges(compose: &str) -> World {
    let world = World::running().await;
    world.swarm.image("once:1", Behaviour::Exit { after: Duration::from_secs(2), code: 0 });
    world.swarm.image("once:2", Behaviour::Exit { after: Duration::from_secs(2), code: 0 });
    world.apply(&inline("shop", "", compose)).await;
    world.until_phase(120, StackPhase::Converged).await;
    world.silence().await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_once_for_each_version() {
    let compose = |image: &str| {
        format!(
            "services:\n  once:\n    image: {image}\n    deploy: {{ mode: replicated-job }}\n  web:\n    image: app:1\n"
        )
    };
    let world = converges(&compose("once:1")).await;
    assert_eq!(world.swarm.tasks_of("shop_once").len(), 1);
    world.apply(&inline("shop", "", &compose("once:2"))).await;
    world
        .until(120, "v2 has converged", |world| {
            world.newest().phase == DeploymentPhase::Converged && world.history().len() == 2
        })
        .await;
    world.silence().await;
    assert_eq!(world.swarm.service("shop_once").and_then(|live| live.job_iteration), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_global_service_runs_on_every_node_and_on_a_new_one() {
    let nodes = ["a", "b", "c"].map(SimNode::manager);
    let mut world = World::with(SimOptions::default().nodes(nodes)).await;
    world.start(None);
    world.apply(&inline("shop", "", "services:\n  web:\n    image: app:1\n    deploy: { mode: global }\n")).await;
    world.until_phase(120, StackPhase::Converged).await;
    assert_eq!(world.newest().services[0].wanted, 3);
    world.swarm.add_node(&SimNode::worker("d"));
    // How many nodes there are is part of the environment's status, which the next resync writes.
    world.sleep(400).await;
    world.silence().await;
    assert_eq!(world.phase(), StackPhase::Converged);
}

#[tokio::test(start_paused = true)]
async fn a_service_scaled_to_zero_has_converged_when_nothing_runs() {
    let world =
        converges("services:\n  web:\n    image: app:1\n    deploy: { replicas: 0 }\n  api:\n    image: app:1\n").await;
    world.apply(&inline("shop", "", "services:\n  web:\n    image: app:1\n    deploy: { replicas: 2 }\n  api:\n    image: app:1\n    deploy: { replicas: 0 }\n")).await;
    world
        .until(120, "v2 has converged", |world| {
            world.newest().phase == DeploymentPhase::Converged && world.history().len() == 2
        })
        .await;
    world.silence().await;
    let running =
        |name: &str| world.swarm.tasks_of(name).iter().filter(|task| task.state == TaskState::Running).count();
    assert_eq!((running("shop_web"), running("shop_api")), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_number_that_the_file_leaves_out_is_left_to_others() {
    let world = converges("services:\n  web:\n    image: app:1\n").await;
    world
        .swarm
        .foreign_update("shop_web", |spec| {
            spec.mode.replicated.get_or_insert_default().replicas = Some(4);
        })
        .unwrap();
    world.sleep(30).await;
    assert_eq!(world.history().len(), 1, "{}", world.report());
    world.apply(&inline("shop", "", "services:\n  web:\n    image: app:2\n")).await;
    world
        .until(120, "v2 has converged", |world| {
            world.newest().phase == DeploymentPhase::Converged && world.history().len() == 2
        })
        .await;
    assert_eq!(world.spec("shop_web").mode.replicated.and_then(|mode| mode.replicas), Some(4));
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_no_longer_wanted_goes_when_the_version_has_converged() {
    let world = converges(&two("app:1", "job:1")).await;
    world.swarm.image("app:2", Behaviour::Missing);
    world.apply(&inline("shop", "", "services:\n  web:\n    image: app:2\n")).await;
    world.until_phase(120, StackPhase::RolledBack).await;
    assert!(world.swarm.service("shop_worker").is_some());
    assert!(!world.effects().iter().any(|effect| effect.starts_with("remove service")));
    world.apply(&inline("shop", "", "services:\n  web:\n    image: app:3\n")).await;
    world.until_phase(120, StackPhase::Converged).await;
    world.until(30, "the worker is gone", |world| world.swarm.service("shop_worker").is_none()).await;
    world.silence().await;
}
