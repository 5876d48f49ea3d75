//! Keys for ssh: private ones that are unlocked in memory, and those of hosts.

use ssh_key::known_hosts::KnownHosts;
use ssh_key::{HashAlg, LineEnding, PrivateKey, PublicKey};
use zeroize::Zeroizing;

/// Why a private key cannot be used. Holds no part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyProblem {
    /// The key: what is wrong, and how to mend it.
    Key(String, String),
    /// Its passphrase.
    Passphrase(String),
}

/// The private key as OpenSSH reads it from a file, without passphrase.
///
/// # Errors
/// [`KeyProblem`].
pub fn unlock(key: &str, passphrase: Option<&str>) -> Result<Zeroizing<String>, KeyProblem> {
    let wrong = |what: &str, hint: &str| Err(KeyProblem::Key(format!("`privateKey` {what}"), hint.to_owned()));
    let text = key.trim();
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") {
        return wrong("is a public key", "give the file without .pub");
    }
    if !text.starts_with("-----BEGIN ") {
        return wrong("is not a private key", "give the file that ssh-keygen made, without .pub");
    }
    if !text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----") {
        if text.contains("ENCRYPTED") {
            let hint = "`ssh-keygen -p -f FILE` writes it in the form of OpenSSH";
            return wrong("is locked with a passphrase in an old form", hint);
        }
        return Ok(Zeroizing::new(format!("{text}\n")));
    }
    let parsed = match PrivateKey::from_openssh(text) {
        Ok(parsed) => parsed,
        Err(_) => return wrong("cannot be read", "give the whole file that ssh-keygen made"),
    };
    if !parsed.is_encrypted() {
        return Ok(Zeroizing::new(format!("{text}\n")));
    }
    let Some(passphrase) = passphrase else {
        return Err(KeyProblem::Passphrase("`privateKey` is locked, and there is no `passphrase`".to_owned()));
    };
    let Ok(open) = parsed.decrypt(passphrase) else {
        return Err(KeyProblem::Passphrase("`passphrase` does not open `privateKey`".to_owned()));
    };
    match open.to_openssh(LineEnding::LF) {
        Ok(text) => Ok(text),
        Err(_) => wrong("is of a kind that cannot be unlocked", "use a key of type ed25519"),
    }
}

/// Checks the lines of a known_hosts file.
///
/// # Errors
/// The number of the first line that is none, from 1.
pub fn known_hosts(text: &str) -> Result<(), usize> {
    for (number, line) in text.lines().enumerate() {
        let fine = KnownHosts::new(line).all(|entry| entry.is_ok());
        if !fine || line.chars().any(|c| c.is_control() && c != '\t') {
            return Err(number + 1);
        }
    }
    Ok(())
}

/// A line of a known_hosts file that names one host and its key, and the key's fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    /// `host type key`, or `[host]:port type key`.
    pub line: String,
    /// The type of the key, for people.
    pub kind: String,
    /// `SHA256:…`.
    pub fingerprint: String,
}

impl HostKey {
    /// Reads one line; none when it is not one, or names more than one host.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [host, kind, key] = words.get(..3)? else { return None };
        if host.contains([',', '*', '?', '!', '|', '@']) || host.starts_with('#') {
            return None;
        }
        let public = PublicKey::from_openssh(&format!("{kind} {key}")).ok()?;
        let fingerprint = public.fingerprint(HashAlg::Sha256).to_string();
        Some(Self { line: format!("{host} {kind} {key}"), kind: (*kind).to_owned(), fingerprint })
    }

    /// The host it is the key of.
    #[must_use]
    pub fn host(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }
}

/// Known hosts with one more accepted key. Other keys of the same type that the host had before are left out: a person
/// has just said which one is right.
#[must_use]
pub fn accept(known: &str, accepted: &HostKey) -> String {
    let replaced =
        |line: &str| HostKey::parse(line).is_some_and(|it| it.host() == accepted.host() && it.kind == accepted.kind);
    let kept = known.lines().map(str::trim).filter(|line| !line.is_empty() && !replaced(line));
    let lines: Vec<&str> = kept.chain([accepted.line.as_str()]).collect();
    format!("{}\n", lines.join("\n"))
}
