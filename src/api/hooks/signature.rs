//! How a delivery proves that it comes from who knows the secret. Each takes the same time for every wrong proof, also for
//! one that is missing or has another form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::domain::SecretBytes;

/// Seconds by which the clock of a sender may differ, and a delivery be late.
const TOLERANCE: u64 = 300;

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

/// Whether the headers of a delivery hold its signature as the Standard Webhooks specification (standardwebhooks.com) has it: the
/// HMAC-SHA256 of id, time and body, in base64 after `v1,`, of which there may be several. The key is what the secret says in
/// base64 behind `whsec_`, or else the secret itself. One from another time than `now` (Unix seconds) counts for nothing.
pub(super) fn stands(secret: &SecretBytes, now: i64, body: &[u8], said: Option<Standard<'_>>) -> bool {
    let text = secret.expose_text().unwrap_or_default();
    let key = text.strip_prefix("whsec_").and_then(|rest| STANDARD.decode(rest).ok()).map(Zeroizing::new);
    let key = key.as_ref().map_or(secret.expose(), |key| key.as_slice());
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return false };
    let Standard { id, timestamp, signatures } = said.unwrap_or_default();
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    let right = mac.finalize().into_bytes();
    let fits = |signature: &str| {
        let shown = signature.strip_prefix("v1,").and_then(|shown| STANDARD.decode(shown).ok()).unwrap_or_default();
        bool::from(right.as_slice().ct_eq(&shown))
    };
    let in_time = timestamp.parse().is_ok_and(|at: i64| now.abs_diff(at) <= TOLERANCE);
    signatures.split(' ').filter(|signature| fits(signature)).count() > 0 && in_time && !id.is_empty()
}

/// What a delivery says by that specification.
#[derive(Clone, Copy, Default)]
pub(super) struct Standard<'h> {
    /// `webhook-id`.
    pub id: &'h str,
    /// `webhook-timestamp`, Unix seconds.
    pub timestamp: &'h str,
    /// `webhook-signature`, one or more, with spaces between.
    pub signatures: &'h str,
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

    /// The example in the tests of the specification's own libraries: github.com/standard-webhooks/standard-webhooks.
    const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const STANDARD_SAID: Standard<'static> = Standard {
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp: "1614265330",
        signatures: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    };

    #[test]
    fn a_standard_webhook_is_signed_with_id_time_and_body() {
        let body = br#"{"test": 2432232314}"#;
        let secret = |text: &str| SecretBytes::new(text.as_bytes().to_vec());
        let stands = |now, said| stands(&secret(STANDARD_SECRET), now, body, Some(said));
        assert!(stands(1_614_265_330, STANDARD_SAID));
        assert!(stands(1_614_265_330 - 300, STANDARD_SAID) && stands(1_614_265_330 + 300, STANDARD_SAID));
        assert!(!stands(1_614_265_330 + 301, STANDARD_SAID) && !stands(1_614_265_330 - 301, STANDARD_SAID));
        let several = format!("v1a,x v1,AAAA {}", STANDARD_SAID.signatures);
        assert!(stands(1_614_265_330, Standard { signatures: &several, ..STANDARD_SAID }));
        for bad in [
            Standard { id: "msg_other", ..STANDARD_SAID },
            Standard { timestamp: "1614265331", ..STANDARD_SAID },
            Standard { timestamp: "", ..STANDARD_SAID },
            Standard { signatures: "", ..STANDARD_SAID },
            Standard { signatures: &STANDARD_SAID.signatures[3..], ..STANDARD_SAID },
            Standard { signatures: "v1,", ..STANDARD_SAID },
        ] {
            assert!(!stands(1_614_265_330, bad), "{}", bad.signatures);
        }
        assert!(!super::stands(&secret(STANDARD_SECRET), 1_614_265_330, b"{}", Some(STANDARD_SAID)));
        assert!(!super::stands(&secret("whsec_AAAA"), 1_614_265_330, body, Some(STANDARD_SAID)));
        assert!(!super::stands(&secret(STANDARD_SECRET), 1_614_265_330, body, None));
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
