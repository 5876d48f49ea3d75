//! The real engine, for tests: a connection, names of one's own, and a broom.

use std::sync::Arc;
use std::time::Duration;

use skep::domain::{
    ContainerSpec, Effect, LiveService, Material, ObjectKind, ObjectRef, Replicated, ServiceMode, ServiceSpec, Task,
    TaskSpec,
};
use skep::ports::{Listing, Swarm, SwarmError, TaskFilter, WatchedKind};
use skep::swarm::docker::{DockerOptions, DockerSwarm};

/// Longer than anything on an engine that is well takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The address of the engine that tests use.
pub(crate) fn endpoint() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned())
}

/// A piece of the real Swarm: every object whose name begins with `prefix` is swept away when this is dropped, also when
/// the test fails.
pub(crate) struct Scratch {
    pub(crate) swarm: Arc<dyn Swarm>,
    pub(crate) prefix: String,
    /// Whether it is that of the engine: a simulated one goes with its test.
    pub(crate) real: bool,
}

impl Scratch {
    /// Connects. A missing engine fails the test: nothing here is ever skipped.
    pub(crate) async fn new(what: &str) -> Self {
        let swarm = connect();
        if let Err(error) = swarm.info().await {
            panic!("this test needs a Docker engine that is a Swarm manager (see DOCKER_HOST): {error}");
        }
        Self { swarm, prefix: format!("skt-{what}-{:08x}", fastrand::u32(..)), real: true }
    }

    /// A name of this test's own.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.prefix)
    }

    /// A service that runs `script` in a shell, and dies at once when told to.
    pub(crate) fn service(&self, what: &str, script: &str) -> ServiceSpec {
        let container_spec = ContainerSpec {
            image: "skep-example:1".to_owned(),
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            stop_signal: "SIGKILL".to_owned(),
            ..ContainerSpec::default()
        };
        ServiceSpec {
            name: self.name(what),
            task_template: TaskSpec { container_spec, ..TaskSpec::default() },
            mode: ServiceMode { replicated: Some(Replicated { replicas: Some(1) }), ..ServiceMode::default() },
            ..ServiceSpec::default()
        }
    }

    /// Carries an effect out that must succeed; gives the object's id.
    pub(crate) async fn apply(&self, effect: Effect) -> String {
        let applied = self.swarm.apply(&effect, &Material::default()).await;
        applied.unwrap_or_else(|error| panic!("{:?}: {error}", effect.object())).id
    }

    /// A service as the engine has it.
    pub(crate) async fn live(&self, id: &str) -> Arc<LiveService> {
        match self.swarm.inspect(WatchedKind::Service, id).await {
            Ok(Some(Listing::Services(mut services))) => services.remove(0),
            other => panic!("no service {id}: {other:?}"),
        }
    }

    /// Changes a service. The Swarm itself writes to a new one for a moment, so a conflict is a reason to look again.
    pub(crate) async fn update(&self, id: &str, change: impl Fn(&mut ServiceSpec)) -> Arc<LiveService> {
        let updated = tokio::time::timeout(PATIENCE, async {
            loop {
                let live = self.live(id).await;
                let mut spec = live.spec.clone();
                change(&mut spec);
                let effect = Effect::UpdateService { id: id.to_owned(), version: live.version, spec };
                match self.swarm.apply(&effect, &Material::default()).await {
                    Ok(applied) => return assert_eq!(applied.id, id),
                    Err(SwarmError::Conflict { .. }) => {}
                    Err(error) => panic!("{:?}: {error}", effect.object()),
                }
            }
        });
        updated.await.expect("the Swarm leaves the service alone at last");
        self.live(id).await
    }

    /// Waits until the tasks of a service are as wanted. Tasks have no events, so this looks again and again.
    pub(crate) async fn tasks(&self, service: &str, wanted: impl Fn(&[Arc<Task>]) -> bool) -> Vec<Arc<Task>> {
        let filter = TaskFilter::Services(vec![service.to_owned()]);
        let mut seen = Vec::new();
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                seen = self.swarm.tasks(&filter).await.expect("tasks can be listed");
                if wanted(&seen) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let in_time = waited.await.is_ok();
        assert!(in_time, "the tasks of {service} do not become what is wanted: {seen:#?}");
        seen
    }
}

/// A connection of one's own.
pub(crate) fn connect() -> Arc<dyn Swarm> {
    Arc::new(DockerSwarm::new(&[endpoint()], DockerOptions::default()).expect("DOCKER_HOST is an address"))
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.real {
            return;
        }
        let prefix = self.prefix.clone();
        let swept = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(sweep(&prefix))
        });
        let swept = swept.join();
        if !std::thread::panicking() {
            assert!(swept.is_ok_and(|clean| clean), "objects named {}… are left on the engine", self.prefix);
        }
    }
}

/// Removes everything whose name begins so; services first. True when nothing is left.
async fn sweep(prefix: &str) -> bool {
    let swarm = connect();
    let all = [WatchedKind::Service, WatchedKind::Secret, WatchedKind::Config, WatchedKind::Network];
    let swept = tokio::time::timeout(PATIENCE, async {
        loop {
            let mut left = Vec::new();
            for kind in all {
                match swarm.list(kind).await {
                    Ok(listing) => {
                        left.extend(objects(&listing).into_iter().filter(|(it, _)| it.name.starts_with(prefix)))
                    }
                    Err(_) => return false,
                }
            }
            if left.is_empty() {
                return true;
            }
            for (object, id) in left {
                // What is still in use, by tasks that have not ended yet, is tried again.
                let _ = swarm.apply(&Effect::Remove { object, id }, &Material::default()).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    swept.await.unwrap_or(false)
}

/// The objects of a listing, with their ids; nodes are none of ours.
pub(crate) fn objects(listing: &Listing) -> Vec<(ObjectRef, String)> {
    match listing {
        Listing::Services(it) => {
            it.iter().map(|it| (ObjectRef::new(ObjectKind::Service, &it.spec.name), it.id.clone())).collect()
        }
        Listing::Networks(it) => {
            it.iter().map(|it| (ObjectRef::new(ObjectKind::Network, &it.name), it.id.clone())).collect()
        }
        Listing::Configs(it) => {
            it.iter().map(|it| (ObjectRef::new(ObjectKind::Config, &it.name), it.id.clone())).collect()
        }
        Listing::Secrets(it) => {
            it.iter().map(|it| (ObjectRef::new(ObjectKind::Secret, &it.name), it.id.clone())).collect()
        }
        Listing::Nodes(_) => Vec::new(),
    }
}
