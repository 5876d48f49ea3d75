//! Images that are followed in their registry: what is new there is deployed, what failed is passed over, and what cannot be
//! had leaves what runs alone.

use std::time::Duration;

use jiff::SignedDuration;
use skep::domain::*;
use skep::ports::RegistryError;
use skep::swarm::sim::Behaviour;

use crate::world::*;

const APP: &str = "registry.example/team/app";

fn digest(of: char) -> String {
    format!("sha256:{}", of.to_string().repeat(64))
}

fn web(rule: &str, policy: &str) -> String {
    web_named("shop", rule, policy)
}

fn web_named(name: &str, rule: &str, policy: &str) -> String {
    let manifest = inline(name, policy, &format!("services:\n  web:\n    image: {APP}:0\n"));
    manifest.replace("inline:", &format!("images: {{ web: {{ {rule} }} }}\ninline:"))
}

fn runs(world: &World, tag: &str) -> bool {
    world.image_of("shop_web").starts_with(&format!("{APP}:{tag}"))
}

async fn followed(rule: &str) -> World {
    let world = World::running().await;
    world.registry.push(APP, "1.4.1", &digest('1'));
    world.registry.push(APP, "stable", &digest('1'));
    let first = world.apply(&web(rule, "")).await;
    world.ends_as(120, &first, DeploymentPhase::Converged).await;
    world
}

async fn until_runs(world: &World, tag: &str) {
    world.until(600, &format!("{tag} runs"), |world| runs(world, tag) && world.phase() == StackPhase::Converged).await;
}

fn condition(world: &World) -> (ConditionStatus, Reason, String) {
    let status = world.status();
    let found = status.condition(ConditionType::ImagesReady).expect("it follows images");
    (found.status, found.reason, found.message.clone())
}

#[tokio::test(start_paused = true)]
async fn a_new_tag_of_the_range_flows_by_itself_as_a_deployment_like_any_other() {
    let world = followed("semver: \"~1.4\"").await;
    assert!(runs(&world, "1.4.1"));
    let first = world.newest();
    assert_eq!((first.origin.trigger, first.version.followed["web"].tag.as_str()), (Trigger::Api, "1.4.1"));
    for tag in ["1.5.0", "1.4.2-rc.1", "latest"] {
        world.registry.push(APP, tag, &digest('9'));
    }
    world.sleep(900).await;
    assert_eq!(world.history().len(), 1, "{}", world.report());
    world.registry.push(APP, "1.4.10", &digest('2'));
    until_runs(&world, "1.4.10").await;
    let newest = world.newest();
    assert_eq!((newest.origin.trigger, newest.origin.actor.name.as_str()), (Trigger::Image, "controller"));
    assert_eq!(newest.origin.reason.as_deref(), Some("`web` is 1.4.10 now"));
    assert_eq!(newest.generation, 1, "what follows changes no spec");
    let status = world.status();
    let found = &status.followed["web"];
    assert_eq!(found.version.as_ref().map(|it| it.tag.as_str()), Some("1.4.10"));
    assert_eq!(found.repository.to_string(), APP);
    let known = world.ledger.repository_status(&found.repository).unwrap().unwrap();
    assert_eq!((known.tags, known.error), (Some(6), None));
    assert!(known.next_at > known.checked_at);
    assert_eq!(condition(&world).0, ConditionStatus::True);
    // A tag that is taken away takes nothing back.
    world.registry.remove(APP, "1.4.10");
    world.sleep(900).await;
    assert!(runs(&world, "1.4.10"));
    assert_eq!(world.history().len(), 2, "{}", world.report());
    world.laws();
}

#[tokio::test(start_paused = true)]
async fn what_a_tag_points_at_is_followed_by_its_digest() {
    let world = followed("digest: stable").await;
    assert_eq!(world.image_of("shop_web"), format!("{APP}:stable@{}", digest('1')));
    world.registry.push(APP, "stable", &digest('2'));
    world.until(600, "the new one runs", |world| world.image_of("shop_web").ends_with(&digest('2'))).await;
    world.until_phase(60, StackPhase::Converged).await;
    assert_eq!(world.last_trigger().0, Trigger::Image);
    // What is only listed is not asked for, and the other way round.
    assert_eq!(world.registry.calls().tags, 0);
    // A bad one is taken back and stays back; the next one flows.
    let bad = format!("{APP}:stable@{}", digest('3'));
    world.swarm.image(&bad, Behaviour::Exit { after: Duration::from_secs(1), code: 1 });
    world.registry.push(APP, "stable", &digest('3'));
    world.until_phase(900, StackPhase::RolledBack).await;
    let count = world.history().len();
    world.sleep(3600).await;
    assert_eq!((world.history().len(), world.phase()), (count, StackPhase::RolledBack), "{}", world.report());
    assert!(world.image_of("shop_web").ends_with(&digest('2')));
    assert_eq!(world.status().followed["web"].skipped.len(), 1);
    world.registry.push(APP, "stable", &digest('4'));
    world.until(600, "the next one runs", |world| world.image_of("shop_web").ends_with(&digest('4'))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.laws();
}

#[tokio::test(start_paused = true)]
async fn the_newest_by_number_is_followed_by_a_pattern() {
    let world = World::running().await;
    for tag in ["build-9", "build-10", "build-latest", "nightly-11"] {
        world.registry.push(APP, tag, &digest('1'));
    }
    let first = world.apply(&web(r"pattern: '^build-(?<n>\d+)$', poll: 1m", "")).await;
    world.ends_as(120, &first, DeploymentPhase::Converged).await;
    assert!(runs(&world, "build-10"));
    world.registry.push(APP, "build-11", &digest('1'));
    world.until(70, "build 11 runs", |world| runs(world, "build-11")).await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_failed_is_passed_over_and_the_next_best_that_did_not_is_what_runs() {
    let world = followed("semver: \"~1.4\"").await;
    world.swarm.image(&format!("{APP}:1.4.3"), Behaviour::Exit { after: Duration::from_secs(1), code: 1 });
    world.registry.push(APP, "1.4.3", &digest('3'));
    world.until_phase(900, StackPhase::RolledBack).await;
    assert!(runs(&world, "1.4.1"));
    let count = world.history().len();
    world.sleep(3600).await;
    assert_eq!(world.history().len(), count, "it is not tried again\n{}", world.report());
    assert_eq!(world.phase(), StackPhase::RolledBack, "the failure stays to be seen");
    assert_eq!(world.status().followed["web"].skipped, ["1.4.3"]);
    // What lies between the last good one and the bad one is newer than what runs.
    world.registry.push(APP, "1.4.2", &digest('2'));
    until_runs(&world, "1.4.2").await;
    world.registry.push(APP, "1.4.4", &digest('4'));
    until_runs(&world, "1.4.4").await;
    world.laws();
}

#[tokio::test(start_paused = true)]
async fn a_persons_pin_and_suspension_hold_what_is_followed() {
    let world = followed("semver: \"~1.4\"").await;
    world.registry.push(APP, "1.4.2", &digest('2'));
    until_runs(&world, "1.4.2").await;
    let first = world.history()[0].id.clone();
    world.declare.rollback(&key("shop"), Some(&first), None, &ask()).await.unwrap();
    world.until(120, "the pin stands", |world| runs(world, "1.4.1")).await;
    world.registry.push(APP, "1.4.3", &digest('3'));
    world.sleep(1800).await;
    assert!(runs(&world, "1.4.1"));
    let waiting = world.events().into_iter().filter(|event| event.message.contains("waits behind the pin")).count();
    assert_eq!(waiting, 1, "{}", world.report());
    world.declare.unpin(&key("shop"), &ask()).await.unwrap();
    until_runs(&world, "1.4.3").await;
    let why = skep::declare::Ask { reason: Some("audit".into()), ..ask() };
    world.declare.suspend(&key("shop"), None, &why).await.unwrap();
    world.registry.push(APP, "1.4.4", &digest('4'));
    world.sleep(1800).await;
    assert!(runs(&world, "1.4.3"));
    world.declare.resume(&key("shop"), &ask()).await.unwrap();
    until_runs(&world, "1.4.4").await;
}

#[tokio::test(start_paused = true)]
async fn one_look_serves_all_stacks_and_rules() {
    let world = World::running().await;
    world.registry.push(APP, "1.4.1", &digest('1'));
    let names: Vec<String> = (0..20).map(|number| format!("s{number}")).collect();
    let manifests: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(at, name)| web_named(name, if at % 2 == 0 { "semver: \"~1.4\"" } else { "pattern: '^1'" }, ""))
        .collect();
    world.apply(&manifests.join("---\n")).await;
    let all_run = |world: &World, tag: &str| {
        names.iter().all(|name| {
            let live = world.swarm.service(&format!("{name}_web"));
            live.is_some_and(|live| live.spec.task_template.container_spec.image.starts_with(&format!("{APP}:{tag}")))
        })
    };
    world.until(120, "all run", |world| all_run(world, "1.4.1")).await;
    let before = world.registry.calls();
    world.registry.push(APP, "1.4.2", &digest('2'));
    world.until(600, "all run the new one", |world| all_run(world, "1.4.2")).await;
    world.sleep(3600).await;
    let calls = world.registry.calls();
    // Every five minutes, more or less a tenth.
    assert!((10..=16).contains(&(calls.tags - before.tags)), "{before:?} {calls:?}");
    assert_eq!(calls.digests, 0);
    assert!(calls.unchanged >= 10, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_asked_too_much_is_left_alone_for_as_long_as_it_says_also_when_somebody_asks() {
    let mut world = followed("semver: \"~1.4\"").await;
    let busy = RegistryError::Busy {
        host: "registry.example".into(),
        reason: "toomanyrequests".into(),
        retry_after: Some(SignedDuration::from_secs(3600)),
    };
    world.registry.refuse("registry.example", Some(busy));
    world.until(600, "it is said", |world| condition(world).0 == ConditionStatus::False).await;
    let (_, reason, message) = condition(&world);
    assert_eq!(reason, Reason::RegistryUnreachable);
    assert!(message.contains("asked too much"), "{message}");
    let calls = world.registry.calls().tags;
    world.declare.reconcile(&key("shop"), &ask()).await.unwrap();
    world.sleep(900).await;
    assert_eq!(world.registry.calls().tags, calls, "not before its time");
    // Nor after a restart, whoever asks: the stacks want it every five minutes.
    world.restart();
    world.sleep(60).await;
    world.declare.reconcile(&key("shop"), &ask()).await.unwrap();
    world.sleep(840).await;
    assert_eq!(world.registry.calls().tags, calls, "not before its time, after a restart");
    assert_eq!((world.phase(), runs(&world, "1.4.1")), (StackPhase::Converged, true));
    world.registry.refuse("registry.example", None);
    world.registry.push(APP, "1.4.2", &digest('2'));
    world.until(2400, "it is asked again", |world| runs(world, "1.4.2")).await;
    assert_eq!(condition(&world).0, ConditionStatus::True);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_had_is_said_and_what_runs_is_left_alone() {
    let world = followed("semver: \"~1.4\"").await;
    let host = || "registry.example".to_owned();
    let unreachable = RegistryError::Unreachable { host: host(), reason: "no such host".into() };
    let denied = RegistryError::Denied { host: host(), reason: "unauthorized".into() };
    for (refusal, wanted) in [
        (Some(unreachable), Reason::RegistryUnreachable),
        (Some(denied), Reason::AuthenticationFailed),
        (None, Reason::ImageMissing),
    ] {
        if refusal.is_none() {
            world.registry.drop_repository(APP);
        }
        world.registry.refuse("registry.example", refusal);
        world.until(900, "it is said", |world| condition(world).1 == wanted).await;
        let writes = world.swarm.writes().len();
        world.sleep(1800).await;
        assert_eq!((world.phase(), world.swarm.writes().len()), (StackPhase::Converged, writes), "{}", world.report());
        assert!(world.status().followed["web"].error.is_some());
    }
    world.registry.push(APP, "1.4.2", &digest('2'));
    until_runs(&world, "1.4.2").await;
    assert_eq!(world.status().followed["web"].error, None);
    let told = |kind: EventType| world.events().iter().filter(|event| event.kind == kind).count();
    assert!((2..=4).contains(&told(EventType::ImagesFailed)), "each kind once\n{}", world.report());
}

#[tokio::test(start_paused = true)]
async fn a_range_that_nothing_fits_fails_once_and_flows_when_there_is_something() {
    let world = followed("semver: \"~1.4\"").await;
    let id = world.apply(&web("semver: \"~2\"", "")).await;
    world.ends_as(120, &id, DeploymentPhase::Failed).await;
    let failure = world.deployment(&id).failure.unwrap();
    assert_eq!(failure.class, FailureClass::ImageMissing);
    assert!(failure.error.contains("semver: ~2") && failure.error.contains("1.4.1"), "{}", failure.error);
    assert_eq!(condition(&world).1, Reason::NothingFits);
    world.sleep(1800).await;
    assert_eq!((world.history().len(), runs(&world, "1.4.1")), (2, true), "{}", world.report());
    world.registry.push(APP, "2.0.1", &digest('2'));
    until_runs(&world, "2.0.1").await;
    assert_eq!(world.last_trigger().0, Trigger::Image);
    // Back into a range that is lower: that is a person's word.
    let back = world.apply(&web("semver: \"~1.4\"", "")).await;
    world.ends_as(120, &back, DeploymentPhase::Converged).await;
    assert!(runs(&world, "1.4.1"));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_away_keeps_a_first_deployment_waiting_and_no_later_one() {
    let world = World::running().await;
    world.registry.hang("registry.example", true);
    let first = world.apply(&web("semver: \"~1.4\"", "totalDeadline: 30m")).await;
    world.sleep(900).await;
    assert_eq!(world.deployment(&first).phase, DeploymentPhase::Rendering, "{}", world.report());
    world.registry.push(APP, "1.4.1", &digest('1'));
    world.registry.hang("registry.example", false);
    world.ends_as(300, &first, DeploymentPhase::Converged).await;
    world.registry.hang("registry.example", true);
    let manifest = web("semver: \"~1.4\"", "").replace("inline: |\n", "variables: { A: b }\ninline: |\n");
    let later = world.apply(&manifest).await;
    world.ends_as(60, &later, DeploymentPhase::Converged).await;
    assert!(runs(&world, "1.4.1"));
}

#[tokio::test(start_paused = true)]
async fn a_look_that_is_asked_for_is_taken_at_once() {
    let world = followed("semver: \"~1.4\", poll: 12h").await;
    world.registry.push(APP, "1.4.2", &digest('2'));
    world.sleep(900).await;
    assert!(runs(&world, "1.4.1"));
    world.declare.reconcile(&key("shop"), &ask()).await.unwrap();
    world.until(10, "the new one is applied", |world| runs(world, "1.4.2")).await;
    world.until_phase(60, StackPhase::Converged).await;
    assert_eq!(world.status().handled_reconcile, world.stack().unwrap().control.reconcile_token);
}

#[tokio::test(start_paused = true)]
async fn a_restart_asks_no_registry_before_its_time_and_forgets_nothing() {
    let mut world = followed("semver: \"~1.4\", poll: 1h").await;
    let calls = world.registry.calls().tags;
    for _ in 0..5 {
        world.restart();
        world.sleep(60).await;
    }
    assert_eq!(world.registry.calls().tags, calls, "five restarts");
    world.registry.push(APP, "1.4.2", &digest('2'));
    world.until(4200, "the new one runs", |world| runs(world, "1.4.2")).await;
    world.until_phase(60, StackPhase::Converged).await;
    // Followed no more, it is forgotten.
    world.apply(&web("", "").replace("images: { web: {  } }", "images: { web: \"1.4.1\" }")).await;
    world.until(120, "the named one runs", |world| runs(world, "1.4.1")).await;
    world.until(60, "it is forgotten", |world| world.ledger.repository_statuses().unwrap().is_empty()).await;
    assert!(world.status().followed.is_empty() && world.condition(ConditionType::ImagesReady).is_none());
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_push_of_files_takes_the_newest_image_and_a_new_image_keeps_the_commit() {
    let world = World::running().await;
    world.registry.push(APP, "1.4.1", &digest('1'));
    let compose = |number: u32| format!("services:\n  web:\n    image: {APP}:0\n    labels: {{ n: \"{number}\" }}\n");
    world.push(&compose(1));
    let manifest = format!("{}images: {{ web: {{ semver: \"~1.4\", poll: 1h }} }}\n", from_git("main", ""));
    let first = world.apply(&manifest).await;
    world.ends_as(120, &first, DeploymentPhase::Converged).await;
    let second = world.push(&compose(2));
    world
        .until(180, "the push runs", |world| {
            world.newest().version.revision.as_ref() == Some(&second) && world.phase() == StackPhase::Converged
        })
        .await;
    assert!(runs(&world, "1.4.1"));
    world.registry.push(APP, "1.4.2", &digest('2'));
    world.until(4200, "the image runs", |world| runs(world, "1.4.2")).await;
    let newest = world.newest();
    assert_eq!((newest.origin.trigger, newest.version.revision), (Trigger::Image, Some(second)));
    // The plan of what is declared is what runs.
    let plan = world.inquiries().plan(&key("shop"), None).await.unwrap();
    assert!(plan.steps.is_empty(), "{:?}", plan.steps);
}
