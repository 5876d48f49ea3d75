//! `deploy`, `rollback`, `unpin`.

use super::*;
use crate::domain::{EventType, Source, Trigger, Variable, VersionSource};

async fn deploy(world: &World, wanted: &str) -> Declared {
    world.declare.deploy(&shop(), &to_ref(wanted), &ask()).await.unwrap()
}

/// A shop whose versions `v1`, `v2`, `v3` converged one after another; gives their deployments.
async fn three_versions() -> (World, Vec<DeploymentId>) {
    let world = World::with_shop().await;
    let mut ids = Vec::new();
    for version in ["v1", "v2", "v3"] {
        let id = deploy(&world, version).await.deployment.unwrap().id;
        world.converge(&id, version).await;
        ids.push(id);
    }
    (world, ids)
}

async fn rollback(world: &World, to: Option<&DeploymentId>) -> Result<Declared, DeclareError> {
    world.declare.rollback(&shop(), to, None, &Ask { reason: Some("why".into()), ..ask() }).await
}

#[tokio::test]
async fn a_deploy_writes_the_version_into_the_spec() {
    let world = World::with_shop().await;
    let request = DeployRequest {
        wanted: Some("v2".into()),
        images: [("web".to_owned(), "2".to_owned())].into(),
        variables: [
            ("DOMAIN".to_owned(), VariableValue { value: SecretBytes::new(b"x.org".to_vec()), secret: false }),
            ("KEY".to_owned(), VariableValue { value: SecretBytes::new(b"correct horse".to_vec()), secret: false }),
        ]
        .into(),
    };
    let declared = world.declare.deploy(&shop(), &request, &ask()).await.unwrap();
    assert!(declared.changed);
    assert_eq!(declared.stack.generation, 2);
    let deployment = declared.deployment.unwrap();
    assert_eq!(declared.stack.deployment, deployment.id);
    assert_eq!(deployment.version.source, VersionSource::Spec(Box::new(declared.stack.spec.clone())));
    assert!(matches!(declared.stack.spec.variables["KEY"], Variable::Secret(_)), "a secret stays one");
    assert_eq!(deployment.origin.original_request["variables"]["DOMAIN"], "x.org");
    assert_eq!(deployment.origin.original_request["variables"]["KEY"], "***");
    assert!(!world.everything().contains("correct horse"));
}

#[tokio::test]
async fn a_ref_that_may_have_moved_is_deployed_afresh_also_when_it_is_the_declared_one() {
    let world = World::with_shop().await;
    let before = world.shop();
    for request in [to_ref("main"), DeployRequest::default()] {
        let declared = world.declare.deploy(&shop(), &request, &ask()).await.unwrap();
        let deployment = declared.deployment.unwrap();
        assert_eq!((declared.changed, declared.stack.generation), (true, 1));
        assert_ne!(deployment.id, before.deployment);
        assert_eq!(declared.stack.deployment, deployment.id);
        assert_eq!(deployment.origin.mapped_request["deploy"]["afresh"], true);
    }
    assert_eq!(world.ledger.history(&shop(), None, 10).unwrap().len(), 3);
}

#[tokio::test]
async fn a_deploy_that_changes_nothing_else_looks_again_and_records_no_deployment() {
    let world = World::with_shop().await;
    let request = |wanted: Option<&str>| DeployRequest {
        wanted: wanted.map(str::to_owned),
        images: [("web".to_owned(), "2".to_owned())].into(),
        ..DeployRequest::default()
    };
    let commit = "0123456789abcdef0123456789abcdef01234567";
    world.declare.deploy(&shop(), &request(Some(commit)), &ask()).await.unwrap();
    let hook = Ask { trigger: Trigger::Hook, ..ask() };
    for (request, ask) in [(request(None), ask()), (to_ref(commit), ask()), (request(Some(commit)), hook)] {
        let before = world.shop();
        let declared = world.declare.deploy(&shop(), &request, &ask).await.unwrap();
        assert_eq!(declared.stack.generation, 2);
        assert_eq!(declared.deployment.unwrap().id, before.deployment);
        assert_ne!(declared.stack.control.reconcile_token, before.control.reconcile_token);
    }
    assert_eq!(world.ledger.history(&shop(), None, 10).unwrap().len(), 2);
}

#[tokio::test]
async fn a_hook_that_names_the_declared_ref_has_it_looked_at() {
    let world = World::with_shop().await;
    let before = world.shop();
    let hook = Ask { trigger: Trigger::Hook, ..ask() };
    let declared = world.declare.deploy(&shop(), &to_ref("main"), &hook).await.unwrap();
    assert_eq!(declared.deployment.unwrap().id, before.deployment);
    assert_ne!(declared.stack.control.reconcile_token, before.control.reconcile_token);
}

#[tokio::test]
async fn a_deploy_is_refused_with_a_reason() {
    let world = World::with_shop().await;
    let error = world.declare.deploy(&shop(), &to_ref("a..b"), &ask()).await.unwrap_err();
    assert_eq!(error.refusals()[0].field.as_deref(), Some("ref"));
    let expecting = Ask { expected_generation: Some(9), ..ask() };
    assert_eq!(code(&world.declare.deploy(&shop(), &to_ref("v2"), &expecting).await.unwrap_err()), Code::Conflict);
    let missing = StackKey { name: StackName::parse("shup").unwrap(), ..shop() };
    let error = world.declare.deploy(&missing, &to_ref("v2"), &ask()).await.unwrap_err();
    assert_eq!(error.refusals()[0].hint.as_deref(), Some("did you mean `shop`?"));
    world.apply("kind: Stack\nname: shop\ninline: x\n").await.unwrap();
    assert_eq!(code(&world.declare.deploy(&shop(), &to_ref("v2"), &ask()).await.unwrap_err()), Code::Invalid);
}

#[tokio::test]
async fn the_same_key_gives_the_first_deployment() {
    let world = World::with_shop().await;
    let once = Ask { idempotency_key: Some("k".into()), ..ask() };
    let first = world.declare.deploy(&shop(), &to_ref("v2"), &once).await.unwrap().deployment.unwrap();
    deploy(&world, "v3").await;
    let again = world.declare.deploy(&shop(), &to_ref("v2"), &once).await.unwrap();
    assert_eq!((again.deployment.unwrap().id, again.stack.generation), (first.id, 3));
    let other = world.declare.deploy(&shop(), &to_ref("v4"), &once).await.unwrap_err();
    assert_eq!(other.refusals()[0].field.as_deref(), Some("idempotencyKey"));
}

#[tokio::test]
async fn the_same_key_at_the_same_time_makes_one_deployment() {
    let world = Arc::new(World::with_shop().await);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let world = Arc::clone(&world);
            let once = Ask { idempotency_key: Some("k".into()), ..ask() };
            tokio::spawn(async move { world.declare.deploy(&shop(), &to_ref("v2"), &once).await })
        })
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    for task in tasks {
        ids.insert(task.await.unwrap().unwrap().deployment.unwrap().id);
    }
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn a_rollback_pins_the_version_before_the_one_that_runs() {
    let (world, ids) = three_versions().await;
    let declared = rollback(&world, None).await.unwrap();
    let (pin, deployment) = (declared.stack.control.pin.clone().unwrap(), declared.deployment.unwrap());
    assert_eq!(pin.version_of, ids[1]);
    assert_eq!(pin.deployment, deployment.id);
    assert_eq!(deployment.version.source, VersionSource::Kept(ids[1].clone()));
    assert_eq!(deployment.kept, Some(Kept("v2".into())));
    assert_eq!(deployment.origin.trigger, Trigger::Rollback);
    assert_eq!(deployment.rollback_of, None);
    assert_eq!((declared.stack.generation, &declared.stack.deployment), (4, &ids[2]), "the spec stays");
    // Once that runs, the next one goes further back, and then there is nothing left but the first.
    world.converge(&deployment.id, "v2").await;
    let further = rollback(&world, None).await.unwrap();
    assert_eq!(further.stack.control.pin.unwrap().version_of, ids[0]);
    world.converge(&further.deployment.unwrap().id, "v1").await;
    assert_eq!(code(&rollback(&world, None).await.unwrap_err()), Code::Conflict);
}

#[tokio::test]
async fn a_rollback_while_another_version_is_on_its_way_goes_to_the_last_good_one() {
    let (world, ids) = three_versions().await;
    deploy(&world, "v4").await;
    assert_eq!(rollback(&world, None).await.unwrap().stack.control.pin.unwrap().version_of, ids[2]);
}

#[tokio::test]
async fn a_rollback_goes_to_the_deployment_that_is_named() {
    let (world, ids) = three_versions().await;
    assert_eq!(rollback(&world, Some(&ids[0])).await.unwrap().stack.control.pin.unwrap().version_of, ids[0]);
    let never = DeploymentId("nope".into());
    assert_eq!(code(&rollback(&world, Some(&never)).await.unwrap_err()), Code::NotFound);
    let pending = deploy(&world, "v4").await.deployment.unwrap().id;
    assert_eq!(code(&rollback(&world, Some(&pending)).await.unwrap_err()), Code::Conflict);
}

#[tokio::test]
async fn a_pin_ends_by_unpin_or_by_an_explicit_version_and_not_by_apply() {
    let (world, ids) = three_versions().await;
    rollback(&world, Some(&ids[0])).await.unwrap();
    world.apply(&GIT.replace("path: deploy", "path: x")).await.unwrap();
    assert!(world.shop().control.pin.is_some());
    let declared = world.declare.unpin(&shop(), &ask()).await.unwrap();
    assert!(declared.stack.control.pin.is_none());
    let made = declared.deployment.unwrap();
    assert_eq!(made.version.source, VersionSource::Spec(Box::new(declared.stack.spec.clone())));
    assert_eq!(declared.stack.deployment, made.id);
    assert!(!world.declare.unpin(&shop(), &ask()).await.unwrap().changed);

    rollback(&world, Some(&ids[0])).await.unwrap();
    // The ref is the declared one already: only the pin ends.
    let Source::Git(git) = world.shop().spec.source else { panic!("inline") };
    let generation = world.shop().generation;
    let declared = deploy(&world, &git.wanted.0).await;
    assert!(declared.stack.control.pin.is_none());
    assert_eq!(declared.stack.generation, generation);
    assert_eq!(declared.deployment.unwrap().id, declared.stack.deployment);
    assert_ne!(declared.stack.deployment, made.id);
    let last = world.ledger.events(None, true, 2).unwrap();
    assert_eq!(last[1].1.kind, EventType::Unpinned);
}

#[tokio::test]
async fn a_rollback_with_an_end_that_has_passed_is_refused() {
    let (world, _) = three_versions().await;
    let past = Some(Timestamp::UNIX_EPOCH);
    let error = world.declare.rollback(&shop(), None, past, &ask()).await.unwrap_err();
    assert_eq!(error.refusals()[0].field.as_deref(), Some("until"));
}
