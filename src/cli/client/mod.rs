//! The way to the server: GraphQL over HTTP, and [subscriptions](feed) over a websocket.

pub(super) mod documents;
mod feed;
mod socket;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use serde_json::{Value, json};

pub(super) use feed::{Feed, News};

use super::args::Globals;
use super::exit::{CliError, Exit};

/// The file in the data folder that holds the bare token.
const TOKEN_FILE: &str = "admin.token";
/// How long the server may take for an answer; a plan may have to fetch a repository first.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Whether a request that got no answer may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It reads, or carries a key under which it works only once.
    Safe,
    /// It might be carried out twice.
    Never,
}

/// A server, and the right to speak to it.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    address: Address,
    token: Option<Token>,
    /// Whether it has ever answered.
    there: Arc<AtomicBool>,
}

/// A token. Never shown.
#[derive(Clone)]
struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Where the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    /// As it was given.
    shown: String,
    http: Url,
    socket: Url,
    loopback: bool,
}

impl Address {
    fn parse(text: &str) -> Result<Self, CliError> {
        let wrong = |why: &str| {
            CliError::new(Exit::Usage, format!("`{text}` is no address of a server: {why}"))
                .next("write --server http://HOST:PORT or https://HOST, or set SKEP_SERVER")
        };
        let mut http = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        let scheme = match http.scheme() {
            "http" => "ws",
            "https" => "wss",
            _ => return Err(wrong("it begins with neither http:// nor https://")),
        };
        if !http.username().is_empty() || http.password().is_some() {
            return Err(wrong("a name or password does not belong there; the token goes into SKEP_TOKEN"));
        }
        let Some(host) = http.host_str().map(str::to_owned) else { return Err(wrong("it names no host")) };
        let loopback = host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.to_canonical().is_loopback());
        let path = format!("{}/graphql", http.path().trim_end_matches('/'));
        http.set_path(&path);
        http.set_query(None);
        http.set_fragment(None);
        let mut socket = http.clone();
        socket.set_scheme(scheme).map_err(|()| wrong("it cannot be a websocket's"))?;
        Ok(Self { shown: text.trim_end_matches('/').to_owned(), http, socket, loopback })
    }
}

/// The token of a data folder, if it can be read.
fn token_of(folder: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(folder.join(TOKEN_FILE)).ok()?.take(4096).read_to_string(&mut text).ok()?;
    let token = text.trim();
    (!token.is_empty()).then(|| token.to_owned())
}

impl Client {
    pub(super) fn new(globals: &Globals) -> Result<Self, CliError> {
        let address = Address::parse(&globals.server)?;
        let given = globals.token.clone().filter(|token| !token.is_empty());
        let token = given.or_else(|| if address.loopback { token_of(&globals.data) } else { None });
        let mut headers = HeaderMap::new();
        if let Some(token) = &token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
                CliError::new(Exit::Usage, "the token holds characters that no token has")
                    .next("look at --token or SKEP_TOKEN: it is one line of letters, digits, `-` and `_`")
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let builder = reqwest::Client::builder()
            .user_agent(concat!("skep/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(PATIENCE);
        // The socket goes straight to the server, too.
        let builder = if address.loopback { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|error| CliError::new(Exit::Error, format!("no HTTP client: {error}")))?;
        Ok(Self { http, address, token: token.map(Token), there: Arc::default() })
    }

    /// It has answered.
    fn is_there(&self) {
        self.there.store(true, Ordering::Relaxed);
    }

    /// Whether it has ever answered: then it is worth waiting for.
    fn was_there(&self) -> bool {
        self.there.load(Ordering::Relaxed)
    }

    /// Asks; gives the `data` of the answer.
    pub(super) async fn ask(&self, document: &str, variables: Value, again: Again) -> Result<Value, CliError> {
        let body = json!({ "query": document, "variables": variables });
        let mut attempt = 0;
        loop {
            let broke = match self.http.post(self.address.http.clone()).json(&body).send().await {
                Ok(response) => {
                    let status = response.status();
                    match response.bytes().await {
                        Ok(bytes) => {
                            let answer = serde_json::from_slice(&bytes).ok();
                            let busy = answer.as_ref().is_some_and(is_busy);
                            let answer = self.answer(status, answer);
                            if !busy {
                                return answer;
                            }
                            answer
                        }
                        Err(error) => Err(self.unreachable(&error)),
                    }
                }
                // One that was there is being replaced, perhaps.
                Err(error) if error.is_connect() && attempt == 0 && !self.was_there() => {
                    return Err(self.unreachable(&error));
                }
                Err(error) => Err(self.unreachable(&error)),
            };
            attempt += 1;
            if again == Again::Never || attempt > 3 {
                return broke;
            }
            tokio::time::sleep(Duration::from_millis(200 + fastrand::u64(..400 * attempt))).await;
        }
    }

    /// An address below the server's own.
    fn below(&self, path: &str) -> Url {
        let mut address = self.address.http.clone();
        let base = address.path().trim_end_matches("graphql").to_owned();
        address.set_path(&format!("{base}{path}"));
        address
    }

    /// The address of a page of the server's, as it is reached from here.
    pub(super) fn page(&self, path: &str) -> String {
        self.below(path).into()
    }

    /// Asks for JSON, below the server's address.
    pub(super) async fn get(&self, path: &str) -> Result<Value, CliError> {
        let mut bytes = Vec::new();
        self.download(path, PATIENCE, &mut bytes).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            CliError::new(Exit::Error, format!("{} does not answer as Skep does: {error}", self.address.shown))
        })
    }

    /// Asks for a file, below the server's address, and writes it to the end.
    pub(super) async fn download(
        &self,
        path: &str,
        patience: Duration,
        to: &mut (dyn std::io::Write + Send),
    ) -> Result<(), CliError> {
        let sent = self.http.get(self.below(path)).timeout(patience).send().await;
        let mut response = sent.map_err(|error| self.unreachable(&error))?;
        if !response.status().is_success() {
            let status = response.status();
            let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
            let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            return Err(match problem.get("code") {
                Some(_) => self.refused(&problem),
                None => CliError::new(Exit::Error, format!("{} answers {status}", self.address.shown)),
            });
        }
        while let Some(bytes) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            to.write_all(&bytes)
                .map_err(|error| CliError::new(Exit::Error, format!("it cannot be written: {error}")))?;
        }
        Ok(())
    }

    /// The `data` of an answer; none when it was no JSON.
    fn answer(&self, status: reqwest::StatusCode, answer: Option<Value>) -> Result<Value, CliError> {
        let first = answer.as_ref().and_then(|answer| answer.pointer("/errors/0").or_else(|| answer.get("error")));
        if let Some(error) = first {
            return Err(self.refused(error));
        }
        match answer {
            Some(Value::Object(mut answer)) if status.is_success() && answer.contains_key("data") => {
                self.is_there();
                Ok(answer.remove("data").unwrap_or_default())
            }
            _ if status == reqwest::StatusCode::UNAUTHORIZED => Err(self.unauthenticated()),
            _ => Err(CliError::new(
                Exit::Error,
                format!("{} answers {status}, and not as Skep does", self.address.shown),
            )
            .next("check --server or SKEP_SERVER")),
        }
    }

    /// An error of the answer, in GraphQL's shape or the API's own.
    fn refused(&self, error: &Value) -> CliError {
        let code = error.pointer("/extensions/code").or_else(|| error.get("code")).and_then(Value::as_str);
        let message = error.get("message").and_then(Value::as_str).unwrap_or("the server gave no reason");
        match code {
            Some("UNAUTHENTICATED") => self.unauthenticated(),
            code => CliError::new(Exit::of_server(code.unwrap_or_default()), message),
        }
    }

    fn unauthenticated(&self) -> CliError {
        let (message, next) = match &self.token {
            Some(_) => ("does not know this token", "check --token or SKEP_TOKEN against"),
            None => ("wants a token", "pass --token or set SKEP_TOKEN: it is in"),
        };
        CliError::new(Exit::Refused, format!("{} {message}", self.address.shown))
            .next(format!("{next} the file {TOKEN_FILE} of the server's data folder"))
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        let why = if error.is_timeout() { "it took too long".to_owned() } else { innermost(error) };
        self.gone(&why)
    }

    fn gone(&self, why: &str) -> CliError {
        CliError::new(Exit::Error, format!("no answer from {}: {why}", self.address.shown))
            .next("start a server with `skep serve`, or name another with --server or SKEP_SERVER")
    }

    /// Follows a subscription. The connection is made in the background, and made again when it breaks.
    pub(super) fn follow(&self, field: &'static str, document: &'static str, variables: Value) -> Feed {
        Feed::start(self.clone(), field, document, variables)
    }
}

/// Whether an answer is an error that soon may be none. (What took too long would most likely do so again.)
fn is_busy(answer: &Value) -> bool {
    let code = answer.pointer("/errors/0/extensions/code").and_then(Value::as_str);
    matches!(code, Some("UNAVAILABLE" | "BUSY"))
}

/// What is at the bottom of an error.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let address = Address::parse("https://skep.example.org/base/").unwrap();
        assert_eq!(address.http.as_str(), "https://skep.example.org/base/graphql");
        assert_eq!(address.socket.as_str(), "wss://skep.example.org/base/graphql");
        assert!(!address.loopback);
        for local in ["http://127.0.0.1:7717", "http://localhost:1", "http://[::1]:2/", "http://127.8.0.1"] {
            assert!(Address::parse(local).unwrap().loopback, "{local}");
        }
        for far in ["http://10.0.0.1", "http://localhost.example.org", "https://example.org"] {
            assert!(!Address::parse(far).unwrap().loopback, "{far}");
        }
        for bad in ["", "127.0.0.1:7717", "ftp://x", "unix:///run/x", "http://a:b@example.org"] {
            assert_eq!(Address::parse(bad).map_err(|error| error.exit), Err(Exit::Usage), "{bad}");
        }
    }

    #[test]
    fn the_token_of_a_data_folder_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(token_of(folder.path()), None);
        std::fs::write(folder.path().join(TOKEN_FILE), "abc\n").unwrap();
        assert_eq!(token_of(folder.path()).as_deref(), Some("abc"));
    }

    #[test]
    fn a_token_is_never_shown() {
        assert_eq!(format!("{:?}", Token("secret".into())), "Token(…)");
    }
}
