//! The token a GitHub App signs in with: a JWT over RS256 (RFC 7519, RFC 7518 section 3.3). It is three values in base64,
//! and the signature is made by the TLS library that is here anyway.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use zeroize::Zeroizing;

/// GitHub takes at most ten minutes; clocks differ.
const LIFE: i64 = 9 * 60;
const CLOCKS_DIFFER: i64 = 60;

/// The token of an app, for about nine minutes from `now` (seconds since 1970).
///
/// # Errors
/// A phrase that goes on from the name of the key.
pub fn app_token(app_id: &str, key: &str, now: i64) -> Result<Zeroizing<String>, String> {
    let unfit = || "is not an RSA key as PEM".to_owned();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| unfit())?;
    let key = any_supported_type(&key).map_err(|_| unfit())?;
    let signer = key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).ok_or_else(unfit)?;
    let head = json!({ "alg": "RS256", "typ": "JWT" });
    let claims = json!({ "iat": now - CLOCKS_DIFFER, "exp": now + LIFE, "iss": app_id });
    let text = format!("{}.{}", BASE64.encode(head.to_string()), BASE64.encode(claims.to_string()));
    let signature = signer.sign(text.as_bytes()).map_err(|_| "does not sign".to_owned())?;
    Ok(Zeroizing::new(format!("{text}.{}", BASE64.encode(signature))))
}

/// Where the API of a GitHub host is.
#[must_use]
pub fn api_of(host: &str) -> String {
    match host {
        "github.com" | "www.github.com" | "ssh.github.com" => "https://api.github.com".to_owned(),
        host => format!("https://{host}/api/v3"),
    }
}
