//! Whether the last good version could be brought back: said before a version begins without it, and kept up to date.

use std::time::Duration;

use skep::domain::*;
use skep::ports::{ImageError, ResolvedImage};
use skep::swarm::sim::Behaviour;

use crate::world::*;

/// A new version comes up in an hour: time to look at the way back from it.
const SLOW: Behaviour = Behaviour::Slow { ready_after: Duration::from_secs(3600) };
const POLICY: &str = "progressDeadline: 3h, totalDeadline: 5h";

fn digest(of: char) -> String {
    format!("sha256:{}", of.to_string().repeat(64))
}

fn one(image: &str, more: &str) -> String {
    format!("services:\n  web:\n    image: {image}\n{more}")
}

fn gone() -> Result<ResolvedImage, ImageError> {
    Err(ImageError::Missing("manifest unknown".into()))
}

fn found(of: char) -> Result<ResolvedImage, ImageError> {
    Ok(ResolvedImage { digest: digest(of), platforms: Vec::new() })
}

fn told(world: &World) -> (ConditionStatus, Reason, String) {
    let status = world.status();
    let found = status.condition(ConditionType::RollbackReady).expect("it is told");
    (found.status, found.reason, found.message.clone())
}

fn is_open(world: &World) -> bool {
    told(world).0 == ConditionStatus::True
}

async fn v1(more: &str) -> World {
    let world = World::running().await;
    world.swarm.registry("app:1", found('a'));
    world.apply(&inline("shop", POLICY, &one("app:1", more))).await;
    world.until_phase(60, StackPhase::Converged).await;
    assert!(is_open(&world), "{:?}", told(&world));
    world
}

/// The new version needs nothing of the registry itself: it waits for what is said of the old one's image all the same.
#[tokio::test(start_paused = true)]
async fn a_version_whose_last_good_image_is_gone_says_so_before_its_first_write_and_for_as_long_as_it_is() {
    let mut world = v1("").await;
    let old = format!("app:1@{}", digest('a'));
    world.swarm.registry(&old, gone());
    let new = format!("app:2@{}", digest('b'));
    world.swarm.registry(&new, found('b'));
    world.swarm.image("app:2", SLOW);
    let v2 = world.apply(&inline("shop", POLICY, &one(&new, ""))).await;
    world.until(60, "it is about to write", |world| world.deployment(&v2).progress.is_some()).await;
    let warnings = world.deployment(&v2).warnings;
    assert!(warnings.iter().any(|text| text.contains("there is no way back") && text.contains(&old)), "{warnings:?}");
    world.until(60, "it is told", |world| !is_open(world)).await;
    assert_eq!(told(&world).1, Reason::ImageMissing);
    // Long after the answer is forgotten, and after a restart.
    world.sleep(1300).await;
    assert!(!is_open(&world), "{:?}", told(&world));
    world.restart();
    world.sleep(20).await;
    assert!(!is_open(&world), "{:?}", told(&world));
    // It is there again: the next look at all finds it.
    world.swarm.registry(&old, found('a'));
    world.until(700, "it is open again", is_open).await;
    world.ends_as(4000, &v2, DeploymentPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_does_not_answer_holds_a_version_up_for_a_moment_and_is_no_word_against_the_way_back() {
    let world = v1("").await;
    let new = format!("app:2@{}", digest('b'));
    world.swarm.registry(&format!("app:1@{}", digest('a')), Err(ImageError::Unreachable("no such host".into())));
    let v2 = world.apply(&inline("shop", POLICY, &one(&new, ""))).await;
    world.ends_as(40, &v2, DeploymentPhase::Converged).await;
    let warnings = world.deployment(&v2).warnings;
    assert!(!warnings.iter().any(|text| text.contains("no way back")), "{warnings:?}");
}

#[tokio::test(start_paused = true)]
async fn a_last_good_version_that_no_node_could_take_is_told_with_what_the_nodes_lack() {
    let world = World::running().await;
    world.swarm.node_label("node-1", "disk", "ssd");
    let placed = "    deploy: { placement: { constraints: [node.labels.disk == ssd] } }\n";
    world.apply(&inline("shop", POLICY, &one("app:1", placed))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.swarm.image("app:2", SLOW);
    let v2 = world.apply(&inline("shop", POLICY, &one("app:2", ""))).await;
    world.until(60, "it is written", |world| world.image_of("shop_web").starts_with("app:2")).await;
    assert!(is_open(&world), "{:?}", told(&world));
    world.swarm.node_label("node-1", "disk", "hdd");
    world.until(700, "it is told", |world| !is_open(world)).await;
    let (_, reason, text) = told(&world);
    assert_eq!(reason, Reason::PreflightFailed);
    assert!(text.contains("service `web`: no node can take it") && text.contains("its label says `hdd`"), "{text}");
    let warnings = world.deployment(&v2).warnings;
    assert!(warnings.iter().any(|warning| warning.contains("no node can take it")), "{warnings:?}");
    world.swarm.node_label("node-1", "disk", "ssd");
    world.until(700, "it is open again", is_open).await;
}

#[tokio::test(start_paused = true)]
async fn a_last_good_version_whose_external_network_is_gone_is_told() {
    let world = World::running().await;
    let network = NetworkSpec { name: "front".into(), driver: "overlay".into(), ..NetworkSpec::default() };
    let made = world.swarm.foreign_network(&network).unwrap();
    world.laws_of().is_foreign(&made.id);
    let on_it = "    networks: [front]\nnetworks:\n  front: { external: true, name: front }\n";
    world.sleep(2).await;
    world.apply(&inline("shop", POLICY, &one("app:1", on_it))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.swarm.image("app:2", SLOW);
    world.apply(&inline("shop", POLICY, &one("app:2", ""))).await;
    world.until(60, "it is written", |world| world.image_of("shop_web").starts_with("app:2")).await;
    world.sleep(30).await;
    world.swarm.foreign_remove(&ObjectRef::new(ObjectKind::Network, "front")).unwrap();
    world.until(700, "it is told", |world| !is_open(world)).await;
    let (_, reason, text) = told(&world);
    assert_eq!(reason, Reason::PreflightFailed);
    assert!(text.contains("network `front` is declared as external"), "{text}");
}
