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
        well = if round_went_well(&ledger, &backlog).await.unwrap_or(false) { well + 1 } else { 0 };
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
