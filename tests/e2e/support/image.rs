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

/// Where an engine is asked, unless somebody says otherwise; in a container, always.
pub(crate) const SOCKET: &str = "/var/run/docker.sock";

/// The socket of the engine under test, as this machine has it.
pub(crate) fn socket() -> String {
    let host = env::var("DOCKER_HOST").unwrap_or_else(|_| format!("unix://{SOCKET}"));
    host.strip_prefix("unix://").expect("the engine of the tests has a socket").to_owned()
}

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

    /// haproxy as its own image has it: started as `haproxy -W -db` with the file of that place, by a user of its own. The
    /// program is this machine's, with the libraries that it names.
    pub(crate) fn haproxy() -> Self {
        let folder = TempDir::with_prefix("skep-e2e-image-").unwrap();
        let root = folder.path().join("root");
        let put = |from: &Path, to: &str| {
            let to = root.join(to.trim_start_matches('/'));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, to).unwrap();
        };
        let program = Command::new("sh").args(["-c", "command -v haproxy"]).output().unwrap();
        let program = String::from_utf8(program.stdout).unwrap();
        let program = Path::new(program.trim());
        assert!(program.is_file(), "haproxy, of the package haproxy");
        put(program, "/usr/local/sbin/haproxy");
        let libraries = Command::new("ldd").arg(program).output().unwrap();
        let libraries = String::from_utf8(libraries.stdout).unwrap();
        for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            put(Path::new(library), library);
        }
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/passwd"), "haproxy:x:99:99::/var/lib/haproxy:/nonexistent\n").unwrap();
        fs::write(root.join("etc/group"), "haproxy:x:99:\n").unwrap();
        let lines = [
            "FROM scratch",
            "COPY root /",
            "USER haproxy",
            "STOPSIGNAL SIGUSR1",
            r#"ENTRYPOINT ["/usr/local/sbin/haproxy", "-W", "-db"]"#,
            r#"CMD ["-f", "/usr/local/etc/haproxy/haproxy.cfg"]"#,
        ];
        Self(format!("{}:1", unique("haproxy"))).made(folder.path(), &lines.join("\n"))
    }

    /// The same under another tag, changed by further lines of a Dockerfile.
    pub(crate) fn changed(&self, tag: &str, lines: &str) -> Self {
        let folder = TempDir::with_prefix("skep-e2e-image-").unwrap();
        let image = Self(self.0.replace(":1", &format!(":{tag}")));
        image.made(folder.path(), &format!("FROM {}\n{lines}\n", self.0))
    }

    /// Built in a folder, by the builder that is on every engine.
    fn made(self, folder: &Path, lines: &str) -> Self {
        fs::write(folder.join("Dockerfile"), lines).unwrap();
        let path = folder.display().to_string();
        let made =
            Command::new("docker").env("DOCKER_BUILDKIT", "0").args(["build", "-q", "-t", &self.0, &path]).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        self
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
    format!("65532:{}", fs::metadata(socket()).unwrap().gid())
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
