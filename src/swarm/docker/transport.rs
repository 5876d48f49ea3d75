//! The one HTTP client of an endpoint: for our own calls and, as its transport, for bollard.

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bollard::{BollardRequest, Docker};
use bytes::Bytes;
use futures_util::Stream;
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, DATE, HeaderName, HeaderValue};
use hyper::http::uri::{PathAndQuery, Scheme};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use tokio::sync::Notify;

use super::DockerOptions;
use super::dial::{Dial, TooLarge};
use super::endpoint::Endpoint;
use super::way::Way;
use crate::ports::SwarmError;

/// Request bodies as bollard makes them, so that one client serves both ways.
type Body = Either<Full<Bytes>, StreamBody<Pin<Box<dyn Stream<Item = io::Result<Frame<Bytes>>> + Send>>>>;

/// Engines close idle connections after a few minutes; ours go first.
const IDLE_CONNECTION: Duration = Duration::from_secs(60);
/// Idle connections kept for each endpoint.
const IDLE_CONNECTIONS: usize = 8;

/// A version of the Engine API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiVersion(pub(super) u16, pub(super) u16);

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for ApiVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('.').and_then(|(a, b)| Some(Self(a.parse().ok()?, b.parse().ok()?)));
        parsed.ok_or_else(|| format!("`{text}` is no API version"))
    }
}

/// Why there is no answer that could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// None came.
    Silent(String),
    /// It makes no sense.
    Senseless(String),
}

impl Failure {
    /// The port's error for it.
    pub(super) fn at(self, endpoint: &Endpoint) -> SwarmError {
        let endpoint = endpoint.to_string();
        match self {
            Self::Silent(reason) => SwarmError::Unreachable { endpoint, reason },
            Self::Senseless(reason) => SwarmError::Engine { endpoint, reason },
        }
    }

    /// Tells silence from nonsense by the causes of an error.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut senseless = error.is::<LengthLimitError>();
        let mut cause = error.source();
        while let Some(error) = cause {
            let said = error.to_string();
            if !text.contains(&said) {
                text = format!("{text}: {said}");
            }
            senseless |= error.is::<LengthLimitError>()
                || error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)
                || error
                    .downcast_ref::<io::Error>()
                    .is_some_and(|io| io.get_ref().is_some_and(|it| it.is::<TooLarge>()));
            cause = error.source();
        }
        if senseless { Self::Senseless(text) } else { Self::Silent(text) }
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The engine's clock, in whole seconds.
    pub(super) date: Option<Timestamp>,
    pub(super) body: Bytes,
}

/// In a request of bollard's: tells when the engine has accepted it.
#[derive(Debug, Clone)]
pub(super) struct Accepted(pub(super) Arc<Notify>);

/// What an image is pulled with.
const REGISTRY_AUTH: HeaderName = HeaderName::from_static("x-registry-auth");

/// The HTTP client of one endpoint.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) endpoint: Endpoint,
    pub(super) options: DockerOptions,
    /// With which credentials it is reached, and its images are pulled.
    pub(super) way: Way,
    client: Client<Dial, Body>,
}

impl Transport {
    /// A client of `endpoint`. Connects when first used.
    pub(super) fn new(endpoint: Endpoint, way: Way, options: DockerOptions) -> Self {
        let dial = Dial::new(endpoint.clone(), way.clone(), options.connect_timeout, options.response_limit);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(dial);
        Self { endpoint, options, way, client }
    }

    /// Asks once, and reads the answer to its end, all within `timeout`.
    pub(super) async fn ask(
        &self,
        method: Method,
        version: Option<ApiVersion>,
        path: &str,
        (body, login): (Option<Bytes>, Option<HeaderValue>),
        timeout: Duration,
    ) -> Result<Answer, Failure> {
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(login) = login {
            request = request.header(REGISTRY_AUTH, login);
        }
        let request = request
            .body(Either::Left(Full::new(body.unwrap_or_default())))
            .map_err(|error| Failure::Senseless(error.to_string()))?;
        let asked = async {
            let response = self.send(version, request).await.map_err(|error| Failure::of(&error))?;
            let status = response.status();
            let date = response.headers().get(DATE).and_then(read_date);
            let body = Limited::new(response.into_body(), self.options.response_limit);
            let body = body.collect().await.map_err(|error| Failure::of(error.as_ref()))?.to_bytes();
            Ok(Answer { status, date, body })
        };
        tokio::time::timeout(timeout, asked)
            .await
            .unwrap_or_else(|_| Err(Failure::Silent(format!("no answer within {} s", timeout.as_secs_f32()))))
    }

    /// Asks once; the answer's body is left to be read.
    pub(super) async fn stream(&self, version: ApiVersion, path: &str) -> Result<Response<Incoming>, Failure> {
        let request = Request::get(path)
            .body(Either::Left(Full::new(Bytes::new())))
            .map_err(|error| Failure::Senseless(error.to_string()))?;
        self.send(Some(version), request).await.map_err(|error| Failure::of(&error))
    }

    async fn send(
        &self,
        version: Option<ApiVersion>,
        mut request: BollardRequest,
    ) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
        let uri = address(request.uri(), self.endpoint.authority(), version);
        *request.uri_mut() = uri;
        if let Some(safe) = request.headers().get(&REGISTRY_AUTH).and_then(url_safe) {
            request.headers_mut().insert(REGISTRY_AUTH, safe);
        }
        let accepted = request.extensions_mut().remove::<Accepted>();
        let response = self.client.request(request).await?;
        if let Some(Accepted(accepted)) = accepted.filter(|_| response.status().is_success()) {
            accepted.notify_one();
        }
        Ok(response)
    }

    /// bollard over this client, at this version.
    pub(super) fn docker(self: &Arc<Self>, version: ApiVersion) -> Result<Docker, bollard::errors::Error> {
        let transport = Arc::clone(self);
        let seconds = self.options.call_timeout.as_secs().max(1);
        let send = move |request: BollardRequest| {
            let transport = Arc::clone(&transport);
            async move { transport.send(Some(version), request).await.map_err(bollard::errors::Error::from) }
        };
        // The address is put right in `send`; here it only has to parse.
        Docker::connect_with_custom_transport(send, Some("http://docker"), seconds, bollard::API_DEFAULT_VERSION)
    }
}

/// The URI to ask for: absolute, with the version's prefix unless it has one.
fn address(asked: &Uri, authority: &str, version: Option<ApiVersion>) -> Uri {
    let path = asked.path_and_query().map_or("/", PathAndQuery::as_str);
    let path = match version {
        Some(version) if !path.starts_with("/v1.") => format!("/v{version}{path}"),
        _ => path.to_owned(),
    };
    let built = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path).build();
    // Both parts were parsed before: there is nothing left that could fail.
    built.unwrap_or_else(|_| asked.clone())
}

/// Docker wants the URL-safe alphabet of base64, bollard writes the other one.
fn url_safe(value: &HeaderValue) -> Option<HeaderValue> {
    let mut safe = HeaderValue::from_str(&value.to_str().ok()?.replace('+', "-").replace('/', "_")).ok()?;
    safe.set_sensitive(true);
    Some(safe)
}

fn read_date(value: &HeaderValue) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(value.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_goes_into_the_path_once() {
        for (asked, wanted) in [
            ("/services?a=b", "http://docker/v1.41/services?a=b"),
            ("/v1.41/services", "http://docker/v1.41/services"),
            ("http://elsewhere/events", "http://docker/v1.41/events"),
        ] {
            let asked: Uri = asked.parse().expect("a URI");
            assert_eq!(address(&asked, "docker", Some(ApiVersion(1, 41))).to_string(), wanted);
        }
        let asked: Uri = "/version".parse().expect("a URI");
        assert_eq!(address(&asked, "h:1", None).to_string(), "http://h:1/version");
    }

    #[test]
    fn registry_credentials_are_written_url_safe() {
        let value = HeaderValue::from_static("eyJ+a/b=");
        assert_eq!(url_safe(&value).expect("it is text").to_str().expect("it is text"), "eyJ-a_b=");
    }

    #[test]
    fn api_versions_compare_by_number() {
        let [old, new] = ["1.9", "1.41"].map(|text| text.parse::<ApiVersion>().expect("a version"));
        assert!(old < new);
        assert!("one".parse::<ApiVersion>().is_err());
    }

    #[test]
    fn the_engines_clock_is_read() {
        let date = read_date(&HeaderValue::from_static("Mon, 23 Nov 2026 18:57:09 GMT"));
        assert_eq!(date.map(Timestamp::as_second), Some(1_795_460_229));
    }
}
