//! http and https, for the library's transport: bytes are counted, waiting ends with the conversation, and redirects stay
//! on the host that was named.
//!
//! A redirect is followed for the first request only (`info/refs`, as git does), at most five times, to the same host and
//! port, or from http to https on it. Proxies of the environment are not used: they would look names up by themselves.

use std::error::Error as _;
use std::fmt;
use std::io::{self, BufRead, Read, Write};
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes};
use gix::protocol::transport::client::blocking_io::http::{
    GetResponse, Http, PostBodyDataKind, PostResponse, Transport,
};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, RequestBuilder, Response, Url};

use super::failure::{Cause, plain};
use super::operation::{Operation, locked};
use super::options::GitOptions;
use crate::outbound::Barred;

/// Redirects followed at most.
const REDIRECTS: usize = 5;
const TAIL: &str = "/info/refs";

/// The one client for all hosts: connections and TLS sessions are used again.
///
/// With `ca`, hosts are trusted whose certificate one of these authorities signed, and no others.
pub(super) fn client(options: &GitOptions, ca: Option<&str>) -> Result<Client, String> {
    let mut builder = Client::builder()
        .no_proxy()
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.idle_timeout)
        .pool_max_idle_per_host(options.conversations_per_host)
        .redirect(Policy::custom(|attempt| match misled(&attempt) {
            None => attempt.follow(),
            Some(reason) => attempt.error(Misled(reason)),
        }));
    builder = builder.dns_resolver(Arc::new(options.outbound.clone()));
    if let Some(ca) = ca {
        let trusted = reqwest::Certificate::from_pem_bundle(ca.as_bytes());
        builder =
            builder.tls_certs_only(trusted.map_err(|_| "`ca` of the credential holds no certificate".to_owned())?);
    }
    builder.build().map_err(|error| format!("the http client cannot be built: {error}"))
}

/// The transport for one conversation.
pub(super) fn transport(
    client: Client,
    operation: Arc<Operation>,
    url: gix::Url,
    auth: Option<HeaderValue>,
) -> Transport<Web> {
    let own = Url::parse(operation.url().as_str()).ok();
    let http = Web { client, operation, own, auth, moved_to: None };
    Transport::new_http(http, url, gix::protocol::transport::Protocol::V2, false)
}

/// A redirect that is not followed.
#[derive(Debug)]
struct Misled(String);

impl fmt::Display for Misled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misled {}

fn misled(attempt: &Attempt<'_>) -> Option<String> {
    let from = attempt.previous().first()?;
    let to = attempt.url();
    let same_place = from.scheme() == to.scheme() && from.port_or_known_default() == to.port_or_known_default();
    let safer = (from.scheme(), to.scheme()) == ("http", "https")
        && (from.port_or_known_default(), to.port_or_known_default()) == (Some(80), Some(443));
    if from.host_str() != to.host_str() || !(same_place || safer) {
        let to = to.origin().ascii_serialization();
        return Some(format!("it redirects to {to}; name that address if it is to be used"));
    }
    if !from.path().ends_with(TAIL) || !to.path().ends_with(TAIL) || from.query() != to.query() {
        return Some(format!("it redirects to {}, which is no repository", to.path()));
    }
    (attempt.previous().len() > REDIRECTS).then(|| "it redirects too often".to_owned())
}

/// The library's idea of an http client, for one conversation.
pub(super) struct Web {
    client: Client,
    operation: Arc<Operation>,
    /// The address that was checked, in the words of the client.
    own: Option<Url>,
    /// What signs in: there and nowhere else.
    auth: Option<HeaderValue>,
    moved_to: Option<String>,
}

impl Web {
    /// Makes sure that the library and the client read the address alike: the host is the one that was checked.
    fn guard(&self, url: &str) -> gix::Result<()> {
        let asked = Url::parse(url).ok();
        let host = |url: &Option<Url>| url.as_ref().and_then(|url| url.host_str().map(str::to_owned));
        let place = |url: &Option<Url>| url.as_ref().map(|url| (url.scheme() == "https", url.port_or_known_default()));
        let same_host = host(&asked).is_some() && host(&asked) == host(&self.own);
        let signed = self.auth.is_none() || (place(&asked) == place(&self.own) && place(&asked).is_some_and(|it| it.0));
        if same_host && signed {
            return Ok(());
        }
        let cause = Cause::Forbidden("its address can be read in two ways; write it plainly".to_owned());
        Err(gix::Error::from_error(self.operation.fail(cause)))
    }

    fn request<'h>(
        &self,
        builder: RequestBuilder,
        headers: impl IntoIterator<Item = impl AsRef<str> + 'h>,
    ) -> RequestBuilder {
        let builder = match &self.auth {
            Some(auth) => builder.header(AUTHORIZATION, auth.clone()),
            None => builder,
        };
        headers.into_iter().fold(builder, |builder, line| match line.as_ref().split_once(':') {
            Some((name, value)) => builder.header(name.trim(), value.trim()),
            None => builder,
        })
    }
}

impl Http for Web {
    type Headers = Headers;
    type ResponseBody = Body;
    type PostBody = Sink;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Headers, Body>> {
        self.guard(url)?;
        let exchange = Exchange::new(&self.operation, self.request(self.client.get(url), headers));
        let landed = exchange.send().map_err(gix::Error::from_error)?;
        let tail = url.strip_prefix(base_url).unwrap_or(TAIL);
        if landed.as_str() != url
            && let Some(base) = landed.as_str().strip_suffix(tail)
        {
            self.moved_to = Some(base.to_owned());
        }
        Ok(GetResponse { headers: Headers::of(&exchange), body: Body { exchange, chunk: Bytes::new() } })
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _kind: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Headers, Body, Sink>> {
        self.guard(url)?;
        let exchange = Exchange::new(&self.operation, self.request(self.client.post(url), headers));
        Ok(PostResponse {
            post_body: Sink { exchange: exchange.clone() },
            headers: Headers::of(&exchange),
            body: Body { exchange, chunk: Bytes::new() },
        })
    }

    fn configure(&mut self, _config: &dyn std::any::Any) -> gix::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.moved_to.clone()
    }
}

/// A request and its answer. It is sent when its body is complete, which is when the answer is first looked at.
#[derive(Clone)]
struct Exchange {
    operation: Arc<Operation>,
    state: Arc<Mutex<State>>,
}

struct State {
    request: Option<RequestBuilder>,
    to_send: Vec<u8>,
    headers: Vec<u8>,
    response: Option<Response>,
    begun: bool,
}

impl Exchange {
    fn new(operation: &Arc<Operation>, request: RequestBuilder) -> Self {
        Self {
            operation: Arc::clone(operation),
            state: Arc::new(Mutex::new(State {
                request: Some(request),
                to_send: Vec::new(),
                headers: Vec::new(),
                response: None,
                begun: false,
            })),
        }
    }

    /// Sends the request; gives the address that answered.
    fn send(&self) -> io::Result<Url> {
        let mut state = locked(&self.state);
        let Some(request) = state.request.take() else { return Err(io::Error::other("sent before")) };
        let body = std::mem::take(&mut state.to_send);
        let request = if body.is_empty() { request } else { request.body(body) };
        let response = match self.operation.wait(request.send())? {
            Ok(response) => response,
            Err(error) => return Err(self.operation.fail(cause(&error))),
        };
        if !response.status().is_success() {
            return Err(self.operation.fail(Cause::Status(response.status().as_u16())));
        }
        for (name, value) in response.headers() {
            state.headers.extend_from_slice(name.as_str().as_bytes());
            state.headers.extend_from_slice(b": ");
            state.headers.extend_from_slice(value.as_bytes());
            state.headers.push(b'\n');
        }
        let url = response.url().clone();
        state.response = Some(response);
        Ok(url)
    }

    fn send_once(&self) -> io::Result<()> {
        let unsent = locked(&self.state).request.is_some();
        if unsent { self.send().map(drop) } else { Ok(()) }
    }

    /// The next piece of the answer; empty at its end.
    fn chunk(&self) -> io::Result<Bytes> {
        self.send_once()?;
        let mut state = locked(&self.state);
        while let Some(response) = state.response.as_mut() {
            match self.operation.wait(response.chunk())? {
                Ok(Some(chunk)) if chunk.is_empty() => {}
                Ok(Some(chunk)) => {
                    self.operation.count(chunk.len())?;
                    // An answer that is an error begins so. The library does not know it in every place.
                    if !std::mem::replace(&mut state.begun, true)
                        && let Some(text) = chunk.get(4..).and_then(|line| line.strip_prefix(b"ERR "))
                    {
                        self.operation.blame(Cause::Said(plain(&String::from_utf8_lossy(text))));
                    }
                    return Ok(chunk);
                }
                Ok(None) => state.response = None,
                Err(error) => return Err(self.operation.fail(cause(&error))),
            }
        }
        Ok(Bytes::new())
    }
}

/// Why the client gave up, in its own deepest words and without the address.
pub(super) fn cause(error: &reqwest::Error) -> Cause {
    let mut deepest = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(Barred(reason)) = error.downcast_ref() {
            return Cause::Forbidden(reason.clone());
        }
        if let Some(Misled(reason)) = error.downcast_ref() {
            return Cause::Forbidden(reason.clone());
        }
        deepest = error.to_string();
        next = error.source();
    }
    if error.is_timeout() {
        let what = if error.is_connect() { "no connection" } else { "silence" };
        return Cause::Network(format!("{what} for too long"));
    }
    let what = if error.is_connect() { "no connection: " } else { "" };
    Cause::Network(plain(&format!("{what}{deepest}")))
}

/// What the library writes the body of a request to.
pub(super) struct Sink {
    exchange: Exchange,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        locked(&self.exchange.state).to_send.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The headers of an answer, a line each.
pub(super) struct Headers {
    exchange: Exchange,
    lines: Option<io::Cursor<Vec<u8>>>,
}

impl Headers {
    fn of(exchange: &Exchange) -> Self {
        Self { exchange: exchange.clone(), lines: None }
    }

    fn lines(&mut self) -> io::Result<&mut io::Cursor<Vec<u8>>> {
        if self.lines.is_none() {
            self.exchange.send_once()?;
        }
        let exchange = &self.exchange;
        Ok(self.lines.get_or_insert_with(|| io::Cursor::new(std::mem::take(&mut locked(&exchange.state).headers))))
    }
}

impl Read for Headers {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.lines()?.read(into)
    }
}

impl BufRead for Headers {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.lines()?.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Some(lines) = &mut self.lines {
            lines.consume(amount);
        }
    }
}

/// The body of an answer.
pub(super) struct Body {
    exchange: Exchange,
    chunk: Bytes,
}

impl Read for Body {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let amount = self.fill_buf()?.read(into)?;
        self.consume(amount);
        Ok(amount)
    }
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.is_empty() {
            self.chunk = self.exchange.chunk()?;
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, amount: usize) {
        self.chunk.advance(amount.min(self.chunk.len()));
    }
}
