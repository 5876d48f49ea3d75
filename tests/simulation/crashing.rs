//! The controller dies at any write or transaction, before or after it took effect. Another one goes on from the records:
//! it ends where it should, nothing is made twice, nothing is orphaned.

use std::time::Duration;

use skep::domain::*;
use skep::sim::gate::At;
use skep::swarm::sim::{Behaviour, CallKind};

use crate::world::*;

fn compose(image: &str) -> String {
    format!(
        "services:\n  web:\n    image: {image}\n    configs: [settings]\n  worker:\n    image: job:1\n    environment: {{ OF: \"{image}\" }}\n\
         configs: {{ settings: {{ content: \"for {image}\" }} }}\n"
    )
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
async fn a_first_deployment_survives_a_crash_anywhere() {
    for at in places(9) {
        let mut world = World::new().await;
        world.start(Some(at));
        let id = world.apply(&inline("shop", "", &compose("app:1"))).await;
        die_and_go_on(&mut world, 15).await;
        world.ends_as(120, &id, DeploymentPhase::Converged).await;
        world.sleep(30).await;
        world.laws();
        assert_eq!(world.phase(), StackPhase::Converged, "{at:?}");
        let effects = world.effects();
        for service in ["web", "worker"] {
            let made = effects.iter().filter(|effect| **effect == format!("create service shop_{service}")).count();
            assert_eq!(made, 1, "{at:?}: {effects:?}");
        }
        assert_eq!(world.swarm.names(ObjectKind::Config).len(), 2, "{at:?}");
        assert_eq!(world.swarm.tasks_of("shop_web").len(), 1, "{at:?}: nothing was updated for nothing");
        assert_eq!(world.history().len(), 1, "{at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_survives_a_crash_anywhere() {
    for at in places(9) {
        let mut world = World::running().await;
        world.apply(&inline("shop", "", &compose("app:1"))).await;
        world.until_phase(60, StackPhase::Converged).await;
        world.kill();
        world.start(Some(at));
        world.sleep(2).await;
        let id = world.apply(&inline("shop", "", &compose("app:2"))).await;
        die_and_go_on(&mut world, 15).await;
        world.ends_as(120, &id, DeploymentPhase::Converged).await;
        world.sleep(30).await;
        world.laws();
        assert_eq!(world.image_of("shop_web"), "app:2", "{at:?}");
        assert_eq!(
            world.swarm.names(ObjectKind::Config).len(),
            2,
            "{at:?}: {:?}",
            world.swarm.names(ObjectKind::Config)
        );
        let effects = world.effects();
        assert_eq!(
            effects.iter().filter(|effect| **effect == "update service shop_web").count(),
            1,
            "{at:?}: {effects:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollback_survives_a_crash_anywhere() {
    for at in places(10) {
        let mut world = World::running().await;
        world.apply(&inline("shop", "", &compose("app:1"))).await;
        world.until_phase(60, StackPhase::Converged).await;
        world.swarm.image("app:2", Behaviour::Exit { after: Duration::from_millis(300), code: 1 });
        world.kill();
        world.start(Some(at));
        world.sleep(2).await;
        let id = world.apply(&inline("shop", "", &compose("app:2"))).await;
        die_and_go_on(&mut world, 40).await;
        world.ends_as(200, &id, DeploymentPhase::RolledBack).await;
        world.until_phase(60, StackPhase::RolledBack).await;
        world.sleep(30).await;
        world.laws();
        assert_eq!(world.image_of("shop_web"), "app:1", "{at:?}");
        assert_eq!(world.history().len(), 3, "{at:?}\n{}", world.report());
        assert_eq!(world.status().held.len(), 1, "{at:?}");
        assert_eq!(world.swarm.names(ObjectKind::Config).len(), 2, "{at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_survives_a_crash_anywhere() {
    for at in places(5) {
        let mut world = World::running().await;
        world.apply(&inline("shop", "", &compose("app:1"))).await;
        world.until_phase(60, StackPhase::Converged).await;
        world.kill();
        world.start(Some(at));
        world.sleep(2).await;
        world.declare.delete(&key("shop"), false, &ask()).await.unwrap();
        die_and_go_on(&mut world, 10).await;
        world.until(60, "the stack is gone", |world| world.stack().is_none()).await;
        assert!(world.swarm.names(ObjectKind::Service).is_empty(), "{at:?}");
        assert_eq!(world.swarm.names(ObjectKind::Network), ["ingress"], "{at:?}");
        assert_eq!(world.swarm.names(ObjectKind::Config).len(), 1, "{at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_makes_nothing_twice() {
    for kind in [
        CallKind::CreateNetwork,
        CallKind::CreateConfig,
        CallKind::CreateService,
        CallKind::UpdateService,
        CallKind::Remove,
    ] {
        let world = World::running().await;
        world.sleep(2).await;
        world.swarm.lose_answer_next(kind);
        let v1 = world.apply(&inline("shop", "", &compose("app:1"))).await;
        world.ends_as(120, &v1, DeploymentPhase::Converged).await;
        let v2 = world.apply(&inline("shop", "", &compose("app:2"))).await;
        world.ends_as(120, &v2, DeploymentPhase::Converged).await;
        world.sleep(60).await;
        world.laws();
        let effects = world.effects();
        for wanted in ["create network shop_default", "create service shop_web", "update service shop_web"] {
            assert_eq!(effects.iter().filter(|effect| *effect == wanted).count(), 1, "{kind:?}: {effects:?}");
        }
        assert_eq!(world.swarm.names(ObjectKind::Config).len(), 2, "{kind:?}");
        assert_eq!(world.phase(), StackPhase::Converged);
    }
}
