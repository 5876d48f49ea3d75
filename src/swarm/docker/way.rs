//! How an environment's endpoints are reached: with which credentials, and which addresses may be connected to.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::header::HeaderValue;
use hyper_util::client::legacy::connect::dns::Name;
use rustls::ClientConfig;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::domain::{CredentialName, CredentialType, Environment, registry_of};
use crate::keys::{registry, tls};
use crate::outbound::ssh::{Identity, Place};
use crate::outbound::{Outbound, Reach};
use crate::ports::{BoxFuture, Keyring, KeyringError, NoKeys};

/// What connections to engines are made with.
#[derive(Clone)]
pub struct EngineAccess {
    /// Opens credentials.
    pub keyring: Arc<dyn Keyring>,
    /// Which addresses may be connected to. An environment's endpoints are an operator's word: his own networks and machine
    /// are fine.
    pub outbound: Outbound,
    /// The program for `ssh://`: a path, or a name looked up on PATH. It must understand the options of OpenSSH.
    pub ssh_program: PathBuf,
}

impl Default for EngineAccess {
    fn default() -> Self {
        Self { keyring: Arc::new(NoKeys), outbound: Outbound::new(Reach::Own), ssh_program: PathBuf::from("ssh") }
    }
}

impl fmt::Debug for EngineAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EngineAccess({:?})", self.outbound)
    }
}

/// The access of one environment.
#[derive(Debug, Clone, Default)]
pub(super) struct Way {
    pub(super) access: EngineAccess,
    tls: Option<CredentialName>,
    ssh: Option<CredentialName>,
}

impl Way {
    pub(super) fn of(environment: &Environment, access: &EngineAccess) -> Self {
        Self { access: access.clone(), tls: environment.tls.clone(), ssh: environment.ssh.clone() }
    }

    /// How to speak TLS to this host; none when the environment has no certificates. Opened anew for each connection, so
    /// that a changed credential counts from then on.
    pub(super) fn tls(&self, host: &str, port: u16) -> io::Result<Option<TlsConnector>> {
        let Some(name) = &self.tls else { return Ok(None) };
        let configured = || -> Result<ClientConfig, KeyringError> {
            let open = self.access.keyring.open_as(name, &[CredentialType::Tls])?;
            open.for_host(host, port)?;
            let identity = open.text("cert").zip(open.text("key"));
            tls::client(open.needed("ca")?, identity).map_err(|reason| open.unusable(reason))
        };
        Ok(Some(TlsConnector::from(Arc::new(configured().map_err(io::Error::other)?))))
    }

    /// The key for this host, and its credential's name; none when the environment names no credential for ssh.
    pub(super) fn identity(&self, place: &Place) -> io::Result<Option<(CredentialName, Identity)>> {
        let keys = &self.access.keyring;
        // The one credential an environment names may be the key itself.
        let of_tls = || self.tls.as_ref().filter(|name| keys.open_as(name, &[CredentialType::SshKey]).is_ok());
        let Some(name) = self.ssh.as_ref().or_else(of_tls) else { return Ok(None) };
        let prepared = || -> Result<Identity, KeyringError> {
            let open = keys.open_as(name, &[CredentialType::SshKey])?;
            open.for_host(&place.host, place.port)?;
            Identity::prepare(&open)
        };
        Ok(Some((name.clone(), prepared().map_err(io::Error::other)?)))
    }

    /// The login that the engine pulls this image with, as `X-Registry-Auth`; none when no credential is for its registry.
    pub(super) fn login(&self, image: &str) -> Result<Option<HeaderValue>, KeyringError> {
        let registry = registry_of(image);
        let (host, port) = registry::place(registry);
        let Some(open) = self.access.keyring.registry(host, port)? else { return Ok(None) };
        open.for_host(host, port)?;
        let login = registry::login(|key| open.text(key), registry);
        let login = login.ok_or_else(|| open.unusable(format!("it holds no login for {registry}")))?;
        let mut value = HeaderValue::from_str(&login).map_err(|error| open.unusable(error.to_string()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Makes sure that an address in the text of an endpoint may be connected to: it is not looked up.
    pub(super) fn check_literal(&self, host: &str) -> io::Result<()> {
        match host.trim_matches(['[', ']']).parse() {
            Ok(ip) => self.access.outbound.check(ip).map_err(io::Error::other),
            Err(_) => Ok(()),
        }
    }
}

/// Looks names up for the connector, and hands out checked addresses only.
#[derive(Debug, Clone)]
pub(super) struct CheckedNames(pub(super) Outbound);

impl Service<Name> for CheckedNames {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let outbound = self.0.clone();
        Box::pin(async move {
            let found = outbound.addresses(name.as_str()).await?;
            Ok(found.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect::<Vec<_>>().into_iter())
        })
    }
}
