//! What can be found out without a server: the data folder, and the engine of this machine.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::serve::LOCAL_ENGINE;
use crate::domain::Environment;
use crate::ports::{Area, Finding, Health, StoreError, SwarmConnector};
use crate::seal::KeySource;
use crate::store::sled::SledStore;
use crate::swarm::docker::{DockerConnector, DockerOptions};

/// How long the engine may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks at both.
pub(super) fn examine(data: &Path, key: &KeySource) -> Vec<Finding> {
    let mut findings = folder(data, key);
    findings.push(engine());
    findings
}

fn finding(area: Area, subject: &str, outcome: Result<String, (String, String)>) -> Finding {
    let (health, message, mend) = match outcome {
        Ok(message) => (Health::Good, message, None),
        Err((message, mend)) => (Health::Bad, message, Some(mend)),
    };
    Finding { area, subject: subject.to_owned(), health, message, mend }
}

fn folder(data: &Path, key: &KeySource) -> Vec<Finding> {
    let shown = data.display().to_string();
    let Ok(about) = std::fs::metadata(data) else {
        let nothing =
            finding(Area::Store, &shown, Ok("there is no data folder here; the server may be elsewhere".into()));
        return vec![nothing];
    };
    let mut findings = Vec::new();
    if about.mode() & 0o077 != 0 {
        let text = format!("others can look into it (mode {:04o})", about.mode() & 0o7777);
        findings.push(finding(Area::Store, &shown, Err((text, format!("chmod 700 {shown}")))));
    }
    if data.join("format").exists() {
        let store = match SledStore::look(data) {
            Ok(_) => Ok("every record and file is whole".to_owned()),
            Err(StoreError::Locked(_)) => Ok("a server has it open".to_owned()),
            Err(error) => Err((error.to_string(), "restore a backup: `skep restore FILE --key seal.key`".to_owned())),
        };
        findings.push(finding(Area::Store, &shown, store));
        let opened = key.open().map(|_| "the key can be read".to_owned());
        let mend = "put back the one that belongs to this folder, with mode 0600".to_owned();
        let opened = opened.map_err(|error| (error.to_string(), mend));
        findings.push(finding(Area::Store, &key.shown(), opened));
    }
    findings
}

fn engine() -> Finding {
    let named = std::env::var("DOCKER_HOST").ok().filter(|url| !url.is_empty());
    let endpoint = named.unwrap_or_else(|| LOCAL_ENGINE.to_owned());
    let environment = Environment { endpoints: vec![endpoint.clone()], ..Environment::default() };
    let asked = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.block_on(async {
            let swarm = DockerConnector::new(DockerOptions::default()).connect(&environment);
            let swarm = swarm.map_err(|error| error.to_string())?;
            match tokio::time::timeout(PATIENCE, swarm.info()).await {
                Ok(info) => info.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no answer in {PATIENCE:?}")),
            }
        })
    };
    let mend = "start it; see that this user may open its socket; `docker swarm init` makes it a manager".to_owned();
    let outcome = asked().map(|info| format!("answers: engine {}, API {}", info.engine, info.api));
    finding(Area::Engine, &endpoint, outcome.map_err(|message| (message, mend)))
}
