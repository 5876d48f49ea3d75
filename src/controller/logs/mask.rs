//! The secrets of all versions whose tasks may be writing.

use std::collections::BTreeMap;

use super::scene::Scene;
use crate::domain::{DeploymentId, Kept, Masker};
use crate::ledger::LedgerError;

/// The newest deployments whose secrets are masked: tasks of the ones before may still be there.
const NEWEST: usize = 5;
/// So many before an older one.
const BEFORE: usize = 2;

/// What must not be shown.
#[derive(Default)]
pub(super) struct Masks {
    /// Of versions that were kept, as far as they were read.
    kept: BTreeMap<Kept, Masker>,
    /// Versions in memory, as they were when the masker was made.
    in_memory: Vec<DeploymentId>,
    /// All together.
    masker: Masker,
    /// A version's secrets cannot be read: what services write cannot be shown.
    pub(super) unreadable: Option<String>,
}

impl Masks {
    /// The masks of a scene.
    pub(super) fn of(scene: &Scene) -> Result<Self, LedgerError> {
        let mut masks = Self::default();
        masks.look_again(scene)?;
        Ok(masks)
    }

    /// The masker, with what is known by now. A version is in memory before the first task of it is.
    pub(super) fn masker(&mut self, scene: &Scene) -> &Masker {
        let known = scene.shared.renditions.all_of(&scene.key);
        if known.len() != self.in_memory.len() || known.iter().any(|(id, _)| !self.in_memory.contains(id)) {
            let add = |all: Masker, more: &Masker| all.and(more);
            let kept = self.kept.values().fold(Masker::default(), add);
            self.masker = known.iter().fold(kept, |all, (_, rendition)| all.and(&rendition.masker()));
            self.in_memory = known.into_iter().map(|(id, _)| id).collect();
        }
        &self.masker
    }

    /// Reads what was kept of versions since.
    pub(super) fn look_again(&mut self, scene: &Scene) -> Result<(), LedgerError> {
        let ledger = &scene.shared.ledger;
        let mut versions = ledger.history(&scene.key, None, NEWEST)?;
        if let Some(deployment) = &scene.deployment {
            versions.extend(ledger.history(&scene.key, Some(&deployment.id), BEFORE)?);
            versions.extend(ledger.deployment(&deployment.id)?);
        }
        let good = ledger.status(&scene.key)?.and_then(|status| status.value.last_good).map(|good| good.kept);
        self.unreadable = None;
        for name in versions.into_iter().filter_map(|found| found.value.kept).chain(good) {
            if self.kept.contains_key(&name) {
                continue;
            }
            match scene.shared.renderer.kept(&name) {
                Ok(rendition) => {
                    let masker = rendition.masker();
                    self.masker = std::mem::take(&mut self.masker).and(&masker);
                    self.kept.insert(name, masker);
                }
                Err(error) => self.unreadable = Some(error.to_string()),
            }
        }
        Ok(())
    }
}
