//! Which endpoint is in use, and what was agreed upon with it.

use std::cmp::Ordering as Order;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderValue;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use super::DockerOptions;
use super::classify::{Call, trim};
use super::endpoint::Endpoint;
use super::listed::Listed;
use super::names::Names;
use super::transport::{Answer, ApiVersion, Failure, Transport};
use super::way::Way;
use crate::ports::{EngineInfo, KeyringError, SwarmError};

/// The newest API this code knows.
const NEWEST: ApiVersion = ApiVersion(1, 53);
/// The oldest API this code can do its work with.
const OLDEST: ApiVersion = ApiVersion(1, 40);

/// A manager that has answered, the API version agreed upon, and the names its ids stand for.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) transport: Arc<Transport>,
    pub(super) docker: bollard::Docker,
    pub(super) names: Names,
    pub(super) listed: Arc<Listed>,
    version: ApiVersion,
    engine: String,
    index: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireVersion {
    version: String,
    api_version: String,
    #[serde(rename = "MinAPIVersion")]
    min_api_version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireInfo {
    swarm: WireSwarm,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireSwarm {
    #[serde(rename = "NodeID")]
    node_id: String,
    local_node_state: String,
    control_available: bool,
    error: String,
    cluster: Option<WireCluster>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireCluster {
    #[serde(rename = "ID")]
    id: String,
}

impl Session {
    /// Asks who is there, agrees on a version, and makes sure that it is a manager.
    async fn open(transport: &Arc<Transport>, index: usize, listed: &Arc<Listed>) -> Result<Self, SwarmError> {
        let endpoint = &transport.endpoint;
        let call = Call::new(endpoint, &Method::GET, "the question for its version");
        let asked = transport.ask(Method::GET, None, "/version", (None, None), transport.options.connect_timeout).await;
        let answer = asked.map_err(|failure| failure.at(endpoint))?;
        if !answer.status.is_success() {
            return Err(call.refusal(answer.status, &answer.body));
        }
        let said: WireVersion = decode(&call, &answer.body)?;
        let version = agree(&said).map_err(|reason| match reason {
            Disagreement::Senseless(reason) => call.engine(reason),
            Disagreement::Apart(reason) => {
                SwarmError::Refused { object: format!("the engine at `{endpoint}`"), reason }
            }
        })?;
        let docker = transport.docker(version).map_err(|error| call.bollard(&error))?;
        let transport = Arc::clone(transport);
        let (names, listed) = (Names::default(), Arc::clone(listed));
        let session = Self { transport, docker, names, listed, version, engine: said.version, index };
        session.info().await?;
        Ok(session)
    }

    /// Who the engine is now. Fails when it is no manager any more, or has no leader.
    pub(super) async fn info(&self) -> Result<EngineInfo, SwarmError> {
        let call = self.call_about(&Method::GET, "the question who it is");
        let body = self.request(Method::GET, "/info", None, call.object).await?;
        let WireInfo { swarm } = decode(&call, &body)?;
        let endpoint = self.endpoint().to_string();
        if !swarm.control_available {
            return Err(SwarmError::NotAManager { endpoint, reason: why_no_manager(&swarm) });
        }
        let Some(cluster) = swarm.cluster.filter(|cluster| !cluster.id.is_empty()) else {
            let reason = if swarm.error.is_empty() { "it does not say which Swarm it is" } else { &swarm.error };
            return Err(SwarmError::NoQuorum { endpoint, reason: trim(reason) });
        };
        let api = self.version.to_string();
        Ok(EngineInfo { endpoint, engine: self.engine.clone(), api, swarm_id: cluster.id, node_id: swarm.node_id })
    }

    /// The endpoint.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.transport.endpoint
    }

    /// A call of this session's, for its errors.
    pub(super) fn call_about<'a>(&'a self, method: &Method, object: &'a str) -> Call<'a> {
        Call::new(self.endpoint(), method, object)
    }

    /// The engine's clock, in whole seconds, if it tells it.
    pub(super) async fn clock(&self) -> Result<Option<Timestamp>, SwarmError> {
        let timeout = self.transport.options.connect_timeout;
        Ok(self.exchange(Method::GET, "/_ping", (None, None), "a ping", timeout).await?.date)
    }

    /// One call; the body of its answer, if that is a success.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        object: &str,
    ) -> Result<Bytes, SwarmError> {
        Ok(self.exchange(method, path, (body, None), object, self.transport.options.call_timeout).await?.body)
    }

    /// A write of something with an image, and the login it is pulled with.
    pub(super) async fn write_with_login<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Bytes,
        login: Option<HeaderValue>,
        object: &str,
    ) -> Result<T, SwarmError> {
        let timeout = self.transport.options.call_timeout;
        let answer = self.exchange(Method::POST, path, (Some(body), login), object, timeout).await?;
        decode(&self.call_about(&Method::POST, object), &answer.body)
    }

    /// A read that the engine does with a login.
    pub(super) async fn read_with_login<T: DeserializeOwned>(
        &self,
        path: &str,
        login: Option<HeaderValue>,
        object: &str,
    ) -> Result<T, SwarmError> {
        let timeout = self.transport.options.call_timeout;
        let answer = self.exchange(Method::GET, path, (None, login), object, timeout).await?;
        decode(&self.call_about(&Method::GET, object), &answer.body)
    }

    /// The login that this image is pulled with.
    pub(super) fn login(&self, image: &str) -> Result<Option<HeaderValue>, KeyringError> {
        self.transport.way.login(image)
    }

    /// A read whose answer goes on for long: nothing of its body is read yet, whatever its status.
    pub(super) async fn stream(&self, path: &str) -> Result<hyper::Response<hyper::body::Incoming>, Failure> {
        self.transport.stream(self.version, path).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        with: (Option<Bytes>, Option<HeaderValue>),
        object: &str,
        timeout: Duration,
    ) -> Result<Answer, SwarmError> {
        let call = self.call_about(&method, object);
        kill_point!(format!("call: before {method} {}", without_ids(path)));
        let asked = self.transport.ask(method.clone(), Some(self.version), path, with, timeout).await;
        kill_point!(format!("call: after {method} {}", without_ids(path)));
        let answer = asked.map_err(|failure| failure.at(self.endpoint()))?;
        tracing::trace!(endpoint = %self.endpoint(), %method, path, status = answer.status.as_u16(), "engine call");
        if answer.status.is_success() { Ok(answer) } else { Err(call.refusal(answer.status, &answer.body)) }
    }

    /// One call with an answer in JSON.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        object: &str,
    ) -> Result<T, SwarmError> {
        let call = self.call_about(&method, object);
        let body = self.request(method, path, body, object).await?;
        decode(&call, &body)
    }
}

/// A path as `/services/*/update`: without its query, and without ids.
#[cfg(feature = "sim")]
fn without_ids(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let is_id = |part: &str| part.len() >= 20 && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    path.split('/').map(|part| if is_id(part) { "*" } else { part }).collect::<Vec<_>>().join("/")
}

fn decode<T: DeserializeOwned>(call: &Call<'_>, body: &[u8]) -> Result<T, SwarmError> {
    serde_json::from_slice(body)
        .map_err(|error| call.engine(format!("its answer to {} makes no sense: {error}", call.object)))
}

enum Disagreement {
    Senseless(String),
    Apart(String),
}

fn agree(said: &WireVersion) -> Result<ApiVersion, Disagreement> {
    let newest: ApiVersion = said.api_version.parse().map_err(Disagreement::Senseless)?;
    // An engine that does not say how far back it goes goes back far enough.
    let oldest: ApiVersion = said.min_api_version.parse().unwrap_or(OLDEST);
    let engine = &said.version;
    if newest < OLDEST {
        let reason =
            format!("engine {engine} speaks the API up to {newest}; at least {OLDEST} is needed (Docker 19.03)");
        return Err(Disagreement::Apart(reason));
    }
    if oldest > NEWEST {
        let reason = format!("engine {engine} speaks the API from {oldest} on, this Skep up to {NEWEST}: update Skep");
        return Err(Disagreement::Apart(reason));
    }
    Ok(newest.min(NEWEST))
}

fn why_no_manager(swarm: &WireSwarm) -> String {
    let why = match swarm.local_node_state.as_str() {
        "active" => "it is a worker of one",
        "locked" => "its Swarm is locked: run `docker swarm unlock`",
        "pending" => "it is still joining one",
        _ => "it is in no Swarm",
    };
    if swarm.error.is_empty() { why.to_owned() } else { format!("{why}; it says: {}", trim(&swarm.error)) }
}

/// The endpoints of one Swarm, and the session in use.
#[derive(Debug)]
pub(super) struct Sessions {
    links: Vec<Arc<Transport>>,
    /// Outlives a session: what another endpoint of the same Swarm says in the same words means the same.
    listed: Arc<Listed>,
    /// Counts rounds through the endpoints: who waited while another looked takes that one's result.
    rounds: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    session: Option<Arc<Session>>,
    /// Where the next round begins.
    first: usize,
    failed: Option<SwarmError>,
}

impl Sessions {
    /// None yet.
    pub(super) fn new(endpoints: Vec<Endpoint>, way: &Way, options: &DockerOptions) -> Self {
        let link = |endpoint| Arc::new(Transport::new(endpoint, way.clone(), options.clone()));
        let links = endpoints.into_iter().map(link).collect();
        Self { links, listed: Arc::default(), rounds: AtomicU64::new(0), state: Mutex::default() }
    }

    /// The session in use, or a new one with the first endpoint that is a reachable manager.
    pub(super) async fn current(&self) -> Result<Arc<Session>, SwarmError> {
        let seen = self.rounds.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        if let Some(session) = &state.session {
            return Ok(Arc::clone(session));
        }
        if let Some(failed) = &state.failed
            && self.rounds.load(Ordering::Acquire) != seen
        {
            return Err(failed.clone());
        }
        let found = self.look(state.first).await;
        self.rounds.fetch_add(1, Ordering::AcqRel);
        match found {
            Ok(session) => {
                let session = Arc::new(session);
                tracing::debug!(endpoint = %session.endpoint(), api = %session.version, "engine in use");
                *state = State { session: Some(Arc::clone(&session)), first: session.index, failed: None };
                Ok(session)
            }
            Err(error) => {
                *state = State { session: None, first: 0, failed: Some(error.clone()) };
                Err(error)
            }
        }
    }

    async fn look(&self, first: usize) -> Result<Session, SwarmError> {
        let mut errors = Vec::new();
        for offset in 0..self.links.len() {
            let index = (first + offset) % self.links.len();
            match Session::open(&self.links[index], index, &self.listed).await {
                Ok(session) => return Ok(session),
                Err(error) => errors.push(error),
            }
        }
        Err(sum_up(errors))
    }

    /// Takes note of an error: an endpoint that cannot be worked with is left, and the next one is tried next time.
    pub(super) async fn note(&self, session: &Arc<Session>, error: &SwarmError) {
        let lost = matches!(
            error,
            SwarmError::Unreachable { .. } | SwarmError::NotAManager { .. } | SwarmError::NoQuorum { .. }
        );
        if !lost {
            return;
        }
        let mut state = self.state.lock().await;
        if state.session.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) {
            *state = State { session: None, first: (session.index + 1) % self.links.len(), failed: None };
        }
    }
}

/// One error for several endpoints: the one that leaves most hope, with what the others said.
fn sum_up(mut errors: Vec<SwarmError>) -> SwarmError {
    let hope = |error: &SwarmError| match error {
        SwarmError::NoQuorum { .. } => 0,
        SwarmError::Unreachable { .. } => 1,
        SwarmError::Engine { .. } => 2,
        SwarmError::NotAManager { .. } => 3,
        _ => 4,
    };
    errors.sort_by(|a, b| hope(a).cmp(&hope(b)).then(Order::Equal));
    let mut errors = errors.into_iter();
    let Some(mut first) = errors.next() else {
        return SwarmError::Refused { object: "the environment".to_owned(), reason: "it has no endpoint".to_owned() };
    };
    let others: Vec<String> = errors.map(|error| error.to_string()).collect();
    if let SwarmError::NoQuorum { reason, .. }
    | SwarmError::Unreachable { reason, .. }
    | SwarmError::Engine { reason, .. }
    | SwarmError::NotAManager { reason, .. }
    | SwarmError::Refused { reason, .. } = &mut first
    {
        for other in others {
            *reason = format!("{reason}; {other}");
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(newest: &str, oldest: &str) -> Result<String, String> {
        let said =
            WireVersion { version: "1".to_owned(), api_version: newest.to_owned(), min_api_version: oldest.to_owned() };
        match agree(&said) {
            Ok(version) => Ok(version.to_string()),
            Err(Disagreement::Apart(reason) | Disagreement::Senseless(reason)) => Err(reason),
        }
    }

    #[test]
    fn the_older_of_both_newest_versions_is_spoken() {
        assert_eq!(agreed("1.41", "1.12"), Ok("1.41".to_owned()));
        assert_eq!(agreed("1.55", "1.40"), Ok("1.53".to_owned()));
        assert_eq!(agreed("1.44", ""), Ok("1.44".to_owned()));
    }

    #[test]
    fn engines_too_old_or_too_new_are_told_so() {
        assert!(agreed("1.39", "1.12").is_err_and(|reason| reason.contains("at least 1.40")));
        assert!(agreed("1.70", "1.60").is_err_and(|reason| reason.contains("update Skep")));
        assert!(agreed("", "").is_err_and(|reason| reason.contains("no API version")));
    }

    #[test]
    fn of_several_errors_the_one_that_leaves_hope_is_told() {
        let worker = SwarmError::NotAManager { endpoint: "a".to_owned(), reason: "worker".to_owned() };
        let silent = SwarmError::Unreachable { endpoint: "b".to_owned(), reason: "refused".to_owned() };
        let told = sum_up(vec![worker, silent]);
        assert!(matches!(&told, SwarmError::Unreachable { .. }), "{told}");
        assert!(told.to_string().contains("worker"), "{told}");
    }
}
