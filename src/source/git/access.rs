//! Who asks a repository's host, and with what: the address, and the credential opened for it.
//!
//! Everything that is shared between callers (listings, fetches, local copies) is shared by those with the same access
//! only. A stack without the credential, or with another one, never reads what was fetched with it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use reqwest::header::HeaderValue;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::address;
use super::failure::{Cause, forbidden, plain, unreachable};
use super::options::GitOptions;
use crate::domain::{CredentialType, GitSource, GitUrl, SecretBytes};
use crate::keys::github;
use crate::outbound::Barred;
use crate::outbound::ssh::Place;
use crate::ports::{Keyring, KeyringError, OpenCredential, SourceError};

/// The name that goes with a token when none is said: hosts look at the token alone.
const TOKEN_USER: &str = "x-access-token";
/// Bytes an answer about an installation token may have.
const LARGEST_ANSWER: usize = 64 << 10;
/// A token that ends sooner than this is made anew.
const MARGIN: Duration = Duration::from_secs(120);

/// An address, and the credential for it if one is named.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) url: GitUrl,
    pub(super) credential: Option<Arc<OpenCredential>>,
}

impl Access {
    /// Opens what a source names, and makes sure that it may go where the source is. Asks nobody.
    pub(super) fn of(source: &GitSource, options: &GitOptions, keyring: &dyn Keyring) -> Result<Self, SourceError> {
        let url = source.url.clone();
        address::permitted(&url, options)?;
        let Some(name) = &source.credential else { return Ok(Self { url, credential: None }) };
        let refused = |error: KeyringError| refused(&url, error.to_string());
        let kinds: &[CredentialType] = match url.scheme() {
            "https" => &[CredentialType::GitToken, CredentialType::GitBasic, CredentialType::GitHubApp],
            "ssh" => &[CredentialType::SshKey],
            scheme => {
                let reason = format!("a credential is never used over {scheme}://; write https:// or ssh://");
                return Err(SourceError::Credential { url: url.to_string(), reason });
            }
        };
        let open = keyring.open_as(name, kinds).map_err(refused)?;
        let (host, port) = host_and_port(&url)?;
        open.for_host(&host, port).map_err(refused)?;
        Ok(Self { url, credential: Some(open) })
    }

    /// What tells this access from others for as long as there is anything to share: not what the credential holds now, but
    /// which one it is.
    pub(super) fn place(&self) -> String {
        match &self.credential {
            None => self.url.as_str().to_owned(),
            Some(open) => format!("{}\n{}", self.url, open.id),
        }
    }

    /// The same, with what the credential holds now: who waits for a conversation must wait for one with these values.
    pub(super) fn print(&self) -> String {
        match &self.credential {
            None => self.url.as_str().to_owned(),
            Some(open) => format!("{}\n{}", self.url, open.print),
        }
    }

    /// The name of the folder of its local copy.
    pub(super) fn folder(&self) -> String {
        let digest = Sha256::digest(self.place().as_bytes());
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whom ssh is to reach.
    pub(super) fn ssh_place(&self, pinned: Option<std::net::IpAddr>) -> Place {
        let rest = self.url.as_str().split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        let user = authority.rsplit_once('@').map(|(user, _)| user.to_owned()).filter(|user| !user.is_empty());
        Place { user, host: self.url.host().to_owned(), port: self.url.port(), pinned }
    }
}

/// [`SourceError::Credential`].
pub(super) fn refused(url: &GitUrl, reason: String) -> SourceError {
    SourceError::Credential { url: url.to_string(), reason }
}

/// Host and port as they will be connected to: of http(s), in the words of the client.
fn host_and_port(url: &GitUrl) -> Result<(String, u16), SourceError> {
    if url.scheme() == "ssh" {
        return Ok((url.host().to_owned(), url.port()));
    }
    let parsed = reqwest::Url::parse(url.as_str()).ok();
    let parsed = parsed.as_ref().and_then(|it| Some((it.host_str()?, it.port_or_known_default()?)));
    match parsed {
        Some((host, port)) => Ok((host.trim_matches(['[', ']']).to_owned(), port)),
        None => Err(forbidden(url, "its address cannot be understood")),
    }
}

/// A header that signs in. Never shown.
pub(super) fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    let clear = Zeroizing::new(format!("{user}:{password}"));
    let text = Zeroizing::new(format!("Basic {}", BASE64.encode(clear.as_bytes())));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A token of an installation of a GitHub App, and when it ends.
#[derive(Debug, Clone)]
pub(super) struct InstallationToken {
    token: SecretBytes,
    ends: Timestamp,
}

impl InstallationToken {
    /// Whether it lasts for another conversation.
    pub(super) fn lasts(&self) -> bool {
        let left = self.ends.duration_since(Timestamp::now());
        Duration::try_from(left).is_ok_and(|left| left > MARGIN)
    }
}

/// The header for an https conversation. `token` is what [`installation_token`] gave, for an app.
pub(super) fn sign_in(
    open: &OpenCredential,
    token: Option<&InstallationToken>,
) -> Result<Option<HeaderValue>, KeyringError> {
    let header = match open.kind {
        CredentialType::GitBasic => basic(open.needed("username")?, open.needed("password")?),
        CredentialType::GitHubApp => token.and_then(|it| basic(TOKEN_USER, it.token.expose_text()?)),
        _ => basic(open.text("username").unwrap_or(TOKEN_USER), open.needed("token")?),
    };
    match header {
        Some(header) => Ok(Some(header)),
        None => Err(open.unusable("what it holds does not fit into a header")),
    }
}

/// Asks GitHub for a token of the installation. It goes to the host's own API, or to `apiUrl`, and follows no redirect.
pub(super) async fn installation_token(
    client: &reqwest::Client,
    access: &Access,
    open: &OpenCredential,
    options: &GitOptions,
) -> Result<InstallationToken, SourceError> {
    let url = &access.url;
    let unusable = |reason: String| refused(url, open.unusable(reason).to_string());
    let needed = |key: &str| open.needed(key).map_err(|error| refused(url, error.to_string()));
    let api =
        open.text("apiUrl").map_or_else(|| github::api_of(url.host()), |api| api.trim_end_matches('/').to_owned());
    let address = format!("{api}/app/installations/{}/access_tokens", needed("installationId")?);
    let address = reqwest::Url::parse(&address).map_err(|_| unusable("its `apiUrl` makes no sense".to_owned()))?;
    if address.scheme() != "https" {
        return Err(unusable("its `apiUrl` is not https".to_owned()));
    }
    address::literal(&address, options).map_err(|Barred(reason)| forbidden(url, reason))?;
    let now = Timestamp::now().as_second();
    let jwt = github::app_token(needed("appId")?, needed("privateKey")?, now);
    let jwt = jwt.map_err(|reason| unusable(format!("`privateKey` {reason}")))?;
    let asked = async {
        let request = client.post(address).bearer_auth(jwt.as_str()).header("accept", "application/vnd.github+json");
        let mut answer =
            request.header("user-agent", "skep").send().await.map_err(|error| super::http::cause(&error))?;
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) = answer.chunk().await.map_err(|error| super::http::cause(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST_ANSWER {
                return Err(Cause::TooLarge(format!("the answer about a token has more than {LARGEST_ANSWER} bytes")));
            }
        }
        Ok((answer.status().as_u16(), body))
    };
    let (status, body) = match tokio::time::timeout(options.list_timeout, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(Cause::Forbidden(reason))) => return Err(forbidden(url, reason)),
        Ok(Err(Cause::Network(reason) | Cause::TooLarge(reason))) => {
            return Err(unreachable(url, format!("asking {api} for a token: {reason}")));
        }
        Ok(Err(_)) | Err(_) => return Err(unreachable(url, format!("asking {api} for a token took too long"))),
    };
    let answer: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let text = |key: &str| answer.as_ref().and_then(|answer| answer.get(key)?.as_str());
    if status >= 500 {
        return Err(unreachable(url, format!("{api} answered {status} when asked for a token")));
    }
    match (status, text("token"), text("expires_at").and_then(|at| at.parse().ok())) {
        (201 | 200, Some(token), Some(ends)) => {
            Ok(InstallationToken { token: SecretBytes::new(token.as_bytes().to_vec()), ends })
        }
        (201 | 200, ..) => Err(unreachable(url, format!("the answer of {api} makes no sense"))),
        (status, ..) => {
            let said = text("message").map(|said| format!(": {}", plain(said))).unwrap_or_default();
            let reason = format!("{api} gave no token for the installation, but {status}{said}");
            Err(SourceError::Unauthorized { url: url.to_string(), reason })
        }
    }
}
