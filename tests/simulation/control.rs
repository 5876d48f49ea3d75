//! A person's words: pin, hold, suspension, another look, deletion.

use std::time::Duration;

use jiff::SignedDuration;
use skep::declare::{Ask, DeployRequest};
use skep::domain::*;
use skep::swarm::sim::Behaviour;

use crate::world::*;

async fn two_versions() -> World {
    let world = World::running().await;
    world.push(&two("app:1", "job:1"));
    world.apply(&from_git("main", "")).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.push(&two("app:2", "job:1"));
    world.until(180, "v2 runs", |world| world.history().len() == 2 && world.phase() == StackPhase::Converged).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_pin_holds_new_revisions_back_and_unpin_lets_them_flow() {
    let world = two_versions().await;
    world.declare.rollback(&key("shop"), None, None, &ask()).await.unwrap();
    world
        .until(120, "v1 is back", |world| {
            world.image_of("shop_web") == "app:1" && world.newest().phase == DeploymentPhase::Converged
        })
        .await;
    assert_eq!(world.phase(), StackPhase::Converged);
    world.push(&two("app:3", "job:1"));
    world.sleep(300).await;
    assert_eq!(world.image_of("shop_web"), "app:1");
    assert!(world.events().iter().any(|event| event.reason == "WaitingForPin"));
    assert_eq!(world.status().target.map(|target| target.kind), Some(TargetKind::Pinned));
    world.silence().await;
    world.declare.unpin(&key("shop"), &ask()).await.unwrap();
    world
        .until(180, "v3 runs", |world| {
            world.image_of("shop_web") == "app:3" && world.newest().phase == DeploymentPhase::Converged
        })
        .await;
    assert_eq!(world.phase(), StackPhase::Converged);
    world.silence().await;
}

/// Going back by hand from a version that had failed, and taking the pin away, is no word for that version.
#[tokio::test(start_paused = true)]
async fn what_failed_before_a_pin_stays_held_when_the_pin_is_taken_away() {
    let world = World::running().await;
    let v1 = world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.ends_as(60, &v1, DeploymentPhase::Converged).await;
    world.swarm.image("bad:1", Behaviour::Exit { after: Duration::from_secs(1), code: 3 });
    let bad = world.image("web", "bad:1").await;
    world.ends_as(120, &bad, DeploymentPhase::RolledBack).await;
    world.until_phase(60, StackPhase::RolledBack).await;
    let held = world.status().held;
    assert_eq!(held.len(), 1);
    let back = world.declare.rollback(&key("shop"), Some(&v1), None, &ask()).await.unwrap().deployment.unwrap().id;
    world.ends_as(60, &back, DeploymentPhase::Converged).await;
    world.swarm.forget_calls();
    world.declare.unpin(&key("shop"), &ask()).await.unwrap();
    world.until_phase(60, StackPhase::RolledBack).await;
    world.sleep(60).await;
    assert_eq!(world.status().held, held);
    assert_eq!(world.swarm.writes(), [], "{}", world.report());
    // Until it is released, or deployed by name.
    world.swarm.image("bad:1", Behaviour::Run);
    world.declare.release_hold(&key("shop"), &ask()).await.unwrap();
    world.until(120, "it is tried again", |world| world.image_of("shop_web") == "bad:1").await;
    world.until_phase(60, StackPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_deployment_of_a_branch_that_moved_is_that_of_where_it_stands_now() {
    let world = two_versions().await;
    let deploy = async |wanted: Option<&str>| {
        let request = DeployRequest { wanted: wanted.map(str::to_owned), ..DeployRequest::default() };
        world.declare.deploy(&key("shop"), &request, &ask()).await.unwrap().deployment.unwrap().id
    };
    for (n, wanted) in [(3, Some("main")), (4, None)] {
        let pushed = world.push(&two(&format!("app:{n}"), "job:1"));
        let id = deploy(wanted).await;
        world.ends_as(60, &id, DeploymentPhase::Converged).await;
        assert_eq!(world.deployment(&id).version.revision, Some(pushed), "{}", world.report());
        assert_eq!(world.image_of("shop_web"), format!("app:{n}"));
    }
    // Also when more is changed with it.
    let pushed = world.push(&two("app:4", "job:2"));
    let request = DeployRequest {
        wanted: Some("main".into()),
        images: [("web".to_owned(), "app:9".to_owned())].into(),
        ..DeployRequest::default()
    };
    let both = world.declare.deploy(&key("shop"), &request, &ask()).await.unwrap().deployment.unwrap().id;
    world.ends_as(60, &both, DeploymentPhase::Converged).await;
    assert_eq!(world.deployment(&both).version.revision, Some(pushed), "{}", world.report());
    let again = deploy(Some("main")).await;
    world.ends_as(10, &again, DeploymentPhase::Converged).await;
    world.silence().await;
    // Who names it again wants it tried again.
    world.swarm.image("app:5", Behaviour::Missing);
    world.push(&two("app:4", "app:5"));
    for _ in 0..2 {
        let id = deploy(Some("main")).await;
        world.ends_as(300, &id, DeploymentPhase::RolledBack).await;
        assert_eq!(world.image_of("shop_worker"), "job:2");
    }
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_pin_ends_by_itself_at_its_time() {
    for push in [false, true] {
        let world = two_versions().await;
        let until = world.swarm.clock().now().checked_add(SignedDuration::from_mins(10)).unwrap();
        world.declare.rollback(&key("shop"), None, Some(until), &ask()).await.unwrap();
        world.until(120, "v1 is back", |world| world.image_of("shop_web") == "app:1").await;
        if push {
            world.push(&two("app:3", "job:1"));
        }
        world.sleep(400).await;
        assert_eq!(world.image_of("shop_web"), "app:1");
        world.sleep(300).await;
        let wanted = if push { "app:3" } else { "app:2" };
        assert_eq!(
            (world.image_of("shop_web").as_str(), world.phase()),
            (wanted, StackPhase::Converged),
            "{}",
            world.report()
        );
        world.silence().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_released_version_is_tried_again() {
    let world = World::running().await;
    world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.swarm.image("app:2", Behaviour::Missing);
    world.apply(&inline("shop", "", &two("app:2", "job:1"))).await;
    world.until_phase(120, StackPhase::RolledBack).await;
    world.swarm.image("app:2", Behaviour::Run);
    world.declare.release_hold(&key("shop"), &ask()).await.unwrap();
    world.until_phase(120, StackPhase::Converged).await;
    assert_eq!(world.image_of("shop_web"), "app:2");
    assert!(world.status().held.is_empty());
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_suspended_stack_is_left_alone_and_its_clocks_stand_still() {
    let world = World::running().await;
    world.apply(&inline("shop", "totalDeadline: 10m", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.swarm.image("app:2", Behaviour::Slow { ready_after: Duration::from_secs(60) });
    let v2 = world.apply(&inline("shop", "totalDeadline: 10m", &two("app:2", "job:1"))).await;
    world.until(60, "Verifying", |world| world.deployment(&v2).phase == DeploymentPhase::Verifying).await;
    let why = Ask { reason: Some("freeze".into()), ..ask() };
    world.declare.suspend(&key("shop"), None, &why).await.unwrap();
    world.until_phase(5, StackPhase::Suspended).await;
    let writes = world.swarm.writes().len();
    world.swarm.foreign_update("shop_worker", |spec| spec.task_template.container_spec.image = "job:9".into()).unwrap();
    world.sleep(7200).await;
    assert_eq!(world.swarm.writes().len(), writes);
    assert_eq!(world.deployment(&v2).phase, DeploymentPhase::Verifying);
    world.declare.resume(&key("shop"), &ask()).await.unwrap();
    world.ends_as(300, &v2, DeploymentPhase::Converged).await;
    assert_eq!(world.image_of("shop_worker"), "job:1");
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_declared_while_suspended_is_not_observed_and_flows_afterwards() {
    let world = World::running().await;
    world.apply(&inline("shop", "totalDeadline: 10m", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    let why = Ask { reason: Some("freeze".into()), ..ask() };
    let until = world.swarm.clock().now().checked_add(SignedDuration::from_hours(2)).unwrap();
    world.declare.suspend(&key("shop"), Some(until), &why).await.unwrap();
    let v2 = world.apply(&inline("shop", "totalDeadline: 10m", &two("app:2", "job:1"))).await;
    world.sleep(7000).await;
    assert_eq!(world.status().observed_generation, 1);
    assert_eq!(world.deployment(&v2).phase, DeploymentPhase::Pending);
    world.ends_as(400, &v2, DeploymentPhase::Converged).await;
    assert_eq!(world.status().observed_generation, 2);
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn another_look_is_echoed_and_finds_a_push_at_once() {
    let world = two_versions().await;
    world.push(&two("app:3", "job:1"));
    let asked = world.declare.reconcile(&key("shop"), &ask()).await.unwrap().stack.control.reconcile_token;
    world.until(2, "the token is echoed", |world| world.status().handled_reconcile == asked).await;
    assert_eq!(world.last_trigger().0, Trigger::Git, "{}", world.report());
    world.until_phase(60, StackPhase::Converged).await;
    let inline_world = World::running().await;
    inline_world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    inline_world.until_phase(60, StackPhase::Converged).await;
    let asked = inline_world.declare.reconcile(&key("shop"), &ask()).await.unwrap().stack.control.reconcile_token;
    inline_world.until(2, "the token is echoed", |world| world.status().handled_reconcile == asked).await;
    world.silence().await;
    inline_world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn another_look_tries_again_what_failed_before_anything_was_written() {
    let world = World::running().await;
    let compose =
        "services:\n  web:\n    image: app:1\n    networks: [shared]\nnetworks: { shared: { external: true } }\n";
    let v1 = world.apply(&inline("shop", "", compose)).await;
    world.ends_as(10, &v1, DeploymentPhase::Failed).await;
    assert_eq!(world.deployment(&v1).failure.map(|failure| failure.class), Some(FailureClass::Preflight));
    let spec = NetworkSpec { name: "shared".into(), driver: "overlay".into(), ..NetworkSpec::default() };
    world.swarm.foreign_network(&spec).unwrap();
    world.sleep(5).await;
    world.declare.reconcile(&key("shop"), &ask()).await.unwrap();
    world.until_phase(60, StackPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn deleting_removes_what_is_owned_and_nothing_else() {
    for keep_running in [false, true] {
        let world = World::running().await;
        let foreign = ServiceSpec {
            name: "shop_other".into(),
            task_template: TaskSpec {
                container_spec: ContainerSpec { image: "x:1".into(), ..ContainerSpec::default() },
                ..TaskSpec::default()
            },
            ..ServiceSpec::default()
        };
        let foreign = world.swarm.foreign_service(&foreign).unwrap();
        world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
        world.until_phase(60, StackPhase::Converged).await;
        world.laws_of().is_foreign(&foreign.id);
        world.declare.delete(&key("shop"), keep_running, &ask()).await.unwrap();
        world.until(60, "the stack is gone", |world| world.stack().is_none()).await;
        let left = if keep_running { vec!["shop_other", "shop_web", "shop_worker"] } else { vec!["shop_other"] };
        assert_eq!(world.swarm.names(ObjectKind::Service), left);
        assert_eq!(world.swarm.names(ObjectKind::Network).contains(&"shop_default".to_owned()), keep_running);
        world.always();
        // The same name can be used again, for what is left running as well.
        world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
        world.until_phase(60, StackPhase::Converged).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_says_what_it_leaves_and_why() {
    let world = World::running().await;
    let compose = "services:\n  web:\n    image: app:1\n    networks: [front]\n    configs: [kept]\n\
                   configs:\n  kept: { content: x, x-skep: { protect: true } }\nnetworks:\n  front: {}\n";
    world.apply(&inline("shop", "", compose)).await;
    world.until_phase(60, StackPhase::Converged).await;
    let web = world.spec("shop_web");
    let mut stranger = web.clone();
    stranger.name = "stranger".to_owned();
    stranger.labels.clear();
    stranger.task_template.container_spec.configs.clear();
    let stranger = world.swarm.foreign_service(&stranger).unwrap();
    world.laws_of().is_foreign(&stranger.id);
    world.sleep(20).await;
    world.declare.delete(&key("shop"), false, &ask()).await.unwrap();
    world.until(60, "the stack is gone", |world| world.stack().is_none()).await;
    assert!(world.swarm.names(ObjectKind::Config).iter().any(|name| name.starts_with("shop_kept_")));
    assert!(world.swarm.names(ObjectKind::Network).contains(&"shop_front".to_owned()));
    let events = world.events();
    let told = &events.iter().rfind(|event| event.kind == EventType::StackDeleted).unwrap().message;
    for what in ["`x-skep.protect`", "network `shop_front` left alone: service `stranger` is on it"] {
        assert!(told.contains(what), "{told}");
    }
    world.always();
}

#[tokio::test(start_paused = true)]
async fn deleting_in_the_middle_of_anything_ends_everything() {
    for wait in [0, 1, 3, 5, 8, 300, 4000] {
        let world = World::running().await;
        world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
        world.until_phase(60, StackPhase::Converged).await;
        world.swarm.image("app:2", Behaviour::Exit { after: Duration::from_secs(1), code: 1 });
        world.apply(&inline("shop", "", &two("app:2", "job:2"))).await;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        world.declare.delete(&key("shop"), false, &ask()).await.unwrap();
        world.until(60, "the stack is gone", |world| world.stack().is_none()).await;
        assert!(world.history().iter().all(|deployment| deployment.phase.is_terminal()), "{}", world.report());
        assert!(world.swarm.names(ObjectKind::Service).is_empty());
        assert_eq!(world.swarm.names(ObjectKind::Network), ["ingress"]);
    }
}
