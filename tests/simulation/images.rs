//! Tags and what they stand for.

use skep::domain::*;
use skep::ports::{ImageError, ResolvedImage};
use skep::swarm::sim::{CallKind, SimSwarm};

use crate::world::*;

fn one(image: &str) -> String {
    format!("services:\n  web:\n    image: {image}\n")
}

fn digest(of: char) -> String {
    format!("sha256:{}", of.to_string().repeat(64))
}

fn found(of: char) -> Result<ResolvedImage, ImageError> {
    let platforms = vec![Platform { architecture: "amd64".into(), os: "linux".into() }];
    Ok(ResolvedImage { digest: digest(of), platforms })
}

fn lookups(swarm: &SimSwarm) -> u64 {
    swarm.calls().get(&CallKind::Resolve).copied().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_version_is_pinned_to_what_its_tag_stood_for_when_it_was_asked_for() {
    let world = World::running().await;
    world.swarm.registry("app:1", found('a'));
    let v1 = world.apply(&inline("shop", "", &one("app:1"))).await;
    world.ends_as(60, &v1, DeploymentPhase::Converged).await;
    assert_eq!(world.image_of("shop_web"), format!("app:1@{}", digest('a')));
    let placement = world.spec("shop_web").task_template.placement.unwrap();
    assert_eq!(placement.platforms[0].architecture, "amd64");
    assert_eq!(world.deployment(&v1).version.images[0].digest, Some(digest('a')));
    assert!(world.deployment(&v1).warnings.is_empty());
    assert_eq!(lookups(&world.swarm), 1);

    // The tag moves. What is written as before keeps its digest, and nothing is asked.
    world.swarm.registry("app:1", found('b'));
    let v2 = world.apply(&inline("shop", "", &format!("{}    command: [serve]\n", one("app:1")))).await;
    world.ends_as(60, &v2, DeploymentPhase::Converged).await;
    assert_eq!(world.image_of("shop_web"), format!("app:1@{}", digest('a')));
    assert_eq!(lookups(&world.swarm), 1);

    // With `always` it is followed.
    let v3 = world.apply(&inline("shop", "images: always", &format!("{}    command: [serve]\n", one("app:1")))).await;
    world.ends_as(60, &v3, DeploymentPhase::Converged).await;
    assert_eq!(world.image_of("shop_web"), format!("app:1@{}", digest('b')));
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn many_stacks_that_come_at_once_ask_once_for_an_image() {
    let world = World::running().await;
    world.swarm.registry("app:1", found('a'));
    let names: Vec<String> = (0..20).map(|number| format!("s{number}")).collect();
    let manifests: Vec<String> = names.iter().map(|name| inline(name, "", &one("app:1"))).collect();
    world.apply(&manifests.join("---\n")).await;
    let pinned = format!("app:1@{}", digest('a'));
    world
        .until(60, "all run pinned", |world| {
            names.iter().all(|name| {
                let live = world.swarm.service(&format!("{name}_web"));
                live.is_some_and(|live| live.spec.task_template.container_spec.image == pinned)
            })
        })
        .await;
    assert_eq!(lookups(&world.swarm), 1);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_does_not_answer_is_a_warning_or_is_waited_for_as_the_policy_says() {
    let world = World::running().await;
    let down = || Err(ImageError::Unreachable("no such host".into()));
    world.swarm.registry("app:1", down());
    let v1 = world.apply(&inline("shop", "", &one("app:1"))).await;
    world.ends_as(60, &v1, DeploymentPhase::Converged).await;
    assert_eq!(world.image_of("shop_web"), "app:1");
    let warnings = world.deployment(&v1).warnings;
    assert!(warnings[0].contains("`app:1` is not pinned") && warnings[0].contains("no such host"), "{warnings:?}");

    world.swarm.registry("app:2", down());
    let v2 = world.apply(&inline("shop", "images: always", &one("app:2"))).await;
    world.sleep(300).await;
    let waits = world.deployment(&v2);
    assert_eq!(waits.phase, DeploymentPhase::Rendering);
    assert!(waits.message.unwrap().contains("no such host"));
    assert_eq!(world.image_of("shop_web"), "app:1");
    world.swarm.registry("app:2", found('b'));
    world.ends_as(120, &v2, DeploymentPhase::Converged).await;
    assert_eq!(world.image_of("shop_web"), format!("app:2@{}", digest('b')));

    world.swarm.registry("app:3", Err(ImageError::Missing("manifest unknown".into())));
    let v3 = world.image("web", "app:3").await;
    world.ends_as(120, &v3, DeploymentPhase::Failed).await;
    assert_eq!(world.deployment(&v3).failure.unwrap().class, FailureClass::ImageMissing);
    assert_eq!(world.image_of("shop_web"), format!("app:2@{}", digest('b')));
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_asked_too_much_is_left_alone_for_as_long_as_it_says() {
    let world = World::running().await;
    let busy =
        ImageError::Busy { reason: "toomanyrequests".into(), retry_after: Some(jiff::SignedDuration::from_secs(120)) };
    world.swarm.registry("app:1", Err(busy.clone()));
    world.swarm.registry("app:2", found('b'));
    let v1 = world.apply(&inline("shop", "images: always", &one("app:1"))).await;
    let other = world.apply(&inline("other", "images: always", &one("app:2"))).await;
    world.sleep(100).await;
    let asked = lookups(&world.swarm);
    assert!(asked <= 2, "{asked} lookups");
    world.swarm.registry("app:1", found('a'));
    world.ends_as(200, &v1, DeploymentPhase::Converged).await;
    world.ends_as(200, &other, DeploymentPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn the_plan_of_what_waits_for_approval_is_the_one_that_is_shown() {
    let world = World::running().await;
    world.swarm.registry("app:1", found('a'));
    let v1 = world.apply(&inline("shop", "mode: approve", &one("app:1"))).await;
    world.until(60, "it waits", |world| world.deployment(&v1).phase == DeploymentPhase::AwaitingApproval).await;
    let shown = world.inquiries().plan(&key("shop"), None).await.unwrap();
    assert_eq!(Some(shown.digest), world.deployment(&v1).plan.map(|plan| plan.to_string()));
}

#[tokio::test(start_paused = true)]
async fn going_back_asks_no_registry() {
    let world = World::running().await;
    world.swarm.registry("app:1", found('a'));
    let v1 = world.apply(&inline("shop", "", &one("app:1"))).await;
    world.ends_as(60, &v1, DeploymentPhase::Converged).await;
    world.swarm.registry("bad:1", found('c'));
    world.swarm.image("bad:1", skep::swarm::sim::Behaviour::Exit { after: std::time::Duration::from_secs(1), code: 1 });
    world.swarm.registry("app:1", Err(ImageError::Unreachable("gone".into())));
    let bad = world.image("web", "bad:1").await;
    world.ends_as(120, &bad, DeploymentPhase::RolledBack).await;
    assert_eq!(world.image_of("shop_web"), format!("app:1@{}", digest('a')));
    // Both versions, and before the second began, whether the way back is open.
    assert_eq!(lookups(&world.swarm), 3);
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_version_comes_to_is_shown_without_its_secrets_and_without_asking_the_engine_to_change() {
    let world = World::running().await;
    let text = "services:\n  web:\n    image: app:${TAG:-1}\n    environment: { KEY: \"${KEY}\" }\n    configs: [motd]\n\
                configs: { motd: { content: \"hello ${KEY}\" } }\n";
    let manifest = inline("shop", "mode: observe", text)
        .replace("inline:", "variables: { KEY: { value: hunter2hunter2, secret: true } }\ninline:");
    world.apply(&manifest).await;
    world.sleep(5).await;
    let images = [("web".to_owned(), "2".to_owned())].into();
    let shown = world.inquiries().render(&key("shop"), None, &images).await.unwrap();
    let service = &shown.objects["services"]["shop_web"]["TaskTemplate"]["ContainerSpec"];
    assert_eq!((&service["Image"], &service["Env"][0]), (&"app:2".into(), &"KEY=***".into()));
    let configs = shown.objects["configs"].as_object().unwrap();
    assert_eq!(configs.values().next().unwrap()["text"], "hello ***");
    assert!(!format!("{shown:?}").contains("hunter2"), "{shown:?}");
    assert!(shown.warnings.iter().any(|warning| warning.contains("configs.motd")), "{:?}", shown.warnings);
    let declared = world.inquiries().render(&key("shop"), None, &[].into()).await.unwrap();
    assert_ne!(declared.digest, shown.digest);
    assert!(world.inquiries().render(&key("nowhere"), None, &[].into()).await.is_err());
}
