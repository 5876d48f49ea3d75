//! The engine's words, as they were read in its source or measured.

use super::scene::{T, service, task};
use crate::assess::classify;
use crate::domain::{FailureClass as Class, Task};

fn with_limit(t: T) -> Task {
    let mut task = t.task();
    task.spec = service("web").memory(64 << 20).0.spec.task_template;
    task
}

#[test]
fn the_engines_words_are_put_into_classes() {
    let rejected = |text: &str| task("web").rejected(1, text).task();
    let failed = |text: &str| task("web").failed_with(1, text).task();
    let pending = |text: &str| task("web").pending(text).task();
    let table = [
        (rejected("No such image: nosuch:img"), Class::ImageMissing),
        (rejected("manifest unknown: manifest unknown"), Class::ImageMissing),
        (
            rejected(r#"failed to resolve reference "docker.io/library/x:1": docker.io/library/x:1: not found"#),
            Class::ImageMissing,
        ),
        (
            rejected("pull access denied for x, repository does not exist or may require 'docker login'"),
            Class::RegistryAuth,
        ),
        (rejected("Head \"https://r.example/v2/x\": unauthorized: authentication required"), Class::RegistryAuth),
        (rejected("Get \"https://r.example/v2/\": dial tcp: lookup r.example: no such host"), Class::RegistryDown),
        (rejected("toomanyrequests: You have reached your pull rate limit"), Class::RegistryDown),
        (rejected("received unexpected HTTP status: 503 Service Unavailable"), Class::RegistryDown),
        (rejected("invalid mount config for type \"bind\": bind source path does not exist: /x"), Class::ExitCode),
        (rejected("error while mounting volume '/v': dial tcp 10.0.0.1:2049: connection refused"), Class::ExitCode),
        (pending("no suitable node (scheduling constraints not satisfied on 1 node)"), Class::NoSuitableNode),
        (pending("no suitable node (insufficient resources on 2 nodes)"), Class::NoSuitableNode),
        (pending("no suitable node (1 node not available for new tasks)"), Class::NoSuitableNode),
        (pending("no suitable node (unsupported platform on 1 node)"), Class::NoSuitableNode),
        (pending("no suitable node (host-mode port already in use on 1 node)"), Class::PortConflict),
        (
            failed(
                "starting container failed: driver failed programming external connectivity on endpoint x: Error starting userland proxy: listen tcp4 0.0.0.0:80: bind: address already in use",
            ),
            Class::PortConflict,
        ),
        (failed("Bind for 0.0.0.0:80 failed: port is already allocated"), Class::PortConflict),
        (failed("task: non-zero exit (3)"), Class::ExitCode),
        (failed("task: non-zero exit (1): dockerexec: unhealthy container"), Class::HealthCheck),
        (failed("task: non-zero exit (137): dockerexec: unhealthy container"), Class::HealthCheck),
        (failed("task: non-zero exit (137)"), Class::ExitCode),
        (with_limit(task("web").failed(1, 137)), Class::OutOfMemory),
        (with_limit(task("web").failed(1, 1)), Class::ExitCode),
        (
            with_limit(task("web").failed_with(1, "task: non-zero exit (137): dockerexec: unhealthy container")),
            Class::HealthCheck,
        ),
        (failed("OCI runtime create failed: container init was OOM-killed"), Class::OutOfMemory),
        (failed("starting container failed: no room in zoom"), Class::ExitCode),
        (failed("starting container failed: dial tcp: connection refused"), Class::ExitCode),
        (task("web").complete(1).task(), Class::ExitCode),
    ];
    for (task, class) in table {
        let failure = classify(&task).unwrap_or_else(|| panic!("nothing is said of {task:?}"));
        assert_eq!(failure.class, class, "{:?} {:?}", task.state, task.error);
        assert!(!failure.error.is_empty(), "{task:?}");
    }
}

#[test]
fn a_task_that_goes_its_way_has_no_failure() {
    for t in [task("web"), task("web").pending(""), task("web").starting(), task("web").running(1)] {
        assert_eq!(classify(&t.task()), None);
    }
}

#[test]
fn the_evidence_says_which_task_where_and_how_it_ended() {
    let failure = classify(&task("web").slot(3).failed(1, 42).task()).unwrap();
    assert_eq!((failure.slot, failure.node.as_deref(), failure.exit_code), (Some(3), Some("n1"), Some(42)));
    let failure = classify(&with_limit(task("web").failed(1, 137))).unwrap();
    assert!(failure.error.contains("limit of 64 MiB"), "{}", failure.error);
    let failure = classify(&task("web").complete(1).task()).unwrap();
    assert!(failure.error.contains("ended by itself with exit code 0"), "{}", failure.error);
}
