//! Which addresses may be talked to.
//!
//! Unless private addresses are allowed, every address a host's name stands for must be a public one, and the connection
//! goes to an address that was checked: http(s) looks names up through [`Resolver`], ssh is given the address. Redirects
//! are followed on the same host only, so that they cannot lead around this.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::failure::{forbidden, unreachable};
use super::options::GitOptions;
use crate::domain::GitUrl;
use crate::ports::SourceError;

const HOW: &str = "--allow-private-addresses allows private addresses";

/// A refusal by [`Resolver`], found again in the chain of the client's error.
#[derive(Debug)]
pub(super) struct Refused(pub(super) String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Whether this installation may use the address at all, as far as its text says. Asks nobody.
pub(super) fn permitted(url: &GitUrl, options: &GitOptions) -> Result<(), SourceError> {
    match url.scheme() {
        "file" if !options.allow_file => {
            Err(forbidden(url, "file:// reads this machine's disk; --allow-file-sources allows it"))
        }
        "file" | "ssh" => Ok(()),
        "http" | "https" => {
            let parsed = reqwest::Url::parse(url.as_str())
                .map_err(|error| forbidden(url, format!("its address cannot be understood: {error}")))?;
            let host = parsed.host_str().unwrap_or_default();
            // The way the client reads it: `http://2130706433/` is 127.0.0.1.
            match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
                Ok(ip) if !options.allow_private && !is_public(ip) => {
                    Err(forbidden(url, format!("{ip} is a private address; {HOW}")))
                }
                _ => Ok(()),
            }
        }
        other => Err(forbidden(url, format!("`{other}` is not a scheme Skep clones from"))),
    }
}

/// The checked address ssh is to connect to; none when private addresses are allowed, and ssh does as configured.
pub(super) async fn pinned(url: &GitUrl, options: &GitOptions) -> Result<Option<IpAddr>, SourceError> {
    if url.scheme() != "ssh" || options.allow_private {
        return Ok(None);
    }
    let look_up = tokio::net::lookup_host((url.host(), 22));
    let found = match tokio::time::timeout(options.list_timeout, look_up).await {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect::<Vec<_>>(),
        Ok(Err(error)) => return Err(unreachable(url, format!("looking up `{}`: {error}", url.host()))),
        Err(_) => return Err(unreachable(url, format!("looking up `{}` takes too long", url.host()))),
    };
    checked(url.host(), &found).map_err(|Refused(reason)| forbidden(url, reason))?;
    match found.first() {
        Some(first) => Ok(Some(*first)),
        None => Err(unreachable(url, format!("`{}` has no address", url.host()))),
    }
}

fn checked(host: &str, addresses: &[IpAddr]) -> Result<(), Refused> {
    match addresses.iter().find(|ip| !is_public(**ip)) {
        Some(ip) => Err(Refused(format!("`{host}` stands for {ip}, a private address; {HOW}"))),
        None => Ok(()),
    }
}

/// Looks names up for the http client, and hands out public addresses only.
pub(super) struct Resolver;

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?.collect::<Vec<_>>();
            let addresses = found.iter().map(std::net::SocketAddr::ip).collect::<Vec<_>>();
            checked(name.as_str(), &addresses)?;
            Ok(Box::new(found.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// Whether an address is one of the public internet: neither private, loopback, link-local, shared (CGNAT), unspecified,
/// multicast, reserved, nor one of those wrapped into an IPv6 address.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(four) => is_public_v4(four),
        IpAddr::V6(six) => is_public_v6(six),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = a == 0
        || a >= 224
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19));
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    let four = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        // IPv4-mapped, NAT64 and 6to4 carry an IPv4 address.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => four(high, low),
        [0x2002, high, low, ..] => four(high, low),
        // Unspecified, loopback, IPv4-compatible; local NAT64; Teredo and others; documentation.
        [0, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] | [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] => false,
        // Global unicast is 2000::/3; unique local, link-local, site-local and multicast are outside.
        _ => s[0] & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in
            ["1.1.1.1", "140.82.121.4", "100.128.0.1", "2606:50c0:8000::153", "::ffff:1.1.1.1", "64:ff9b::101:101"]
        {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn the_text_of_an_address_is_checked() {
        let url = |text| GitUrl::parse(text).unwrap();
        let strict = GitOptions::default();
        let open = GitOptions { allow_file: true, allow_private: true, ..GitOptions::default() };
        for text in ["file:///x", "http://127.0.0.1/x", "http://2130706433/x", "https://0x7f.1/x", "https://[::1]/x"] {
            assert!(matches!(permitted(&url(text), &strict), Err(SourceError::Forbidden { .. })), "{text}");
            assert_eq!(permitted(&url(text), &open), Ok(()), "{text}");
        }
        assert_eq!(permitted(&url("https://example.org/x"), &strict), Ok(()));
    }

    #[tokio::test]
    async fn a_name_is_checked_by_what_it_stands_for() {
        let url = GitUrl::parse("ssh://git@localhost/x").unwrap();
        let refused = pinned(&url, &GitOptions::default()).await.unwrap_err();
        assert!(matches!(refused, SourceError::Forbidden { .. }), "{refused}");
        let open = GitOptions { allow_private: true, ..GitOptions::default() };
        assert_eq!(pinned(&url, &open).await, Ok(None));
    }
}
