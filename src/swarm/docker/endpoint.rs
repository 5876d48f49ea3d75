//! Addresses of engines.

use std::fmt;
use std::path::PathBuf;

use hyper::http::uri::Authority;

use crate::outbound::ssh::Place;
use crate::ports::SwarmError;

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// A socket in the file system.
    Unix(PathBuf),
    /// HTTP over TCP; with TLS when the environment has certificates.
    Tcp(Authority),
    /// HTTP through ssh and `docker system dial-stdio`.
    Ssh(Place),
}

/// The port an engine without TLS listens on, when the address names none.
const PLAIN_PORT: u16 = 2375;

impl Endpoint {
    /// Reads `unix:///path`, `tcp://host[:port]` or `ssh://[user@]host[:port]`.
    pub(super) fn parse(text: &str) -> Result<Self, SwarmError> {
        let refused = |reason: String| {
            // What stands before an `@` may be a password.
            let shown = text.rsplit('@').next().unwrap_or_default();
            Err(SwarmError::Refused { object: format!("the endpoint `{shown}`"), reason })
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return refused("it has no scheme; write `unix:///path` or `tcp://host:port`".to_owned());
        };
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(PathBuf::from(rest))),
            "unix" => refused("the path of a socket begins with `/`: `unix:///var/run/docker.sock`".to_owned()),
            "tcp" => match authority(rest) {
                Ok(authority) => Ok(Self::Tcp(authority)),
                Err(reason) => refused(reason),
            },
            "ssh" => match ssh(rest) {
                Some(place) => Ok(Self::Ssh(place)),
                None => refused("write `ssh://user@host:port`, without password and path".to_owned()),
            },
            "https" => refused("write `tcp://host:port`, and name the certificates with `tls`".to_owned()),
            _ => refused(format!("`{scheme}://` is no way to an engine; use `unix://`, `tcp://` or `ssh://`")),
        }
    }

    /// What goes into the URI, and so into the `Host` header.
    pub(super) fn authority(&self) -> &str {
        match self {
            Self::Unix(_) | Self::Ssh(_) => "docker",
            Self::Tcp(authority) => authority.as_str(),
        }
    }
}

/// The port of ssh, when the address names none.
const SSH_PORT: u16 = 22;

fn ssh(rest: &str) -> Option<Place> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (user, rest) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user.to_owned()), rest));
    // What begins with a dash would be an option.
    let named = |name: &str| {
        !name.is_empty()
            && !name.starts_with('-')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    if user.as_deref().is_some_and(|user| !named(user)) {
        return None;
    }
    let authority: Authority = rest.parse().ok()?;
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    if !named(&host) && host.parse::<std::net::Ipv6Addr>().is_err() {
        return None;
    }
    let port = match (authority.port(), authority.port_u16()) {
        (None, _) => SSH_PORT,
        (Some(_), Some(port @ 1..)) => port,
        _ => return None,
    };
    Some(Place { user, host, port, pinned: None })
}

fn authority(rest: &str) -> Result<Authority, String> {
    if rest.contains('@') {
        return Err("an address holds no user and no password".to_owned());
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let parsed: Authority = rest.parse().map_err(|error| format!("{error}; write `tcp://host:port`"))?;
    if parsed.host().is_empty() {
        return Err("it names no host; write `tcp://host:port`".to_owned());
    }
    if parsed.port().is_some() {
        return match parsed.port_u16() {
            Some(1..) => Ok(parsed),
            _ => Err("its port makes no sense; write `tcp://host:port`".to_owned()),
        };
    }
    format!("{}:{PLAIN_PORT}", rest.trim_end_matches(':')).parse().map_err(|error| format!("{error}"))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
            Self::Ssh(Place { user, host, port, .. }) => {
                let user = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                let port = if *port == SSH_PORT { String::new() } else { format!(":{port}") };
                write!(f, "ssh://{user}{host}{port}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        Endpoint::parse(text).expect_err("it makes no sense").to_string()
    }

    #[test]
    fn the_ways_are_read() {
        for (text, shown) in [
            ("unix:///var/run/docker.sock", "unix:///var/run/docker.sock"),
            ("tcp://host:2376", "tcp://host:2376"),
            ("tcp://host", "tcp://host:2375"),
            ("tcp://[::1]:99/", "tcp://[::1]:99"),
            ("ssh://root@host:2222", "ssh://root@host:2222"),
            ("ssh://host/", "ssh://host"),
            ("ssh://root@[::1]:22", "ssh://root@[::1]"),
        ] {
            assert_eq!(Endpoint::parse(text).expect("it is an address").to_string(), shown);
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_mend() {
        for text in [
            "",
            "host:2375",
            "unix://relative",
            "ftp://x",
            "tcp://",
            "tcp://:1",
            "tcp://h:99999",
            "tcp://a b",
            "https://host",
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://-l@h",
            "ssh://u:p@h",
            "ssh://h:0",
            "ssh://h/path",
        ] {
            assert!(reason(text).contains("://"), "{text}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        let said = reason("tcp://me:hunter2@host:1");
        assert!(!said.contains("hunter2"), "{said}");
        assert!(said.contains("no password"), "{said}");
    }
}
