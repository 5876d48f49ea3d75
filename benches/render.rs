//! What does a look at a stack cost that has not changed: its files parsed and rendered, and the plan against what is on
//! the Swarm? Beside it, for the same file, `docker stack config`, which parses and prints it, and `docker stack deploy
//! --detach`, which sends every service again.
//!
//! `cargo bench --bench render -- [--services 50] [--rounds 200]`
//!
//! CPU time only, of this thread and of the CLI's processes; what the engine spends is in neither. Nothing runs: the
//! services have no replicas. Stacks are named `skb-render-…`, and removed at the end.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a bench")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use skep::compose::{ComposeFile, Confidential, Render, RenderInput, render};
use skep::domain::{
    Compat, Course, DeploymentId, Digester, EnvironmentName, Inventory, Rendered, Snapshot, StackKey, StackName,
    UnsetVariables,
};
use skep::plan::{Plan, PlanInput, Prune, plan};
use skep::ports::{Listing, Swarm, WatchedKind};
use skep::swarm::docker::{DockerOptions, DockerSwarm};

const STACKS: [&str; 2] = ["skb-render-skep", "skb-render-docker"];

fn file(services: usize) -> String {
    let mut text = String::from(
        "x-common: &common\n  image: demo:v1\n  networks: [back]\n  logging: { driver: json-file, options: { max-size: 10m } }\n",
    );
    text.push_str("networks: { back: {} }\nconfigs: { site: { file: site.conf } }\nservices:\n");
    for index in 0..services {
        write!(
            text,
            "  s{index}:\n    <<: *common\n    command: serve --port 80 --name \"s {index}\"\n    environment:\n      NAME: s{index}\n      \
             LEVEL: ${{LEVEL:-info}}\n      DATABASE: postgres://db/s{index}\n    labels: {{ team: a, tier: \"{index}\" }}\n    \
             configs: [{{ source: site, target: /etc/site.conf, mode: 0440 }}]\n    healthcheck: {{ test: [CMD, check], interval: 10s }}\n    \
             deploy:\n      replicas: 0\n      resources: {{ limits: {{ cpus: \"0.5\", memory: 64M }} }}\n      \
             update_config: {{ parallelism: 1, order: start-first, failure_action: rollback }}\n      \
             placement: {{ constraints: [\"node.role == manager\"] }}\n"
        )
        .unwrap();
    }
    text
}

fn rendered(stack: &StackName, text: &str, digester: &Digester) -> Rendered {
    let input = RenderInput {
        stack,
        files: &[ComposeFile { name: "stack.yml", text }],
        variables: &BTreeMap::new(),
        images: &BTreeMap::new(),
        compat: Compat::Strict,
        unset: UnsetVariables::Error,
        attachments: &BTreeMap::from([
            ("site.conf".to_owned(), Ok(Arc::from(b"server {}\n".as_slice()))),
            (".env".to_owned(), Err("no such file".to_owned())),
        ]),
        folder: "",
        confidential: &Confidential::default(),
        digester,
    };
    match render(&input).unwrap_or_else(|errors| panic!("{errors}")) {
        Render::Done(rendered) => *rendered,
        Render::Needs(paths) => panic!("{paths:?}"),
    }
}

fn planned(stack: &StackName, rendered: &Rendered, live: &Snapshot, digester: &Digester) -> Plan {
    plan(&PlanInput {
        stack: &StackKey { environment: EnvironmentName::default(), name: stack.clone() },
        instance: "bench",
        desired: &rendered.desired,
        revision: None,
        deployment: &DeploymentId("bench".to_owned()),
        live,
        inventory: &Inventory::default(),
        needed: &BTreeSet::new(),
        prune: Prune::Guarded,
        pace: skep::plan::Pace::Declared,
        allow_recreate: false,
        adopt: false,
        course: Course::Deploy,
        previous: None,
        digester,
    })
}

async fn snapshot(swarm: &DockerSwarm) -> Snapshot {
    let mut live = Snapshot::default();
    let kinds =
        [WatchedKind::Service, WatchedKind::Network, WatchedKind::Config, WatchedKind::Secret, WatchedKind::Node];
    for kind in kinds {
        match swarm.list(kind).await.expect("a listing") {
            Listing::Services(all) => live.services = all.into_iter().map(|it| (it.spec.name.clone(), it)).collect(),
            Listing::Networks(all) => live.networks = all.into_iter().map(|it| (it.name.clone(), it)).collect(),
            Listing::Configs(all) => live.configs = all.into_iter().map(|it| (it.name.clone(), it)).collect(),
            Listing::Secrets(all) => live.secrets = all.into_iter().map(|it| (it.name.clone(), it)).collect(),
            Listing::Nodes(all) => live.nodes = all.into_iter().map(|it| (it.id.clone(), it)).collect(),
        }
    }
    live
}

/// CPU time of this thread. The kernel counts it in ticks of some milliseconds: it is for many rounds together.
fn own() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// CPU time of the children that were waited for, in hundredths of a second.
fn children() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    Duration::from_millis(10 * (fields[13].parse::<u64>().unwrap() + fields[14].parse::<u64>().unwrap()))
}

fn docker(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("docker");
    command.current_dir(folder).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().expect("docker").success(), "docker {arguments:?}");
}

fn cli(folder: &Path, rounds: u32, arguments: &[&str]) -> Duration {
    let before = children();
    (0..rounds).for_each(|_| docker(folder, arguments));
    (children() - before) / rounds
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, otherwise: u32| {
        let value = arguments.iter().position(|it| it == name).and_then(|at| arguments.get(at + 1));
        value.map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let (services, rounds) = (number("--services", 50), number("--rounds", 200));
    let text = file(services as usize);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("stack.yml"), &text).unwrap();
    std::fs::write(folder.path().join("site.conf"), "server {}\n").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let endpoint = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    let swarm = DockerSwarm::new(&[endpoint], DockerOptions::default()).expect("an address");
    let digester = Digester::new([7; 32]);
    let stack = StackName::parse(STACKS[0]).unwrap();

    let first = rendered(&stack, &text, &digester);
    let steps = runtime.block_on(async { planned(&stack, &first, &snapshot(&swarm).await, &digester).steps });
    for step in steps {
        runtime.block_on(swarm.apply(&step.effect, &first.material)).expect("the engine takes it");
    }
    let live = runtime.block_on(snapshot(&swarm));
    let each = |work: &dyn Fn()| {
        let begin = own();
        (0..rounds).for_each(|_| work());
        (own() - begin) / rounds
    };
    let render = each(&|| drop(rendered(&stack, &text, &digester)));
    let again = rendered(&stack, &text, &digester);
    let plan = each(&|| assert!(planned(&stack, &again, &live, &digester).is_empty(), "something has changed"));
    let skep = render + plan;

    let some = (rounds / 40).max(3);
    let config = cli(folder.path(), some, &["stack", "config", "-c", "stack.yml"]);
    let deploy = ["stack", "deploy", "--detach", "--resolve-image", "never", "-c", "stack.yml", STACKS[1]];
    docker(folder.path(), &deploy);
    let deploy = cli(folder.path(), some, &deploy);
    STACKS.iter().for_each(|stack| docker(folder.path(), &["stack", "rm", stack]));

    let ratio = |theirs: Duration| theirs.as_secs_f64() / skep.as_secs_f64();
    println!("{services} services, nothing changed; CPU time, mean of {rounds} rounds, and of {some} of the CLI's");
    println!("skep, parse and render          {:>9.2} ms", render.as_secs_f64() * 1e3);
    println!("skep, plan                      {:>9.2} ms", plan.as_secs_f64() * 1e3);
    println!("skep, together                  {:>9.2} ms", skep.as_secs_f64() * 1e3);
    println!(
        "docker stack config             {:>9.2} ms   {:.0} times as much",
        config.as_secs_f64() * 1e3,
        ratio(config)
    );
    println!(
        "docker stack deploy --detach    {:>9.2} ms   {:.0} times as much",
        deploy.as_secs_f64() * 1e3,
        ratio(deploy)
    );
}
