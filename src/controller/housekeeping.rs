//! What is not needed any more is taken away: old deployments with what was kept for them, and marks of requests that nobody
//! sends again. Slowly, beside everything else.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::shared::Shared;
use crate::domain::{Deployment, DeploymentId, Kept, Repository, StackKey, VersionSource};
use crate::ledger::{Batch, LedgerError, RecordKey};
use crate::ports::StoreError;

/// The first round comes so long after the start, and each other one so long after the last.
const FIRST: Duration = Duration::from_secs(600);
const PERIOD: Duration = Duration::from_secs(6 * 3600);
/// So many deployments of each stack are kept whatever their age.
const NEWEST: usize = 100;
/// Older ones, and those of stacks that are gone, are kept for so long.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);
/// An idempotency key is remembered for so long.
const REQUESTS: SignedDuration = SignedDuration::from_hours(30 * 24);
/// And the id of a hook's delivery: whoever got hold of a signed one may send it late.
const DELIVERIES: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Records that one transaction deletes.
const AT_ONCE: usize = 50;

/// What a round took away.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Swept {
    /// Deployments.
    pub deployments: u64,
    /// Documents kept for them.
    pub kept: u64,
    /// Marks of requests and deliveries.
    pub marks: u64,
}

/// Round after round, until it is cancelled.
pub(super) async fn run(shared: &Shared) {
    tokio::time::sleep(FIRST).await;
    loop {
        match sweep(shared).await {
            Ok(swept) if swept == Swept::default() => {}
            Ok(swept) => tracing::info!(?swept, "old records were taken away"),
            Err(error) => tracing::warn!(%error, "old records cannot be taken away; tried again later"),
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// One round.
pub(super) async fn sweep(shared: &Shared) -> Result<Swept, LedgerError> {
    let (now, mut swept) = (shared.ambient.now(), Swept::default());
    for (key, ids) in shared.ledger.histories()? {
        while sweep_stack(shared, &key, &ids, now, &mut swept).await? {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
    }
    sweep_marks(shared, now, &mut swept).await?;
    sweep_repositories(shared).await?;
    // The files of what was deleted.
    shared.ledger.collect(&BTreeSet::new())?;
    Ok(swept)
}

/// Takes some deployments of one stack away; whether there may be more.
async fn sweep_stack(
    shared: &Shared,
    key: &StackKey,
    ids: &[DeploymentId],
    now: Timestamp,
    swept: &mut Swept,
) -> Result<bool, LedgerError> {
    let ledger = &shared.ledger;
    let (stack, status) = (ledger.stack(key)?, ledger.status(key)?);
    let newest = if stack.is_some() { NEWEST } else { 0 };
    if ids.len() <= newest {
        return Ok(false);
    }
    // Whatever the stack or its status names stays, whatever it is named for.
    let mut named = BTreeSet::new();
    texts(&serde_json::to_value(stack.as_ref().map(|found| &found.value)).unwrap_or_default(), &mut named);
    texts(&serde_json::to_value(status.as_ref().map(|found| &found.value)).unwrap_or_default(), &mut named);
    let (mut needed, mut old) = (BTreeSet::new(), Vec::new());
    for (at, id) in ids.iter().enumerate() {
        let Some(deployment) = ledger.deployment(id)?.map(|found| found.value) else { continue };
        let stays = at < newest || named.contains(id.as_str()) || !is_old(&deployment, now);
        if stays || needed.contains(id.as_str()) {
            needs(&deployment, &mut needed);
        } else {
            old.push(deployment);
        }
    }
    // A younger one may bring back what an older one kept, which was looked at after it: ids are the newest first.
    old.retain(|deployment| !needed.contains(deployment.id.as_str()));
    let others =
        ledger.stacks(None)?.into_iter().any(|found| found.value.key.name == key.name && found.value.key != *key);
    let mut batch = Batch::new()
        .expect(&RecordKey::Stack(key.clone()), stack.as_ref().map(|found| found.revision))
        .expect(&RecordKey::Status(key.clone()), status.as_ref().map(|found| found.revision));
    let (mut gone, mut kept) = (0, BTreeSet::new());
    // The oldest first: what is left is always the newer part.
    for deployment in old.iter().rev().take(AT_ONCE) {
        kept.extend(deployment.kept.clone());
        batch = batch.delete_deployment(deployment).put_output(key, &deployment.id, None);
        gone += 1;
    }
    if gone == 0 {
        return Ok(false);
    }
    // Stacks of one name in two environments may keep the same document.
    let still: BTreeSet<&Kept> = old.iter().rev().skip(AT_ONCE).filter_map(|it| it.kept.as_ref()).collect();
    kept.retain(|name| !others && !named.contains(&name.0) && !needed.contains(&name.0) && !still.contains(name));
    batch = kept.iter().fold(batch, Batch::delete_kept);
    match ledger.commit(batch).await {
        Ok(_) => {
            swept.deployments += gone;
            swept.kept += kept.len() as u64;
            Ok(old.len() > AT_ONCE)
        }
        // Somebody works on the stack: there is a next round.
        Err(LedgerError::Store(StoreError::Conflict { .. })) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_old(deployment: &Deployment, now: Timestamp) -> bool {
    deployment.phase.is_terminal()
        && deployment.finished_at.is_some_and(|finished| now.duration_since(finished) >= KEPT_FOR)
}

/// What a deployment that stays needs of others.
fn needs(deployment: &Deployment, needed: &mut BTreeSet<String>) {
    if let VersionSource::Kept(id) = &deployment.version.source {
        needed.insert(id.0.clone());
    }
    needed.extend(deployment.rollback_of.iter().chain(&deployment.rolled_back_by).map(|id| id.0.clone()));
    needed.extend(deployment.kept.iter().map(|kept| kept.0.clone()));
}

/// All texts of a value.
fn texts(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => drop(found.insert(text.clone())),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(map) => map.values().for_each(|item| texts(item, found)),
        _ => {}
    }
}

/// Forgets repositories of images that no stack follows any more: one that went while nobody looked leaves its record.
async fn sweep_repositories(shared: &Shared) -> Result<(), LedgerError> {
    let statuses = shared.ledger.statuses()?;
    let followed: BTreeSet<&Repository> =
        statuses.iter().flat_map(|(_, status)| status.followed.values().map(|it| &it.repository)).collect();
    for repository in shared.ledger.repository_statuses()?.keys().filter(|it| !followed.contains(it)) {
        shared.ledger.commit(Batch::new().delete_repository_status(repository)).await?;
    }
    Ok(())
}

async fn sweep_marks(shared: &Shared, now: Timestamp, swept: &mut Swept) -> Result<(), LedgerError> {
    let old: Vec<String> = shared
        .ledger
        .all_once()?
        .into_iter()
        .filter(|(key, once)| {
            let most = if key.starts_with("delivery/") { DELIVERIES } else { REQUESTS };
            now.duration_since(once.at) >= most
        })
        .map(|(key, _)| key)
        .collect();
    for part in old.chunks(AT_ONCE) {
        shared.ledger.commit(part.iter().fold(Batch::new(), |batch, key| batch.delete_once(key))).await?;
        swept.marks += part.len() as u64;
        tokio::task::yield_now().await;
    }
    Ok(())
}
