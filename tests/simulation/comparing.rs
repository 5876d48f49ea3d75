//! The versions of two deployments are compared as they were rendered then: git and the engine may be gone.

use skep::domain::*;
use skep::ports::InquiryError;

use crate::world::*;

const SECRET: &str = "hunter2-of-this-test";

/// A stack with a config, and a secret variable in the environment of its service.
fn manifest(image: &str, secret: &str, text: &str, more: &str) -> String {
    let compose = format!(
        "services:\n  web:\n    image: {image}\n    environment: {{ KEY: \"${{KEY}}\" }}\n    configs: [site]\n{more}\
         configs:\n  site:\n    content: |\n      {text}\n"
    );
    let variables = format!("variables: {{ KEY: {{ value: {secret}, secret: true }} }}\n");
    format!("{variables}{}", inline("shop", "", &compose))
}

#[tokio::test(start_paused = true)]
async fn two_versions_differ_by_object_and_field() {
    let world = World::running().await;
    let first = world.apply(&manifest("app:1", SECRET, "one", "  old:\n    image: app:1\n")).await;
    world.ends_as(120, &first, DeploymentPhase::Converged).await;
    let other = format!("{SECRET}-other");
    let second = world.apply(&manifest("app:2", &other, "two", "  new:\n    image: app:1\n")).await;
    world.ends_as(120, &second, DeploymentPhase::Converged).await;
    world.swarm.set_down(true);

    let found = world.inquiries().compare(&first, &second).await.unwrap();
    let steps: Vec<_> = found.steps.iter().map(|it| (it.kind, it.name.as_str(), it.action)).collect();
    assert!(steps.contains(&(ObjectKind::Service, "shop_web", Action::Update)), "{steps:?}");
    assert!(steps.contains(&(ObjectKind::Service, "shop_new", Action::Create)), "{steps:?}");
    assert!(steps.contains(&(ObjectKind::Service, "shop_old", Action::Remove)), "{steps:?}");
    let web = found.steps.iter().find(|it| it.name == "shop_web").unwrap();
    let image = web.changes.iter().find(|it| it.path == "/TaskTemplate/ContainerSpec/Image").unwrap();
    assert_eq!((image.from.clone(), image.to.clone()), (Some("app:1".into()), Some("app:2".into())));
    // A config is known by its key: it has changed, whatever it is called on the Swarm now.
    let config = found.steps.iter().find(|it| it.kind == ObjectKind::Config).unwrap();
    let data = config.changes.iter().find(|it| it.path == "/Data").unwrap();
    assert_eq!(
        (config.action, data.from.clone(), data.to.clone()),
        (Action::Update, Some("one\n".into()), Some("two\n".into()))
    );
    // What is secret in one of the two is shown of neither.
    assert!(!format!("{found:?}").contains(SECRET), "{found:#?}");

    let same = world.inquiries().compare(&second, &second).await.unwrap();
    assert!(same.steps.is_empty() && same.unchanged > 0, "{same:?}");
    let back = world.inquiries().compare(&second, &first).await.unwrap();
    assert_eq!(back.steps.len(), found.steps.len());
    let nothing = DeploymentId("nothing".to_owned());
    let refused = world.inquiries().compare(&first, &nothing).await.err();
    assert!(matches!(refused, Some(InquiryError::NotFound(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deployment_names_its_commit() {
    let world = World::running().await;
    world.push("services:\n  web:\n    image: app:1\n");
    let id = world.apply(&from_git("main", "")).await;
    world.ends_as(120, &id, DeploymentPhase::Converged).await;
    let commit = world.inquiries().commit(&id).await.unwrap().expect("a commit");
    assert_eq!(commit.title, "Commit 1 on main");
    let inline = world.apply(&inline("shop", "", "services:\n  web:\n    image: app:2\n")).await;
    assert_eq!(world.inquiries().commit(&inline).await.unwrap(), None);
}
