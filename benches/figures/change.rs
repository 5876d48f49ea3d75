//! A change of an image, from the mutation to the engine's acceptance of the update.

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Options;
use super::engine::{API, service};
use super::git_http::{GitServer, Repo};
use super::http::Http;
use super::proxy::Proxy;
use super::skep::Skep;
use super::stats::{Samples, ms, ratio, row, table, verdict};

/// The changes go round among so many stacks.
const STACKS: usize = 10;

const COMPOSE: &str = "services:\n  web:\n    image: skep-bench:0\n    command: [serve]\n    networks: [front]\n    deploy: { replicas: 0 }\nnetworks: { front: {} }\n";

#[derive(Default)]
struct Measured {
    whole: Samples,
    answered: Samples,
    before: Samples,
    update: Samples,
}

pub(crate) async fn measure(options: &Options) {
    let changes = options.number("changes", 200);
    let folder = TempDir::with_prefix("skep-bench-").unwrap();
    let proxy = Proxy::start(&folder.path().join("engine.sock"), &options.socket);
    let repo = Repo::create(folder.path(), "fleet");
    repo.commit("main", &[("docker-stack.yml", COMPOSE)]);
    let git = GitServer::start(folder.path());
    let skep = Skep::start(options, &proxy.url()).await;

    let indented: String = COMPOSE.lines().map(|line| format!("  {line}\n")).collect();
    let policy = "policy: { monitor: 0s }\n";
    let mut manifests = Vec::new();
    for place in 0..STACKS {
        manifests.push(format!(
            "kind: Stack\nname: skb-git{place}\nsource: {{ git: \"{}\", ref: main, poll: 1h }}\n{policy}",
            git.url("fleet")
        ));
        manifests.push(format!("kind: Stack\nname: skb-inline{place}\n{policy}inline: |\n{indented}"));
    }
    skep.apply(&manifests).await;
    skep.converged(2 * STACKS, Duration::from_secs(60)).await;

    let mut floor = Floor::new(&proxy, &skep).await;
    let mut api = skep.client().await;
    let (mut of_git, mut inline) = (Measured::default(), Measured::default());
    // A round that is not counted warms everything up.
    for number in 0..changes + STACKS {
        let place = number % STACKS;
        for (kind, measured) in [("git", &mut of_git), ("inline", &mut inline)] {
            let warm = if number < STACKS { &mut Measured::default() } else { measured };
            change(&proxy, &mut api, &format!("skb-{kind}{place}"), &format!("skep-bench:{}", number + 1), warm).await;
            floor.sample(&proxy).await;
        }
    }
    let cli = by_cli(options);

    let aim = |share| floor.sync.at(share) + floor.update.at(share) + Duration::from_millis(1);
    let both = |name: &str, it: &Samples| row([name, &ms(it.median()), &ms(it.p99())]);
    let sum = row(["aim: fdatasync + raw update + 1 ms; p99: twice that", &ms(aim(0.5)), &ms(2 * aim(0.5))]);
    let mut rows = vec![row(["", "median", "p99"])];
    for (name, it) in [("git", &of_git), ("inline", &inline)] {
        rows.push(both(&format!("change of an image, {name} source"), &it.whole));
        rows.push(both("  of it: until the mutation was answered", &it.answered));
        rows.push(both("  of it: until the engine was asked to update", &it.before));
        rows.push(both("  of it: the engine's update", &it.update));
    }
    rows.push(both("one fdatasync, same filesystem", &floor.sync));
    rows.push(both("one raw update, bare client", &floor.update));
    rows.push(both("docker service update --detach", &cli));
    rows.push(sum);
    for (name, it) in [("git", &of_git), ("inline", &inline)] {
        let (median, p99) = (ratio(it.whole.median(), aim(0.5)), ratio(it.whole.p99(), 2 * aim(0.5)));
        rows.push(row([
            &format!("{name}: of the aim"),
            &format!("{median:.2} {}", verdict(median <= 1.0)),
            &format!("{p99:.2} {}", verdict(p99 <= 1.0)),
        ]));
    }
    table(&format!("Mutation to engine acceptance, {} changes of each kind", of_git.whole.len()), &rows);
}

async fn change(proxy: &Proxy, api: &mut Http, stack: &str, image: &str, measured: &mut Measured) {
    let query = "mutation($input: DeployStackInput!) { deployStack(input: $input) { deployment { id } userErrors { message } } }";
    let input = json!({ "stack": { "name": stack }, "images": [{ "service": "web", "version": image }] });
    let mark = proxy.mark();
    let begun = Instant::now();
    let answer = api.graphql(query, json!({ "input": input })).await;
    measured.answered.add(begun.elapsed());
    let id = answer["deployStack"]["deployment"]["id"].as_str().unwrap_or_else(|| panic!("{answer:#}")).to_owned();
    let call = proxy.until(mark, |call| call.writes()).await;
    assert!(call.place().ends_with("/update") && call.status == 200, "{call:?}");
    measured.whole.add(call.answered - begun);
    measured.before.add(call.asked - begun);
    measured.update.add(call.answered - call.asked);
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let query = "query($id: ID!) { deployment(id: $id) { phase message } }";
        let answer = api.graphql(query, json!({ "id": id })).await;
        if answer["deployment"]["phase"] == "Converged" {
            break;
        }
        assert!(Instant::now() < end, "{stack} does not converge: {answer:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What follows convergence (a look at the service that was written) is not to fall into the next sample.
    proxy.quiet(mark, Duration::from_millis(60)).await;
}

/// What nobody can be faster than.
struct Floor {
    engine: Http,
    id: String,
    version: u64,
    number: u64,
    file: File,
    sync: Samples,
    update: Samples,
}

impl Floor {
    async fn new(proxy: &Proxy, skep: &Skep) -> Self {
        let mut engine = Http::unix(&proxy.socket).await;
        let spec = service("skb-floor", "skep-bench:0", None, None);
        let made = engine.ask(Method::POST, &format!("{API}/services/create"), &spec).await;
        let id = made["ID"].as_str().unwrap().to_owned();
        let file = File::create(skep.data.path().join("fdatasync.bench")).unwrap();
        let mut floor =
            Self { engine, id, version: 0, number: 0, file, sync: Samples::default(), update: Samples::default() };
        floor.look().await;
        floor
    }

    async fn look(&mut self) {
        let service = self.engine.ask(Method::GET, &format!("{API}/services/{}", self.id), &Value::Null).await;
        self.version = service["Version"]["Index"].as_u64().unwrap();
    }

    async fn sample(&mut self, proxy: &Proxy) {
        let begun = Instant::now();
        self.file.write_all(&[7; 4096]).unwrap();
        self.file.sync_data().unwrap();
        self.sync.add(begun.elapsed());
        self.number += 1;
        let spec = service("skb-floor", &format!("skep-bench:{}", self.number), None, None);
        let path = format!("{API}/services/{}/update?version={}", self.id, self.version);
        let mark = proxy.mark();
        let begun = Instant::now();
        self.engine.ask(Method::POST, &path, &spec).await;
        self.update.add(begun.elapsed());
        self.look().await;
        proxy.quiet(mark, Duration::from_millis(60)).await;
    }
}

fn by_cli(options: &Options) -> Samples {
    let mut samples = Samples::default();
    for number in 0..30 {
        let mut command = Command::new("docker");
        command.args(["-H", &options.docker_url(), "service", "update", "--detach", "--no-resolve-image", "--image"]);
        command.arg(format!("skep-bench:cli{number}")).arg("skb-floor_web").stdout(Stdio::null());
        let begun = Instant::now();
        assert!(command.status().unwrap().success());
        samples.add(begun.elapsed());
    }
    samples
}
