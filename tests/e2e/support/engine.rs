//! A second engine, in a network of its own, so that two Swarms can be had on one machine. It needs root, and nothing that the
//! first engine does not need.

use std::fs::{self, File};
use std::io::{self, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long it may take to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(90);

/// The engine. Ends when dropped, with everything on it.
pub(crate) struct Engine {
    folder: TempDir,
    daemon: Child,
    /// Its address.
    pub(crate) endpoint: String,
}

impl Engine {
    /// A Swarm of one node, with the image of the examples.
    pub(crate) fn start() -> Self {
        let folder = TempDir::with_prefix("skep-e2e-engine-").unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::write(at("daemon.json"), "{}").unwrap();
        let endpoint = format!("unix://{}", at("docker.sock"));
        let log = File::create(at("log")).unwrap();
        let words = ["--config-file", &at("daemon.json"), "--data-root", &at("data"), "--exec-root", &at("exec")];
        let daemon = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up && exec dockerd \"$@\"", "sh"])
            .args(words)
            .args(["--pidfile", &at("pid"), "-H", &endpoint])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let engine = Self { folder, daemon, endpoint };
        let end = Instant::now() + PATIENCE;
        // It tells nobody when it is ready.
        while engine.try_docker(&["info"]).is_err() {
            let said = || fs::read_to_string(engine.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "the second engine does not answer (it takes root):\n{}", said());
            thread::sleep(Duration::from_millis(200));
        }
        engine.docker(&["swarm", "init", "--advertise-addr", "127.0.0.1"]);
        let saved = Command::new("docker").args(["save", "skep-example:1"]).output().unwrap();
        assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
        let mut load = engine.command(&["load"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        load.stdin.take().unwrap().write_all(&saved.stdout).unwrap();
        assert!(load.wait().unwrap().success());
        engine
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(["-H", &self.endpoint]).args(arguments);
        command
    }

    fn try_docker(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Runs docker against it.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        self.try_docker(arguments).unwrap_or_else(|error| panic!("docker {arguments:?}: {error}"))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.try_docker(&["swarm", "leave", "--force"]);
        let id = self.daemon.id().to_string();
        let _ = Command::new("sh").args(["-c", "kill -TERM $0", &id]).status();
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match self.daemon.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(100)),
                _ => return,
            }
        }
        let _ = writeln!(io::stderr(), "the second engine did not end on SIGTERM");
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
