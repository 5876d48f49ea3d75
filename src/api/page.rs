//! The page: static files that are part of the binary, for anyone. What they show comes from the API, with a token.
//!
//! The files are those of `dashboard/dist`, which is kept in the repository, so that a build needs no node. Beside each of
//! them stand its compressed forms.

use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, IF_NONE_MATCH, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use rust_embed::RustEmbed;

/// What `npm run build` made of `dashboard/`.
#[derive(RustEmbed)]
#[folder = "dashboard/dist"]
struct Dist;

/// Addresses that the page itself makes sense of: all are answered with the same document.
const VIEWS: [&str; 10] = [
    "/",
    "/stacks/{environment}/{name}",
    "/deployments/{id}",
    "/activity",
    "/environments",
    "/credentials",
    "/hooks",
    "/catalogs",
    "/notifiers",
    "/tokens",
];

/// Nothing but this server's own files runs, and nothing but this server is asked.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// The same for Swagger UI, which sets styles on what it draws.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                           connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// A compression, as a request names it, and the ending of the files that have it. The smaller one first.
const COMPRESSIONS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// The page's own addresses.
pub(super) fn routes(config: &mut ServiceConfig) {
    for view in VIEWS {
        config.service(web::resource(view).route(web::get().to(document)).route(web::head().to(document)));
    }
    config.service(web::resource("/assets/{file}").route(web::get().to(asset)).route(web::head().to(asset)));
}

async fn document(request: HttpRequest) -> HttpResponse {
    file(&request, "index.html", ("no-cache", POLICY))
}

/// The page of the REST calls.
pub(super) fn docs(request: &HttpRequest) -> HttpResponse {
    file(request, "docs.html", ("no-cache", DOCS_POLICY))
}

/// Their names hold a digest of what is in them.
async fn asset(request: HttpRequest) -> HttpResponse {
    let name = request.match_info().get("file").unwrap_or_default();
    file(&request, &format!("assets/{name}"), ("public, max-age=31536000, immutable", POLICY))
}

fn file(request: &HttpRequest, path: &str, (caching, policy): (&'static str, &'static str)) -> HttpResponse {
    let Some((kind, found)) = kind(path).zip(Dist::get(path)) else {
        return super::error_response(
            actix_web::http::StatusCode::NOT_FOUND,
            "NOT_FOUND",
            "there is no such file; reload the page",
        );
    };
    let digest: String = found.metadata.sha256_hash()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let compressed = COMPRESSIONS
        .iter()
        .filter(|(name, _)| takes(request, name))
        .find_map(|(name, ending)| Some((*name, Dist::get(&format!("{path}{ending}"))?)));
    let tag = format!("\"{digest}{}\"", compressed.as_ref().map_or(String::new(), |(name, _)| format!("-{name}")));
    let known = request.headers().get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let unchanged = known.is_some_and(|known| known.split(',').any(|known| known.trim() == tag));
    let mut answer = if unchanged { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header((CACHE_CONTROL, caching))
        .insert_header((ETAG, tag.as_str()))
        .insert_header((VARY, "accept-encoding"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header(("cross-origin-opener-policy", "same-origin"))
        .insert_header(("content-security-policy", policy))
        .content_type(kind);
    if unchanged {
        return answer.finish();
    }
    match compressed {
        Some((name, smaller)) => answer.insert_header((CONTENT_ENCODING, name)).body(smaller.data.into_owned()),
        None => answer.body(found.data.into_owned()),
    }
}

/// The kind of a file, for those kinds the page is made of; the compressed forms are none of them.
fn kind(path: &str) -> Option<&'static str> {
    Some(match path.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => return None,
    })
}

/// Whether the asker reads a compression. One it gives the weight 0 it does not.
fn takes(request: &HttpRequest, compression: &str) -> bool {
    let wanted = request.headers().get_all(ACCEPT_ENCODING).filter_map(|text| text.to_str().ok());
    wanted.flat_map(|text| text.split(',')).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(compression));
        let refused = |part: &str| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.and_then(|weight| weight.trim().parse::<f32>().ok()).is_some_and(|weight| weight <= 0.0)
        };
        named && !parts.any(refused)
    })
}
