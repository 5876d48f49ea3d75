//! A real `docker-registry` on a free port of loopback, which engines speak plain http to, and https without asking who it is.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use tempfile::TempDir;

pub const USER: &str = "ann";
pub const PASSWORD: &str = "correct-horse";

/// What a registry is started with.
#[derive(Default)]
pub struct Options<'a> {
    /// It lets only [`USER`] in.
    pub private: bool,
    /// Its certificate and key, as PEM: it speaks https.
    pub tls: Option<(&'a str, &'a str)>,
    /// Where it tells of what happens, and the word it shows there.
    pub tells: Option<(&'a str, &'a str)>,
}

pub struct Registry {
    child: Child,
    pub address: String,
    folder: TempDir,
    private: bool,
    /// Images that were put on the engine under the registry's name.
    tags: Mutex<Vec<String>>,
}

pub fn run(program: &str, arguments: &[&str]) -> String {
    let ran = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8(ran.stdout).unwrap()
}

impl Registry {
    pub fn start(options: &Options<'_>) -> Self {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let mut config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n",
            at("data")
        );
        if let Some((certificate, key)) = options.tls {
            std::fs::write(at("cert.pem"), certificate).unwrap();
            std::fs::write(at("key.pem"), key).unwrap();
            config.push_str(&format!("  tls:\n    certificate: {}\n    key: {}\n", at("cert.pem"), at("key.pem")));
        }
        if options.private {
            run("htpasswd", &["-Bbc", &at("htpasswd"), USER, PASSWORD]);
            config.push_str(&format!("auth:\n  htpasswd:\n    realm: tests\n    path: {}\n", at("htpasswd")));
        }
        if let Some((url, word)) = options.tells {
            config.push_str(&format!(
                "notifications:\n  endpoints:\n    - name: skep\n      url: {url}\n      timeout: 5s\n      threshold: 5\n      \
                 backoff: 1s\n      headers: {{ Authorization: [\"Bearer {word}\"] }}\n"
            ));
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
        Self { child, address, folder, private: options.private, tags: Mutex::default() }
    }

    /// Puts an image of the engine's into the registry, and takes the name away from the engine again.
    pub fn push(&self, image: &str, repository: &str, tag: &str) -> String {
        let name = format!("{}/{repository}:{tag}", self.address);
        let config = self.folder.path().join("docker").display().to_string();
        if self.private {
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
pub fn forget(image: &str) {
    let image = ["rmi", "-f", image];
    drop(Command::new("docker").args(image).stdout(Stdio::null()).stderr(Stdio::null()).status());
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        self.tags.lock().unwrap().iter().for_each(|name| forget(name));
    }
}
