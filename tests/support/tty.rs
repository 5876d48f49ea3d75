//! A command on a terminal of its own, with keys pressed and the screen read. `script` makes the terminal.

use std::fs;
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
    glass: vt100::Parser,
}

impl Terminal {
    /// Runs `skep` with this line of a shell, against the server at this address.
    pub(crate) fn run(server: &str, token: &str, line: &str) -> Self {
        Self::with(server, token, &[], line)
    }

    /// The same, with variables of the environment.
    pub(crate) fn with(server: &str, token: &str, variables: &[(&str, &str)], line: &str) -> Self {
        Self::shell(server, token, variables, &format!("exec $SKEP {line}"))
    }

    /// Runs a line of a shell in which `$SKEP` is the program.
    pub(crate) fn shell(server: &str, token: &str, variables: &[(&str, &str)], line: &str) -> Self {
        // Ctrl-C is heard, also where whoever started the tests ignores it: that is inherited, and no shell takes it back.
        let mut child = Command::new("env")
            .args([
                "--default-signal=INT,QUIT",
                "script",
                "-q",
                "-f",
                "-e",
                "-c",
                &format!("stty cols 100 rows 30; {line}"),
                "/dev/null",
            ])
            .env("SKEP", env!("CARGO_BIN_EXE_skep"))
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
        let glass = vt100::Parser::new(cells(30), cells(100), 0);
        Self { child, told, seen: String::new(), bytes: Vec::new(), glass }
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
                Err(_) => panic!("`{what}` never came:\n{}\n{}", plain(&self.seen), self.screen()),
            }
        }
    }

    /// What stands on the screen now: everything that was written, played into a terminal.
    pub(crate) fn glass(&self) -> &vt100::Parser {
        &self.glass
    }

    /// The same as text, without blanks at the ends of lines.
    pub(crate) fn screen(&self) -> String {
        let text = self.glass().screen().contents();
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    /// Reads on until this stands on the screen.
    pub(crate) fn shows(&mut self, text: &str, seconds: u64) {
        self.wait(text, seconds, |it| it.screen().contains(text));
    }

    /// The process on the terminal.
    pub(crate) fn process(&self) -> String {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        children.split_whitespace().next().unwrap().to_owned()
    }

    /// Gives the terminal another size, as when a window is dragged.
    pub(crate) fn resize(&mut self, columns: u16, lines: u16) {
        let place = fs::read_link(format!("/proc/{}/fd/0", self.process())).unwrap();
        let size = ["cols".to_owned(), columns.to_string(), "rows".to_owned(), lines.to_string()];
        assert!(Command::new("stty").arg("-F").arg(place).args(size).status().unwrap().success());
        self.glass.screen_mut().set_size(cells(lines), cells(columns));
    }

    fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.glass.process(bytes);
        self.seen = String::from_utf8_lossy(&self.bytes).into_owned();
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Reads to the end.
    pub(crate) fn drain(&mut self) {
        while let Ok(bytes) = self.told.recv_timeout(Duration::from_secs(60)) {
            self.take(&bytes);
        }
    }

    /// Reads to the end; gives the exit code, all that was written, and the same without colours and movements.
    pub(crate) fn end(mut self) -> (Option<i32>, String, String) {
        self.drain();
        let code = self.child.wait().unwrap().code();
        let text = plain(&self.seen);
        (code, self.seen, text)
    }
}

/// A number of columns or lines, as the terminal counts them.
fn cells<T: TryFrom<u16, Error: std::fmt::Debug>>(count: u16) -> T {
    count.try_into().unwrap()
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
