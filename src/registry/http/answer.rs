//! What a registry answers, as far as it is looked at.

use std::error::Error as _;

use jiff::{SignedDuration, Timestamp};
use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;

use crate::outbound::Barred;

/// Bytes of a refusal that are looked at.
const LOOKED_AT: usize = 16 << 10;
/// Characters of it that are told.
const TOLD: usize = 200;
/// The longest that a registry may ask to be left alone.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// Why the body of an answer is not there.
#[derive(Debug)]
pub(super) enum Broken {
    /// It is larger than is read.
    TooLarge,
    /// It broke off.
    Off(String),
}

/// Reads a body of so many bytes at most.
pub(super) async fn body(response: &mut Response, most: usize) -> Result<Vec<u8>, Broken> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Broken::Off(why(&error)))? {
        if bytes.len() + chunk.len() > most {
            return Err(Broken::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// What a refusal says, on one line.
pub(super) async fn said(mut response: Response) -> String {
    let status = response.status();
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= LOOKED_AT {
            break;
        }
    }
    let words = words(&bytes);
    if words.is_empty() { format!("it answers {status}") } else { format!("it answers {status}: {words}") }
}

/// The errors of the registry API, or else the text itself.
fn words(bytes: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Answer {
        errors: Vec<OneError>,
    }
    #[derive(Deserialize)]
    struct OneError {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let text = match serde_json::from_slice::<Answer>(bytes) {
        Ok(answer) => {
            let lines = answer.errors.iter().map(|it| format!("{} {}", it.code, it.message).trim().to_owned());
            lines.collect::<Vec<_>>().join("; ")
        }
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(TOLD).collect()
}

/// How long a registry asks to be left alone: in seconds, or until a date.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<SignedDuration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<i64>() {
        Ok(seconds) => SignedDuration::from_secs(seconds),
        Err(_) => jiff::fmt::rfc2822::parse(text).ok()?.timestamp().duration_since(now),
    };
    Some(wait.clamp(SignedDuration::ZERO, LONGEST))
}

/// Why an address was not connected to, if that is what happened.
pub(super) fn barred(error: &reqwest::Error) -> Option<String> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(Barred(reason)) = error.downcast_ref() {
            return Some(reason.clone());
        }
        next = error.source();
    }
    None
}

/// Whether it speaks TLS, and its certificate is none to trust.
pub(super) fn is_of_its_certificate(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(error) = next {
        if matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        // What an error of I/O wraps is not its source.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = wrapped.map(|inner| inner as _).or_else(|| error.source());
    }
    false
}

/// Why there is no answer, in the client's deepest words and without the address.
pub(super) fn why(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return if error.is_connect() { "no connection in time".to_owned() } else { "no answer in time".to_owned() };
    }
    let (mut deepest, mut next) = (None, error.source());
    while let Some(error) = next {
        deepest = Some(error.to_string());
        next = error.source();
    }
    let what = if error.is_connect() { "no connection" } else { "the request failed" };
    deepest.map_or_else(|| what.to_owned(), |deepest| format!("{what}: {deepest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_says_for_how_long_in_either_form() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(of("120"), Some(SignedDuration::from_secs(120)));
        assert_eq!(of("Sat, 31 Jan 2026 12:01:30 GMT"), Some(SignedDuration::from_secs(90)));
        assert_eq!(of("Sat, 31 Jan 2026 11:00:00 GMT"), Some(SignedDuration::ZERO));
        assert_eq!(of("99999999999"), Some(LONGEST));
        assert_eq!(of("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_refusal_is_told_in_the_registrys_words() {
        let answer = br#"{"errors":[{"code":"DENIED","message":"requested access\nis denied","detail":null}]}"#;
        assert_eq!(words(answer), "DENIED requested access is denied");
        assert_eq!(words(b"<html>\n no </html>"), "<html> no </html>");
        assert_eq!(words(&[b'x'; 1000]).len(), TOLD);
    }
}
