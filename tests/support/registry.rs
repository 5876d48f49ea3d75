//! A real `docker-registry` with a password, on loopback, which engines speak plain http to.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "test support: what fails here fails the test")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use tempfile::TempDir;

/// Who may pull.
pub(crate) const USER: &str = "ann";
/// With this.
pub(crate) const PASSWORD: &str = "correct-horse";

/// A registry on a free port of loopback, which engines speak plain http to.
pub(crate) struct Registry {
    child: Child,
    password: bool,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    folder: TempDir,
    /// Images that were put on the engine under the registry's name.
    tags: Mutex<Vec<String>>,
}

/// Runs a program that must succeed; gives what it prints.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let ran = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8(ran.stdout).unwrap()
}

impl Registry {
    /// Starts it.
    pub(crate) fn start() -> Self {
        Self::serve(true)
    }

    /// Starts one that anybody may use.
    pub(crate) fn open() -> Self {
        Self::serve(false)
    }

    fn serve(password: bool) -> Self {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        run("htpasswd", &["-Bbc", &at("htpasswd"), USER, PASSWORD]);
        let mut config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n",
            at("data")
        );
        if password {
            config.push_str(&format!("auth:\n  htpasswd:\n    realm: tests\n    path: {}\n", at("htpasswd")));
        }
        std::fs::write(at("config.yml"), config).unwrap();
        let mut child = Command::new("docker-registry")
            .args(["serve", &at("config.yml")])
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("these tests need the package docker-registry");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("it says where it listens").unwrap();
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ' ', ',']).next().unwrap().to_owned();
            }
        };
        // What it goes on to say is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, password, address, folder, tags: Mutex::default() }
    }

    /// Puts an image of the engine's into the registry, and takes the name away from the engine again.
    pub(crate) fn push(&self, image: &str, tag: &str) -> String {
        let name = format!("{}/private:{tag}", self.address);
        let config = self.folder.path().join("docker").display().to_string();
        if self.password {
            run("docker", &["--config", &config, "login", "-u", USER, "-p", PASSWORD, &self.address]);
        }
        run("docker", &["tag", image, &name]);
        self.tags.lock().unwrap().push(name.clone());
        run("docker", &["--config", &config, "push", "-q", &name]);
        forget(&name);
        name
    }
}

/// Takes an image's name away from the engine. One that it does not have is no fault.
pub(crate) fn forget(image: &str) {
    let image = ["rmi", "-f", image];
    drop(Command::new("docker").args(image).stdout(Stdio::null()).stderr(Stdio::null()).status());
}

impl Registry {
    /// It is gone; what it had is gone with it.
    pub(crate) fn stop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
        self.tags.lock().unwrap().iter().for_each(|name| forget(name));
    }
}
