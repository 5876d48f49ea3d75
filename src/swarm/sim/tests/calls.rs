//! Calls and what goes wrong with them, events, and what others do.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_stale_version_is_a_conflict_and_a_name_is_taken_once() {
    let sim = SimSwarm::default();
    create(&sim, app("app:1", 1)).await;
    let live = sim.service("app").unwrap();
    seconds(1).await;
    let stale = Effect::UpdateService { id: live.id.clone(), version: live.version, spec: app("app:2", 1) };
    assert!(matches!(send(&sim, stale).await, Err(SwarmError::Conflict { .. })), "the allocator wrote meanwhile");
    assert!(matches!(send(&sim, Effect::CreateService(app("app:1", 1))).await, Err(SwarmError::Exists { .. })));
    let unknown = Effect::UpdateService { id: "x".into(), version: live.version, spec: app("app:2", 1) };
    assert!(matches!(send(&sim, unknown).await, Err(SwarmError::NotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_is_used_cannot_be_removed_and_what_is_missing_cannot_be_used() {
    let sim = SimSwarm::default();
    let mut spec = app("app:1", 1);
    spec.task_template.networks = vec![NetworkAttachment { target: "net".into(), ..NetworkAttachment::default() }];
    let secret = SecretReference { secret_name: "key".into(), ..SecretReference::default() };
    spec.task_template.container_spec.secrets = vec![secret];
    assert!(matches!(send(&sim, Effect::CreateService(spec.clone())).await, Err(SwarmError::NotFound { .. })));
    let network = NetworkSpec { name: "net".into(), driver: "overlay".into(), ..NetworkSpec::default() };
    send(&sim, Effect::CreateNetwork(network)).await.unwrap();
    let key = SecretSpec {
        name: "key".into(),
        key: "key".into(),
        labels: Default::default(),
        templating: None,
        driver: None,
    };
    let material = Material([("key".to_owned(), SecretBytes::new(b"hunter2".to_vec()))].into());
    let made = sim.apply(&Effect::CreateSecret(key), &material).await.unwrap();
    assert_eq!(sim.secret_data("key").unwrap().expose(), b"hunter2");
    create(&sim, spec).await;
    let remove = Effect::Remove { object: ObjectRef::new(ObjectKind::Secret, "key"), id: made.id };
    let error = send(&sim, remove.clone()).await.unwrap_err();
    assert!(error.to_string().contains("secret 'key' is in use by the following service: app"), "{error}");
    let network = ObjectRef::new(ObjectKind::Network, "net");
    assert!(matches!(sim.foreign_remove(&network), Err(SwarmError::InUse { .. })));
    sim.foreign_remove(&ObjectRef::new(ObjectKind::Service, "app")).unwrap();
    send(&sim, remove).await.unwrap();
    sim.foreign_remove(&network).unwrap();
    assert_eq!(sim.names(ObjectKind::Network), ["ingress"]);
}

#[tokio::test(start_paused = true)]
async fn the_managers_refuse_what_they_cannot_read_or_share() {
    let sim = SimSwarm::default();
    let published = |name: &str| {
        let port = PortConfig { target_port: 80, published_port: 8080, ..PortConfig::default() };
        let endpoint_spec = Some(EndpointSpec { ports: vec![port], ..EndpointSpec::default() });
        ServiceSpec { name: name.into(), endpoint_spec, ..app("app:1", 1) }
    };
    create(&sim, published("app")).await;
    seconds(1).await;
    update(&sim, published("app")).await;
    let mut dnsrr = published("dns");
    dnsrr.endpoint_spec.as_mut().unwrap().mode = "dnsrr".into();
    for bad in [published("other"), dnsrr, placed(app("app:1", 1), "node.role=manager")] {
        let answer = send(&sim, Effect::CreateService(bad)).await;
        assert!(matches!(answer, Err(SwarmError::Refused { .. })), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_hides_an_effect_and_a_scripted_failure_has_none() {
    let sim = SimSwarm::default();
    let refused = SwarmError::Engine { endpoint: "sim".into(), reason: "raft: proposal dropped".into() };
    sim.fail_next(CallKind::CreateService, refused.clone());
    sim.lose_answer_next(CallKind::CreateService);
    assert_eq!(send(&sim, Effect::CreateService(app("app:1", 1))).await, Err(refused));
    assert!(sim.service("app").is_none());
    let lost = send(&sim, Effect::CreateService(app("app:1", 1))).await.unwrap_err();
    assert!(lost.is_doubtful());
    assert!(sim.service("app").is_some());
    let writes = sim.writes();
    assert_eq!(writes.iter().map(|write| write.took_effect).collect::<Vec<_>>(), [false, true]);
    assert_eq!(sim.calls().get(&CallKind::CreateService), Some(&2));
}

#[tokio::test(start_paused = true)]
async fn a_manager_out_of_reach_fails_calls_and_ends_streams_while_the_swarm_goes_on() {
    let sim = SimSwarm::default();
    let mut events = sim.events().await.unwrap();
    create(&sim, app("app:1", 1)).await;
    sim.set_down(true);
    assert!(matches!(sim.info().await, Err(SwarmError::Unreachable { .. })));
    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        seen.push(event);
    }
    assert!(matches!(seen.pop(), Some(Err(SwarmError::Unreachable { .. }))));
    assert_eq!(seen.len(), 1, "the service was created: {seen:?}");
    seconds(3).await;
    sim.set_down(false);
    assert_eq!(running(&sim).len(), 1);
    sim.no_quorum(true);
    assert!(matches!(sim.list(WatchedKind::Service).await, Err(SwarmError::NoQuorum { .. })));
    sim.no_quorum(false);
    sim.hang(true);
    assert!(matches!(sim.info().await, Err(SwarmError::Unreachable { .. })));
}

#[tokio::test(start_paused = true)]
async fn without_a_quorum_nothing_moves_until_there_is_one() {
    let sim = SimSwarm::default();
    create(&sim, app("app:1", 1)).await;
    sim.no_quorum(true);
    seconds(60).await;
    assert!(sim.tasks_of("app").is_empty());
    sim.no_quorum(false);
    seconds(3).await;
    assert_eq!(running(&sim).len(), 1);
    assert!(between(&sim, "app created", "app.1#1 Running") >= 59_000);
}

#[tokio::test(start_paused = true)]
async fn whoever_listens_to_events_hears_of_the_swarms_own_writes() {
    let sim = SimSwarm::default();
    let mut events = sim.events().await.unwrap();
    create(&sim, updating(app("app:1", 1), "pause", 2)).await;
    let id = sim.service("app").unwrap().id.clone();
    for _ in 0..2 {
        let event = events.next().await.unwrap().unwrap();
        assert_eq!((event.kind, &event.id), (WatchedKind::Service, &id), "the create, then the allocator");
    }
    seconds(3).await;
    update(&sim, updating(app("app:2", 1), "pause", 2)).await;
    let began = tokio::time::Instant::now();
    for _ in 0..3 {
        events.next().await.unwrap().unwrap();
    }
    assert_eq!(status(&sim), Some(UpdateState::Completed), "the update, updating, completed");
    assert!(began.elapsed() > Duration::from_secs(2), "and the last came when it was time");
    sim.drop_events(1);
    sim.duplicate_events(1);
    sim.foreign_update("app", |spec| drop(spec.labels.insert("a".into(), "1".into()))).unwrap();
    sim.foreign_update("app", |spec| drop(spec.labels.insert("a".into(), "2".into()))).unwrap();
    for _ in 0..2 {
        events.next().await.unwrap().unwrap();
    }
    assert!(
        tokio::time::timeout(Duration::from_secs(60), events.next()).await.is_err(),
        "one was lost, one came twice"
    );
}

#[tokio::test(start_paused = true)]
async fn what_others_do_is_neither_a_call_nor_a_write() {
    let sim = SimSwarm::default();
    sim.foreign_service(&ServiceSpec { name: "theirs".into(), ..app("theirs:1", 1) }).unwrap();
    create(&sim, app("app:1", 1)).await;
    seconds(3).await;
    let theirs = (sim.service("theirs"), sim.tasks_of("theirs"));
    update(&sim, app("app:2", 1)).await;
    seconds(30).await;
    assert_eq!((sim.service("theirs"), sim.tasks_of("theirs")), theirs);
    assert_eq!(sim.writes().len(), 2);
    assert_eq!(sim.call_count(), 2);
    sim.forget_calls();
    seconds(3_600).await;
    assert_eq!(sim.call_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_container_writes_the_lines_it_is_given() {
    let sim = SimSwarm::default();
    sim.image("app:1", Behaviour::Exit { after: Duration::from_secs(1), code: 1 });
    sim.lines("app:1", &["one", "two", "panic: no database"]);
    create(&sim, app("app:1", 1)).await;
    seconds(4).await;
    let task = sim.tasks_of("app").remove(0);
    let lines: Vec<String> = sim.task_logs(&task.id, 2).await.unwrap().into_iter().map(|line| line.line).collect();
    assert_eq!(lines, ["two", "panic: no database"]);
    assert!(matches!(sim.task_logs("nobody", 2).await, Err(SwarmError::NotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn the_checks_of_a_container_are_known_where_it_is() {
    let sim = SimSwarm::default();
    sim.image("app:1", Behaviour::Unhealthy { after: Duration::from_secs(60) });
    sim.checks("app:1", "503");
    create(&sim, app("app:1", 1)).await;
    seconds(4).await;
    let task = sim.tasks_of("app").remove(0);
    let checks = sim.task_health(&task.id, 2).await.unwrap().unwrap();
    assert_eq!(
        checks.iter().map(|it| (it.exit_code, it.output.as_str())).collect::<Vec<_>>(),
        [(1, "503"), (1, "503")]
    );
    assert!(matches!(sim.task_health("nobody", 2).await, Err(SwarmError::NotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_environment_is_connected_by_its_name() {
    let sim = SimSwarm::default();
    let connector = SimConnector::new().with("default", sim.clone());
    let environment =
        |name: EnvironmentName| Environment { name, endpoints: vec!["unix:///x".into()], ..Environment::default() };
    let swarm = connector.connect(&environment(EnvironmentName::default())).unwrap();
    let Listing::Nodes(nodes) = swarm.list(WatchedKind::Node).await.unwrap() else { panic!("no nodes") };
    assert_eq!(nodes.len(), 1);
    assert_eq!(sim.call_count(), 1);
    let found = swarm.inspect(WatchedKind::Node, &nodes[0].id).await.unwrap();
    assert_eq!(found, Some(Listing::Nodes(nodes)));
    assert_eq!(swarm.inspect(WatchedKind::Node, "x").await.unwrap(), None);
    assert!(connector.connect(&environment(EnvironmentName::parse("other").unwrap())).is_err());
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_trace() {
    async fn run(seed: u64) -> (Vec<String>, Vec<Arc<Task>>) {
        let sim = SimSwarm::new(SimOptions::default().seed(seed).nodes(["a", "b", "c"].map(SimNode::manager)));
        sim.image("app:2", Behaviour::Exit { after: Duration::from_secs(1), code: 3 });
        create(&sim, updating(app("app:1", 5), "rollback", 6)).await;
        seconds(3).await;
        update(&sim, updating(app("app:2", 5), "rollback", 6)).await;
        seconds(2).await;
        sim.node_down("b");
        seconds(60).await;
        (sim.trace(), sim.tasks_of("app"))
    }
    let first = run(7).await;
    let second = run(7).await;
    assert_eq!(first.0, second.0);
    assert_eq!(
        first.1.iter().map(|task| &task.id).collect::<Vec<_>>(),
        second.1.iter().map(|task| &task.id).collect::<Vec<_>>()
    );
    assert_ne!(first.0, run(8).await.0);
}

#[tokio::test(start_paused = true)]
async fn ids_sort_by_time_and_the_date_moves_with_the_clock() {
    let sim = SimSwarm::default();
    let (ambient, twin) = (sim.ambient(3), sim.ambient(3));
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(ambient.new_id());
        ids.push(ambient.new_id());
        seconds(1).await;
    }
    assert!(ids.is_sorted(), "{ids:?}");
    assert!(ids.iter().all(|id| id.len() == 26));
    assert_eq!(ambient.now().to_string(), "2026-01-01T00:00:04Z");
    assert_ne!(ids[0], twin.new_id(), "time is in it");
    let _ = (ambient.random(), twin.random());
}

/// After any storm, a good spec on healthy nodes ends with exactly its tasks.
#[tokio::test(start_paused = true)]
async fn whatever_went_before_a_good_spec_ends_with_exactly_its_tasks() {
    for seed in 0..200 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let sim = SimSwarm::new(SimOptions::default().seed(seed).nodes(["a", "b"].map(SimNode::manager)));
        let words = ["run", "run", "exit:1", "exit:0:2s", "unhealthy:2s", "missing", "slow:3s", "unhealthy-zero:1s"];
        let any = |dice: &mut fastrand::Rng| {
            let action = ["pause", "continue", "rollback"][dice.usize(..3)];
            let mut spec = updating(app("app:1", dice.u64(0..5)), action, dice.i64(1..8));
            let config = spec.update_config.as_mut().unwrap();
            config.parallelism = dice.u64(0..3);
            config.delay = dice.i64(0..3) * SECOND;
            config.order = ["stop-first", "start-first"][dice.usize(..2)].into();
            spec.task_template.container_spec.env = vec![format!("SIM={}", words[dice.usize(..words.len())])];
            if dice.bool() {
                spec = placed(spec, ["node.hostname==a", "node.hostname!=a", "node.labels.x==y"][dice.usize(..3)]);
            }
            spec
        };
        sim.foreign_service(&any(&mut dice)).unwrap();
        for _ in 0..dice.usize(1..8) {
            tokio::time::sleep(Duration::from_millis(dice.u64(0..9_000))).await;
            match dice.u8(..6) {
                0 => sim.node_down("b"),
                1 => sim.node_up("b"),
                2 => sim.node_drain("a"),
                3 => sim.node_activate("a"),
                _ => drop(sim.foreign_update("app", |spec| *spec = any(&mut dice)).unwrap()),
            }
        }
        sim.node_up("b");
        sim.node_activate("a");
        let good = updating(app("app:good", 3), "pause", 1);
        sim.foreign_update("app", |spec| *spec = good).unwrap();
        seconds(180).await;
        assert_eq!(running_images(&sim), ["app:good"; 3], "seed {seed}: {:#?}", sim.trace());
        let alive = sim.tasks_of("app").into_iter().filter(|task| !task.state.is_over()).count();
        assert_eq!(alive, 3, "seed {seed}: {:#?}", sim.trace());
    }
}
