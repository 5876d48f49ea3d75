//! `sha256=` and the HMAC of the raw body, in hex: GitHub's form, which the generic provider has too.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::SecretBytes;

/// Whether a header signs this body with this secret. Takes the same time for every wrong signature, also for one that is
/// missing or has another form.
pub(super) fn signs(secret: &SecretBytes, body: &[u8], header: Option<&str>) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose()) else { return false };
    mac.update(body);
    // A signature that cannot be read is compared all the same, and then counts for nothing.
    let (shown, readable) = match header.and_then(read) {
        Some(bytes) => (bytes, true),
        None => ([0; 32], false),
    };
    mac.verify_slice(&shown).is_ok() & readable
}

fn read(header: &str) -> Option<[u8; 32]> {
    let hex = header.trim().strip_prefix("sha256=")?.as_bytes();
    let mut bytes = [0; 32];
    if hex.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GitHub's own example: docs.github.com, "Validating webhook deliveries".
    const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn secret() -> SecretBytes {
        SecretBytes::new(b"It's a Secret to Everybody".to_vec())
    }

    #[test]
    fn the_published_example_is_right() {
        assert!(signs(&secret(), b"Hello, World!", Some(SIGNATURE)));
        assert!(signs(&secret(), b"Hello, World!", Some(&SIGNATURE.to_uppercase().replace("SHA", "sha"))));
    }

    #[test]
    fn everything_else_is_wrong() {
        for bad in [
            None,
            Some(""),
            Some("sha256="),
            Some(&SIGNATURE[7..]),
            Some(&SIGNATURE[..70]),
            Some(&SIGNATURE.replace("sha256", "sha1")),
            Some(&SIGNATURE.replace('7', "8")),
            Some(&format!("{SIGNATURE}00")),
        ] {
            assert!(!signs(&secret(), b"Hello, World!", bad), "{bad:?}");
        }
        assert!(!signs(&secret(), b"Hello, World?", Some(SIGNATURE)));
        assert!(!signs(&SecretBytes::new(b"another".to_vec()), b"Hello, World!", Some(SIGNATURE)));
    }
}
