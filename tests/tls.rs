//! `skep serve` with TLS: the program itself, real certificates, real connections.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long something may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A certificate for 127.0.0.1 and its key, as PEM.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// A client that trusts this certificate, and no other.
fn trusting(certificate: &str) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap();
    reqwest::Client::builder().tls_certs_only([root]).no_proxy().timeout(PATIENCE).build().unwrap()
}

struct Serving {
    child: Child,
    address: String,
    folder: TempDir,
}

impl Serving {
    fn start(certificate: &(String, String)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let serving = Self::command(&folder, certificate);
        let (child, address) = serving.unwrap_or_else(|said| panic!("{said}"));
        Self { child, address, folder }
    }

    /// Starts it; gives its address, or what it said when it ended.
    fn command(folder: &TempDir, (chain, key): &(String, String)) -> Result<(Child, String), String> {
        let at = |name: &str| folder.path().join(name);
        fs::write(at("cert.pem"), chain).unwrap();
        fs::write(at("key.pem"), key).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_skep"))
            .args(["serve", "--listen", "127.0.0.1:0", "--docker", "unix:///nonexistent/docker.sock"])
            .arg("--data")
            .arg(at("data"))
            .arg("--tls-cert")
            .arg(at("cert.pem"))
            .arg("--tls-key")
            .arg(at("key.pem"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        while let Some(Ok(line)) = lines.next() {
            if let Some(address) = line.strip_prefix("skep: listening on ") {
                let address = address.to_owned();
                // What it goes on to say is read, so that it never waits for a reader.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok((child, address));
            }
            said.push_str(&line);
        }
        assert!(!child.wait().unwrap().success());
        Err(said)
    }

    fn replace(&self, (chain, key): &(String, String)) {
        for (name, text) in [("cert.pem", chain), ("key.pem", key)] {
            write_beside(&self.folder.path().join(name), text);
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn write_beside(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(&beside, path).unwrap();
}

/// Whether a connection of its own is made, and answered.
async fn answers(serving: &Serving, trusted: &str) -> bool {
    let answer = trusting(trusted).get(format!("{}/healthz", serving.address)).send().await;
    answer.is_ok_and(|answer| answer.status() == 200)
}

async fn until_answered(serving: &Serving, trusted: &str) {
    let begun = Instant::now();
    while !answers(serving, trusted).await {
        assert!(begun.elapsed() < PATIENCE, "the certificate is not shown");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_certificate_that_changes_is_shown_and_what_is_open_stays() {
    let (old, new) = (certificate(), certificate());
    let serving = Serving::start(&old);
    assert!(serving.address.starts_with("https://127.0.0.1:"), "{}", serving.address);
    assert!(answers(&serving, &old.0).await && !answers(&serving, &new.0).await);

    // A websocket, as pages and the command line hold one.
    let mut socket = websocket(&serving, &old.0).await;
    serving.replace(&new);
    until_answered(&serving, &new.0).await;
    assert!(!answers(&serving, &old.0).await, "new connections are shown the new one alone");
    assert!(ping(&mut socket).await, "the open one goes on");

    // What cannot be used is not: a key of another certificate, and then no certificate at all.
    let third = certificate();
    fs::write(serving.folder.path().join("key.pem"), &third.1).unwrap();
    fs::write(serving.folder.path().join("cert.pem"), "nothing").unwrap();
    let looked = Instant::now();
    while looked.elapsed() < Duration::from_secs(5) {
        assert!(answers(&serving, &new.0).await, "the one before stays");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    serving.replace(&third);
    until_answered(&serving, &third.0).await;
    assert!(ping(&mut socket).await, "the open one goes on");
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>;

/// A websocket that was let in, over TLS with this certificate alone.
async fn websocket(serving: &Serving, trusted: &str) -> Socket {
    use futures_util::{SinkExt, StreamExt};
    use rustls::pki_types::pem::PemObject;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let authority = serving.address.trim_start_matches("https://");
    let tcp = tokio::net::TcpStream::connect(authority).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let tls = connector.connect("127.0.0.1".try_into().unwrap(), tcp).await.unwrap();
    let mut request = format!("wss://{authority}/graphql").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::client_async(request, tls).await.unwrap();
    let token = fs::read_to_string(serving.folder.path().join("data/admin.token")).unwrap();
    let hello =
        format!("{{\"type\":\"connection_init\",\"payload\":{{\"Authorization\":\"Bearer {}\"}}}}", token.trim());
    socket.send(Message::text(hello)).await.unwrap();
    let first = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
    assert!(first.to_string().contains("connection_ack"), "{first}");
    socket
}

/// Whether the server answers on it.
async fn ping(socket: &mut Socket) -> bool {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    if socket.send(Message::text("{\"type\":\"ping\"}")).await.is_err() {
        return false;
    }
    while let Ok(Some(Ok(message))) = tokio::time::timeout(PATIENCE, socket.next()).await {
        if message.to_string().contains("pong") {
            return true;
        }
    }
    false
}

#[test]
fn a_certificate_that_cannot_be_used_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (certificate(), certificate());
    let said = Serving::command(&folder, &(one.0.clone(), other.1)).map(|(_, address)| address).unwrap_err();
    assert!(said.contains("cannot be used together"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let said = Serving::command(&folder, &("nothing".to_owned(), one.1)).map(|(_, address)| address).unwrap_err();
    assert!(said.contains("cert.pem"), "{said}");
}

/// `skep health`, with nothing of this process's own variables.
fn health(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
    command.env_clear().envs(variables.iter().copied()).arg("health").args(arguments).output().unwrap()
}

#[test]
fn health_trusts_the_certificate_the_server_was_given_and_no_other() {
    let made = rcgen::generate_simple_self_signed(vec!["skep.example.org".to_owned()]).unwrap();
    let serving = Serving::start(&(made.cert.pem(), made.signing_key.serialize_pem()));
    let listen = serving.address.trim_start_matches("https://");
    let file = serving.folder.path().join("cert.pem").display().to_string();
    for arguments in
        [vec!["--listen", listen, "--tls-cert", &file], vec!["--url", &serving.address, "--tls-cert", &file]]
    {
        for question in [&[][..], &["--ready"]] {
            let found = health(&[&arguments[..], question].concat(), &[]);
            assert_eq!(found.status.code(), Some(0), "{found:?}");
        }
    }
    let by_variables = health(&[], &[("SKEP_LISTEN", listen), ("SKEP_TLS_CERT", &file)]);
    assert_eq!(by_variables.status.code(), Some(0), "{by_variables:?}");
    assert_eq!(String::from_utf8_lossy(&by_variables.stdout).trim(), format!("{} is healthy", serving.address));

    // Another certificate with the same name; none at all; a file that holds none.
    let other = serving.folder.path().join("other.pem");
    let made = rcgen::generate_simple_self_signed(vec!["skep.example.org".to_owned()]).unwrap();
    fs::write(&other, made.cert.pem()).unwrap();
    let other = other.display().to_string();
    let key = serving.folder.path().join("key.pem").display().to_string();
    for arguments in [
        &["--url", &serving.address, "--tls-cert", &other, "--patience", "300ms"][..],
        &["--url", &serving.address, "--patience", "300ms"],
        &["--url", &serving.address, "--tls-cert", &key, "--patience", "300ms"],
    ] {
        let found = health(arguments, &[]);
        assert_eq!(found.status.code(), Some(1), "{found:?}");
        assert!(String::from_utf8_lossy(&found.stderr).contains("is not healthy"), "{found:?}");
    }
}

/// A server that gives these answers, one to a connection, and then holds connections open in silence.
fn answering(answers: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for (at, connection) in listener.incoming().enumerate() {
            let mut connection = connection.unwrap();
            match answers.get(at) {
                Some(status) => {
                    let mut asked = [0; 4096];
                    let size = connection.read(&mut asked).unwrap();
                    assert!(asked[..size].starts_with(b"GET /readyz "));
                    write!(connection, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
                }
                None => held.push(connection),
            }
        }
    });
    address
}

#[test]
fn health_is_patient_and_then_says_no() {
    let address = answering(&["503 Service Unavailable", "500 Internal Server Error", "200 OK"]);
    let found = health(&["--ready", "--listen", &address, "--patience", "30s"], &[]);
    assert_eq!(found.status.code(), Some(0), "{found:?}");

    for (address, why) in [
        (answering(&["503 Service Unavailable"; 100]), "it answered 503"),
        (answering(&[]), "it took too long"),
        (unused(), "refused"),
    ] {
        let begun = Instant::now();
        let found = health(&["--ready", "--listen", &address, "--patience", "1s"], &[]);
        assert_eq!(found.status.code(), Some(1), "{found:?}");
        let said = String::from_utf8_lossy(&found.stderr);
        assert!(said.contains("is not ready") && said.contains(why), "{said}");
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    }
}

/// An address nobody listens on.
fn unused() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
