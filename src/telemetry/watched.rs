//! Ports whose calls are counted and timed: each passes everything on to the real one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{Meters, trace};
use crate::domain::{
    Applied, Effect, Environment, EnvironmentName, GitSource, Kept, Material, ObjectKind, Repository, Revision, Task,
    registry_of,
};
use crate::ports::{
    BoxFuture, BoxStream, CommitInfo, Committed, EngineCheck, EngineInfo, EngineLog, Entry, FileSet, ImageError,
    Listing, LogRange, Registry, RegistryError, ResolvedImage, Scan, Source, SourceError, Store, StoreError, Swarm,
    SwarmConnector, SwarmError, SwarmEvent, Tags, TaskFilter, Transaction, Watched, WatchedKind,
};

/// Connects Swarms whose calls are counted.
pub struct WatchedConnector {
    inner: Arc<dyn SwarmConnector>,
    meters: Meters,
}

impl WatchedConnector {
    /// Counts the calls of all Swarms that `inner` connects.
    #[must_use]
    pub fn new(inner: Arc<dyn SwarmConnector>, meters: Meters) -> Self {
        Self { inner, meters }
    }
}

impl SwarmConnector for WatchedConnector {
    fn connect(&self, environment: &Environment) -> Result<Arc<dyn Swarm>, SwarmError> {
        self.meters.environment(&environment.name);
        let inner = self.inner.connect(environment)?;
        Ok(Arc::new(WatchedSwarm { inner, name: environment.name.clone(), meters: self.meters.clone() }))
    }
}

struct WatchedSwarm {
    inner: Arc<dyn Swarm>,
    name: EnvironmentName,
    meters: Meters,
}

impl WatchedSwarm {
    async fn timed<T>(&self, call: Call, asked: BoxFuture<'_, Result<T, SwarmError>>) -> Result<T, SwarmError> {
        let (begun, at) = (Instant::now(), SystemTime::now());
        let answer = asked.await;
        self.meters.engine_call(&self.name, call.name, outcome(&answer), begun.elapsed());
        let mut on = vec![("skep.environment", self.name.to_string()), ("skep.call", call.name.to_owned())];
        on.extend(call.object.map(|object| ("skep.object", object)));
        trace::called("engine", at, answer.as_ref().err().map(swarm_error), &on);
        answer
    }
}

/// A call to an engine.
struct Call {
    name: &'static str,
    /// The name of the object it is about, if it is about one.
    object: Option<String>,
}

impl From<&'static str> for Call {
    fn from(name: &'static str) -> Self {
        Self { name, object: None }
    }
}

/// The kind of an engine's error, as a stable word.
pub(crate) fn swarm_error(error: &SwarmError) -> &'static str {
    match error {
        SwarmError::Unreachable { .. } => "Unreachable",
        SwarmError::NotAManager { .. } => "NotAManager",
        SwarmError::NoQuorum { .. } => "NoQuorum",
        SwarmError::Conflict { .. } => "Conflict",
        SwarmError::Exists { .. } => "Exists",
        SwarmError::NotFound { .. } => "NotFound",
        SwarmError::InUse { .. } => "InUse",
        SwarmError::Refused { .. } => "Refused",
        SwarmError::Engine { .. } => "Engine",
    }
}

fn outcome<T>(answer: &Result<T, SwarmError>) -> &'static str {
    answer.as_ref().map_or_else(swarm_error, |_| "Ok")
}

fn image_outcome<T>(answer: &Result<T, ImageError>) -> &'static str {
    match answer {
        Ok(_) => "Ok",
        Err(ImageError::Missing(_)) => "Missing",
        Err(ImageError::Denied(_)) => "Denied",
        Err(ImageError::Busy { .. }) => "Busy",
        Err(ImageError::Engine(_)) => "Engine",
        Err(ImageError::Unreachable(_)) => "Unreachable",
    }
}

fn registry_outcome<T>(answer: &Result<T, RegistryError>) -> &'static str {
    match answer {
        Ok(_) => "Ok",
        Err(RegistryError::Unreachable { .. }) => "Unreachable",
        Err(RegistryError::Busy { .. }) => "Busy",
        Err(RegistryError::Denied { .. }) => "Denied",
        Err(RegistryError::Credential { .. }) => "Credential",
        Err(RegistryError::NotFound { .. }) => "Missing",
        Err(RegistryError::Forbidden { .. }) => "Forbidden",
        Err(RegistryError::TooLarge { .. }) => "TooLarge",
    }
}

fn source_outcome<T>(answer: &Result<T, SourceError>) -> &'static str {
    match answer {
        Ok(_) => "Ok",
        Err(SourceError::Unreachable { .. }) => "Unreachable",
        Err(SourceError::Unauthorized { .. }) => "Unauthorized",
        Err(SourceError::Credential { .. }) => "Credential",
        Err(SourceError::HostKey { .. }) => "HostKey",
        Err(SourceError::NotFound { .. }) => "NotFound",
        Err(SourceError::NoSuchRef { .. }) => "NoSuchRef",
        Err(SourceError::Forbidden { .. }) => "Forbidden",
        Err(SourceError::TooLarge { .. }) => "TooLarge",
        Err(SourceError::Local { .. }) => "Local",
    }
}

fn store_outcome<T>(answer: &Result<T, StoreError>) -> &'static str {
    match answer {
        Ok(_) => "Ok",
        Err(StoreError::Conflict { .. }) => "Conflict",
        Err(_) => "Failed",
    }
}

/// A call as a stable word.
fn call_of(effect: &Effect) -> &'static str {
    match effect {
        Effect::CreateNetwork(_) => "CreateNetwork",
        Effect::CreateConfig(_) => "CreateConfig",
        Effect::CreateSecret(_) => "CreateSecret",
        Effect::CreateService(_) => "CreateService",
        Effect::UpdateService { .. } => "UpdateService",
        Effect::Relabel { .. } => "Relabel",
        Effect::Own { .. } => "Own",
        Effect::Remove { object, .. } => match object.kind {
            ObjectKind::Network => "RemoveNetwork",
            ObjectKind::Config => "RemoveConfig",
            ObjectKind::Secret => "RemoveSecret",
            ObjectKind::Service => "RemoveService",
        },
    }
}

fn list_of(kind: WatchedKind) -> &'static str {
    match kind {
        WatchedKind::Service => "ListServices",
        WatchedKind::Network => "ListNetworks",
        WatchedKind::Config => "ListConfigs",
        WatchedKind::Secret => "ListSecrets",
        WatchedKind::Node => "ListNodes",
    }
}

impl Swarm for WatchedSwarm {
    fn info(&self) -> BoxFuture<'_, Result<EngineInfo, SwarmError>> {
        self.timed("Info".into(), self.inner.info()).boxed()
    }

    fn list(&self, kind: WatchedKind) -> BoxFuture<'_, Result<Listing, SwarmError>> {
        self.timed(list_of(kind).into(), self.inner.list(kind)).boxed()
    }

    fn inspect<'a>(&'a self, kind: WatchedKind, id: &'a str) -> BoxFuture<'a, Result<Option<Listing>, SwarmError>> {
        self.timed("Inspect".into(), self.inner.inspect(kind, id)).boxed()
    }

    fn tasks<'a>(&'a self, filter: &'a TaskFilter) -> BoxFuture<'a, Result<Vec<Arc<Task>>, SwarmError>> {
        self.timed("ListTasks".into(), self.inner.tasks(filter)).boxed()
    }

    fn apply<'a>(&'a self, effect: &'a Effect, material: &'a Material) -> BoxFuture<'a, Result<Applied, SwarmError>> {
        let call = Call { name: call_of(effect), object: Some(effect.object().name) };
        self.timed(call, self.inner.apply(effect, material)).boxed()
    }

    fn events(&self) -> BoxFuture<'_, Result<BoxStream<'static, Result<SwarmEvent, SwarmError>>, SwarmError>> {
        self.timed("Events".into(), self.inner.events()).boxed()
    }

    fn resolve<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<ResolvedImage, ImageError>> {
        async move {
            let (begun, at) = (Instant::now(), SystemTime::now());
            let answer = self.inner.resolve(image).await;
            let outcome = image_outcome(&answer);
            self.meters.registry_call(Some(&self.name), outcome, begun.elapsed());
            let on = [("skep.environment", self.name.to_string()), ("skep.registry", registry_of(image).to_owned())];
            trace::called("registry", at, answer.is_err().then_some(outcome), &on);
            answer
        }
        .boxed()
    }

    fn task_logs<'a>(&'a self, task_id: &'a str, tail: u32) -> BoxFuture<'a, Result<Vec<EngineLog>, SwarmError>> {
        self.timed("TaskLogs".into(), self.inner.task_logs(task_id, tail)).boxed()
    }

    fn task_health<'a>(
        &'a self,
        task_id: &'a str,
        last: usize,
    ) -> BoxFuture<'a, Result<Option<Vec<EngineCheck>>, SwarmError>> {
        self.timed("TaskHealth".into(), self.inner.task_health(task_id, last)).boxed()
    }

    fn service_log(&self, service_id: &str, range: &LogRange) -> BoxStream<'static, Result<EngineLog, SwarmError>> {
        self.inner.service_log(service_id, range)
    }

    fn clock(&self) -> BoxFuture<'_, Result<Option<Timestamp>, SwarmError>> {
        self.timed("Clock".into(), self.inner.clock()).boxed()
    }
}

/// Repositories whose questions are counted.
pub struct WatchedSource {
    inner: Arc<dyn Source>,
    meters: Meters,
}

impl WatchedSource {
    /// Counts the calls to `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Source>, meters: Meters) -> Self {
        Self { inner, meters }
    }

    async fn timed<T>(
        &self,
        call: &'static str,
        asked: BoxFuture<'_, Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let (begun, at) = (Instant::now(), SystemTime::now());
        let answer = asked.await;
        let outcome = source_outcome(&answer);
        self.meters.git_call(call, outcome, begun.elapsed());
        trace::called("git", at, answer.is_err().then_some(outcome), &[("skep.call", call.to_owned())]);
        answer
    }
}

impl Source for WatchedSource {
    fn resolve<'a>(&'a self, source: &'a GitSource) -> BoxFuture<'a, Result<Revision, SourceError>> {
        self.timed("Resolve", self.inner.resolve(source)).boxed()
    }

    fn refs<'a>(&'a self, source: &'a GitSource) -> BoxFuture<'a, Result<BTreeMap<String, String>, SourceError>> {
        self.timed("Refs", self.inner.refs(source)).boxed()
    }

    fn read<'a>(
        &'a self,
        source: &'a GitSource,
        revision: &'a Revision,
        paths: &'a BTreeSet<String>,
    ) -> BoxFuture<'a, Result<FileSet, SourceError>> {
        self.timed("Read", self.inner.read(source, revision, paths)).boxed()
    }

    fn files<'a>(
        &'a self,
        source: &'a GitSource,
        revision: &'a Revision,
        folder: &'a str,
    ) -> BoxFuture<'a, Result<BTreeSet<String>, SourceError>> {
        self.timed("Files", self.inner.files(source, revision, folder)).boxed()
    }

    fn commit_info<'a>(
        &'a self,
        source: &'a GitSource,
        revision: &'a Revision,
    ) -> BoxFuture<'a, Result<CommitInfo, SourceError>> {
        self.timed("CommitInfo", self.inner.commit_info(source, revision)).boxed()
    }
}

/// Registries whose answers are counted: those that Skep asks itself, for no environment.
pub struct WatchedRegistry {
    inner: Arc<dyn Registry>,
    meters: Meters,
}

impl WatchedRegistry {
    /// Counts the calls to `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Registry>, meters: Meters) -> Self {
        Self { inner, meters }
    }

    async fn timed<T>(
        &self,
        call: &'static str,
        repository: &Repository,
        asked: BoxFuture<'_, Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        let (begun, at) = (Instant::now(), SystemTime::now());
        let answer = asked.await;
        let outcome = registry_outcome(&answer);
        self.meters.registry_call(None, outcome, begun.elapsed());
        let on = [("skep.registry", repository.host.clone()), ("skep.call", call.to_owned())];
        trace::called("registry", at, answer.is_err().then_some(outcome), &on);
        answer
    }
}

impl Registry for WatchedRegistry {
    fn tags<'a>(
        &'a self,
        repository: &'a Repository,
        known: Option<&'a Tags>,
    ) -> BoxFuture<'a, Result<Tags, RegistryError>> {
        self.timed("Tags", repository, self.inner.tags(repository, known)).boxed()
    }

    fn digest<'a>(
        &'a self,
        repository: &'a Repository,
        tag: &'a str,
        known: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<String>, RegistryError>> {
        self.timed("Digest", repository, self.inner.digest(repository, tag, known)).boxed()
    }
}

/// A store whose transactions are counted.
pub struct WatchedStore {
    inner: Arc<dyn Store>,
    meters: Meters,
}

impl WatchedStore {
    /// Counts the transactions of `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, meters: Meters) -> Self {
        Self { inner, meters }
    }
}

impl Store for WatchedStore {
    fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.inner.get(key)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Entry>, StoreError> {
        self.inner.scan(scan)
    }

    fn revision(&self) -> u64 {
        self.inner.revision()
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Committed, StoreError>> {
        async move {
            let begun = Instant::now();
            let answer = self.inner.commit(transaction).await;
            self.meters.committed(store_outcome(&answer), begun.elapsed());
            answer
        }
        .boxed()
    }

    fn watch(&self) -> BoxStream<'static, Watched> {
        self.inner.watch()
    }

    fn keep(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<Kept, StoreError>> {
        self.inner.keep(bytes)
    }

    fn kept(&self, name: &Kept) -> Result<Vec<u8>, StoreError> {
        self.inner.kept(name)
    }

    fn collect(&self, wanted: &BTreeSet<Kept>, min_age_seconds: u64) -> Result<u64, StoreError> {
        self.inner.collect(wanted, min_age_seconds)
    }

    fn room(&self) -> Result<Option<(u64, u64)>, StoreError> {
        self.inner.room()
    }

    fn broken(&self) -> Option<StoreError> {
        self.inner.broken()
    }

    fn export(&self) -> Result<Box<dyn std::io::Read + Send>, StoreError> {
        self.inner.export()
    }
}
