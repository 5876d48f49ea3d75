//! `skep simulate --serve`: API, controller and page over a simulated Swarm in real time, for whoever works on the page. Nothing
//! is kept, and no engine is asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::ambient::SystemAmbient;
use crate::api::{ApiOptions, ApiParts, ApiState, Auth, Listen, Routes, bind, rest};
use crate::cli::{HostError, SimulateArgs};
use crate::controller::{Controller, Parts};
use crate::declare::{ApplyOptions, Ask, Declare, DeployRequest, Limits};
use crate::domain::{Actor, Environment, EnvironmentName, StackKey, StackName, Trigger};
use crate::ledger::{Batch, Ledger};
use crate::ports::{Ambient, NoLog, NoNotifiers, Sealer};
use crate::registry::memory::MemoryRegistry;
use crate::seal::KeyFile;
use crate::source::memory::MemorySource;
use crate::source::sops::SopsFiles;
use crate::store::memory::MemoryStore;
use crate::swarm::sim::{Behaviour, SimConnector, SimNode, SimOptions, SimSwarm};
use crate::telemetry::{Meters, Tracer};

/// Documents that are declared at once.
const AT_ONCE: usize = 100;
/// Of so many changes one is to a version that is never healthy.
const ONE_BAD_OF: u64 = 25;

/// Serves until it is interrupted.
pub(super) fn serve(address: SocketAddr, args: &SimulateArgs, say: &mut dyn FnMut(&str)) -> Result<bool, HostError> {
    if !address.ip().is_loopback() {
        return Err(HostError::Usage(format!(
            "{address} is not a loopback address: what is simulated is for this machine"
        )));
    }
    super::tls::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(run(address, args, say))
}

fn failed(error: impl std::fmt::Display) -> HostError {
    HostError::Failed(error.to_string())
}

async fn run(address: SocketAddr, args: &SimulateArgs, say: &mut dyn FnMut(&str)) -> Result<bool, HostError> {
    let workers = (2..=5).map(|n| SimNode::worker(format!("node-{n}")));
    let nodes = std::iter::once(SimNode::manager("node-1")).chain(workers);
    let swarm = SimSwarm::new(SimOptions::default().seed(args.seed).nodes(nodes));
    swarm.image("app:broken", Behaviour::Unhealthy { after: Duration::from_secs(2) });
    let ambient: Arc<dyn Ambient> = Arc::new(swarm.ambient(args.seed));
    let ledger = Ledger::new(Arc::new(MemoryStore::new()));
    let sealer: Arc<dyn Sealer> = Arc::new(KeyFile::from_bytes([7; 32]));
    let name = EnvironmentName::default();
    let environment =
        Environment { name: name.clone(), endpoints: vec!["unix:///simulated".into()], ..Environment::default() };
    ledger.commit(Batch::new().put_environment(&environment)).await.map_err(failed)?;
    let cancel = CancellationToken::new();
    let meters = Meters::new();
    let parts = Parts {
        far: Arc::new(crate::ports::NoFar),
        ledger: ledger.clone(),
        ambient: ambient.clone(),
        sealer: sealer.clone(),
        source: Arc::new(MemorySource::new()),
        registry: Arc::new(MemoryRegistry::new()),
        decrypter: Arc::new(SopsFiles),
        connector: Arc::new(SimConnector::new().with(name.as_str(), swarm)),
        instance: "simulated".to_owned(),
        restored: None,
        meters: meters.clone(),
        tracer: Tracer::default(),
    };
    let controller = Controller::new(parts, cancel.clone());
    let declare = Declare::new(ledger.clone(), sealer, ambient.clone(), Limits::default());
    let chance = SystemAmbient::default();
    let token = format!("{:016x}{:016x}", chance.random(), chance.random());
    let state = ApiState::new(ApiParts {
        declare: declare.clone(),
        ledger,
        inquiries: controller.inquiries(),
        notifiers: Arc::new(NoNotifiers),
        log: Arc::new(NoLog),
        auth: Arc::new(Auth::with_token(&token)),
        ambient: ambient.clone(),
        ready: Arc::new(AtomicBool::new(true)),
        metrics: Arc::new(String::new),
        meters,
        tracer: Tracer::default(),
        options: ApiOptions::default(),
    });
    let more: Routes = Arc::new(rest::routes);
    let bound = bind(Listen { address, tls: None, workers: 2 }, state, more).map_err(failed)?;
    let server = tokio::spawn(bound.server);
    tokio::spawn(async move { controller.run().await });
    let keys = declare_stacks(&declare, args.stacks).await?;
    say(&format!("token: {token}"));
    say(&format!("skep: listening on http://{}", bound.address));
    tokio::select! {
        ended = server => ended.map_err(failed)?.map_err(failed)?,
        () = change(&declare, ambient.as_ref(), &keys, args.changes) => {}
        asked = tokio::signal::ctrl_c() => asked.map_err(failed)?,
    }
    cancel.cancel();
    Ok(true)
}

async fn declare_stacks(declare: &Declare, count: u32) -> Result<Vec<StackKey>, HostError> {
    let names: Vec<String> = (1..=count).map(|number| format!("stack-{number:04}")).collect();
    let ask = Ask::new(Actor::new("simulated"), Trigger::Api);
    for some in names.chunks(AT_ONCE) {
        let manifest = |name: &String| {
            format!(
                "kind: Stack\nname: {name}\npolicy: {{ monitor: 1s, progressDeadline: 30s }}\ninline: |\n  services:\n    \
                 web: {{ image: \"app:1\", deploy: {{ replicas: 2 }} }}\n    worker: {{ image: \"worker:1\" }}\n"
            )
        };
        let manifests: Vec<String> = some.iter().map(manifest).collect();
        declare.apply(&manifests.join("---\n"), &ApplyOptions::default(), &ask).await.map_err(failed)?;
    }
    let key = |name: String| {
        let name = StackName::parse(&name).map_err(failed)?;
        Ok(StackKey { environment: EnvironmentName::default(), name })
    };
    names.into_iter().map(key).collect()
}

/// Deploys other versions of stacks, so many a second, for as long as it is asked.
async fn change(declare: &Declare, ambient: &dyn Ambient, keys: &[StackKey], a_second: u32) {
    let Some(pause) = Duration::from_secs(1).checked_div(a_second).filter(|_| !keys.is_empty()) else {
        return std::future::pending().await;
    };
    let ask = Ask::new(Actor::new("ada"), Trigger::Api);
    let mut tick = tokio::time::interval(pause);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 2_u64.. {
        tick.tick().await;
        let count = u64::try_from(keys.len()).unwrap_or(1);
        let Some(key) = usize::try_from(ambient.random() % count).ok().and_then(|at| keys.get(at)) else { continue };
        let version = if number % ONE_BAD_OF == 0 { "broken".to_owned() } else { number.to_string() };
        let images = BTreeMap::from([("web".to_owned(), version)]);
        if let Err(error) = declare.deploy(key, &DeployRequest { images, ..DeployRequest::default() }, &ask).await {
            tracing::warn!(%error, stack = %key, "a simulated change was refused");
        }
    }
}
