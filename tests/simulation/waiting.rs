//! What a new version waits for before its first write, and what goes on meanwhile.

use jiff::{SignedDuration, Timestamp};
use skep::domain::*;
use skep::swarm::sim::Behaviour;

use crate::world::*;

fn one(image: &str) -> String {
    format!("services:\n  web:\n    image: {image}\n")
}

fn after_db(image: &str, wanted: &str) -> String {
    format!("{}dependsOn: [{{ stack: db{wanted} }}]\n", inline("shop", "", &one(image)))
}

fn waits(id: &DeploymentId, word: &'static str) -> impl Fn(&World) -> bool {
    let id = id.clone();
    move |world| {
        let deployment = world.deployment(&id);
        deployment.phase == DeploymentPhase::Pending && deployment.message.is_some_and(|it| it.contains(word))
    }
}

#[tokio::test(start_paused = true)]
async fn a_stack_waits_for_the_one_it_depends_on_and_goes_on_with_its_event() {
    let mut world = World::running().await;
    let shop = world.apply(&after_db("app:1", "")).await;
    world.until(30, "it waits", waits(&shop, "stack `default/db` is not there")).await;
    assert_eq!(world.condition(ConditionType::Ready), Some(ConditionStatus::False));
    world.silence().await;
    // However long it takes, also over a restart: no deadline counts.
    world.sleep(3 * 3600).await;
    world.restart();
    world.until(30, "it still waits", waits(&shop, "is not there")).await;
    world.swarm.image("slow:1", Behaviour::Slow { ready_after: std::time::Duration::from_secs(20) });
    let db = world.apply(&inline("db", "", &one("slow:1"))).await;
    world.until(30, "it waits for db to be ready", waits(&shop, "stack `default/db` is not ready")).await;
    world.ends_as(120, &db, DeploymentPhase::Converged).await;
    // It is woken: no resync is near.
    world.ends_as(15, &shop, DeploymentPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn what_another_stack_is_to_make_is_waited_for_with_it_and_missed_without() {
    let world = World::running().await;
    let site =
        format!("{}    networks: [front]\nnetworks:\n  front:\n    external: true\n    name: front\n", one("app:1"));
    let alone = world.apply(&inline("alone", "", &site)).await;
    world.ends_as(60, &alone, DeploymentPhase::Failed).await;
    let behind = format!("{}dependsOn: [{{ stack: proxy }}]\n", inline("shop", "", &site));
    let shop = world.apply(&behind).await;
    world.until(30, "it waits", waits(&shop, "stack `default/proxy` is not there")).await;
    let proxy = format!("{}    networks: [front]\nnetworks:\n  front:\n    name: front\n", one("app:1"));
    let proxy = world.apply(&inline("proxy", "", &proxy)).await;
    world.ends_as(60, &proxy, DeploymentPhase::Converged).await;
    world.ends_as(60, &shop, DeploymentPhase::Converged).await;
}

/// What the engine tells of is gathered for a moment; a deployment that comes within it is not refused for that.
#[tokio::test(start_paused = true)]
async fn what_was_made_outside_just_now_is_found() {
    let world = World::running().await;
    let site =
        format!("{}    networks: [front]\nnetworks:\n  front:\n    external: true\n    name: front\n", one("app:1"));
    world.sleep(30).await;
    let network = NetworkSpec { name: "front".into(), driver: "overlay".into(), ..NetworkSpec::default() };
    let made = world.swarm.foreign_network(&network).unwrap();
    world.laws_of().is_foreign(&made.id);
    let shop = world.apply(&inline("shop", "", &site)).await;
    world.ends_as(60, &shop, DeploymentPhase::Converged).await;
    assert_eq!(world.history().len(), 1);
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_dependency_can_ask_for_a_version() {
    let world = World::running().await;
    world.swarm.image("db:1.3.0", Behaviour::Run);
    world.swarm.image("db:1.4.1", Behaviour::Run);
    let db = world.apply(&inline("db", "", &one("db:1.3.0"))).await;
    world.ends_as(60, &db, DeploymentPhase::Converged).await;
    let shop = world.apply(&after_db("app:1", ", images: { web: \">=1.4 <2\" }")).await;
    world.until(30, "it waits", waits(&shop, "does not run `web` at >=1.4 <2")).await;
    world.apply(&inline("db", "", &one("db:1.4.1"))).await;
    world.ends_as(60, &shop, DeploymentPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn what_runs_is_put_right_while_a_new_version_waits_and_then_that_goes_on() {
    let world = World::running().await;
    let v1 = world.apply(&inline("shop", "", &one("app:1"))).await;
    world.ends_as(60, &v1, DeploymentPhase::Converged).await;
    let v2 = world.apply(&after_db("app:2", "")).await;
    world.until(30, "it waits", waits(&v2, "is not there")).await;
    for _ in 0..2 {
        world.swarm.foreign_remove(&ObjectRef::new(ObjectKind::Service, "shop_web")).unwrap();
        world.until(120, "it is healed", |world| world.swarm.service("shop_web").is_some()).await;
        assert_eq!(world.image_of("shop_web"), "app:1");
        world.until(60, "the new version waits again", waits(&v2, "is not there")).await;
        world.until(60, "it is the attempt", |world| world.status().attempt.is_some_and(|it| it.id == v2)).await;
    }
    world.apply(&inline("db", "", &one("app:1"))).await;
    world.ends_as(60, &v2, DeploymentPhase::Converged).await;
    assert_eq!(world.image_of("shop_web"), "app:2");
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_waits_can_be_cancelled_and_replaced() {
    let world = World::running().await;
    let v1 = world.apply(&after_db("app:1", "")).await;
    world.until(30, "v1 waits", waits(&v1, "is not there")).await;
    let v2 = world.apply(&after_db("app:2", "")).await;
    world.ends_as(10, &v1, DeploymentPhase::Superseded).await;
    world.until(30, "v2 waits", waits(&v2, "is not there")).await;
    world.declare.cancel(&key("shop"), Some(&v2), &ask()).await.unwrap();
    world.ends_as(10, &v2, DeploymentPhase::Cancelled).await;
    world.apply(&inline("db", "", &one("app:1"))).await;
    world.sleep(60).await;
    assert!(world.swarm.service("shop_web").is_none());
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_version_waits_for_its_window_and_going_back_does_not() {
    let world = World::running().await;
    world.swarm.image("bad:1", Behaviour::Exit { after: std::time::Duration::from_secs(30), code: 3 });
    let v1 = world.apply(&inline("shop", "", &one("app:1"))).await;
    world.ends_as(60, &v1, DeploymentPhase::Converged).await;
    let begun = world.deployment(&v1).created_at;
    let civil = |after: i64| {
        let time = begun.checked_add(SignedDuration::from_hours(after)).unwrap();
        time.to_zoned(jiff::tz::TimeZone::UTC).datetime()
    };
    let (from, to) = (civil(-1), civil(5));
    let policy = format!("schedule: {{ freezes: [{{ from: {from}, to: {to}, reason: the fair }}] }}");
    let v2 = world.apply(&inline("shop", &policy, &one("app:2"))).await;
    world.until(30, "it waits", waits(&v2, "new versions are frozen until")).await;
    let message = world.deployment(&v2).message.unwrap();
    let opens: Timestamp = to.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    assert!(message.contains("the fair") && message.contains(&format!("the next opening is {opens}")), "{message}");
    assert_eq!(world.next().and_then(|next| next.at), Some(opens));
    world.sleep(4 * 3600).await;
    assert_eq!(world.image_of("shop_web"), "app:1");
    world.ends_as(3 * 3600, &v2, DeploymentPhase::Converged).await;
    assert!(world.deployment(&v2).finished_at.unwrap() >= opens);

    // A version that was begun before the freeze goes back in it.
    let now = world.deployment(&v2).finished_at.unwrap();
    let soon = now.checked_add(SignedDuration::from_secs(15)).unwrap();
    let soon = soon.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let frozen =
        format!("monitor: 60s, schedule: {{ freezes: [{{ from: {soon}, to: {}, reason: late }}] }}", civil(48));
    let bad = world.apply(&inline("shop", &frozen, &one("bad:1"))).await;
    world.ends_as(120, &bad, DeploymentPhase::RolledBack).await;
    assert_eq!(world.image_of("shop_web"), "app:2");
    let v3 = world.image("web", "app:3").await;
    world.until(60, "it waits", waits(&v3, "late")).await;
    world.silence().await;
}
