//! Skep without the engine's socket: through `examples/install/haproxy.cfg` it does all its work, and the calls that it does not
//! make are refused before the engine hears of them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::docker;
use crate::support::hive::Stay;
use crate::support::stack::unique;

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// haproxy with the example's file; gives its address once it listens.
fn proxy() -> (Running, String) {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/install/haproxy.cfg");
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let socket = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    let socket = socket.strip_prefix("unix://").expect("the engine of the tests has a socket").to_owned();
    let child = Command::new("haproxy")
        .arg("-f")
        .arg(config)
        .envs([("SKEP_PROXY_BIND", &address), ("DOCKER_SOCKET", &socket)])
        .stdout(Stdio::null())
        .spawn()
        .expect("haproxy, of the package haproxy");
    let proxy = Running(child);
    let end = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(&address).is_err() {
        assert!(Instant::now() < end, "haproxy does not listen");
        thread::yield_now();
    }
    (proxy, address)
}

/// A call as it is written, dots and all; its status.
fn call(proxy: &str, method: &str, path: &str) -> u16 {
    let asked = Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--path-as-is", "-X", method])
        .args(["-H", "content-type: application/json", "-d", "{}"])
        .arg(format!("http://{proxy}{path}"))
        .output()
        .unwrap();
    String::from_utf8(asked.stdout).unwrap().parse().unwrap()
}

/// Skep on the engine behind the proxy.
struct Skep {
    data: TempDir,
    address: String,
    _process: Running,
}

impl Skep {
    fn start(proxy: &str) -> Self {
        let data = TempDir::with_prefix("skep-e2e-proxied-").unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_skep"))
            .args(["serve", "--listen", "127.0.0.1:0", "--docker", &format!("tcp://{proxy}"), "--data"])
            .arg(data.path())
            // Not by the way that this test keeps it from.
            .env_remove("DOCKER_HOST")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("skep: listening on ").map(str::to_owned)).unwrap();
        thread::spawn(move || lines.for_each(drop));
        Self { data, address, _process: Running(child) }
    }

    fn cli(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
        command.env_remove("SKEP_TOKEN").args(["--server", &self.address, "--data"]).arg(self.data.path());
        command.args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn must(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments);
        assert!(output.status.success(), "skep {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn apply(&self, name: &str, text: &str) -> Option<i32> {
        let file = self.data.path().join("stack.yml");
        let inline: String = text.lines().map(|line| format!("  {line}\n")).collect();
        let policy = "policy: { images: never, monitor: 1s, progressDeadline: 60s }\nvariables: { KEY: { value: hush, secret: true } }";
        fs::write(&file, format!("kind: Stack\nname: {name}\n{policy}\ninline: |\n{inline}")).unwrap();
        self.cli(&["apply", "-f", file.to_str().unwrap(), "--wait"]).status.code()
    }
}

#[tokio::test]
async fn skep_works_through_the_socket_proxy_and_other_calls_are_refused() {
    let _nobody = Stay::nobody().await;
    let (_haproxy, proxy) = proxy();
    let skep = Skep::start(&proxy);
    let name = unique("proxied");
    let stack = |image: &str, greeting: &str, command: &str| {
        format!(
            "services:\n  web:\n    image: skep-example:{image}\n    command: {command}\n    networks: [inner]\n    stop_grace_period: \
             1s\n    configs: [greeting]\n    secrets: [key]\nnetworks: {{ inner: {{}} }}\nconfigs: {{ greeting: {{ content: \
             {greeting} }} }}\nsecrets: {{ key: {{ environment: KEY }} }}\n"
        )
    };
    // Created, updated, taken back, pruned, read, removed: every call there is.
    assert_eq!(skep.apply(&name, &stack("1", "hello", "[serve]")), Some(0));
    assert_eq!(skep.apply(&name, &stack("2", "goodbye", "[serve]")), Some(0));
    assert_eq!(
        skep.apply(&name, &stack("3", "alas", "[sh, -c, 'exit 3']")),
        Some(11),
        "taken back through the proxy, too"
    );
    assert!(docker::service(&format!("{name}_web")).unwrap().to_string().contains("skep-example:2"));
    skep.must(&["logs", &name]);
    let differs = skep.cli(&["diff", &name]);
    assert_eq!(differs.status.code(), Some(1), "what was taken back is still asked for: {differs:?}");
    let doctor: serde_json::Value = serde_json::from_slice(&skep.cli(&["doctor", "-o", "json"]).stdout).unwrap();
    let engine = doctor.as_array().unwrap().iter().find(|it| it["area"] == "Engine").unwrap().clone();
    assert_eq!(engine["health"], "Good", "{engine}");

    for (method, path) in [
        ("GET", "/v1.41/containers/json"),
        ("GET", "/v1.41/containers/web/json"),
        ("GET", "/v1.41/containers/0123456789ab/json"),
        ("GET", "/v1.41/containers/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef/logs"),
        ("POST", "/v1.41/containers/create"),
        ("POST", "/containers/create"),
        ("POST", "/v1.41/containers/x/exec"),
        ("POST", "/v1.41/exec/x/start"),
        ("POST", "/v1.41/build"),
        ("POST", "/v1.41/images/create"),
        ("GET", "/v1.41/swarm"),
        ("GET", "/v1.41/swarm/unlockkey"),
        ("POST", "/v1.41/swarm/leave"),
        ("POST", "/v1.41/nodes/x/update"),
        ("DELETE", "/v1.41/nodes/x"),
        ("POST", "/v1.41/volumes/create"),
        ("POST", "/v1.41/plugins/pull"),
        ("POST", "/v1.41/session"),
        ("PUT", "/v1.41/services/create"),
        // Ways around.
        ("GET", "//containers/json"),
        ("GET", "/v1.41/services/../containers/json"),
        ("GET", "/v1.41/services/%2e%2e/containers/json"),
        ("GET", "/v1.41/services%2f..%2fcontainers/json"),
        ("POST", "/v1.41/services/../containers/create"),
    ] {
        assert_eq!(call(&proxy, method, path), 403, "{method} {path}");
    }
    assert_eq!(call(&proxy, "GET", "/v1.41/services"), 200, "what is refused is not refused for being asked by curl");
    skep.must(&["delete", &name, "--yes"]);
    assert!(docker::service(&format!("{name}_web")).is_none());
    docker::remove_stack(&name);
}
