//! Services that wait for others to run, or to end, before they are written.

use std::time::Duration;

use skep::domain::*;
use skep::sim::gate::At;
use skep::swarm::sim::Behaviour;

use crate::world::*;

/// A database, an api that waits for it to be healthy, a web that waits for the api.
fn compose(db: &str, api: &str, web: &str) -> String {
    format!(
        "services:\n  db:\n    image: {db}\n  api:\n    image: {api}\n    depends_on: {{ db: {{ condition: service_healthy }} }}\n\
         \x20 web:\n    image: {web}\n    deploy: {{ replicas: 2 }}\n    depends_on: {{ api: {{ condition: service_healthy }} }}\n"
    )
}

fn slow(seconds: u64) -> Behaviour {
    Behaviour::Slow { ready_after: Duration::from_secs(seconds) }
}

/// When a service was made or changed, and how.
fn writes(world: &World) -> Vec<String> {
    world.effects().into_iter().filter(|effect| effect.contains("service")).collect()
}

#[tokio::test(start_paused = true)]
async fn each_wave_is_written_when_the_one_before_runs() {
    let world = World::running().await;
    world.swarm.image("db:1", slow(20));
    world.swarm.image("api:1", slow(10));
    let id = world.apply(&inline("shop", "", &compose("db:1", "api:1", "web:1"))).await;
    world.sleep(15).await;
    assert_eq!(writes(&world), ["create service shop_db"], "{}", world.report());
    let deployment = world.deployment(&id);
    assert_eq!(deployment.phase, DeploymentPhase::Applying);
    let message = deployment.message.clone().unwrap_or_default();
    assert!(message.contains("wave 1 of 3") && message.contains("`api` waits for db"), "{message}");
    world.sleep(12).await;
    assert_eq!(writes(&world), ["create service shop_db", "create service shop_api"], "{}", world.report());
    world.ends_as(60, &id, DeploymentPhase::Converged).await;
    assert_eq!(writes(&world).len(), 3);
    world.silence().await;
    // A second version goes the same way, and touches only what differs.
    let id = world.apply(&inline("shop", "", &compose("db:1", "api:1", "web:2"))).await;
    world.ends_as(60, &id, DeploymentPhase::Converged).await;
    assert_eq!(writes(&world), ["update service shop_web"]);
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_wave_that_fails_is_taken_back_and_the_next_is_never_written() {
    let world = World::running().await;
    let v1 = world.apply(&inline("shop", "", &compose("db:1", "api:1", "web:1"))).await;
    world.ends_as(120, &v1, DeploymentPhase::Converged).await;
    world.swarm.image("api:2", Behaviour::Unhealthy { after: Duration::from_secs(3) });
    world.swarm.forget_calls();
    let v2 = world.apply(&inline("shop", "", &compose("db:2", "api:2", "web:2"))).await;
    world.ends_as(300, &v2, DeploymentPhase::RolledBack).await;
    let failure = world.deployment(&v2).failure.expect("a failure");
    assert_eq!((failure.class, failure.service.as_deref()), (FailureClass::HealthCheck, Some("api")));
    world.until_phase(60, StackPhase::RolledBack).await;
    assert!(!writes(&world).contains(&"update service shop_web".to_owned()), "{:?}", writes(&world));
    assert_eq!((world.image_of("shop_db"), world.image_of("shop_api")), ("db:1".to_owned(), "api:1".to_owned()));
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_wave_that_never_runs_is_taken_back_at_the_progress_deadline_and_blamed_itself() {
    let world = World::running().await;
    let v1 = world.apply(&inline("shop", "", &compose("db:1", "api:1", "web:1"))).await;
    world.ends_as(120, &v1, DeploymentPhase::Converged).await;
    world.swarm.image("db:2", slow(100_000));
    let v2 = world.apply(&inline("shop", "", &compose("db:2", "api:1", "web:2"))).await;
    world.ends_as(900, &v2, DeploymentPhase::RolledBack).await;
    let failure = world.deployment(&v2).failure.expect("a failure");
    assert_eq!((failure.class, failure.service.as_deref()), (FailureClass::HealthCheck, Some("db")));
    world.until_phase(60, StackPhase::RolledBack).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn an_ordinary_job_ends_before_what_waits_for_it() {
    let compose = |number: u64| {
        format!(
            "services:\n  fill:\n    image: fill:{number}\n    deploy: {{ mode: replicated-job, restart_policy: {{ condition: none }} }}\n\
             \x20 web:\n    image: app:{number}\n    depends_on: {{ fill: {{ condition: service_completed_successfully }} }}\n"
        )
    };
    let world = World::running().await;
    for number in 1..=2 {
        world.swarm.image(&format!("fill:{number}"), Behaviour::Exit { after: Duration::from_secs(10), code: 0 });
    }
    let v1 = world.apply(&inline("shop", "", &compose(1))).await;
    world.sleep(8).await;
    assert!(world.swarm.service("shop_web").is_none(), "{}", world.report());
    world.ends_as(60, &v1, DeploymentPhase::Converged).await;
    let v2 = world.apply(&inline("shop", "", &compose(2))).await;
    world.sleep(8).await;
    assert_eq!(world.image_of("shop_web"), "app:1");
    world.ends_as(60, &v2, DeploymentPhase::Converged).await;
    assert_eq!(world.image_of("shop_web"), "app:2");
    world.silence().await;
    assert!(writes(&world).is_empty(), "a job that has ended is not run again: {:?}", writes(&world));
}

#[tokio::test(start_paused = true)]
async fn drift_is_put_right_at_once_without_waves() {
    let world = World::running().await;
    let v1 = world.apply(&inline("shop", "", &compose("db:1", "api:1", "web:1"))).await;
    world.ends_as(120, &v1, DeploymentPhase::Converged).await;
    world.swarm.image("db:1", slow(30));
    for name in ["db", "web"] {
        world.swarm.foreign_remove(&ObjectRef::new(ObjectKind::Service, format!("shop_{name}"))).unwrap();
    }
    world
        .until(10, "both are back before the database is healthy", |world| {
            world.swarm.service("shop_db").is_some() && world.swarm.service("shop_web").is_some()
        })
        .await;
    world.until_phase(90, StackPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_version_takes_over_between_two_waves() {
    let world = World::running().await;
    let v1 = world.apply(&inline("shop", "", &compose("db:1", "api:1", "web:1"))).await;
    world.ends_as(120, &v1, DeploymentPhase::Converged).await;
    world.swarm.image("db:2", slow(60));
    let v2 = world.apply(&inline("shop", "", &compose("db:2", "api:2", "web:2"))).await;
    world.sleep(10).await;
    let v3 = world.apply(&inline("shop", "", &compose("db:3", "api:3", "web:3"))).await;
    world.ends_as(120, &v3, DeploymentPhase::Converged).await;
    assert_eq!(world.deployment(&v2).phase, DeploymentPhase::Superseded);
    assert_eq!(world.image_of("shop_api"), "api:3");
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn waves_survive_a_crash_anywhere_and_nothing_is_written_twice_or_too_early() {
    for at in (1..=10).flat_map(|n| [At::BeforeWrite(n), At::AfterWrite(n), At::BeforeCommit(n), At::AfterCommit(n)]) {
        let mut world = World::new().await;
        world.swarm.image("db:1", slow(8));
        world.start(Some(at));
        let id = world.apply(&inline("shop", "", &compose("db:1", "api:1", "web:1"))).await;
        let gate = world.gate();
        let _ = tokio::time::timeout(Duration::from_secs(30), gate.crashed.notified()).await;
        world.sleep(3).await;
        world.restart();
        world.ends_as(180, &id, DeploymentPhase::Converged).await;
        world.sleep(30).await;
        world.laws();
        assert_eq!(
            writes(&world),
            ["create service shop_db", "create service shop_api", "create service shop_web"],
            "{at:?}"
        );
        assert_eq!(world.history().len(), 1, "{at:?}");
    }
}
