//! What is shipped beside the binary is true: the unit for systemd, rules and panels for its metrics, the table of threats.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests: what is not there fails them")]

#[expect(dead_code, unreachable_pub, reason = "other tests use the rest of it")]
#[path = "../support/git_http.rs"]
mod git_http;
#[expect(dead_code, unreachable_pub, reason = "other tests use the rest of it")]
#[path = "../support/git_ssh.rs"]
mod git_ssh;
mod image;
mod monitoring;
mod security;
mod unit;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// The program under test.
const SKEP: &str = env!("CARGO_BIN_EXE_skep");

/// A file of the repository.
fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A server on a folder, started by `program` before the binary's own name; killed when dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(program: &[&str], data: &Path) -> Self {
        let words =
            [program, &[SKEP, "serve", "--listen", "127.0.0.1:0", "--allow-private-addresses", "--metrics-public"]];
        let words = words.concat();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .args(["--docker", "unix:///nonexistent/docker.sock", "--data"])
            .arg(data)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("skep: listening on ").map(str::to_owned));
        let address = address.expect("it serves");
        // What it goes on to say is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    fn cli(&self, data: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(SKEP);
        command.env_remove("SKEP_TOKEN").args(["--server", &self.address, "--data"]).arg(data);
        command.args(arguments).stdin(Stdio::null()).output().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
