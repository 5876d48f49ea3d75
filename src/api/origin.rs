//! Which pages may speak to the API from a browser.

use actix_web::HttpRequest;
use actix_web::http::header::{HOST, ORIGIN};

/// Whether the page a request comes from may send it: no page at all, one of this server, or one that is allowed.
pub(super) fn allowed(request: &HttpRequest, origins: &[String]) -> bool {
    let Some(origin) = request.headers().get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    // Over HTTP/2 the host stands in the address of the request.
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| request.uri().authority().map(|it| it.as_str()));
    own(origin, host) || origins.iter().any(|allowed| allowed.trim_end_matches('/').eq_ignore_ascii_case(origin))
}

fn own(origin: &str, host: Option<&str>) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let Some(host) = host else { return false };
    matches!(scheme, "http" | "https") && !authority.is_empty() && authority.eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn only_own_and_allowed_pages_may() {
        let panel = vec!["https://panel.example.org/".to_owned()];
        for (origin, may) in [
            (None, true),
            (Some("http://h:1"), true),
            (Some("https://H:1"), true),
            (Some("http://h"), false),
            (Some("http://h:1.evil.org"), false),
            (Some("null"), false),
            (Some("file://h:1"), false),
            (Some("https://evil.org"), false),
            (Some("https://panel.example.org"), true),
        ] {
            let request = TestRequest::default().insert_header((HOST, "h:1"));
            let request = match origin {
                Some(origin) => request.insert_header((ORIGIN, origin)),
                None => request,
            };
            assert_eq!(allowed(&request.to_http_request(), &panel), may, "{origin:?}");
        }
    }
}
