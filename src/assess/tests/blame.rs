//! The table of blame: class × what the last good version is like → whose fault. This is the table of the docs.

use super::scene::{Scene, Svc, service, task};
use crate::assess::{Fault, blame};
use crate::domain::{Failure, FailureClass as Class, NodeAvailability, NodeState};
use Fault::{Infrastructure, Version};

fn failure(class: Class) -> Failure {
    let mut failure = Failure::new(class, "…");
    failure.service = Some("web".into());
    failure
}

/// The last good `web` and the new one.
type Pair = fn() -> [Svc; 2];

#[test]
fn every_class_has_its_counterfactual() {
    let same: Pair = || [service("web"), service("web")];
    let image: Pair = || [service("web"), service("web").image("demo:2")];
    let registry: Pair = || [service("web"), service("web").image("ghrc.io/demo:1")];
    let constraint: Pair = || [service("web"), service("web").constraint("node.labels.gpu==1")];
    let replicas: Pair = || [service("web"), service("web").replicas(9)];
    let port: Pair = || [service("web").port(80, "host"), service("web").port(81, "host")];
    let same_port: Pair = || [service("web").port(80, "host"), service("web").port(80, "host")];
    let start_first: Pair = || {
        let order = |update: &mut crate::domain::UpdateConfig| update.order = "start-first".into();
        [service("web").port(80, "host"), service("web").port(80, "host").update(order)]
    };
    let label: Pair = || [service("web"), service("web").label("front")];
    // Class, the two versions, whose fault it is after the last good one, and on a first deployment.
    let table = [
        (Class::ImageMissing, same, Infrastructure, Version),
        (Class::ImageMissing, image, Version, Version),
        (Class::RegistryAuth, same, Infrastructure, Version),
        (Class::RegistryAuth, image, Version, Version),
        (Class::RegistryDown, same, Infrastructure, Infrastructure),
        (Class::RegistryDown, image, Infrastructure, Infrastructure),
        (Class::RegistryDown, registry, Version, Infrastructure),
        (Class::NoSuitableNode, same, Infrastructure, Version),
        (Class::NoSuitableNode, image, Infrastructure, Version),
        (Class::NoSuitableNode, constraint, Version, Version),
        (Class::NoSuitableNode, replicas, Version, Version),
        (Class::PortConflict, same_port, Infrastructure, Version),
        (Class::PortConflict, port, Version, Version),
        (Class::PortConflict, start_first, Version, Version),
        (Class::OutOfMemory, same, Infrastructure, Version),
        (Class::OutOfMemory, image, Version, Version),
        (Class::ExitCode, same, Infrastructure, Version),
        (Class::ExitCode, label, Infrastructure, Version),
        (Class::ExitCode, constraint, Infrastructure, Version),
        (Class::ExitCode, image, Version, Version),
        (Class::HealthCheck, same, Infrastructure, Version),
        (Class::HealthCheck, image, Version, Version),
        (Class::NodeLost, image, Infrastructure, Infrastructure),
        (Class::QuorumLost, image, Infrastructure, Infrastructure),
        (Class::EngineUnreachable, image, Infrastructure, Infrastructure),
        (Class::SourceUnreachable, image, Infrastructure, Infrastructure),
        (Class::Render, same, Version, Version),
        (Class::Preflight, same, Version, Version),
        (Class::Hook, same, Version, Version),
        (Class::Deadline, same, Infrastructure, Version),
        (Class::Deadline, image, Version, Version),
    ];
    for (class, pair, after, first) in table {
        let [good, new] = pair();
        let scene = Scene::after([good], [new.clone()]);
        assert_eq!(blame(&scene.input(1), &failure(class)), after, "{class} after a good version");
        let scene = Scene::first([new]);
        assert_eq!(blame(&scene.input(1), &failure(class)), first, "{class} on a first deployment");
    }
}

#[test]
fn a_service_that_the_last_good_version_does_not_have_is_the_new_versions_own() {
    let scene = Scene::after([service("db")], [service("db"), service("web")]);
    for class in [Class::ImageMissing, Class::RegistryDown, Class::NoSuitableNode, Class::ExitCode, Class::Deadline] {
        assert_eq!(blame(&scene.input(1), &failure(class)), Version, "{class}");
    }
}

#[test]
fn with_no_node_that_takes_tasks_nothing_is_the_versions_fault() {
    let scene = || Scene::after([service("web")], [service("web").image("demo:2").constraint("node.labels.gpu==1")]);
    for scene in [
        scene().node("n1", |node| node.state = NodeState::Down),
        scene().node("n1", |node| node.availability = NodeAvailability::Drain),
        scene().node("n1", |node| node.availability = NodeAvailability::Pause),
    ] {
        for class in [Class::ImageMissing, Class::NoSuitableNode, Class::ExitCode, Class::Deadline] {
            assert_eq!(blame(&scene.input(1), &failure(class)), Infrastructure, "{class}");
        }
        assert_eq!(blame(&scene.input(1), &failure(Class::Render)), Version);
    }
}

#[test]
fn an_unchanged_service_that_breaks_when_others_change_is_the_versions_fault() {
    let good = || [service("db"), service("web")];
    let changed = || Scene::after(good(), [service("db").image("demo:2"), service("web")]);
    let broke = changed().tasks([task("web").recorded().failed(3, 1)]);
    assert_eq!(blame(&broke.input(9), &failure(Class::ExitCode)), Version, "it ran until the deployment began");
    let still = changed().tasks([task("web").slot(2).recorded().running(-50), task("web").failed(3, 1)]);
    assert_eq!(blame(&still.input(9), &failure(Class::ExitCode)), Version, "its other task still runs");
    let before = changed().tasks([task("web").recorded().failed(-3, 1), task("web").failed(3, 1)]);
    assert_eq!(blame(&before.input(9), &failure(Class::ExitCode)), Infrastructure, "it was broken before");
    let alone = Scene::after(good(), good()).tasks([task("web").recorded().failed(3, 1)]);
    assert_eq!(blame(&alone.input(9), &failure(Class::ExitCode)), Infrastructure, "nothing else changed");
    let label = Scene::after(good(), [service("db").label("back"), service("web")])
        .tasks([task("web").recorded().failed(3, 1)]);
    assert_eq!(blame(&label.input(9), &failure(Class::ExitCode)), Infrastructure, "nothing else that runs changed");
}

#[test]
fn a_deadline_before_every_step_was_accepted_is_not_the_versions_fault() {
    let mut scene = Scene::after([service("web")], [service("web").image("demo:2")]);
    let deadline = Failure::new(Class::Deadline, "…");
    assert_eq!(blame(&scene.input(1), &deadline), Version);
    scene.progress.applied = false;
    assert_eq!(blame(&scene.input(1), &deadline), Infrastructure);
}
