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

use super::failure::Cause;
use super::operation::Operation;
use super::options::GitOptions;
use crate::domain::GitUrl;

/// The conversation over a program's pipes.
pub(super) type Pipes = Connection<Output, ChildStdin>;

/// Starts the program an address needs.
pub(super) fn transport(options: &GitOptions, operation: &Arc<Operation>, pinned: Option<IpAddr>) -> io::Result<Pipes> {
    let url = operation.url();
    let (mut command, needs) = match url.scheme() {
        "ssh" => (ssh(options, url, pinned), "ssh:// needs the program of OpenSSH's client"),
        _ => (file(options, url), "file:// needs the program git"),
    };
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
    operation.adopt(child, listen(errors)?);
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

/// `ssh … host git-upload-pack path`. It never asks anything, and knows the host's key or refuses. The configuration of
/// ssh and its agent are the operator's own, and are used.
fn ssh(options: &GitOptions, url: &GitUrl, pinned: Option<IpAddr>) -> Command {
    let Address { user, port, path } = Address::of(url);
    let mut command = Command::new(&options.ssh_program);
    command.args(&options.ssh_arguments);
    let seconds = options.connect_timeout.as_secs().max(1);
    for option in [
        "BatchMode=yes".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        format!("ConnectTimeout={seconds}"),
        "SendEnv=GIT_PROTOCOL".to_owned(),
        "ForwardAgent=no".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
    ] {
        command.arg("-o").arg(option);
    }
    if let Some(ip) = pinned {
        // The address that was checked, not one looked up anew; the key is that of the name, as ever.
        let alias = port.map_or_else(|| url.host().to_owned(), |port| format!("[{}]:{port}", url.host()));
        command.arg("-o").arg(format!("HostName={ip}")).arg("-o").arg(format!("HostKeyAlias={alias}"));
    }
    if let Some(port) = port {
        command.arg("-p").arg(port);
    }
    if let Some(user) = user {
        command.arg("-l").arg(user);
    }
    command.arg("-T").arg("--").arg(url.host()).arg(format!("git-upload-pack {}", quoted(path)));
    command.env("SSH_ASKPASS_REQUIRE", "never");
    command
}

struct Address<'a> {
    user: Option<&'a str>,
    port: Option<&'a str>,
    path: &'a str,
}

impl<'a> Address<'a> {
    fn of(url: &'a GitUrl) -> Self {
        let rest = url.as_str().strip_prefix("ssh://").unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user).filter(|user| !user.is_empty()), host),
            None => (None, authority),
        };
        let after_host = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
        let port = after_host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.is_empty() && *port != "22");
        // `ssh://host/~user/x` is a path in that user's home.
        let path = if path.starts_with("/~") { &path[1..] } else { path };
        Self { user, port, path: if path.is_empty() { "/" } else { path } }
    }
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

    fn line(url: &str, pinned: Option<IpAddr>) -> String {
        let command = ssh(&GitOptions::default(), &GitUrl::parse(url).unwrap(), pinned);
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        words.join(" ")
    }

    #[test]
    fn the_line_for_ssh() {
        let text = line("ssh://git@h.example:2222/a/it's.git", None);
        assert!(text.contains("BatchMode=yes") && text.contains("StrictHostKeyChecking=yes"), "{text}");
        assert!(text.ends_with(r"-p 2222 -l git -T -- h.example git-upload-pack '/a/it'\''s.git'"), "{text}");
        assert!(line("ssh://h/~me/x", None).ends_with("-- h git-upload-pack ~me'/x'"));
        assert!(line("ssh://h/~$(id)/x", None).ends_with("-- h git-upload-pack '~$(id)/x'"));
        assert!(line("ssh://[2001:db8::1]:22/x", None).ends_with("-T -- 2001:db8::1 git-upload-pack '/x'"));
    }

    #[test]
    fn a_checked_address_is_the_one_connected_to() {
        let text = line("ssh://git@h.example:2222/x", Some("1.1.1.1".parse().unwrap()));
        assert!(text.contains("HostName=1.1.1.1 -o HostKeyAlias=[h.example]:2222"), "{text}");
        let text = line("ssh://git@h.example/x", Some("1.1.1.1".parse().unwrap()));
        assert!(text.contains("HostName=1.1.1.1 -o HostKeyAlias=h.example "), "{text}");
    }
}
