//! A credential that is not there is waited for, and seen at once when it comes; an environment that is declared anew loses
//! nothing of what is under way.

use std::time::Duration;

use skep::declare::{Ask, SetCredential};
use skep::domain::*;
use skep::ports::SourceError;
use skep::swarm::sim::Behaviour;

use crate::world::*;

fn asked() -> Ask {
    Ask::new(Actor::new("ada"), Trigger::Api)
}

fn token(value: &str) -> SetCredential {
    SetCredential {
        name: "shop-git".into(),
        kind: Some(CredentialType::GitToken),
        hosts: Some(vec!["git.example".into()]),
        stacks: None,
        data: [("token".to_owned(), SecretBytes::new(value.as_bytes().to_vec()))].into(),
        remove: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_credential_is_a_condition_until_it_comes() {
    let world = World::running().await;
    world.push(&two("app:1", "job:1"));
    let missing = SourceError::Credential { url: URL.into(), reason: "make it: `skep credential set shop-git`".into() };
    world.source.refuse(URL, Some(missing));
    let manifest = format!(
        "kind: Stack\nname: shop\ncompose: [stack.yml]\n\
         source: {{ git: {URL}, ref: main, poll: 1h, credential: shop-git }}\n"
    );
    let first = world.apply(&manifest).await;
    world
        .until(60, "the condition", |world| world.condition(ConditionType::SourceReady) == Some(ConditionStatus::False))
        .await;
    let condition = world.status().condition(ConditionType::SourceReady).unwrap().clone();
    assert_eq!(condition.reason, Reason::AuthenticationFailed);
    assert!(condition.message.contains("skep credential set shop-git"), "{}", condition.message);
    world.sleep(1200).await;
    assert!(!world.deployment(&first).phase.is_terminal(), "{}", world.report());

    // It comes: nobody waits for the next round of polling.
    world.source.refuse(URL, None);
    world.declare.set_credential(&token("x"), &asked()).await.unwrap();
    world.ends_as(30, &first, DeploymentPhase::Converged).await;

    // Later it is refused, and mended: again at once, and what was pushed meanwhile flows.
    let unauthorized = SourceError::Unauthorized { url: URL.into(), reason: "it answered 401".into() };
    world.source.refuse(URL, Some(unauthorized));
    world
        .until(4000, "the condition", |world| {
            world.condition(ConditionType::SourceReady) == Some(ConditionStatus::False)
        })
        .await;
    world.push(&two("app:2", "job:1"));
    world.source.refuse(URL, None);
    world.declare.set_credential(&token("y"), &asked()).await.unwrap();
    world.until(60, "the push", |world| world.image_of("shop_web") == "app:2").await;
    world.until_phase(60, StackPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn an_environment_that_changes_under_way_loses_nothing() {
    let world = World::running().await;
    world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.swarm.image("app:2", Behaviour::Slow { ready_after: Duration::from_secs(30) });
    let second = world.apply(&inline("shop", "", &two("app:2", "job:1"))).await;
    for round in 0..5 {
        world.sleep(2).await;
        let text = format!("kind: Environment\nname: default\nendpoints: ['unix:///sim{round}', 'unix:///sim']\n");
        world.declare.apply(&text, &Default::default(), &asked()).await.unwrap();
    }
    world.ends_as(120, &second, DeploymentPhase::Converged).await;
    assert_eq!(world.history().len(), 2, "{}", world.report());
    world.silence().await;
}
