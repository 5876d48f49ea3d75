//! How a delivery proves that it comes from who knows the secret. Each takes the same time for every wrong proof, also for
//! one that is missing or has another form.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::domain::SecretBytes;

/// Whether a header holds the HMAC-SHA256 of this body by this secret, in hex after `prefix`.
pub(super) fn signs(secret: &SecretBytes, body: &[u8], prefix: &str, header: Option<&str>) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose()) else { return false };
    mac.update(body);
    // A signature that cannot be read is compared all the same, and then counts for nothing.
    let (shown, readable) = match header.and_then(|header| read(header.trim().strip_prefix(prefix)?)) {
        Some(bytes) => (bytes, true),
        None => ([0; 32], false),
    };
    mac.verify_slice(&shown).is_ok() & readable
}

/// Whether a header holds the secret itself, after `prefix`. Says nothing of the body.
pub(super) fn shows(secret: &SecretBytes, prefix: &str, header: Option<&str>) -> bool {
    let shown = header.and_then(|header| header.trim().strip_prefix(prefix));
    // Digests: so neither the length nor the first difference can be told by the time.
    let (right, found) = (Sha256::digest(secret.expose()), Sha256::digest(shown.unwrap_or_default()));
    bool::from(right.ct_eq(&found)) & shown.is_some()
}

fn read(hex: &str) -> Option<[u8; 32]> {
    let hex = hex.as_bytes();
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
    const GITHUB: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    /// Bitbucket's own example: support.atlassian.com/bitbucket-cloud/docs/manage-webhooks, "Testing the webhook payload
    /// validation".
    const BITBUCKET: &str = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9";

    fn secret() -> SecretBytes {
        SecretBytes::new(b"It's a Secret to Everybody".to_vec())
    }

    fn signed(body: &[u8], header: Option<&str>) -> bool {
        signs(&secret(), body, "sha256=", header)
    }

    #[test]
    fn the_published_examples_are_right() {
        assert!(signed(b"Hello, World!", Some(GITHUB)));
        assert!(signed(b"Hello, World!", Some(&format!("sha256={}", GITHUB[7..].to_uppercase()))));
        assert!(signed(b"Hello World!", Some(BITBUCKET)));
        // Gitea and Forgejo send the digits alone.
        assert!(signs(&secret(), b"Hello, World!", "", Some(&GITHUB[7..])));
    }

    #[test]
    fn everything_else_is_wrong() {
        for bad in [
            None,
            Some(""),
            Some("sha256="),
            Some(&GITHUB[7..]),
            Some(&GITHUB[..70]),
            Some(&GITHUB.replace("sha256", "sha1")),
            Some(&GITHUB.replace('7', "8")),
            Some(&format!("{GITHUB}00")),
        ] {
            assert!(!signed(b"Hello, World!", bad), "{bad:?}");
        }
        assert!(!signed(b"Hello, World?", Some(GITHUB)));
        assert!(!signs(&SecretBytes::new(b"another".to_vec()), b"Hello, World!", "sha256=", Some(GITHUB)));
    }

    #[test]
    fn a_shown_secret_is_the_whole_of_it() {
        assert!(shows(&secret(), "", Some("It's a Secret to Everybody")));
        assert!(shows(&secret(), "Bearer ", Some("Bearer It's a Secret to Everybody")));
        for bad in [None, Some(""), Some("It's a Secret"), Some("it's a secret to everybody")] {
            assert!(!shows(&secret(), "", bad), "{bad:?}");
        }
        assert!(!shows(&secret(), "Bearer ", Some("It's a Secret to Everybody")));
        assert!(!shows(&SecretBytes::new(Vec::new()), "", None));
    }
}
