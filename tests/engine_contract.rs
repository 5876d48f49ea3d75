//! What Skep's engine adapter promises, checked on a real engine (`DOCKER_HOST` or the local socket), and on servers that
//! behave as no engine should.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

#[path = "support/engine.rs"]
mod engine;
#[path = "support/fake_engine.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod fake_engine;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use engine::{PATIENCE, Scratch};
use fake_engine::{FakeEngine, Say};
use futures_util::StreamExt;
use skep::domain::*;
use skep::ports::{BoxStream, EngineLog, Listing, LogRange, Swarm, SwarmConnector, SwarmError, WatchedKind};
use skep::swarm::docker::{DockerConnector, DockerOptions, DockerSwarm};

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

#[tokio::test]
async fn what_health_checks_wrote_is_known_of_a_container_on_this_node() {
    let scratch = Scratch::new("health").await;
    let mut sick = scratch.service("sick", "sleep 3600");
    sick.task_template.container_spec.healthcheck = Some(Healthcheck {
        test: words(["CMD-SHELL", "echo no answer on port 8080; exit 1"]),
        interval: 200_000_000,
        retries: 1000,
        ..Healthcheck::default()
    });
    let id = scratch.apply(Effect::CreateService(sick)).await;
    let starting = |tasks: &[Arc<Task>]| tasks.iter().any(|task| task.state == TaskState::Starting);
    let task = scratch.tasks(&id, starting).await[0].id.clone();
    let checks = tokio::time::timeout(PATIENCE, async {
        loop {
            let checks = scratch.swarm.task_health(&task, 2).await.expect("an answer").unwrap_or_default();
            if checks.len() == 2 {
                return checks;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    for check in checks.await.expect("the checks come") {
        assert_eq!((check.exit_code, check.output.trim()), (1, "no answer on port 8080"));
        assert!(check.time.is_some());
    }
    let well = scratch.apply(Effect::CreateService(scratch.service("well", "sleep 3600"))).await;
    let running = |tasks: &[Arc<Task>]| tasks.iter().any(|task| task.state == TaskState::Running);
    let task = scratch.tasks(&well, running).await[0].id.clone();
    assert_eq!(scratch.swarm.task_health(&task, 2).await.expect("an answer"), Some(Vec::new()), "it has no check");
    let gone = scratch.swarm.task_health("nosuchtask", 2).await.expect_err("there is no such task");
    assert!(matches!(gone, SwarmError::NotFound { .. }), "{gone}");
}

#[tokio::test]
async fn logs_come_in_order_with_and_without_a_terminal() {
    let scratch = Scratch::new("logs").await;
    let script = "echo one; sleep 0.1; echo two >&2; sleep 0.1; echo three words here; sleep 3600";
    let plain = scratch.service("plain", script);
    let mut terminal = scratch.service("tty", script);
    terminal.task_template.container_spec.tty = true;
    for (spec, streams) in [(plain, [false, true, false]), (terminal, [false; 3])] {
        let id = scratch.apply(Effect::CreateService(spec.clone())).await;
        let running = |tasks: &[Arc<Task>]| tasks.iter().any(|task| task.state == TaskState::Running);
        let task = scratch.tasks(&id, running).await[0].id.clone();
        let lines = tokio::time::timeout(PATIENCE, async {
            loop {
                let lines = scratch.swarm.task_logs(&task, 10).await.expect("logs");
                if lines.len() == 3 {
                    return lines;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let lines = lines.await.expect("the lines come");
        let texts: Vec<_> = lines.iter().map(|line| line.line.as_str()).collect();
        assert_eq!(texts, ["one", "two", "three words here"], "{}", spec.name);
        assert_eq!(lines.iter().map(|line| line.stderr).collect::<Vec<_>>(), streams, "{}", spec.name);
        assert!(lines.iter().all(|line| line.time.is_some()));
        assert!(lines.iter().all(|line| line.task.as_ref() == Some(&task) && line.node.is_some()));
        let range = LogRange { tail: Some(2), ..LogRange::default() };
        let last: Vec<_> = scratch.swarm.service_log(&id, &range).map(|line| line.expect("a line")).collect().await;
        assert_eq!(last, lines[1..], "{}", spec.name);
    }
    let mut nowhere = scratch.service("nowhere", "true");
    nowhere.task_template.placement =
        Some(Placement { constraints: words(["node.role == worker"]), ..Placement::default() });
    let id = scratch.apply(Effect::CreateService(nowhere)).await;
    let waiting = |tasks: &[Arc<Task>]| tasks.iter().any(|task| !task.error.is_empty());
    let task = scratch.tasks(&id, waiting).await[0].id.clone();
    let none = scratch.swarm.task_logs(&task, 5).await.expect_err("it has not run");
    assert!(matches!(&none, SwarmError::NotFound { reason, .. } if reason.contains("not been scheduled")), "{none}");
    let gone = scratch.swarm.task_logs("nosuchtask", 5).await.expect_err("there is no such task");
    assert!(matches!(gone, SwarmError::NotFound { .. }), "{gone}");
}

/// The next line, whoever wrote it.
async fn next_line(log: &mut BoxStream<'static, Result<EngineLog, SwarmError>>) -> EngineLog {
    tokio::time::timeout(PATIENCE, log.next()).await.expect("a line comes").expect("it goes on").expect("a line")
}

#[tokio::test]
async fn a_log_is_followed_also_over_an_update() {
    let scratch = Scratch::new("follow").await;
    let long = "head -c 40000 /dev/zero | tr '\\0' x; echo END";
    let script =
        |version: &str| format!("echo {version}; {long}; while true; do echo {version} ticks; sleep 0.2; done");
    for terminal in [false, true] {
        let mut spec = scratch.service(&format!("web-{terminal}"), &script("one"));
        spec.task_template.container_spec.tty = terminal;
        let id = scratch.apply(Effect::CreateService(spec)).await;
        // From before its first task runs on.
        let mut log = scratch.swarm.service_log(&id, &LogRange { follow: true, ..LogRange::default() });
        let first = next_line(&mut log).await;
        assert_eq!(first.line, "one");
        let whole = next_line(&mut log).await;
        assert_eq!((whole.line.len(), whole.cut, &whole.task), (40_003, false, &first.task), "terminal: {terminal}");
        assert_eq!(next_line(&mut log).await.line, "one ticks");
        scratch
            .update(&id, |spec| {
                spec.task_template.container_spec.command = words(["/bin/sh", "-c", &script("two")]);
            })
            .await;
        let two = loop {
            let line = next_line(&mut log).await;
            if line.line != "one ticks" {
                break line;
            }
        };
        assert_eq!(two.line, "two", "terminal: {terminal}");
        assert!(two.task.is_some() && two.task != first.task && two.time > first.time);
        assert_eq!(next_line(&mut log).await.line.len(), 40_003);
        // Only what came since, and from now on.
        let since = LogRange { since: two.time, tail: None, follow: true };
        let mut later = scratch.swarm.service_log(&id, &since);
        let line = next_line(&mut later).await;
        let a_second_before = two.time.expect("a time") - jiff::SignedDuration::from_secs(1);
        assert!(line.time.expect("a time") > a_second_before, "{line:?}");
    }
}

#[tokio::test]
async fn the_engine_and_its_nodes_say_who_they_are() {
    let scratch = Scratch::new("info").await;
    let info = scratch.swarm.info().await.unwrap();
    assert_eq!(info.endpoint, engine::endpoint());
    assert!(!info.swarm_id.is_empty() && !info.engine.is_empty() && info.api.starts_with("1."), "{info:?}");
    let Listing::Nodes(nodes) = scratch.swarm.list(WatchedKind::Node).await.unwrap() else { panic!() };
    let me = nodes.iter().find(|node| node.id == info.node_id).expect("the node that answers");
    assert!(me.manager && me.takes_tasks() && me.nano_cpus > 0 && me.memory_bytes > 0 && !me.platform.os.is_empty());
    let Listing::Networks(networks) = scratch.swarm.list(WatchedKind::Network).await.unwrap() else { panic!() };
    assert!(networks.iter().all(|network| network.name != "host" && network.name != "docker_gwbridge"));
}

// Engines that do not behave.

fn quick() -> DockerOptions {
    DockerOptions {
        call_timeout: Duration::from_millis(500),
        connect_timeout: Duration::from_millis(500),
        log_timeout: Duration::from_millis(500),
        idle_check: Duration::from_millis(100),
        response_limit: 1 << 20,
        ..DockerOptions::default()
    }
}

fn quick_swarm<const N: usize>(endpoints: [&str; N]) -> DockerSwarm {
    DockerSwarm::new(&words(endpoints), quick()).expect("these are addresses")
}

async fn closed_port() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("tcp://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn the_first_endpoint_that_is_a_manager_is_used() {
    let engine = engine::endpoint();
    let worker = FakeEngine::start(|asked| match asked {
        "GET /version" => Say::Answer(200, r#"{"Version":"20.10","ApiVersion":"1.41"}"#.into()),
        _ => Say::Answer(200, r#"{"Swarm":{"LocalNodeState":"active","ControlAvailable":false}}"#.into()),
    })
    .await;
    let swarm =
        DockerSwarm::new(&[closed_port().await, worker.endpoint.clone(), engine.clone()], DockerOptions::default());
    assert_eq!(swarm.unwrap().info().await.expect("the third is one").endpoint, engine);

    let error = quick_swarm([&worker.endpoint]).list(WatchedKind::Service).await.unwrap_err();
    assert!(matches!(error, SwarmError::NotAManager { .. }) && error.to_string().contains("worker"), "{error}");
    let error = quick_swarm([&closed_port().await]).info().await.unwrap_err();
    assert!(matches!(error, SwarmError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn when_an_endpoint_goes_the_next_takes_over_and_the_events_end() {
    let engine = engine::endpoint();
    let Some(socket) = engine.strip_prefix("unix://") else { panic!("this test needs the engine at a socket") };
    let way = FakeEngine::in_front_of(socket).await;
    let swarm = quick_swarm([&way.endpoint, &engine]);
    assert_eq!(swarm.info().await.unwrap().endpoint, way.endpoint);
    let mut events = swarm.events().await.expect("events");
    drop(way);

    let end = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Err(error) = events.next().await.expect("it ends with an error") {
                return error;
            }
        }
    });
    let end = end.await.expect("it ends");
    assert!(matches!(end, SwarmError::Unreachable { .. }), "{end}");
    assert!(events.next().await.is_none());
    assert_eq!(swarm.info().await.expect("the second is there").endpoint, engine);
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_unreachable_in_time() {
    let deaf = FakeEngine::start(|_| Say::Nothing).await;
    let swarm = Arc::new(quick_swarm([&deaf.endpoint]));
    let begun = Instant::now();
    // Those who wait while one finds out do not find out for themselves, one after the other.
    let calls = (0..20).map(|_| {
        let swarm = Arc::clone(&swarm);
        async move { swarm.list(WatchedKind::Service).await }
    });
    for result in futures_util::future::join_all(calls).await {
        assert!(matches!(result, Err(SwarmError::Unreachable { .. })), "{result:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());

    let slow = FakeEngine::manager(|_| Say::Nothing).await;
    let swarm = quick_swarm([&slow.endpoint]);
    let error = swarm.list(WatchedKind::Service).await.unwrap_err();
    assert!(matches!(error, SwarmError::Unreachable { .. }) && error.is_doubtful(), "{error}");
    assert!(matches!(swarm.task_logs("t", 1).await, Err(SwarmError::Unreachable { .. })));
    assert!(matches!(swarm.events().await.err(), Some(SwarmError::Unreachable { .. })));
}

#[tokio::test]
async fn nonsense_is_an_error_of_the_engines() {
    let garbage = FakeEngine::start(|_| Say::Raw("garbage garbage\r\n\r\n")).await;
    let page = FakeEngine::start(|_| Say::Answer(200, "<html>hello</html>".into())).await;
    for endpoint in [&garbage.endpoint, &page.endpoint] {
        let error = quick_swarm([endpoint]).info().await.unwrap_err();
        assert!(matches!(error, SwarmError::Engine { .. }), "{error}");
    }
    let odd = FakeEngine::manager(|asked| match asked {
        "GET /v1.41/services" => Say::Answer(200, r#"{"surprise":true}"#.into()),
        "GET /v1.41/nodes" => Say::Answer(200, format!("[\"{}\"]", "x".repeat(2 << 20))),
        "GET /v1.41/configs" => Say::Answer(500, "x".repeat(3000)),
        _ => Say::Answer(404, "<html>nginx</html>".into()),
    })
    .await;
    let swarm = quick_swarm([&odd.endpoint]);
    for kind in [WatchedKind::Service, WatchedKind::Node, WatchedKind::Config, WatchedKind::Secret] {
        let error = swarm.list(kind).await.unwrap_err();
        assert!(matches!(error, SwarmError::Engine { .. }), "{kind:?}: {error}");
        assert!(error.to_string().len() < 700, "{error}");
    }
    // A 404 of no engine's is no evidence that something is gone.
    let remove = Effect::Remove { object: ObjectRef::new(ObjectKind::Service, "web"), id: "id".to_owned() };
    let error = swarm.apply(&remove, &Material::default()).await.unwrap_err();
    assert!(matches!(error, SwarmError::Engine { .. }), "{error}");
}

#[tokio::test]
async fn a_swarm_without_a_leader_is_told_from_an_engine_that_fails() {
    let text = r#"{"message":"rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online."}"#;
    let headless = FakeEngine::manager(move |_| Say::Answer(500, text.into())).await;
    let error = quick_swarm([&headless.endpoint]).list(WatchedKind::Service).await.unwrap_err();
    assert!(matches!(error, SwarmError::NoQuorum { .. }), "{error}");
}

#[tokio::test]
async fn engines_too_old_and_too_new_are_refused() {
    for (version, words) in [
        (r#"{"Version":"18.09","ApiVersion":"1.39","MinAPIVersion":"1.12"}"#, "at least 1.40"),
        (r#"{"Version":"99.0","ApiVersion":"1.99","MinAPIVersion":"1.90"}"#, "update Skep"),
    ] {
        let engine = FakeEngine::start(move |_| Say::Answer(200, version.into())).await;
        let error = quick_swarm([&engine.endpoint]).info().await.unwrap_err();
        assert!(matches!(&error, SwarmError::Refused { reason, .. } if reason.contains(words)), "{error}");
    }
}

#[tokio::test]
async fn a_silent_event_stream_finds_out_that_the_engine_is_gone() {
    let gone = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&gone);
    let engine = FakeEngine::start(move |asked| match asked {
        "GET /version" => Say::Answer(200, r#"{"Version":"20.10","ApiVersion":"1.41"}"#.into()),
        "GET /v1.41/_ping" => Say::Answer(200, "OK".into()),
        "GET /v1.41/info" if !switch.load(Ordering::Relaxed) => {
            Say::Answer(200, r#"{"Swarm":{"NodeID":"n","ControlAvailable":true,"Cluster":{"ID":"c"}}}"#.into())
        }
        "GET /v1.41/info" => Say::Nothing,
        _ => Say::Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    })
    .await;
    let swarm = quick_swarm([&engine.endpoint]);
    let mut events = swarm.events().await.expect("events");
    assert!(tokio::time::timeout(Duration::from_millis(400), events.next()).await.is_err(), "it is silent, and lives");
    gone.store(true, Ordering::Relaxed);
    let end = tokio::time::timeout(PATIENCE, events.next()).await.expect("in time").expect("an error");
    assert!(matches!(end, Err(SwarmError::Unreachable { .. })), "{end:?}");
    let asked = engine.asked();
    let events = asked.iter().find(|asked| asked.contains("/events")).expect("events were asked for");
    assert!(events.starts_with("GET /v1.41/events?"), "the version is in bollard's paths too: {events}");
}

#[tokio::test]
async fn addresses_that_make_no_sense_are_refused() {
    let connector = DockerConnector::new(DockerOptions::default());
    let name = EnvironmentName::parse("default").unwrap();
    for endpoints in
        [words([]), words(["ssh://root:pass@host"]), words(["unix:///ok", "https://x"]), words(["nonsense"])]
    {
        let result = connector.connect(&Environment {
            name: name.clone(),
            endpoints: endpoints.clone(),
            ..Environment::default()
        });
        assert!(matches!(result.err(), Some(SwarmError::Refused { .. })), "{endpoints:?}");
    }
}
