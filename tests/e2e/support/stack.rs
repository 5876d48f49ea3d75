//! A test's own stack: its repository, its manifest, and the words of the scenarios.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::compose::{Web, compose};
use super::docker;
use super::graphql::Client;
use super::hive::Stay;
use super::watch::Watch;
use crate::git_http::Repo;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A name that nothing else on the Swarm has.
pub(crate) fn unique(topic: &str) -> String {
    format!("e2e-{topic}-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A stack with a repository of its own. Removed, with all that is left of it, when dropped.
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) client: Client,
    pub(crate) watch: Watch,
    repo: Repo,
    // The last to go: the stack is deleted through it.
    pub(crate) hive: Stay,
}

impl Subject {
    /// Declared nowhere yet.
    pub(crate) fn new(hive: Stay, topic: &str) -> Self {
        let name = unique(topic);
        let repo = Repo::create(hive.repositories(), &name);
        let client = hive.client();
        let watch = Watch::stack(&client, &name);
        Self { name, client, watch, repo, hive }
    }

    /// Applied, and converged on the good release `1`.
    pub(crate) async fn running(hive: Stay, topic: &str) -> Self {
        let mut subject = Self::new(hive, topic);
        let first = subject.push("1", Web::Good);
        subject.apply().await;
        subject.until_converged_on(&first).await;
        subject.assert_runs("1");
        subject
    }

    /// Commits a release to the branch that the stack follows; gives the commit.
    pub(crate) fn push(&self, release: &str, web: Web) -> String {
        self.push_text(&compose(release, web))
    }

    /// As [`Subject::push`], with any text.
    pub(crate) fn push_text(&self, text: &str) -> String {
        self.repo.commit("main", &[("docker-stack.yml", text)])
    }

    /// The address of its repository.
    pub(crate) fn git_url(&self) -> String {
        self.hive.git.url(&self.name)
    }

    /// Its manifest.
    pub(crate) fn manifest(&self) -> String {
        format!(
            "kind: Stack\nname: {}\nsource: {{ git: {:?}, ref: main, poll: 1s }}\ncompose: [docker-stack.yml]\n\
             policy: {{ progressDeadline: 60s, totalDeadline: 4m, monitor: 1s }}\n",
            self.name,
            self.git_url()
        )
    }

    /// Applies its manifest; gives the payload.
    pub(crate) async fn apply(&self) -> Value {
        let input = json!({ "manifest": self.manifest() });
        self.client.mutate("applyStack", &input).await.unwrap_or_else(|errors| panic!("{errors:#?}"))
    }

    /// Does something to it by mutation; gives the payload.
    pub(crate) async fn act(&self, mutation: &str, more: Value) -> Value {
        self.client.act(mutation, &self.name, more).await
    }

    /// Waits until it runs this commit and is content.
    pub(crate) async fn until_converged_on(&mut self, commit: &str) -> Value {
        let wanted = |it: &Value| it["phase"] == "Converged" && of_commit(&it["live"], commit);
        self.watch.until(&format!("converged on {commit}"), 120, wanted).await
    }

    /// Waits until it is back on an older version while the desired one is held.
    pub(crate) async fn until_rolled_back(&mut self, held: &str) -> Value {
        let wanted = |it: &Value| {
            it["phase"] == "RolledBack"
                && it["held"].as_array().is_some_and(|all| all.iter().any(|h| of_commit(h, held)))
        };
        self.watch.until(&format!("rolled back from {held}"), 90, wanted).await
    }

    /// Waits until there is a deployment of this commit; gives it.
    pub(crate) async fn until_deployment_of(&mut self, commit: &str) -> Value {
        let wanted = |it: &Value| of_commit(&it["desired"], commit);
        if !wanted(&self.watch.last) {
            self.watch.until(&format!("asked for {commit}"), 60, wanted).await;
        }
        let all = self.client.deployments(&self.name).await;
        let found = all.iter().rfind(|it| of_commit(it, commit) && it["rollbackOf"].is_null());
        found.unwrap_or_else(|| panic!("no deployment of {commit}: {all:#?}")).clone()
    }

    /// The full name of one of its services.
    pub(crate) fn service(&self, service: &str) -> String {
        format!("{}_{service}", self.name)
    }

    /// Every service has this release in its spec, and every wanted task runs it.
    pub(crate) fn assert_runs(&self, release: &str) {
        for (service, replicas) in [("web", 2), ("worker", 1)] {
            let name = self.service(service);
            let spec = docker::service(&name).unwrap_or_else(|| panic!("{name} is not there"));
            assert_eq!(docker::variable(&spec, "RELEASE").as_deref(), Some(release), "spec of {name}");
            assert_eq!(docker::running_releases(&name), vec![release; replicas], "tasks of {name}");
        }
    }

    /// What would change if anybody wrote to its services.
    pub(crate) fn versions(&self) -> Vec<(String, u64)> {
        docker::of_stack("service", &self.name)
            .into_iter()
            .map(|name| {
                let version = docker::version_of(&name);
                (name, version)
            })
            .collect()
    }

    /// Makes Skep look at the stack once more, and waits until it has: a foreign label on the worker is gone again.
    pub(crate) fn nudge(&self) {
        let worker = self.service("worker");
        docker::docker(&["service", "update", "--quiet", "--detach", "--label-add", "e2e.nudge=1", &worker]);
        docker::until_service(&worker, "without the foreign label", 30, |it| {
            it.is_some_and(|it| it["Spec"]["Labels"].get("e2e.nudge").is_none())
        });
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // First its keeper lets go of it, or it would be healed while it is removed.
        self.hive.cli(&["delete", &self.name, "--yes"]);
        docker::remove_stack(&self.name);
    }
}

/// Whether something (a pointer, a deployment, a held version) is about this commit.
pub(crate) fn of_commit(it: &Value, commit: &str) -> bool {
    it["revision"].as_str().is_some_and(|revision| revision.contains(commit))
}
