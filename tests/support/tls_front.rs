//! A server for https in front of one for http, with an authority of its own. It asks for a sign-in, redirects, and gives
//! out tokens as GitHub does, and notes what it was sent.
#![expect(clippy::unwrap_used, reason = "test support: what fails here fails the test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// An authority that signs certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    pub fn fresh() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Its certificate as PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for 127.0.0.1 and localhost, and its key, as PEM.
    pub fn sign(&self) -> (String, String) {
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// How it treats requests.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// The header `Authorization` it wants.
    pub wants: Option<String>,
    /// Where it redirects to: the beginning of an address.
    pub redirect: Option<String>,
    /// What it answers when asked for a token of an installation.
    pub token: Option<String>,
}

/// A request: its target, and how it signed in.
pub type Seen = (String, Option<String>);

struct Shared {
    behind: SocketAddr,
    config: Arc<ServerConfig>,
    manner: Mutex<Manner>,
    seen: Mutex<Vec<Seen>>,
    arrived: std::sync::atomic::AtomicUsize,
    stopped: AtomicBool,
}

/// The server. It ends when dropped.
pub struct TlsFront {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl TlsFront {
    /// Serves what the server at `behind` (`http://ADDRESS`) has.
    pub fn start(authority: &Authority, behind: &str) -> Self {
        let (certificate, key) = authority.sign();
        let chain = rustls::pki_types::CertificateDer::pem_slice_iter(certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            behind: behind.trim_start_matches("http://").parse().unwrap(),
            config: Arc::new(config),
            manner: Mutex::default(),
            seen: Mutex::default(),
            arrived: std::sync::atomic::AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for connection in listener.incoming() {
                    if shared.stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    shared.arrived.fetch_add(1, Ordering::SeqCst);
                    let shared = Arc::clone(&shared);
                    // A client that goes away is its own affair.
                    std::thread::spawn(move || connection.and_then(|it| shared.talk(it)).ok());
                }
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// `https://127.0.0.1:PORT`.
    pub fn base(&self) -> String {
        format!("https://{}", self.address)
    }

    /// `127.0.0.1:PORT`.
    pub fn place(&self) -> String {
        self.address.to_string()
    }

    /// Changes the manner.
    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// The requests since the last call.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.seen.lock().unwrap())
    }

    /// How many connections have come in.
    pub fn arrived(&self) -> usize {
        self.shared.arrived.load(Ordering::SeqCst)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        TcpStream::connect(self.address).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Shared {
    /// One request for each connection.
    fn talk(&self, connection: TcpStream) -> std::io::Result<()> {
        let session = ServerConnection::new(Arc::clone(&self.config)).map_err(std::io::Error::other)?;
        let mut reader = BufReader::new(StreamOwned::new(session, connection));
        let (mut head, mut target, mut auth, mut length) = (String::new(), String::new(), None, 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if head.is_empty() {
                target = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
            }
            head.push_str(&line);
            let Some((name, value)) = line.trim_end().split_once(':') else {
                if line.trim().is_empty() {
                    break;
                }
                continue;
            };
            match name.to_ascii_lowercase().as_str() {
                "authorization" => auth = Some(value.trim().to_owned()),
                "content-length" => length = value.trim().parse().unwrap(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        self.seen.lock().unwrap().push((target.clone(), auth.clone()));
        let manner = self.manner.lock().unwrap().clone();
        let answer = if let Some(token) = manner.token.filter(|_| target.ends_with("/access_tokens")) {
            response("201 Created", "", &token)
        } else if let Some(to) = manner.redirect {
            response("302 Found", &format!("Location: {to}{target}\r\n"), "")
        } else if manner.wants.is_some() && manner.wants != auth {
            response("401 Unauthorized", "WWW-Authenticate: Basic realm=\"git\"\r\n", "no")
        } else {
            let mut behind = TcpStream::connect(self.behind)?;
            behind.write_all(head.as_bytes())?;
            behind.write_all(&body)?;
            let mut answer = Vec::new();
            behind.read_to_end(&mut answer)?;
            answer
        };
        let stream = reader.get_mut();
        stream.write_all(&answer)?;
        stream.conn.send_close_notify();
        stream.flush()
    }
}

fn response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}").into_bytes()
}
