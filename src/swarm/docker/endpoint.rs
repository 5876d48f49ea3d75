//! Addresses of engines.

use std::fmt;
use std::path::PathBuf;

use hyper::http::uri::Authority;

use crate::ports::SwarmError;

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// A socket in the file system.
    Unix(PathBuf),
    /// Plain HTTP over TCP.
    Tcp(Authority),
}

/// The port an engine without TLS listens on, when the address names none.
const PLAIN_PORT: u16 = 2375;

impl Endpoint {
    /// Reads `unix:///path` or `tcp://host[:port]`.
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
            "ssh" | "https" => refused(format!("`{scheme}://` is not supported yet; use `unix://` or `tcp://`")),
            _ => refused(format!("`{scheme}://` is no way to an engine; use `unix://` or `tcp://`")),
        }
    }

    /// What goes into the URI, and so into the `Host` header.
    pub(super) fn authority(&self) -> &str {
        match self {
            Self::Unix(_) => "docker",
            Self::Tcp(authority) => authority.as_str(),
        }
    }
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
    fn the_two_ways_are_read() {
        for (text, shown) in [
            ("unix:///var/run/docker.sock", "unix:///var/run/docker.sock"),
            ("tcp://host:2376", "tcp://host:2376"),
            ("tcp://host", "tcp://host:2375"),
            ("tcp://[::1]:99/", "tcp://[::1]:99"),
        ] {
            assert_eq!(Endpoint::parse(text).expect("it is an address").to_string(), shown);
        }
    }

    #[test]
    fn what_is_not_supported_yet_says_so() {
        assert!(reason("ssh://root@host").contains("not supported yet"));
        assert!(reason("https://host").contains("not supported yet"));
    }

    #[test]
    fn nonsense_is_refused_with_the_mend() {
        for text in ["", "host:2375", "unix://relative", "ftp://x", "tcp://", "tcp://:1", "tcp://h:99999", "tcp://a b"]
        {
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
