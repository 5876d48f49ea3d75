//! Tokens: what a registry wants to see is given out by somebody it names, to those who sign in there.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::answer::{self, body, said, why};
use super::{HUB, HttpRegistry, Pass, Way};
use crate::keys::registry::Login;
use crate::ports::RegistryError;

/// Where Docker Hub gives its tokens out: its logins are for there.
const HUB_TOKENS: &str = "auth.docker.io";
/// Who asks, where that has to be said.
const CLIENT: &str = "skep";
/// A token that does not say for how long it is good is good for so long.
const SHORT: Duration = Duration::from_secs(60);
/// The longest that one is used.
const LONGEST: Duration = Duration::from_secs(3600);
/// A token is given up so long before its end.
const MARGIN: Duration = Duration::from_secs(5);
/// Bytes of an answer with a token.
const MOST_BYTES: usize = 64 << 10;

impl HttpRegistry {
    /// Gets a token of `realm`. Without a login an anonymous one is asked for.
    pub(super) async fn token(
        &self,
        way: &Way,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<Pass, RegistryError> {
        let mut url = Url::parse(realm).map_err(|_| way.unreachable("it names no place to sign in at"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(way.unreachable("the place it names to sign in at is no web address"));
        }
        self.check(way, &url)?;
        let own = format!("repository:{}:pull", way.repository.path);
        let scope = scope.unwrap_or(&own);
        if way.login.is_some() {
            goes_there(way, &url)?;
            self.may_carry(way, &url)?;
        }
        let request = match &way.login {
            Some(Login::Identity(token)) => {
                let mut fields = vec![("grant_type", "refresh_token"), ("client_id", CLIENT), ("scope", scope)];
                fields.extend(service.map(|service| ("service", service)));
                fields.push(("refresh_token", token));
                let mut form = url.clone();
                form.query_pairs_mut().clear().extend_pairs(fields);
                let form = Zeroizing::new(form.query().unwrap_or_default().to_owned());
                let kind = "application/x-www-form-urlencoded";
                way.client.post(url).header("content-type", kind).body(form.as_bytes().to_vec())
            }
            login => {
                {
                    let mut query = url.query_pairs_mut();
                    query.extend_pairs(service.map(|service| ("service", service)));
                    query.append_pair("scope", scope);
                }
                let request = way.client.get(url);
                match login {
                    Some(Login::Basic { name, password }) => request.header(AUTHORIZATION, basic(way, name, password)?),
                    _ => request,
                }
            }
        };
        let sent = request.send().await;
        let mut response = sent.map_err(|error| match answer::barred(&error) {
            Some(reason) => RegistryError::Forbidden { host: way.repository.host.clone(), reason },
            None => way.unreachable(format!("the place to sign in at: {}", why(&error))),
        })?;
        let retry_after = answer::retry_after(response.headers(), jiff::Timestamp::now());
        match response.status() {
            status if status.is_success() => {}
            StatusCode::TOO_MANY_REQUESTS => {
                let (host, reason) = (way.repository.host.clone(), way.told(said(response).await));
                return Err(RegistryError::Busy { host, reason, retry_after });
            }
            status if status.is_client_error() => return Err(way.denied(said(response).await)),
            _ => return Err(way.unreachable(said(response).await)),
        }
        let bytes = body(&mut response, MOST_BYTES).await.map(Zeroizing::new);
        let given: Option<Given> = bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let given = given.and_then(|given| {
            let good = given.expires_in.map_or(SHORT, Duration::from_secs).min(LONGEST);
            Some((given.token.or(given.access_token).filter(|it| !it.is_empty()).map(Zeroizing::new)?, good))
        });
        let Some((token, good)) = given else { return Err(way.unreachable("it was given no token")) };
        Ok(Pass::Token(bearer(way, &token)?, Instant::now() + good.saturating_sub(MARGIN)))
    }
}

/// What the place to sign in at gives.
#[derive(Deserialize)]
struct Given {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Refuses to send a login where its credential does not say that it may go.
fn goes_there(way: &Way, url: &Url) -> Result<(), RegistryError> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(443);
    if way.repository.host == HUB.0 && host == HUB_TOKENS && url.scheme() == "https" {
        return Ok(());
    }
    match way.credential.as_ref().map(|open| open.for_host(host, port)) {
        Some(Err(error)) => Err(way.credential(format!("it wants its login to be sent elsewhere: {error}"))),
        _ => Ok(()),
    }
}

pub(super) fn basic(way: &Way, name: &str, password: &str) -> Result<HeaderValue, RegistryError> {
    let pair = Zeroizing::new(format!("{name}:{password}"));
    sensitive(way, &Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
}

pub(super) fn bearer(way: &Way, token: &str) -> Result<HeaderValue, RegistryError> {
    sensitive(way, &Zeroizing::new(format!("Bearer {token}")))
}

fn sensitive(way: &Way, text: &str) -> Result<HeaderValue, RegistryError> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| way.credential("what it is opened with does not fit into a header"))?;
    value.set_sensitive(true);
    Ok(value)
}
