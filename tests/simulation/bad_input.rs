//! What cannot be worked with is told on the stack's conditions, with what to do about it; what runs is left alone.

use skep::domain::*;

use crate::world::*;

fn ready(status: &StackStatus) -> (ConditionStatus, Reason, String) {
    let found = status.condition(ConditionType::Ready).expect("it has been looked at");
    (found.status, found.reason, found.message.clone())
}

fn version_of(world: &World, service: &str) -> VersionIndex {
    world.swarm.service(service).expect("the service").version
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_no_manager_is_named_with_what_to_do() {
    let world = World::running().await;
    world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    let before = version_of(&world, "shop_web");
    world.swarm.not_a_manager(true);
    world.swarm.break_events();
    let v2 = world.apply(&inline("shop", "", &two("app:2", "job:1"))).await;
    world.until(60, "it is told", |world| ready(&world.status()).1 == Reason::NotAManager).await;
    let (status, _, message) = ready(&world.status());
    assert_eq!(status, ConditionStatus::Unknown);
    assert!(
        message.contains("not a manager") && message.contains("run `docker swarm init` there, or name a manager"),
        "{message}"
    );
    assert!(!world.deployment(&v2).phase.is_terminal());
    assert_eq!(version_of(&world, "shop_web"), before);
    world.swarm.not_a_manager(false);
    world.ends_as(120, &v2, DeploymentPhase::Converged).await;
    world.silence().await;
}

/// `shop` with a service `web_api` and `shop_web` with a service `api` ask for one name on the Swarm.
#[tokio::test(start_paused = true)]
async fn of_two_stacks_that_claim_one_name_the_second_is_refused_and_told_whose_it_is() {
    let world = World::running().await;
    world.apply(&inline("shop", "", "services:\n  web_api:\n    image: app:1\n")).await;
    world.until_phase(60, StackPhase::Converged).await;
    let before = version_of(&world, "shop_web_api");
    let second = world.apply(&inline("shop_web", "", "services:\n  api:\n    image: app:2\n")).await;
    world.ends_as(60, &second, DeploymentPhase::Failed).await;
    let told = |world: &World| ready(&world.ledger.status(&key("shop_web")).unwrap().expect("a status").value);
    world.until(60, "it is told", |world| told(world).0 == ConditionStatus::False).await;
    let (_, reason, message) = told(&world);
    assert_eq!(reason, Reason::PreflightFailed, "{message}");
    assert!(
        message.contains("service `shop_web_api`")
            && message.contains("`default/shop`")
            && message.contains("rename it"),
        "{message}"
    );
    assert_eq!((version_of(&world, "shop_web_api"), world.image_of("shop_web_api").as_str()), (before, "app:1"));
    assert_eq!(world.phase(), StackPhase::Converged);
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_is_gone_is_told_and_what_runs_of_it_goes_on() {
    let world = World::running().await;
    world.push(&two("app:1", "job:1"));
    world.apply(&from_git("main", "")).await;
    world.until_phase(60, StackPhase::Converged).await;
    let before = version_of(&world, "shop_web");
    world.source.set_down(URL, true);
    world
        .until(300, "it is told", |world| {
            world.condition(ConditionType::SourceReady).is_some_and(|status| status != ConditionStatus::True)
        })
        .await;
    let status = world.status();
    let source = status.condition(ConditionType::SourceReady).unwrap();
    assert_eq!(source.reason, Reason::SourceUnreachable);
    assert!(source.message.contains(URL), "{}", source.message);
    assert_eq!(ready(&status).0, ConditionStatus::True, "what was asked for runs");
    world.sleep(3600).await;
    assert_eq!(version_of(&world, "shop_web"), before);
    // And it is healed from what is kept, without the repository.
    world.swarm.foreign_remove(&ObjectRef::new(ObjectKind::Service, "shop_web")).unwrap();
    world.until(60, "it is healed", |world| world.swarm.service("shop_web").is_some()).await;
    world.source.set_down(URL, false);
    let next = world.push(&two("app:2", "job:1"));
    world.until(300, "it flows again", |world| world.newest().version.revision.as_ref() == Some(&next)).await;
    world.until_phase(120, StackPhase::Converged).await;
    assert_eq!(world.condition(ConditionType::SourceReady), Some(ConditionStatus::True));
    world.silence().await;
}
