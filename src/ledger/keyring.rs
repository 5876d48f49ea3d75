//! The keyring over the records: credentials are opened anew each time, so that a change is seen at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Ledger;
use crate::domain::{Credential, CredentialName, SecretBytes};
use crate::ports::{Keyring, KeyringError, OpenCredential, SealError, Sealer};

/// Credentials from the ledger, opened with the installation's key.
#[derive(Clone)]
pub struct LedgerKeyring {
    ledger: Ledger,
    sealer: Arc<dyn Sealer>,
}

impl LedgerKeyring {
    /// A keyring over these.
    #[must_use]
    pub fn new(ledger: Ledger, sealer: Arc<dyn Sealer>) -> Self {
        Self { ledger, sealer }
    }
}

/// Opens the values of a credential.
///
/// # Errors
/// [`SealError`].
pub fn open_values(credential: &Credential, sealer: &dyn Sealer) -> Result<BTreeMap<String, SecretBytes>, SealError> {
    credential.data.iter().map(|(key, sealed)| Ok((key.clone(), sealer.open(sealed)?))).collect()
}

impl Keyring for LedgerKeyring {
    fn open(&self, name: &CredentialName) -> Result<Option<Arc<OpenCredential>>, KeyringError> {
        let unusable = |reason: String| KeyringError::Unusable { name: name.clone(), reason };
        let found = self.ledger.credential(name).map_err(|error| unusable(error.to_string()))?;
        let Some(found) = found.map(|found| found.value) else { return Ok(None) };
        let data = open_values(&found, self.sealer.as_ref()).map_err(|error| unusable(error.to_string()))?;
        let digests: BTreeMap<&String, &str> =
            found.data.iter().map(|(key, sealed)| (key, sealed.digest.as_str())).collect();
        let print = self.sealer.digester().digest_of(&(&found.id, found.kind, &found.hosts, digests));
        let Credential { name, id, kind, hosts, .. } = found;
        Ok(Some(Arc::new(OpenCredential { name, id, kind, hosts, print, data })))
    }
}
