//! Services come, and are updated.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_new_service_goes_through_the_states_at_the_engines_pace() {
    let sim = SimSwarm::default();
    let since = sim.trace().len();
    create(&sim, app("app:1", 1)).await;
    seconds(3).await;
    assert_eq!(
        lines(&sim, since),
        [
            "service app created",
            "task app.1#1 new desired=Running",
            "task app.1#1 Pending",
            "task app.1#1 Assigned",
            "task app.1#1 Preparing",
            "task app.1#1 Ready",
            "task app.1#1 Starting",
            "task app.1#1 Running",
        ]
    );
    let took = between(&sim, "app created", "app.1#1 Running");
    assert!((700..1_200).contains(&took), "{took} ms");
    assert_eq!(status(&sim), None, "a create has no update status");
    let service = sim.service("app").unwrap();
    assert_eq!(service.spec.task_template.runtime.as_deref(), Some("container"));
    assert_eq!(sim.tasks_of("app")[0].spec.runtime, None);
}

#[tokio::test(start_paused = true)]
async fn an_update_stops_first_and_completes_one_monitor_period_after_the_last_slot() {
    let sim = SimSwarm::default();
    create(&sim, updating(app("app:1", 2), "pause", 2)).await;
    seconds(3).await;
    let since = sim.trace().len();
    update(&sim, updating(app("app:2", 2), "pause", 2)).await;
    seconds(20).await;
    let lines = lines(&sim, since);
    let place = |what: &str| lines.iter().position(|line| line == what).unwrap_or_else(|| panic!("{what}: {lines:#?}"));
    assert!(place("service app update=Updating") < place("task app.1#3 new desired=Ready"));
    assert!(place("task app.1#1 Shutdown") < place("task app.1#3 desired=Running"));
    assert!(place("task app.1#3 Running") < place("task app.2#4 new desired=Ready"), "one slot at a time");
    assert_eq!(status(&sim), Some(UpdateState::Completed));
    assert_eq!(between(&sim, "app.2#4 Running", "update=Completed"), 2_000);
    assert_eq!(running_images(&sim), ["app:2", "app:2"]);
}

#[tokio::test(start_paused = true)]
async fn start_first_stops_the_old_task_when_the_new_one_runs() {
    let sim = SimSwarm::default();
    let first = |image: &str| {
        let mut spec = updating(app(image, 1), "pause", 2);
        spec.update_config.as_mut().unwrap().order = "start-first".into();
        spec
    };
    create(&sim, first("app:1")).await;
    seconds(3).await;
    update(&sim, first("app:2")).await;
    seconds(10).await;
    assert!(between(&sim, "app.1#2 Running", "app.1#1 desired=Shutdown") < 10);
    assert_eq!(status(&sim), Some(UpdateState::Completed));
}

#[tokio::test(start_paused = true)]
async fn a_bad_update_pauses_and_its_tasks_go_on_crashing() {
    let sim = SimSwarm::default();
    sim.image("app:bad", Behaviour::Exit { after: Duration::ZERO, code: 3 });
    create(&sim, updating(app("app:1", 1), "pause", 4)).await;
    seconds(3).await;
    update(&sim, updating(app("app:bad", 1), "pause", 4)).await;
    seconds(30).await;
    assert_eq!(status(&sim), Some(UpdateState::Paused));
    let tasks = sim.tasks_of("app");
    let failed: Vec<_> = tasks.iter().filter(|task| task.state == TaskState::Failed).collect();
    assert!(failed.len() > 2, "restarts go on: {tasks:#?}");
    assert!(failed.iter().all(|task| task.error == "task: non-zero exit (3)" && task.exit_code == Some(3)));
    let message = sim.service("app").unwrap().update.as_ref().unwrap().message.clone();
    assert!(message.starts_with("update paused due to failure or early termination of task "), "{message}");
    assert!(tasks.len() <= 6, "history is kept short: {}", tasks.len());
}

#[tokio::test(start_paused = true)]
async fn a_rollback_rewrites_the_spec_and_forgets_the_bad_one() {
    let sim = SimSwarm::default();
    create(&sim, updating(app("app:1", 1), "pause", 4)).await;
    seconds(3).await;
    let mut bad = updating(app("app:2", 1), "rollback", 4);
    bad.task_template.container_spec.env = vec!["SIM=exit:3".into()];
    update(&sim, bad).await;
    seconds(30).await;
    assert_eq!(status(&sim), Some(UpdateState::RollbackCompleted));
    let spec = &sim.service("app").unwrap().spec;
    assert_eq!(spec.task_template.container_spec.image, "app:1");
    assert_eq!(spec.update_config.as_ref().unwrap().failure_action, "pause", "the old spec's own");
    assert_eq!(sim.previous_spec("app"), None);
    assert_eq!(running_images(&sim), ["app:1"]);
    assert!(matches!(sim.foreign_rollback("app"), Err(SwarmError::Refused { .. })));
}

#[tokio::test(start_paused = true)]
async fn with_two_slots_a_failure_is_read_only_when_both_were_replaced() {
    let sim = SimSwarm::default();
    sim.image("app:bad", Behaviour::Exit { after: Duration::ZERO, code: 3 });
    create(&sim, updating(app("app:1", 2), "rollback", 12)).await;
    seconds(3).await;
    update(&sim, updating(app("app:bad", 2), "rollback", 12)).await;
    seconds(60).await;
    assert!(between(&sim, "app.2#2 Shutdown", "update=RollbackStarted") < 3_000);
    assert_eq!(status(&sim), Some(UpdateState::RollbackCompleted));
    assert_eq!(running_images(&sim), ["app:1", "app:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_rollback_is_never_rolled_back() {
    let sim = SimSwarm::default();
    create(&sim, updating(app("app:1", 1), "rollback", 4)).await;
    seconds(3).await;
    sim.image("app:1", Behaviour::Exit { after: Duration::ZERO, code: 1 });
    sim.image("app:2", Behaviour::Exit { after: Duration::ZERO, code: 2 });
    update(&sim, updating(app("app:2", 1), "rollback", 4)).await;
    seconds(30).await;
    assert_eq!(status(&sim), Some(UpdateState::RollbackPaused));
}

#[tokio::test(start_paused = true)]
async fn failures_below_the_ratio_and_with_continue_end_nothing() {
    let sim = SimSwarm::default();
    let spec = |image: &str, action: &str, ratio: f64| {
        let mut spec = updating(app(image, 1), action, 2);
        spec.update_config.as_mut().unwrap().max_failure_ratio = ratio;
        spec
    };
    sim.image("app:bad", Behaviour::Exit { after: Duration::ZERO, code: 3 });
    create(&sim, spec("app:1", "pause", 0.0)).await;
    seconds(3).await;
    update(&sim, spec("app:bad", "continue", 0.0)).await;
    seconds(10).await;
    assert_eq!(status(&sim), Some(UpdateState::Completed), "while its tasks crash");
    update(&sim, spec("app:1", "pause", 0.0)).await;
    seconds(20).await;
    update(&sim, spec("app:bad", "pause", 1.0)).await;
    seconds(10).await;
    assert_eq!(status(&sim), Some(UpdateState::Completed));
}

#[tokio::test(start_paused = true)]
async fn an_update_nobody_can_place_stays_updating_with_nothing_running() {
    let sim = SimSwarm::default();
    create(&sim, updating(app("app:1", 1), "rollback", 2)).await;
    seconds(3).await;
    update(&sim, placed(updating(app("app:2", 1), "rollback", 2), "node.labels.disk==ssd")).await;
    seconds(3_600).await;
    assert_eq!(status(&sim), Some(UpdateState::Updating));
    assert!(running(&sim).is_empty());
    let waiting = sim.tasks_of("app").pop().unwrap();
    assert_eq!(waiting.state, TaskState::Pending);
    assert_eq!(waiting.error, "no suitable node (scheduling constraints not satisfied on 1 node)");
    sim.node_label("node-1", "disk", "ssd");
    seconds(10).await;
    assert_eq!(status(&sim), Some(UpdateState::Completed), "the updater never gave up");
    assert_eq!(running_images(&sim), ["app:2"]);
}

#[tokio::test(start_paused = true)]
async fn going_back_from_an_update_nobody_can_place_takes_a_second() {
    // Measured: the task that never had a node is shut down by the scheduler at once, and the way is free.
    let sim = SimSwarm::default();
    create(&sim, updating(app("app:1", 1), "pause", 2)).await;
    seconds(3).await;
    update(&sim, placed(updating(app("app:2", 1), "pause", 2), "node.role==worker")).await;
    seconds(7).await;
    update(&sim, updating(app("app:1", 1), "pause", 2)).await;
    seconds(2).await;
    assert_eq!(running_images(&sim), ["app:1"]);
    let never = sim.tasks_of("app").into_iter().find(|task| image_of(task) == "app:2").unwrap();
    assert_eq!((never.state, never.message.as_str()), (TaskState::Shutdown, "pending task scheduling"));
}
