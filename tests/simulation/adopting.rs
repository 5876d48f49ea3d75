//! Stacks that somebody else made are taken over, and handed back, and nothing of them is restarted.

use skep::declare::{Adopt, ApplyOptions};
use skep::domain::*;

use crate::world::{World, ask, inline, key};

const STACK: &str = "services:\n  web:\n    image: app:1\n    configs: [site]\n    secrets: [key]\n    deploy: { replicas: 2 }\n\
                     configs:\n  site: { content: \"VALUE\" }\nsecrets:\n  key: { environment: KEY }\n";

fn manifest(content: &str) -> String {
    let text = inline("shop", "", &STACK.replace("VALUE", content));
    format!("{text}variables: {{ KEY: {{ value: hunter2hunter2, secret: true }} }}\n")
}

fn marked(labels: &std::collections::BTreeMap<String, String>) -> bool {
    labels.keys().any(|label| label.starts_with(LABEL_PREFIX))
}

/// What is on the Swarm by one name, as the engine numbers it.
fn ids(world: &World) -> Vec<(ObjectKind, String, String)> {
    [ObjectKind::Network, ObjectKind::Config, ObjectKind::Secret, ObjectKind::Service]
        .into_iter()
        .flat_map(|kind| world.swarm.names(kind).into_iter().map(move |name| (kind, name)))
        .filter(|(_, name)| name.starts_with("shop_"))
        .map(|(kind, name)| {
            let id = world.swarm.labels_of(&ObjectRef::new(kind, &name)).unwrap().0;
            (kind, name, id)
        })
        .collect()
}

fn tasks(world: &World) -> Vec<String> {
    let mut all: Vec<_> = world.swarm.tasks_of("shop_web").iter().map(|task| task.id.clone()).collect();
    all.sort();
    all
}

/// The stack `shop` as `docker stack deploy` makes it, running. Skep has made the like before, and has deleted it.
async fn made_by_the_cli(world: &World) {
    world.apply(&manifest("v1")).await;
    world.until_phase(60, StackPhase::Converged).await;
    let mut spec = world.spec("shop_web");
    world.declare.delete(&key("shop"), false, &ask()).await.unwrap();
    world.until(60, "the stack is gone", |world| world.stack().is_none()).await;

    let labels = || [(NAMESPACE_LABEL.to_owned(), "shop".to_owned())].into();
    spec.labels.retain(|label, _| !label.starts_with(LABEL_PREFIX));
    spec.task_template.container_spec.configs[0].config_name = "shop_site".into();
    spec.task_template.container_spec.secrets[0].secret_name = "shop_key".into();
    let network = NetworkSpec {
        name: "shop_default".into(),
        driver: "overlay".into(),
        labels: labels(),
        ..NetworkSpec::default()
    };
    let data = "v1".into();
    let config = ConfigSpec { name: "shop_site".into(), key: "site".into(), labels: labels(), data, templating: None };
    let (name, key) = ("shop_key".into(), "key".into());
    let secret = SecretSpec { name, key, labels: labels(), templating: None, driver: None };
    world.swarm.foreign_network(&network).unwrap();
    world.swarm.foreign_config(&config).unwrap();
    world.swarm.foreign_secret(&secret, SecretBytes::new("whatever".into())).unwrap();
    world.swarm.foreign_service(&spec).unwrap();
    world.sleep(10).await;
}

async fn adopt(world: &World, content: &str, rotate_secrets: bool) -> DeploymentId {
    let adopt = Adopt { stack: Some(key("shop").name), environment: None, rotate_secrets };
    let options = ApplyOptions { adopt: Some(adopt), ..ApplyOptions::default() };
    let asked = skep::declare::Ask { trigger: Trigger::Adopt, ..ask() };
    let applied = world.declare.apply(&manifest(content), &options, &asked).await.unwrap();
    applied.documents[0].deployment.clone().unwrap().id
}

#[tokio::test(start_paused = true)]
async fn a_stack_of_the_cli_is_taken_over_and_handed_back_without_a_restart() {
    let world = World::running().await;
    made_by_the_cli(&world).await;
    let (before, running, spec) = (ids(&world), tasks(&world), world.spec("shop_web"));

    // Without the word it is somebody else's.
    let refused = world.apply(&manifest("v1")).await;
    world.ends_as(30, &refused, DeploymentPhase::Failed).await;
    assert_eq!(world.deployment(&refused).failure.map(|it| it.class), Some(FailureClass::Preflight));
    assert_eq!(world.spec("shop_web"), spec);

    world.swarm.forget_calls();
    let adopted = adopt(&world, "v1", false).await;
    world.ends_as(60, &adopted, DeploymentPhase::Converged).await;
    assert_eq!((ids(&world), tasks(&world)), (before.clone(), running.clone()), "{}", world.report());
    let mut now = world.spec("shop_web");
    assert!(marked(&now.labels), "{:?}", now.labels);
    now.labels.retain(|label, _| !label.starts_with(LABEL_PREFIX));
    assert_eq!(now, spec);
    assert_eq!(world.status().inventory.0.len(), 4, "{:?}", world.status().inventory);
    assert_eq!(world.last_trigger(), (Trigger::Adopt, DeploymentPhase::Converged));
    // The same order once more is no new one.
    assert_eq!(adopt(&world, "v1", false).await, adopted);
    world.silence().await;

    world.declare.release(&key("shop"), &ask()).await.unwrap();
    world.until(60, "the stack is handed back", |world| world.stack().is_none()).await;
    assert_eq!((ids(&world), tasks(&world)), (before, running));
    assert_eq!(world.spec("shop_web"), spec);
    world.always();
}

/// What the registry says of the tag by now is not asked: what runs keeps its digest, or has none.
#[tokio::test(start_paused = true)]
async fn a_tag_that_has_moved_since_restarts_nothing() {
    for pinned in [true, false] {
        let world = World::running().await;
        made_by_the_cli(&world).await;
        let digest = |letter: char| format!("sha256:{}", letter.to_string().repeat(64));
        if pinned {
            let change = |spec: &mut ServiceSpec| {
                spec.task_template.container_spec.image = format!("app:1@{}", digest('a'));
            };
            world.swarm.foreign_update("shop_web", change).unwrap();
            world.sleep(30).await;
        }
        let (running, image) = (tasks(&world), world.image_of("shop_web"));
        let resolved = skep::ports::ResolvedImage { digest: digest('b'), platforms: Vec::new() };
        world.swarm.registry("app:1", Ok(resolved));
        let adopted = adopt(&world, "v1", false).await;
        world.ends_as(60, &adopted, DeploymentPhase::Converged).await;
        assert_eq!((tasks(&world), world.image_of("shop_web")), (running, image), "{}", world.report());
        world.silence().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_adopted_config_keeps_its_name_for_as_long_as_its_content_is_the_same() {
    let world = World::running().await;
    made_by_the_cli(&world).await;
    let adopted = adopt(&world, "v1", false).await;
    world.ends_as(60, &adopted, DeploymentPhase::Converged).await;
    let config = |world: &World| world.spec("shop_web").task_template.container_spec.configs[0].config_name.clone();
    assert_eq!(config(&world), "shop_site");

    let changed = world.apply(&manifest("v2")).await;
    world.ends_as(60, &changed, DeploymentPhase::Converged).await;
    assert!(config(&world).starts_with("shop_site_"), "{}", config(&world));
    assert_eq!(world.spec("shop_web").task_template.container_spec.secrets[0].secret_name, "shop_key");

    let back = world.apply(&manifest("v1")).await;
    world.ends_as(60, &back, DeploymentPhase::Converged).await;
    assert_eq!(config(&world), "shop_site");
    world.always();
}

#[tokio::test(start_paused = true)]
async fn rotated_secrets_are_made_anew_and_a_crash_does_not_forget_what_was_adopted() {
    let mut world = World::running().await;
    made_by_the_cli(&world).await;
    let adopted = adopt(&world, "v1", true).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    world.restart();
    world.ends_as(90, &adopted, DeploymentPhase::Converged).await;
    let container = world.spec("shop_web").task_template.container_spec;
    assert_eq!(container.configs[0].config_name, "shop_site");
    assert!(container.secrets[0].secret_name.starts_with("shop_key_"), "{:?}", container.secrets);
    let data = world.swarm.secret_data(&container.secrets[0].secret_name).unwrap();
    assert_eq!(data.expose_text(), Some("hunter2hunter2"));
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn what_another_skep_has_marked_is_not_taken_over() {
    let world = World::running().await;
    made_by_the_cli(&world).await;
    world
        .swarm
        .foreign_update("shop_web", |spec| drop(spec.labels.insert(INSTANCE_LABEL.into(), "skep-b".into())))
        .unwrap();
    world.sleep(10).await;
    let (spec, before) = (world.spec("shop_web"), ids(&world));
    let adopted = adopt(&world, "v1", false).await;
    world.ends_as(30, &adopted, DeploymentPhase::Failed).await;
    let failure = world.deployment(&adopted).failure.unwrap();
    assert_eq!(failure.class, FailureClass::Preflight);
    assert!(failure.sentence().contains("another Skep (instance skep-b)"), "{}", failure.sentence());
    assert_eq!((world.spec("shop_web"), ids(&world)), (spec, before));
}
