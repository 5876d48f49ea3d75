//! Where tasks go, what becomes of them, and jobs.

use super::*;

#[tokio::test(start_paused = true)]
async fn reservations_host_ports_and_max_replicas_keep_tasks_waiting() {
    let sim = SimSwarm::default();
    let mut greedy = app("app:1", 1);
    let reservations = Some(ResourceSet { memory_bytes: 16 << 30, ..ResourceSet::default() });
    greedy.task_template.resources = Some(Resources { reservations, ..Resources::default() });
    let mut port = ServiceSpec { name: "port".into(), ..app("app:1", 2) };
    let host = PortConfig { target_port: 80, published_port: 80, publish_mode: "host".into(), ..PortConfig::default() };
    port.endpoint_spec = Some(EndpointSpec { ports: vec![host], ..EndpointSpec::default() });
    let mut few = ServiceSpec { name: "few".into(), ..app("app:1", 2) };
    few.task_template.placement = Some(Placement { max_replicas: 1, ..Placement::default() });
    for spec in [greedy, port, few] {
        create(&sim, spec).await;
    }
    seconds(3).await;
    let error = |name: &str| {
        let tasks = sim.tasks_of(name);
        tasks.iter().find(|task| task.state == TaskState::Pending).map(|task| task.error.clone()).unwrap()
    };
    assert_eq!(error("app"), "no suitable node (insufficient resources on 1 node)");
    assert_eq!(error("port"), "no suitable node (host-mode port already in use on 1 node)");
    assert_eq!(error("few"), "no suitable node (max replicas per node limit exceed)");
}

#[tokio::test(start_paused = true)]
async fn what_containers_do_shows_in_their_tasks() {
    let sim = SimSwarm::default();
    for (name, word) in [
        ("missing", "missing"),
        ("sick", "unhealthy:4s"),
        ("oom", "oom:1s"),
        ("done", "exit:0:1s"),
        ("slow", "slow:20s"),
        ("hung", "hang"),
        ("late", "healthy-exit:137:2s"),
    ] {
        let mut spec = ServiceSpec { name: name.into(), ..app("app:1", 1) };
        spec.task_template.container_spec.env = vec![format!("SIM={word}")];
        spec.task_template.restart_policy =
            Some(RestartPolicy { condition: "none".into(), ..RestartPolicy::default() });
        create(&sim, spec).await;
    }
    seconds(10).await;
    let seen = |name: &str| {
        let task = sim.tasks_of(name).pop().unwrap();
        (task.state, task.error.clone(), task.exit_code)
    };
    let unhealthy = "task: non-zero exit (137): dockerexec: unhealthy container".to_owned();
    assert_eq!(seen("missing"), (TaskState::Rejected, "No such image: app:1".to_owned(), None));
    assert_eq!(seen("sick"), (TaskState::Failed, unhealthy.clone(), Some(137)));
    assert_eq!(seen("late"), (TaskState::Failed, unhealthy, Some(137)));
    assert_eq!(seen("oom"), (TaskState::Failed, "task: non-zero exit (137)".to_owned(), Some(137)));
    assert_eq!(seen("done"), (TaskState::Complete, String::new(), Some(0)));
    assert_eq!(seen("slow").0, TaskState::Starting);
    assert_eq!(seen("hung").0, TaskState::Preparing);
    seconds(20).await;
    assert_eq!(seen("slow").0, TaskState::Running);
    assert!(
        !sim.trace().iter().any(|line| line.contains("sick") && line.contains("Running") && !line.contains("desired"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_rolls_back_within_a_second_of_being_found_missing() {
    let sim = SimSwarm::default();
    sim.image("app:gone", Behaviour::Missing);
    create(&sim, updating(app("app:1", 2), "rollback", 5)).await;
    seconds(3).await;
    update(&sim, updating(app("app:gone", 2), "rollback", 5)).await;
    seconds(30).await;
    assert_eq!(status(&sim), Some(UpdateState::RollbackCompleted));
    assert!(between(&sim, "update=Updating", "update=RollbackStarted") < 600);
    assert_eq!(running_images(&sim), ["app:1", "app:1"]);
}

#[tokio::test(start_paused = true)]
async fn an_update_that_changes_nothing_takes_the_status_and_the_way_back() {
    let sim = SimSwarm::default();
    create(&sim, updating(app("app:1", 1), "pause", 2)).await;
    seconds(3).await;
    update(&sim, updating(app("app:2", 1), "pause", 2)).await;
    seconds(10).await;
    let before = sim.service("app").unwrap();
    let tasks = sim.tasks_of("app");
    update(&sim, updating(app("app:2", 1), "pause", 2)).await;
    seconds(10).await;
    let after = sim.service("app").unwrap();
    assert_eq!(after.update, None);
    assert!(after.version > before.version);
    assert_eq!(sim.previous_spec("app"), Some(after.spec.clone()));
    assert_eq!(sim.tasks_of("app"), tasks, "no task is touched");
}

#[tokio::test(start_paused = true)]
async fn sending_the_bad_spec_again_ends_the_watch_for_ever() {
    let sim = SimSwarm::default();
    sim.image("app:bad", Behaviour::Exit { after: Duration::from_secs(1), code: 3 });
    create(&sim, updating(app("app:1", 1), "rollback", 30)).await;
    seconds(3).await;
    update(&sim, updating(app("app:bad", 1), "rollback", 30)).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    update(&sim, updating(app("app:bad", 1), "rollback", 30)).await;
    seconds(120).await;
    assert_eq!(status(&sim), None, "a crash loop nobody speaks of");
    assert_eq!(sim.service("app").unwrap().spec.task_template.container_spec.image, "app:bad");
}

#[tokio::test(start_paused = true)]
async fn labels_replicas_and_met_constraints_restart_nothing() {
    let sim = SimSwarm::default();
    create(&sim, app("app:1", 2)).await;
    seconds(3).await;
    let before: Vec<String> = running(&sim).iter().map(|task| task.id.clone()).collect();
    let mut spec = placed(app("app:1", 2), "node.hostname==node-1");
    spec.labels.insert("a".into(), "b".into());
    update(&sim, spec).await;
    seconds(5).await;
    let after: Vec<String> = running(&sim).iter().map(|task| task.id.clone()).collect();
    assert_eq!(before, after);
    assert_eq!(status(&sim), None);
}

#[tokio::test(start_paused = true)]
async fn there_and_back_again_makes_new_tasks_of_the_first_spec() {
    let sim = SimSwarm::default();
    for image in ["app:1", "app:2", "app:1"] {
        match sim.service("app") {
            None => create(&sim, updating(app(image, 1), "pause", 1)).await,
            Some(_) => update(&sim, updating(app(image, 1), "pause", 1)).await,
        }
        seconds(10).await;
    }
    let of_first: Vec<_> = sim.tasks_of("app").into_iter().filter(|task| image_of(task) == "app:1").collect();
    assert_eq!(of_first.iter().map(|task| task.state).collect::<Vec<_>>(), [TaskState::Shutdown, TaskState::Running]);
    assert_eq!(of_first[0].spec, of_first[1].spec, "nothing but the id tells them apart");
}

#[tokio::test(start_paused = true)]
async fn a_second_update_takes_over_from_the_first() {
    let sim = SimSwarm::default();
    create(&sim, updating(app("app:1", 2), "pause", 2)).await;
    seconds(3).await;
    update(&sim, updating(app("app:2", 2), "pause", 2)).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    update(&sim, updating(app("app:3", 2), "pause", 2)).await;
    seconds(20).await;
    assert_eq!(status(&sim), Some(UpdateState::Completed));
    assert_eq!(running_images(&sim), ["app:3", "app:3"]);
    assert_eq!(sim.previous_spec("app").unwrap().task_template.container_spec.image, "app:2");
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_to_its_end_and_again_on_every_update() {
    let sim = SimSwarm::default();
    sim.image("job:1", Behaviour::Exit { after: Duration::from_secs(1), code: 0 });
    create(&sim, job("job:1", 2)).await;
    seconds(10).await;
    let done = |sim: &SimSwarm| {
        let tasks = sim.tasks_of("app");
        tasks.iter().map(|task| (task.slot, task.state, task.desired, task.job_iteration)).collect::<Vec<_>>()
    };
    let complete = |slot, iteration| (Some(slot), TaskState::Complete, TaskState::Complete, Some(iteration));
    assert_eq!(done(&sim), [complete(0, 0), complete(1, 0)]);
    update(&sim, job("job:1", 2)).await;
    seconds(10).await;
    assert_eq!(sim.service("app").unwrap().job_iteration, Some(1));
    assert_eq!(done(&sim), [complete(0, 1), complete(1, 1)]);
    assert_eq!(status(&sim), None);
}

#[tokio::test(start_paused = true)]
async fn a_failing_job_is_tried_as_often_as_its_policy_says() {
    let sim = SimSwarm::default();
    sim.image("job:bad", Behaviour::Exit { after: Duration::ZERO, code: 1 });
    let mut spec = job("job:bad", 1);
    spec.task_template.restart_policy = Some(RestartPolicy {
        condition: "on-failure".into(),
        delay: Some(SECOND),
        max_attempts: Some(2),
        ..RestartPolicy::default()
    });
    create(&sim, spec).await;
    seconds(60).await;
    let tasks = sim.tasks_of("app");
    assert_eq!(tasks.iter().filter(|task| task.state == TaskState::Failed).count(), 3, "once, and twice again");
}

#[tokio::test(start_paused = true)]
async fn scaling_makes_and_removes_slots() {
    let sim = SimSwarm::default();
    create(&sim, app("app:1", 1)).await;
    seconds(3).await;
    update(&sim, app("app:1", 3)).await;
    seconds(3).await;
    assert_eq!(running(&sim).iter().map(|task| task.slot).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    update(&sim, app("app:1", 1)).await;
    seconds(5).await;
    assert_eq!(sim.tasks_of("app").len(), 1, "the reaper took the others");
    assert_eq!(status(&sim), None);
    let id = sim.service("app").unwrap().id.clone();
    send(&sim, Effect::Remove { object: ObjectRef::new(ObjectKind::Service, "app"), id }).await.unwrap();
    seconds(5).await;
    assert_eq!(sim.tasks(&TaskFilter::All).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_lost_node_has_its_tasks_made_anew_elsewhere() {
    let sim = SimSwarm::new(SimOptions::default().nodes([SimNode::manager("one"), SimNode::worker("two")]));
    let everywhere = ServiceSpec {
        name: "agent".into(),
        mode: ServiceMode { global: Some(serde_json::Map::new()), ..ServiceMode::default() },
        ..app("agent:1", 1)
    };
    create(&sim, app("app:1", 2)).await;
    create(&sim, everywhere).await;
    seconds(3).await;
    let nodes = |tasks: &[Arc<Task>]| {
        let runs = tasks.iter().filter(|t| t.state == TaskState::Running && t.desired == TaskState::Running);
        let mut nodes: Vec<String> = runs.map(|task| task.node_id.clone()).collect();
        nodes.sort();
        nodes.dedup();
        nodes.len()
    };
    assert_eq!((nodes(&sim.tasks_of("app")), nodes(&sim.tasks_of("agent"))), (2, 2), "spread");
    sim.node_down("two");
    seconds(10).await;
    assert_eq!((nodes(&sim.tasks_of("app")), nodes(&sim.tasks_of("agent"))), (1, 1));
    assert_eq!(running(&sim).len(), 2);
    sim.node_up("two");
    seconds(10).await;
    assert_eq!((nodes(&sim.tasks_of("app")), nodes(&sim.tasks_of("agent"))), (1, 2), "nobody moves back");
    sim.node_drain("one");
    seconds(10).await;
    assert_eq!((running(&sim).len(), nodes(&sim.tasks_of("app"))), (2, 1));
}
