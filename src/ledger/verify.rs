//! Reads every record as what it should be: `skep check`, and the end of `skep restore`.

use super::{Ledger, LedgerError, RecordKey, Versioned, decode, reseal};
use crate::domain::{
    ApiToken, Catalog, CatalogStatus, ClaimOrder, Credential, Deployment, Environment, EnvironmentStatus, Event, Kept,
    Notifier, NotifierStatus, RelayCursor, RepositoryStatus, Sealed, Stack, StackKey, StackStatus, TokenName,
};
use crate::ledger::{Hook, HookDelivery, Once};
use crate::ports::{Entry, Scan, Sealer};

impl Ledger {
    /// Reads every record, looks whether what it refers to is there, and, with the installation's key, whether what is sealed
    /// in it opens. Gives what is wrong, a sentence for each; nothing when all is well. Never a value.
    ///
    /// # Errors
    /// [`LedgerError`] when the store cannot be read at all.
    pub fn verify(&self, sealer: Option<&dyn Sealer>) -> Result<Vec<String>, LedgerError> {
        let mut faults = Vec::new();
        let entries = self.store.scan(&Scan::all("")).map_err(LedgerError::from)?;
        for entry in &entries {
            if let Err(fault) = self.verify_one(entry) {
                faults.push(fault);
            } else if let Some(sealer) = sealer
                && !reseal::opens(&entry.key, &entry.value, sealer)
            {
                faults.push(format!("`{}` holds something that the key file does not open", entry.key));
            }
        }
        Ok(faults)
    }

    /// Whether what is sealed here was sealed with this key: the first version that is kept and the first credential have to open.
    ///
    /// # Errors
    /// [`LedgerError`] when the store cannot be read.
    pub fn opens_with(&self, sealer: &dyn Sealer) -> Result<bool, LedgerError> {
        for kind in ["kept/", "credential/"] {
            let first = self.store.scan(&Scan { limit: 1, ..Scan::all(kind) }).map_err(LedgerError::from)?;
            if first.iter().any(|entry| !reseal::opens(&entry.key, &entry.value, sealer)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether what a stack's versions keep is kept by another Skep: behind a relay, or in an environment that was.
    fn is_relayed(&self, key: &StackKey) -> bool {
        match self.environment(&key.environment) {
            Ok(Some(environment)) => environment.value.relay.is_some(),
            _ => true,
        }
    }

    fn verify_one(&self, entry: &Entry) -> Result<(), String> {
        let kept = |name: Option<&Kept>| match name.map(|name| self.kept(name)) {
            None | Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(format!("`{}`: {error}", entry.key)),
        };
        match RecordKey::parse(&entry.key) {
            RecordKey::Stack(_) => read::<Stack>(entry).map(drop),
            RecordKey::Status(key) => {
                let status = read::<StackStatus>(entry)?;
                kept(status.last_good.as_ref().map(|good| &good.kept).filter(|_| !self.is_relayed(&key)))
            }
            RecordKey::Deployment(_) => {
                let deployment = read::<Deployment>(entry)?;
                kept(deployment.kept.as_ref().filter(|_| !self.is_relayed(&deployment.stack)))
            }
            RecordKey::History(_, id) => {
                read::<()>(entry)?;
                match self.deployment(&id) {
                    Ok(Some(_)) => Ok(()),
                    _ => Err(format!("`{}`: there is no such deployment", entry.key)),
                }
            }
            RecordKey::Environment(_) => read::<Environment>(entry).map(drop),
            RecordKey::EnvironmentStatus(_) => read::<EnvironmentStatus>(entry).map(drop),
            RecordKey::ClaimOrder(_) => read::<ClaimOrder>(entry).map(drop),
            RecordKey::Relay(_) => read::<RelayCursor>(entry).map(drop),
            RecordKey::Hook(_) => read::<Hook>(entry).map(drop),
            RecordKey::Catalog(_) => read::<Catalog>(entry).map(drop),
            RecordKey::CatalogStatus(_) => read::<CatalogStatus>(entry).map(drop),
            RecordKey::Delivery(..) => read::<HookDelivery>(entry).map(drop),
            RecordKey::DeliveryBody(..) => read::<Sealed>(entry).map(drop),
            RecordKey::Notifier(_) => read::<Notifier>(entry).map(drop),
            RecordKey::RepositoryStatus(_) => read::<RepositoryStatus>(entry).map(drop),
            RecordKey::NotifierStatus(_) => read::<NotifierStatus>(entry).map(drop),
            RecordKey::Credential(_) => read::<Credential>(entry).map(drop),
            RecordKey::Token(_) => read::<ApiToken>(entry).map(drop),
            RecordKey::TokenDigest(_) => read::<TokenName>(entry).map(drop),
            RecordKey::TokenUsed(_) => read::<jiff::Timestamp>(entry).map(drop),
            RecordKey::Once(_) => read::<Once>(entry).map(drop),
            RecordKey::Event(_) => read::<Event>(entry).map(drop),
            RecordKey::Kept(_) | RecordKey::Output(..) => read::<Sealed>(entry).map(drop),
            RecordKey::Instance | RecordKey::Restored => read::<String>(entry).map(drop),
            RecordKey::Other(key) => Err(format!("`{key}` is no record that this version knows")),
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(entry: &Entry) -> Result<T, String> {
    decode(entry).map(|found: Versioned<T>| found.value).map_err(|error| error.to_string())
}
