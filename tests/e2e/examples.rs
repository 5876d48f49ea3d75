//! The examples, through Skep and git.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::git_http::Repo;
use crate::support::docker;
use crate::support::hive::{Hive, Stay};
use crate::support::stack::unique;
use crate::support::watch::Watch;

/// An example under a name of its own, with no port of the host; deleted when dropped.
struct Example<'a> {
    hive: &'a Hive,
    repo: Repo,
    folder: &'static str,
    name: String,
}

impl<'a> Example<'a> {
    fn new(hive: &'a Hive, folder: &'static str) -> Self {
        let name = unique(folder);
        Self { hive, repo: Repo::create(hive.repositories(), &name), folder, name }
    }

    /// Commits all files of the folder, with `docker-stack.yml` taken from `stack_file`; gives the commit.
    fn push(&self, stack_file: &str) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(self.folder);
        let mut files: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                let from = if name == "docker-stack.yml" { folder.join(stack_file) } else { path };
                (format!("{}/{name}", self.folder), fs::read_to_string(from).unwrap())
            })
            .collect();
        for (_, text) in &mut files {
            // Ports of the host may be taken, by the demo for one.
            let lines = text.lines().filter(|line| !line.contains("published:") && line.trim() != "ports:");
            *text = lines.map(|line| format!("{line}\n")).collect();
        }
        let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        self.repo.commit("main", &files)
    }

    async fn apply(&self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(self.folder).join("skep.yml");
        let manifest = fs::read_to_string(path)
            .unwrap()
            .replace(&format!("name: {}\n", self.folder), &format!("name: {}\n", self.name))
            .replace("http://127.0.0.1:7718/examples.git", &self.hive.git.url(&self.name));
        self.hive.client().mutate("applyStack", &json!({ "manifest": manifest })).await.unwrap();
    }
}

impl Drop for Example<'_> {
    fn drop(&mut self) {
        self.hive.cli(&["delete", &self.name, "--yes"]);
        docker::remove_stack(&self.name);
    }
}

#[tokio::test]
async fn the_examples_converge_and_the_bad_version_of_rollback_comes_back() {
    let stay = Stay::together().await;
    let client = stay.client();
    let all = ["hello", "shop", "rollback", "migration"].map(|folder| Example::new(&stay, folder));
    for example in &all {
        example.push("docker-stack.yml");
        example.apply().await;
    }
    for example in &all {
        Watch::stack(&client, &example.name).until_phase("Converged", 120).await;
    }
    let shop = &all[1].name;
    for (kind, count) in [("service", 3), ("network", 2), ("config", 1), ("secret", 1)] {
        assert_eq!(docker::of_stack(kind, shop).len(), count, "{kind}s of shop");
    }
    let migrated = &client.deployments(&all[3].name).await[0];
    let ended = |job: &serde_json::Value| (job["service"].clone(), job["phase"].clone());
    let jobs: Vec<_> = migrated["jobs"].as_array().unwrap().iter().map(ended).collect();
    assert_eq!(jobs, ["migrate", "smoke"].map(|name| (name.into(), "Succeeded".into())), "{migrated:#}");
    all[2].push("docker-stack.v2.yml");
    let back = Watch::stack(&client, &all[2].name).until_phase("RolledBack", 90).await;
    assert_eq!(back["held"].as_array().unwrap().len(), 1, "{back:#}");
}
