//! The image, built from the binary under test by the script that builds the real one.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use tempfile::TempDir;

use super::docker::{docker, try_docker};
use super::stack::unique;

/// Where the engine of this machine is asked.
pub(crate) const SOCKET: &str = "/var/run/docker.sock";

/// A tag of the image. Removed when dropped.
pub(crate) struct Image(pub(crate) String);

impl Image {
    /// The binary under test, with what its script puts beside it. `SKEP_BINARY` names another: the static one of a release.
    pub(crate) fn build() -> Self {
        let tested = env::var_os("SKEP_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_skep").into());
        let folder = TempDir::with_prefix("skep-e2e-image-").unwrap();
        let binary = folder.path().join("skep");
        // What only a debugger reads is most of it.
        let stripped = Command::new("strip").arg("-o").args([&binary, Path::new(&tested)]).status();
        assert!(stripped.unwrap().success(), "strip");
        let image = Self(format!("{}:1", unique("image")));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/image.sh");
        let made = Command::new(script).arg(&binary).arg(&image.0).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        image
    }

    /// The same under another tag, changed by further lines of a Dockerfile.
    pub(crate) fn changed(&self, tag: &str, lines: &str) -> Self {
        let folder = TempDir::with_prefix("skep-e2e-image-").unwrap();
        fs::write(folder.path().join("Dockerfile"), format!("FROM {}\n{lines}\n", self.0)).unwrap();
        let image = Self(self.0.replace(":1", &format!(":{tag}")));
        let path = folder.path().display().to_string();
        let made =
            Command::new("docker").env("DOCKER_BUILDKIT", "0").args(["build", "-q", "-t", &image.0, &path]).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        image
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // A container that still ends keeps its image for a moment.
        for _ in 0..50 {
            if try_docker(&["image", "rm", "-f", &self.0]).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The user of the image, in the group that may ask the engine.
pub(crate) fn user() -> String {
    format!("65532:{}", fs::metadata(SOCKET).unwrap().gid())
}

/// Waits on the engine's events until a container is found healthy; fails the test otherwise.
pub(crate) fn until_healthy(container: &str) {
    let mut events = Command::new("docker")
        .args(["events", "--since", "0", "--filter", "event=health_status", "--filter"])
        .arg(format!("container={container}"))
        .args(["--format", "{{.Status}}"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(events.stdout.take().unwrap()));
    let (tell, told) = mpsc::channel();
    thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let end = Instant::now() + Duration::from_secs(60);
    let status = || docker(&["inspect", "-f", "{{.State.Status}} {{.State.Health.Status}}", container]);
    while status() != "running healthy" && told.recv_timeout(end.saturating_duration_since(Instant::now())).is_ok() {}
    let _ = events.kill();
    let _ = events.wait();
    let logs = Command::new("docker").args(["logs", "--tail", "20", container]).output().unwrap();
    assert_eq!(status(), "running healthy", "{}", String::from_utf8_lossy(&logs.stderr));
}
