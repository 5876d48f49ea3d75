//! The registry API of the Distribution project, over http and https: tags of a repository, digests of tags.
//!
//! The address that is connected to is checked at that moment, like that of a repository of git; redirects are not followed,
//! proxies of the environment are not used. A registry's login goes to the hosts that its credential names, and nowhere else:
//! neither to where the registry sends one for a token, unless that is one of them, nor in the clear beyond this machine.

mod answer;
mod token;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, AUTHORIZATION, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LINK, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Method, Response, StatusCode, Url};
use sha2::{Digest as _, Sha256};

use self::answer::{body, said, why};
use super::challenge::Challenge;
use crate::domain::{Repository, is_tag};
use crate::keys;
use crate::keys::registry::Login;
use crate::outbound::{Barred, Outbound};
use crate::ports::{BoxFuture, Keyring, OpenCredential, Registry, RegistryError, Tags};

/// A connection has to be there within this time.
const CONNECT: Duration = Duration::from_secs(5);
/// An answer has to be there within this time.
const WHOLE: Duration = Duration::from_secs(30);
/// Tags asked for at a time.
const PAGE: usize = 500;
/// Pages of one list.
const MOST_PAGES: usize = 400;
/// Tags of one repository.
const MOST_TAGS: usize = 100_000;
/// Bytes of one answer.
const MOST_BYTES: usize = 4 << 20;
/// Docker Hub, as images name it, and where it is.
const HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// The kinds of manifests a tag may point at: an index before a single image, so that the digest is the one engines pull by.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";
/// Where a registry says what a tag points at.
const DIGEST: &str = "docker-content-digest";

/// Asks registries over the network.
pub struct HttpRegistry {
    outbound: Outbound,
    keyring: Arc<dyn Keyring>,
    client: Client,
    known: Mutex<Known>,
}

/// What was learned about registries while the process runs.
#[derive(Default)]
struct Known {
    /// Registries on this machine that speak plain http.
    plain: BTreeSet<String>,
    /// What opens a repository: by its name and the login's print.
    passes: HashMap<(Repository, String), Pass>,
}

/// What a request is let through with.
#[derive(Clone)]
enum Pass {
    /// The login itself.
    Basic,
    /// A token, until then.
    Token(HeaderValue, Instant),
}

/// One request's way: where to, by which client, with which login.
struct Way {
    repository: Repository,
    base: Url,
    client: Client,
    login: Option<Login>,
    credential: Option<Arc<OpenCredential>>,
}

impl Way {
    /// What tells its login from another one.
    fn print(&self) -> String {
        self.credential.as_ref().map(|it| it.print.to_string()).unwrap_or_default()
    }

    /// What somebody said, without the login's secret, should it be in there.
    fn told(&self, text: String) -> String {
        match self.login.as_ref().map(Login::secret).filter(|secret| secret.len() > 3) {
            Some(secret) => text.replace(secret, "***"),
            None => text,
        }
    }

    fn unreachable(&self, reason: impl Into<String>) -> RegistryError {
        RegistryError::Unreachable { host: self.repository.host.clone(), reason: self.told(reason.into()) }
    }

    fn denied(&self, reason: impl Into<String>) -> RegistryError {
        RegistryError::Denied { host: self.repository.host.clone(), reason: self.told(reason.into()) }
    }

    fn credential(&self, reason: impl Into<String>) -> RegistryError {
        RegistryError::Credential { host: self.repository.host.clone(), reason: reason.into() }
    }

    fn url(&self, rest: &str) -> Result<Url, RegistryError> {
        let path = format!("/v2/{}/{rest}", self.repository.path);
        self.base.join(&path).map_err(|_| self.unreachable("its address cannot be read"))
    }
}

impl HttpRegistry {
    /// Asks those that `outbound` lets it, with the logins of a keyring.
    ///
    /// # Errors
    /// What the TLS library said, when no client can be made.
    pub fn new(outbound: Outbound, keyring: Arc<dyn Keyring>) -> Result<Self, String> {
        let client = builder(&outbound).build().map_err(|error| error.to_string())?;
        Ok(Self { outbound, keyring, client, known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn way(&self, repository: &Repository) -> Result<Way, RegistryError> {
        let host = &repository.host;
        let (name, port) = keys::registry::place(host);
        let failed = |reason: String| RegistryError::Credential { host: host.clone(), reason };
        let credential = self.keyring.registry(name, port).map_err(|error| failed(error.to_string()))?;
        let login = credential.as_ref().and_then(|open| keys::registry::open(|key| open.text(key), host));
        let client = match credential.as_ref().and_then(|open| open.text("ca")) {
            None => self.client.clone(),
            Some(ca) => {
                let trusted = reqwest::Certificate::from_pem_bundle(ca.as_bytes());
                let trusted = trusted.map_err(|_| failed("`ca` of its credential holds no certificate".to_owned()))?;
                let built = builder(&self.outbound).tls_certs_only(trusted).build();
                built.map_err(|error| failed(why(&error)))?
            }
        };
        let place = if host == HUB.0 { HUB.1 } else { host };
        let vouched = credential.as_ref().is_some_and(|open| open.text("ca").is_some());
        let scheme = if !vouched && self.known().plain.contains(host) { "http" } else { "https" };
        let unreadable =
            |_| RegistryError::Unreachable { host: host.clone(), reason: "its address cannot be read".to_owned() };
        let base = Url::parse(&format!("{scheme}://{place}/")).map_err(unreadable)?;
        Ok(Way { repository: repository.clone(), base, client, login, credential })
    }

    /// An address in the text of a URL is not looked up, and so is checked here.
    fn check(&self, way: &Way, url: &Url) -> Result<(), RegistryError> {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        match host.parse::<IpAddr>().map(|ip| self.outbound.check(ip)) {
            Ok(Err(Barred(reason))) => Err(RegistryError::Forbidden { host: way.repository.host.clone(), reason }),
            _ => Ok(()),
        }
    }

    /// Sends a request with whatever it takes to be let through, and gives the answer if it is one of those that say
    /// something about the repository.
    async fn ask(&self, way: &mut Way, request: &Ask<'_>) -> Result<Response, RegistryError> {
        let place = (way.repository.clone(), way.print());
        let mut pass = self.known().passes.get(&place).cloned();
        if matches!(&pass, Some(Pass::Token(_, until)) if *until <= Instant::now()) {
            pass = None;
        }
        let mut renewed = false;
        loop {
            let response = self.send(way, request, pass.as_ref()).await?;
            if response.status() != StatusCode::UNAUTHORIZED || renewed {
                return self.meaning(way, response).await;
            }
            let demands = response.headers().get_all(WWW_AUTHENTICATE).iter();
            let demand = demands.filter_map(|it| it.to_str().ok()).find_map(Challenge::parse);
            let next = match demand {
                Some(Challenge::Basic) if matches!(way.login, Some(Login::Basic { .. })) => Some(Pass::Basic),
                Some(Challenge::Bearer { realm, service, scope }) => {
                    Some(self.token(way, &realm, service.as_deref(), scope.as_deref()).await?)
                }
                _ => None,
            };
            let Some(next) = next else { return self.meaning(way, response).await };
            self.known().passes.insert(place.clone(), next.clone());
            (pass, renewed) = (Some(next), true);
        }
    }

    async fn send(&self, way: &mut Way, request: &Ask<'_>, pass: Option<&Pass>) -> Result<Response, RegistryError> {
        let mut headers = request.headers.clone();
        match (pass, &way.login) {
            (Some(Pass::Token(token, _)), _) => drop(headers.insert(AUTHORIZATION, token.clone())),
            (Some(Pass::Basic), Some(Login::Basic { name, password })) => {
                self.may_carry(way, &way.base)?;
                headers.insert(AUTHORIZATION, token::basic(way, name, password)?);
            }
            (_, Some(Login::Bearer(token))) => {
                self.may_carry(way, &way.base)?;
                headers.insert(AUTHORIZATION, token::bearer(way, token)?);
            }
            _ => {}
        }
        let url = match request.page {
            Some(page) => page.clone(),
            None => way.url(request.rest)?,
        };
        self.check(way, &url)?;
        let sent = way.client.request(request.method.clone(), url.clone()).headers(headers.clone()).send().await;
        let error = match sent {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        // Engines take a registry on their own machine without TLS, too. One that speaks it, or for which somebody vouches, is
        // not asked in the clear.
        let vouched = way.credential.as_ref().is_some_and(|open| open.text("ca").is_some());
        let clear = is_loopback(&way.base) && !vouched && !answer::is_of_its_certificate(&error);
        if error.is_connect() && way.base.scheme() == "https" && clear {
            let mut plain = url;
            if plain.set_scheme("http").is_ok() && way.base.set_scheme("http").is_ok() {
                let sent = way.client.request(request.method.clone(), plain).headers(headers).send().await;
                if let Ok(response) = sent {
                    self.known().plain.insert(way.repository.host.clone());
                    return Ok(response);
                }
                let _ = way.base.set_scheme("https");
            }
        }
        self.known().plain.remove(&way.repository.host);
        Err(match answer::barred(&error) {
            Some(reason) => RegistryError::Forbidden { host: way.repository.host.clone(), reason },
            None => way.unreachable(why(&error)),
        })
    }

    /// Whether a secret may go there: over TLS, or to this machine itself.
    fn may_carry(&self, way: &Way, url: &Url) -> Result<(), RegistryError> {
        if keys::may_carry_secrets(url) {
            return Ok(());
        }
        Err(way.credential("its login would go over plain http"))
    }

    async fn meaning(&self, way: &Way, response: Response) -> Result<Response, RegistryError> {
        let status = response.status();
        let retry_after = answer::retry_after(response.headers(), jiff::Timestamp::now());
        let host = way.repository.host.clone();
        match status {
            _ if status.is_success() => Ok(response),
            StatusCode::NOT_MODIFIED | StatusCode::NOT_FOUND => Ok(response),
            StatusCode::TOO_MANY_REQUESTS => {
                Err(RegistryError::Busy { host, reason: way.told(said(response).await), retry_after })
            }
            StatusCode::SERVICE_UNAVAILABLE if retry_after.is_some() => {
                Err(RegistryError::Busy { host, reason: way.told(said(response).await), retry_after })
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(way.denied(said(response).await)),
            _ => Err(way.unreachable(said(response).await)),
        }
    }

    async fn list(&self, repository: &Repository, known: Option<&Tags>) -> Result<Tags, RegistryError> {
        let mut way = self.way(repository)?;
        let mut headers = HeaderMap::new();
        if let Some(mark) = known.and_then(|known| known.mark.as_ref()).and_then(|it| HeaderValue::from_str(it).ok()) {
            headers.insert(IF_NONE_MATCH, mark);
        }
        let first = format!("tags/list?n={PAGE}");
        let (mut page, mut names) = (None, BTreeSet::new());
        for number in 0..MOST_PAGES {
            let request = Ask { method: Method::GET, rest: &first, page: page.as_ref(), headers };
            let mut response = self.ask(&mut way, &request).await?;
            match (response.status(), known) {
                (StatusCode::NOT_FOUND, _) => {
                    return Err(RegistryError::NotFound {
                        host: repository.host.clone(),
                        path: repository.path.clone(),
                    });
                }
                (StatusCode::NOT_MODIFIED, Some(known)) => return Ok(known.clone()),
                (StatusCode::NOT_MODIFIED, None) => return Err(way.unreachable("it says that nothing was changed")),
                _ => {}
            }
            let next = response.headers().get(LINK).and_then(|link| link.to_str().ok()).and_then(next_page);
            let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
            // The mark of the first page of several says nothing of the others.
            let mark = tag.filter(|_| number == 0 && next.is_none());
            let bytes = body(&mut response, MOST_BYTES).await.map_err(|reason| match reason {
                answer::Broken::TooLarge => too_large(repository, format!("more than {MOST_BYTES} bytes at once")),
                answer::Broken::Off(reason) => way.unreachable(reason),
            })?;
            names.extend(listed(&bytes).ok_or_else(|| way.unreachable("its list of tags cannot be read"))?);
            if names.len() > MOST_TAGS {
                return Err(too_large(repository, format!("more than {MOST_TAGS} tags")));
            }
            let Some(next) = next else { return Ok(Tags { names: Arc::new(names), mark }) };
            page = Some(self.beside(&way, page.as_ref(), &next)?);
            headers = HeaderMap::new();
        }
        Err(too_large(repository, format!("more than {MOST_PAGES} pages of tags")))
    }

    /// The address of another page: one of the same registry.
    fn beside(&self, way: &Way, page: Option<&Url>, next: &str) -> Result<Url, RegistryError> {
        let from = match page {
            Some(page) => page.clone(),
            None => way.url("tags/list")?,
        };
        let same = |url: &Url| {
            (url.scheme(), url.host_str(), url.port_or_known_default())
                == (way.base.scheme(), way.base.host_str(), way.base.port_or_known_default())
        };
        match from.join(next) {
            Ok(url) if same(&url) => Ok(url),
            // What stands behind something that does TLS may name itself without.
            Ok(mut url) if url.host_str() == way.base.host_str() && url.path().starts_with("/v2/") => {
                let port = way.base.port();
                match url.set_scheme(way.base.scheme()).and_then(|()| url.set_port(port)) {
                    Ok(()) => Ok(url),
                    Err(()) => Err(way.unreachable("the next page of its tags has no address")),
                }
            }
            _ => Err(way.unreachable("the next page of its tags is somewhere else")),
        }
    }

    async fn point(
        &self,
        repository: &Repository,
        tag: &str,
        known: Option<&str>,
    ) -> Result<Option<String>, RegistryError> {
        let mut way = self.way(repository)?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(MANIFESTS));
        let rest = format!("manifests/{tag}");
        let whole = headers.clone();
        if let Some(mark) = known.and_then(|known| HeaderValue::from_str(&format!("\"{known}\"")).ok()) {
            headers.insert(IF_NONE_MATCH, mark);
        }
        let response = self.ask(&mut way, &Ask { method: Method::HEAD, rest: &rest, page: None, headers }).await?;
        match (response.status(), known) {
            (StatusCode::NOT_FOUND, _) => return Ok(None),
            (StatusCode::NOT_MODIFIED, Some(known)) => return Ok(Some(known.to_owned())),
            _ => {}
        }
        if let Some(digest) = response.headers().get(DIGEST).and_then(|digest| digest.to_str().ok()).filter(is_digest) {
            return Ok(Some(digest.to_owned()));
        }
        // A registry that does not say is asked for the manifest itself.
        let request = Ask { method: Method::GET, rest: &rest, page: None, headers: whole };
        let mut response = self.ask(&mut way, &request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let bytes = body(&mut response, MOST_BYTES).await.map_err(|reason| match reason {
            answer::Broken::TooLarge => too_large(repository, format!("a manifest of more than {MOST_BYTES} bytes")),
            answer::Broken::Off(reason) => way.unreachable(reason),
        })?;
        let hex: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Some(format!("sha256:{hex}")))
    }
}

/// One question to a registry.
struct Ask<'a> {
    method: Method,
    /// What stands behind the repository's name.
    rest: &'a str,
    /// The whole address, where the registry gave it.
    page: Option<&'a Url>,
    headers: HeaderMap,
}

fn builder(outbound: &Outbound) -> ClientBuilder {
    Client::builder()
        .no_proxy()
        .user_agent(concat!("skep/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .timeout(WHOLE)
        .redirect(Policy::none())
        .dns_resolver(Arc::new(outbound.clone()))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_digest(text: &&str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_hexdigit()))
}

fn too_large(repository: &Repository, reason: String) -> RegistryError {
    RegistryError::TooLarge { host: repository.host.clone(), reason }
}

/// The names in an answer; what cannot be a tag is left out. A repository without tags says `null`.
fn listed(bytes: &[u8]) -> Option<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Answer {
        #[serde(default)]
        tags: Option<Vec<String>>,
    }
    let answer: Answer = serde_json::from_slice(bytes).ok()?;
    Some(answer.tags.unwrap_or_default().into_iter().filter(|tag| is_tag(tag)).collect())
}

/// Where a header `Link` says that the list goes on.
fn next_page(header: &str) -> Option<String> {
    header.split(',').find_map(|part| {
        let (address, about) = part.trim().strip_prefix('<')?.split_once('>')?;
        let next = about.split(';').any(|field| {
            let field = field.trim();
            field.eq_ignore_ascii_case("rel=\"next\"") || field.eq_ignore_ascii_case("rel=next")
        });
        next.then(|| address.to_owned())
    })
}

impl Registry for HttpRegistry {
    fn tags<'a>(
        &'a self,
        repository: &'a Repository,
        known: Option<&'a Tags>,
    ) -> BoxFuture<'a, Result<Tags, RegistryError>> {
        Box::pin(self.list(repository, known))
    }

    fn digest<'a>(
        &'a self,
        repository: &'a Repository,
        tag: &'a str,
        known: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<String>, RegistryError>> {
        Box::pin(self.point(repository, tag, known))
    }
}

#[cfg(test)]
mod tests;
