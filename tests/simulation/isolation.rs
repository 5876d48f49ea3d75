//! What fails for ever costs the others nothing: with a fifth of all stacks failing, and an environment that takes calls and
//! never answers, changes of the healthy stacks take as long as without.

use std::time::Duration;

use jiff::SignedDuration;
use skep::domain::*;
use skep::ports::ImageError;
use skep::swarm::sim::{Behaviour, SimNode, SimOptions};

use crate::world::*;

const HEALTHY: usize = 40;
const FAILING: usize = 10;
const SILENT: usize = 20;

fn healthy(number: usize, image: &str) -> String {
    let text = format!("services:\n  web:\n    image: {image}\n    deploy: {{ replicas: 2 }}\n");
    inline(&format!("good-{number}"), "", &text)
}

/// One that never comes to anything, each in its own way.
fn failing(number: usize) -> String {
    let name = format!("bad-{number}");
    let policy = "progressDeadline: 1m, totalDeadline: 5m";
    match number % 4 {
        0 => inline(&name, policy, "services:\n  web:\n    image: far.example/app:1\n"),
        1 => inline(&name, policy, "services:\n  web:\n    image: crash:1\n    deploy: { replicas: 3 }\n"),
        2 => inline(&name, policy, "services:\n  web:\n    image: stuck:1\n"),
        _ => from_git("main", policy).replace("name: shop", &format!("name: {name}")),
    }
}

/// One in the environment that falls silent.
fn far(number: usize, image: &str) -> String {
    let text = inline(&format!("far-{number}"), "", &format!("services:\n  web:\n    image: {image}\n"));
    text.replace("kind: Stack\n", "kind: Stack\nenvironment: far\n")
}

/// How long changes of all healthy stacks take, five times over: to the first step that the engine accepted, and to the end.
async fn latencies(trouble: bool) -> (Vec<SignedDuration>, Vec<SignedDuration>) {
    let nodes = (1..=4).map(|number| SimNode::manager(format!("node-{number}")));
    let mut world = World::with(SimOptions::default().nodes(nodes)).await;
    let silent = world.second("far").await;
    world.start(None);
    for number in 0..HEALTHY {
        world.apply(&healthy(number, "app:0")).await;
    }
    let phases = |world: &World, beginning: &str| -> Vec<StackPhase> {
        let stacks = world.ledger.stacks(None).unwrap();
        let status = |key| world.ledger.status(key).unwrap().map(|found| found.value).unwrap_or_default();
        let named = stacks.iter().filter(|it| it.value.key.name.as_str().starts_with(beginning));
        named.map(|it| phase(&it.value, &status(&it.value.key))).collect()
    };
    if trouble {
        world.swarm.registry("far.example/app:1", Err(ImageError::Unreachable("no route".into())));
        let refused = Behaviour::Rejected { error: "dial tcp 192.0.2.1:443: connection refused".into() };
        world.swarm.image("far.example/app:1", refused);
        world.swarm.image("crash:1", Behaviour::Exit { after: Duration::from_millis(700), code: 1 });
        world.swarm.image("stuck:1", Behaviour::PullHangs);
        world.source.hang(URL, true);
        for number in 0..FAILING {
            world.apply(&failing(number)).await;
        }
        for number in 0..SILENT {
            world.apply(&far(number, "app:1")).await;
        }
        world.sleep(5).await;
        silent.hang(true);
        silent.break_events();
        for number in 0..SILENT {
            world.apply(&far(number, "app:2")).await;
        }
    }
    world
        .until(300, "all healthy ones are there", |world| {
            phases(world, "good-").iter().all(|phase| *phase == StackPhase::Converged)
        })
        .await;
    let (mut first, mut whole) = (Vec::new(), Vec::new());
    for round in 1..=5 {
        let mut asked = Vec::new();
        for number in 0..HEALTHY {
            asked.push(world.apply(&healthy(number, &format!("app:{round}"))).await);
            // Not all in one moment: what goes on beside them is to have its chance.
            tokio::time::sleep(Duration::from_millis(173)).await;
        }
        for id in &asked {
            let ended = world.ended(120, id).await;
            assert_eq!(ended.phase, DeploymentPhase::Converged, "{:?}", ended.message);
            whole.push(ended.finished_at.unwrap().duration_since(ended.created_at));
            let step = world
                .events()
                .into_iter()
                .find(|it| it.kind == EventType::StepApplied && it.deployment.as_ref() == Some(id));
            first.push(step.unwrap().time.duration_since(ended.created_at));
        }
    }
    if trouble {
        let bad = phases(&world, "bad-");
        assert!(bad.iter().all(|phase| *phase != StackPhase::Converged), "{bad:?}");
        assert_eq!(bad.len(), FAILING);
        let far = phases(&world, "far-");
        assert_eq!(far.len(), SILENT);
        assert!(far.iter().all(|phase| *phase != StackPhase::Converged), "{far:?}");
    }
    world.always();
    first.sort();
    whole.sort();
    (first, whole)
}

#[tokio::test(start_paused = true)]
async fn healthy_stacks_do_not_feel_the_others_fail() {
    let (calm, trouble) = (latencies(false).await, latencies(true).await);
    for (what, calm, trouble) in [("the first step", calm.0, trouble.0), ("converged", calm.1, trouble.1)] {
        for share in [50, 99] {
            let at = |all: &[SignedDuration]| all[(all.len() * share / 100).min(all.len() - 1)].as_secs_f64();
            let (without, with) = (at(&calm), at(&trouble));
            println!("{what}, {share} of 100: {without:.3} s without, {with:.3} s with");
            // A tenth, and the grain of virtual time.
            assert!(with <= without * 1.1 + 0.005, "{what}, {share} of 100: {without} s became {with} s");
        }
    }
}
