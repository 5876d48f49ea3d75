//! Ways to a real engine (`DOCKER_HOST` as a socket, or the local one): through TLS with certificates, through ssh, and
//! through a second door when the first one closes. Nothing is written to it.
#![expect(clippy::unwrap_used, reason = "tests: what fails here fails the test")]

#[path = "support/git_ssh.rs"]
pub mod git_ssh;
#[path = "support/tls_front.rs"]
pub mod tls_front;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use git_ssh::SshServer;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use skep::domain::{CredentialHost, CredentialName, CredentialType, Digest, Environment, EnvironmentName, SecretBytes};
use skep::outbound::{Outbound, Reach};
use skep::ports::{Keyring, KeyringError, Listing, OpenCredential, Swarm, SwarmConnector, SwarmError, WatchedKind};
use skep::swarm::docker::{DockerConnector, DockerOptions, EngineAccess};
use tempfile::TempDir;
use tls_front::Authority;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

fn engine() -> PathBuf {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    PathBuf::from(host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock"))
}

/// Credentials in memory.
#[derive(Default)]
struct Ring(Mutex<BTreeMap<CredentialName, Arc<OpenCredential>>>);

impl Keyring for Ring {
    fn open(&self, name: &CredentialName) -> Result<Option<Arc<OpenCredential>>, KeyringError> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }
}

impl Ring {
    fn put(&self, name: &str, kind: CredentialType, host: Option<&str>, data: &[(&str, &str)]) {
        let name = CredentialName::parse(name).unwrap();
        let open = OpenCredential {
            id: name.to_string(),
            print: Digest::of(format!("{data:?}").as_bytes()),
            kind,
            hosts: host.iter().map(|host| CredentialHost::parse(host).unwrap()).collect(),
            stacks: Vec::new(),
            data: data
                .iter()
                .map(|(key, value)| ((*key).to_owned(), SecretBytes::new(value.as_bytes().to_vec())))
                .collect(),
            name: name.clone(),
        };
        self.0.lock().unwrap().insert(name, Arc::new(open));
    }
}

struct Bench {
    ring: Arc<Ring>,
    access: EngineAccess,
}

impl Bench {
    fn new() -> Self {
        let ring = Arc::new(Ring::default());
        Self { access: EngineAccess { keyring: ring.clone(), ..EngineAccess::default() }, ring }
    }

    fn connect(&self, endpoints: &[&str], tls: Option<&str>, ssh: Option<&str>) -> Arc<dyn Swarm> {
        let name = |name: &str| CredentialName::parse(name).unwrap();
        let environment = Environment {
            name: EnvironmentName::default(),
            endpoints: endpoints.iter().map(|it| (*it).to_owned()).collect(),
            tls: tls.map(name),
            ssh: ssh.map(name),
            relay: None,
        };
        DockerConnector::new(DockerOptions::default()).with_access(self.access.clone()).connect(&environment).unwrap()
    }
}

async fn told(swarm: &Arc<dyn Swarm>) -> String {
    match swarm.info().await {
        Err(error @ SwarmError::Unreachable { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// A door to the engine through TLS that wants a certificate of `clients`.
async fn tls_door(authority: &Authority, clients: &Authority) -> (String, JoinHandle<()>) {
    let (certificate, key) = authority.sign();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(clients.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap).collect();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let door = tokio::spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            open.spawn(async move {
                let Ok(mut inside) = acceptor.accept(stream).await else { return };
                let mut behind = UnixStream::connect(engine()).await.unwrap();
                copy_bidirectional(&mut inside, &mut behind).await.ok();
            });
        }
    });
    (endpoint, door)
}

/// A door to the engine through a socket. It and all that went through it are closed when the handle is aborted.
fn door(path: &Path) -> (String, JoinHandle<()>) {
    let listener = UnixListener::bind(path).unwrap();
    let endpoint = format!("unix://{}", path.display());
    let door = tokio::spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((mut inside, _)) = listener.accept().await {
            open.spawn(async move {
                let mut behind = UnixStream::connect(engine()).await.unwrap();
                copy_bidirectional(&mut inside, &mut behind).await.ok();
            });
        }
    });
    (endpoint, door)
}

#[tokio::test]
async fn an_engine_behind_tls_wants_the_right_certificates() {
    let bench = Bench::new();
    let (servers, clients) = (Authority::fresh(), Authority::fresh());
    let (endpoint, _door) = tls_door(&servers, &clients).await;
    let (certificate, key) = clients.sign();
    let ca = servers.pem();
    let whole = [("ca", ca.as_str()), ("cert", certificate.as_str()), ("key", key.as_str())];
    let swarm = bench.connect(&[&endpoint], Some("prod-tls"), None);
    assert!(told(&swarm).await.contains("make it: `skep credential set prod-tls --type Tls …`"));

    bench.ring.put("prod-tls", CredentialType::Tls, None, &whole[..1]);
    told(&swarm).await;
    let other = clients.pem();
    bench.ring.put("prod-tls", CredentialType::Tls, None, &[("ca", &other), whole[1], whole[2]]);
    assert!(told(&swarm).await.contains("TLS: invalid peer certificate"));
    bench.ring.put("prod-tls", CredentialType::Tls, Some("10.0.0.1"), &whole);
    assert!(told(&swarm).await.contains("is not for 127.0.0.1:"));

    // The right ones, put there meanwhile: the next connection is made with them.
    bench.ring.put("prod-tls", CredentialType::Tls, None, &whole);
    let info = swarm.info().await.unwrap();
    assert_eq!(info.endpoint, endpoint);
    let Listing::Nodes(nodes) = swarm.list(WatchedKind::Node).await.unwrap() else { panic!("no nodes") };
    assert!(nodes.iter().any(|node| node.id == info.node_id && node.manager && !node.addr.is_empty()));
    // Without TLS the same door stays shut.
    bench.connect(&[&endpoint], None, None).info().await.unwrap_err();
}

#[tokio::test]
async fn an_engine_behind_ssh_is_reached_with_a_key_once_its_host_is_trusted() {
    let folder = TempDir::new().unwrap();
    let server = SshServer::start(folder.path());
    let (program, pids) = (folder.path().join("noting-ssh"), folder.path().join("pids"));
    std::fs::write(&program, format!("#!/bin/sh\necho $$ >> {}\nexec ssh \"$@\"\n", pids.display())).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut bench = Bench::new();
    bench.access.ssh_program = program;
    let key = std::fs::read_to_string(folder.path().join("client")).unwrap();
    let url = server.url(Path::new(""));
    let swarm = bench.connect(&[&url], None, Some("key"));
    assert!(told(&swarm).await.contains("make it: `skep credential set key --type SshKey …`"));
    bench.ring.put("key", CredentialType::SshKey, Some("127.0.0.1"), &[("privateKey", &key)]);
    let unknown = told(&swarm).await;
    assert!(unknown.contains("its key is not known yet: ssh-ed25519 SHA256:"), "{unknown}");
    let hosts = std::fs::read_to_string(folder.path().join("known")).unwrap();
    let line = hosts.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    assert!(unknown.contains(&format!("`skep credential trust key '{line}'`")), "{unknown}");

    bench.ring.put("key", CredentialType::SshKey, Some("127.0.0.1"), &[("privateKey", &key), ("knownHosts", &hosts)]);
    assert_eq!(swarm.info().await.unwrap().endpoint, url);
    for kind in WatchedKind::ALL {
        swarm.list(kind).await.unwrap();
    }
    let events = swarm.events().await.unwrap();
    let stranger = std::fs::read_to_string(folder.path().join("stranger")).unwrap();
    bench.ring.put(
        "no",
        CredentialType::SshKey,
        Some("127.0.0.1"),
        &[("privateKey", &stranger), ("knownHosts", &hosts)],
    );
    let refused = told(&bench.connect(&[&url], None, Some("no"))).await;
    assert!(refused.contains("Permission denied"), "{refused}");
    // An environment that names one credential may have its key there.
    bench.connect(&[&url], Some("key"), None).info().await.unwrap();

    // The connections end with their owner.
    drop((events, swarm));
    let pids = std::fs::read_to_string(&pids).unwrap();
    let pids: BTreeSet<&str> = pids.lines().collect();
    let runs = |pid: &&str| {
        // One that has ended and was not asked about yet runs no more.
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    };
    let ended = async {
        while pids.iter().any(runs) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
}

#[tokio::test]
async fn when_the_first_door_closes_the_next_one_is_used() {
    use futures_util::StreamExt;
    let folder = TempDir::new().unwrap();
    let (one, first) = door(&folder.path().join("one.sock"));
    let (two, _second) = door(&folder.path().join("two.sock"));
    let swarm = Bench::new().connect(&[&one, &two], None, None);
    assert_eq!(swarm.info().await.unwrap().endpoint, one);
    let mut events = swarm.events().await.unwrap();
    first.abort();
    // Others may be at work on this engine.
    let broken = async { events.by_ref().filter_map(|it| std::future::ready(it.err())).boxed().next().await };
    let told = tokio::time::timeout(Duration::from_secs(10), broken).await.unwrap();
    assert!(matches!(told, Some(SwarmError::Unreachable { .. })), "{told:?}");
    // The loss was noted with the stream: no call fails for it.
    assert_eq!(swarm.info().await.unwrap().endpoint, two);
    drop(swarm.events().await.unwrap());
    swarm.list(WatchedKind::Service).await.unwrap();
}

#[tokio::test]
async fn an_operators_word_does_not_lead_to_what_clouds_keep_secret() {
    let bench = Bench::new();
    for endpoint in ["tcp://169.254.169.254:80", "tcp://[fd00:ec2::254]:80", "tcp://0.0.0.0:2375"] {
        let barred = told(&bench.connect(&[endpoint], None, None)).await;
        assert!(barred.contains("an address that no engine has"), "{barred}");
    }
    let mut strict = Bench::new();
    strict.access.outbound = Outbound::new(Reach::Public);
    let barred = told(&strict.connect(&["tcp://localhost:2375"], None, None)).await;
    assert!(barred.contains("`localhost` stands for"), "{barred}");
}
