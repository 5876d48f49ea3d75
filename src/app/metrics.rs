//! What `/metrics` says: what was counted, and what stands in the records, read when asked.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::controller::Backlog;
use crate::domain::phase;
use crate::ledger::{Ledger, LedgerError};
use crate::telemetry::Meters;

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge>;
type Number = Gauge<u64, AtomicU64>;

/// How much of a commit is said: as much as people do.
const COMMIT: usize = 12;

/// What is asked when somebody reads the metrics.
pub(super) struct Scraped {
    /// The records.
    pub(super) ledger: Ledger,
    /// What waits for a look.
    pub(super) backlog: Backlog,
    /// What was counted.
    pub(super) meters: Meters,
    /// The data folder.
    pub(super) data: PathBuf,
}

impl Scraped {
    /// The metrics as OpenMetrics text. What cannot be read is left out.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let written = match self.records() {
            Ok(registry) => encode_registry(&mut text, &registry),
            Err(error) => {
                tracing::warn!(%error, "the records cannot be read for the metrics");
                Ok(())
            }
        };
        let written = written.and_then(|()| self.meters.write(&mut text)).and_then(|()| encode_eof(&mut text));
        if written.is_err() {
            // Writing to memory does not fail; half a text would be taken for the whole.
            return "# EOF\n".to_owned();
        }
        text
    }

    fn records(&self) -> Result<Registry, LedgerError> {
        let mut registry = Registry::with_prefix("skep");
        let build = Gauges::default();
        build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
        registry.register("build_info", "The version that runs", build);
        self.stacks(&mut registry)?;
        self.environments(&mut registry)?;
        self.store(&mut registry);
        Ok(registry)
    }

    fn stacks(&self, registry: &mut Registry) -> Result<(), LedgerError> {
        let (by_phase, info) = (Gauges::default(), Gauges::default());
        for stack in self.ledger.stacks(None)? {
            let status = self.ledger.status(&stack.value.key)?.map(|found| found.value).unwrap_or_default();
            let phase = format!("{:?}", phase(&stack.value, &status));
            let environment = stack.value.key.environment.to_string();
            by_phase.get_or_create(&vec![("environment", environment.clone()), ("phase", phase.clone())]).inc();
            let revision = status.live.as_ref().and_then(|live| live.revision.as_ref());
            let revision = revision.map(|it| it.0.chars().take(COMMIT).collect()).unwrap_or_default();
            let labels = vec![
                ("environment", environment),
                ("stack", stack.value.key.name.to_string()),
                ("phase", phase),
                ("mode", format!("{:?}", stack.value.spec.policy.mode)),
                ("revision", revision),
            ];
            info.get_or_create(&labels).set(1);
        }
        registry.register("stacks", "Declared stacks by phase", by_phase);
        registry.register("stack_info", "Each declared stack: its phase, its mode, and the commit that runs", info);
        Ok(())
    }

    fn environments(&self, registry: &mut Registry) -> Result<(), LedgerError> {
        let connected = Gauges::default();
        for environment in self.ledger.environments()? {
            let name = environment.value.name;
            let up = self.ledger.environment_status(&name)?.is_some_and(|status| status.value.connected);
            connected.get_or_create(&vec![("environment", name.to_string())]).set(i64::from(up));
        }
        registry.register("environment_connected", "Whether an environment's engine answers", connected);
        let (depth, later, at_work) = (Gauges::default(), Gauges::default(), Gauges::default());
        for (name, found) in self.backlog.depths() {
            let labels = vec![("environment", name.to_string())];
            let set = |family: &Gauges, count: usize| {
                family.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX))
            };
            set(&depth, found.due);
            set(&later, found.later);
            set(&at_work, found.at_work);
        }
        registry.register("queue_depth", "Stacks that are due for a look and wait for it", depth);
        registry.register("queue_later", "Stacks whose next look has a time that has not come", later);
        registry.register("queue_at_work", "Stacks that are being looked at", at_work);
        Ok(())
    }

    fn store(&self, registry: &mut Registry) {
        let number = |value: u64| {
            let gauge = Number::default();
            gauge.set(value);
            gauge
        };
        let revision = number(self.ledger.revision());
        registry.register("store_revision", "The store's revision: grows with every transaction", revision);
        let size = number(size(&self.data.join("store")).saturating_add(size(&self.data.join("files"))));
        registry.register("store_size_bytes", "What the records and kept files take on the disk", size);
        if let Ok(Some((free, all))) = self.ledger.room() {
            registry.register("store_disk_free_bytes", "What is free on the store's disk", number(free));
            registry.register("store_disk_bytes", "The store's disk", number(all));
        }
    }
}

/// The bytes of the files in a folder and in those below it; of what cannot be read, none. No link is followed.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_file() => found.len(),
        Ok(found) if found.is_dir() => size(&entry.path()),
        // A link, or gone meanwhile.
        _ => 0,
    };
    entries.map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_counts_what_is_in_folders_below_and_follows_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let (data, elsewhere) = (folder.path().join("data"), folder.path().join("elsewhere"));
        std::fs::create_dir_all(data.join("files/ab")).unwrap();
        std::fs::create_dir_all(&elsewhere).unwrap();
        std::fs::write(data.join("db"), [0; 10]).unwrap();
        std::fs::write(data.join("files/ab/abcd"), [0; 200]).unwrap();
        std::fs::write(elsewhere.join("other"), [0; 4000]).unwrap();
        std::os::unix::fs::symlink(&elsewhere, data.join("link")).unwrap();
        std::os::unix::fs::symlink(elsewhere.join("other"), data.join("files/link")).unwrap();
        assert_eq!(size(&data), 210);
        assert_eq!(size(&folder.path().join("nowhere")), 0);
    }
}
