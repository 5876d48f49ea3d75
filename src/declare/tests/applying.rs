//! `apply`.

use super::*;
use crate::domain::{EventType, Source, Variable, VersionSource};

#[tokio::test]
async fn a_first_apply_records_stack_deployment_and_events() {
    let world = World::new().await;
    let applied = world.apply(GIT).await.unwrap();
    let document = &applied.documents[0];
    assert!(document.created);
    let (stack, deployment) = (document.stack.clone().unwrap(), document.deployment.clone().unwrap());
    assert_eq!(stack.generation, 1);
    assert_eq!(stack.deployment, deployment.id);
    assert_eq!(deployment.phase, DeploymentPhase::Pending);
    assert_eq!(deployment.version.source, VersionSource::Spec(Box::new(stack.spec.clone())));
    assert_eq!(stack.spec.named_images()["web"], "1.10");
    assert_eq!(stack.spec.compose, ["docker-stack.yml"]);
    assert_eq!(world.shop(), stack);
    let kinds: Vec<_> =
        world.ledger.events(None, false, 10).unwrap().into_iter().map(|(_, event)| event.kind).collect();
    assert_eq!(kinds, [EventType::StackDeclared, EventType::DeploymentCreated]);
}

#[tokio::test]
async fn a_secret_is_nowhere_in_the_clear() {
    let world = World::new().await;
    let applied = world.apply(GIT).await.unwrap();
    assert!(!world.everything().contains("hunter2"));
    let deployment = applied.documents[0].deployment.clone().unwrap();
    let shown = format!("{} {}", deployment.origin.original_request, deployment.origin.mapped_request);
    assert!(shown.contains("***"), "{shown}");
    let Some(Variable::Secret(sealed)) = world.shop().spec.variables.get("KEY").cloned() else { panic!("not sealed") };
    assert_eq!(Reversed.open(&sealed).unwrap().expose(), b"hunter2hunter2");
}

#[tokio::test]
async fn a_document_without_secrets_is_kept_as_it_came() {
    let world = World::new().await;
    let text = "kind: Stack\nname: shop\n# why\ninline: |\n  services: {}\n";
    let applied = world.apply(text).await.unwrap();
    let deployment = applied.documents[0].deployment.clone().unwrap();
    assert_eq!(deployment.origin.original_request["manifest"], text.trim_end());
    assert_eq!(world.shop().spec.source, Source::Inline("services: {}\n".into()));
}

#[tokio::test]
async fn the_same_again_is_no_generation_no_deployment_and_no_write() {
    let world = World::with_shop().await;
    let before = world.ledger.revision();
    let applied = world.apply(GIT).await.unwrap();
    assert_eq!(world.ledger.revision(), before);
    assert!(applied.documents[0].changes.is_empty());
    assert_eq!(applied.documents[0].deployment.as_ref().unwrap().id, world.shop().deployment);
}

#[tokio::test]
async fn an_old_file_applied_again_does_not_undo_a_deploy() {
    let world = World::with_shop().await;
    let mut request = to_ref("v2");
    request.images.insert("web".into(), "2".into());
    world.declare.deploy(&shop(), &request, &ask()).await.unwrap();
    let applied = world.apply(GIT).await.unwrap();
    assert!(applied.documents[0].changes.is_empty());
    assert_eq!(world.shop().generation, 2);
    let applied = world.apply(&GIT.replace("path: deploy", "path: other")).await.unwrap();
    assert_eq!(applied.documents[0].changes, ["source.path"]);
    let stack = world.shop();
    assert_eq!((stack.generation, stack.spec.images["web"].named()), (3, Some("2")));
    let Source::Git(git) = &stack.spec.source else { panic!("inline") };
    assert_eq!((git.wanted.0.as_str(), git.path.as_str()), ("v2", "other"));
}

#[tokio::test]
async fn a_document_that_says_what_a_deploy_did_is_only_remembered() {
    let world = World::with_shop().await;
    world.declare.deploy(&shop(), &to_ref("v2"), &ask()).await.unwrap();
    world.apply(&GIT.replace("main", "v2")).await.unwrap();
    assert_eq!(world.shop().generation, 2);
    world.apply(GIT).await.unwrap();
    let Source::Git(git) = world.shop().spec.source else { panic!("inline") };
    assert_eq!(git.wanted.0, "main");
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_says_what_would_change() {
    let world = World::with_shop().await;
    let before = world.ledger.revision();
    let options = ApplyOptions { dry_run: true, ..ApplyOptions::default() };
    let applied = world.declare.apply(&GIT.replace("main", "v2"), &options, &ask()).await.unwrap();
    assert_eq!(applied.documents[0].changes, ["source.ref"]);
    assert!(applied.documents[0].deployment.is_none());
    assert_eq!(applied.documents[0].stack.as_ref().unwrap().generation, 2);
    assert_eq!(world.ledger.revision(), before);
}

#[tokio::test]
async fn several_documents_are_all_recorded_or_none() {
    let world = World::new().await;
    let environment = "kind: Environment\nname: prod\nendpoints: [unix:///run/d.sock]\n";
    let stack = GIT.replace("name: shop\n", "name: shop\nenvironment: prod\n");
    let applied = world.apply(&format!("{stack}---\n{environment}")).await.unwrap();
    assert_eq!(applied.documents.len(), 2);
    let before = world.ledger.revision();
    let bad = format!("{}---\n{}", GIT, GIT.replace("name: shop\n", "name: other\nenvironment: prdo\n"));
    let error = world.apply(&bad).await.unwrap_err();
    let refusal = &error.refusals()[0];
    assert_eq!((refusal.code, refusal.line), (Code::NotFound, Some(10)));
    assert_eq!(refusal.hint.as_deref(), Some("did you mean `prod`?"));
    assert_eq!(world.ledger.revision(), before);
}

#[tokio::test]
async fn an_unknown_environment_names_the_known_ones() {
    let world = World::new().await;
    let error = world.apply(&GIT.replace("name: shop\n", "name: shop\nenvironment: elsewhere\n")).await.unwrap_err();
    assert!(error.to_string().contains("declared are: default"), "{error}");
}

#[tokio::test]
async fn the_expected_generation_guards() {
    let world = World::with_shop().await;
    let at = |generation| Ask { expected_generation: Some(generation), ..ask() };
    let changed = GIT.replace("main", "v2");
    let apply = |generation| {
        let (declare, changed) = (world.declare.clone(), changed.clone());
        async move { declare.apply(&changed, &ApplyOptions::default(), &at(generation)).await }
    };
    assert_eq!(code(&apply(7).await.unwrap_err()), Code::Conflict);
    assert_eq!(code(&apply(0).await.unwrap_err()), Code::Conflict);
    assert_eq!(apply(1).await.unwrap().documents[0].stack.as_ref().unwrap().generation, 2);
}

#[tokio::test]
async fn a_key_works_once_for_one_request() {
    let world = World::new().await;
    let once = Ask { idempotency_key: Some("k".into()), ..ask() };
    let options = ApplyOptions::default();
    let first = world.declare.apply(GIT, &options, &once).await.unwrap().documents[0].deployment.clone().unwrap();
    world.declare.deploy(&shop(), &to_ref("v2"), &ask()).await.unwrap();
    let before = world.ledger.revision();
    let again = world.declare.apply(GIT, &options, &once).await.unwrap().documents[0].deployment.clone().unwrap();
    assert_eq!(again.id, first.id);
    let error = world.declare.apply(&GIT.replace("main", "x"), &options, &once).await.unwrap_err();
    assert_eq!(code(&error), Code::Conflict);
    assert_eq!(world.ledger.revision(), before);
}

#[tokio::test]
async fn a_stack_that_is_being_deleted_is_not_changed() {
    let world = World::with_shop().await;
    world.declare.delete(&shop(), false, &ask()).await.unwrap();
    assert_eq!(code(&world.apply(&GIT.replace("main", "v2")).await.unwrap_err()), Code::Conflict);
    assert_eq!(code(&world.declare.deploy(&shop(), &to_ref("v2"), &ask()).await.unwrap_err()), Code::Conflict);
}

#[tokio::test]
async fn a_record_that_would_be_too_large_is_refused() {
    let world = World::new().await;
    let value = "x".repeat(60_000);
    let many: String = (0..8).map(|n| format!("  V{n}: {value}\n")).collect();
    let text = format!("kind: Stack\nname: shop\ninline: x\nvariables:\n{many}");
    assert_eq!(code(&world.apply(&text).await.unwrap_err()), Code::TooLarge);
    assert!(world.ledger.stack(&shop()).unwrap().is_none());
}

#[tokio::test]
async fn many_at_once_each_get_through() {
    let world = Arc::new(World::with_shop().await);
    let tasks: Vec<_> = (0..12)
        .map(|n| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.declare.deploy(&shop(), &to_ref(&format!("v{n}")), &ask()).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(world.shop().generation, 13);
    assert_eq!(world.ledger.history(&shop(), None, 100).unwrap().len(), 13);
}

#[tokio::test]
async fn stacks_that_would_wait_for_each_other_are_refused() {
    let stack = |name: &str, on: &str| format!("kind: Stack\nname: {name}\ninline: x\ndependsOn: [{on}]\n");
    let world = World::new().await;
    let own = world.apply(&stack("a", "{ stack: a }")).await.unwrap_err().to_string();
    assert!(own.contains("stack `default/a` would wait for itself: default/a → default/a"), "{own}");
    let both = format!("{}---\n{}", stack("a", "{ stack: b }"), stack("b", "{ stack: a }"));
    assert!(world.apply(&both).await.unwrap_err().to_string().contains("→ default/b →"));
    assert!(world.ledger.stacks(None).unwrap().is_empty());
    // Over what was declared before, and through one that has nothing to do with it.
    world.apply(&stack("a", "{ stack: b }")).await.unwrap();
    world.apply(&stack("b", "{ stack: c }, { stack: d }")).await.unwrap();
    let long = world.apply(&stack("c", "{ stack: a }")).await.unwrap_err().to_string();
    assert!(long.contains("default/c → default/a → default/b → default/c"), "{long}");
    // A stack that loses its dependency in the same manifest closes no circle.
    let turned = format!("{}---\n{}", stack("b", ""), stack("c", "{ stack: a }"));
    world.apply(&turned).await.unwrap();
}
