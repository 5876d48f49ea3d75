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
async fn a_number_that_somebody_else_owns_is_kept_by_deployments_and_rollbacks() {
    let world = World::running().await;
    let policy = "ignore: [\"web:/Mode/Replicated/Replicas\"]";
    let manifest = |image: &str| {
        inline("shop", policy, &format!("services:\n  web:\n    image: {image}\n    deploy: {{ replicas: 2 }}\n"))
    };
    let number = |world: &World| world.spec("shop_web").mode.replicated.and_then(|mode| mode.replicas);
    let scale = |world: &World, to: u64| {
        let change = |spec: &mut ServiceSpec| spec.mode.replicated.get_or_insert_default().replicas = Some(to);
        world.swarm.foreign_update("shop_web", change).unwrap();
    };
    let v1 = world.apply(&manifest("app:1")).await;
    world.ends_as(120, &v1, DeploymentPhase::Converged).await;
    assert_eq!(number(&world), Some(2));
    for (to, good, bad) in [(5, "app:2", "app:3"), (1, "app:4", "app:5")] {
        scale(&world, to);
        world.sleep(30).await;
        let newer = world.apply(&manifest(good)).await;
        world.ends_as(120, &newer, DeploymentPhase::Converged).await;
        assert_eq!(number(&world), Some(to));
        world.swarm.image(bad, Behaviour::Exit { after: Duration::from_millis(500), code: 3 });
        let failed = world.apply(&manifest(bad)).await;
        world.ends_as(300, &failed, DeploymentPhase::RolledBack).await;
        assert_eq!((number(&world), world.image_of("shop_web")), (Some(to), good.to_owned()));
        world.until_phase(60, StackPhase::RolledBack).await;
        assert_eq!(world.condition(ConditionType::Healthy), Some(ConditionStatus::True));
    }
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

#[tokio::test(start_paused = true)]
async fn a_new_version_waits_for_approval_and_going_back_does_not() {
    let mut world = World::running().await;
    let v1 = world.apply(&inline("shop", "mode: approve", &two("app:1", "job:1"))).await;
    let awaits = |id: &DeploymentId| {
        let id = id.clone();
        move |world: &World| world.deployment(&id).phase == DeploymentPhase::AwaitingApproval
    };
    world.until(60, "v1 waits", awaits(&v1)).await;
    assert!(world.swarm.service("shop_web").is_none());
    assert_eq!(world.phase(), StackPhase::Progressing);
    let message = world.deployment(&v1).message.unwrap();
    assert!(message.contains(&format!("skep approve {v1}")), "{message}");
    // However long it takes: the clocks stand still.
    world.silence().await;
    world.sleep(3600 * 5).await;
    world.restart();
    world.silence().await;
    let plan = world.deployment(&v1).plan.unwrap();
    let wrong = world.declare.approve(&key("shop"), &v1, Some("sha256:0"), &ask()).await.unwrap_err();
    assert!(wrong.to_string().contains("another one by now"), "{wrong}");
    world.declare.approve(&key("shop"), &v1, Some(plan.as_str()), &ask()).await.unwrap();
    world.ends_as(120, &v1, DeploymentPhase::Converged).await;

    // What was approved is healed without another word.
    world.swarm.foreign_remove(&ObjectRef::new(ObjectKind::Service, "shop_worker")).unwrap();
    world.until(120, "healed", |world| world.swarm.service("shop_worker").is_some()).await;
    world.until_phase(120, StackPhase::Converged).await;

    // And a version that fails goes back without one.
    world.swarm.image("bad:1", Behaviour::Exit { after: Duration::from_secs(1), code: 3 });
    let bad = world.image("web", "bad:1").await;
    world.until(60, "the bad one waits", awaits(&bad)).await;
    world.declare.approve(&key("shop"), &bad, None, &ask()).await.unwrap();
    world.ends_as(300, &bad, DeploymentPhase::RolledBack).await;
    assert_eq!(world.image_of("shop_web"), "app:1");
    let late = world.declare.approve(&key("shop"), &bad, None, &ask()).await.unwrap_err();
    assert!(late.to_string().contains("does not wait for approval"), "{late}");
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn an_approval_holds_for_the_plan_that_was_seen_and_for_no_other() {
    let world = World::running().await;
    let v1 = world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.ends_as(60, &v1, DeploymentPhase::Converged).await;
    let v2 = world.apply(&inline("shop", "mode: approve", &two("app:2", "job:1"))).await;
    let waits = |world: &World| world.deployment(&v2).phase == DeploymentPhase::AwaitingApproval;
    world.until(60, "v2 waits", waits).await;
    let seen = world.deployment(&v2).plan.unwrap();
    // Somebody else changes the service meanwhile: the plan is another one, and the approval of the first one is worth nothing.
    world.swarm.foreign_remove(&ObjectRef::new(ObjectKind::Service, "shop_worker")).unwrap();
    world.until(60, "another plan", |world| world.deployment(&v2).plan.as_ref() != Some(&seen)).await;
    let stale = world.declare.approve(&key("shop"), &v2, Some(seen.as_str()), &ask()).await.unwrap_err();
    assert!(stale.to_string().contains("another one by now"), "{stale}");
    assert_eq!(world.image_of("shop_web"), "app:1");
    // A newer version takes its place, and waits by itself.
    let v3 = world.apply(&inline("shop", "mode: approve", &two("app:3", "job:1"))).await;
    world.ends_as(60, &v2, DeploymentPhase::Superseded).await;
    world.until(60, "v3 waits", |world| world.deployment(&v3).phase == DeploymentPhase::AwaitingApproval).await;
    world.declare.approve(&key("shop"), &v3, None, &ask()).await.unwrap();
    world.ends_as(120, &v3, DeploymentPhase::Converged).await;
    assert_eq!(world.image_of("shop_web"), "app:3");
    world.silence().await;
}
