//! A command on a terminal of its own, with keys pressed and the screen read. `script` makes the terminal.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// A command on a terminal of 100 columns and 30 lines.
pub(crate) struct Terminal {
    child: Child,
    told: Receiver<Vec<u8>>,
    /// All that was written to the terminal.
    pub seen: String,
    bytes: Vec<u8>,
}

impl Terminal {
    /// Runs `skep` with this line of a shell, against the server at this address.
    pub(crate) fn run(server: &str, token: &str, line: &str) -> Self {
        Self::with(server, token, &[], line)
    }

    /// The same, with variables of the environment.
    pub(crate) fn with(server: &str, token: &str, variables: &[(&str, &str)], line: &str) -> Self {
        let skep = env!("CARGO_BIN_EXE_skep");
        let mut child = Command::new("script")
            .args(["-q", "-f", "-e", "-c", &format!("stty cols 100 rows 30; exec {skep} {line}"), "/dev/null"])
            .env("SKEP_SERVER", server)
            .env("SKEP_TOKEN", token)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .env_remove("CI")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut buffer) {
                if tell.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, told, seen: String::new(), bytes: Vec::new() }
    }

    /// Reads on until the screen has said this, colours and movements aside.
    pub(crate) fn until(&mut self, text: &str, seconds: u64) {
        self.wait(text, seconds, |it| plain(&it.seen).contains(text));
    }

    /// Reads on until something holds.
    pub(crate) fn wait(&mut self, what: &str, seconds: u64, holds: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while !holds(self) {
            match self.told.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.take(&bytes),
                Err(_) => panic!("`{what}` never came:\n{}", plain(&self.seen)),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.seen = String::from_utf8_lossy(&self.bytes).into_owned();
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Reads to the end; gives the exit code, all that was written, and the same without colours and movements.
    pub(crate) fn end(mut self) -> (Option<i32>, String, String) {
        while let Ok(bytes) = self.told.recv_timeout(Duration::from_secs(60)) {
            self.take(&bytes);
        }
        let code = self.child.wait().unwrap().code();
        let text = plain(&self.seen);
        (code, self.seen, text)
    }
}

/// Without colours and movements.
pub(crate) fn plain(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\x1b') {
        kept.push_str(before);
        let end = after.find(|c: char| c.is_ascii_alphabetic()).map_or(after.len(), |at| at + 1);
        rest = &after[end..];
    }
    kept.push_str(rest);
    kept.replace('\r', "")
}
