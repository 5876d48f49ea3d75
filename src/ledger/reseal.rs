//! Seals everything that is kept anew, after the installation's key has changed.

use serde_json::Value;
use thiserror::Error;

use super::batch::Batch;
use super::{Ledger, LedgerError};
use crate::domain::{Sealed, SecretBytes};
use crate::ports::{Scan, SealError, Sealer, StoreError};

/// The records that hold something sealed. An event and an idempotency key never do.
const KINDS: [&str; 9] =
    ["credential/", "hook/", "notifier/", "delivery-body/", "stack/", "status/", "deployment/", "kept/", "output/"];

/// Where a deployment keeps what was asked, in the asker's own words.
const REQUESTS: [&str; 2] = ["original_request", "mapped_request"];

/// Why sealing anew broke off. What was done until then stays, and doing it again goes on from there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResealError {
    /// The store.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Something opens with none of the keys.
    #[error("`{key}`: {cause}")]
    Seal {
        /// The record.
        key: String,
        /// Why.
        cause: SealError,
    },
}

impl Ledger {
    /// Opens and seals every sealed value of the records again, record by record; gives how many records that were. The
    /// digests stay as they are: names of objects and kept versions are made of them.
    ///
    /// # Errors
    /// [`ResealError`].
    pub async fn reseal(&self, sealer: &dyn Sealer) -> Result<u64, ResealError> {
        let mut count = 0;
        for kind in KINDS {
            for key in self.store.scan(&Scan::all(kind)).map_err(LedgerError::from)?.into_iter().map(|it| it.key) {
                while let Some(entry) = self.store.get(&key).map_err(LedgerError::from)? {
                    let seal = |cause| ResealError::Seal { key: key.clone(), cause };
                    let Some(changed) = record(&entry.value, sealer).map_err(seal)? else { break };
                    match self.commit(Batch::new().put_bytes(&key, entry.revision, changed)).await {
                        Ok(_) => {
                            count += 1;
                            break;
                        }
                        Err(LedgerError::Store(StoreError::Conflict { .. })) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        Ok(count)
    }
}

/// Whether everything that is sealed in a record opens.
pub(super) fn opens(key: &str, bytes: &[u8], sealer: &dyn Sealer) -> bool {
    !KINDS.iter().any(|kind| key.starts_with(kind)) || record(bytes, sealer).is_ok()
}

/// A record's bytes with what is sealed in them sealed anew; none when nothing is.
fn record(bytes: &[u8], sealer: &dyn Sealer) -> Result<Option<Vec<u8>>, SealError> {
    let Some((schema, json)) = bytes.split_first() else { return Ok(None) };
    let Ok(mut value) = serde_json::from_slice::<Value>(json) else { return Err(SealError::Unreadable) };
    if !values(&mut value, sealer)? {
        return Ok(None);
    }
    let mut changed = vec![*schema];
    serde_json::to_writer(&mut changed, &value).map_err(|_| SealError::Unreadable)?;
    Ok(Some(changed))
}

/// Goes through a value; says whether anything in it was sealed.
fn values(value: &mut Value, sealer: &dyn Sealer) -> Result<bool, SealError> {
    match value {
        Value::Array(items) => items.iter_mut().try_fold(false, |any, item| Ok(values(item, sealer)? | any)),
        Value::Object(map) => {
            let text = |name: &str| map.get(name).and_then(Value::as_str).map(str::to_owned);
            if map.len() == 2
                && let (Some(digest), Some(sealed)) = (text("digest"), text("sealed"))
                && digest.len() == 64
                && digest.bytes().all(|c| c.is_ascii_hexdigit())
            {
                let clear = sealer.open(&Sealed { digest: digest.into(), sealed })?;
                let clear = inside(clear, sealer)?;
                map.insert("sealed".to_owned(), sealer.seal(clear.expose())?.sealed.into());
                return Ok(true);
            }
            // What others sent is kept as it came: it holds nothing of ours, whatever it looks like.
            let own = map.iter_mut().filter(|(name, _)| !REQUESTS.contains(&name.as_str()));
            own.map(|(_, item)| item).try_fold(false, |any, item| Ok(values(item, sealer)? | any))
        }
        _ => Ok(false),
    }
}

/// A kept version is a document that holds sealed values itself.
fn inside(clear: SecretBytes, sealer: &dyn Sealer) -> Result<SecretBytes, SealError> {
    if !clear.expose().starts_with(b"{\"desired\":") {
        return Ok(clear);
    }
    let Ok(mut document) = serde_json::from_slice::<Value>(clear.expose()) else { return Ok(clear) };
    if !values(&mut document, sealer)? {
        return Ok(clear);
    }
    Ok(SecretBytes::new(serde_json::to_vec(&document).map_err(|_| SealError::Unreadable)?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::domain::Kept;
    use crate::seal::KeyFile;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn everything_opens_with_the_new_key_alone_also_what_is_sealed_within() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.key");
        let old = KeyFile::create(&path).unwrap();
        let ledger = Ledger::new(Arc::new(MemoryStore::new()));
        let inner = Sealer::seal(&old, b"inner").unwrap();
        let document = json!({ "desired": {}, "material": { "s": inner }, "secrets": [inner], "warnings": [] });
        let kept = Sealer::seal(&old, document.to_string().as_bytes()).unwrap();
        ledger.commit(Batch::new().put_kept(&kept)).await.unwrap();

        let both = KeyFile::begin_rotation(&path).unwrap();
        assert_eq!(ledger.reseal(&both).await, Ok(1));
        let new = KeyFile::end_rotation(&path).unwrap();
        let found = ledger.kept(&Kept(kept.digest.as_str().to_owned())).unwrap();
        let opened = Sealer::open(&new, &found).unwrap();
        let document: Value = serde_json::from_slice(opened.expose()).unwrap();
        for sealed in [&document["material"]["s"], &document["secrets"][0]] {
            let sealed: Sealed = serde_json::from_value(sealed.clone()).unwrap();
            assert_eq!(Sealer::open(&new, &sealed).unwrap().expose(), b"inner");
            assert_eq!(Sealer::open(&old, &sealed), Err(SealError::Unreadable));
        }
        assert!(matches!(ledger.reseal(&old).await, Err(ResealError::Seal { .. })), "what cannot be opened is told");
    }

    #[test]
    fn what_others_sent_is_no_sealed_value() {
        let key = KeyFile::from_bytes([1; 32]);
        let looks_so = json!({ "digest": "a".repeat(64), "sealed": "x" });
        let mut value = json!({ "original_request": looks_so, "images": { "digest": "1", "sealed": "2" } });
        assert_eq!(values(&mut value, &key), Ok(false));
    }
}
