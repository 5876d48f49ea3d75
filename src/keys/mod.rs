//! What key material has to look like, and what is made of it: values in, values out. It reads no file and asks nobody.
//!
//! [`check`] holds a credential's values against its type when they come in, so that what is kept can be used. [`ssh`],
//! [`tls`], [`github`] and [`registry`] turn values into what the adapters need.

pub mod github;
pub mod registry;
pub mod ssh;
pub mod tls;

use std::collections::BTreeMap;

use crate::domain::{CredentialType, DataKey, Form, SecretBytes};

/// Values a credential holds at most.
pub const MOST_VALUES: usize = 16;

/// What is wrong with one value, or with the lack of one. Holds no part of any value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The key of the value.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub hint: Option<String>,
}

impl Wrong {
    fn new(key: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { key: key.to_owned(), message: message.into(), hint: Some(hint.into()) }
    }
}

/// A value as it is kept: of those that are one line the newline at the end of a file is dropped.
#[must_use]
pub fn tidy(kind: CredentialType, key: &str, value: SecretBytes) -> SecretBytes {
    let line = kind.keys().iter().any(|known| known.name == key && known.form == Form::Line);
    match value.expose_text() {
        Some(text) if line => SecretBytes::new(text.trim_end_matches(['\r', '\n']).as_bytes().to_vec()),
        _ => value,
    }
}

/// Everything that is wrong with the values of a credential, tidied before.
#[must_use]
pub fn check(kind: CredentialType, data: &BTreeMap<String, SecretBytes>) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    if data.len() > MOST_VALUES {
        wrong.push(Wrong::new("", format!("it holds {} values; {MOST_VALUES} is the most", data.len()), "split it"));
    }
    for name in data.keys() {
        wrong.extend(unknown(kind, name));
    }
    for known in kind.keys() {
        match data.get(known.name) {
            Some(value) => wrong.extend(form(known, value)),
            None if known.required => {
                let message = format!("a credential of type {kind} needs `{}`", known.name);
                wrong.push(Wrong::new(known.name, message, format!("it holds {}", names(kind))));
            }
            None => {}
        }
    }
    if wrong.is_empty() {
        wrong.extend(content(kind, data));
    }
    wrong
}

/// Whether a secret may be sent to this address: over TLS, or to this machine itself.
#[must_use]
pub fn may_carry_secrets(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let own = || host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    url.scheme() == "https" || (url.scheme() == "http" && own())
}

fn names(kind: CredentialType) -> String {
    let name = |key: &DataKey| match key.required {
        true => key.name.to_owned(),
        false => format!("{} (if there is one)", key.name),
    };
    kind.keys().iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Why a type of credential does not know a value of this name; none when it does.
#[must_use]
pub fn unknown(kind: CredentialType, name: &str) -> Option<Wrong> {
    let good = !name.is_empty()
        && name.len() <= 63
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !good {
        let hint = "letters, digits, `-`, `_` and `.`, at most 63 of them";
        return Some(Wrong::new(name, format!("`{name}` is not a key for a value"), hint));
    }
    if kind == CredentialType::Opaque || kind.keys().iter().any(|known| known.name == name) {
        return None;
    }
    let message = format!("a credential of type {kind} has no value `{name}`");
    Some(Wrong::new(name, message, format!("it holds {}", names(kind))))
}

fn form(known: &DataKey, value: &SecretBytes) -> Option<Wrong> {
    let wrong = |message: String, hint: &str| Some(Wrong::new(known.name, message, hint));
    let Some(text) = value.expose_text() else {
        return wrong(format!("`{}` is not UTF-8 text", known.name), "give the text form (PEM) of a key");
    };
    if text.trim().is_empty() {
        return wrong(format!("`{}` is empty", known.name), "look at the file or variable it comes from");
    }
    if known.form == Form::Line && (text.chars().any(char::is_control) || text.trim() != text) {
        let message = format!("`{}` has to be one line, without spaces around it", known.name);
        return wrong(message, "look at the file or variable it comes from");
    }
    None
}

/// Looks into the values themselves.
fn content(kind: CredentialType, data: &BTreeMap<String, SecretBytes>) -> Vec<Wrong> {
    let text = |key: &str| data.get(key).and_then(SecretBytes::expose_text);
    let mut wrong = Vec::new();
    if let Some(ca) = text("ca").filter(|_| kind != CredentialType::Opaque)
        && let Err(reason) = tls::certificates(ca)
    {
        wrong.push(Wrong::new("ca", format!("`ca` {reason}"), "give the certificates of the authority as PEM"));
    }
    match kind {
        CredentialType::GitBasic if text("username").is_some_and(|name| name.contains(':')) => {
            wrong.push(Wrong::new("username", "`username` holds a colon", "basic sign-in cannot carry one"));
        }
        CredentialType::GitHubApp => wrong.extend(github_app(&text)),
        CredentialType::SshKey => wrong.extend(ssh_key(&text)),
        CredentialType::Registry => wrong.extend(registry(&text)),
        CredentialType::Tls if wrong.is_empty() => wrong.extend(engine_tls(&text)),
        CredentialType::Age => {
            let identity = text("identity").unwrap_or_default();
            if !identity.lines().any(|line| line.trim().starts_with("AGE-SECRET-KEY-1")) {
                let hint = "give what `age-keygen` wrote";
                wrong.push(Wrong::new("identity", "`identity` holds no line with an age identity", hint));
            }
        }
        _ => {}
    }
    wrong
}

fn github_app<'d>(text: &impl Fn(&str) -> Option<&'d str>) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let installation = text("installationId").unwrap_or_default();
    if !installation.bytes().all(|c| c.is_ascii_digit()) {
        let hint = "it stands at the end of the address of the installation's settings";
        wrong.push(Wrong::new("installationId", "`installationId` is not a number", hint));
    }
    if let Some(url) = text("apiUrl")
        && (!url.starts_with("https://") || url.contains(['@', '?', '#']))
    {
        let hint = "write for example `https://github.example.org/api/v3`";
        wrong.push(Wrong::new("apiUrl", "`apiUrl` is not an https address", hint));
    }
    let (app, key) = (text("appId").unwrap_or_default(), text("privateKey").unwrap_or_default());
    if let Err(reason) = github::app_token(app, key, 0) {
        let hint = "give the .pem file that GitHub made for the app";
        wrong.push(Wrong::new("privateKey", format!("`privateKey` {reason}"), hint));
    }
    wrong
}

fn ssh_key<'d>(text: &impl Fn(&str) -> Option<&'d str>) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    match ssh::unlock(text("privateKey").unwrap_or_default(), text("passphrase")) {
        Ok(_) => {}
        Err(ssh::KeyProblem::Passphrase(reason)) => {
            wrong.push(Wrong::new("passphrase", reason, "give the passphrase the key was made with"));
        }
        Err(ssh::KeyProblem::Key(reason, hint)) => wrong.push(Wrong::new("privateKey", reason, hint)),
    }
    if let Some(line) = text("knownHosts").and_then(|hosts| ssh::known_hosts(hosts).err()) {
        let message = format!("line {line} of `knownHosts` is not one of a known_hosts file");
        wrong.push(Wrong::new("knownHosts", message, "write `host type key`, as `ssh-keyscan HOST` prints it"));
    }
    wrong
}

fn registry<'d>(text: &impl Fn(&str) -> Option<&'d str>) -> Vec<Wrong> {
    let (name, password) = (text("username").is_some(), text("password").is_some());
    let hint = "give `username` and `password`, or `token`, or `config` (a docker config.json)";
    if name != password {
        return vec![Wrong::new("username", "`username` and `password` go together", hint)];
    }
    let ways = [name, text("token").is_some(), text("config").is_some()];
    if ways.iter().filter(|way| **way).count() != 1 {
        return vec![Wrong::new("username", "it holds not just one login", hint)];
    }
    let auths = |config: &str| {
        let read: Option<serde_json::Value> = serde_json::from_str(config).ok();
        read.is_some_and(|config| config.get("auths").is_some_and(serde_json::Value::is_object))
    };
    match text("config") {
        Some(config) if !auths(config) => {
            let hint = "a login kept by a credential helper is not in the file";
            vec![Wrong::new("config", "`config` is not a docker config.json with `auths`", hint)]
        }
        _ => Vec::new(),
    }
}

fn engine_tls<'d>(text: &impl Fn(&str) -> Option<&'d str>) -> Vec<Wrong> {
    let identity = match (text("cert"), text("key")) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (cert, _) => {
            let missing = if cert.is_some() { "key" } else { "cert" };
            return vec![Wrong::new(missing, "`cert` and `key` go together", "give both, or only `ca`")];
        }
    };
    match tls::client(text("ca").unwrap_or_default(), identity) {
        Ok(_) => Vec::new(),
        Err(reason) => {
            vec![Wrong::new("cert", reason, "give certificate chain and key as PEM, the key without passphrase")]
        }
    }
}

#[cfg(test)]
mod tests;
