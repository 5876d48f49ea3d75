//! `skep serve`: API, controller and page in one process.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::advance;
use super::ambient::SystemAmbient;
use super::logging::Logging;
use super::metrics::Scraped;
use super::tls;
use crate::api::{ApiOptions, ApiParts, ApiState, Auth, AuthError, Listen, Routes, bind, hooks, rest};
use crate::controller::{Controller, Parts};
use crate::declare::{Declare, Limits};
use crate::domain::{Environment, EnvironmentName, Event, EventType};
use crate::ledger::{Batch, Ledger, LedgerError, LedgerKeyring};
use crate::notify::http::Http;
use crate::notify::{Couriers, NotifyOptions, NotifyParts};
use crate::outbound::{self, Outbound, Reach};
use crate::ports::{Ambient, Keyring, Sealer, StoreError};
use crate::registry::HttpRegistry;
use crate::relay::RelayConnector;
use crate::seal::{KeyFileError, KeySource};
use crate::source::git::{Git, GitOptions};
use crate::source::sops::SopsFiles;
use crate::store::sled::{Migration, SledOptions, SledStore};
use crate::swarm::docker::{DockerConnector, DockerOptions, EngineAccess};
use crate::telemetry::{Meters, Tracer, TracerError, WatchedConnector, WatchedRegistry, WatchedSource, WatchedStore};

/// How often the store is looked at.
const LOOK_AT_DISK: std::time::Duration = std::time::Duration::from_secs(2);
/// So many bytes have to be free for a store that failed to be opened again: a copy of it is checked first.
const ROOM_TO_OPEN: u64 = 16 << 20;
/// The engine when nothing else is said.
pub(super) const LOCAL_ENGINE: &str = "unix:///var/run/docker.sock";

/// What `serve` is told.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The data folder.
    pub data: PathBuf,
    /// Where the key is that everything is sealed with.
    pub key: KeySource,
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
    /// The id of a Skep whose data is lost and whose place this one takes.
    pub instance: Option<String>,
    /// The log, to be changed while the server runs.
    pub logging: Logging,
    /// The collector that gets traces, by OTLP over HTTP.
    pub otlp_endpoint: Option<String>,
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
    /// The data folder belongs to another installation than the one that was named.
    #[error(
        "this data folder is that of instance {known}, not of {asked}: an id is taken over by an empty folder alone"
    )]
    Instance {
        /// The folder's own.
        known: String,
        /// The one that was named.
        asked: String,
    },
    /// The key file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The key is another's.
    #[error(
        "what this data folder holds was not sealed with the key in `{0}`: give it the key it was made with, nothing sealed opens without it"
    )]
    OtherKey(String),
    /// The token file.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Certificate or key.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// The collector of traces.
    #[error(transparent)]
    Tracer(#[from] TracerError),
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
    let meters = Meters::new();
    let store = open_store(&options.data, &meters)?;
    let ledger = Ledger::new(Arc::new(WatchedStore::new(store.clone(), meters.clone())));
    let (instance, sealer) = installation(&options, &ledger, ambient.as_ref()).await?;
    let tracer = match &options.otlp_endpoint {
        Some(endpoint) => Tracer::to(endpoint, &instance)?,
        None => Tracer::default(),
    };
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
            source: Arc::new(WatchedSource::new(
                Arc::new(Git::with_keyring(git_options(&options), keyring.clone())),
                meters.clone(),
            )),
            registry: Arc::new(WatchedRegistry::new(registry(&options, keyring.clone())?, meters.clone())),
            decrypter: Arc::new(SopsFiles),
            connector: Arc::new(WatchedConnector::new(
                Arc::new(
                    DockerConnector::new(DockerOptions::default())
                        .with_access(engine_access(&options, keyring.clone())),
                ),
                meters.clone(),
            )),
            far: Arc::new(RelayConnector::new(keyring, Outbound::new(own_reach(&options)))),
            instance,
            restored: ledger.restored()?,
            meters: meters.clone(),
            tracer: tracer.clone(),
        },
        cancel.clone(),
    );
    let ready = Arc::new(AtomicBool::new(false));
    let backlog = controller.backlog();
    let advance = advance::after_a_healthy_round(store, ledger.clone(), backlog.clone());
    let scraped = Scraped { ledger: ledger.clone(), backlog, meters: meters.clone(), data: options.data.clone() };
    let broken = ledger.clone();
    let state = ApiState::new(ApiParts {
        declare: Declare::new(ledger.clone(), sealer, ambient.clone(), Limits::default()),
        ledger,
        inquiries: controller.inquiries(),
        notifiers: Arc::new(couriers.clone()),
        log: Arc::new(options.logging.clone()),
        auth,
        ambient,
        ready: ready.clone(),
        metrics: Arc::new(move || scraped.text()),
        meters,
        tracer: tracer.clone(),
        options: ApiOptions {
            graphiql: options.graphiql,
            metrics_public: options.metrics_public,
            hook_rate: options.hook_rate,
            public_url: options.public_url.clone(),
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
    tokio::spawn(cancel.clone().run_until_cancelled_owned(advance));
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
        error = store_to_be_opened_again(&broken) => {
            // Whoever keeps this process starts it again; until then nothing could be recorded anyway.
            cancel.cancel();
            handle.stop(false).await;
            return Err(error.into());
        }
        asked = asked_to_end() => asked.map_err(ServeError::Ended)?,
    }
    tracing::info!("asked to end");
    ready.store(false, Ordering::Release);
    cancel.cancel();
    handle.stop(true).await;
    let kept = kept.await;
    // The last spans are sent by a thread of their own, which is waited for.
    drop(tokio::task::spawn_blocking(move || tracer.end()).await);
    match kept {
        Ok(ended) => Ok(ended?),
        Err(panicked) => Err(ServeError::Ended(io::Error::other(panicked))),
    }
}

/// Opens the store; its transactions and syncs are counted.
fn open_store(data: &Path, meters: &Meters) -> Result<Arc<SledStore>, StoreError> {
    let (options, counted) = (SledOptions::default(), meters.clone());
    let sync = options.sync.clone();
    let timed = move |file: &std::fs::File| {
        let begun = std::time::Instant::now();
        let synced = sync(file);
        counted.synced(begun.elapsed());
        synced
    };
    let options = SledOptions { sync: Arc::new(timed), migration: migration(), ..options };
    Ok(Arc::new(SledStore::open_with(data, &options)?))
}

/// The way to this version's format from the one before: there is none yet.
#[cfg(not(feature = "sim"))]
fn migration() -> Option<Migration> {
    None
}

/// One that tests ask for.
#[cfg(feature = "sim")]
fn migration() -> Option<Migration> {
    super::trial::migration()
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

/// The installation's id and key: made together by the first start, or taken over from one that is lost. A store without its
/// key is refused.
async fn installation(
    options: &ServeOptions,
    ledger: &Ledger,
    ambient: &dyn Ambient,
) -> Result<(String, Arc<dyn Sealer>), ServeError> {
    match (ledger.instance()?, options.instance.clone()) {
        (Some(known), Some(asked)) if known != asked => Err(ServeError::Instance { known, asked }),
        (Some(instance), _) => {
            let key = options.key.open()?;
            match ledger.opens_with(&key)? {
                true => Ok((instance, Arc::new(key))),
                false => Err(ServeError::OtherKey(options.key.shown())),
            }
        }
        (None, asked) => {
            let key = options.key.open_or_create()?;
            let batch = Batch::new();
            let (instance, batch) = match asked {
                // The lost one may not be as lost as it seems: as after a restore, a person has the last word.
                Some(asked) => (asked, batch.put_restored(&ambient.new_id())),
                None => (ambient.new_id(), batch),
            };
            ledger.commit(batch.put_instance(&instance)).await?;
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

/// What a stack names is asked where repositories may be.
fn registry(options: &ServeOptions, keyring: Arc<dyn Keyring>) -> Result<Arc<HttpRegistry>, ServeError> {
    let reach = if options.allow_private_addresses { Reach::Any } else { Reach::Public };
    let registry = HttpRegistry::new(Outbound::new(reach), keyring);
    Ok(Arc::new(registry.map_err(|error| ServeError::Ended(io::Error::other(error)))?))
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

/// Waits until a write has failed and the disk has room again: then the store has to be opened anew. As long as the disk is
/// full that would help nobody, and what is there can still be read.
async fn store_to_be_opened_again(ledger: &Ledger) -> StoreError {
    loop {
        tokio::time::sleep(LOOK_AT_DISK).await;
        let Some(error) = ledger.broken() else { continue };
        // A disk that cannot even be asked is no reason to go on.
        let free = ledger.room().ok().flatten().map_or(u64::MAX, |(free, _)| free);
        if free >= ROOM_TO_OPEN {
            tracing::error!(%error, "a write had failed; the server ends, so that it is started again on a store that is checked");
            return error;
        }
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
