//! Runs of jobs before and after a deployment, and what is held back meanwhile.

use super::scene::{Scene, at, service, task};
use crate::assess::{JobVerdict, assess_job};
use crate::domain::{JobRun, JobState, NodeAvailability, When};

fn run() -> JobRun {
    JobRun {
        service: "migrate".into(),
        when: When::Pre,
        direction: crate::domain::Direction::Deploy,
        state: JobState::Running,
        id: Some("id-migrate".into()),
        started_at: at(0),
        deadline: at(60),
        finished_at: None,
        error: None,
        exit_code: None,
        log_tail: Vec::new(),
    }
}

/// What is said of the run at a second, in words.
fn said(scene: &Scene, second: i64) -> String {
    match assess_job(&scene.input(second), &run(), &scene.live.services["shop_migrate"]) {
        JobVerdict::Running(next) => format!("goes on until {}", next.as_second() - at(0).as_second()),
        JobVerdict::Waiting(failure) => format!("waits: {}", failure.class),
        JobVerdict::Succeeded => "has ended".into(),
        JobVerdict::Failed(failure) => format!("{} {:?} {}", failure.class, failure.exit_code, failure.error),
    }
}

fn scene() -> Scene {
    Scene::first([service("migrate").job(1).restart("none", None)])
}

#[test]
fn a_run_has_ended_when_all_of_its_tasks_have_ended_well() {
    assert_eq!(said(&scene().tasks([task("migrate").running(2)]), 10), "goes on until 60");
    assert_eq!(said(&scene().tasks([task("migrate").complete(8)]), 10), "has ended");
    let two = Scene::first([service("migrate").job(2)]);
    assert_eq!(said(&two.tasks([task("migrate").slot(0).complete(8)]), 10), "goes on until 60");
}

#[test]
fn a_run_that_failed_is_of_the_class_hook_with_its_exit_code() {
    let failed = "Hook Some(7) the job before the deployment failed: task: non-zero exit (7)";
    assert_eq!(said(&scene().tasks([task("migrate").failed(8, 7)]), 10), failed);
    // Where the file says how often, it is started again so often.
    let again = Scene::first([service("migrate").job(1).restart("on-failure", Some(2))]);
    let again = again.tasks([task("migrate").failed(8, 7), task("migrate").running(14)]);
    assert_eq!(said(&again, 20), "goes on until 60");
}

#[test]
fn a_run_that_has_not_ended_in_time_has_failed_and_one_that_just_did_has_not() {
    let late = "Hook None the job before the deployment failed: it had not ended 1m after it began";
    assert_eq!(said(&scene().tasks([task("migrate").running(2)]), 60), late);
    assert_eq!(said(&scene().tasks([task("migrate").complete(59)]), 61), "has ended");
}

#[test]
fn a_run_that_no_node_can_take_because_none_takes_tasks_is_waited_for() {
    let none = scene().node("n1", |node| node.availability = NodeAvailability::Drain);
    let pending = task("migrate").pending("no suitable node (1 node not available for new tasks)");
    assert_eq!(said(&none.tasks([pending]), 90), "waits: NoSuitableNode");
}

#[test]
fn what_is_held_back_is_said_and_not_blamed_for_the_deadline() {
    let mut scene = Scene::first([service("db"), service("web").replicas(2)]);
    scene.progress.applied = false;
    scene.progress.held_back = [("shop_web".to_owned(), ["shop_db".to_owned()].into())].into();
    scene.live.services.remove("shop_web");
    let scene = scene.tasks([task("db").starting()]);
    assert_eq!(scene.assess(10).summary(), "0 of 3 tasks run; waiting for db 0/1; web waits for db");
    let overdue = scene.assess(301).verdict;
    let crate::assess::Verdict::Failed(failure) = overdue else { panic!("{overdue:?}") };
    assert_eq!(failure.service.as_deref(), Some("db"));
}
