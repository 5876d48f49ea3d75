//! A stack whose files are in a repository follows it, also through what goes wrong there.

use std::time::Duration;

use jiff::SignedDuration;
use skep::domain::*;
use skep::ports::{Ambient, HandOver, HandedOver};
use skep::swarm::sim::{Behaviour, SimOptions};

use crate::world::*;

async fn followed() -> World {
    let world = World::running().await;
    world.push(&two("app:1", "job:1"));
    world.apply(&from_git("main", "")).await;
    world.until_phase(60, StackPhase::Converged).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_push_flows_by_itself() {
    let world = followed().await;
    let revision = world.push(&two("app:2", "job:1"));
    world.until(180, "the push runs", |world| world.image_of("shop_web") == "app:2").await;
    world.until_phase(60, StackPhase::Converged).await;
    assert_eq!(world.last_trigger(), (Trigger::Git, DeploymentPhase::Converged));
    assert_eq!(world.newest().version.revision, Some(revision));
    world.silence().await;
    assert_eq!(world.history().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_bad_push_is_rolled_back_with_the_git_host_gone_and_not_tried_again() {
    for hang in [false, true] {
        let world = followed().await;
        world.swarm.image("app:2", Behaviour::Slow { ready_after: Duration::from_secs(100_000) });
        world.push(&two("app:2", "job:2"));
        world.until(180, "the push is applied", |world| world.newest().phase == DeploymentPhase::Verifying).await;
        if hang {
            world.source.hang(URL, true)
        } else {
            world.source.set_down(URL, true)
        }
        world.until_phase(600, StackPhase::RolledBack).await;
        assert_eq!(world.image_of("shop_web"), "app:1");
        assert_eq!(world.image_of("shop_worker"), "job:1");
        world.source.hang(URL, false);
        world.source.set_down(URL, false);
        let count = world.history().len();
        world.sleep(3600).await;
        assert_eq!((world.history().len(), world.phase()), (count, StackPhase::RolledBack), "{}", world.report());
        world.push(&two("app:3", "job:3"));
        world.until_phase(300, StackPhase::Converged).await;
        assert_eq!(world.image_of("shop_web"), "app:3");
        world.silence().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_the_middle_needs_no_repository() {
    let mut world = followed().await;
    world.swarm.image("app:2", Behaviour::Exit { after: Duration::from_secs(3), code: 1 });
    world.push(&two("app:2", "job:2"));
    world.until(180, "the push is applied", |world| world.newest().phase == DeploymentPhase::Verifying).await;
    world.source.set_down(URL, true);
    world.restart();
    world.until_phase(120, StackPhase::RolledBack).await;
}

#[tokio::test(start_paused = true)]
async fn a_ref_that_does_not_exist_fails_once_and_flows_when_it_is_there() {
    let world = World::running().await;
    world.push(&two("app:1", "job:1"));
    let id = world.apply(&from_git("next", "")).await;
    world.ends_as(60, &id, DeploymentPhase::Failed).await;
    assert_eq!(world.deployment(&id).failure.map(|failure| failure.class), Some(FailureClass::SourceUnreachable));
    assert_eq!(world.phase(), StackPhase::Failed);
    assert_eq!(world.status().observed_generation, 1);
    world.sleep(1800).await;
    assert_eq!(world.history().len(), 1, "{}", world.report());
    assert!(world.events().len() < 20);
    world.source.commit(URL, "next", &[("stack.yml", &two("app:1", "job:1"))]);
    world.until_phase(180, StackPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_push_that_does_not_render_changes_nothing_and_the_next_one_flows() {
    let world = followed().await;
    let writes = world.swarm.writes().len();
    world.push("services:\n  web:\n    imagee: app:2\n");
    world.until_phase(180, StackPhase::Failed).await;
    assert_eq!(world.newest().failure.map(|failure| failure.class), Some(FailureClass::Render));
    world.silence().await;
    assert_eq!(world.swarm.writes().len(), 0, "{writes}");
    assert_eq!(world.condition(ConditionType::Healthy), Some(ConditionStatus::True));
    world.push(&two("app:3", "job:1"));
    world.until_phase(180, StackPhase::Converged).await;
    assert_eq!(world.image_of("shop_web"), "app:3");
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_push_back_to_the_last_good_version_has_converged_at_once() {
    let world = followed().await;
    world.swarm.image("app:2", Behaviour::Missing);
    world.push(&two("app:2", "job:2"));
    world.until_phase(180, StackPhase::RolledBack).await;
    world.swarm.forget_calls();
    world.push(&two("app:1", "job:1"));
    world.until_phase(180, StackPhase::Converged).await;
    assert!(world.swarm.writes().is_empty());
    // The same bad content once more is refused without being tried.
    world.push(&two("app:2", "job:2"));
    world.until_phase(180, StackPhase::RolledBack).await;
    assert!(world.swarm.writes().is_empty());
    assert_eq!(world.last_trigger(), (Trigger::Git, DeploymentPhase::Failed));
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_never_answers_ends_the_deployment_at_its_deadline() {
    let world = World::running().await;
    world.push(&two("app:1", "job:1"));
    world.source.hang(URL, true);
    let id = world.apply(&from_git("main", "totalDeadline: 10m")).await;
    world.ends_as(700, &id, DeploymentPhase::Failed).await;
    world.source.hang(URL, false);
    world.until_phase(300, StackPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_away_at_first_is_waited_for() {
    let world = World::running().await;
    world.push(&two("app:1", "job:1"));
    world.source.set_down(URL, true);
    let id = world.apply(&from_git("main", "")).await;
    world.sleep(600).await;
    assert_eq!(world.deployment(&id).phase, DeploymentPhase::Fetching);
    let revision = world.ledger.revision();
    world.sleep(600).await;
    assert_eq!(world.ledger.revision(), revision, "waiting writes nothing\n{}", world.report());
    world.source.set_down(URL, false);
    world.ends_as(120, &id, DeploymentPhase::Converged).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn files_that_cannot_be_fetched_are_asked_for_again_only_now_and_then() {
    let world = followed().await;
    world.source.set_down(URL, true);
    let reads = world.source.calls().read;
    let images = world.image("web", "app:2").await;
    world.sleep(300).await;
    let reads = world.source.calls().read - reads;
    assert!((1..80).contains(&reads), "{reads} reads in five minutes");
    world.source.set_down(URL, false);
    world.ends_as(60, &images, DeploymentPhase::Converged).await;
    // That the host answers again is found, and said, by the next look at the ref.
    world.sleep(70).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn many_stacks_that_one_push_is_about_go_to_work_one_after_the_other() {
    let world = World::running().await;
    world.push(&two("app:1", "job:1"));
    let names: Vec<String> = (0..40).map(|number| format!("s{number}")).collect();
    let manifest = |name: &String| from_git("main", "").replace("name: shop", &format!("name: {name}"));
    world.apply(&names.iter().map(manifest).collect::<Vec<_>>().join("---\n")).await;
    let run = |world: &World, image: &str| {
        names
            .iter()
            .filter(|name| {
                let live = world.swarm.service(&format!("{name}_web"));
                live.is_some_and(|live| live.spec.task_template.container_spec.image == image)
            })
            .count()
    };
    world.until(120, "all run", |world| run(world, "app:1") == 40).await;
    world.sleep(60).await;
    world.push(&two("app:2", "job:1"));
    world.until(120, "the first runs it", |world| run(world, "app:2") > 0).await;
    assert!(run(&world, "app:2") < 20, "not all at once");
    world.until(60, "all run it", |world| run(world, "app:2") == 40).await;
    let begun: Vec<jiff::Timestamp> =
        names.iter().map(|name| world.ledger.history(&key(name), None, 1).unwrap()[0].value.created_at).collect();
    let (first, last) = (begun.iter().min().unwrap(), begun.iter().max().unwrap());
    let spread = last.duration_since(*first).as_secs();
    assert!((8..=12).contains(&spread), "a quarter of a second each: {spread} s");
}

#[tokio::test(start_paused = true)]
async fn many_stacks_that_one_delivery_of_a_hook_is_about_go_to_work_one_after_the_other_and_one_alone_at_once() {
    let world = World::running().await;
    let names: Vec<String> = (0..40).map(|number| format!("s{number}")).collect();
    let text: String = two("app:1", "job:1").lines().map(|line| format!("  {line}\n")).collect();
    let stacks =
        names.iter().map(|name| format!("kind: Stack\nname: {name}\ninline: |\n{text}---\n")).collect::<String>();
    let rules = |stacks: &str| format!("rules: [{{ stacks: [\"{stacks}\"], set: {{ images.web: tag }} }}]");
    let (all, one) = (rules("s*"), rules("s7"));
    world
        .apply(&format!(
            "{stacks}kind: Hook\nname: all\nprovider: Generic\nunsigned: true\n{all}\n---\n\
             kind: Hook\nname: one\nprovider: Generic\nunsigned: true\n{one}\n"
        ))
        .await;
    let run = |world: &World, image: &str| {
        let live = names.iter().filter_map(|name| world.swarm.service(&format!("{name}_web")));
        live.filter(|live| live.spec.task_template.container_spec.image == image).count()
    };
    world.until(120, "all run", |world| run(world, "app:1") == 40).await;
    world.sleep(60).await;
    let deliver = async |name: &str, tag: &str| {
        let hook = world.ledger.hook(name).unwrap().unwrap().value;
        let delivery = skep::declare::Delivery {
            id: format!("{name}-{tag}"),
            event: "built".to_owned(),
            payload: serde_json::json!({ "tag": tag }),
            original: serde_json::Value::Null,
            again_by: None,
            trace: None,
        };
        world.declare.deliver(&hook, &delivery).await.unwrap()
    };
    assert_eq!(deliver("all", "2").await.deployments.len(), 40);
    world.until(2, "the first runs it", |world| run(world, "app:2") > 0).await;
    world.sleep(2).await;
    assert!(run(&world, "app:2") < 20, "not all at once: {}", run(&world, "app:2"));
    world.until(60, "all run it", |world| run(world, "app:2") == 40).await;
    world.sleep(60).await;
    assert_eq!(deliver("one", "3").await.deployments.len(), 1);
    world.until(1, "one alone is not kept waiting", |world| run(world, "app:3") == 1).await;
}

/// Whatever the clock says of the Skep that hands a stack over: what is known of its ref is as new as the handing over, and
/// nobody is asked more than once for it.
#[tokio::test(start_paused = true)]
async fn what_another_skeps_clock_says_asks_no_host_too_often_and_makes_no_old_look_new() {
    for ahead in [60, -3600] {
        let near = World::with(SimOptions { seed: 9, ..SimOptions::default() }).await;
        let id = near.apply(&from_git("main", "")).await;
        let world = World::running().await;
        world.push(&two("app:1", "job:1"));
        let early = world.apply(&from_git("main", "").replace("name: shop", "name: early").replace("1m", "1h")).await;
        world.ends_as(120, &early, DeploymentPhase::Converged).await;
        world.push(&two("app:2", "job:1"));
        let mut stack = near.stack().unwrap();
        if let Source::Git(git) = &mut stack.spec.source {
            git.poll = SignedDuration::from_hours(1);
        }
        let now = world.ambient.now();
        let created_at = now.checked_add(SignedDuration::from_secs(ahead)).unwrap();
        let version = Version { source: VersionSource::Spec(Box::new(stack.spec.clone())), ..near.newest().version };
        let handed = HandOver {
            near: Installation { instance: "near".to_owned(), restored: None },
            revision: 1,
            claim: None,
            stack,
            deployments: vec![Deployment { created_at, version, ..near.deployment(&id) }],
            more: false,
            secrets: Default::default(),
        };
        let before = world.source.calls().resolve;
        assert_eq!(world.declare.take_handed(&handed, &ask()).await.unwrap(), HandedOver::Taken);
        world.ends_as(50, &id, DeploymentPhase::Converged).await;
        let asked = world.source.calls().resolve - before;
        assert!((1..=2).contains(&asked), "{ahead}: {asked} times\n{}", world.report());
        assert_eq!(world.image_of("shop_web"), "app:2", "{ahead}");
        let deployment = world.deployment(&id);
        assert_eq!((deployment.created_at, deployment.handed.map(|it| it.at)), (created_at, Some(now)));
    }
}
