//! `skep serve`: API, controller and page in one process.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::ambient::SystemAmbient;
use super::{metrics, tls};
use crate::api::{ApiOptions, ApiParts, ApiState, Auth, AuthError, Listen, Routes, bind, hooks, rest};
use crate::controller::{Controller, Parts};
use crate::declare::{Declare, Limits};
use crate::domain::{Environment, EnvironmentName, Event, EventType};
use crate::ledger::{Batch, Ledger, LedgerError, LedgerKeyring};
use crate::notify::http::Http;
use crate::notify::{Couriers, NotifyOptions, NotifyParts};
use crate::outbound::{self, Outbound, Reach};
use crate::ports::{Ambient, Keyring, Sealer, StoreError};
use crate::relay::RelayConnector;
use crate::seal::{KeyFile, KeyFileError};
use crate::source::git::{Git, GitOptions};
use crate::store::sled::SledStore;
use crate::swarm::docker::{DockerConnector, DockerOptions, EngineAccess};

/// Where the key that everything is sealed with is kept.
pub(super) const KEY_FILE: &str = "seal.key";
/// The engine when nothing else is said.
pub(super) const LOCAL_ENGINE: &str = "unix:///var/run/docker.sock";

/// What `serve` is told.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The data folder.
    pub data: PathBuf,
    /// The engine of the environment `default`; `None` for `DOCKER_HOST` or the local socket.
    pub docker: Option<String>,
    /// Repositories may be at private and loopback addresses.
    pub allow_private_addresses: bool,
    /// Repositories may be `file://`.
    pub allow_file_sources: bool,
    /// The address that people reach the page at.
    pub public_url: Option<String>,
    /// Certificate chain and key, as PEM files.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Listen off loopback without TLS.
    pub insecure: bool,
    /// `/metrics` without a token.
    pub metrics_public: bool,
    /// Serve `/graphiql`.
    pub graphiql: bool,
    /// Deliveries of one hook that are taken in a second; 0 for as many as come.
    pub hook_rate: u32,
}

/// Why the server could not be started, or ended by itself.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Passwords and tokens would cross the network in the clear.
    #[error(
        "{0} is not a loopback address: give --tls-cert and --tls-key, or --insecure if something in front of it does TLS"
    )]
    NotLoopback(SocketAddr),
    /// The data folder.
    #[error("the data folder `{}` cannot be used: {cause}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The address.
    #[error("cannot listen on {address}: {cause}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The records.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The key file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The token file.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Certificate or key.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// The runtime or the server broke.
    #[error("the server ended: {0}")]
    Ended(io::Error),
}

/// Serves until SIGTERM or SIGINT; both end it in good order. Prints `skep: listening on …` on stderr when ready.
///
/// # Errors
/// [`ServeError`].
pub fn serve(options: ServeOptions) -> Result<(), ServeError> {
    if options.tls.is_none() && !options.insecure && !options.listen.ip().is_loopback() {
        return Err(ServeError::NotLoopback(options.listen));
    }
    tls::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ServeError::Ended)?;
    let ended = runtime.block_on(run(options));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    ended
}

async fn run(options: ServeOptions) -> Result<(), ServeError> {
    make_folder(&options)?;
    let ambient: Arc<dyn Ambient> = Arc::new(SystemAmbient::default());
    let ledger = Ledger::new(Arc::new(SledStore::open(&options.data)?));
    let (instance, sealer) = installation(&options, &ledger, ambient.as_ref()).await?;
    default_environment(&options, &ledger, ambient.now()).await?;
    let auth = Arc::new(Auth::of_folder(&options.data)?);
    let cancel = CancellationToken::new();
    outbound::tidy();
    let keyring: Arc<dyn Keyring> = Arc::new(LedgerKeyring::new(ledger.clone(), sealer.clone()));
    let couriers = couriers(&options, &ledger, &sealer, &keyring, &ambient, &instance)?;
    let controller = Controller::new(
        Parts {
            ledger: ledger.clone(),
            ambient: ambient.clone(),
            sealer: sealer.clone(),
            source: Arc::new(Git::with_keyring(git_options(&options), keyring.clone())),
            connector: Arc::new(
                DockerConnector::new(DockerOptions::default()).with_access(engine_access(&options, keyring.clone())),
            ),
            far: Arc::new(RelayConnector::new(keyring, Outbound::new(own_reach(&options)))),
            instance,
            restored: ledger.restored()?,
        },
        cancel.clone(),
    );
    let ready = Arc::new(AtomicBool::new(false));
    let scraped = ledger.clone();
    let state = ApiState::new(ApiParts {
        declare: Declare::new(ledger.clone(), sealer, ambient.clone(), Limits::default()),
        ledger,
        inquiries: controller.inquiries(),
        notifiers: Arc::new(couriers.clone()),
        auth,
        ambient,
        ready: ready.clone(),
        metrics: Arc::new(move || metrics::text(&scraped)),
        options: ApiOptions {
            graphiql: options.graphiql,
            metrics_public: options.metrics_public,
            hook_rate: options.hook_rate,
            ..ApiOptions::default()
        },
    });
    let certificate = match &options.tls {
        Some((certificate, key)) => Some(tls::Certificate::read(certificate, key)?),
        None => None,
    };
    let tls = certificate.as_ref().map(|certificate| certificate.server_config());
    let scheme = if tls.is_some() { "https" } else { "http" };
    let listen = Listen { address: options.listen, tls, workers: 2 };
    let more: Routes = Arc::new(|config| {
        rest::routes(config);
        hooks::routes(config);
    });
    let bound = bind(listen, state, more).map_err(|cause| ServeError::Bind { address: options.listen, cause })?;
    let handle = bound.server.handle();
    let server = tokio::spawn(bound.server);
    let kept = tokio::spawn(async move { controller.run().await });
    tokio::spawn(couriers.run(cancel.clone()));
    if let Some(certificate) = certificate {
        tokio::spawn(cancel.clone().run_until_cancelled_owned(certificate.follow()));
    }
    ready.store(true, Ordering::Release);
    say(&format!("skep: listening on {scheme}://{}", bound.address));
    tokio::select! {
        ended = server => {
            cancel.cancel();
            return ended.map_err(io::Error::other).and_then(|ended| ended).map_err(ServeError::Ended);
        }
        asked = asked_to_end() => asked.map_err(ServeError::Ended)?,
    }
    tracing::info!("asked to end");
    ready.store(false, Ordering::Release);
    cancel.cancel();
    handle.stop(true).await;
    match kept.await {
        Ok(ended) => Ok(ended?),
        Err(panicked) => Err(ServeError::Ended(io::Error::other(panicked))),
    }
}

fn make_folder(options: &ServeOptions) -> Result<(), ServeError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let path = &options.data;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|cause| ServeError::Folder { path: path.clone(), cause })
}

/// The installation's id and key: made together by the first start. A store without its key is refused.
async fn installation(
    options: &ServeOptions,
    ledger: &Ledger,
    ambient: &dyn Ambient,
) -> Result<(String, Arc<dyn Sealer>), ServeError> {
    let path = options.data.join(KEY_FILE);
    match ledger.instance()? {
        Some(instance) => Ok((instance, Arc::new(KeyFile::open(&path)?))),
        None => {
            let key = KeyFile::open_or_create(&path)?;
            let instance = ambient.new_id();
            ledger.commit(Batch::new().put_instance(&instance)).await?;
            Ok((instance, Arc::new(key)))
        }
    }
}

/// With no environment declared, `default` is the engine that was named, or the local one. Naming one moves it.
async fn default_environment(options: &ServeOptions, ledger: &Ledger, now: Timestamp) -> Result<(), ServeError> {
    let named = options.docker.clone().or_else(|| std::env::var("DOCKER_HOST").ok()).filter(|url| !url.is_empty());
    let name = EnvironmentName::default();
    let known = ledger.environment(&name)?.map(|found| found.value);
    let declared = !ledger.environments()?.is_empty();
    let endpoint = match (&known, named) {
        (None, _) if declared => return Ok(()),
        (Some(_), None) => return Ok(()),
        // What another Skep keeps has no engine here.
        (Some(known), _) if known.relay.is_some() => return Ok(()),
        (_, named) => named.unwrap_or_else(|| LOCAL_ENGINE.to_owned()),
    };
    // What else is declared of it stays.
    let kept = known.clone().unwrap_or_default();
    let environment = Environment { name: name.clone(), endpoints: vec![endpoint.clone()], ..kept };
    if known.as_ref() == Some(&environment) {
        return Ok(());
    }
    let event = Event {
        time: now,
        kind: EventType::EnvironmentDeclared,
        environment: name,
        stack: None,
        deployment: None,
        reason: "Declared".into(),
        message: format!("the engine of `default` is {endpoint}"),
        actor: "serve".into(),
        via: None,
    };
    ledger.commit(Batch::new().put_environment(&environment).event(&event)).await?;
    Ok(())
}

/// An environment's endpoints, and the other Skep of a relay, are an operator's word: his own networks are fine.
fn engine_access(options: &ServeOptions, keyring: Arc<dyn Keyring>) -> EngineAccess {
    EngineAccess { keyring, outbound: Outbound::new(own_reach(options)), ..EngineAccess::default() }
}

fn own_reach(options: &ServeOptions) -> Reach {
    if options.allow_private_addresses { Reach::Any } else { Reach::Own }
}

/// A notifier's address is an admin's word, and what stands there is read by whoever sees the notifier's errors: private
/// addresses take the same leave as those of repositories.
fn couriers(
    options: &ServeOptions,
    ledger: &Ledger,
    sealer: &Arc<dyn Sealer>,
    keyring: &Arc<dyn Keyring>,
    ambient: &Arc<dyn Ambient>,
    instance: &str,
) -> Result<Couriers, ServeError> {
    let reach = if options.allow_private_addresses { Reach::Any } else { Reach::Public };
    let post = Http::new(Outbound::new(reach)).map_err(|error| ServeError::Ended(io::Error::other(error)))?;
    Ok(Couriers::new(NotifyParts {
        ledger: ledger.clone(),
        ambient: ambient.clone(),
        sealer: sealer.clone(),
        keyring: keyring.clone(),
        post: Arc::new(post),
        instance: instance.to_owned(),
        options: NotifyOptions { public_url: options.public_url.clone(), ..NotifyOptions::default() },
    }))
}

fn git_options(options: &ServeOptions) -> GitOptions {
    GitOptions {
        root: options.data.join("git"),
        allow_file: options.allow_file_sources,
        outbound: Outbound::new(if options.allow_private_addresses { Reach::Any } else { Reach::Public }),
        // A webhook comes right after a push: a listing from before it would be of no use.
        reuse_listing: std::time::Duration::ZERO,
        ..GitOptions::default()
    }
}

async fn asked_to_end() -> io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

/// One line on stderr. Nobody is there to be told when it cannot be written.
fn say(line: &str) {
    drop(writeln!(io::stderr(), "{line}"));
}
