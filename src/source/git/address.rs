//! Which addresses may be talked to.
//!
//! Unless private addresses are allowed, every address a host's name stands for must be a public one, and the connection
//! goes to an address that was checked: http(s) looks names up through [`Outbound`], ssh is given the address. Redirects
//! are followed on the same host only, so that they cannot lead around this.

use std::net::IpAddr;

use super::failure::{forbidden, unreachable};
use super::options::GitOptions;
use crate::domain::GitUrl;
use crate::outbound::Barred;
use crate::ports::SourceError;

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
            literal(&parsed, options).map_err(|Barred(reason)| forbidden(url, reason))
        }
        other => Err(forbidden(url, format!("`{other}` is not a scheme Skep clones from"))),
    }
}

/// Checks an address that stands in the text of a URL, the way the client reads it: `http://2130706433/` is 127.0.0.1. It
/// is not looked up, so nobody else would.
pub(super) fn literal(url: &reqwest::Url, options: &GitOptions) -> Result<(), Barred> {
    let host = url.host_str().unwrap_or_default();
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(ip) => options.outbound.check(ip),
        Err(_) => Ok(()),
    }
}

/// The checked address ssh is to connect to; none when private addresses are allowed, and ssh does as configured.
pub(super) async fn pinned(url: &GitUrl, options: &GitOptions) -> Result<Option<IpAddr>, SourceError> {
    if url.scheme() != "ssh" || options.outbound.is_free() {
        return Ok(None);
    }
    match tokio::time::timeout(options.list_timeout, options.outbound.addresses(url.host())).await {
        Ok(Ok(found)) => Ok(found.first().copied()),
        Ok(Err(error)) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(Barred(reason)) => Err(forbidden(url, reason.clone())),
            None => Err(unreachable(url, format!("looking up `{}`: {error}", url.host()))),
        },
        Err(_) => Err(unreachable(url, format!("looking up `{}` takes too long", url.host()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::{Outbound, Reach};

    #[test]
    fn the_text_of_an_address_is_checked() {
        let url = |text| GitUrl::parse(text).unwrap();
        let strict = GitOptions::default();
        let open = GitOptions { allow_file: true, outbound: Outbound::new(Reach::Any), ..GitOptions::default() };
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
        let open = GitOptions { outbound: Outbound::new(Reach::Any), ..GitOptions::default() };
        assert_eq!(pinned(&url, &open).await, Ok(None));
    }
}
