//! A server of its own for each test, and what its stacks are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::receiver::PATIENCE;

const SKEP: &str = env!("CARGO_BIN_EXE_skep");
/// What webhooks are signed with.
pub(crate) const SECRET: &str = "marked-secret-of-a-webhook-7d10";
/// What signs in to git hosts.
pub(crate) const TOKEN: &str = "marked-token-of-a-git-host-2b61";
/// A file that no deployment gets past.
pub(crate) const BAD: &str = "services: { web: { imagee: 'x:1' } }\n";

/// A stack over git.
pub(crate) fn stack(git: &str) -> String {
    format!("kind: Stack\nname: shop\nsource: {{ git: '{git}/team/shop.git', ref: main, poll: 1h }}\n")
}

/// A server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    data: PathBuf,
    address: String,
}

impl Server {
    pub(crate) fn start(data: &Path, flags: &[&str]) -> Self {
        let mut child = Command::new(SKEP)
            .args(["serve", "--listen", "127.0.0.1:0", "--public-url", "https://skep.example.org/", "--docker"])
            .arg(format!("unix://{}", data.with_extension("nothing").display()))
            .args(flags)
            .arg("--data")
            .arg(data)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let address = crate::serving::address_of(&mut child);
        Self { child, data: data.to_owned(), address }
    }

    /// Runs a command of the client.
    pub(crate) fn run(&self, line: &[&str]) -> (i32, String) {
        let output = Command::new(SKEP)
            .args(line)
            .args(["--server", &self.address, "--data"])
            .arg(&self.data)
            .env("SECRET", SECRET)
            .env("TOKEN", TOKEN)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
    }

    pub(crate) fn done(&self, line: &[&str]) -> String {
        let (code, said) = self.run(line);
        assert_eq!(code, 0, "{line:?}: {said}");
        said
    }

    pub(crate) fn apply(&self, text: &str) -> String {
        let file = self.data.with_extension("yml");
        fs::write(&file, text).unwrap();
        self.done(&["apply", "-f", &file.display().to_string()])
    }

    /// The only deployment, once it is so.
    pub(crate) fn deployment(&self, is: impl Fn(&Value) -> bool) -> Value {
        self.listed("deployments", is)
    }

    /// A notifier, once it is so.
    pub(crate) fn notifier(&self, name: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.listed("notifiers", |it| it["name"] == name && is(it))
    }

    /// The first of a list that is so, once there is one.
    fn listed(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let list: Value = serde_json::from_str(&self.done(&["get", what, "-o", "json"])).unwrap();
            if let Some(found) = list.as_array().unwrap().iter().find(|it| is(it)) {
                return found.clone();
            }
            assert!(Instant::now() < end, "{list}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
