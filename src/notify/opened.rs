//! A notifier with its secrets open, for one attempt.

use reqwest::Url;

use super::NotifyParts;
use crate::domain::{CredentialType, Masker, Notifier, NotifierType, SecretBytes};
use crate::keys;
use crate::ports::OpenCredential;

/// What is needed to send.
pub(super) struct Opened {
    /// Where to; of a commit's status, the API if it was named.
    pub(super) url: Option<String>,
    /// What is signed with.
    pub(super) key: Option<SecretBytes>,
    /// What signs in, and where it may go.
    pub(super) credential: Option<std::sync::Arc<OpenCredential>>,
    /// Authorities that alone are trusted.
    pub(super) ca: Option<String>,
    /// Hides all of that in what a receiver says.
    pub(super) masker: Masker,
}

/// Opens a notifier. What is wrong with it may be mended, so that another attempt is worth it.
pub(super) fn open(parts: &NotifyParts, notifier: &Notifier) -> Result<Opened, String> {
    let kinds: &[CredentialType] =
        if notifier.kind.is_status() { &[CredentialType::GitToken] } else { &[CredentialType::Opaque] };
    let credential = match &notifier.credential {
        Some(name) => Some(parts.keyring.open_as(name, kinds).map_err(|error| error.to_string())?),
        None => None,
    };
    let sealed = match &notifier.url {
        Some(sealed) => Some(parts.sealer.open(sealed).map_err(|error| error.to_string())?),
        None => None,
    };
    let secret = credential.as_deref().and_then(|open| only_secret(open, notifier.kind)).cloned();
    let address = match notifier.kind {
        NotifierType::Slack => sealed.or_else(|| secret.clone()),
        _ => sealed,
    };
    let url = address.as_ref().and_then(SecretBytes::expose_text).map(|text| text.trim().to_owned());
    if !notifier.kind.is_status() {
        check(notifier, url.as_deref(), secret.as_ref(), credential.as_deref())?;
    }
    let hidden = credential.iter().flat_map(|open| open.data.iter().filter(|(key, _)| *key != "ca"));
    let hidden: Vec<SecretBytes> = hidden.map(|(_, value)| value.clone()).chain(address).collect();
    Ok(Opened {
        url,
        key: secret.filter(|_| notifier.kind != NotifierType::Slack),
        ca: credential.as_deref().and_then(|open| open.text("ca")).map(str::to_owned),
        masker: Masker::new(&hidden),
        credential,
    })
}

/// The value a credential is there for: by its name, or the only one.
fn only_secret(open: &OpenCredential, kind: NotifierType) -> Option<&SecretBytes> {
    let name = if kind == NotifierType::Slack { "url" } else { "secret" };
    let mut others = open.data.iter().filter(|(key, _)| *key != "ca").map(|(_, value)| value);
    open.data.get(name).or_else(|| others.next().filter(|_| others.next().is_none()))
}

/// Whether all is there that the type needs, and may go where it is to go.
fn check(
    notifier: &Notifier,
    url: Option<&str>,
    secret: Option<&SecretBytes>,
    credential: Option<&OpenCredential>,
) -> Result<(), String> {
    if let Some(open) = credential
        && secret.is_none()
    {
        let name = if notifier.kind == NotifierType::Slack { "url" } else { "secret" };
        return Err(open.unusable(format!("it holds no `{name}`")).to_string());
    }
    let parsed = url.and_then(|url| Url::parse(url).ok()).filter(Url::has_host);
    let parsed = parsed.ok_or_else(|| "its address cannot be read".to_owned())?;
    if notifier.kind == NotifierType::Slack && !keys::may_carry_secrets(&parsed) {
        return Err("its address is not https: a secret would cross the network in the clear".to_owned());
    }
    match credential {
        Some(open) => {
            let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']);
            let port = parsed.port_or_known_default().unwrap_or_default();
            open.for_host(host, port).map_err(|error| error.to_string())
        }
        None => Ok(()),
    }
}
