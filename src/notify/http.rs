//! Sending over http and https. The address that is connected to is checked at that moment; redirects are not followed;
//! proxies of the environment are not used: they would look names up by themselves.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response, Url};

use super::form::{Method, Request};
use crate::outbound::{Barred, Outbound};
use crate::ports::BoxFuture;

/// A connection has to be there within this time.
const CONNECT: Duration = Duration::from_secs(5);
/// An answer has to be there within this time.
const WHOLE: Duration = Duration::from_secs(15);
/// Bytes of an answer that are looked at.
const LOOKED_AT: usize = 64 << 10;
/// Characters of an answer that are told.
const TOLD: usize = 200;

/// What a receiver answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
    /// When the limit of requests is lifted, in seconds since 1970, if none is left until then.
    pub limit_resets: Option<i64>,
    /// The beginning of the answer, on one line.
    pub said: String,
    /// The answer itself, as far as it is looked at.
    pub body: Vec<u8>,
}

/// Sends requests.
pub trait Post: Send + Sync + 'static {
    /// Sends one, and gives the answer; or why there is none, without any secret.
    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, String>>;
}

/// The real one.
#[derive(Debug)]
pub struct Http {
    outbound: Outbound,
    client: Client,
}

impl Http {
    /// Sends to where this lets it.
    ///
    /// # Errors
    /// What the TLS library said, when no client can be made.
    pub fn new(outbound: Outbound) -> Result<Self, String> {
        let client = builder(&outbound).build().map_err(|error| error.to_string())?;
        Ok(Self { outbound, client })
    }

    async fn exchange(&self, request: &Request) -> Result<Answer, String> {
        let url = Url::parse(&request.url).map_err(|_| "its address cannot be read".to_owned())?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        if let Ok(ip) = host.parse() {
            self.outbound.check(ip).map_err(|Barred(reason)| reason)?;
        }
        let own = match &request.ca {
            None => None,
            Some(ca) => {
                let trusted = reqwest::Certificate::from_pem_bundle(ca.as_bytes());
                let trusted = trusted.map_err(|_| "`ca` of the credential holds no certificate".to_owned())?;
                let built = builder(&self.outbound).tls_certs_only(trusted).build();
                Some(built.map_err(|error| why(&error))?)
            }
        };
        let client = own.as_ref().unwrap_or(&self.client);
        let sent = match request.method {
            Method::Get => client.get(url),
            Method::Post => client.post(url).body(request.body.clone()),
            Method::Put => client.put(url).body(request.body.clone()),
        };
        let response = sent.headers(headers(request)?).send().await.map_err(|error| why(&error))?;
        Ok(answer(response).await)
    }
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

fn headers(request: &Request) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let unfit = |_| format!("what is to stand in the header {name} does not fit into one");
        let mut value = HeaderValue::from_str(value).map_err(unfit)?;
        value.set_sensitive(matches!(*name, "authorization" | "private-token"));
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(headers)
}

async fn answer(mut response: Response) -> Answer {
    let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let none_left = text("x-ratelimit-remaining").is_some_and(|left| left.trim() == "0");
    let mut answer = Answer {
        status: response.status().as_u16(),
        retry_after: text("retry-after"),
        limit_resets: text("x-ratelimit-reset").filter(|_| none_left).and_then(|second| second.trim().parse().ok()),
        said: String::new(),
        body: Vec::new(),
    };
    // An answer that breaks off is an answer: its status counts.
    while let Ok(Some(chunk)) = response.chunk().await {
        answer.body.extend_from_slice(&chunk);
        if answer.body.len() >= LOOKED_AT {
            break;
        }
    }
    let words = String::from_utf8_lossy(&answer.body);
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    answer.said = line.chars().filter(|c| !c.is_control()).take(TOLD).collect();
    answer
}

/// Why there is no answer, in the client's deepest words and without the address.
fn why(error: &reqwest::Error) -> String {
    let mut deepest = None;
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(Barred(reason)) = error.downcast_ref() {
            return reason.clone();
        }
        deepest = Some(error.to_string());
        next = error.source();
    }
    if error.is_timeout() {
        return if error.is_connect() { "no connection in time".to_owned() } else { "no answer in time".to_owned() };
    }
    let what = if error.is_connect() { "no connection" } else { "the request failed" };
    deepest.map_or_else(|| what.to_owned(), |deepest| format!("{what}: {deepest}"))
}

impl Post for Http {
    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(self.exchange(request))
    }
}
