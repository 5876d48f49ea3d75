//! The table of docs/explanation/failures.md, row by row.

use std::time::Duration;

use skep::domain::*;
use skep::swarm::sim::{Behaviour, SimNode, SimOptions};

use crate::failure_table::{Row, rows};
use crate::world::*;

const POLICY: &str = "progressDeadline: 1m, totalDeadline: 20m";
const SOON: Duration = Duration::from_secs(1);

/// A web with these words more, and a worker.
fn compose(image: &str, more: &str, worker_label: &str) -> String {
    format!(
        "services:\n  web:\n    image: {image}\n{more}  worker:\n    image: job:1\n    deploy: {{ labels: {{ of: \"{worker_label}\" }} }}\n"
    )
}

/// What was provoked: the world, the deployment that meets the obstacle, and how the obstacle is taken away.
struct Scene {
    world: World,
    id: DeploymentId,
    mend: fn(&World),
}

/// Words of a web whose memory is limited.
const LIMITED: &str = "    deploy: { resources: { limits: { memory: 64M } } }\n";
const PORT: &str = "    deploy: { replicas: 2 }\n    ports: [{ target: 80, published: 80, mode: host }]\n";

async fn nodes(count: usize) -> World {
    let nodes = (1..=count).map(|number| SimNode::manager(format!("node-{number}")));
    let mut world = World::with(SimOptions::default().nodes(nodes)).await;
    world.start(None);
    world
}

async fn good(world: &World, text: &str) {
    world.apply(&inline("shop", POLICY, text)).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.sleep(5).await;
}

/// The new version's web meets it, the old one's does not.
async fn its_own(image: &str, behaviour: Behaviour, more: &str) -> Scene {
    let world = nodes(1).await;
    good(&world, &compose("app:1", more, "1")).await;
    world.swarm.image(image, behaviour);
    let id = world.apply(&inline("shop", POLICY, &compose(image, more, "2"))).await;
    Scene { world, id, mend: |_| {} }
}

/// The image of both becomes like this, while the new version changes but another word of web.
async fn its_image(image: &str, behaviour: Behaviour) -> Scene {
    let world = nodes(1).await;
    good(&world, &compose(image, "", "1")).await;
    world.swarm.image(image, behaviour);
    let more = "    environment: { RELEASE: \"2\" }\n";
    let id = world.apply(&inline("shop", POLICY, &compose(image, more, "2"))).await;
    Scene { world, id, mend: |world| mend_images(world) }
}

fn mend_images(world: &World) {
    for image in ["app:1", "far.example/app:1"] {
        world.swarm.image(image, Behaviour::Run);
    }
}

/// The task of both becomes like this; nothing that runs is changed, and the tasks are begun anew.
async fn both(behaviour: Behaviour, more: &str) -> Scene {
    let world = nodes(1).await;
    good(&world, &compose("app:1", more, "1")).await;
    world.swarm.image("app:1", behaviour);
    world.swarm.node_drain("node-1");
    world.sleep(5).await;
    let id = world.apply(&inline("shop", POLICY, &compose("app:1", more, "2"))).await;
    world.until(30, "it is applied", |world| world.deployment(&id).phase == DeploymentPhase::Verifying).await;
    world.swarm.node_activate("node-1");
    Scene { world, id, mend: |world| mend_images(world) }
}

/// The new version asks for this.
async fn asks(more: &str) -> Scene {
    let world = nodes(1).await;
    good(&world, &compose("app:1", "", "1")).await;
    let id = world.apply(&inline("shop", POLICY, &compose("app:2", more, "2"))).await;
    Scene { world, id, mend: |_| {} }
}

/// This happens to the Swarm of so many nodes while the new version comes up.
async fn befalls(count: usize, what: fn(&World), mend: fn(&World)) -> Scene {
    let world = nodes(count).await;
    good(&world, &compose("app:1", "", "1")).await;
    world.swarm.image("app:2", Behaviour::Slow { ready_after: Duration::from_secs(20) });
    let id = world.apply(&inline("shop", POLICY, &compose("app:2", "", "2"))).await;
    world.until(30, "it is applied", |world| world.deployment(&id).phase == DeploymentPhase::Verifying).await;
    world.sleep(2).await;
    what(&world);
    world.swarm.break_events();
    Scene { world, id, mend }
}

async fn first_version() -> Scene {
    let world = nodes(1).await;
    world.swarm.image("app:1", Behaviour::Missing);
    let id = world.apply(&inline("shop", POLICY, &compose("app:1", "", "1"))).await;
    Scene { world, id, mend: |_| {} }
}

async fn port_with_too_few_nodes() -> Scene {
    let world = nodes(2).await;
    good(&world, &compose("app:1", PORT, "1")).await;
    world.swarm.node_down("node-2");
    world.sleep(60).await;
    let more = format!("{PORT}    environment: {{ RELEASE: \"2\" }}\n");
    let id = world.apply(&inline("shop", POLICY, &compose("app:1", &more, "2"))).await;
    Scene { world, id, mend: |world| world.swarm.node_up("node-2") }
}

async fn port_taken() -> Scene {
    let world = nodes(1).await;
    good(&world, &compose("app:1", "", "1")).await;
    let port = PortConfig {
        target_port: 80,
        published_port: 80,
        protocol: "tcp".into(),
        publish_mode: "host".into(),
        ..PortConfig::default()
    };
    let endpoint = EndpointSpec { ports: vec![port], ..EndpointSpec::default() };
    let template = TaskSpec {
        container_spec: ContainerSpec { image: "other:1".into(), ..ContainerSpec::default() },
        ..TaskSpec::default()
    };
    let other = ServiceSpec {
        name: "other".into(),
        task_template: template,
        mode: ServiceMode { replicated: Some(Replicated { replicas: Some(1) }), ..ServiceMode::default() },
        endpoint_spec: Some(endpoint),
        ..ServiceSpec::default()
    };
    let other = world.swarm.foreign_service(&other).unwrap();
    world.laws_of().is_foreign(&other.id);
    world.sleep(5).await;
    let id =
        world.apply(&inline("shop", POLICY, &compose("app:2", &PORT.replace("replicas: 2", "replicas: 1"), "2"))).await;
    Scene { world, id, mend: |_| {} }
}

async fn git_away() -> Scene {
    let world = nodes(1).await;
    world.push(&compose("app:1", "", "1"));
    world.apply(&from_git("main", POLICY)).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.source.set_down(URL, true);
    let id = world.apply(&from_git("v2", POLICY)).await;
    Scene { world, id, mend: |_| {} }
}

async fn wrong_file() -> Scene {
    let world = nodes(1).await;
    good(&world, &compose("app:1", "", "1")).await;
    world.swarm.forget_calls();
    let id = world.apply(&inline("shop", POLICY, "services: { web: { imagee: x } }")).await;
    Scene { world, id, mend: |_| {} }
}

async fn someone_elses() -> Scene {
    let world = nodes(1).await;
    good(&world, &compose("app:1", "", "1")).await;
    let template = TaskSpec {
        container_spec: ContainerSpec { image: "x:1".into(), ..ContainerSpec::default() },
        ..TaskSpec::default()
    };
    let foreign = ServiceSpec { name: "shop_other".into(), task_template: template, ..ServiceSpec::default() };
    let foreign = world.swarm.foreign_service(&foreign).unwrap();
    world.laws_of().is_foreign(&foreign.id);
    world.sleep(5).await;
    world.swarm.forget_calls();
    let text = format!("{}  other:\n    image: y:1\n", compose("app:1", "", "1"));
    let id = world.apply(&inline("shop", POLICY, &text)).await;
    Scene { world, id, mend: |_| {} }
}

/// A job of this kind, which ends well in the good version and fails in the new one.
async fn job(hook: &str) -> Scene {
    let world = nodes(1).await;
    let job = |number: u64| format!("  job:\n    image: step:{number}\n    x-skep: {{ hook: {hook}, deadline: 1m }}\n");
    world.swarm.image("step:1", Behaviour::Exit { after: SOON, code: 0 });
    world.swarm.image("step:2", Behaviour::Exit { after: SOON, code: 3 });
    good(&world, &format!("{}{}", compose("app:1", "", "1"), job(1))).await;
    let id = world.apply(&inline("shop", POLICY, &format!("{}{}", compose("app:2", "", "2"), job(2)))).await;
    Scene { world, id, mend: |_| {} }
}

fn rejected(error: &str) -> Behaviour {
    Behaviour::Rejected { error: error.into() }
}

async fn provoke(obstacle: &str) -> Scene {
    let unauthorized = "Head \"https://far.example/v2/app/manifests/1\": unauthorized: authentication required";
    let refused = "Get \"https://far.example/v2/\": dial tcp 192.0.2.1:443: connect: connection refused";
    match obstacle {
        "its image is not there" => its_own("app:2", Behaviour::Missing, "").await,
        "the image both versions use is gone" => its_image("app:1", Behaviour::Missing).await,
        "the registry refuses the login for its image" => {
            its_own("far.example/app:2", rejected(unauthorized), "").await
        }
        "the registry refuses the login for both" => its_image("far.example/app:1", rejected(unauthorized)).await,
        "the registry of its image does not answer" => its_own("far.example/app:2", rejected(refused), "").await,
        "the registry of both does not answer" => its_image("far.example/app:1", rejected(refused)).await,
        "no node meets its constraint" => {
            asks("    deploy: { placement: { constraints: [node.labels.disk == ssd] } }\n").await
        }
        "no node has what it reserves" => asks("    deploy: { resources: { reservations: { memory: 900G } } }\n").await,
        "no node takes tasks" => {
            befalls(1, |world| world.swarm.node_drain("node-1"), |world| world.swarm.node_activate("node-1")).await
        }
        "the port it wants is taken" => port_taken().await,
        "too few nodes are left for the port" => port_with_too_few_nodes().await,
        "it needs more memory than its limit" => {
            its_own("app:2", Behaviour::OutOfMemory { after: SOON }, LIMITED).await
        }
        "both need more memory than their limit" => both(Behaviour::OutOfMemory { after: SOON }, LIMITED).await,
        "it exits" => its_own("app:2", Behaviour::Exit { after: SOON, code: 3 }, "").await,
        "both exit" => both(Behaviour::Exit { after: SOON, code: 3 }, "").await,
        "its health check fails" => its_own("app:2", Behaviour::Unhealthy { after: 3 * SOON }, "").await,
        "the health check of both fails" => both(Behaviour::Unhealthy { after: 3 * SOON }, "").await,
        "it does not come up in time" => its_own("app:2", Behaviour::PullHangs, "").await,
        "both do not come up in time" => {
            let scene = both(Behaviour::PullHangs, "").await;
            // A pull that hangs does so until its task is ended.
            let mend = |world: &World| {
                mend_images(world);
                world.swarm.node_drain("node-1");
                world.swarm.node_activate("node-1");
            };
            Scene { mend, ..scene }
        }
        "the only node is lost" => {
            befalls(1, |world| world.swarm.node_down("node-1"), |world| world.swarm.node_up("node-1")).await
        }
        "one of two nodes is lost" => befalls(2, |world| world.swarm.node_down("node-2"), |_| {}).await,
        "the managers have no majority" => {
            befalls(1, |world| world.swarm.no_quorum(true), |world| world.swarm.no_quorum(false)).await
        }
        "the engine does not answer" => {
            befalls(1, |world| world.swarm.set_down(true), |world| world.swarm.set_down(false)).await
        }
        "the git host does not answer" => git_away().await,
        "its compose file is wrong" => wrong_file().await,
        "a service of its name is someone else's" => someone_elses().await,
        "its job before the deployment fails" => job("pre").await,
        "its job after the deployment fails" => job("post").await,
        "the image of a first version is not there" => first_version().await,
        other => panic!("no scene for `{other}`"),
    }
}

async fn plays(row: &Row) {
    let Scene { world, id, mend } = provoke(row.obstacle).await;
    let told = || format!("{row:?}\n{}", world.report());
    if row.then == "waits" && row.phase == "Failed" {
        // Long after the progress deadline it still waits.
        world.sleep(240).await;
        assert!(!world.deployment(&id).phase.is_terminal(), "{}", told());
    }
    let ended = world.ended(1500, &id).await;
    world.sleep(30).await;
    let ended = world.deployment(&ended.id);
    assert_eq!(format!("{:?}", ended.phase), row.phase, "{}", told());
    assert_eq!(ended.failure.as_ref().map(|failure| failure.class.to_string()).as_deref(), row.class, "{}", told());
    let status = world.status();
    let rollbacks = world.history().iter().filter(|it| it.origin.trigger == Trigger::Rollback).count();
    let wrote = !world.swarm.writes().is_empty();
    match row.then {
        "goes back" => {
            assert_eq!((rollbacks, status.held.len()), (1, 1), "{}", told());
            assert_eq!(world.image_of("shop_web"), "app:1", "{}", told());
        }
        "changes nothing" => assert_eq!((rollbacks, status.held.len(), wrote), (0, 0, false), "{}", told()),
        "stays" => assert_eq!(rollbacks, 0, "{}", told()),
        "is not begun" => {
            assert_eq!((rollbacks, status.held.len()), (0, 1), "{}", told());
            assert_eq!(world.image_of("shop_web"), "app:1", "{}", told());
            let touched = world.effects().iter().filter(|effect| effect.starts_with("update service")).count();
            assert_eq!(touched, 0, "{}", told());
        }
        _ => {
            assert_eq!((rollbacks, status.held.len()), (0, 0), "{}", told());
            mend(&world);
            if row.class != Some("SourceUnreachable") {
                world.until_phase(1500, StackPhase::Converged).await;
                assert_eq!(world.status().held.len(), 0, "{}", told());
            }
        }
    }
    world.always();
}

#[tokio::test(start_paused = true)]
async fn every_row_of_the_table_is_as_the_docs_say() {
    let only = std::env::var("SKEP_ROW").ok();
    for row in rows().iter().filter(|row| only.as_deref().is_none_or(|only| row.obstacle.contains(only))) {
        println!("{}", row.obstacle);
        plays(row).await;
    }
}

#[test]
fn every_class_is_in_the_table() {
    use FailureClass::*;
    let all = [
        ImageMissing,
        RegistryAuth,
        RegistryDown,
        NoSuitableNode,
        PortConflict,
        OutOfMemory,
        ExitCode,
        HealthCheck,
        NodeLost,
        QuorumLost,
        EngineUnreachable,
        SourceUnreachable,
        Render,
        Preflight,
        Deadline,
        Hook,
    ];
    let rows = rows();
    for class in all {
        assert!(rows.iter().any(|row| row.class == Some(&class.to_string())), "{class}");
    }
}

/// Forty stacks on ten nodes, some of them in the middle of a good version, when half the nodes vanish, and when the managers
/// lose their majority.
#[tokio::test(start_paused = true)]
async fn no_stack_goes_back_when_half_the_nodes_vanish_or_the_majority_is_lost() {
    for quorum in [false, true] {
        let world = nodes(10).await;
        let policy = "progressDeadline: 1m, totalDeadline: 2h";
        let text = |image: &str| format!("services:\n  web:\n    image: {image}\n    deploy: {{ replicas: 3 }}\n");
        for number in 0..40 {
            world.apply(&inline(&format!("s{number}"), policy, &text("app:1"))).await;
        }
        let phases = |world: &World| -> Vec<StackPhase> {
            let stacks = world.ledger.stacks(None).unwrap();
            let status = |key| world.ledger.status(key).unwrap().map(|found| found.value).unwrap_or_default();
            stacks.iter().map(|stack| phase(&stack.value, &status(&stack.value.key))).collect()
        };
        let converged = |world: &World| phases(world).iter().all(|phase| *phase == StackPhase::Converged);
        world.until(300, "all are there", converged).await;
        world.swarm.image("app:2", Behaviour::Slow { ready_after: Duration::from_secs(30) });
        for number in 0..20 {
            world.apply(&inline(&format!("s{number}"), policy, &text("app:2"))).await;
        }
        world.sleep(3).await;
        let node = |number| format!("node-{number}");
        match quorum {
            true => world.swarm.no_quorum(true),
            false => (6..=10).for_each(|number| world.swarm.node_down(&node(number))),
        }
        world.swarm.break_events();
        world.sleep(900).await;
        let revert = |world: &World| world.events().iter().filter(|event| event.kind == EventType::Held).count();
        assert_eq!(revert(&world), 0, "{:?}", phases(&world));
        let trigger = |world: &World| {
            let all = world.ledger.stacks(None).unwrap();
            let of = |key| world.ledger.history(key, None, 100).unwrap();
            all.iter()
                .flat_map(|it| of(&it.value.key))
                .filter(|it| it.value.origin.trigger == Trigger::Rollback)
                .count()
        };
        assert_eq!(trigger(&world), 0);
        match quorum {
            true => world.swarm.no_quorum(false),
            false => (6..=10).for_each(|number| world.swarm.node_up(&node(number))),
        }
        world.until(900, "all are there again", converged).await;
        assert_eq!((revert(&world), trigger(&world)), (0, 0));
        world.always();
    }
}
