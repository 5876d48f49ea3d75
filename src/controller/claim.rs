//! Who may write to an environment: a labelled Swarm config with an epoch.
//!
//! The config's name holds the epoch, and Swarm takes a name only once: of two Skeps that claim at the same time one is
//! refused. The highest epoch holds. It is looked up in the snapshot before each round of writes, at no call. A person may
//! order a claim with the next epoch: the Skep that held the Swarm sees it by the engine's event, and only observes from
//! then on. When nobody holds it, because the config was removed, the next one to see that claims it.
//!
//! A Skep restored from a backup has the id of the one it is a copy of, which may still run. So its claims bear the mark of
//! its restore, and only those are its own; and it makes none but at a person's word.

use crate::domain::{Claim, ConfigSpec, Effect, INSTANCE_LABEL, LiveConfig, Material, Snapshot};
use crate::ports::{Swarm, SwarmError};

const NAME: &str = "skep-claim-";
/// The label that marks a claim; its value is the epoch.
pub(super) const CLAIM_LABEL: &str = "dev.skep.claim";

/// The label with the mark of the restore the claimer came from, if it did.
const RESTORED_LABEL: &str = "dev.skep.restored";

/// Who this Skep is to a Swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claimer {
    /// The installation's id.
    pub(super) instance: String,
    /// The mark of the restore it came from, if it did.
    pub(super) restored: Option<String>,
}

fn claims(snapshot: &Snapshot) -> impl Iterator<Item = (u64, &LiveConfig)> {
    snapshot
        .configs
        .range(NAME.to_owned()..)
        .take_while(|(name, _)| name.starts_with(NAME))
        .filter_map(|(_, live)| Some((live.labels.get(CLAIM_LABEL)?.parse().ok()?, live.as_ref())))
}

/// Who holds the environment. [`Claim::Unknown`] when nobody has claimed it.
#[must_use]
pub(super) fn holder(snapshot: &Snapshot, this: &Claimer) -> Claim {
    let Some((epoch, live)) = claims(snapshot).max_by_key(|(epoch, _)| *epoch) else { return Claim::Unknown };
    match live.labels.get(INSTANCE_LABEL) {
        Some(owner) if *owner == this.instance && live.labels.get(RESTORED_LABEL) == this.restored.as_ref() => {
            Claim::Ours(epoch)
        }
        owner => Claim::Foreign { instance: owner.cloned().unwrap_or_default(), epoch },
    }
}

fn spec(this: &Claimer, epoch: u64) -> ConfigSpec {
    let Claimer { instance, restored } = this;
    let labels = [(INSTANCE_LABEL, instance.clone()), (CLAIM_LABEL, epoch.to_string())];
    let restored = restored.iter().map(|mark| (RESTORED_LABEL, mark.clone()));
    ConfigSpec {
        name: format!("{NAME}{epoch}"),
        key: "claim".into(),
        labels: labels.into_iter().chain(restored).map(|(label, value)| (label.to_owned(), value)).collect(),
        data: format!("This Swarm is kept by the Skep with instance id {instance}.\n").into_bytes(),
        templating: None,
    }
}

/// Claims an environment with this epoch. When another is faster, that one holds it; that is not an error.
///
/// # Errors
/// [`SwarmError`] when the engine does not take the config for another reason.
pub(super) async fn make(swarm: &dyn Swarm, this: &Claimer, epoch: u64) -> Result<(), SwarmError> {
    match swarm.apply(&Effect::CreateConfig(spec(this, epoch)), &Material::default()).await {
        Ok(_) | Err(SwarmError::Exists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
