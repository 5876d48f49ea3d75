//! The far Skep of a relay over https: its public API, with the token of the relay's credential.
//!
//! The address that is connected to is checked at that moment; redirects are not followed, and the token goes to the
//! credential's hosts alone. Every call has a deadline, every answer a limit.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{StreamExt, unfold};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::domain::{CredentialType, Digest, Relay};
use crate::outbound::{Barred, Outbound};
use crate::ports::{
    BoxFuture, BoxStream, FarConnector, FarError, FarSkep, Follow, Greeting, HandOver, HandedOver, Keyring, LogLine,
    LogOf, LogQuery, OLDEST_PROTOCOL, PROTOCOL, Question, Told,
};

/// A connection has to be there within this time.
const CONNECT: Duration = Duration::from_secs(5);
/// An answer has to be there within this time.
const CALL: Duration = Duration::from_secs(15);
/// The answer to a question that the far one has to ask an engine or a repository.
const QUESTION: Duration = Duration::from_secs(35);
/// A log is silent for at most so long: an empty line comes before.
const LOG_SILENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer that are taken.
const ANSWER: usize = 16 << 20;
/// Bytes of one line that are taken.
const LINE: usize = 8 << 20;
/// Characters of an answer that are told.
const TOLD: usize = 200;

/// Reaches far Skeps.
#[derive(Clone)]
pub struct RelayConnector {
    keyring: Arc<dyn Keyring>,
    outbound: Outbound,
}

impl fmt::Debug for RelayConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelayConnector({:?})", self.outbound)
    }
}

impl RelayConnector {
    /// With these credentials, as far as `outbound` lets it.
    #[must_use]
    pub fn new(keyring: Arc<dyn Keyring>, outbound: Outbound) -> Self {
        Self { keyring, outbound }
    }
}

impl FarConnector for RelayConnector {
    fn connect(&self, relay: &Relay) -> Arc<dyn FarSkep> {
        Arc::new(Far { relay: relay.clone(), access: self.clone(), client: Mutex::new(None) })
    }
}

/// One far Skep.
struct Far {
    relay: Relay,
    access: RelayConnector,
    /// The client that was made with a credential of this print.
    client: Mutex<Option<(Digest, Client)>>,
}

impl Far {
    fn gone(&self, reason: impl Into<String>) -> FarError {
        FarError::Unreachable { url: self.relay.url.clone(), reason: reason.into() }
    }

    /// The address of a call, below that of the environment there.
    fn url(&self, path: &str) -> Result<Url, FarError> {
        let text = format!("{}/api/v1/relay/{}{path}", self.relay.url, self.relay.environment);
        Url::parse(&text).map_err(|_| FarError::Unfit(format!("`{}` is not an address", self.relay.url)))
    }

    /// A request with the token. The credential is opened anew each time, so that a changed one counts at once.
    fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, FarError> {
        let unfit = |error: &dyn fmt::Display| FarError::Unfit(error.to_string());
        let open = self.access.keyring.open_as(&self.relay.credential, &[CredentialType::SkepToken]);
        let open = open.map_err(|error| unfit(&error))?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().unwrap_or(443);
        open.for_host(&host, port).map_err(|error| unfit(&error))?;
        if let Ok(ip) = host.parse() {
            self.access.outbound.check(ip).map_err(|Barred(reason)| FarError::Unfit(reason))?;
        }
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", open.needed("token").map_err(|it| unfit(&it))?))
            .map_err(|_| unfit(&open.unusable("`token` does not fit into a header")))?;
        bearer.set_sensitive(true);
        let mut kept = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let client = match kept.as_ref().filter(|(print, _)| *print == open.print) {
            Some((_, client)) => client.clone(),
            None => {
                let client = client(&self.access.outbound, open.text("ca")).map_err(|error| unfit(&error))?;
                *kept = Some((open.print.clone(), client.clone()));
                client
            }
        };
        Ok(client.request(method, url).header(AUTHORIZATION, bearer))
    }

    /// Sends a request and gives its answer once it begins, if it is a good one.
    async fn send(&self, request: RequestBuilder, within: Duration) -> Result<Response, FarError> {
        let sent = timeout(within, request.send()).await.map_err(|_| self.gone("no answer in time"))?;
        let response = sent.map_err(|error| self.gone(why(&error)))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = timeout(within, whole(response, ANSWER)).await.unwrap_or_else(|_| Ok(Vec::new()));
        let problem: Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
        let word = |name: &str| problem.get(name).and_then(Value::as_str).map(clean);
        let Some(code) = word("code") else {
            return Err(self.gone(format!("something there answers {status}, and it is not a Skep that relays")));
        };
        let mut message = word("message").unwrap_or_default();
        if let Some(hint) = word("hint") {
            message.push_str(&format!("; {hint}"));
        }
        if let Some(cause) = word("cause") {
            message.push_str(&format!(" ({cause})"));
        }
        Err(FarError::Refused { url: self.relay.url.clone(), code, message })
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder, within: Duration) -> Result<T, FarError> {
        let response = self.send(request, within).await?;
        let body = timeout(within, whole(response, ANSWER)).await.map_err(|_| self.gone("no whole answer in time"))?;
        let body = body.map_err(|reason| self.gone(reason))?;
        serde_json::from_slice(&body).map_err(|_| self.gone("its answer is not one of a Skep"))
    }

    /// The lines of an answer. After so long a silence it is taken for lost.
    fn lines(&self, response: Response, silence: Duration) -> BoxStream<'static, Result<Vec<u8>, FarError>> {
        let url = self.relay.url.clone();
        unfold((response, Vec::new(), false), move |(mut response, mut held, over): (Response, Vec<u8>, bool)| {
            let url = url.clone();
            async move {
                if over {
                    return None;
                }
                let lost = |reason: String| Err(FarError::Unreachable { url: url.clone(), reason });
                loop {
                    if let Some(at) = held.iter().position(|byte| *byte == b'\n') {
                        let rest = held.split_off(at + 1);
                        held.pop();
                        return Some((Ok(held), (response, rest, false)));
                    }
                    if held.len() > LINE {
                        return Some((lost("a line is too long".into()), (response, Vec::new(), true)));
                    }
                    match timeout(silence, response.chunk()).await {
                        Ok(Ok(Some(chunk))) => held.extend_from_slice(&chunk),
                        Ok(Ok(None)) => return None,
                        Ok(Err(error)) => return Some((lost(why(&error)), (response, Vec::new(), true))),
                        Err(_) => return Some((lost("it went silent".into()), (response, Vec::new(), true))),
                    }
                }
            }
        })
        .boxed()
    }

    async fn greet_it(&self) -> Result<Greeting, FarError> {
        let request = self.request(Method::GET, self.url("")?)?;
        let greeting: Greeting = self.call(request, CALL).await?;
        if greeting.oldest > PROTOCOL || greeting.protocol < OLDEST_PROTOCOL {
            let which = if greeting.oldest > PROTOCOL { "this Skep" } else { "that one" };
            return Err(FarError::Unfit(format!(
                "the Skep at {} has version {} and speaks the relay protocols {} to {}; this one, {}, speaks {} to {}: \
                 versions may differ by one, so update {which}",
                self.relay.url,
                clean(&greeting.version),
                greeting.oldest,
                greeting.protocol,
                env!("CARGO_PKG_VERSION"),
                OLDEST_PROTOCOL,
                PROTOCOL,
            )));
        }
        Ok(greeting)
    }

    async fn follow_it(&self, from: &Follow) -> Result<BoxStream<'static, Result<Told, FarError>>, FarError> {
        let mut url = self.url("/changes")?;
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        for (name, value) in [
            ("instance", Some(from.near.instance.clone())),
            ("restored", from.near.restored.clone()),
            ("after", number(from.after)),
            ("sequence", number(from.sequence)),
            ("beat", number(Some(from.beat))),
            ("protocol", Some(from.protocol.to_string())),
        ] {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, &value);
            }
        }
        let response = self.send(self.request(Method::GET, url)?, CALL).await?;
        let url = self.relay.url.clone();
        let told = self.lines(response, Duration::from_secs(from.beat.saturating_mul(3))).map(move |line| {
            let line = line?;
            serde_json::from_slice(&line).map_err(|_| {
                let said = clean(String::from_utf8_lossy(&line));
                FarError::Unreachable { url: url.clone(), reason: format!("it said: {said}") }
            })
        });
        Ok(told.boxed())
    }

    async fn logs_of(
        &self,
        of: &LogOf,
        query: &LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, FarError>>, FarError> {
        let request = self.request(Method::POST, self.url("/logs")?)?.json(&json!({ "of": of, "query": query }));
        let lines = self.lines(self.send(request, QUESTION).await?, LOG_SILENCE);
        // What makes no sense is left out, empty lines among it.
        let line = |line: Result<Vec<u8>, FarError>| line.map(|line| serde_json::from_slice(&line).ok()).transpose();
        Ok(lines.filter_map(move |it| std::future::ready(line(it))).boxed())
    }
}

fn client(outbound: &Outbound, ca: Option<&str>) -> Result<Client, String> {
    let mut builder = Client::builder()
        .no_proxy()
        .user_agent(concat!("skep-relay/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .redirect(Policy::none())
        .dns_resolver(Arc::new(outbound.clone()));
    if let Some(ca) = ca {
        let trusted = reqwest::Certificate::from_pem_bundle(ca.as_bytes());
        builder =
            builder.tls_certs_only(trusted.map_err(|_| "`ca` of the credential holds no certificate".to_owned())?);
    }
    builder.build().map_err(|error| error.to_string())
}

async fn whole(mut response: Response, most: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| why(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > most {
            return Err(format!("its answer is larger than {most} bytes"));
        }
    }
    Ok(body)
}

/// Words of somebody else, on one short line.
fn clean(text: impl AsRef<str>) -> String {
    let line = text.as_ref().split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(TOLD).collect()
}

/// Why there is no answer, in the client's deepest words and without the address.
fn why(error: &reqwest::Error) -> String {
    use std::error::Error as _;
    let (mut deepest, mut next) = (None, error.source());
    while let Some(cause) = next {
        if let Some(Barred(reason)) = cause.downcast_ref() {
            return reason.clone();
        }
        deepest = Some(cause.to_string());
        next = cause.source();
    }
    let what = if error.is_connect() { "no connection" } else { "the connection broke off" };
    deepest.map_or_else(|| what.to_owned(), |deepest| format!("{what}: {deepest}"))
}

impl FarSkep for Far {
    fn greet(&self) -> BoxFuture<'_, Result<Greeting, FarError>> {
        Box::pin(self.greet_it())
    }

    fn hand_over<'a>(&'a self, handed: &'a HandOver) -> BoxFuture<'a, Result<HandedOver, FarError>> {
        Box::pin(async move {
            let url = self.url(&format!("/stacks/{}", handed.stack.key.name))?;
            self.call(self.request(Method::PUT, url)?.json(handed), CALL).await
        })
    }

    fn follow<'a>(
        &'a self,
        from: &'a Follow,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Told, FarError>>, FarError>> {
        Box::pin(self.follow_it(from))
    }

    fn claim<'a>(&'a self, reason: Option<&'a str>) -> BoxFuture<'a, Result<(), FarError>> {
        Box::pin(async move {
            let request = self.request(Method::POST, self.url("/claim")?)?.json(&json!({ "reason": reason }));
            self.call::<Value>(request, CALL).await.map(drop)
        })
    }

    fn ask<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<Value, FarError>> {
        Box::pin(async move {
            let request = self.request(Method::POST, self.url("/questions")?)?.json(question);
            self.call(request, QUESTION).await
        })
    }

    fn logs<'a>(
        &'a self,
        of: &'a LogOf,
        query: &'a LogQuery,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<LogLine, FarError>>, FarError>> {
        Box::pin(self.logs_of(of, query))
    }
}
