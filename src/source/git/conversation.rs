//! How a conversation with a repository's host is opened, and what is made of its failure.

use std::sync::Arc;

use gix::protocol::transport::client::blocking_io::Transport;
use reqwest::header::HeaderValue;

use super::access::{Access, installation_token, refused, sign_in};
use super::failure::{Failure, local, unreachable};
use super::operation::{Operation, locked};
use super::{Shared, address, http, program};
use crate::domain::CredentialType;
use crate::outbound::ssh;
use crate::ports::SourceError;

/// Opens the transport of one conversation, in its own thread.
pub(super) type Opener = Box<dyn FnOnce(&Arc<Operation>) -> Result<Box<dyn Transport + Send>, Failure> + Send>;

impl Shared {
    /// How a conversation is opened, after its host's addresses were checked and what it signs in with was got.
    pub(super) async fn opener(self: &Arc<Self>, access: &Access) -> Result<Opener, SourceError> {
        let pinned = address::pinned(&access.url, &self.options).await?;
        if matches!(access.url.scheme(), "file" | "ssh") {
            let (shared, access) = (Arc::clone(self), access.clone());
            return Ok(Box::new(move |operation| {
                let pipes = program::transport(&shared.options, operation, &access, pinned)?;
                Ok(Box::new(pipes) as Box<dyn Transport + Send>)
            }));
        }
        let client = self.client(access)?;
        let auth = self.sign_in(&client, access).await?;
        Ok(Box::new(move |operation| {
            let url = operation.url();
            let parsed = gix::Url::try_from(url.as_str()).map_err(|error| unreachable(url, error.to_string()))?;
            Ok(Box::new(http::transport(client, Arc::clone(operation), parsed, auth)) as Box<dyn Transport + Send>)
        }))
    }

    /// The http client for an access: one for all, and one more for each authority of one's own.
    fn client(&self, access: &Access) -> Result<reqwest::Client, SourceError> {
        let ca = access.credential.as_ref().and_then(|open| open.text("ca")).map(str::to_owned);
        let mut clients = locked(&self.clients);
        if let Some(client) = clients.get(&ca) {
            return Ok(client.clone());
        }
        let client = http::client(&self.options, ca.as_deref()).map_err(|reason| local(&access.url, reason))?;
        clients.insert(ca, client.clone());
        Ok(client)
    }

    /// The header of an https conversation; none without a credential.
    async fn sign_in(
        self: &Arc<Self>,
        client: &reqwest::Client,
        access: &Access,
    ) -> Result<Option<HeaderValue>, SourceError> {
        let Some(open) = &access.credential else { return Ok(None) };
        let unusable = |error: crate::ports::KeyringError| refused(&access.url, error.to_string());
        if open.kind != CredentialType::GitHubApp {
            return sign_in(open, None).map_err(unusable);
        }
        let key = access.print();
        let known = locked(&self.tokens).get(&key).filter(|token| token.lasts()).cloned();
        let token = match known {
            Some(token) => token,
            None => {
                let made = self.token_flights.join(key.clone(), || {
                    let (shared, client, access, open) =
                        (Arc::clone(self), client.clone(), access.clone(), Arc::clone(open));
                    async move { installation_token(&client, &access, &open, &shared.options).await }
                });
                let broke = || unreachable(&access.url, "the answer about a token could not be read to the end");
                let token = made.await.unwrap_or_else(|| Err(broke()))?;
                let mut tokens = locked(&self.tokens);
                tokens.retain(|_, token| token.lasts());
                tokens.insert(key, token.clone());
                token
            }
        };
        sign_in(open, Some(&token)).map_err(unusable)
    }

    /// What a failure means for who asked: a token that was refused is not used again, and a host's key that is not
    /// trusted is shown with its fingerprint.
    pub(super) async fn mend<T>(self: &Arc<Self>, access: &Access, result: Result<T, Failure>) -> Result<T, Failure> {
        let Some(open) = &access.credential else { return result };
        match result {
            Err(Failure::Source(error @ SourceError::Unauthorized { .. })) => {
                locked(&self.tokens).remove(&access.print());
                Err(error.into())
            }
            Err(Failure::Source(SourceError::HostKey { url, reason })) => {
                let pinned = address::pinned(&access.url, &self.options).await?;
                let (place, options) = (access.ssh_place(pinned), self.options.clone());
                let name = open.name.to_string();
                let about = tokio::task::spawn_blocking(move || {
                    ssh::about_untrusted(&options.ssh_program, &name, &place, options.connect_timeout, &reason)
                });
                let reason = about.await.unwrap_or_else(|_| "its key could not be read".to_owned());
                Err(SourceError::HostKey { url, reason }.into())
            }
            result => result,
        }
    }
}
