//! The two ways onto the engine, and what it says afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skep::compose::{Attachment, ComposeFile, Confidential, Render, RenderInput, VariableValue, render};
use skep::domain::{
    Compat, Course, DeploymentId, Desired, Digester, EnvironmentName, Inventory, Rendered, Snapshot, StackKey,
    StackName, UnsetVariables,
};
use skep::plan::{Pace, Plan, PlanInput, Prune, plan};
use skep::ports::{Listing, Swarm, WatchedKind};
use skep::swarm::docker::{DockerOptions, DockerSwarm};

use crate::case::Case;
use crate::compare;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
const SOCKET: &str = "unix:///var/run/docker.sock";

/// The engine that `docker` speaks to as well.
fn socket() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| SOCKET.to_owned());
    host.strip_prefix("unix://").expect("an engine at a socket").to_owned()
}

/// The kinds of objects, as the API has them.
const KINDS: [&str; 4] = ["services", "networks", "configs", "secrets"];

/// A stack's name on the real engine. Whatever carries it is removed in the end.
pub(crate) struct Engine {
    stack: StackName,
    digester: Digester,
}

impl Engine {
    pub(crate) fn new(stack: &str) -> Self {
        Self { stack: StackName::parse(stack).expect("a name"), digester: Digester::new([7; 32]) }
    }

    /// Deploys with the one, then with the other, and compares. What is beyond the one is deployed with the other alone.
    pub(crate) async fn check(&self, case: &Case) -> Result<(), String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let case = &case.in_folder(folder.path());
        for (path, text) in &case.files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).map_err(|error| error.to_string())?;
            std::fs::write(path, text).map_err(|error| error.to_string())?;
        }
        if let Some((_, expected)) = case.files.iter().find(|(path, _)| path == "expect") {
            let rendered = self.render(case, case.compat, folder.path())?;
            return self.is_as_expected(&self.deployed(&rendered).await?, expected);
        }
        let rendered = self.render(case, case.compat, folder.path())?;
        if case.alike {
            let other = if case.compat == Compat::Cli { Compat::Strict } else { Compat::Cli };
            self.alike(&rendered, &self.render(case, other, folder.path())?)?;
        }
        let mut done = self.deploy(case, folder.path()).and_then(|()| self.raw());
        if done.is_ok()
            && !case.one_way
            && let Err(why) = self.comes_back().await
        {
            done = Err(why);
        }
        self.remove()?;
        let docker = done?;
        compare::compare(docker, self.deployed(&rendered).await?)
    }

    /// What the engine holds after Skep has deployed it, and removed again.
    pub(crate) async fn deployed(&self, rendered: &Rendered) -> Result<Value, String> {
        let done = self.apply(rendered).await.and_then(|()| self.raw());
        let left = match &done {
            Ok(_) => self.plan(rendered).await,
            Err(_) => Ok(Plan::default()),
        };
        self.remove()?;
        let (raw, left) = (done?, left?);
        if !left.is_empty() {
            return Err(format!(
                "the plan is not empty after it was carried out: {:#?} {:?}",
                left.steps, left.refused
            ));
        }
        Ok(raw)
    }

    fn is_as_expected(&self, raw: &Value, expected: &str) -> Result<(), String> {
        let raw = compare::normal(raw.clone());
        let mut faults = Vec::new();
        for line in expected.replace("STACK", self.stack.as_str()).lines() {
            let (pointer, value) = line.split_once(" = ").ok_or("an expectation is `POINTER = JSON`")?;
            let value: Value = serde_json::from_str(value).map_err(|error| format!("{line}: {error}"))?;
            let found = raw.pointer(pointer).cloned().unwrap_or_default();
            if found != value {
                faults.push(format!("{pointer}: {found}, not {value}"));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(format!("{}\n{raw:#}", faults.join("\n"))) }
    }

    pub(crate) fn render(&self, case: &Case, compat: Compat, folder: &Path) -> Result<Rendered, String> {
        let files: Vec<ComposeFile<'_>> =
            case.compose_files().iter().map(|(name, text)| ComposeFile { name, text }).collect();
        let variable =
            |(name, text): (&String, &String)| (name.clone(), VariableValue { text: text.clone(), secret: false });
        let variables: BTreeMap<String, VariableValue> = case.variables.iter().map(variable).collect();
        let mut attachments: BTreeMap<String, Attachment> = BTreeMap::new();
        loop {
            let input = RenderInput {
                stack: &self.stack,
                files: &files,
                variables: &variables,
                images: &BTreeMap::new(),
                compat,
                unset: UnsetVariables::Empty,
                attachments: &attachments,
                folder: &case.folder,
                confidential: &Confidential::default(),
                digester: &self.digester,
            };
            match render(&input).map_err(|errors| format!("{compat:?} refuses it:\n{errors}"))? {
                Render::Done(rendered) => return Ok(*rendered),
                Render::Needs(needs) => attachments.extend(needs.files.into_iter().map(|path| {
                    let content = std::fs::read(folder.join(&path));
                    (path, content.map(Arc::from).map_err(|_| "no such file".to_owned()))
                })),
            }
        }
    }

    /// Both ways of reading give the same objects, but for the number of replicas that is not said.
    fn alike(&self, one: &Rendered, other: &Rendered) -> Result<(), String> {
        let text = |rendered: &Rendered| {
            let mut desired = rendered.desired.clone();
            desired.depends_on.clear();
            for service in desired.services.values_mut() {
                if let Some(replicated) = &mut service.spec.mode.replicated {
                    replicated.replicas.get_or_insert(1);
                }
            }
            json!(desired)
        };
        match compare::differences(&text(one), &text(other)) {
            found if found.is_empty() => Ok(()),
            found => Err(format!("`strict` and `cli` differ: {}", found.join("\n"))),
        }
    }

    fn docker(&self) -> Command {
        let mut command = Command::new("docker");
        command.env_clear();
        for name in ["PATH", "HOME", "DOCKER_HOST"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    pub(crate) fn deploy(&self, case: &Case, folder: &Path) -> Result<(), String> {
        let mut command = self.docker();
        command.current_dir(folder).envs(&case.variables).args(["stack", "deploy", "--resolve-image", "never"]);
        for (path, _) in case.compose_files() {
            command.args(["-c", path]);
        }
        let output = command.arg(self.stack.as_str()).output().map_err(|error| format!("docker: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("docker stack deploy refuses it: {}", String::from_utf8_lossy(&output.stderr)))
    }

    fn swarm() -> DockerSwarm {
        DockerSwarm::new(&[format!("unix://{}", socket())], DockerOptions::default()).expect("an address")
    }

    async fn apply(&self, rendered: &Rendered) -> Result<(), String> {
        let plan = self.plan(rendered).await?;
        if !plan.refused.is_empty() {
            return Err(format!("the plan is refused: {:?}", plan.refused));
        }
        let swarm = Self::swarm();
        for step in &plan.steps {
            let applied = swarm.apply(&step.effect, &rendered.material).await;
            applied.map_err(|error| format!("{}: {error}", step.object))?;
        }
        Ok(())
    }

    pub(crate) async fn plan(&self, rendered: &Rendered) -> Result<Plan, String> {
        Ok(self.plan_on(&Self::live().await?, &rendered.desired, Course::Deploy))
    }

    pub(crate) async fn live() -> Result<Snapshot, String> {
        let swarm = Self::swarm();
        let mut live = Snapshot::default();
        for kind in
            [WatchedKind::Service, WatchedKind::Network, WatchedKind::Config, WatchedKind::Secret, WatchedKind::Node]
        {
            match swarm.list(kind).await.map_err(|error| error.to_string())? {
                Listing::Services(all) => live.services = by(all, |it| it.spec.name.clone()),
                Listing::Networks(all) => live.networks = by(all, |it| it.name.clone()),
                Listing::Configs(all) => live.configs = by(all, |it| it.name.clone()),
                Listing::Secrets(all) => live.secrets = by(all, |it| it.name.clone()),
                Listing::Nodes(all) => live.nodes = by(all, |it| it.id.clone()),
            }
        }
        Ok(live)
    }

    pub(crate) fn key(&self) -> StackKey {
        StackKey { environment: EnvironmentName::parse("default").expect("a name"), name: self.stack.clone() }
    }

    pub(crate) fn plan_on(&self, live: &Snapshot, desired: &Desired, course: Course) -> Plan {
        plan(&PlanInput {
            stack: &self.key(),
            instance: "cmp",
            desired,
            revision: None,
            deployment: &DeploymentId("cmp".to_owned()),
            live,
            inventory: &Inventory::default(),
            needed: &BTreeSet::new(),
            prune: Prune::Never,
            pace: Pace::Declared,
            allow_recreate: false,
            adopt: course == Course::Adopt,
            course,
            previous: None,
            digester: &self.digester,
        })
    }

    /// Everything of the stack, as the API says it.
    pub(crate) fn raw(&self) -> Result<Value, String> {
        let mut all = json!({});
        for kind in KINDS {
            all[kind] = self.list(kind)?;
        }
        // A network that the engine has not come to yet has neither a driver nor addresses.
        let until = Instant::now() + PATIENCE;
        while all["networks"].as_array().is_some_and(|all| all.iter().any(|it| it["Driver"] == "")) {
            if Instant::now() > until {
                return Err("a network gets no driver".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
            all["networks"] = self.list("networks")?;
        }
        // Networks of the nodes themselves have an id of the Swarm's, which no list holds.
        for name in ["host", "bridge"] {
            all["predefined"][name] = get(&format!("/networks/{name}?scope=swarm"))?["Id"].clone();
        }
        all["others"] = get("/networks")?;
        Ok(all)
    }

    fn list(&self, kind: &str) -> Result<Value, String> {
        get(&format!("/{kind}?filters=%7B%22label%22:%5B%22com.docker.stack.namespace={}%22%5D%7D", self.stack))
    }

    /// Removes the stack, and waits until nothing of it is left.
    pub(crate) fn remove(&self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let mut left = 0;
            for kind in KINDS {
                for object in self.list(kind)?.as_array().into_iter().flatten() {
                    left += 1;
                    let id = object["ID"].as_str().or(object["Id"].as_str()).unwrap_or_default();
                    // What is in use for a moment longer is tried again.
                    let _ = call("DELETE", &format!("/{kind}/{id}"));
                }
            }
            if left == 0 {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("{left} objects of {} stay on the engine", self.stack));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let removed = self.remove();
        if !std::thread::panicking() {
            assert_eq!(removed, Ok(()));
        }
    }
}

fn by<T>(all: Vec<Arc<T>>, name: impl Fn(&T) -> String) -> BTreeMap<String, Arc<T>> {
    all.into_iter().map(|it| (name(&it), it)).collect()
}

fn get(path: &str) -> Result<Value, String> {
    let (status, body) = call("GET", path)?;
    if status == 404 {
        return Ok(Value::Null);
    }
    if status != 200 {
        return Err(format!("{path}: {status} {body}"));
    }
    serde_json::from_str(&body).map_err(|error| format!("{path}: {error}"))
}

/// One call; HTTP 1.0, so that the answer ends where the connection does.
fn call(method: &str, path: &str) -> Result<(u16, String), String> {
    let text = |error: std::io::Error| format!("{method} {path}: {error}");
    let mut stream = UnixStream::connect(socket()).map_err(text)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
    write!(stream, "{method} /v1.41{path} HTTP/1.0\r\nHost: docker\r\n\r\n").map_err(text)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(text)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
    Ok((status, body.to_owned()))
}
