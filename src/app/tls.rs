//! TLS for the server: one certificate chain and its key, from PEM files that may be replaced while it runs.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;

/// Why a certificate or key cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The file cannot be read as PEM.
    #[error("`{}` cannot be read as PEM: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The two do not go together.
    #[error("the certificate `{}` and the key `{}` cannot be used together: {reason}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Makes the one TLS provider of this process the default. Calling it again does nothing.
pub(super) fn install_provider() {
    // Another call, in a test, may have been first: it installed the same one.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// A certificate with its key, read again when their files change. Connections that are open keep the one they began with.
#[derive(Debug)]
pub(super) struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

/// What tells that a file was written or replaced.
type Stamp = Option<(SystemTime, u64, u64)>;

impl Certificate {
    /// Reads the two files.
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let current = RwLock::new(Arc::new(pair(certificate, key)?));
        Ok(Arc::new(Self { certificate: certificate.to_owned(), key: key.to_owned(), current }))
    }

    /// A server that shows what was read last.
    pub(super) fn server_config(self: &Arc<Self>) -> ServerConfig {
        ServerConfig::builder()
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>)
    }

    /// Reads the files again whenever they change, for ever. What cannot be used is said, and the one before stays: the two
    /// files may be replaced one after the other.
    pub(super) async fn follow(self: Arc<Self>) {
        let mut seen = self.stamps();
        loop {
            tokio::time::sleep(LOOK).await;
            // Stamped before they are read: what is written meanwhile is seen by the next look.
            let now = self.stamps();
            if now == seen {
                continue;
            }
            seen = now;
            match pair(&self.certificate, &self.key) {
                Ok(read) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
                    tracing::info!(certificate = %self.certificate.display(), "the certificate was read anew");
                }
                Err(error) => tracing::warn!(%error, "the changed certificate is not used; the one before stays"),
            }
        }
    }

    fn stamps(&self) -> [Stamp; 2] {
        let stamp = |path: &Path| {
            let about = std::fs::metadata(path).ok()?;
            Some((about.modified().ok()?, about.len(), about.ino()))
        };
        [stamp(&self.certificate), stamp(&self.key)]
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Reads a certificate chain and its key, and sees that they go together.
fn pair(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let unreadable = |path: &Path, reason: String| TlsError::File { path: path.to_owned(), reason };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(certificate, error.to_string()))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error.to_string()))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, private, &provider).map_err(|error| TlsError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        reason: error.to_string(),
    })
}
