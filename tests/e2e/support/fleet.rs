//! Engines of one's own, as one Swarm: each in a network namespace, all on one bridge that nothing else is on. They can be
//! killed, frozen, cut off and started again. Needs root, as dockerd does.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::docker::try_docker_at;

static COUNT: AtomicU32 = AtomicU32::new(0);
/// How long an engine may take to start, and a Swarm to find itself.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

/// Runs a program in a network namespace.
fn inside(namespace: &str, program: &[&str]) {
    let net = format!("--net=/var/run/netns/{namespace}");
    let arguments: Vec<&str> = [net.as_str()].into_iter().chain(program.iter().copied()).collect();
    run("nsenter", &arguments);
}

/// Waits until something holds; what is waited for has no events.
fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not within {} s: {what}", PATIENCE.as_secs());
        thread::sleep(Duration::from_millis(100));
    }
}

/// One engine.
pub(crate) struct Engine {
    namespace: String,
    /// Where its sockets and pids lie; short, for paths of sockets are.
    folder: PathBuf,
    data: PathBuf,
    address: String,
    process: Mutex<Option<Child>>,
}

impl Engine {
    /// `unix:///…`.
    pub(crate) fn url(&self) -> String {
        format!("unix://{}/docker.sock", self.folder.display())
    }

    /// Runs docker against it; it must succeed.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        self.try_docker(arguments).unwrap_or_else(|error| panic!("{}: docker {arguments:?}: {error}", self.namespace))
    }

    /// Runs docker against it.
    pub(crate) fn try_docker(&self, arguments: &[&str]) -> Result<String, String> {
        try_docker_at(&self.url(), arguments)
    }

    /// The id of its node.
    pub(crate) fn node(&self) -> String {
        self.docker(&["info", "--format", "{{.Swarm.NodeID}}"])
    }

    /// Starts it, on what it had before; waits until it answers.
    pub(crate) fn start(&self) {
        let _ = fs::remove_file(self.folder.join("docker.pid"));
        let log = File::options().create(true).append(true).open(self.data.join("dockerd.log")).unwrap();
        let of = |name: &str| self.folder.join(name).display().to_string();
        let child = Command::new("nsenter")
            .arg(format!("--net=/var/run/netns/{}", self.namespace))
            .args(["dockerd", "--config-file", &of("daemon.json"), "--data-root"])
            .arg(self.data.join("docker"))
            .args(["--exec-root", &of("exec"), "--pidfile", &of("docker.pid"), "-H", &self.url()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        *self.process.lock().unwrap() = Some(child);
        until("the engine answers", || {
            self.try_docker(&["info", "--format", "{{.ServerVersion}}"]).is_ok_and(|it| !it.is_empty())
        });
    }

    /// Kills it and all that runs on it, as a power cut would.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.process.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for pid in all_of(&self.folder.display().to_string()) {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
    }

    /// Asks it to end, as a restart of the service would, and waits.
    pub(crate) fn stop(&self) {
        if let Some(mut child) = self.process.lock().unwrap().take() {
            run("kill", &["-TERM", &child.id().to_string()]);
            let _ = child.wait();
        }
    }

    /// Stops or goes on with its process: it takes connections and never answers.
    pub(crate) fn freeze(&self, frozen: bool) {
        let id = self.process.lock().unwrap().as_ref().expect("it runs").id().to_string();
        run("kill", &[if frozen { "-STOP" } else { "-CONT" }, &id]);
    }

    /// Cuts it off from the others, or joins it again. What runs on it goes on.
    pub(crate) fn cut_off(&self, cut: bool) {
        inside(&self.namespace, &["ip", "link", "set", "eth0", if cut { "down" } else { "up" }]);
    }
}

/// The processes whose command line names this folder, and all below them.
fn all_of(folder: &str) -> Vec<u32> {
    let mut parents = Vec::new();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().map_while(Result::ok) {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        parents.push((pid, parent.unwrap_or(0)));
        let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        // Skep names the engine's socket as well, and is not the engine's.
        if command.split('\0').next().is_some_and(|program| program.ends_with("/skep")) {
            continue;
        }
        if command.contains(&format!("{folder}/")) && pid != process::id() {
            found.push(pid);
        }
    }
    let mut at = 0;
    while at < found.len() {
        let below: Vec<u32> = parents.iter().filter(|(_, parent)| *parent == found[at]).map(|(pid, _)| *pid).collect();
        found.extend(below.into_iter().filter(|pid| !found.contains(pid)).collect::<Vec<_>>());
        at += 1;
    }
    found
}

/// A Swarm of several engines, all of them managers. Gone when dropped, with all that was on it.
pub(crate) struct Fleet {
    name: String,
    pub(crate) engines: Vec<Engine>,
}

impl Fleet {
    /// A Swarm of so many managers with the example images.
    pub(crate) fn start(size: usize) -> Self {
        let name = format!("fleet-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut fleet = Self { name, engines: Vec::new() };
        let bridge = fleet.bridge();
        run("ip", &["netns", "add", &bridge]);
        inside(&bridge, &["ip", "link", "add", "br0", "type", "bridge"]);
        inside(&bridge, &["ip", "link", "set", "br0", "up"]);
        for number in 1..=size {
            let engine = fleet.join_bridge(number);
            fleet.engines.push(engine);
        }
        for engine in &fleet.engines {
            engine.start();
        }
        fleet.form_swarm();
        fleet.load_images();
        fleet
    }

    fn bridge(&self) -> String {
        format!("{}-b", self.name)
    }

    fn join_bridge(&self, number: usize) -> Engine {
        let (namespace, bridge) = (format!("{}-{number}", self.name), self.bridge());
        let (end, address) = (format!("v{number}"), format!("10.213.77.{}", 10 + number));
        run("ip", &["netns", "add", &namespace]);
        let veth = ["ip", "link", "add", &end, "type", "veth", "peer", "name", "eth0", "netns", &namespace];
        inside(&bridge, &veth);
        inside(&bridge, &["ip", "link", "set", &end, "master", "br0", "up"]);
        inside(&namespace, &["ip", "address", "add", &format!("{address}/24"), "dev", "eth0"]);
        inside(&namespace, &["ip", "link", "set", "eth0", "up"]);
        inside(&namespace, &["ip", "link", "set", "lo", "up"]);
        let folder = PathBuf::from(format!("/run/{namespace}"));
        let data = Path::new("/var/tmp").join(&namespace);
        for made in [&folder, &data] {
            fs::create_dir_all(made).unwrap();
        }
        fs::write(folder.join("daemon.json"), "{}").unwrap();
        Engine { namespace, folder, data, address, process: Mutex::new(None) }
    }

    fn form_swarm(&self) {
        let (first, others) = self.engines.split_first().expect("a fleet has an engine");
        first.docker(&["swarm", "init", "--advertise-addr", &first.address]);
        let token = first.docker(&["swarm", "join-token", "-q", "manager"]);
        for engine in others {
            let at = format!("{}:2377", first.address);
            engine.docker(&["swarm", "join", "--advertise-addr", &engine.address, "--token", &token, &at]);
        }
        until("all are managers", || self.engines.iter().all(|engine| engine.try_docker(&["node", "ls"]).is_ok()));
    }

    /// From the engine of this machine: none of these has a registry.
    fn load_images(&self) {
        let images = ["skep-example:1", "skep-example:2", "skep-example:3", "skep-example:broken"];
        let mut saved = Command::new("docker").arg("save").args(images).stdout(Stdio::piped()).spawn().unwrap();
        let mut bytes = Vec::new();
        saved.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
        assert!(saved.wait().unwrap().success(), "the example images are not there (examples/images.sh)");
        for engine in &self.engines {
            let mut load = Command::new("docker")
                .args(["-H", &engine.url(), "load", "-q"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            load.stdin.take().unwrap().write_all(&bytes).unwrap();
            assert!(load.wait().unwrap().success());
        }
    }

    /// Waits until the engine at `from` sees so many managers, ready and in reach.
    pub(crate) fn until_ready(&self, from: usize, nodes: usize) {
        let ready = || self.engines[from].try_docker(&["node", "ls", "--format", "{{.Status}} {{.ManagerStatus}}"]);
        until(&format!("{nodes} managers are ready"), || {
            ready().is_ok_and(|text| {
                let is_there = |it: &&str| *it == "Ready Leader" || *it == "Ready Reachable";
                text.lines().filter(is_there).count() == nodes
            })
        });
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for engine in &self.engines {
            if let Some(child) = engine.process.lock().unwrap().as_ref() {
                let _ = Command::new("kill").args(["-CONT", &child.id().to_string()]).status();
            }
            engine.kill();
            // What an engine mounts stays mounted in its data.
            let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
            let ours = |path: &str| [&engine.data, &engine.folder].iter().any(|it| Path::new(path).starts_with(it));
            for path in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)).filter(|path| ours(path)) {
                let _ = Command::new("umount").args(["-l", path]).status();
            }
            let _ = fs::remove_dir_all(&engine.data);
            let _ = fs::remove_dir_all(&engine.folder);
            let _ = Command::new("ip").args(["netns", "del", &engine.namespace]).status();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.bridge()]).status();
    }
}
