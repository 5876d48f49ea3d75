//! What `health` takes: the same words and variables as `serve`, so that one environment serves both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use reqwest::Url;

use super::parse;

/// `health`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct HealthArgs {
    /// Ask whether it is ready to work (`/readyz`), not only whether it answers (`/healthz`).
    #[arg(long)]
    pub ready: bool,
    /// Address to ask; else the one that `--listen` and `--tls-cert` come to.
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<Url>,
    /// Address the server was told to listen on. One that means every address is asked on this machine's own.
    #[arg(long, env = "SKEP_LISTEN", default_value = "127.0.0.1:7717", value_name = "ADDR:PORT", value_parser = parse::listen)]
    pub listen: SocketAddr,
    /// Certificate file the server was given. Exactly that certificate is trusted, whatever names are in it.
    #[arg(long, env = "SKEP_TLS_CERT", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tls_cert: Option<PathBuf>,
    /// How long to go on asking until it is so.
    #[arg(long, default_value = "3s", value_parser = parse::duration, value_name = "TIME")]
    pub patience: Duration,
}

impl HealthArgs {
    /// The server's address, `http://HOST:PORT`; nothing is asked yet.
    pub(in crate::cli) fn address(&self) -> String {
        if let Some(url) = &self.url {
            return url.as_str().trim_end_matches('/').to_owned();
        }
        let scheme = if self.tls_cert.is_some() { "https" } else { "http" };
        let host = match self.listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("{scheme}://{}", SocketAddr::new(host, self.listen.port()))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::args::{Cli, Command};

    fn address(line: &str) -> String {
        match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Health(args) => args.address(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_words_of_serve_are_the_address_to_ask() {
        assert_eq!(address("skep health"), "http://127.0.0.1:7717");
        assert_eq!(address("skep health --listen 0.0.0.0:1"), "http://127.0.0.1:1");
        assert_eq!(address("skep health --listen [::]:2 --tls-cert c"), "https://[::1]:2");
        assert_eq!(address("skep health --listen 10.1.2.3:3"), "http://10.1.2.3:3");
        assert_eq!(address("skep health --url https://skep.example.org/base/"), "https://skep.example.org/base");
    }
}
