//! Which addresses may be connected to. The address itself is checked, at the moment it is connected to: a name that
//! stands for another address by then is looked up and checked anew.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use thiserror::Error;

use crate::ports::BoxFuture;

const HOW: &str = "--allow-private-addresses allows private addresses";

/// Looks names up.
pub trait Names: Send + Sync + 'static {
    /// The addresses a host's name stands for now.
    fn look_up<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// As the system does.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemNames;

impl Names for SystemNames {
    fn look_up<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
        })
    }
}

/// How far it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Addresses of the public internet: for what a stack, a hook or an answer names.
    Public,
    /// Those of one's own networks and machine too: for what an operator names. Not link-local addresses and the others
    /// that clouds give their secrets out at, nor those of many or no hosts.
    Own,
    /// All: `--allow-private-addresses`.
    Any,
}

/// Which addresses may be connected to, and who looks names up.
#[derive(Clone)]
pub struct Outbound {
    reach: Reach,
    names: Arc<dyn Names>,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbound({:?})", self.reach)
    }
}

/// An address that is not connected to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Barred(pub String);

impl Outbound {
    /// This far, with the system's names.
    #[must_use]
    pub fn new(reach: Reach) -> Self {
        Self { reach, names: Arc::new(SystemNames) }
    }

    /// With names of one's own.
    #[must_use]
    pub fn with_names(self, names: Arc<dyn Names>) -> Self {
        Self { names, ..self }
    }

    /// Whether every address will do.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.reach == Reach::Any
    }

    /// Whether this address may be connected to.
    ///
    /// # Errors
    /// [`Barred`].
    pub fn check(&self, ip: IpAddr) -> Result<(), Barred> {
        let fine = match self.reach {
            Reach::Public => is_public(ip),
            Reach::Own => is_own(ip),
            Reach::Any => true,
        };
        let kind = if self.reach == Reach::Public { "a private address" } else { "an address that no engine has" };
        if fine { Ok(()) } else { Err(Barred(format!("{ip} is {kind}; {HOW}"))) }
    }

    /// The addresses of a host, all of them checked. An address stands for itself.
    ///
    /// # Errors
    /// [`Barred`] within an [`io::Error`] when one of them may not be connected to; what the look-up said.
    pub async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse::<IpAddr>() {
            self.check(ip).map_err(io::Error::other)?;
            return Ok(vec![ip]);
        }
        let found = self.names.look_up(host).await?;
        for ip in &found {
            let barred = |Barred(reason)| io::Error::other(Barred(format!("`{host}` stands for {reason}")));
            self.check(*ip).map_err(barred)?;
        }
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("`{host}` has no address")));
        }
        Ok(found)
    }
}

/// Looks names up for an http client, and hands out checked addresses only. Addresses in the text of a URL do not come
/// here.
impl reqwest::dns::Resolve for Outbound {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let own = self.clone();
        Box::pin(async move {
            let found = own.addresses(name.as_str()).await.map_err(|error| match error.into_inner() {
                Some(inner) => inner,
                None => Box::from("the look-up failed"),
            })?;
            Ok(Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0))) as reqwest::dns::Addrs)
        })
    }
}

/// Whether an address is one that an operator may have an engine at.
fn is_own(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(four) => {
            let [a, ..] = four.octets();
            // Alibaba and Oracle give instances their secrets out at these two.
            let cloud = [[100, 100, 100, 200], [192, 0, 0, 192]].contains(&four.octets());
            !(a == 0 || a >= 224 || four.is_link_local() || cloud)
        }
        IpAddr::V6(six) => match six.segments() {
            [0, 0, 0, 0, 0, 0xffff, ..] => six.to_ipv4_mapped().is_some_and(|four| is_own(IpAddr::V4(four))),
            // AWS gives instances their secrets out there.
            [0xfd00, 0xec2, ..] => false,
            s => !(six.is_unspecified() || six.is_multicast() || six.is_unicast_link_local()) && s[0] != 0x64,
        },
    }
}

/// Whether an address is one of the public internet: neither private, loopback, link-local, shared (CGNAT), unspecified,
/// multicast, reserved, nor one of those wrapped into an IPv6 address.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
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
    use std::sync::Mutex;

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
    fn an_operator_reaches_his_own_networks_and_no_cloud_secrets() {
        let own = Outbound::new(Reach::Own);
        for text in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd12::1", "1.1.1.1", "2606:50c0::1"]
        {
            assert_eq!(own.check(text.parse().unwrap()), Ok(()), "{text}");
        }
        for text in [
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
        ] {
            assert!(own.check(text.parse().unwrap()).is_err(), "{text}");
        }
    }

    /// Answers differently each time.
    struct Fickle(Mutex<Vec<IpAddr>>);

    impl Names for Fickle {
        fn look_up<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
            Box::pin(async { Ok(self.0.lock().unwrap().pop().into_iter().collect()) })
        }
    }

    #[tokio::test]
    async fn a_name_that_changes_its_mind_is_caught_each_time() {
        let answers = ["127.0.0.1", "1.1.1.1"].map(|ip| ip.parse().unwrap()).to_vec();
        let out = Outbound::new(Reach::Public).with_names(Arc::new(Fickle(Mutex::new(answers))));
        assert_eq!(out.addresses("git.example").await.unwrap(), ["1.1.1.1".parse::<IpAddr>().unwrap()]);
        let barred = out.addresses("git.example").await.unwrap_err();
        assert!(barred.to_string().contains("`git.example` stands for 127.0.0.1"), "{barred}");
        assert!(barred.get_ref().is_some_and(|inner| inner.is::<Barred>()));
        assert!(out.addresses("[::1]").await.is_err(), "an address in the text is checked as well");
    }
}
