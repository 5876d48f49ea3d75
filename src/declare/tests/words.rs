//! A person's other words.

use super::*;

#[tokio::test]
async fn a_hold_is_released_with_a_new_deployment() {
    let world = World::with_shop().await;
    let first = world.shop().deployment;
    assert!(!world.declare.release_hold(&shop(), &ask()).await.unwrap().changed);
    world.hold(&first, "v1").await;
    let declared = world.declare.release_hold(&shop(), &ask()).await.unwrap();
    assert!(declared.stack.control.release_token.is_some());
    assert_ne!(declared.stack.deployment, first);
    assert_eq!(declared.deployment.unwrap().id, declared.stack.deployment);
    assert_eq!(declared.stack.generation, 1);
}

#[tokio::test]
async fn the_deployment_under_way_is_cancelled() {
    let world = World::with_shop().await;
    let first = world.shop().deployment;
    let declared = world.declare.cancel(&shop(), None, &ask()).await.unwrap();
    assert_eq!(declared.stack.control.cancel.as_ref(), Some(&first));
    assert_eq!(declared.deployment.unwrap().id, first);
    assert!(!world.declare.cancel(&shop(), Some(&first), &ask()).await.unwrap().changed);
    world.converge(&first, "v1").await;
    assert_eq!(code(&world.declare.cancel(&shop(), None, &ask()).await.unwrap_err()), Code::Conflict);
    let never = DeploymentId("nope".into());
    assert_eq!(code(&world.declare.cancel(&shop(), Some(&never), &ask()).await.unwrap_err()), Code::NotFound);
}

#[tokio::test]
async fn a_suspension_needs_a_reason_and_ends_with_resume() {
    let world = World::with_shop().await;
    assert_eq!(code(&world.declare.suspend(&shop(), None, &ask()).await.unwrap_err()), Code::Invalid);
    let why = Ask { reason: Some("maintenance".into()), ..ask() };
    let past = Some(Timestamp::UNIX_EPOCH);
    assert_eq!(code(&world.declare.suspend(&shop(), past, &why).await.unwrap_err()), Code::Invalid);
    let declared = world.declare.suspend(&shop(), None, &why).await.unwrap();
    assert_eq!(declared.stack.control.suspension.unwrap().reason, "maintenance");
    assert!(!world.declare.suspend(&shop(), None, &why).await.unwrap().changed);
    assert!(world.declare.resume(&shop(), &ask()).await.unwrap().changed);
    assert!(world.shop().control.suspension.is_none());
    assert!(!world.declare.resume(&shop(), &ask()).await.unwrap().changed);
}

#[tokio::test]
async fn a_look_leaves_a_fresh_token_each_time() {
    let world = World::with_shop().await;
    let first = world.declare.reconcile(&shop(), &ask()).await.unwrap().stack.control.reconcile_token;
    let second = world.declare.reconcile(&shop(), &ask()).await.unwrap().stack.control.reconcile_token;
    assert!(first.is_some() && first != second);
}

#[tokio::test]
async fn a_deletion_is_an_order_that_can_be_given_again() {
    let world = World::with_shop().await;
    assert!(world.declare.delete(&shop(), false, &ask()).await.unwrap().changed);
    assert!(!world.declare.delete(&shop(), false, &ask()).await.unwrap().changed);
    let declared = world.declare.delete(&shop(), true, &ask()).await.unwrap();
    assert!(declared.stack.control.deletion.unwrap().keep_running);
}

#[tokio::test]
async fn every_word_leaves_an_event_with_its_actor() {
    let world = World::with_shop().await;
    let by = Ask { actor: Actor::new("somebody"), reason: Some("why".into()), ..ask() };
    world.declare.suspend(&shop(), None, &by).await.unwrap();
    let (_, event) = world.ledger.events(None, true, 1).unwrap().remove(0);
    assert_eq!((event.actor.as_str(), event.message.as_str()), ("somebody", "suspended: why"));
}
