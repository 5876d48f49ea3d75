//! What `/metrics` says: the stacks by phase, the environments, the store. Read from the records when asked.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::domain::phase;
use crate::ledger::{Ledger, LedgerError};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Phase {
    phase: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    environment: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    version: &'static str,
}

/// The metrics as OpenMetrics text; an empty exposition when the records cannot be read.
pub(super) fn text(ledger: &Ledger) -> String {
    let mut text = String::new();
    match registry(ledger) {
        Ok(registry) => {
            if encode(&mut text, &registry).is_err() {
                text.clear();
            }
        }
        Err(error) => tracing::warn!(%error, "the metrics cannot be read"),
    }
    if text.is_empty() { "# EOF\n".to_owned() } else { text }
}

fn registry(ledger: &Ledger) -> Result<Registry, LedgerError> {
    let mut registry = Registry::with_prefix("skep");
    let build = Family::<Version, Gauge>::default();
    build.get_or_create(&Version { version: env!("CARGO_PKG_VERSION") }).set(1);
    registry.register("build_info", "The version that runs", build);
    let stacks = Family::<Phase, Gauge>::default();
    for stack in ledger.stacks(None)? {
        let status = ledger.status(&stack.value.key)?.map(|found| found.value).unwrap_or_default();
        let phase = format!("{:?}", phase(&stack.value, &status));
        stacks.get_or_create(&Phase { phase }).inc();
    }
    registry.register("stacks", "Declared stacks by phase", stacks);
    let connected = Family::<Named, Gauge>::default();
    for environment in ledger.environments()? {
        let name = environment.value.name;
        let up = ledger.environment_status(&name)?.is_some_and(|status| status.value.connected);
        connected.get_or_create(&Named { environment: name.to_string() }).set(i64::from(up));
    }
    registry.register("environment_connected", "Whether an environment's engine answers", connected);
    let revision = Gauge::<u64, AtomicU64>::default();
    revision.set(ledger.revision());
    registry.register("store_revision", "The store's revision: grows with every transaction", revision);
    Ok(registry)
}
