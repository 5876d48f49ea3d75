//! Values that must not be seen: they print as `***`, and are wiped when dropped.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Secret bytes in memory. Cannot be serialised; prints as `***`; wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves. Call this only where they are used.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, when they are UTF-8.
    #[must_use]
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A secret as it may be written to disk: sealed with the installation's key, with a keyed digest of the clear value so
/// that two seals of the same value can be seen to be equal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sealed {
    /// Keyed digest of the clear value.
    pub digest: super::Digest,
    /// Nonce and ciphertext, base64.
    pub sealed: String,
}

impl Sealed {
    /// The name it is kept under.
    #[must_use]
    pub fn kept_as(&self) -> super::Kept {
        super::Kept(self.digest.as_str().to_owned())
    }
}

impl PartialEq for Sealed {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}
impl Eq for Sealed {}

/// Replaces known secret values in text that leaves the house: evidence, plans, logs.
#[derive(Clone, Default)]
pub struct Masker {
    values: Vec<Zeroizing<String>>,
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masker({} values)", self.values.len())
    }
}

/// Shorter values than this are not masked: they would hide ordinary text and are no secret worth the name.
const SHORTEST_MASKED: usize = 4;

impl Masker {
    /// A masker of these values. Of a value of several lines each line is masked too; the longest are replaced first.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a SecretBytes>) -> Self {
        let mut masked: Vec<Zeroizing<String>> = Vec::new();
        for text in values.into_iter().filter_map(SecretBytes::expose_text) {
            for part in std::iter::once(text.trim()).chain(text.lines().map(str::trim)) {
                if part.len() >= SHORTEST_MASKED && !masked.iter().any(|known| known.as_str() == part) {
                    masked.push(Zeroizing::new(part.to_owned()));
                }
            }
        }
        masked.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        Self { values: masked }
    }

    /// `text` with every known value replaced by `***`.
    #[must_use]
    pub fn mask(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for value in &self.values {
            if text.contains(value.as_str()) {
                text = text.replace(value.as_str(), "***");
            }
        }
        text
    }

    /// The same for text whose end is missing: an end that may be the beginning of a known value is masked, too.
    #[must_use]
    pub fn mask_cut(&self, text: &str) -> String {
        let mut text = self.mask(text);
        let longest = |value: &Zeroizing<String>| {
            let begins = |end: &usize| value.get(..*end).is_some_and(|part| text.ends_with(part));
            (1..value.len()).rev().find(begins)
        };
        if let Some(length) = self.values.iter().filter_map(longest).max() {
            text.truncate(text.len() - length);
            text.push_str("***");
        }
        text
    }

    /// Masks what either masks.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for value in &other.values {
            if !self.values.contains(value) {
                self.values.push(value.clone());
            }
        }
        self.values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self
    }

    /// Masks every string inside a JSON value.
    #[must_use]
    pub fn mask_json(&self, value: &serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::String(text) => Value::String(self.mask(text)),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.mask_json(item)).collect()),
            Value::Object(map) => {
                Value::Object(map.iter().map(|(key, value)| (self.mask(key), self.mask_json(value))).collect())
            }
            other => other.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_stars() {
        assert_eq!(format!("{:?}", SecretBytes::new(b"hunter2".to_vec())), "***");
    }

    #[test]
    fn known_values_and_their_lines_are_masked_longest_first() {
        let secrets = [SecretBytes::new(b"hunter2\nsecond line\n".to_vec()), SecretBytes::new(b"hunter".to_vec())];
        let masker = Masker::new(&secrets);
        assert_eq!(masker.mask("a hunter2 b second line c hunter d"), "a *** b *** c *** d");
    }

    #[test]
    fn a_text_that_was_cut_ends_in_no_half_of_a_value() {
        let masker = Masker::new(&[SecretBytes::new(b"hunter2".to_vec())]);
        assert_eq!(masker.mask_cut("is hunter2 or hunte"), "is *** or ***");
        assert_eq!(masker.mask_cut("is hunter2"), "is ***");
        assert_eq!(masker.mask_cut("nothing"), "nothing");
        let both = masker.and(&Masker::new(&[SecretBytes::new(b"hunter2hunter2".to_vec())]));
        assert_eq!(both.mask("hunter2hunter2 hunter2"), "*** ***");
    }

    #[test]
    fn a_value_too_short_to_be_a_secret_is_left() {
        assert_eq!(Masker::new(&[SecretBytes::new(b"a".to_vec())]).mask("banana"), "banana");
    }
}
