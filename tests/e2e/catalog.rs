//! Stacks that are declared by the files of a repository: added, changed, renamed and deleted by push alone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::git_http::{Entry, Repo};
use crate::support::docker;
use crate::support::hive::{Hive, Stay};
use crate::support::stack::unique;
use crate::support::watch::Watch;

/// As many stacks as a small team has.
const STACKS: usize = 50;

/// A catalog with its repository. Deletes its stacks, and itself, when dropped.
struct Platform<'a> {
    hive: &'a Hive,
    repo: Repo,
    name: String,
    files: BTreeMap<String, String>,
    pushed: BTreeSet<String>,
}

impl<'a> Platform<'a> {
    fn new(hive: &'a Hive) -> Self {
        let name = unique("platform");
        let repo = Repo::create(hive.repositories(), &name);
        Self { hive, repo, name, files: BTreeMap::new(), pushed: BTreeSet::new() }
    }

    fn stack(&self, n: usize) -> String {
        format!("{}-{n:02}", self.name)
    }

    /// Puts a stack into its file. Most ask for no task: what is looked at is who is declared, not what the engine can carry.
    fn write(&mut self, file: usize, stack: usize, release: &str) {
        let replicas = usize::from(stack == 0);
        let text = format!(
            "kind: Stack\nname: {}\npolicy: {{ monitor: 1s }}\ninline: |\n  services:\n    web:\n      image: skep-example:1\n      \
             command: [serve]\n      environment: {{ RELEASE: \"{release}\" }}\n      deploy: {{ replicas: {replicas} }}\n",
            self.stack(stack)
        );
        self.files.insert(format!("stacks/{file:02}.yml"), text);
    }

    /// Commits the files as they are now; those that were there before and are not are deleted.
    fn push(&mut self) -> String {
        let now = self.files.keys().cloned().collect();
        let gone: Vec<String> = self.pushed.difference(&now).cloned().collect();
        let files = self.files.iter().map(|(file, text)| (file.as_str(), Entry::Text(text)));
        let entries: Vec<_> = files.chain(gone.iter().map(|file| (file.as_str(), Entry::Gone))).collect();
        let commit = self.repo.commit_entries("main", &entries);
        self.pushed = now;
        commit
    }

    async fn apply(&self, prune_limit: usize) {
        self.apply_polled(prune_limit, "1s").await;
    }

    async fn apply_polled(&self, prune_limit: usize, poll: &str) {
        let manifest = format!(
            "kind: Catalog\nname: {0}\nsource: {{ git: {1:?}, ref: main, path: stacks/*.yml, poll: {poll} }}\n\
             pruneLimit: {prune_limit}\nallow: {{ names: [\"{0}-*\"] }}\n",
            self.name,
            self.hive.git.url(&self.name)
        );
        self.hive.client().mutate("applyStack", &json!({ "manifest": manifest })).await.unwrap();
    }

    async fn known(&self) -> Value {
        let document = "{ catalogs { name inSync revision stacks { name file } broken { file message } kept error } }";
        let all = self.hive.client().query(document).await;
        let found = all["catalogs"].as_array().unwrap().iter().find(|it| it["name"] == self.name.as_str());
        found.cloned().unwrap_or_default()
    }

    /// Waits until a stack runs a release, or asks for none of it, and is content.
    async fn until_at(&self, stack: usize, release: &str) {
        Watch::stack(&self.hive.client(), &self.stack(stack)).until_phase("Converged", 180).await;
        let name = format!("{}_web", self.stack(stack));
        let is = |it: &Value| docker::variable(it, "RELEASE").as_deref() == Some(release);
        docker::until_service(&name, &format!("at release {release}"), 60, |it| it.is_some_and(is));
    }
}

impl Drop for Platform<'_> {
    fn drop(&mut self) {
        self.hive.cli(&["catalog", "delete", &self.name]);
        let listed = self.hive.cli(&["get", "stacks", "-o", "name"]);
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let own: Vec<String> = listed
            .split_whitespace()
            .map(|it| it.rsplit('/').next().unwrap_or(it).to_owned())
            .filter(|it| it.starts_with(&self.name))
            .collect();
        std::thread::scope(|scope| {
            for part in own.chunks(own.len().div_ceil(8).max(1)) {
                let hive = self.hive;
                scope.spawn(move || {
                    for stack in part {
                        hive.cli(&["delete", stack, "--yes"]);
                        docker::remove_stack(stack);
                    }
                });
            }
        });
    }
}

#[tokio::test]
async fn a_catalog_of_fifty_stacks_is_changed_by_push_alone_and_through_a_kill() {
    let stay = Stay::alone().await;
    let mut platform = Platform::new(&stay);
    for n in 0..STACKS {
        platform.write(n, n, "1");
    }
    platform.push();
    platform.apply(5).await;
    for n in 0..STACKS {
        platform.until_at(n, "1").await;
    }
    let known = platform.known().await;
    assert_eq!((known["stacks"].as_array().unwrap().len(), &known["inSync"]), (STACKS, &json!(true)), "{known:#}");

    // One is changed, one added, one renamed, one deleted, and one broken, in one commit; then the power goes.
    platform.write(0, 0, "2");
    platform.write(STACKS, STACKS, "1");
    platform.write(2, STACKS + 1, "1");
    platform.files.remove("stacks/03.yml");
    platform.files.insert("stacks/04.yml".into(), "kind: Stack\nname: [\n".into());
    let commit = platform.push();
    stay.kill();
    stay.restart();
    platform.until_at(0, "2").await;
    platform.until_at(STACKS, "1").await;
    platform.until_at(STACKS + 1, "1").await;
    let known = platform.known().await;
    assert_eq!(known["revision"], commit.as_str(), "{known:#}");
    assert_eq!(known["broken"].as_array().unwrap().len(), 1, "{known:#}");
    assert_eq!(known["broken"][0]["file"], "stacks/04.yml");
    // The broken file could be where they have moved: they run on until it is mended.
    let kept = [2, 3].map(|n| format!("default/{}", platform.stack(n)));
    assert_eq!(known["kept"], json!(kept), "{known:#}");
    for kept in [2, 3] {
        assert!(docker::service(&format!("{}_web", platform.stack(kept))).is_some());
    }
    platform.write(4, 4, "1");
    platform.push();
    for gone in [2, 3] {
        let name = format!("{}_web", platform.stack(gone));
        docker::until_service(&name, "gone", 60, |it| it.is_none());
    }
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    let known = loop {
        let known = platform.known().await;
        if known["inSync"] == true && known["stacks"].as_array().unwrap().len() == STACKS {
            break known;
        }
        assert!(tokio::time::Instant::now() < end, "{known:#}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    let names: Vec<&str> = known["stacks"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    let client = stay.client();
    for untouched in [1, 4, 5, STACKS - 1] {
        let name = platform.stack(untouched);
        assert!(names.contains(&name.as_str()), "{name}");
        assert_eq!(client.stack(&name).await["generation"], 1, "{name}");
        assert_eq!(client.deployments(&name).await.len(), 1, "{name}");
    }
    let changed = client.deployments(&platform.stack(0)).await;
    assert_eq!(changed.len(), 2, "the change was not declared twice: {changed:#?}");
    assert_eq!(changed[0]["trigger"], "Catalog");

    // Nobody else changes what the repository says.
    let image = json!({ "ref": null, "variables": [{ "name": "A", "value": "1" }] });
    client.act("deployStack", &platform.stack(1), image).await;
    let refused =
        json!({ "stack": crate::support::graphql::stack_ref(&platform.stack(1)), "confirmName": platform.stack(1) });
    client.mutate("deleteStack", &refused).await.expect_err("it is the catalog's");

    // More than the limit are not deleted at once.
    platform.files.retain(|file, _| file.as_str() < "stacks/40.yml" || file == "stacks/50.yml");
    platform.files.remove("stacks/04.yml");
    let commit = platform.push();
    let synced = stay.cli(&["catalog", "sync", &platform.name]);
    assert!(synced.status.success(), "{}", String::from_utf8_lossy(&synced.stderr));
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    let known = loop {
        let known = platform.known().await;
        if known["revision"] == commit.as_str() {
            break known;
        }
        assert!(tokio::time::Instant::now() < end, "{known:#}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    assert_eq!((known["kept"].as_array().unwrap().len(), &known["broken"]), (11, &json!([])), "{known:#}");
    assert_eq!(stay.cli(&["catalog", "show", &platform.name]).status.code(), Some(1));
    assert!(docker::service(&format!("{}_web", platform.stack(45))).is_some());
}

#[tokio::test]
async fn a_bare_repository_tells_skep_of_a_push_by_its_own_hook() {
    let stay = Stay::together().await;
    let client = stay.client();
    let mut platform = Platform::new(&stay);
    platform.write(0, 0, "1");
    platform.push();
    // It is asked for once an hour: only the hook can make it look sooner.
    let hook = format!(
        "kind: Hook\nname: {0}\nprovider: Generic\nsecret: {{ value: \"correct horse\" }}\n\
         rules: [{{ when: 'after.size() == 40', catalogs: [\"{0}\"] }}]\n",
        platform.name
    );
    client.mutate("applyStack", &json!({ "manifest": hook })).await.unwrap();
    platform.apply_polled(5, "1h").await;
    platform.until_at(0, "1").await;

    let script = format!(
        "#!/bin/sh\nset -e\nread before after name\nbody=\"{{\\\"ref\\\":\\\"$name\\\",\\\"after\\\":\\\"$after\\\"}}\"\n\
         signature=$(printf %s \"$body\" | openssl dgst -sha256 -hmac 'correct horse' -hex | sed 's/.* //')\n\
         curl -sS --fail-with-body -d \"$body\" -H 'Content-Type: application/json' -H \"X-Skep-Delivery: $after\" \\\n\
         -H \"X-Skep-Signature-256: sha256=$signature\" http://{}/hooks/{}\n",
        stay.address, platform.name
    );
    let hooks = platform.repo.path.join("hooks");
    std::fs::create_dir_all(&hooks).unwrap();
    std::fs::write(hooks.join("post-receive"), script).unwrap();
    std::fs::set_permissions(hooks.join("post-receive"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let work = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git")
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"])
            .args(arguments)
            .current_dir(work.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "git {arguments:?}: {said}");
        said
    };
    git(&["clone", "-q", platform.repo.path.to_str().unwrap(), "."]);
    platform.write(0, 0, "2");
    for (file, text) in &platform.files {
        std::fs::write(work.path().join(file), text).unwrap();
    }
    git(&["commit", "-qam", "release 2"]);
    let said = git(&["push", "-q", "origin", "HEAD:main"]);
    assert!(said.contains("deliveryId"), "{said}");
    platform.until_at(0, "2").await;
}
