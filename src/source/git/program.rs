//! ssh and file, for the library's transport: a program is started, and the conversation goes over its pipes.
//!
//! The library could start them itself, but then a hanging one could not be ended, and what it says on its error output
//! would be lost.

use std::io::{self, Read};
use std::net::IpAddr;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::git::ConnectMode;
use gix::protocol::transport::client::git::blocking_io::Connection;

use super::access::{Access, refused};
use super::failure::{Cause, Failure};
use super::operation::Operation;
use super::options::GitOptions;
use crate::domain::GitUrl;
use crate::outbound::ssh::{Identity, arguments};
use crate::ports::KEY_VARIABLE;

/// The conversation over a program's pipes.
pub(super) type Pipes = Connection<Output, ChildStdin>;

/// Starts the program an address needs.
pub(super) fn transport(
    options: &GitOptions,
    operation: &Arc<Operation>,
    access: &Access,
    pinned: Option<IpAddr>,
) -> Result<Pipes, Failure> {
    let url = operation.url();
    let identity = match &access.credential {
        Some(open) => Some(Identity::prepare(open).map_err(|error| refused(url, error.to_string()))?),
        None => None,
    };
    let (command, needs) = match url.scheme() {
        "ssh" => (ssh(options, access, identity.as_ref(), pinned), "ssh:// needs the program of OpenSSH's client"),
        _ => (file(options, url), "file:// needs the program git"),
    };
    let pipes = start(command, needs, operation, identity);
    pipes.map_err(|error| operation.explain(&gix::Error::from_error(error)).error.into())
}

fn start(
    mut command: Command,
    needs: &str,
    operation: &Arc<Operation>,
    identity: Option<Identity>,
) -> io::Result<Pipes> {
    let url = operation.url();
    command.env("LC_ALL", "C").env("GIT_PROTOCOL", "version=2");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        let program = command.get_program().display();
        operation.fail(Cause::Network(format!("`{program}` cannot be started ({error}); {needs} on PATH")))
    })?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(input), Some(output), Some(errors)) = pipes else {
        return Err(io::Error::other("the program has no pipes"));
    };
    operation.adopt(child, listen(errors)?, identity);
    let output = Output { output, operation: Arc::clone(operation) };
    let path = url.as_str();
    Ok(Connection::new(output, input, Protocol::V2, path, None::<(String, _)>, ConnectMode::Process, false)
        .custom_url(Some(path.into())))
}

/// `git upload-pack` on a folder, with an environment of its own. Neither the user's nor the system's configuration is read, so `safe.directory` is set
/// here: that `file://` is allowed at all is the operator's word for it. Lazy fetching, by which a hostile repository
/// could run a program, is off.
fn file(options: &GitOptions, url: &GitUrl) -> Command {
    let path = url.as_str().strip_prefix("file://").unwrap_or_default();
    let mut command = Command::new(&options.git_program);
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
        .args(["-c", "safe.directory=*", "upload-pack"])
        .arg(if path.is_empty() { "/" } else { path })
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_TERMINAL_PROMPT", "0");
    command
}

/// `ssh … host git-upload-pack path`. Without a credential the configuration of ssh and its agent are the operator's own,
/// and are used.
fn ssh(options: &GitOptions, access: &Access, identity: Option<&Identity>, pinned: Option<IpAddr>) -> Command {
    let mut command = Command::new(&options.ssh_program);
    let run = format!("git-upload-pack {}", quoted(path(&access.url)));
    let place = access.ssh_place(pinned);
    command.args(arguments(identity, &options.ssh_arguments, &place, options.connect_timeout, &run));
    command.env("SSH_ASKPASS_REQUIRE", "never").env_remove(KEY_VARIABLE);
    command
}

/// The path of a repository at its host. `ssh://host/~user/x` is one in that user's home.
fn path(url: &GitUrl) -> &str {
    let rest = url.as_str().strip_prefix("ssh://").unwrap_or_default();
    let path = rest.find('/').map_or("/", |at| &rest[at..]);
    path.strip_prefix('/').filter(|path| path.starts_with('~')).unwrap_or(path)
}

/// A word the shell at the other end takes as it is. A leading `~user` stays outside of the quotes.
fn quoted(path: &str) -> String {
    let (home, rest) = match path.strip_prefix('~') {
        Some(_) => path.split_at(path.find('/').unwrap_or(path.len())),
        None => ("", path),
    };
    let plain = home.chars().skip(1).all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let (home, rest) = if plain { (home, rest) } else { ("", path) };
    format!("{home}'{}'", rest.replace('\'', r"'\''"))
}

/// Gathers the end of what a program says on its error output, and passes it on when that closes.
fn listen(mut errors: ChildStderr) -> io::Result<Receiver<String>> {
    const KEPT: usize = 4096;
    let (send, receive) = channel();
    std::thread::Builder::new().name("git stderr".to_owned()).spawn(move || {
        let mut kept = Vec::new();
        let mut piece = [0; 1024];
        while let Ok(amount @ 1..) = errors.read(&mut piece) {
            kept.extend_from_slice(piece.get(..amount).unwrap_or_default());
            let excess = kept.len().saturating_sub(KEPT);
            kept.drain(..excess);
        }
        // Nobody may be waiting for it any more.
        send.send(String::from_utf8_lossy(&kept).into_owned()).ok();
    })?;
    Ok(receive)
}

/// What the program prints, counted.
pub(super) struct Output {
    output: ChildStdout,
    operation: Arc<Operation>,
}

impl Read for Output {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let amount = self.output.read(into)?;
        self.operation.count(amount)?;
        Ok(amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(url: &str) -> String {
        let access = Access { url: GitUrl::parse(url).unwrap(), credential: None };
        let command = ssh(&GitOptions::default(), &access, None, None);
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        words.join(" ")
    }

    #[test]
    fn the_line_for_ssh() {
        let text = line("ssh://git@h.example:2222/a/it's.git");
        assert!(text.contains("BatchMode=yes") && text.contains("StrictHostKeyChecking=yes"), "{text}");
        assert!(text.ends_with(r"-p 2222 -l git -T -- h.example git-upload-pack '/a/it'\''s.git'"), "{text}");
        assert!(line("ssh://h/~me/x").ends_with("-- h git-upload-pack ~me'/x'"));
        assert!(line("ssh://h/~$(id)/x").ends_with("-- h git-upload-pack '~$(id)/x'"));
        assert!(line("ssh://[2001:db8::1]:22/x").ends_with("-T -- 2001:db8::1 git-upload-pack '/x'"));
    }
}
