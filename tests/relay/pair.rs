//! Two Skeps, and a way between them that can be cut.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::graphql::{Client, DEPLOYMENT, STACK, literal};
use crate::watch::Watch;
use crate::way::Way;

const SKEP: &str = env!("CARGO_BIN_EXE_skep");
/// Nobody is there.
pub(crate) const NO_ENGINE: &str = "unix:///nothing/docker.sock";

/// A `skep serve` process. Killed when dropped.
pub(crate) struct Skep {
    pub(crate) data: TempDir,
    engine: String,
    process: Option<tokio::process::Child>,
    /// `127.0.0.1:PORT`; the same after a restart.
    pub(crate) address: String,
}

impl Skep {
    pub(crate) async fn start(engine: &str) -> Self {
        let data = TempDir::with_prefix("skep-relay-").unwrap();
        let mut skep = Self { data, engine: engine.to_owned(), process: None, address: "127.0.0.1:0".into() };
        skep.restart().await;
        skep
    }

    /// Starts it on its data, at its address.
    pub(crate) async fn restart(&mut self) {
        let mut child = tokio::process::Command::new(SKEP)
            .args(["serve", "--listen", &self.address, "--log", "warn", "--docker", &self.engine])
            .args(["--allow-private-addresses", "--allow-file-sources", "--data"])
            .arg(self.data.path())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        loop {
            let line = lines.next_line().await.unwrap().expect("it ended");
            if let Some(address) = line.strip_prefix("skep: listening on http://") {
                self.address = address.to_owned();
                break;
            }
        }
        // Shown when the test fails; and a full pipe would hold the server up.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                println!("{line}");
            }
        });
        self.process = Some(child);
    }

    /// As a power cut would.
    pub(crate) async fn kill(&mut self) {
        let mut child = self.process.take().unwrap();
        child.kill().await.unwrap();
    }

    pub(crate) fn token(&self) -> String {
        fs::read_to_string(self.data.path().join("admin.token")).unwrap().trim().to_owned()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.address, &self.token())
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(SKEP);
        command.args(arguments).env("SKEP_SERVER", format!("http://{}", self.address));
        command.env("SKEP_TOKEN", self.token()).env("SKEP_FAR_TOKEN", "none").stdin(Stdio::null());
        command
    }

    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the command line, which must succeed; gives what it prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Applies a manifest.
    pub(crate) async fn apply(&self, manifest: &str) -> Value {
        let input = json!({ "manifest": manifest });
        self.client().mutate("applyStack", &input).await.unwrap_or_else(|errors| panic!("{errors:#?}"))
    }

    /// A mutation on a stack.
    pub(crate) async fn act(
        &self,
        mutation: &str,
        (environment, name): (&str, &str),
        more: Value,
    ) -> Result<Value, Vec<Value>> {
        let mut input = json!({ "stack": { "name": name, "environment": environment } });
        if let (Some(input), Value::Object(more)) = (input.as_object_mut(), more) {
            input.extend(more);
        }
        self.client().mutate(mutation, &input).await
    }

    /// A stack as it stands; null when it is not there.
    pub(crate) async fn stack(&self, environment: &str, name: &str) -> Value {
        let document = format!("{{ stack(name: {name:?}, environment: {environment:?}) {{ {STACK} }} }}");
        self.client().query(&document).await["stack"].take()
    }

    /// Deployments of all stacks, the newest first.
    pub(crate) async fn deployments(&self, environment: &str, stack: &str) -> Vec<Value> {
        let filter = literal(&json!({ "stack": stack, "environment": environment, "first": 100 }));
        let filter = filter.trim_matches(['{', '}']);
        let document = format!("{{ deployments({filter}) {{ edges {{ node {{ {DEPLOYMENT} }} }} }} }}");
        let mut data = self.client().query(&document).await;
        data["deployments"]["edges"].as_array_mut().unwrap().iter_mut().map(|edge| edge["node"].take()).collect()
    }

    /// Type, deployment and message of a stack's events, the oldest first.
    pub(crate) async fn events(&self, environment: &str, stack: &str) -> Vec<(String, Value, String, Value)> {
        let document = format!(
            "{{ events(stack: {stack:?}, environment: {environment:?}, first: 200) {{ edges {{ node {{ sequence type \
             deploymentId message via }} }} }} }}"
        );
        let data = self.client().query(&document).await;
        let mut events: Vec<Value> =
            data["events"]["edges"].as_array().unwrap().iter().map(|it| it["node"].clone()).collect();
        events.sort_by_key(|it| it["sequence"].as_u64());
        let text = |it: &Value, name: &str| it[name].as_str().unwrap_or_default().to_owned();
        events
            .iter()
            .map(|it| (text(it, "type"), it["deploymentId"].clone(), text(it, "message"), it["via"].clone()))
            .collect()
    }

    /// Orders a claim.
    pub(crate) async fn claim(&self, environment: &str) {
        let input = literal(&json!({ "environment": environment, "reason": "so it is to be" }));
        let document = format!("mutation {{ claimEnvironment(input: {input}) {{ userErrors {{ message }} }} }}");
        let data = self.client().query(&document).await;
        assert_eq!(data["claimEnvironment"]["userErrors"], json!([]), "{data:#}");
    }

    pub(crate) async fn environment(&self, name: &str) -> Value {
        let document =
            format!("{{ environment(name: {name:?}) {{ name connected message engine claim {{ state }} }} }}");
        self.client().query(&document).await["environment"].take()
    }

    pub(crate) fn watch(&self, environment: &str, name: &str) -> Watch {
        Watch::stack_in(&self.client(), environment, name)
    }

    /// Credential and environment of a relay, declared here.
    pub(crate) fn relay_to(&self, environment: &str, url: &str, token: &str) {
        let mut set = self.command(&["credential", "set", "far", "--type", "SkepToken", "--host", "127.0.0.1"]);
        let set = set.args(["--from-env", "token=SKEP_FAR_TOKEN"]).env("SKEP_FAR_TOKEN", token).output().unwrap();
        assert!(set.status.success(), "{set:?}");
        self.run(&["environment", "apply", environment, "--relay", url, "--credential", "far"]);
    }
}

/// A near and a far Skep; the far one's `default` is the near one's `prod`.
pub(crate) struct Pair {
    pub(crate) near: Skep,
    pub(crate) far: Skep,
    pub(crate) way: Way,
}

impl Pair {
    pub(crate) async fn linked(engine: &str) -> Self {
        let (near, far) = tokio::join!(Skep::start(NO_ENGINE), Skep::start(engine));
        let way = Way::to(&far.address);
        let token = far.run(&["token", "create", "near", "--role", "operator", "--environments", "default"]);
        near.relay_to("prod", &way.url, token.lines().last().unwrap());
        Self { near, far, way }
    }

    /// Waits until both say the same of a stack, and gives what that is. `settled` says when it is worth comparing.
    pub(crate) async fn agree(&self, name: &str, settled: impl Fn(&Value) -> bool) -> Value {
        let mut watch = self.near.watch("prod", name);
        let mut far = Value::Null;
        for _ in 0..1200 {
            let near = watch.until("settled", 120, &settled).await;
            far = self.far.stack("default", name).await;
            if said(&near) == said(&far) && self.same_deployments(name).await {
                return near;
            }
            // Only what is told makes the next look worth while; the far one may be ahead by what is on its way.
            tokio::time::sleep(Duration::from_millis(50)).await;
            watch = self.near.watch("prod", name);
        }
        panic!("they do not agree\nnear: {:#}\nfar: {far:#}", self.near.stack("prod", name).await);
    }

    async fn same_deployments(&self, name: &str) -> bool {
        self.near.deployments("prod", name).await == self.far.deployments("default", name).await
    }
}

/// What both have to say alike.
fn said(stack: &Value) -> Value {
    let mut said = stack.clone();
    if let Some(conditions) = said["conditions"].as_array_mut() {
        conditions.sort_by_key(|it| it["type"].as_str().unwrap_or_default().to_owned());
    }
    said
}

/// A stack of one service.
pub(crate) fn manifest(name: &str, release: u32) -> String {
    format!(
        "kind: Stack\nname: {name}\nenvironment: prod\nvariables: {{ KEY: {{ value: 'hunter2-{name}', secret: true }} }}\n\
         inline: |\n  services:\n    web:\n      image: skep-example:1\n      environment: {{ RELEASE: '{release}', KEY: '${{KEY}}' }}\n"
    )
}

/// Whether a folder holds these bytes anywhere in the clear.
pub(crate) fn holds(folder: &Path, wanted: &str) -> bool {
    fs::read_dir(folder).unwrap().map_while(Result::ok).any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => holds(&entry.path(), wanted),
        _ => fs::read(entry.path())
            .is_ok_and(|bytes| bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes())),
    })
}
