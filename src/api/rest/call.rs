//! One call: who, which address, which query, which headers, which body.

use std::collections::BTreeMap;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Bytes, Data, Payload, Query};

use super::problem::{INVALID, Problem, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE};
use crate::api::guard::Guard;
use crate::api::{ApiState, Caller, read_body};
use crate::declare::{Ask, Code, Refusal};
use crate::domain::{EnvironmentName, StackKey, StackName, Trigger};

/// A call with a valid token.
pub(super) struct Call {
    request: HttpRequest,
    pub(super) state: Data<ApiState>,
    pub(super) guard: Guard,
    caller: Caller,
    payload: Option<Payload>,
}

impl Call {
    pub(super) fn new(request: HttpRequest, state: Data<ApiState>, caller: Caller, payload: Payload) -> Self {
        Self { request, guard: state.guard(&caller), state, caller, payload: Some(payload) }
    }

    /// Who calls.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What stands in the address for `{name}`.
    pub(super) fn part(&self, name: &str) -> &str {
        self.request.match_info().get(name).unwrap_or_default()
    }

    /// The stack the address names, in this environment.
    pub(super) fn key(&self, environment: Option<EnvironmentName>) -> Result<StackKey, Problem> {
        match StackName::parse(self.part("name")) {
            Ok(name) => Ok(StackKey { environment: environment.unwrap_or_default(), name }),
            Err(cause) => Err(invalid("name", cause.to_string())),
        }
    }

    /// The parameters behind the `?`.
    pub(super) fn query(&self) -> Result<Parameters, Problem> {
        let unreadable = || Problem::new(StatusCode::BAD_REQUEST, INVALID, "the address's query cannot be read");
        let pairs = Query::<Vec<(String, String)>>::from_query(self.request.query_string());
        let mut left = BTreeMap::new();
        for (name, value) in pairs.map_err(|_| unreadable())?.into_inner() {
            if left.insert(name.clone(), value).is_some() {
                return Err(invalid(&name, format!("the parameter `{name}` is given twice")));
            }
        }
        Ok(Parameters { left, known: Vec::new() })
    }

    /// A request through this call: who, and the key of the header `Idempotency-Key`.
    pub(super) fn ask(&self) -> Result<Ask, Problem> {
        let key = match self.request.headers().get("idempotency-key").map(|value| value.to_str()) {
            None => None,
            Some(Ok(key)) => Some(key.to_owned()),
            Some(Err(_)) => return Err(invalid("Idempotency-Key", "the key holds characters outside of ASCII")),
        };
        Ok(Ask { idempotency_key: key, ..self.caller.ask(Trigger::Rest) })
    }

    /// The body, which has to be JSON by its header, as far as there is one.
    pub(super) async fn body(&mut self) -> Result<Bytes, Problem> {
        let kind = self.request.headers().get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default());
        let json = |kind: &str| {
            let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
        };
        if kind.is_some_and(|kind| !json(kind)) {
            let message = "the body is not JSON by its Content-Type";
            let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, UNSUPPORTED_MEDIA_TYPE, message);
            return Err(problem.hint("send it with Content-Type: application/json"));
        }
        let most = self.state.options().body_bytes;
        let Some(payload) = self.payload.take() else { return Ok(Bytes::new()) };
        read_body(payload, most).await.map_err(|answer| match answer.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let message = format!("the request's body is larger than {most} bytes");
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE, message)
            }
            status => Problem::new(status, INVALID, "the request's body broke off"),
        })
    }
}

/// A refusal about a parameter, a header or a part of the address.
pub(super) fn invalid(field: &str, message: impl Into<String>) -> Problem {
    Refusal::new(Code::Invalid, message).field(field).into()
}

/// Parameters that have not been asked for yet.
pub(super) struct Parameters {
    left: BTreeMap<String, String>,
    known: Vec<&'static str>,
}

impl Parameters {
    /// A parameter as it was written.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        self.left.remove(name)
    }

    /// `environment`.
    pub(super) fn environment(&mut self) -> Result<Option<EnvironmentName>, Problem> {
        let named = self.text("environment").map(|text| EnvironmentName::parse(&text)).transpose();
        named.map_err(|cause| invalid("environment", cause.to_string()))
    }

    /// A number between two others.
    pub(super) fn number(&mut self, name: &'static str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ if most == u64::MAX => {
                Err(invalid(name, format!("`{name}` is `{text}`; it is a number from {least} on")))
            }
            _ => Err(invalid(name, format!("`{name}` is `{text}`; it is a number from {least} to {most}"))),
        }
    }

    /// One of the names an enum goes by.
    pub(super) fn one_of<T: serde::de::DeserializeOwned>(&mut self, name: &'static str) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let known = serde_json::from_value(serde_json::Value::String(text.clone()));
        known.map(Some).map_err(|error| invalid(name, format!("`{name}` is `{text}`: {error}")))
    }

    /// `true` or `false`; false when it is left out.
    pub(super) fn boolean(&mut self, name: &'static str) -> Result<bool, Problem> {
        match self.text(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(invalid(name, format!("`{name}` is `{other}`; it is true or false"))),
        }
    }

    /// Refuses what nobody asked for.
    pub(super) fn finish(self) -> Result<(), Problem> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => {
                let known = match self.known.as_slice() {
                    [] => "there are none here".to_owned(),
                    known => format!("known here: {}", known.join(", ")),
                };
                Err(invalid(name, format!("the parameter `{name}` is not known")).hint(known))
            }
        }
    }
}
