//! The command line as a program: its errors, what it writes into folders, and what a terminal shows of it.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

mod errors;
mod folders;
mod screens;
#[path = "../support/tty.rs"]
mod tty;

/// An address at which nobody listens.
fn nobody() -> String {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!("http://{address}")
}

/// Runs `skep` in a folder of its own, with nothing of this machine's configuration.
fn skep(folder: &Path, server: &str, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
    command.args(line.split_whitespace()).current_dir(folder).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", folder);
    command.env("SKEP_CONTEXTS", folder.join("contexts.json")).env("SKEP_DATA", folder.join("data"));
    if !server.is_empty() {
        command.env("SKEP_SERVER", server).env("SKEP_TOKEN", "a-token-of-nobody");
    }
    command.output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
