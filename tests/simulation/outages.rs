//! An engine that is gone, slow, without a leader or without a node is waited for; nobody is blamed.

use std::time::Duration;

use skep::domain::*;
use skep::ports::SwarmError;
use skep::swarm::sim::{Behaviour, CallKind};

use crate::world::*;

const SLOW: Behaviour = Behaviour::Slow { ready_after: Duration::from_secs(30) };

async fn verifying(policy: &str) -> (World, DeploymentId) {
    let world = World::running().await;
    world.apply(&inline("shop", policy, &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.swarm.image("app:2", SLOW);
    let v2 = world.apply(&inline("shop", policy, &two("app:2", "job:1"))).await;
    world.until(60, "Verifying", |world| world.deployment(&v2).phase == DeploymentPhase::Verifying).await;
    (world, v2)
}

/// The store takes nothing: what is new in the repository waits, and is not fetched and rendered again and again meanwhile.
#[tokio::test(start_paused = true)]
async fn a_full_disk_and_a_branch_that_moves_make_no_loop() {
    let world = World::running().await;
    world.push(&two("app:1", "job:1"));
    world.apply(&from_git("main", "")).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.sleep(10).await;
    world.disk_is_full(true);
    world.push(&two("app:2", "job:1"));
    let reads = world.gate().reads();
    world.sleep(600).await;
    let reads = world.gate().reads() - reads;
    assert!(reads < 2_000, "{reads} records were read in ten minutes");
    world.always();
    world.disk_is_full(false);
    world.until(400, "the new version runs", |world| world.image_of("shop_web") == "app:2").await;
    world.until_phase(60, StackPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_comes_back_is_waited_for() {
    for fault in 0..3 {
        let (world, v2) = verifying("").await;
        let set = |on: bool| match fault {
            0 => world.swarm.set_down(on),
            1 => world.swarm.no_quorum(on),
            _ => world.swarm.not_a_manager(on),
        };
        set(true);
        world.swarm.break_events();
        world.sleep(900).await;
        assert_eq!(world.deployment(&v2).phase, DeploymentPhase::Verifying, "{fault}: {}", world.report());
        set(false);
        world.ends_as(400, &v2, DeploymentPhase::Converged).await;
        assert!(world.status().held.is_empty());
        world.silence().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_stays_away_fails_the_deployment_without_a_rollback_and_it_is_tried_again() {
    let (world, v2) = verifying("totalDeadline: 20m").await;
    world.swarm.set_down(true);
    world.ends_as(1300, &v2, DeploymentPhase::Failed).await;
    assert_eq!(world.deployment(&v2).failure.map(|failure| failure.class), Some(FailureClass::EngineUnreachable));
    assert!(world.status().held.is_empty());
    // It is said when it is tried again, and then it is.
    let again = world.next().and_then(|next| next.at).expect("a time");
    assert!(again > world.deployment(&v2).finished_at.expect("an end"));
    world.until(90, "it is tried again", |world| world.newest().id != v2).await;
    let late = world.newest().created_at.duration_since(again);
    assert!((0..5).contains(&late.as_secs()), "{late:#}: {}", world.report());
    world.sleep(3600 * 3).await;
    assert!(world.history().len() < 14, "{}", world.report());
    world.swarm.set_down(false);
    world.until_phase(600, StackPhase::Converged).await;
    assert_eq!(world.image_of("shop_web"), "app:2");
    world.silence().await;
}

/// Nothing has been written yet, and nothing can be: that ends at the total deadline all the same.
#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_when_a_version_is_asked_for_fails_it_at_the_deadline() {
    let world = World::running().await;
    world.apply(&inline("shop", "totalDeadline: 20m", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    for away in [(|world, on| world.swarm.set_down(on)) as fn(&World, bool), |world, on| world.swarm.no_quorum(on)] {
        away(&world, true);
        let next = world.apply(&inline("shop", "totalDeadline: 20m", &two("app:2", "job:1"))).await;
        world.ends_as(1300, &next, DeploymentPhase::Failed).await;
        away(&world, false);
        world.until_phase(600, StackPhase::Converged).await;
        world.apply(&inline("shop", "totalDeadline: 20m", &two("app:1", "job:1"))).await;
        world.until_phase(600, StackPhase::Converged).await;
    }
    assert!(world.status().held.is_empty());
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_does_not_keep_a_deployment_beyond_its_deadline() {
    let (world, v2) = verifying("totalDeadline: 20m").await;
    world.swarm.hang(true);
    world.ends_as(1300, &v2, DeploymentPhase::Failed).await;
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_was_away_for_longer_than_the_deadline_looks_before_it_judges() {
    let (mut world, v2) = verifying("").await;
    world.kill();
    world.sleep(7200).await;
    world.start(None);
    world.ends_as(120, &v2, DeploymentPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn writes_that_always_fail_end_at_the_deadline() {
    let world = World::running().await;
    world.sleep(1).await;
    for _ in 0..1000 {
        let error = SwarmError::Engine { endpoint: "sim".into(), reason: "raft is busy".into() };
        world.swarm.fail_next(CallKind::CreateService, error);
    }
    let v1 = world.apply(&inline("shop", "totalDeadline: 20m", &two("app:1", "job:1"))).await;
    world.ends_as(1800, &v1, DeploymentPhase::Failed).await;
    let tries = world.swarm.writes().len();
    assert!(tries < 60, "{tries} writes in twenty minutes");
}

#[tokio::test(start_paused = true)]
async fn with_no_node_at_all_nobody_is_blamed() {
    let world = World::running().await;
    world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.swarm.node_drain("node-1");
    world.sleep(5).await;
    let v2 = world.apply(&inline("shop", "", &two("app:2", "job:1"))).await;
    world.sleep(1200).await;
    assert_eq!(world.deployment(&v2).phase, DeploymentPhase::Verifying, "{}", world.report());
    world.swarm.node_activate("node-1");
    world.ends_as(300, &v2, DeploymentPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_planned_anew() {
    let world = World::running().await;
    world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    for kind in [CallKind::UpdateService; 2] {
        world.swarm.fail_next(kind, SwarmError::Conflict { object: "service `shop_web`".into() });
    }
    let v2 = world.apply(&inline("shop", "", &two("app:2", "job:2"))).await;
    world.swarm.foreign_update("shop_web", |spec| drop(spec.labels.insert("x".into(), "y".into()))).unwrap();
    world.ends_as(60, &v2, DeploymentPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_second_skep_only_observes() {
    let mut world = World::running().await;
    world.sleep(2).await;
    world.kill();
    world.start_as("skep-b", None);
    world.sleep(2).await;
    world.swarm.forget_calls();
    let id = world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.sleep(3600).await;
    assert!(world.swarm.writes().is_empty());
    assert!(!world.deployment(&id).phase.is_terminal());
    world.restart();
    world.ends_as(120, &id, DeploymentPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn events_that_are_lost_are_made_up_for() {
    let world = World::running().await;
    world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.sleep(10).await;
    world.swarm.drop_events(1);
    world.swarm.foreign_remove(&ObjectRef::new(ObjectKind::Service, "shop_worker")).unwrap();
    world.until(400, "it is back", |world| world.swarm.service("shop_worker").is_some()).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_dies_later_is_noticed_and_forgotten_again() {
    let world = World::running().await;
    world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.swarm.node_drain("node-1");
    world.until_phase(700, StackPhase::Degraded).await;
    world.swarm.node_activate("node-1");
    world.until_phase(700, StackPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn an_environment_is_claimed_at_a_persons_word_and_once() {
    let mut world = World::running().await;
    world.sleep(2).await;
    world.kill();
    world.start_as("skep-b", None);
    let id = world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.sleep(60).await;
    assert!(!world.deployment(&id).phase.is_terminal());
    world.declare.claim_environment(&EnvironmentName::default(), &ask()).await.unwrap();
    world.ends_as(60, &id, DeploymentPhase::Converged).await;
    let claim =
        |world: &World| world.ledger.environment_status(&EnvironmentName::default()).unwrap().unwrap().value.claim;
    assert_eq!(claim(&world), Claim::Ours(2));
    // The order was carried out: the one that held it before does not take it for its own.
    world.restart();
    world.until(60, "the other to see it", |world| matches!(claim(world), Claim::Foreign { epoch: 2, .. })).await;
    world.sleep(700).await;
    assert!(matches!(claim(&world), Claim::Foreign { epoch: 2, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_restored_skep_only_observes_until_it_is_told_to_claim_also_with_the_id_of_one_that_runs() {
    let mut world = World::running().await;
    world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.kill();
    world.start_restored(INSTANCE, Some("restore-1"), None);
    world.sleep(2).await;
    world.swarm.forget_calls();
    let id = world.apply(&inline("shop", "", &two("app:2", "job:1"))).await;
    world.sleep(3600).await;
    assert!(world.swarm.writes().is_empty(), "{:?}", world.swarm.writes());
    assert!(!world.deployment(&id).phase.is_terminal());
    let told = world.status().conditions.iter().any(|it| it.message.contains("skep environment claim default"));
    assert!(told, "it is told how to go on");

    world.declare.claim_environment(&EnvironmentName::default(), &ask()).await.unwrap();
    world.ends_as(60, &id, DeploymentPhase::Converged).await;
    // The one it is a copy of comes back, and sees that it is not the one any more.
    world.kill();
    world.start(None);
    let third = world.apply(&inline("shop", "", &two("app:3", "job:1"))).await;
    world.swarm.forget_calls();
    world.sleep(700).await;
    assert!(world.swarm.writes().is_empty(), "{:?}", world.swarm.writes());
    assert!(!world.deployment(&third).phase.is_terminal());
    // And the restored one is at home, also after a restart.
    world.kill();
    world.start_restored(INSTANCE, Some("restore-1"), None);
    world.ends_as(60, &third, DeploymentPhase::Converged).await;
}

#[tokio::test(start_paused = true)]
async fn a_restored_skep_claims_nothing_by_itself_where_nobody_holds_a_claim() {
    let mut world = World::new().await;
    world.start_restored(INSTANCE, Some("restore-1"), None);
    let id = world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.sleep(3600).await;
    assert!(world.swarm.writes().is_empty(), "{:?}", world.swarm.writes());
    world.declare.claim_environment(&EnvironmentName::default(), &ask()).await.unwrap();
    world.ends_as(60, &id, DeploymentPhase::Converged).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_and_comes_back_at_once_is_no_outage_and_costs_a_glance() {
    let world = World::running().await;
    world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.sleep(30).await;
    let (revision, reads) = (world.ledger.revision(), world.gate().reads());
    world.swarm.forget_calls();
    world.swarm.break_events();
    world.sleep(30).await;
    assert_eq!(world.ledger.revision(), revision, "nothing is written\n{}", world.report());
    assert_eq!(world.swarm.calls().get(&CallKind::List), Some(&5), "{:?}", world.swarm.calls());
    let reads = world.gate().reads() - reads;
    assert!(reads <= 12, "{reads} records were read");
    // What happened while nobody listened is seen all the same.
    world.swarm.drop_events(100);
    world.swarm.foreign_remove(&ObjectRef::new(ObjectKind::Service, "shop_worker")).unwrap();
    world.swarm.break_events();
    world.until(60, "healed", |world| world.swarm.service("shop_worker").is_some()).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_be_renewed_is_an_outage_that_every_stack_shows() {
    let world = World::running().await;
    world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.sleep(30).await;
    world.swarm.set_down(true);
    world.until(20, "unknown", |world| world.condition(ConditionType::Ready) == Some(ConditionStatus::Unknown)).await;
    world.swarm.set_down(false);
    world.until_phase(400, StackPhase::Converged).await;
    let said: Vec<EventType> = world.events().iter().map(|event| event.kind).collect();
    assert_eq!(said.iter().filter(|kind| **kind == EventType::EnvironmentDisconnected).count(), 1, "{said:?}");
    world.silence().await;
}
