//! The keyring over the records: credentials are opened anew each time, so that a change is seen at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Ledger;
use crate::domain::{Credential, CredentialName, CredentialType, SecretBytes};
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
        let print = self.sealer.digester().digest_of(&(&found.id, found.kind, &found.hosts, &found.stacks, digests));
        let Credential { name, id, kind, hosts, stacks, .. } = found;
        Ok(Some(Arc::new(OpenCredential { name, id, kind, hosts, stacks, print, data })))
    }

    fn registry(&self, host: &str, port: u16) -> Result<Option<Arc<OpenCredential>>, KeyringError> {
        let unreadable = |error: crate::ledger::LedgerError| {
            let reason = error.to_string();
            KeyringError::Unreadable { reason }
        };
        let mut found = self.ledger.credentials().map_err(unreadable)?.into_iter().map(|found| found.value);
        let login =
            |it: &Credential| it.kind == CredentialType::Registry && it.hosts.iter().any(|at| at.is(host, port));
        match found.find(login) {
            Some(found) => self.open(&found.name),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::CredentialHost;
    use crate::ledger::Batch;
    use crate::seal::KeyFile;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn the_login_of_a_registry_is_the_first_that_names_it() {
        let (ledger, sealer) = (Ledger::new(Arc::new(MemoryStore::new())), Arc::new(KeyFile::from_bytes([3; 32])));
        let at = jiff::Timestamp::UNIX_EPOCH;
        for (name, kind, host) in [
            ("a", CredentialType::GitToken, "r.example.org"),
            ("b", CredentialType::Registry, "r.example.org:5000"),
            ("c", CredentialType::Registry, "r.example.org"),
            ("d", CredentialType::Registry, "docker.io"),
        ] {
            let credential = Credential {
                name: CredentialName::parse(name).unwrap(),
                id: name.to_owned(),
                kind,
                hosts: vec![CredentialHost::parse(host).unwrap()],
                stacks: Vec::new(),
                data: BTreeMap::from([("token".to_owned(), Sealer::seal(sealer.as_ref(), name.as_bytes()).unwrap())]),
                last_applied: None,
                created_at: at,
                updated_at: at,
            };
            ledger.commit(Batch::new().put_credential(&credential)).await.unwrap();
        }
        let keyring = LedgerKeyring::new(ledger, sealer);
        let token = |host: &str, port: u16| {
            let found = keyring.registry(host, port).unwrap();
            found.map(|open| open.text("token").unwrap_or_default().to_owned())
        };
        assert_eq!(token("r.example.org", 5000).as_deref(), Some("b"));
        assert_eq!(token("r.example.org", 443).as_deref(), Some("c"));
        assert_eq!(token("docker.io", 443).as_deref(), Some("d"));
        assert_eq!(token("s.example.org", 443), None);
    }
}
