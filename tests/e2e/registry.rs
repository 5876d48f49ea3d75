//! A real registry: what is pushed to it is deployed, because it tells of it, or because it is asked.

use serde_json::{Value, json};

use crate::docker_registry::{Options, PASSWORD, Registry, USER};
use crate::support::docker;
use crate::support::hive::{Hive, Stay};
use crate::support::stack::unique;
use crate::support::watch::Watch;

/// A stack whose compose text is in its manifest. Removed when dropped, with what else was declared for it.
struct Pulled<'a> {
    hive: &'a Hive,
    name: String,
    watch: Watch,
}

impl<'a> Pulled<'a> {
    /// `images` is what the manifest says of the service `web`, which the file has at the tag `0`.
    async fn declare(hive: &'a Hive, image: &str, images: &str, more: &str) -> Self {
        let name = unique("pulled");
        let manifest = format!(
            "kind: Stack\nname: {name}\nimages: {{ web: {images} }}\n\
             policy: {{ progressDeadline: 60s, totalDeadline: 4m, monitor: 1s }}\ninline: |\n  services:\n    web:\n      \
             image: {image}:0\n      command: [serve]\n      stop_grace_period: 1s\n      healthcheck:\n        \
             test: [\"CMD\", \"wget\", \"-q\", \"-O-\", \"http://127.0.0.1:8080/healthz\"]\n        interval: 500ms\n        \
             retries: 4\n      deploy: {{ replicas: 1, update_config: {{ monitor: 1s }} }}\n{more}"
        );
        let client = hive.client();
        client
            .mutate("applyStack", &json!({ "manifest": manifest.replace("STACK", &name) }))
            .await
            .unwrap_or_else(|errors| panic!("{errors:#?}"));
        let watch = Watch::stack(&client, &name);
        Self { hive, name, watch }
    }

    fn image(&self) -> String {
        let spec = docker::service(&format!("{}_web", self.name)).unwrap_or_default();
        spec["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until it has converged on a tag, of which the engine was told the digest.
    async fn until_on(&mut self, tag: &str) {
        let hive = self.hive.client();
        let wanted = format!(":{tag}@sha256:");
        let service = format!("{}_web", self.name);
        docker::until_service(&service, &format!("at {tag}"), 120, |it| {
            it.is_some_and(|it| {
                let image = it["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].as_str().unwrap_or_default();
                image.contains(&wanted)
            })
        });
        self.watch.until_phase("Converged", 120).await;
        assert!(self.image().contains(&wanted), "{} {:#?}", self.image(), hive.deployments(&self.name).await);
    }

    /// What is known of the image it follows.
    async fn followed(&self) -> Value {
        let fields = "rule wanted repository tag skipped tags checkedAt nextLook error";
        let document = format!("{{ stack(name: {:?}) {{ followedImages {{ {fields} }} }} }}", self.name);
        self.hive.client().query(&document).await["stack"]["followedImages"][0].take()
    }
}

impl Drop for Pulled<'_> {
    fn drop(&mut self) {
        self.hive.cli(&["delete", &self.name, "--yes"]);
        docker::remove_stack(&self.name);
    }
}

#[tokio::test]
async fn what_is_pushed_is_deployed_when_the_registry_tells_of_it() {
    let stay = Stay::together().await;
    let hook = unique("images");
    let url = format!("http://{}/hooks/{hook}", stay.address);
    let registry = Registry::start(&Options { tells: Some((&url, "a-word-of-the-registrys")), ..Options::default() });
    let (web, api) = (format!("{}/web", registry.address), format!("{}/api", registry.address));
    registry.push("skep-example:1", "web", "1.0.0");
    registry.push("skep-example:1", "api", "build-1");

    // Nothing but the registry's word makes this one look for the next hour.
    let mut followed = Pulled::declare(&stay, &web, "{ semver: \"~1.0\", poll: 1h }", "").await;
    let mut named = Pulled::declare(&stay, &api, "build-1", "").await;
    followed.until_on("1.0.0").await;
    named.until_on("build-1").await;
    let manifest = format!(
        "kind: Hook\nname: {hook}\nprovider: Registry\nsecret: {{ value: a-word-of-the-registrys }}\nrules:\n  \
         - {{ when: 'target.repository == \"api\" && has(target.tag)', stacks: [{}], set: {{ images.web: target.tag }} }}\n  \
         - {{ stacks: [\"*\"] }}\n",
        named.name
    );
    stay.client().mutate("applyStack", &json!({ "manifest": manifest })).await.unwrap();

    registry.push("skep-example:2", "web", "1.0.1");
    followed.until_on("1.0.1").await;
    registry.push("skep-example:3", "api", "build-2");
    named.until_on("build-2").await;

    let of = |all: Vec<Value>| all.iter().map(|it| it["trigger"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(of(stay.client().deployments(&followed.name).await), ["Image", "Api"]);
    assert_eq!(of(stay.client().deployments(&named.name).await), ["Hook", "Api"]);
    let known = followed.followed().await;
    assert_eq!(
        (&known["tag"], &known["tags"], &known["error"]),
        (&json!("1.0.1"), &json!(2), &Value::Null),
        "{known:#}"
    );
    assert_eq!(known["repository"], web.as_str());
    let shown = stay.cli(&["get", "stack", &followed.name]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("web: 1.0.1  (semver ~1.0 of "), "{shown}");
    stay.cli(&["hook", "delete", &hook]);
}

#[tokio::test]
async fn a_new_tag_is_followed_by_asking_with_the_registrys_login_and_a_bad_one_is_passed_over() {
    let stay = Stay::together().await;
    let registry = Registry::start(&Options { private: true, ..Options::default() });
    let web = format!("{}/team/web", registry.address);
    registry.push("skep-example:1", "team/web", "1.0.0");
    let credential = unique("registry");
    let login = format!(
        "---\nkind: Credential\nname: {credential}\ntype: Registry\nhosts: [\"{}\"]\n\
         data: {{ username: {USER}, password: {PASSWORD} }}\n",
        registry.address
    );
    let mut stack = Pulled::declare(&stay, &web, "{ semver: \">=1 <2\", poll: 1s }", &login).await;
    stack.until_on("1.0.0").await;
    registry.push("skep-example:2", "team/web", "1.0.1");
    stack.until_on("1.0.1").await;

    // Skep has asked for the tags, and the engine for the digest of the one that was found.
    for by in ["environment=\"\"", "environment=\"default\""] {
        assert!(stay.counted("skep_registry_calls_total", &[by, "outcome=\"Ok\""]) >= 1.0, "{by}");
        assert!(stay.counted("skep_registry_call_seconds_count", &[by]) >= 1.0, "{by}");
    }

    registry.push("skep-example:broken", "team/web", "1.0.2");
    stack.watch.until_phase("RolledBack", 120).await;
    assert!(stack.image().contains(":1.0.1@sha256:"), "{}", stack.image());
    let known = stack.followed().await;
    assert_eq!((&known["tag"], &known["skipped"]), (&json!("1.0.1"), &json!(["1.0.2"])), "{known:#}");
    registry.push("skep-example:3", "team/web", "1.0.3");
    stack.until_on("1.0.3").await;
    let all = stay.client().deployments(&stack.name).await;
    let triggers: Vec<&str> = all.iter().map(|it| it["trigger"].as_str().unwrap()).collect();
    assert_eq!(triggers, ["Image", "Rollback", "Image", "Image", "Api"], "{all:#?}");
    // `skep doctor` asks the registries of what runs, as their engines do.
    let looked = stay.cli(&["doctor", "-o", "json"]);
    let findings: Vec<Value> = serde_json::from_slice(&looked.stdout).unwrap();
    let subject = format!("{} (default)", registry.address);
    let found = findings.iter().find(|it| it["subject"] == subject.as_str()).unwrap_or(&Value::Null);
    assert_eq!((&found["area"], &found["health"]), (&json!("Registry"), &json!("Good")), "{findings:#?}");
    drop(registry);
    let looked = stay.cli(&["doctor", "-o", "json"]);
    let findings: Vec<Value> = serde_json::from_slice(&looked.stdout).unwrap();
    let found = findings.iter().find(|it| it["subject"] == subject.as_str()).unwrap_or(&Value::Null);
    assert_eq!(found["health"], "Bad", "{findings:#?}");
    assert!(found["mend"].as_str().is_some_and(|mend| mend.contains("reaches the registry")), "{found}");
    drop(stack);
    stay.cli(&["credential", "delete", &credential]);
}
