//! What all passes share: ports, caches, the environments under watch.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::environment::Observed;
use super::images::Lookups;
use super::queue::{Depth, Priority};
use super::relay::Relays;
use super::rendition::{Renderer, Rendition, RenditionError};
use super::repositories::Repositories;
use super::sources::Sources;
use super::waiting::Waiting;
use crate::domain::{Deployment, DeploymentId, EnvironmentName, StackKey, StackSpec};
use crate::ledger::Ledger;
use crate::ports::Ambient;
use crate::telemetry::{Meters, Tracer};

/// Shared by all passes.
pub(super) struct Shared {
    /// The records.
    pub ledger: Ledger,
    /// Time and ids.
    pub ambient: Arc<dyn Ambient>,
    /// Renders versions.
    pub renderer: Arc<Renderer>,
    /// Follows refs.
    pub sources: Arc<Sources>,
    /// Follows repositories of images.
    pub repositories: Arc<Repositories>,
    /// This installation's id.
    pub instance: String,
    /// The mark of the restore it came from, if it did.
    pub restored: Option<String>,
    /// Versions in memory.
    pub renditions: Arc<Renditions>,
    /// The environments under watch.
    pub environments: Arc<Environments>,
    /// Tags looked up.
    pub lookups: Arc<Lookups>,
    /// Stacks that wait for others.
    pub waiting: Waiting,
    /// The environments that other Skeps keep.
    pub relays: Relays,
    /// Work beside the passes.
    pub tasks: TaskTracker,
    /// What counts.
    pub meters: Meters,
    /// Who gets the spans.
    pub tracer: Tracer,
    /// Errors in a row, by stack.
    pub errors: Mutex<HashMap<StackKey, u32>>,
}

/// The environments under watch, by name.
#[derive(Default)]
pub(super) struct Environments(Mutex<BTreeMap<EnvironmentName, Arc<Observed>>>);

impl Environments {
    fn all(&self) -> MutexGuard<'_, BTreeMap<EnvironmentName, Arc<Observed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One environment.
    pub(super) fn get(&self, name: &EnvironmentName) -> Option<Arc<Observed>> {
        self.all().get(name).cloned()
    }

    /// Adds or replaces one.
    pub(super) fn put(&self, environment: Arc<Observed>) {
        self.all().insert(environment.name.clone(), environment);
    }

    /// Forgets one.
    pub(super) fn remove(&self, name: &EnvironmentName) {
        self.all().remove(name);
    }

    /// All of them, with what waits in each.
    pub(super) fn depths(&self) -> Vec<(EnvironmentName, Depth)> {
        self.all().values().map(|environment| (environment.name.clone(), environment.queue.depth())).collect()
    }

    /// Whether the engine of this one answers, and none of its stacks waits for a look.
    pub(super) fn has_caught_up(&self, name: &EnvironmentName) -> bool {
        self.get(name).is_some_and(|environment| {
            let depth = environment.queue.depth();
            environment.is_connected() && depth.due == 0 && depth.at_work == 0
        })
    }

    /// Asks for a look at a stack now.
    pub(super) fn wake(&self, key: &StackKey, priority: Priority) {
        if let Some(environment) = self.get(&key.environment) {
            environment.queue.add(key, Instant::now(), priority);
        }
    }
}

type Answer = Result<Arc<Rendition>, RenditionError>;
/// Of each stack some versions, the one used last at the end.
type Versions = HashMap<StackKey, Vec<(DeploymentId, Arc<Rendition>)>>;

/// Versions in memory: of each stack the two last used, and the renderings under way.
#[derive(Default)]
pub(super) struct Renditions {
    known: Mutex<Versions>,
    jobs: Mutex<HashMap<DeploymentId, Job>>,
}

/// A rendering under way, or its answer.
struct Job {
    stack: StackKey,
    /// A pass waits for it just now, and takes the answer itself.
    awaited: bool,
    answer: watch::Receiver<Option<Answer>>,
    begun: Instant,
}

impl Job {
    /// A rendering that failed is begun anew only after a while.
    fn stands(&self) -> bool {
        !matches!(&*self.answer.borrow(), Some(Err(_))) || self.begun.elapsed() < RENDER_AGAIN
    }
}

/// A rendering that failed by no fault of the version's is tried again after this time.
pub(super) const RENDER_AGAIN: Duration = Duration::from_secs(5);

/// Of each stack so many versions stay in memory: the one worked towards, and the one to go back to.
const VERSIONS: usize = 2;

impl Renditions {
    fn known(&self) -> MutexGuard<'_, Versions> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<DeploymentId, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A version that is in memory.
    pub(super) fn get_of(&self, key: &StackKey, id: &DeploymentId) -> Option<Arc<Rendition>> {
        self.known().get(key)?.iter().find(|(known, _)| known == id).map(|(_, rendition)| rendition.clone())
    }

    /// All versions of a stack that are in memory.
    pub(super) fn all_of(&self, key: &StackKey) -> Vec<(DeploymentId, Arc<Rendition>)> {
        self.known().get(key).cloned().unwrap_or_default()
    }

    /// Keeps a version in memory; the one that was not used for longest goes.
    pub(super) fn put(&self, key: &StackKey, id: &DeploymentId, rendition: Arc<Rendition>) {
        let mut known = self.known();
        let of = known.entry(key.clone()).or_default();
        of.retain(|(known, _)| known != id);
        of.push((id.clone(), rendition));
        let surplus = of.len().saturating_sub(VERSIONS);
        of.drain(..surplus);
    }

    /// Forgets a stack.
    pub(super) fn forget(&self, key: &StackKey) {
        self.known().remove(key);
    }

    /// Forgets a rendering under way.
    pub(super) fn forget_job(&self, id: &DeploymentId) {
        self.jobs().remove(id);
    }

    /// Forgets what is being rendered for a stack: nothing that was recorded waits for it.
    pub(super) fn forget_jobs_of(&self, key: &StackKey) {
        self.jobs().retain(|_, job| job.stack != *key);
    }

    /// Gives the answer of a rendering; whether somebody has to be woken for it: not by one that was forgotten, nor while a pass
    /// waits for it.
    fn answered(&self, id: &DeploymentId, done: &watch::Sender<Option<Answer>>, answer: Answer) -> bool {
        let jobs = self.jobs();
        done.send_replace(Some(answer));
        jobs.get(id).is_some_and(|job| !job.awaited && job.answer.same_channel(&done.subscribe()))
    }

    /// The answer of a rendering, if it comes within `moment`.
    pub(super) async fn answer(&self, key: &StackKey, id: &DeploymentId, moment: Duration) -> Option<Answer> {
        let mut answer = {
            let mut jobs = self.jobs();
            let job = jobs.get_mut(id)?;
            job.awaited = true;
            job.answer.clone()
        };
        let lost = matches!(tokio::time::timeout(moment, answer.wait_for(Option::is_some)).await, Ok(Err(_)));
        if lost {
            // The rendering ended without an answer: the next look begins it again.
            self.forget_job(id);
            return None;
        }
        // Whoever answers after this wakes the stack; what was answered before is taken.
        self.jobs().get_mut(id)?.awaited = false;
        let answer = answer.borrow().clone()?;
        if let Ok(rendition) = &answer {
            self.put(key, id, rendition.clone());
            self.forget_job(id);
        }
        Some(answer)
    }
}

impl Shared {
    /// Begins to render a deployment's version beside the passes, unless that goes on already. The stack is woken when it
    /// is done, unless a pass waits for it just then, or it has been forgotten.
    pub(super) fn render(&self, deployment: &Deployment, spec: &StackSpec) {
        let mut jobs = self.renditions.jobs();
        if jobs.get(&deployment.id).is_some_and(Job::stands) {
            return;
        }
        let (done, answer) = watch::channel(None);
        jobs.insert(
            deployment.id.clone(),
            Job { stack: deployment.stack.clone(), awaited: false, answer, begun: Instant::now() },
        );
        drop(jobs);
        let (renderer, environments) = (self.renderer.clone(), self.environments.clone());
        let renditions = Arc::clone(&self.renditions);
        let (key, spec, revision) = (deployment.stack.clone(), spec.clone(), deployment.version.revision.clone());
        let (tracer, deployment) = (self.tracer.clone(), deployment.clone());
        self.tasks.spawn(async move {
            let rendering = renderer.render(&key, &spec, revision.as_ref());
            let answer = tracer.stage("render", &deployment, rendering).await.map(Arc::new);
            if renditions.answered(&deployment.id, &done, answer) {
                environments.wake(&key, Priority::Event);
            }
        });
    }
}
