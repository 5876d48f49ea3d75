//! The login for a registry, out of the values of a credential; and as the engine pulls an image with it: what goes into the
//! header `X-Registry-Auth` of a service's create and update, as the Engine API reads it (base64 for URLs, of the JSON of an
//! `AuthConfig`).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// Docker Hub, as images name it and as its logins do.
const HUB: (&str, &str) = ("docker.io", "https://index.docker.io/v1/");

/// Host and port of a registry, as an image names it: `registry.example.org:5000`. Without a port it is that of https.
#[must_use]
pub fn place(registry: &str) -> (&str, u16) {
    match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host.trim_matches(['[', ']']), port.parse().unwrap_or(443)),
        _ => (registry.trim_matches(['[', ']']), 443),
    }
}

/// A login.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A user's name and password.
    Basic {
        /// The name.
        name: String,
        /// The password.
        password: Zeroizing<String>,
    },
    /// What tokens are asked for with, in place of a password (an OAuth 2 refresh token).
    Identity(Zeroizing<String>),
    /// What is sent to the registry itself.
    Bearer(Zeroizing<String>),
}

impl Login {
    /// What must not be shown of it.
    #[must_use]
    pub fn secret(&self) -> &str {
        match self {
            Self::Basic { password: secret, .. } | Self::Identity(secret) | Self::Bearer(secret) => secret,
        }
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(***)")
    }
}

/// The login for a registry in the values of a credential; none when they hold none for it.
pub fn open<'d>(text: impl Fn(&str) -> Option<&'d str>, registry: &str) -> Option<Login> {
    match (text("username"), text("password"), text("token"), text("config")) {
        (Some(name), Some(password), ..) => Some(basic(name, password)),
        (.., Some(token), _) => Some(Login::Identity(Zeroizing::new(token.to_owned()))),
        (.., Some(config)) => of_config(config, registry),
        _ => None,
    }
}

/// The header's value for a registry, of the values of a credential; none when they hold no login for it.
pub fn login<'d>(text: impl Fn(&str) -> Option<&'d str>, registry: &str) -> Option<Zeroizing<String>> {
    let address = if registry == HUB.0 { HUB.1 } else { registry };
    let mut auth = match open(text, registry)? {
        Login::Basic { name, password } => json!({ "username": name, "password": *password }),
        Login::Identity(token) => json!({ "identitytoken": *token }),
        Login::Bearer(token) => json!({ "registrytoken": *token }),
    };
    auth["serveraddress"] = json!(address);
    let whole = Zeroizing::new(auth.to_string());
    wipe(&mut auth);
    Some(Zeroizing::new(URL_SAFE.encode(whole.as_bytes())))
}

fn basic(name: &str, password: &str) -> Login {
    Login::Basic { name: name.to_owned(), password: Zeroizing::new(password.to_owned()) }
}

/// The login for a registry in a docker `config.json`.
fn of_config(config: &str, registry: &str) -> Option<Login> {
    let config: Value = serde_json::from_str(config).ok()?;
    let of = |address: &str| same(address, registry);
    let (_, found) = config.get("auths")?.as_object()?.iter().find(|(address, _)| of(address))?;
    let field = |name: &str| found.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = field("identitytoken") {
        return Some(Login::Identity(Zeroizing::new(token.to_owned())));
    }
    if let Some(token) = field("registrytoken") {
        return Some(Login::Bearer(Zeroizing::new(token.to_owned())));
    }
    if let (Some(name), Some(password)) = (field("username"), field("password")) {
        return Some(basic(name, password));
    }
    let pair = Zeroizing::new(STANDARD.decode(field("auth")?).ok()?);
    let (name, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
    // What wrote the file may have padded it.
    Some(basic(name, password.trim_end_matches('\0')))
}

/// Whether an address of a `config.json` is that of a registry: with or without scheme and path.
fn same(address: &str, registry: &str) -> bool {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or(rest);
    let host = if matches!(host, "index.docker.io" | "registry-1.docker.io") { HUB.0 } else { host };
    host.eq_ignore_ascii_case(registry)
}

/// Wipes the texts of a value.
fn wipe(value: &mut Value) {
    use zeroize::Zeroize;
    match value {
        Value::String(text) => text.zeroize(),
        Value::Object(map) => map.iter_mut().for_each(|(_, value)| wipe(value)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn header(values: &[(&str, &str)], registry: &str) -> Option<Value> {
        let values: BTreeMap<&str, &str> = values.iter().copied().collect();
        let text = login(|key| values.get(key).copied(), registry)?;
        Some(serde_json::from_slice(&URL_SAFE.decode(text.as_bytes()).unwrap()).unwrap())
    }

    #[test]
    fn a_login_is_what_the_engine_reads() {
        let named = [("username", "ann"), ("password", "p:?>w")];
        let expected = json!({ "username": "ann", "password": "p:?>w", "serveraddress": "r.example.org:5000" });
        assert_eq!(header(&named, "r.example.org:5000"), Some(expected));
        let hub = json!({ "identitytoken": "t", "serveraddress": "https://index.docker.io/v1/" });
        assert_eq!(header(&[("token", "t")], "docker.io"), Some(hub));
        assert_eq!(header(&[("username", "ann")], "docker.io"), None);
    }

    #[test]
    fn a_config_gives_the_login_of_the_registry_alone() {
        let config = json!({ "auths": {
            "https://index.docker.io/v1/": { "auth": STANDARD.encode("hub:a:b") },
            "r.example.org": { "auth": STANDARD.encode("ann:pw"), "identitytoken": "" },
            "https://s.example.org/v2/": { "identitytoken": "t" },
            "bad.example.org": { "auth": "%" },
        } })
        .to_string();
        let of = |registry: &str| header(&[("config", &config)], registry);
        let parts = |found: Option<Value>| found.map(|it| (it["username"].clone(), it["password"].clone()));
        assert_eq!(parts(of("docker.io")), Some((json!("hub"), json!("a:b"))));
        assert_eq!(parts(of("r.example.org")), Some((json!("ann"), json!("pw"))));
        assert_eq!(of("s.example.org").unwrap()["identitytoken"], "t");
        for none in ["bad.example.org", "r.example.org:5000", "example.org"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn a_registry_is_a_host_and_a_port() {
        assert_eq!(place("docker.io"), ("docker.io", 443));
        assert_eq!(place("127.0.0.1:5000"), ("127.0.0.1", 5000));
        assert_eq!(place("[::1]:5000"), ("::1", 5000));
    }
}
