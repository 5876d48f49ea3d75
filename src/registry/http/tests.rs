//! A registry of a few lines, which answers as it is told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use jiff::SignedDuration;

use super::*;
use crate::domain::{CredentialHost, CredentialName, CredentialType, Digest, SecretBytes};
use crate::outbound::Reach;
use crate::ports::{KeyringError, NoKeys};

/// A request: its method and path, and its headers in small letters.
struct Request {
    line: String,
    headers: BTreeMap<String, String>,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Status line, headers, body.
type Answer = (&'static str, Vec<(&'static str, String)>, String);

fn ok(body: &str) -> Answer {
    ("200 OK", Vec::new(), body.to_owned())
}

/// Serves until nobody asks any more; the requests that came are told.
fn serve(answer: impl Fn(&Request, &str) -> Answer + Send + 'static) -> (String, mpsc::Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = mpsc::channel();
    let own = address.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut first = [0_u8; 1];
            // A client that begins TLS is turned away.
            if reader.read_exact(&mut first).is_err() || !first[0].is_ascii_uppercase() {
                continue;
            }
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let line = format!("{}{}", char::from(first[0]), line);
            let line = line.rsplit_once(' ').map_or("", |(line, _)| line).to_owned();
            let mut headers = BTreeMap::new();
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).unwrap();
                let Some((name, value)) = header.trim().split_once(": ") else { break };
                headers.insert(name.to_lowercase(), value.to_owned());
            }
            let length = headers.get("content-length").and_then(|it: &String| it.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            headers.insert("body".into(), String::from_utf8(body).unwrap());
            let request = Request { line, headers };
            let (status, more, body) = answer(&request, &own);
            let mut text = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
            more.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
            let body = if request.line.starts_with("HEAD") { "" } else { &body };
            // Whoever has enough of it does not read it all.
            drop(write!(stream, "{text}\r\n{body}"));
            if tell.send(request).is_err() {
                return;
            }
        }
    });
    (address, told)
}

struct Ring(Vec<(&'static str, String)>, Vec<String>);

impl Keyring for Ring {
    fn open(&self, _: &CredentialName) -> Result<Option<Arc<OpenCredential>>, KeyringError> {
        Ok(None)
    }

    fn registry(&self, _: &str, _: u16) -> Result<Option<Arc<OpenCredential>>, KeyringError> {
        let value = |(key, value): &(&str, String)| ((*key).to_owned(), SecretBytes::new(value.as_bytes().to_vec()));
        Ok(Some(Arc::new(OpenCredential {
            name: CredentialName::parse("registry").unwrap(),
            id: "1".into(),
            kind: CredentialType::Registry,
            hosts: self.1.iter().map(|host| CredentialHost::parse(host).unwrap()).collect(),
            stacks: Vec::new(),
            print: Digest::of(b"1"),
            data: self.0.iter().map(value).collect(),
        })))
    }
}

fn asks(keyring: impl Keyring) -> HttpRegistry {
    HttpRegistry::new(Outbound::new(Reach::Any), Arc::new(keyring)).unwrap()
}

fn web(address: &str) -> Repository {
    Repository::of_image(&format!("{address}/team/web"))
}

fn ann(hosts: &[&str]) -> Ring {
    let values = vec![("username", "ann".to_owned()), ("password", "correct-horse".to_owned())];
    Ring(values, hosts.iter().map(|host| (*host).to_owned()).collect())
}

const DIGEST_OF: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[tokio::test]
async fn all_pages_of_a_list_are_read_and_none_of_somebody_else() {
    let (address, told) = serve(|request, _| match request.line.as_str() {
        "GET /v2/team/web/tags/list?n=500" => {
            let next = "</v2/team/web/tags/list?n=500&last=1>; rel=\"next\"".to_owned();
            ("200 OK", vec![("Link", next)], r#"{"name":"team/web","tags":["1"]}"#.to_owned())
        }
        "GET /v2/team/web/tags/list?n=500&last=1" => ok(r#"{"name":"team/web","tags":["2"]}"#),
        "GET /v2/team/evil/tags/list?n=500" => {
            let next = "<http://127.0.0.2:1/v2/x/tags/list>; rel=\"next\"".to_owned();
            ("200 OK", vec![("Link", next)], r#"{"tags":["1"]}"#.to_owned())
        }
        _ => ("404 Not Found", Vec::new(), r#"{"errors":[{"code":"NAME_UNKNOWN","message":"unknown"}]}"#.to_owned()),
    });
    let registry = asks(NoKeys);
    let found = registry.tags(&web(&address), None).await.unwrap();
    assert_eq!(found.names.iter().map(String::as_str).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(found.mark, None);
    let evil = registry.tags(&Repository::of_image(&format!("{address}/team/evil")), None).await.unwrap_err();
    assert!(evil.to_string().contains("somewhere else"), "{evil}");
    let gone = registry.tags(&Repository::of_image(&format!("{address}/none")), None).await.unwrap_err();
    assert!(matches!(gone, RegistryError::NotFound { .. }), "{gone}");
    assert_eq!(told.try_iter().count(), 4);
}

#[tokio::test]
async fn what_did_not_change_is_not_read_again() {
    let (address, _told) = serve(|request, _| {
        let same = request.header("if-none-match");
        match request.line.as_str() {
            "GET /v2/team/web/tags/list?n=500" if same == "\"e1\"" => ("304 Not Modified", Vec::new(), String::new()),
            "GET /v2/team/web/tags/list?n=500" => {
                ("200 OK", vec![("ETag", "\"e1\"".to_owned())], r#"{"tags":["1"]}"#.to_owned())
            }
            "HEAD /v2/team/web/manifests/1" if same == format!("\"{DIGEST_OF}\"") => {
                ("304 Not Modified", Vec::new(), String::new())
            }
            "HEAD /v2/team/web/manifests/1" => {
                ("200 OK", vec![("Docker-Content-Digest", DIGEST_OF.to_owned())], String::new())
            }
            "HEAD /v2/team/web/manifests/quiet" | "GET /v2/team/web/manifests/quiet" => ok("{}"),
            _ => ("404 Not Found", Vec::new(), String::new()),
        }
    });
    let registry = asks(NoKeys);
    let repository = web(&address);
    let found = registry.tags(&repository, None).await.unwrap();
    assert_eq!(registry.tags(&repository, Some(&found)).await.unwrap(), found);
    assert_eq!(registry.digest(&repository, "1", None).await.unwrap().as_deref(), Some(DIGEST_OF));
    assert_eq!(registry.digest(&repository, "1", Some(DIGEST_OF)).await.unwrap().as_deref(), Some(DIGEST_OF));
    assert_eq!(registry.digest(&repository, "2", None).await.unwrap(), None);
    // Of `{}`, as sha256sum has it.
    let of_body = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert_eq!(registry.digest(&repository, "quiet", None).await.unwrap().as_deref(), Some(of_body));
}

#[tokio::test]
async fn a_registry_that_is_asked_too_much_says_for_how_long_it_wants_to_be_left_alone() {
    let (address, _told) = serve(|_, _| {
        let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your limit"}]}"#;
        ("429 Too Many Requests", vec![("Retry-After", "77".to_owned())], body.to_owned())
    });
    let busy = asks(NoKeys).tags(&web(&address), None).await.unwrap_err();
    let RegistryError::Busy { reason, retry_after, .. } = busy else { panic!("{busy}") };
    assert_eq!(retry_after, Some(SignedDuration::from_secs(77)));
    assert!(reason.contains("TOOMANYREQUESTS You have reached your limit"), "{reason}");
}

/// A registry that wants a token of its own host, or of another one.
fn with_tokens(realm: &'static str) -> (String, mpsc::Receiver<Request>) {
    serve(move |request, own| {
        if request.line.starts_with("GET /token?") || request.line == "POST /token" {
            return match (request.header("authorization"), request.header("body")) {
                // Of `ann:correct-horse`.
                ("Basic YW5uOmNvcnJlY3QtaG9yc2U=", _) => ok(r#"{"token":"t1","expires_in":300}"#),
                ("", body) if body.contains("refresh_token=identity") => ok(r#"{"access_token":"t1"}"#),
                (said, _) => ("401 Unauthorized", Vec::new(), format!("no {said} correct-horse")),
            };
        }
        if request.header("authorization") == "Bearer t1" {
            return ok(r#"{"tags":["1"]}"#);
        }
        let realm = realm.replace("OWN", own);
        let demand = format!(r#"Bearer realm="{realm}",service="tests",scope="repository:team/web:pull""#);
        ("401 Unauthorized", vec![("WWW-Authenticate", demand)], String::new())
    })
}

#[tokio::test]
async fn a_token_is_asked_for_with_the_login_and_used_until_its_end() {
    let (address, told) = with_tokens("http://OWN/token");
    let registry = asks(ann(&["127.0.0.1"]));
    registry.tags(&web(&address), None).await.unwrap();
    registry.tags(&web(&address), None).await.unwrap();
    let lines: Vec<String> = told.try_iter().map(|request| request.line).collect();
    assert_eq!(
        lines,
        [
            "GET /v2/team/web/tags/list?n=500",
            "GET /token?service=tests&scope=repository%3Ateam%2Fweb%3Apull",
            "GET /v2/team/web/tags/list?n=500",
            "GET /v2/team/web/tags/list?n=500",
        ]
    );
    let identity = asks(Ring(vec![("token", "identity".to_owned())], vec!["127.0.0.1".to_owned()]));
    identity.tags(&web(&address), None).await.unwrap();
    let denied = asks(NoKeys).tags(&web(&address), None).await.unwrap_err();
    assert!(matches!(denied, RegistryError::Denied { .. }), "{denied}");
    // Should it come back in an answer, the password is not told.
    let wrong =
        asks(Ring(vec![("username", "bob".into()), ("password", "correct-horse".into())], vec!["127.0.0.1".into()]));
    let denied = wrong.tags(&web(&address), None).await.unwrap_err().to_string();
    assert!(denied.contains("***") && !denied.contains("correct-horse"), "{denied}");
}

#[tokio::test]
async fn a_login_goes_to_the_hosts_that_its_credential_names_and_not_in_the_clear() {
    let (address, told) = with_tokens("https://elsewhere.example/token");
    let refused = asks(ann(&["127.0.0.1"])).tags(&web(&address), None).await.unwrap_err();
    assert!(
        matches!(&refused, RegistryError::Credential { reason, .. } if reason.contains("elsewhere.example")),
        "{refused}"
    );
    let (plain, _) = with_tokens("http://elsewhere.example/token");
    let refused = asks(ann(&["127.0.0.1", "elsewhere.example"])).tags(&web(&plain), None).await.unwrap_err();
    assert!(matches!(&refused, RegistryError::Credential { reason, .. } if reason.contains("plain http")), "{refused}");
    assert!(told.try_iter().all(|request| request.header("authorization").is_empty()));
}

#[tokio::test]
async fn private_addresses_are_not_asked_and_neither_are_those_that_a_registry_names() {
    let public = HttpRegistry::new(Outbound::new(Reach::Public), Arc::new(NoKeys)).unwrap();
    let barred = public.tags(&web("127.0.0.1:5000"), None).await.unwrap_err();
    assert!(matches!(&barred, RegistryError::Forbidden { reason, .. } if reason.contains("127.0.0.1")), "{barred}");
    let barred = public.tags(&web("localhost:5000"), None).await.unwrap_err();
    assert!(matches!(&barred, RegistryError::Forbidden { .. }), "{barred}");
    let own = HttpRegistry::new(Outbound::new(Reach::Own), Arc::new(NoKeys)).unwrap();
    let (address, _told) = with_tokens("http://169.254.169.254/token");
    let barred = own.tags(&web(&address), None).await.unwrap_err();
    assert!(matches!(&barred, RegistryError::Forbidden { .. }), "{barred}");
}

#[tokio::test]
async fn an_answer_without_end_is_broken_off() {
    let (address, _told) = serve(|_, _| ok(&"x".repeat(MOST_BYTES + 1)));
    let error = asks(NoKeys).tags(&web(&address), None).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { .. }), "{error}");
    let (address, _told) =
        serve(|_, _| ("302 Found", vec![("Location", "http://127.0.0.1:1/".to_owned())], String::new()));
    let error = asks(NoKeys).tags(&web(&address), None).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
}

#[test]
fn the_next_page_is_found_in_its_header() {
    let next = |header: &str| next_page(header);
    assert_eq!(next("</v2/a/tags/list?last=b&n=2>; rel=\"next\"").as_deref(), Some("/v2/a/tags/list?last=b&n=2"));
    assert_eq!(next("<https://r/v2/a/tags/list?n=2>; rel=next").as_deref(), Some("https://r/v2/a/tags/list?n=2"));
    assert_eq!(next("</a>; rel=\"prev\", </b>; rel=\"next\"").as_deref(), Some("/b"));
    assert_eq!(next("</a>; rel=\"prev\""), None);
    assert_eq!(next("nonsense"), None);
}

#[test]
fn a_list_of_tags_is_read_as_registries_write_it() {
    assert_eq!(listed(br#"{"name":"a","tags":["1","-x","a b","2"]}"#), Some(vec!["1".into(), "2".into()]));
    assert_eq!(listed(br#"{"name":"a","tags":null}"#), Some(Vec::new()));
    assert_eq!(listed(br#"{"name":"a"}"#), Some(Vec::new()));
    assert_eq!(listed(b"<html>"), None);
}
