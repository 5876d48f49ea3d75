//! What another Skep hands over: taken once, in order, and whose it is.

use std::collections::BTreeMap;

use super::*;
use crate::domain::{Installation, Variable, VersionSource, Way};
use crate::ports::{Clear, HandOver, HandedOver};

fn installation(instance: &str) -> Installation {
    Installation { instance: instance.to_owned(), restored: None }
}

fn relayed() -> Ask {
    Ask { via: Some(Way::Relay), ..Ask::new(Actor::new("near"), Trigger::Rest) }
}

/// What a near Skep, a world of its own, would hand over now.
fn handed(world: &World, revision: u64) -> HandOver {
    let mut secrets = BTreeMap::new();
    let mut bare = |spec: &mut crate::domain::StackSpec| {
        for variable in spec.variables.values_mut() {
            if let Variable::Secret(sealed) = variable {
                secrets.insert(sealed.digest.as_str().to_owned(), Clear(Reversed.open(sealed).unwrap()));
                sealed.sealed.clear();
            }
        }
    };
    let mut stack = world.shop();
    bare(&mut stack.spec);
    let mut deployments: Vec<Deployment> =
        world.ledger.history(&shop(), None, 100).unwrap().into_iter().map(|found| found.value).collect();
    deployments.reverse();
    for deployment in &mut deployments {
        if let VersionSource::Spec(spec) = &mut deployment.version.source {
            bare(spec);
        }
    }
    HandOver { near: installation("a"), revision, claim: None, stack, deployments, more: false, secrets }
}

async fn take(far: &World, handed: &HandOver) -> Result<HandedOver, DeclareError> {
    far.declare.take_handed(handed, &relayed()).await
}

#[tokio::test]
async fn what_is_handed_over_again_changes_nothing_and_what_is_older_is_refused() {
    let (near, far) = (World::with_shop().await, World::new().await);
    let first = handed(&near, 3);
    assert_eq!(take(&far, &first).await.unwrap(), HandedOver::Taken);
    let stands = far.everything();
    assert_eq!(take(&far, &first).await.unwrap(), HandedOver::Known);
    assert_eq!(far.everything(), stands);
    assert!(!stands.contains("hunter2hunter2"), "the secret is sealed");
    let Some(Variable::Secret(sealed)) = far.shop().spec.variables.get("KEY").cloned() else { panic!("no secret") };
    assert_eq!(Reversed.open(&sealed).unwrap().expose(), b"hunter2hunter2");

    near.declare.deploy(&shop(), &to_ref("v2"), &ask()).await.unwrap();
    near.declare.deploy(&shop(), &to_ref("v3"), &ask()).await.unwrap();
    let third = handed(&near, 5);
    assert_eq!(take(&far, &third).await.unwrap(), HandedOver::Taken);
    let history = far.ledger.history(&shop(), None, 10).unwrap();
    let phases: Vec<_> = history.iter().map(|found| found.value.phase).collect();
    assert_eq!(phases, [DeploymentPhase::Pending, DeploymentPhase::Superseded, DeploymentPhase::Pending]);
    assert_eq!(far.shop().deployment, near.shop().deployment);
    // A late one of before.
    assert_eq!(code(&take(&far, &first).await.unwrap_err()), Code::Conflict);
    assert_eq!(far.shop().generation, 3);
}

#[tokio::test]
async fn what_another_declares_is_nobody_elses_until_a_claim() {
    let (near, far) = (World::with_shop().await, World::with_shop().await);
    let mut asked = handed(&near, 3);
    assert_eq!(code(&take(&far, &asked).await.unwrap_err()), Code::Conflict, "it is declared there itself");
    asked.claim = Some("00000000000000000000000900".into());
    // Both have generation 1: what is to count has to come after it.
    asked.stack.deployment = DeploymentId("00000000000000000000000800".into());
    asked.deployments.clear();
    assert_eq!(take(&far, &asked).await.unwrap(), HandedOver::Behind { generation: 1 });
    near.declare.come_after(&shop(), 1).await.unwrap();
    let asked = HandOver { claim: asked.claim, ..handed(&near, 4) };
    // Another world's ids are the same here by chance: only what is new is handed over.
    let newest = asked.stack.deployment.clone();
    let asked = HandOver { deployments: asked.deployments.into_iter().filter(|it| it.id == newest).collect(), ..asked };
    let taken = take(&far, &asked).await;
    assert_eq!(taken.unwrap(), HandedOver::Taken);
    assert_eq!(far.shop().generation, 2);

    for refused in [
        far.declare.deploy(&shop(), &to_ref("v9"), &ask()).await.map(drop),
        far.declare.delete(&shop(), false, &ask()).await.map(drop),
        far.apply(&GIT.replace("1.10", "1.11")).await.map(drop),
        take(&far, &HandOver { near: installation("b"), revision: 99, ..asked.clone() }).await.map(drop),
    ] {
        assert_eq!(code(&refused.unwrap_err()), Code::Conflict);
    }
    // A claim here ends it; the same claim there does not count again.
    far.declare.claim_environment(&EnvironmentName::default(), &ask()).await.unwrap();
    far.declare.deploy(&shop(), &to_ref("v9"), &ask()).await.unwrap();
    let later = far.shop().control.relay.unwrap().claim.unwrap();
    let asked = HandOver { claim: Some(later), revision: 5, ..asked };
    assert_eq!(code(&take(&far, &asked).await.unwrap_err()), Code::Conflict);
}

#[tokio::test]
async fn what_a_manifest_could_not_say_cannot_be_handed_over_either() {
    let (near, far) = (World::with_shop().await, World::new().await);
    let good = handed(&near, 3);
    let mut outside = good.clone();
    outside.stack.spec.compose = vec!["../../etc/passwd".into()];
    let mut key = good.clone();
    key.deployments[0].id = DeploymentId("a/b".into());
    let mut begun = good.clone();
    begun.deployments[0].phase = DeploymentPhase::Converged;
    let mut bare = good.clone();
    bare.secrets.clear();
    for bad in [outside, key, begun, bare] {
        assert_eq!(code(&take(&far, &bad).await.unwrap_err()), Code::Invalid);
    }
    let mut nowhere = good;
    nowhere.stack.key.environment = EnvironmentName::parse("nowhere").unwrap();
    assert_eq!(code(&take(&far, &nowhere).await.unwrap_err()), Code::NotFound);
    assert!(far.ledger.stacks(None).unwrap().is_empty() && far.ledger.deployments(None, 1).unwrap().is_empty());
}

#[tokio::test]
async fn what_is_to_be_deleted_and_is_not_there_is_gone() {
    let (near, far) = (World::with_shop().await, World::new().await);
    near.declare.delete(&shop(), false, &ask()).await.unwrap();
    assert_eq!(take(&far, &handed(&near, 4)).await.unwrap(), HandedOver::Gone);
    assert!(far.ledger.stacks(None).unwrap().is_empty());
}
