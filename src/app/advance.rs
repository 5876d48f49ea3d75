//! The way to a newer format of the data folder is gone only by a version that works: after its first healthy round.

use std::sync::Arc;
use std::time::Duration;

use crate::controller::Backlog;
use crate::ledger::{Ledger, LedgerError};
use crate::store::sled::SledStore;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);
/// So many looks in a row have to find all well: right after the connection nothing waits yet.
const LOOKS: u32 = 4;

/// Waits for the first healthy round, and leads the store to this version's format.
pub(super) async fn after_a_healthy_round(store: Arc<SledStore>, ledger: Ledger, backlog: Backlog) {
    let (ledger, backlog) = (&ledger, &backlog);
    lead_on(&store, || async move { round_went_well(ledger, backlog).await.unwrap_or(false) }).await;
}

/// Looks until all was well often enough, and leads the store on. Nothing is written before.
async fn lead_on<F: Future<Output = bool>>(store: &SledStore, look: impl Fn() -> F) {
    match store.pending_format() {
        Ok(None) => return,
        Ok(Some(format)) => {
            tracing::info!(format, "the data folder is of an older format; it is kept so until a round went well");
        }
        Err(error) => return tracing::error!(%error, "the format of the data folder cannot be read"),
    }
    let mut well = 0;
    while well < LOOKS {
        tokio::time::sleep(PAUSE).await;
        well = if look().await { well + 1 } else { 0 };
        tracing::debug!(well, of = LOOKS, "the data folder is still of the older format");
    }
    match store.advance().await {
        Ok(Some(backup)) => tracing::info!(backup = %backup.display(), "the data folder has the newest format now"),
        Ok(None) => {}
        Err(error) => {
            tracing::error!(%error, "the data folder keeps its older format; that is tried again at the next start");
        }
    }
}

/// Every environment that is declared answers this process (of one behind a relay, the other Skep has said so), none of its
/// stacks waits for a look, and the store takes writes.
async fn round_went_well(ledger: &Ledger, backlog: &Backlog) -> Result<bool, LedgerError> {
    for environment in ledger.environments()? {
        let name = &environment.value.name;
        let well = match environment.value.relay {
            Some(_) => ledger.environment_status(name)?.is_some_and(|status| status.value.connected),
            None => backlog.has_caught_up(name),
        };
        if !well {
            return Ok(false);
        }
    }
    Ok(ledger.takes_writes().await.is_ok())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::ports::{Scan, Store, Transaction, Write};
    use crate::store::sled::{FORMAT, Migration, Point, SledOptions};

    /// A store of the format before, and a way to the next one that leaves a word in each record. At its beginning the backup
    /// has to be there, and the format to be the older one still.
    async fn older(data: &Path) -> SledStore {
        let folder = data.to_owned();
        let at = move |point: Point| {
            if point == Point::Before {
                assert!(backup(&folder).exists(), "the backup comes first");
                assert_eq!(format(&folder), format!("skep data format {FORMAT}\n"));
            }
            Ok(())
        };
        let step = |_: &str, value: &[u8]| value.starts_with(b"old").then(|| [b"new ", value].concat());
        let migration = Migration { to: FORMAT + 1, readable_from: FORMAT, step: Arc::new(step), at: Arc::new(at) };
        let options = SledOptions { migration: Some(migration), ..SledOptions::default() };
        let store = SledStore::open_with(data, &options).unwrap();
        let write = Write::Put { key: "a".into(), value: b"old a".to_vec() };
        store.commit(Transaction { expects: Vec::new(), writes: vec![write] }).await.unwrap();
        store
    }

    fn backup(data: &Path) -> std::path::PathBuf {
        data.join(format!("before-format-{}.tar", FORMAT + 1))
    }

    fn format(data: &Path) -> String {
        std::fs::read_to_string(data.join("format")).unwrap()
    }

    fn value(store: &SledStore) -> Vec<u8> {
        store.scan(&Scan::all("")).unwrap()[0].value.to_vec()
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_healthy_round_nothing_is_written_in_the_new_format() {
        let folder = tempfile::tempdir().unwrap();
        let store = older(folder.path()).await;
        let looks = AtomicUsize::new(0);
        // Three out of four times all is well.
        let look = || async { looks.fetch_add(1, Ordering::Relaxed) % 4 != 3 };
        let hour = Duration::from_secs(3600);
        let ended = tokio::time::timeout(hour, lead_on(&store, look)).await;
        assert!(ended.is_err(), "it goes on looking");
        assert!(looks.load(Ordering::Relaxed) > 1000);
        assert_eq!(format(folder.path()), format!("skep data format {FORMAT}\n"));
        assert!(!backup(folder.path()).exists());
        assert_eq!(value(&store), b"old a");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_healthy_round_it_is_led_on_once_and_a_backup_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let store = older(folder.path()).await;
        let looks = AtomicUsize::new(0);
        let look = || async { looks.fetch_add(1, Ordering::Relaxed) != 3 };
        lead_on(&store, look).await;
        assert_eq!(looks.load(Ordering::Relaxed), 8, "three were well, one was not, and then four were");
        assert_eq!(format(folder.path()), format!("skep data format {} readable from {FORMAT}\n", FORMAT + 1));
        assert!(backup(folder.path()).exists());
        assert_eq!(value(&store), b"new old a");
        // There is nothing more to be done, and nothing to look for.
        lead_on(&store, look).await;
        assert_eq!(looks.load(Ordering::Relaxed), 8);
    }
}
