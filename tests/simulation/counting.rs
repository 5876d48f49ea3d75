//! What is counted, as `/metrics` tells it: each figure moves with what it is about, and with nothing else.

use skep::domain::*;
use skep::ports::{ImageError, RegistryError, ResolvedImage, SwarmError};
use skep::swarm::sim::CallKind;

use crate::world::*;

const DEFAULT: &str = "environment=\"default\"";

async fn converged(policy: &str) -> World {
    let world = World::running().await;
    world.apply(&inline("shop", policy, &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.sleep(10).await;
    world
}

#[tokio::test(start_paused = true)]
async fn drift_is_counted_by_what_was_done_about_it() {
    for (policy, done, other) in [("", "Corrected", "Reported"), ("drift: report", "Reported", "Corrected")] {
        let world = converged(policy).await;
        let drift = |action: &str| world.counted("skep_drift_total", &[DEFAULT, &format!("action=\"{action}\"")]);
        assert_eq!((drift(done), drift(other)), (0.0, 0.0), "nobody has changed anything");
        let change = |spec: &mut ServiceSpec| spec.task_template.container_spec.image = "evil:1".to_owned();
        world.swarm.foreign_update("shop_web", change).unwrap();
        world.sleep(60).await;
        assert_eq!((drift(done), drift(other)), (1.0, 0.0), "{policy}\n{}", world.report());
        // Another change of the same field is another one.
        let change = |spec: &mut ServiceSpec| spec.task_template.container_spec.image = "evil:2".to_owned();
        world.swarm.foreign_update("shop_web", change).unwrap();
        world.sleep(60).await;
        assert_eq!((drift(done), drift(other)), (2.0, 0.0), "{policy}\n{}", world.report());
    }
}

#[tokio::test(start_paused = true)]
async fn looks_are_counted_and_those_that_broke_off_by_what_they_broke_on() {
    let world = converged("").await;
    let looks = |outcome: &str| world.counted("skep_reconciles_total", &[DEFAULT, &format!("outcome=\"{outcome}\"")]);
    let broken = |class: &str| world.counted("skep_reconcile_errors_total", &[DEFAULT, &format!("class=\"{class}\"")]);
    let all_broken = || world.counted("skep_reconcile_errors_total", &[]);
    assert!(looks("Done") >= 1.0);
    assert_eq!((looks("Failed"), all_broken()), (0.0, 0.0));
    for error in [
        SwarmError::Engine { endpoint: "sim".into(), reason: "raft is busy".into() },
        SwarmError::NoQuorum { endpoint: "sim".into(), reason: "no leader".into() },
    ] {
        world.swarm.fail_next(CallKind::UpdateService, error);
    }
    let before = looks("Done");
    let v2 = world.apply(&inline("shop", "", &two("app:2", "job:1"))).await;
    world.ends_as(300, &v2, DeploymentPhase::Converged).await;
    assert_eq!((broken("Engine"), broken("NoQuorum"), all_broken()), (1.0, 1.0, 2.0));
    assert_eq!(looks("Failed"), 2.0);
    assert!(looks("Done") > before);
    // Each look has waited, and has taken its time.
    let all = world.counted("skep_reconciles_total", &[DEFAULT]);
    for timed in ["skep_queue_wait_seconds_count", "skep_queue_work_seconds_count"] {
        assert_eq!(world.counted(timed, &[DEFAULT]), all, "{timed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_that_waits_for_the_engine_takes_its_time() {
    let world = converged("").await;
    let worked = || world.counted("skep_queue_work_seconds_sum", &[DEFAULT]);
    let before = worked();
    world.swarm.hang(true);
    world.apply(&inline("shop", "totalDeadline: 20m", &two("app:2", "job:1"))).await;
    world.sleep(600).await;
    assert!(worked() >= before + 60.0, "{before} {}", worked());
}

#[tokio::test(start_paused = true)]
async fn questions_to_registries_are_counted_by_who_asked_and_what_came_of_it() {
    const APP: &str = "registry.example/team/app";
    let world = World::running().await;
    let asked = |environment: &str, outcome: &str| {
        let labels = [format!("environment=\"{environment}\""), format!("outcome=\"{outcome}\"")];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let timed = world.counted("skep_registry_call_seconds_count", &labels[..1]);
        let all = world.counted("skep_registry_calls_total", &labels[..1]);
        assert_eq!(timed, all, "each of them took its time");
        world.counted("skep_registry_calls_total", &labels)
    };
    assert_eq!((asked("", "Ok"), asked("default", "Ok")), (0.0, 0.0));
    let digest = format!("sha256:{}", "1".repeat(64));
    world.registry.push(APP, "1.4.1", &digest);
    world.swarm.registry("app:1", Ok(ResolvedImage { digest, platforms: Vec::new() }));
    world.swarm.registry("nosuch:1", Err(ImageError::Missing("manifest unknown".into())));
    let web = |image: &str| inline("shop", "", &format!("services:\n  web:\n    image: {image}\n"));
    // By the engine: the digest of a tag.
    let first = world.apply(&web("app:1")).await;
    world.ends_as(120, &first, DeploymentPhase::Converged).await;
    assert_eq!((asked("default", "Ok"), asked("default", "Missing"), asked("", "Ok")), (1.0, 0.0, 0.0));
    world.apply(&web("nosuch:1")).await;
    world.sleep(60).await;
    assert!(asked("default", "Missing") >= 1.0);
    // By Skep itself: the tags of an image that is followed.
    let follows = web(&format!("{APP}:0")).replace("inline:", "images: { web: { semver: \"~1.4\" } }\ninline:");
    let followed = world.apply(&follows).await;
    world.ends_as(120, &followed, DeploymentPhase::Converged).await;
    assert!(asked("", "Ok") >= 1.0);
    assert_eq!(asked("", "Denied"), 0.0);
    let refusal = RegistryError::Denied { host: "registry.example".into(), reason: "no".into() };
    world.registry.refuse("registry.example", Some(refusal));
    world.sleep(3600).await;
    assert!(asked("", "Denied") >= 1.0);
}
