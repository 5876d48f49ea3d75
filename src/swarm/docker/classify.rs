//! What an engine's refusal means. The status alone does not say it (a lost race is a 500), so the text is read too.

use bollard::errors::Error as BollardError;
use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::endpoint::Endpoint;
use super::transport::Failure;
use crate::ports::SwarmError;

/// The most of an engine's text that is passed on, in characters.
const LONGEST_REASON: usize = 500;

/// A call, as far as its errors need to know it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) endpoint: &'a Endpoint,
    /// Whether the call removes something.
    pub(super) removes: bool,
    /// What it is about, such as ``service `web` ``.
    pub(super) object: &'a str,
}

impl<'a> Call<'a> {
    pub(super) fn new(endpoint: &'a Endpoint, method: &Method, object: &'a str) -> Self {
        Self { endpoint, removes: *method == Method::DELETE, object }
    }

    /// The error for an answer that is no success.
    pub(super) fn refusal(&self, status: StatusCode, body: &[u8]) -> SwarmError {
        #[derive(Deserialize)]
        struct Said {
            message: String,
        }
        match serde_json::from_slice::<Said>(body) {
            Ok(said) => self.error(status, &said.message),
            // No engine speaks so: whoever answers, his 404 is no evidence that something is gone.
            Err(_) => {
                let said = trim(&String::from_utf8_lossy(body));
                self.engine(format!("status {}, and no message of an engine: {said}", status.as_u16()))
            }
        }
    }

    /// The error for a status and the engine's own text.
    pub(super) fn error(&self, status: StatusCode, text: &str) -> SwarmError {
        let said = text.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let reason = trim(text);
        let object = self.object.to_owned();
        let endpoint = self.endpoint.to_string();
        let server_side = status.is_server_error();

        if says(&["update out of sequence"]) {
            SwarmError::Conflict { object }
        } else if says(&["not a swarm manager", "not part of a swarm", "is encrypted and needs to be unlocked"]) {
            SwarmError::NotAManager { endpoint, reason }
        } else if server_side && says(NO_QUORUM) {
            SwarmError::NoQuorum { endpoint, reason }
        } else if status == StatusCode::NOT_FOUND && said.contains("page not found") {
            SwarmError::Engine { endpoint, reason }
        } else if status == StatusCode::NOT_FOUND || (said.starts_with("network ") && said.ends_with(" not found")) {
            // A service on a network that is not there is a 500.
            SwarmError::NotFound { object, reason }
        } else if self.removes && says(&["in use", "failedprecondition", "active endpoints"]) {
            SwarmError::InUse { object, reason }
        } else if status == StatusCode::CONFLICT || says(&["alreadyexists", "name conflicts with an existing"]) {
            SwarmError::Exists { object, reason }
        } else if status == StatusCode::SERVICE_UNAVAILABLE {
            SwarmError::NoQuorum { endpoint, reason }
        } else if status.is_client_error() || status == StatusCode::NOT_IMPLEMENTED || says(REFUSED) {
            SwarmError::Refused { object, reason }
        } else {
            self.engine(format!("{reason} (status {})", status.as_u16()))
        }
    }

    /// The error for an answer that makes no sense.
    pub(super) fn engine(&self, reason: String) -> SwarmError {
        SwarmError::Engine { endpoint: self.endpoint.to_string(), reason }
    }

    /// The error for one of bollard's.
    pub(super) fn bollard(&self, error: &BollardError) -> SwarmError {
        match error {
            BollardError::DockerResponseServerError { status_code, message } => {
                self.error(StatusCode::from_u16(*status_code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), message)
            }
            BollardError::JsonDataError { .. } | BollardError::JsonSerdeError { .. } => {
                self.engine(trim(&error.to_string()))
            }
            BollardError::RequestTimeoutError => Failure::Silent("no answer in time".to_owned()).at(self.endpoint),
            other => Failure::of(other).at(self.endpoint),
        }
    }
}

/// What managers say that cannot reach a majority, or the leader.
const NO_QUORUM: &[&str] = &[
    "does not have a leader",
    "no elected",
    "lost quorum",
    "almost quorum",
    "raft: no leader",
    "deadline exceeded",
    "deadlineexceeded",
    "code = unavailable",
];

/// Refusals that engines dress up as failures of their own (status 500, `code = Unknown`).
const REFUSED: &[&str] =
    &["constraint expected", "desc = key '", "desc = value '", "larger than max", "message is too large"];

/// The engine's text, cut to a length that can be shown and kept.
pub(super) fn trim(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn kind(method: &Method, status: u16, text: &str) -> &'static str {
        let endpoint = Endpoint::Unix(PathBuf::from("/x"));
        let call = Call::new(&endpoint, method, "service `a`");
        match call.error(StatusCode::from_u16(status).expect("a status"), text) {
            SwarmError::Unreachable { .. } => "Unreachable",
            SwarmError::NotAManager { .. } => "NotAManager",
            SwarmError::NoQuorum { .. } => "NoQuorum",
            SwarmError::Conflict { .. } => "Conflict",
            SwarmError::Exists { .. } => "Exists",
            SwarmError::NotFound { .. } => "NotFound",
            SwarmError::InUse { .. } => "InUse",
            SwarmError::Refused { .. } => "Refused",
            SwarmError::Engine { .. } => "Engine",
        }
    }

    #[test]
    fn what_engines_say_is_told_apart() {
        let (post, delete) = (Method::POST, Method::DELETE);
        for (method, status, text, wanted) in [
            (&post, 500, "rpc error: code = Unknown desc = update out of sequence", "Conflict"),
            (&post, 409, "rpc error: code = AlreadyExists desc = name conflicts with an existing object", "Exists"),
            (&post, 409, "network with name a already exists", "Exists"),
            (&post, 404, "service a not found", "NotFound"),
            (&post, 500, "network a not found", "NotFound"),
            (&post, 404, "page not found", "Engine"),
            (&delete, 400, "rpc error: code = FailedPrecondition desc = network a is in use by service b", "InUse"),
            (&delete, 400, "rpc error: code = InvalidArgument desc = config 'a' is in use by the following", "InUse"),
            (&delete, 403, "error while removing network: network a id b has active endpoints", "InUse"),
            (&post, 400, "port '80' is already in use by service 'b' (c) as an ingress port", "Refused"),
            (&post, 400, "rpc error: code = FailedPrecondition desc = service a has no previous spec", "Refused"),
            (&post, 500, "rpc error: code = Unknown desc = The swarm does not have a leader.", "NoQuorum"),
            (&post, 500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded", "NoQuorum"),
            (&post, 503, "something is unavailable", "NoQuorum"),
            (&post, 503, "This node is not a swarm manager. Worker nodes can't be used to view …", "NotAManager"),
            (&post, 503, "Swarm is encrypted and needs to be unlocked before it can be used.", "NotAManager"),
            (&post, 400, "invalid memory value 1048576: Must be at least 4MiB", "Refused"),
            (&post, 501, "rpc error: code = Unimplemented desc = service mode change is not allowed", "Refused"),
            (&post, 500, "rpc error: code = Unknown desc = constraint expected one operator from ==, !=", "Refused"),
            (&post, 500, "anything else", "Engine"),
            (&post, 302, "look elsewhere", "Engine"),
        ] {
            assert_eq!(kind(method, status, text), wanted, "{status} {text}");
        }
    }

    #[test]
    fn a_404_that_is_not_an_engines_is_no_evidence() {
        let endpoint = Endpoint::Unix(PathBuf::from("/x"));
        let call = Call::new(&endpoint, &Method::DELETE, "service `a`");
        let error = call.refusal(StatusCode::NOT_FOUND, b"<html>nginx</html>");
        assert!(matches!(error, SwarmError::Engine { .. }), "{error}");
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let cut = trim(&"ü".repeat(600));
        assert_eq!(cut.chars().count(), LONGEST_REASON + 1);
        assert!(cut.ends_with('…'));
    }
}
