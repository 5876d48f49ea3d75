//! Digests. Everything that may hold a secret is digested with the installation's own key (HMAC-SHA-256), so that a
//! digest seen in a label or a log cannot be used to try out guesses.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A digest as lower-case hex, 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The plain SHA-256 of `bytes`: for what anyone may read, such as a config's content.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex(&Sha256::digest(bytes)))
    }

    /// All 64 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 characters: what stands in the names of configs and secrets.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Digest {
    fn from(text: String) -> Self {
        Self(text)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        text
    })
}

/// Makes keyed digests. The key is the installation's; it never leaves the process.
#[derive(Clone)]
pub struct Digester {
    key: [u8; 32],
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digester(..)")
    }
}

impl Digester {
    /// A digester with this key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// HMAC-SHA-256 of `bytes`.
    #[must_use]
    pub fn digest(&self, bytes: &[u8]) -> Digest {
        // HMAC pads a short key with zeros to the hash's block of 64 bytes (RFC 2104, section 2).
        let mut block = [0_u8; 64];
        block[..32].copy_from_slice(&self.key);
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
        mac.update(bytes);
        Digest(hex(&mac.finalize().into_bytes()))
    }

    /// The keyed digest of a value's canonical JSON.
    #[must_use]
    pub fn digest_of<T: Serialize>(&self, value: &T) -> Digest {
        self.digest(canonical_json(value).as_bytes())
    }
}

/// JSON with the keys of every object sorted, so that equal values give equal text. A value that cannot be written as
/// JSON (none of ours) gives `null`.
#[must_use]
pub fn canonical_json<T: Serialize>(value: &T) -> String {
    fn sort(value: serde_json::Value) -> serde_json::Value {
        match value {
            serde_json::Value::Object(map) => {
                let mut entries: Vec<_> = map.into_iter().map(|(key, value)| (key, sort(value))).collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                serde_json::Value::Object(entries.into_iter().collect())
            }
            serde_json::Value::Array(items) => serde_json::Value::Array(items.into_iter().map(sort).collect()),
            other => other,
        }
    }
    serde_json::to_value(value).map(|value| sort(value).to_string()).unwrap_or_else(|_| "null".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_json_does_not_depend_on_the_order_of_keys() {
        let a: serde_json::Value =
            serde_json::from_str(r#"{"b":{"y":1,"x":2},"a":[{"d":1,"c":2}]}"#).unwrap_or_default();
        assert_eq!(canonical_json(&a), r#"{"a":[{"c":2,"d":1}],"b":{"x":2,"y":1}}"#);
    }

    #[test]
    fn another_key_gives_another_digest() {
        let (a, b) = (Digester::new([1; 32]), Digester::new([2; 32]));
        assert_ne!(a.digest(b"x"), b.digest(b"x"));
        assert_eq!(a.digest(b"x"), a.digest(b"x"));
    }

    #[test]
    fn sha256_is_the_published_one() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(Digest::of(b"abc").as_str(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
