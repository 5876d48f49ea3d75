//! The data key of a file, by age.

use std::io::Read;
use std::str::FromStr;

use age::armor::ArmoredReader;
use age::x25519::Identity;
use zeroize::Zeroizing;

use super::tree::Tree;
use crate::domain::SecretBytes;
use crate::ports::DecryptError;

/// A data key is of this length.
pub(super) const LENGTH: usize = 32;

/// Other keepers of a data key: their place in the metadata, and what they are called.
const OTHERS: [(&str, &str); 6] = [
    ("pgp", "PGP"),
    ("kms", "AWS KMS"),
    ("gcp_kms", "GCP KMS"),
    ("azure_kv", "Azure Key Vault"),
    ("hc_vault", "HashiCorp Vault"),
    ("hckms", "Huawei KMS"),
];

/// The data key that the identity opens.
pub(super) fn data_key(metadata: &Tree, identity: &SecretBytes) -> Result<Zeroizing<[u8; LENGTH]>, DecryptError> {
    let mut group = metadata;
    match metadata.get("key_groups").map_or(&[][..], Tree::items) {
        [] => {}
        [one] => group = one,
        _ => return Err(DecryptError::Split),
    }
    let entries = group.get("age").map_or(&[][..], Tree::items);
    if entries.is_empty() {
        let there = OTHERS.iter().filter(|(key, _)| !group.get(key).map_or(&[][..], Tree::items).is_empty());
        let names: Vec<&str> = there.map(|(_, name)| *name).collect();
        let names = if names.is_empty() { "no recipient that Skep knows of".to_owned() } else { names.join(", ") };
        return Err(DecryptError::OtherKeys(names));
    }
    let identities = identities(identity)?;
    for entry in entries {
        let Some(sealed) = entry.get("enc").and_then(Tree::as_text) else { continue };
        if let Some(key) = open(sealed, &identities)? {
            return Ok(key);
        }
    }
    let recipients: Vec<&str> = entries.iter().filter_map(|it| it.get("recipient")?.as_text()).collect();
    let own: Vec<String> = identities.iter().map(|identity| identity.to_public().to_string()).collect();
    Err(DecryptError::WrongKey { recipients: recipients.join(", "), own: own.join(", ") })
}

/// The identities in what `age-keygen` writes: one a line, beside comments. Identities of other kinds are passed over.
fn identities(text: &SecretBytes) -> Result<Vec<Identity>, DecryptError> {
    let lines = text.expose_text().unwrap_or_default().lines().map(str::trim);
    let found: Result<Vec<Identity>, _> =
        lines.filter(|line| line.starts_with("AGE-SECRET-KEY-1")).map(Identity::from_str).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or(DecryptError::Identity)
}

/// Opens a data key; `None` when it is for somebody else.
fn open(sealed: &str, identities: &[Identity]) -> Result<Option<Zeroizing<[u8; LENGTH]>>, DecryptError> {
    let damaged = || DecryptError::Malformed("the data key of a recipient is damaged".to_owned());
    let decryptor =
        age::Decryptor::new_buffered(ArmoredReader::new(sealed.trim().as_bytes())).map_err(|_| damaged())?;
    let mut reader = match decryptor.decrypt(identities.iter().map(|identity| identity as &dyn age::Identity)) {
        Ok(reader) => reader,
        Err(age::DecryptError::NoMatchingKeys) => return Ok(None),
        Err(_) => return Err(damaged()),
    };
    let mut key = Zeroizing::new([0; LENGTH]);
    reader.read_exact(key.as_mut_slice()).map_err(|_| damaged())?;
    match reader.read(&mut [0]) {
        Ok(0) => Ok(Some(key)),
        _ => Err(damaged()),
    }
}
