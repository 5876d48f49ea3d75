//! Certificates and keys as PEM, for connections over TLS.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// The certificates of a PEM text: at least one.
///
/// # Errors
/// A phrase that goes on from the name of the value.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err("holds no certificate as PEM".to_owned()),
    }
}

/// How to speak TLS to a host whose certificate one of these authorities signed; with a certificate of our own and its
/// key, if they are given.
///
/// # Errors
/// What is wrong, without any part of the key.
pub fn client(ca: &str, identity: Option<(&str, &str)>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca).map_err(|reason| format!("`ca` {reason}"))? {
        roots.add(certificate).map_err(|error| format!("a certificate of `ca` cannot be used: {error}"))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let Some((certificate, key)) = identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(certificate).map_err(|reason| format!("`cert` {reason}"))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| "`key` holds no private key as PEM without a passphrase".to_owned())?;
    builder.with_client_auth_cert(chain, key).map_err(|error| format!("`cert` and `key` do not go together: {error}"))
}
