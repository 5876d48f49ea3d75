//! Real git repositories, and a server that gives them out over http through `git http-backend`, as a git host would. It
//! counts what it is asked, and can be told to misbehave. It listens on 127.0.0.1, on a port of the system's choice.
#![expect(clippy::unwrap_used, reason = "test support: what fails here fails the test")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// Runs git without any configuration of this machine; gives what it prints.
pub fn git(folder: &Path, arguments: &[&str], input: &[u8]) -> String {
    let mut child = bare_git(folder, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn bare_git(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "Ada")
        .env("GIT_AUTHOR_EMAIL", "ada@example.org")
        .env("GIT_COMMITTER_NAME", "Ada")
        .env("GIT_COMMITTER_EMAIL", "ada@example.org")
        .env("GIT_AUTHOR_DATE", "1700000000 +0000")
        .env("GIT_COMMITTER_DATE", "1700000000 +0000");
    command
}

/// What a file of a commit is.
#[derive(Debug, Clone, Copy)]
pub enum Entry<'a> {
    /// A file with this text.
    Text(&'a str),
    /// A file with these bytes.
    Bytes(&'a [u8]),
    /// A symlink to this target.
    Link(&'a str),
    /// A submodule at this commit.
    Submodule(&'a str),
    /// Not there any more.
    Gone,
}

/// A bare repository whose default branch is `main`.
#[derive(Debug, Clone)]
pub struct Repo {
    /// Its folder.
    pub path: PathBuf,
}

impl Repo {
    /// Makes an empty one, `<root>/<name>.git`.
    pub fn create(root: &Path, name: &str) -> Self {
        let folder = format!("{name}.git");
        git(root, &["init", "--quiet", "--bare", "-b", "main", &folder], b"");
        Self { path: root.join(folder) }
    }

    /// Its `file://` address.
    pub fn file_url(&self) -> String {
        format!("file://{}", self.path.display())
    }

    /// Runs git in it.
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.path, arguments, b"")
    }

    /// Commits these text files on top of a branch, which is made when missing. Gives the commit.
    pub fn commit(&self, branch: &str, files: &[(&str, &str)]) -> String {
        self.commit_entries(branch, &files.iter().map(|(path, text)| (*path, Entry::Text(text))).collect::<Vec<_>>())
    }

    /// As [`Self::commit`], for all kinds of entries.
    pub fn commit_entries(&self, branch: &str, files: &[(&str, Entry<'_>)]) -> String {
        let name = format!("refs/heads/{branch}");
        let exists =
            bare_git(&self.path, &["rev-parse", "--quiet", "--verify", &name]).output().unwrap().status.success();
        let title = format!("Change {}", files.first().map_or("nothing", |(path, _)| path));
        let mut stream = Vec::new();
        let who = "Ada <ada@example.org> 1700000000 +0000";
        writeln!(stream, "commit {name}\nauthor {who}\ncommitter {who}\ndata {}\n{title}", title.len()).unwrap();
        if exists {
            writeln!(stream, "from {name}^0").unwrap();
        }
        for (path, entry) in files {
            let (mode, bytes) = match entry {
                Entry::Text(text) => ("100644", text.as_bytes()),
                Entry::Bytes(bytes) => ("100644", *bytes),
                Entry::Link(target) => ("120000", target.as_bytes()),
                Entry::Gone => {
                    writeln!(stream, "D {path}").unwrap();
                    continue;
                }
                Entry::Submodule(commit) => {
                    writeln!(stream, "M 160000 {commit} {path}").unwrap();
                    continue;
                }
            };
            write!(stream, "M {mode} inline {path}\ndata {}\n", bytes.len()).unwrap();
            stream.extend_from_slice(bytes);
            stream.push(b'\n');
        }
        stream.push(b'\n');
        git(&self.path, &["fast-import", "--quiet", "--force"], &stream);
        self.git(&["rev-parse", &name])
    }

    /// Puts a lightweight tag on a commit.
    pub fn tag(&self, name: &str, commit: &str) {
        self.git(&["tag", "--force", name, commit]);
    }

    /// Puts an annotated tag on a commit. Gives the id of the tag's own object.
    pub fn annotated_tag(&self, name: &str, commit: &str) -> String {
        self.git(&["tag", "--force", "-a", "-m", name, name, commit]);
        self.git(&["rev-parse", &format!("refs/tags/{name}")])
    }

    /// Moves any ref to a commit, as a forced push does.
    pub fn set_ref(&self, name: &str, commit: &str) {
        self.git(&["update-ref", name, commit]);
    }

    /// Deletes any ref.
    pub fn delete_ref(&self, name: &str) {
        self.git(&["update-ref", "-d", name]);
    }
}

/// How the server treats requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// As git does.
    Serve,
    /// Answers each with this status.
    Status(u16),
    /// Does not answer until told otherwise, and then by the new manner.
    Hang,
    /// Answers each with 200 and these bytes, as if they were what was asked for.
    Garbage(Vec<u8>),
    /// Serves, as a git does that knows no newer protocol than the first.
    OldProtocol,
    /// Serves, but the packs it sends are spoilt.
    SpoiltPacks,
    /// Serves, but every pack ends in its middle.
    HalfPacks,
    /// Redirects each to the same path and query under this address.
    Redirect(String),
    /// Serves, but redirects what is asked of one path's beginning to another on this host.
    Renamed {
        /// The old beginning, `/old.git`.
        from: String,
        /// The new one.
        to: String,
    },
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// `ls-refs` or `fetch`, of a `POST`.
    pub command: Option<String>,
    /// Objects in the pack of the answer.
    pub objects: u32,
}

struct Shared {
    root: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
    stopped: AtomicBool,
}

struct State {
    manner: Manner,
    arrived: usize,
    requests: Vec<Request>,
}

/// The server. It ends when dropped.
pub struct GitServer {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl GitServer {
    /// Serves the repositories below a folder.
    pub fn start(root: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            state: Mutex::new(State { manner: Manner::Serve, arrived: 0, requests: Vec::new() }),
            changed: Condvar::new(),
            stopped: AtomicBool::new(false),
        });
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for connection in listener.incoming() {
                    if shared.stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    let shared = Arc::clone(&shared);
                    if let Ok(connection) = connection {
                        // A client that goes away is its own affair.
                        std::thread::spawn(move || shared.talk(&connection).ok());
                    }
                }
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// The address of a repository, `http://127.0.0.1:PORT/<name>.git`.
    pub fn url(&self, name: &str) -> String {
        format!("{}/{name}.git", self.base())
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes the manner; requests that hang go on by the new one.
    pub fn behave(&self, manner: Manner) {
        self.shared.state.lock().unwrap().manner = manner;
        self.shared.changed.notify_all();
    }

    /// The requests that were answered since the last call.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.shared.state.lock().unwrap().requests)
    }

    /// Waits until so many requests have come in since the start. Blocks.
    pub fn wait_for_arrivals(&self, number: usize) {
        let state = self.shared.state.lock().unwrap();
        drop(self.shared.changed.wait_while(state, |state| state.arrived < number).unwrap());
    }

    /// Ends the server; its port then refuses connections.
    pub fn stop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.behave(Manner::Status(503));
        // Wakes the listener up.
        TcpStream::connect(self.address).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// One request for each connection.
    fn talk(&self, connection: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(connection);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(()) };
        let (method, target) = (method.to_owned(), target.to_owned());
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;

        let manner = self.arrive();
        let command = match method.as_str() {
            "POST" if contains(&body, b"command=ls-refs") => Some("ls-refs"),
            "POST" => Some("fetch"),
            _ => None,
        };
        let mut answer = self.answer(&manner, &method, &target, &headers, &body);
        let mut objects = 0;
        if command == Some("fetch")
            && let Some(start) = answer.windows(4).position(|bytes| bytes == b"PACK")
        {
            // The signature, the version and the number of objects; then the objects.
            objects = answer.get(start + 8..start + 12).map_or(0, |n| u32::from_be_bytes(n.try_into().unwrap()));
            if manner == Manner::SpoiltPacks {
                for byte in answer.iter_mut().skip(start + 12).step_by(3) {
                    *byte = byte.wrapping_add(41);
                }
            }
        }
        if objects > 0 && manner == Manner::HalfPacks {
            answer.truncate(answer.len() - answer.len() / 4);
        }
        let command = command.map(str::to_owned);
        self.state.lock().unwrap().requests.push(Request { method, target, command, objects });
        let mut writer = connection;
        writer.write_all(&answer)?;
        writer.flush()
    }

    fn arrive(&self) -> Manner {
        let mut state = self.state.lock().unwrap();
        state.arrived += 1;
        self.changed.notify_all();
        self.changed.wait_while(state, |state| state.manner == Manner::Hang).unwrap().manner.clone()
    }

    fn answer(
        &self,
        manner: &Manner,
        method: &str,
        target: &str,
        headers: &HashMap<String, String>,
        body: &[u8],
    ) -> Vec<u8> {
        match manner {
            Manner::Status(code) => response(*code, "", b"no"),
            Manner::Redirect(base) => response(302, &format!("Location: {base}{target}\r\n"), b""),
            Manner::Garbage(bytes) => {
                let kind = if method == "GET" { "advertisement" } else { "result" };
                response(200, &format!("Content-Type: application/x-git-upload-pack-{kind}\r\n"), bytes)
            }
            Manner::Renamed { from, to } if target.starts_with(from.as_str()) => {
                let rest = target.get(from.len()..).unwrap_or_default();
                response(301, &format!("Location: {to}{rest}\r\n"), b"")
            }
            _ => self.backend(manner, method, target, headers, body),
        }
    }

    fn backend(
        &self,
        manner: &Manner,
        method: &str,
        target: &str,
        headers: &HashMap<String, String>,
        body: &[u8],
    ) -> Vec<u8> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let header = |name: &str| match headers.get(name) {
            Some(value) if name != "git-protocol" || *manner != Manner::OldProtocol => value.as_str(),
            _ => "",
        };
        let mut child = bare_git(&self.root, &["http-backend"])
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", path)
            .env("QUERY_STRING", query)
            .env("REQUEST_METHOD", method)
            .env("CONTENT_TYPE", header("content-type"))
            .env("CONTENT_LENGTH", body.len().to_string())
            .env("GIT_PROTOCOL", header("git-protocol"))
            .env("REMOTE_ADDR", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let to_send = body.to_vec();
        // It may end without having read everything.
        let feeder = std::thread::spawn(move || input.write_all(&to_send).ok());
        let output = child.wait_with_output().unwrap().stdout;
        feeder.join().unwrap();
        let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(output.len());
        let mut status = 200;
        let mut kept = String::new();
        for line in String::from_utf8_lossy(&output[..end]).lines() {
            match line.strip_prefix("Status: ") {
                Some(text) => status = text.split(' ').next().unwrap().parse().unwrap(),
                None => write!(kept, "{line}\r\n").unwrap(),
            }
        }
        response(status, &kept, output.get(end + 4..).unwrap_or_default())
    }
}

fn response(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len())
            .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}
