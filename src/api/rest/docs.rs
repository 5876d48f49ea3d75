//! What these calls say about themselves, for anyone.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};

use super::super::page;
use super::problem::{Answer, KINDS, NOT_FOUND, Problem};

/// The document, as it was when this binary was built.
const SWAGGER: &str = include_str!("../../../swagger/swagger.yaml");

/// `GET /api/docs`: Swagger UI over the document.
pub(super) fn index(request: &HttpRequest) -> Answer {
    Ok(page::docs(request))
}

/// `GET /api/docs/swagger.yaml`.
pub(super) fn swagger() -> Answer {
    Ok(HttpResponse::Ok().content_type("application/yaml; charset=utf-8").body(SWAGGER))
}

/// `GET /api/docs/errors/{code}`: where a problem's `helpUrl` leads.
pub(super) fn error(request: &HttpRequest) -> Answer {
    let code = request.match_info().get("code").unwrap_or_default();
    match KINDS.iter().find(|kind| kind.code == code) {
        Some(kind) => {
            let text = format!("{}: {}\n\n{}\n", kind.code, kind.title, kind.help);
            Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(text))
        }
        None => {
            let known: Vec<&str> = KINDS.iter().map(|kind| kind.code).collect();
            let problem = Problem::new(StatusCode::NOT_FOUND, NOT_FOUND, format!("there is no error code `{code}`"));
            Err(problem.hint(format!("there are: {}", known.join(", "))))
        }
    }
}
