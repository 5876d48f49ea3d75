//! The figures themselves.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use crate::domain::{Deployment, DeploymentPhase, DriftPolicy, EnvironmentName, FailureClass, VersionSource};

type Labels = Vec<(&'static str, Cow<'static, str>)>;
type Counters = Family<Labels, Counter>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// Bounds for what takes a moment, in seconds.
const MOMENTS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0];
/// Bounds for what takes its time, in seconds.
const WHILES: [f64; 12] = [0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

fn moments() -> Histogram {
    Histogram::new(MOMENTS)
}

fn whiles() -> Histogram {
    Histogram::new(WHILES)
}

/// How one look at a stack ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It came to its end.
    Done,
    /// Somebody else wrote a record meanwhile.
    Conflict,
    /// It broke off.
    Failed,
    /// It took too long, and was broken off.
    TimedOut,
    /// A defect.
    Panicked,
}

/// The figures of one process. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Meters {
    kept: Arc<Kept>,
}

struct Kept {
    registry: Registry,
    names: Vec<String>,
    queue_wait: Histograms,
    queue_work: Histograms,
    reconciles: Counters,
    reconcile_errors: Counters,
    engine_calls: Counters,
    engine_seconds: Histograms,
    git_calls: Counters,
    git_seconds: Histograms,
    registry_calls: Counters,
    registry_seconds: Histograms,
    deployments: Counters,
    desired_to_converged: Histograms,
    rollbacks: Counters,
    rollback_seconds: Histograms,
    drift: Counters,
    subscribers: Gauge,
    commits: Counters,
    commit_seconds: Histograms,
    sync_seconds: Histogram,
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

impl Default for Meters {
    fn default() -> Self {
        Self::new()
    }
}

/// Registers under a name, and remembers it.
struct Shelf {
    registry: Registry,
    names: Vec<String>,
}

impl Shelf {
    fn put<M: Metric + Clone>(&mut self, name: &str, samples: &[&str], help: &str, metric: M) -> M {
        self.registry.register(name, help, metric.clone());
        self.names.extend(samples.iter().map(|sample| format!("skep_{name}{sample}")));
        metric
    }

    fn counters(&mut self, name: &str, help: &str) -> Counters {
        self.put(name, &["_total"], help, Counters::default())
    }

    fn histograms(&mut self, name: &str, help: &str, of: fn() -> Histogram) -> Histograms {
        self.put(name, &["_bucket", "_sum", "_count"], help, Histograms::new_with_constructor(of))
    }
}

impl Meters {
    /// Figures that begin at nothing.
    #[must_use]
    pub fn new() -> Self {
        let mut shelf = Shelf { registry: Registry::with_prefix("skep"), names: Vec::new() };
        let queue_wait =
            shelf.histograms("queue_wait_seconds", "How long a stack that was due for a look waited for it", moments);
        let queue_work = shelf.histograms("queue_work_seconds", "How long a look at a stack took", moments);
        let reconciles = shelf.counters("reconciles", "Looks at a stack, by how they ended");
        let reconcile_errors =
            shelf.counters("reconcile_errors", "Looks at a stack that broke off, by the kind of error");
        let engine_calls = shelf.counters("engine_calls", "Calls to the engine of an environment, by their outcome");
        let engine_seconds =
            shelf.histograms("engine_call_seconds", "How long calls to the engine of an environment took", moments);
        let git_calls = shelf.counters("git_calls", "Questions to a repository, by their outcome");
        let git_seconds = shelf.histograms("git_call_seconds", "How long questions to a repository took", moments);
        let registry_calls = shelf.counters("registry_calls", "Tags looked up in a registry, by the outcome");
        let registry_seconds =
            shelf.histograms("registry_call_seconds", "How long looking a tag up in a registry took", moments);
        let deployments =
            shelf.counters("deployments", "Deployments that ended, by what set them off and the phase they ended in");
        let desired_to_converged = shelf.histograms(
            "desired_to_converged_seconds",
            "From when a version was asked for until its own tasks ran",
            whiles,
        );
        let rollbacks =
            shelf.counters("rollbacks", "Ways back to the last good version that were begun, by the failure's class");
        let rollback_seconds = shelf.histograms(
            "rollback_seconds",
            "From when a version failed until the last good one ran again",
            whiles,
        );
        let drift = shelf.counters("drift", "Changes on a Swarm that nobody declared, by what was done about them");
        let subscribers =
            shelf.put("subscribers", &[""], "Subscriptions and logs that are being followed", Gauge::default());
        let commits = shelf.counters("store_commits", "Transactions of the store, by their outcome");
        let commit_seconds =
            shelf.histograms("store_commit_seconds", "How long a transaction took until it was durable", moments);
        let samples = ["_bucket", "_sum", "_count"];
        let help = "How long syncing a group of transactions to the disk took";
        let sync_seconds = shelf.put("store_sync_seconds", &samples, help, moments());
        let Shelf { registry, names } = shelf;
        let kept = Kept {
            registry,
            names,
            queue_wait,
            queue_work,
            reconciles,
            reconcile_errors,
            engine_calls,
            engine_seconds,
            git_calls,
            git_seconds,
            registry_calls,
            registry_seconds,
            deployments,
            desired_to_converged,
            rollbacks,
            rollback_seconds,
            drift,
            subscribers,
            commits,
            commit_seconds,
            sync_seconds,
        };
        Self { kept: Arc::new(kept) }
    }

    /// The figures as OpenMetrics text, without the end mark.
    ///
    /// # Errors
    /// None that memory does not cause.
    pub fn write(&self, text: &mut String) -> fmt::Result {
        encode_registry(text, &self.kept.registry)
    }

    /// The names of all samples there can be, with the prefix.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.kept.names
    }

    /// Has an environment's series begin at nothing, so that the first of a kind is an increase.
    pub fn environment(&self, name: &EnvironmentName) {
        let kept = &self.kept;
        let of = environment(name);
        for family in [&kept.queue_wait, &kept.queue_work, &kept.desired_to_converged, &kept.rollback_seconds] {
            drop(family.get_or_create(&of));
        }
        for look in [Look::Done, Look::Failed] {
            drop(kept.reconciles.get_or_create(&with(name, "outcome", format!("{look:?}"))));
        }
        for action in ["Corrected", "Reported"] {
            drop(kept.drift.get_or_create(&with(name, "action", action)));
        }
        for class in [FailureClass::ExitCode, FailureClass::HealthCheck, FailureClass::ImageMissing] {
            drop(kept.rollbacks.get_or_create(&with(name, "class", class.to_string())));
        }
    }

    /// A stack waited this long for a look, and the look took that long.
    pub fn looked(&self, name: &EnvironmentName, waited: Duration, worked: Duration, how: Look) {
        let of = environment(name);
        self.kept.queue_wait.get_or_create(&of).observe(waited.as_secs_f64());
        self.kept.queue_work.get_or_create(&of).observe(worked.as_secs_f64());
        self.kept.reconciles.get_or_create(&with(name, "outcome", format!("{how:?}"))).inc();
    }

    /// A look broke off with an error of this kind.
    pub fn look_failed(&self, name: &EnvironmentName, class: &'static str) {
        self.kept.reconcile_errors.get_or_create(&with(name, "class", class)).inc();
    }

    /// A call to an engine was answered.
    pub fn engine_call(&self, name: &EnvironmentName, call: &'static str, outcome: &'static str, took: Duration) {
        let mut of = with(name, "call", call);
        self.kept.engine_seconds.get_or_create(&of).observe(took.as_secs_f64());
        of.push(("outcome", outcome.into()));
        self.kept.engine_calls.get_or_create(&of).inc();
    }

    /// A registry was asked: by the engine of an environment, or else by Skep itself.
    pub fn registry_call(&self, name: Option<&EnvironmentName>, outcome: &'static str, took: Duration) {
        let mut of: Labels = vec![("environment", name.map(ToString::to_string).unwrap_or_default().into())];
        self.kept.registry_seconds.get_or_create(&of).observe(took.as_secs_f64());
        of.push(("outcome", outcome.into()));
        self.kept.registry_calls.get_or_create(&of).inc();
    }

    /// A repository was asked.
    pub fn git_call(&self, call: &'static str, outcome: &'static str, took: Duration) {
        let mut of: Labels = vec![("call", call.into())];
        self.kept.git_seconds.get_or_create(&of).observe(took.as_secs_f64());
        of.push(("outcome", outcome.into()));
        self.kept.git_calls.get_or_create(&of).inc();
    }

    /// A deployment has come to its end.
    pub fn ended(&self, deployment: &Deployment) {
        let name = &deployment.stack.environment;
        let mut of = with(name, "trigger", format!("{:?}", deployment.origin.trigger));
        of.push(("phase", format!("{:?}", deployment.phase).into()));
        self.kept.deployments.get_or_create(&of).inc();
        let Some(took) = deployment.finished_at.map(|at| at.duration_since(deployment.created_at)) else { return };
        if deployment.phase != DeploymentPhase::Converged {
            return;
        }
        if deployment.rollback_of.is_some() {
            self.kept.rollback_seconds.get_or_create(&environment(name)).observe(seconds(took));
        } else if matches!(deployment.version.source, VersionSource::Spec(_)) {
            self.kept.desired_to_converged.get_or_create(&environment(name)).observe(seconds(took));
        }
    }

    /// The way back from a failed deployment has begun.
    pub fn rolls_back(&self, failed: &Deployment) {
        let class = failed.failure.as_ref().map_or_else(|| "Cancelled".to_owned(), |it| it.class.to_string());
        self.kept.rollbacks.get_or_create(&with(&failed.stack.environment, "class", class)).inc();
    }

    /// Drift was found.
    pub fn drifted(&self, name: &EnvironmentName, policy: DriftPolicy) {
        let action = match policy {
            DriftPolicy::Correct => "Corrected",
            DriftPolicy::Report => "Reported",
        };
        self.kept.drift.get_or_create(&with(name, "action", action)).inc();
    }

    /// Somebody follows something, until the guard is dropped.
    #[must_use]
    pub fn subscriber(&self) -> SubscriberGuard {
        self.kept.subscribers.inc();
        SubscriberGuard(self.kept.subscribers.clone())
    }

    /// A transaction was answered.
    pub fn committed(&self, outcome: &'static str, took: Duration) {
        let of: Labels = vec![("outcome", outcome.into())];
        self.kept.commits.get_or_create(&of).inc();
        self.kept.commit_seconds.get_or_create(&of).observe(took.as_secs_f64());
    }

    /// A group of transactions was synced to the disk.
    pub fn synced(&self, took: Duration) {
        self.kept.sync_seconds.observe(took.as_secs_f64());
    }
}

/// Counts as a subscriber for as long as it lives.
#[derive(Debug)]
pub struct SubscriberGuard(Gauge);

impl Drop for SubscriberGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn environment(name: &EnvironmentName) -> Labels {
    vec![("environment", name.to_string().into())]
}

fn with(name: &EnvironmentName, label: &'static str, value: impl Into<Cow<'static, str>>) -> Labels {
    vec![("environment", name.to_string().into()), (label, value.into())]
}

fn seconds(span: SignedDuration) -> f64 {
    span.as_secs_f64().max(0.0)
}
