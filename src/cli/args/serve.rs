//! What `serve` takes.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum, ValueHint};

use super::parse;
use crate::cli::exit::{CliError, Exit};

/// `serve`. The data folder is among the [`Globals`](super::Globals).
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ServeArgs {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, env = "SKEP_LISTEN", default_value = "127.0.0.1:7717", value_name = "ADDR:PORT", value_parser = parse::listen)]
    pub listen: SocketAddr,
    /// Engine of the environment `default`, when none is declared: unix://…, tcp://…, ssh://…; else `DOCKER_HOST`, else the
    /// local socket.
    #[arg(long, env = "SKEP_DOCKER", value_name = "URL", value_hint = ValueHint::Url)]
    pub docker: Option<String>,
    /// Let sources and endpoints be at private and loopback addresses.
    #[arg(long, env = "SKEP_ALLOW_PRIVATE_ADDRESSES", value_parser = FalseyValueParser::new())]
    pub allow_private_addresses: bool,
    /// Let sources be folders of this machine: file://….
    #[arg(long, env = "SKEP_ALLOW_FILE_SOURCES", value_parser = FalseyValueParser::new())]
    pub allow_file_sources: bool,
    /// Address that people reach the page at, for links in messages: https://skep.example.org.
    #[arg(long, env = "SKEP_PUBLIC_URL", value_name = "URL", value_parser = public_url, value_hint = ValueHint::Url)]
    pub public_url: Option<String>,
    /// Certificate chain, PEM. Read again when it changes; connections that are open stay.
    #[arg(long, env = "SKEP_TLS_CERT", value_name = "FILE", requires = "tls_key", value_hint = ValueHint::FilePath)]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, PEM. Read again when it changes.
    #[arg(long, env = "SKEP_TLS_KEY", value_name = "FILE", requires = "tls_cert", value_hint = ValueHint::FilePath)]
    pub tls_key: Option<PathBuf>,
    /// Speak plain HTTP off loopback, too: something else does TLS.
    #[arg(long, env = "SKEP_INSECURE", value_parser = FalseyValueParser::new())]
    pub insecure: bool,
    /// Give `/metrics` to anyone.
    #[arg(long, env = "SKEP_METRICS_PUBLIC", value_parser = FalseyValueParser::new())]
    pub metrics_public: bool,
    /// Serve `/graphiql`.
    #[arg(long, env = "SKEP_GRAPHIQL", value_parser = FalseyValueParser::new())]
    pub graphiql: bool,
    /// Deliveries of one hook that are taken in a second, in bursts of ten seconds' worth; 0 for as many as come.
    #[arg(long, env = "SKEP_HOOK_RATE", default_value_t = 50, value_name = "N")]
    pub hook_rate: u32,
    /// Instance id of a Skep whose data is lost, for the first start on an empty data folder: what its labels say is its own is
    /// this one's. It only observes until `environment claim`.
    #[arg(long, env = "SKEP_INSTANCE", value_name = "ID", value_parser = instance)]
    pub instance: Option<String>,
    /// Collector that gets the traces of deployments, by OTLP over HTTP: http://collector:4318. None are sent without it.
    #[arg(long, env = "SKEP_OTLP_ENDPOINT", value_name = "URL", value_parser = public_url, value_hint = ValueHint::Url)]
    pub otlp_endpoint: Option<String>,
    /// What to log: error, warn, info, debug, trace, or a filter like `info,skep::source=debug`.
    #[arg(long, env = "SKEP_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
    /// How to log.
    #[arg(long, env = "SKEP_LOG_FORMAT", value_enum, default_value_t, value_name = "FORM")]
    pub log_format: LogFormat,
}

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// An id as the label `dev.skep.instance` has it.
fn instance(text: &str) -> Result<String, String> {
    let plain = text.len() == 26 && text.bytes().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase());
    match plain {
        true => Ok(text.to_owned()),
        false => Err("an id has 26 digits and lower-case letters: see the label dev.skep.instance".to_owned()),
    }
}

fn public_url(text: &str) -> Result<String, String> {
    match reqwest::Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => Err("it is neither http:// nor https://".to_owned()),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            Err("it holds a name or password".to_owned())
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => Err("it holds a `?` or `#`".to_owned()),
        Ok(_) => Ok(text.trim_end_matches('/').to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

impl ServeArgs {
    /// What clap cannot say.
    pub(in crate::cli) fn check(&self) -> Result<(), CliError> {
        if self.listen.ip().to_canonical().is_loopback() || self.tls_cert.is_some() || self.insecure {
            return Ok(());
        }
        let message =
            format!("{} is not a loopback address, and the token would cross the network in the clear", self.listen);
        Err(CliError::new(Exit::Usage, message)
            .next("give --tls-cert and --tls-key, or --insecure when something in front of it does TLS"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn check(line: &str) -> Result<(), Exit> {
        match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Serve(args) => args.check().map_err(|error| error.exit),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_public_address_is_one_of_http() {
        assert_eq!(public_url("https://skep.example.org/x/").as_deref(), Ok("https://skep.example.org/x"));
        for bad in ["skep.example.org", "ftp://x", "https://a:b@x", "https://x/?a", "https://x/#a"] {
            assert!(public_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_instance_is_named_by_its_id() {
        assert!(instance("01kbvqjz9ex7h2e3s1q8f5a6b7").is_ok());
        for bad in ["", "default", "01KBVQJZ9EX7H2E3S1Q8F5A6B7", "01kbvqjz9ex7h2e3s1q8f5a6b7x"] {
            assert!(instance(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn off_loopback_it_wants_tls_or_a_word() {
        assert_eq!(check("skep serve"), Ok(()));
        assert_eq!(check("skep serve --listen [::1]:1"), Ok(()));
        assert_eq!(check("skep serve --listen 0.0.0.0:1"), Err(Exit::Usage));
        assert_eq!(check("skep serve --listen 192.168.1.2:1"), Err(Exit::Usage));
        assert_eq!(check("skep serve --listen 0.0.0.0:1 --insecure"), Ok(()));
        assert_eq!(check("skep serve --listen 0.0.0.0:1 --tls-cert a --tls-key b"), Ok(()));
    }
}
