//! The one shape of an error: `application/problem+json`.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::super::RequestId;
use super::super::auth::Unauthenticated;
use super::super::guard::GuardError;
use crate::declare::{Code, DeclareError, Refusal};
use crate::ledger::LedgerError;
use crate::ports::InquiryError;

/// A kind of problem: its stable word, and what stands on its help page.
pub(super) struct Kind {
    pub(super) code: &'static str,
    pub(super) title: &'static str,
    pub(super) help: &'static str,
}

pub(in crate::api) const UNAUTHENTICATED: &str = "UNAUTHENTICATED";
const FORBIDDEN: &str = "FORBIDDEN";
pub(super) const NOT_FOUND: &str = "NOT_FOUND";
pub(super) const METHOD_NOT_ALLOWED: &str = "METHOD_NOT_ALLOWED";
pub(in crate::api) const REPLAYED: &str = "REPLAYED";
pub(in crate::api) const TOO_LARGE: &str = "TOO_LARGE";
pub(in crate::api) const UNSUPPORTED_MEDIA_TYPE: &str = "UNSUPPORTED_MEDIA_TYPE";
pub(in crate::api) const INVALID: &str = "INVALID";
pub(in crate::api) const BUSY: &str = "BUSY";
const FAILED: &str = "FAILED";
const UNAVAILABLE: &str = "UNAVAILABLE";
const TIMED_OUT: &str = "TIMED_OUT";

/// Every code there is: those above, and those of [`Code`].
pub(super) const KINDS: [Kind; 14] = [
    Kind {
        code: UNAUTHENTICATED,
        title: "Not signed in",
        help: "Send the token as `Authorization: Bearer TOKEN`; it is the one line of admin.token in the data \
              folder. A hook's delivery needs a signature of its raw body, made with the secret the hook was \
              declared with.",
    },
    Kind {
        code: FORBIDDEN,
        title: "Not allowed",
        help: "The role of the caller's token, or the scope of it, does not reach so far. An admin makes another one.",
    },
    Kind {
        code: NOT_FOUND,
        title: "Not there",
        help: "Nothing is declared or recorded under this name. A stack is looked for in the environment \
              `default` unless `?environment=` names another one.",
    },
    Kind {
        code: METHOD_NOT_ALLOWED,
        title: "Not at this address",
        help: "The address is known, but not with this method; the header Allow lists those that are.",
    },
    Kind {
        code: "CONFLICT",
        title: "Not as things stand",
        help: "Someone else was faster, an Idempotency-Key was used for another request, or the stack is being \
              deleted. Read it again, then decide.",
    },
    Kind {
        code: REPLAYED,
        title: "Seen before",
        help: "A delivery of this id was carried out before; nothing was done now. Its deployments are those of \
              the first time.",
    },
    Kind {
        code: TOO_LARGE,
        title: "Too large",
        help: "Keep compose text in a repository rather than inline; a hook's delivery may have 1 MiB.",
    },
    Kind {
        code: UNSUPPORTED_MEDIA_TYPE,
        title: "Not JSON",
        help: "Send the body as JSON, with Content-Type: application/json.",
    },
    Kind {
        code: INVALID,
        title: "Makes no sense",
        help: "The request does not say what it should; `errors` lists everything that is wrong, each with its \
              field and, in a manifest, with line and column.",
    },
    Kind {
        code: "UNSUPPORTED",
        title: "Not yet",
        help: "What was asked for is in the contract, and this version cannot do it yet.",
    },
    Kind {
        code: BUSY,
        title: "Too much at once",
        help: "Too many questions to engines or repositories are open; try again in a moment.",
    },
    Kind {
        code: FAILED,
        title: "No answer from outside",
        help: "An engine or a repository did not give what was asked for; `cause` says why.",
    },
    Kind {
        code: UNAVAILABLE,
        title: "The store failed",
        help: "Nothing was written. `cause` says what is wrong with the data folder: a full disk, say.",
    },
    Kind {
        code: TIMED_OUT,
        title: "No answer in time",
        help: "An engine or a repository did not answer in time; try again.",
    },
];

/// What is answered in place of what was asked for.
#[derive(Debug)]
pub(in crate::api) struct Problem {
    status: StatusCode,
    /// At least one: the first is the one that the problem's own fields show.
    errors: Vec<Said>,
    cause: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// One thing that is wrong.
#[derive(Debug)]
struct Said {
    code: &'static str,
    message: String,
    field: Option<String>,
    line: Option<u64>,
    column: Option<u64>,
    hint: Option<String>,
}

/// What a call answers.
pub(in crate::api) type Answer = Result<HttpResponse, Problem>;

impl Problem {
    /// A problem of this kind.
    pub(in crate::api) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let said = Said { code, message: message.into(), field: None, line: None, column: None, hint: None };
        Self { status, errors: vec![said], cause: None, headers: Vec::new() }
    }

    /// With the mend.
    pub(in crate::api) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(said) = self.errors.first_mut() {
            said.hint = Some(hint.into());
        }
        self
    }

    /// With the field it is about.
    pub(super) fn field(mut self, field: impl Into<String>) -> Self {
        if let Some(said) = self.errors.first_mut() {
            said.field = Some(field.into());
        }
        self
    }

    /// With a place in the body.
    pub(super) fn at(mut self, line: usize, column: usize) -> Self {
        if let Some(said) = self.errors.first_mut() {
            (said.line, said.column) = (u64::try_from(line).ok(), u64::try_from(column).ok());
        }
        self
    }

    /// With a header.
    pub(in crate::api) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Without what failed below.
    pub(in crate::api) fn without_cause(mut self) -> Self {
        self.cause = None;
        self
    }

    /// What is wrong, and the mend, in one line.
    pub(in crate::api) fn line(&self) -> String {
        let Some(first) = self.errors.first() else { return String::new() };
        match &first.hint {
            Some(hint) => format!("{}; {hint}", first.message),
            None => first.message.clone(),
        }
    }

    fn cause(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// The answer to this request.
    pub(in crate::api) fn answer(self, request: &HttpRequest) -> HttpResponse {
        let id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
        let mut answer = HttpResponse::build(self.status);
        answer.content_type("application/problem+json");
        for (name, value) in &self.headers {
            answer.insert_header((name.clone(), value.clone()));
        }
        let first = self.errors.first();
        let code = first.map_or(INVALID, |said| said.code);
        let title = KINDS.iter().find(|kind| kind.code == code).map_or("", |kind| kind.title);
        answer.json(json!({
            "type": format!("urn:skep:problem:{}", code.to_lowercase().replace('_', "-")),
            "title": title,
            "status": self.status.as_u16(),
            "code": code,
            "message": first.map(|said| &said.message),
            "field": first.map(|said| &said.field),
            "hint": first.map(|said| &said.hint),
            "helpUrl": format!("/api/docs/errors/{code}"),
            "requestId": id,
            "cause": self.cause,
            "line": first.map(|said| said.line),
            "column": first.map(|said| said.column),
            "errors": self.errors.iter().map(Said::to_json).collect::<Vec<_>>(),
        }))
    }
}

impl Said {
    fn to_json(&self) -> Value {
        json!({
            "code": self.code,
            "message": self.message,
            "field": self.field,
            "line": self.line,
            "column": self.column,
            "hint": self.hint,
        })
    }
}

impl From<Refusal> for Said {
    fn from(it: Refusal) -> Self {
        let Refusal { code, message, field, line, column, hint, .. } = it;
        Self { code: code.as_str(), message, field, line, column, hint }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.code {
            Code::Invalid | Code::Unsupported => StatusCode::UNPROCESSABLE_ENTITY,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::Conflict => StatusCode::CONFLICT,
            Code::Forbidden => StatusCode::FORBIDDEN,
            Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        };
        Self { status, errors: vec![refusal.into()], cause: None, headers: Vec::new() }
    }
}

impl From<DeclareError> for Problem {
    fn from(error: DeclareError) -> Self {
        match error {
            DeclareError::Refused(refusals) => {
                let mut refusals = refusals.into_iter();
                let first = refusals.next().unwrap_or_else(|| Refusal::new(Code::Invalid, "the request was refused"));
                let mut problem = Self::from(first);
                problem.errors.extend(refusals.map(Into::into));
                problem
            }
            DeclareError::Ledger(cause) => cause.into(),
            DeclareError::Seal(cause) => unavailable(cause),
        }
    }
}

impl From<LedgerError> for Problem {
    fn from(cause: LedgerError) -> Self {
        unavailable(cause)
    }
}

fn unavailable(cause: impl std::fmt::Display) -> Problem {
    tracing::error!(error = %cause, "the store or the seal failed");
    let message = "the request was not carried out: the store cannot be read or written";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, message).cause(cause)
}

impl From<InquiryError> for Problem {
    fn from(cause: InquiryError) -> Self {
        let after = || (HeaderName::from_static("retry-after"), HeaderValue::from_static("1"));
        match cause {
            InquiryError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, NOT_FOUND, cause.to_string()),
            InquiryError::Failed(cause) => {
                Self::new(StatusCode::BAD_GATEWAY, FAILED, "the engine or the repository gave no answer").cause(cause)
            }
            InquiryError::TimedOut => Self::new(StatusCode::GATEWAY_TIMEOUT, TIMED_OUT, cause.to_string()),
            InquiryError::Busy => {
                let (name, value) = after();
                Self::new(StatusCode::TOO_MANY_REQUESTS, BUSY, cause.to_string()).header(name, value)
            }
        }
    }
}

impl From<GuardError> for Problem {
    fn from(cause: GuardError) -> Self {
        match cause {
            GuardError::Forbidden(cause) => Self::new(StatusCode::FORBIDDEN, FORBIDDEN, cause.to_string()),
            GuardError::Ledger(cause) => cause.into(),
            GuardError::Inquiry(cause) => cause.into(),
        }
    }
}

impl From<Unauthenticated> for Problem {
    fn from(cause: Unauthenticated) -> Self {
        let (name, value) = (HeaderName::from_static("www-authenticate"), HeaderValue::from_static("Bearer"));
        Self::new(StatusCode::UNAUTHORIZED, UNAUTHENTICATED, cause.to_string()).header(name, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_help_page() {
        use Code::{Conflict, Forbidden, Invalid, NotFound, TooLarge, Unsupported};
        for code in [Invalid, NotFound, Conflict, Forbidden, Unsupported, TooLarge] {
            assert!(KINDS.iter().any(|kind| kind.code == code.as_str()), "{code:?}");
        }
    }
}
