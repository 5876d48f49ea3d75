//! The simulator against what was measured on the engine (20.10): all in virtual time.

mod calls;
mod placing;
mod updating;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;

use super::{Behaviour, CallKind, SimConnector, SimNode, SimOptions, SimSwarm};
use crate::domain::*;
use crate::ports::{Ambient, Listing, Swarm, SwarmConnector, SwarmError, TaskFilter, WatchedKind};

const SECOND: i64 = 1_000_000_000;

fn app(image: &str, replicas: u64) -> ServiceSpec {
    let container_spec = ContainerSpec { image: image.into(), ..ContainerSpec::default() };
    ServiceSpec {
        name: "app".into(),
        task_template: TaskSpec { container_spec, ..TaskSpec::default() },
        mode: ServiceMode { replicated: Some(Replicated { replicas: Some(replicas) }), ..ServiceMode::default() },
        ..ServiceSpec::default()
    }
}

fn updating(mut spec: ServiceSpec, action: &str, monitor: i64) -> ServiceSpec {
    spec.update_config = Some(UpdateConfig {
        parallelism: 1,
        failure_action: action.into(),
        monitor: monitor * SECOND,
        ..UpdateConfig::default()
    });
    spec
}

fn placed(mut spec: ServiceSpec, constraint: &str) -> ServiceSpec {
    spec.task_template.placement = Some(Placement { constraints: vec![constraint.to_owned()], ..Placement::default() });
    spec
}

fn job(image: &str, completions: u64) -> ServiceSpec {
    let mode = ReplicatedJob { max_concurrent: Some(1), total_completions: Some(completions) };
    ServiceSpec { mode: ServiceMode { replicated_job: Some(mode), ..ServiceMode::default() }, ..app(image, 1) }
}

async fn send(sim: &SimSwarm, effect: Effect) -> Result<Applied, SwarmError> {
    sim.apply(&effect, &Material::default()).await
}

async fn create(sim: &SimSwarm, spec: ServiceSpec) {
    send(sim, Effect::CreateService(spec)).await.unwrap();
}

async fn update(sim: &SimSwarm, spec: ServiceSpec) {
    let live = sim.service(&spec.name).unwrap();
    send(sim, Effect::UpdateService { id: live.id.clone(), version: live.version, spec }).await.unwrap();
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

fn status(sim: &SimSwarm) -> Option<UpdateState> {
    sim.service("app").unwrap().update.as_ref().map(|status| status.state.clone())
}

fn image_of(task: &Task) -> &str {
    &task.spec.container_spec.image
}

fn running(sim: &SimSwarm) -> Vec<Arc<Task>> {
    let mut tasks = sim.tasks_of("app");
    tasks.retain(|task| task.state == TaskState::Running && task.desired == TaskState::Running);
    tasks
}

fn running_images(sim: &SimSwarm) -> Vec<String> {
    running(sim).iter().map(|task| image_of(task).to_owned()).collect()
}

/// The trace without times, from `since` on.
fn lines(sim: &SimSwarm, since: usize) -> Vec<String> {
    sim.trace().split_off(since).iter().map(|line| line.trim_start().split_once(' ').unwrap().1.to_owned()).collect()
}

/// Milliseconds from the line that has `from` to the one that has `to`.
fn between(sim: &SimSwarm, from: &str, to: &str) -> u64 {
    let at = |what: &str| {
        let trace = sim.trace();
        let line = trace.iter().find(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what} in {trace:#?}"));
        line.trim_start().split_once(' ').unwrap().0.parse::<u64>().unwrap()
    };
    at(to) - at(from)
}
