//! The program ssh, run with the key of a credential: the line of its arguments, and what it says of a host's key.
//!
//! Key and known hosts are files in a [private folder](super::folder) for as long as the program runs; they never stand in
//! an argument or in the environment. With a credential neither the configuration of ssh nor an agent is used.

use std::ffi::OsString;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::folder::PrivateFolder;
use crate::keys::ssh::{HostKey, KeyProblem, unlock};
use crate::ports::{KEY_VARIABLE, KeyringError, OpenCredential};

/// Whom ssh is to reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The user there; that of this process when left out.
    pub user: Option<String>,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The address that was checked, when it was.
    pub pinned: Option<IpAddr>,
}

impl Place {
    /// The name its key is known by: `host`, or `[host]:port`.
    #[must_use]
    pub fn name(&self) -> String {
        if self.port == 22 { self.host.clone() } else { format!("[{}]:{}", self.host, self.port) }
    }
}

/// A credential's key and known hosts, as files.
#[derive(Debug)]
pub struct Identity {
    folder: PrivateFolder,
}

impl Identity {
    /// Unlocks the key of a credential of type SshKey.
    ///
    /// # Errors
    /// [`KeyringError::Unusable`].
    pub fn prepare(credential: &OpenCredential) -> Result<Self, KeyringError> {
        let key = unlock(credential.needed("privateKey")?, credential.text("passphrase"));
        let key = key.map_err(|problem| match problem {
            KeyProblem::Key(reason, _) | KeyProblem::Passphrase(reason) => credential.unusable(reason),
        })?;
        let written = PrivateFolder::make().and_then(|folder| {
            folder.write("key", &key)?;
            folder.write("known_hosts", credential.text("knownHosts").unwrap_or_default())?;
            Ok(folder)
        });
        match written {
            Ok(folder) => Ok(Self { folder }),
            Err(error) => Err(credential.unusable(format!("it cannot be put where ssh reads it: {error}"))),
        }
    }

    fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec![OsString::from("-F"), "none".into()];
        let option = |name: &str, path: &Path| {
            let mut text = OsString::from(name);
            text.push("=");
            text.push(path);
            text
        };
        for text in [
            option("IdentityFile", &self.folder.path("key")),
            option("UserKnownHostsFile", &self.folder.path("known_hosts")),
            "GlobalKnownHostsFile=/dev/null".into(),
            "IdentitiesOnly=yes".into(),
            "IdentityAgent=none".into(),
            "PreferredAuthentications=publickey".into(),
            "UpdateHostKeys=no".into(),
        ] {
            arguments.extend(["-o".into(), text]);
        }
        arguments
    }
}

/// The arguments of ssh for a command at a place. It never asks anything, and knows the host's key or refuses. `before` are
/// options that win over all others; they count only without an identity, which brings its own.
#[must_use]
pub fn arguments(
    identity: Option<&Identity>,
    before: &[String],
    place: &Place,
    connect_timeout: Duration,
    command: &str,
) -> Vec<OsString> {
    let mut arguments = match identity {
        Some(identity) => identity.arguments(),
        None => before.iter().map(OsString::from).collect(),
    };
    arguments.extend(common(place, connect_timeout, "yes"));
    arguments.extend(["-T".into(), "--".into(), place.host.as_str().into(), command.into()]);
    arguments
}

fn common(place: &Place, connect_timeout: Duration, strict: &str) -> Vec<OsString> {
    let mut arguments = Vec::new();
    let seconds = connect_timeout.as_secs().max(1);
    for option in [
        "BatchMode=yes".to_owned(),
        format!("StrictHostKeyChecking={strict}"),
        format!("ConnectTimeout={seconds}"),
        "ServerAliveInterval=15".to_owned(),
        "ServerAliveCountMax=3".to_owned(),
        "SendEnv=GIT_PROTOCOL".to_owned(),
        "ForwardAgent=no".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
    ] {
        arguments.extend([OsString::from("-o"), option.into()]);
    }
    if let Some(ip) = place.pinned {
        // The address that was checked, not one looked up anew; the key is that of the name, as ever.
        for option in [format!("HostName={ip}"), format!("HostKeyAlias={}", place.name())] {
            arguments.extend([OsString::from("-o"), option.into()]);
        }
    }
    if place.port != 22 {
        arguments.extend([OsString::from("-p"), place.port.to_string().into()]);
    }
    if let Some(user) = &place.user {
        arguments.extend([OsString::from("-l"), user.into()]);
    }
    arguments
}

/// Whether what ssh said is that it does not trust the host's key.
#[must_use]
pub fn says_untrusted(said: &str) -> bool {
    let said = said.to_lowercase();
    // The first and the last word of one and the same message: it may have been cut.
    ["host key verification failed", "host key is known", "host identification has changed"]
        .iter()
        .any(|words| said.contains(words))
}

/// What to say of a key that is not trusted: its fingerprint, and how a person accepts it. Asks the host for the key once
/// more, without offering it anything. Blocks for at most twice the time for a connection.
#[must_use]
pub fn about_untrusted(
    program: &Path,
    credential: &str,
    place: &Place,
    connect_timeout: Duration,
    said: &str,
) -> String {
    let changed = said.to_lowercase().contains("identification has changed");
    let Some(key) = offered(program, place, connect_timeout) else {
        let name = place.name();
        return format!("the key of {name} is not the known one, and it could not be read to be shown; try again");
    };
    let HostKey { line, kind, fingerprint } = &key;
    let accept = format!("`skep credential trust {credential} '{line}'`");
    if changed {
        return format!(
            "its key is another than the known one: {kind} {fingerprint}; somebody may stand in between. Only if the \
             operator of the host says that it was changed, to this: {accept}"
        );
    }
    format!(
        "its key is not known yet: {kind} {fingerprint}; compare that with the host's own, then accept it: {accept}"
    )
}

/// The key a host shows.
fn offered(program: &Path, place: &Place, connect_timeout: Duration) -> Option<HostKey> {
    let folder = PrivateFolder::make().ok()?;
    let file = folder.path("offered");
    let mut known = OsString::from("UserKnownHostsFile=");
    known.push(&file);
    let mut command = Command::new(program);
    command.args(["-F", "none", "-o"]).arg(known);
    for option in [
        "GlobalKnownHostsFile=/dev/null",
        "HashKnownHosts=no",
        "UpdateHostKeys=no",
        "IdentityAgent=none",
        "PubkeyAuthentication=no",
        "PreferredAuthentications=none",
    ] {
        command.arg("-o").arg(option);
    }
    command.args(common(place, connect_timeout, "accept-new")).args(["-T", "--"]).arg(&place.host).arg("exit");
    command.env("LC_ALL", "C").env("SSH_ASKPASS_REQUIRE", "never").env_remove(KEY_VARIABLE);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    let until = std::time::Instant::now() + connect_timeout * 2;
    while matches!(child.try_wait(), Ok(None)) && std::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().ok();
    child.wait().ok();
    let text = fs::read_to_string(&file).ok()?;
    text.lines().find_map(HostKey::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(port: u16, pinned: Option<&str>) -> Place {
        let pinned = pinned.map(|ip| ip.parse().unwrap());
        Place { user: Some("git".into()), host: "h.example".into(), port, pinned }
    }

    fn line(place: &Place) -> String {
        let words = arguments(None, &[], place, Duration::from_secs(10), "run");
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_checked_address_is_the_one_connected_to() {
        let text = line(&place(2222, Some("1.1.1.1")));
        assert!(text.contains("HostName=1.1.1.1 -o HostKeyAlias=[h.example]:2222"), "{text}");
        assert!(line(&place(22, Some("1.1.1.1"))).contains("HostName=1.1.1.1 -o HostKeyAlias=h.example "));
        assert!(text.ends_with("-p 2222 -l git -T -- h.example run"), "{text}");
        assert!(text.contains("BatchMode=yes") && text.contains("StrictHostKeyChecking=yes"), "{text}");
    }
}
