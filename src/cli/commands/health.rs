//! `health`: asks a server whether it is well, without a token. Made for the health checks of containers.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::redirect::Policy;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use serde_json::json;

use crate::cli::args::{Globals, HealthArgs};
use crate::cli::client::innermost;
use crate::cli::console::{Console, clean};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{field, machine};
use crate::cli::runtime;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(200);
/// The least time an answer is given.
const ONE_ANSWER: Duration = Duration::from_millis(500);

/// Asks until the answer is good, or patience is at its end: exit code 1.
pub(in crate::cli) fn health(globals: &Globals, args: &HealthArgs, console: &Console) -> Result<Exit, CliError> {
    let address = args.address();
    let (path, word) = if args.ready { ("readyz", "ready") } else { ("healthz", "healthy") };
    let asked = runtime()?.block_on(until_good(args, &format!("{address}/{path}")));
    asked.map_err(|why| CliError::new(Exit::Error, format!("{address} is not {word}: {why}")))?;
    let said = json!({ "address": address, "health": word });
    match machine(globals.output, &said, field("address"))? {
        Some(text) => console.print(&text)?,
        None => console.print(&format!("{address} is {word}"))?,
    }
    Ok(Exit::Done)
}

async fn until_good(args: &HealthArgs, url: &str) -> Result<(), String> {
    let end = Instant::now() + args.patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let Err(why) = ask(args.tls_cert.as_deref(), url, left.max(ONE_ANSWER)).await else { return Ok(()) };
        if Instant::now() + PAUSE >= end {
            return Err(why);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// One question, on a connection of its own. The certificate's file is read each time: it may just have been replaced.
async fn ask(certificate: Option<&Path>, url: &str, patience: Duration) -> Result<(), String> {
    // What is asked is this one server, and no proxy in between.
    let builder = reqwest::Client::builder().no_proxy().redirect(Policy::none()).timeout(patience);
    let builder = match certificate {
        Some(file) => builder.tls_backend_preconfigured(trusting(file)?),
        None => builder,
    };
    let client = builder.build().map_err(|error| innermost(&error))?;
    let answer = client.get(url).send().await;
    let mut answer = answer.map_err(|error| match error.is_timeout() {
        true => "it took too long".to_owned(),
        false => innermost(&error),
    })?;
    if answer.status().is_success() {
        return Ok(());
    }
    let status = answer.status();
    // It says what is not ready; whoever else stands there may say anything, of any length.
    let said = answer.chunk().await.ok().flatten().unwrap_or_default();
    let said: String = String::from_utf8_lossy(&said).lines().next().unwrap_or_default().chars().take(200).collect();
    Err(format!("it answered {status}: {}", clean(&said)))
}

/// A client's TLS that takes the first certificate of a file, and no other.
fn trusting(file: &Path) -> Result<rustls::ClientConfig, String> {
    let certificate = CertificateDer::from_pem_file(file)
        .map_err(|error| format!("`{}` cannot be read as a certificate: {error}", file.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let exact = Exactly { certificate, provider: Arc::clone(&provider) };
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(exact)).with_no_client_auth())
}

/// Trusts one certificate, by its bytes. The server still has to prove that it holds the key.
#[derive(Debug)]
struct Exactly {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if shown.as_ref() == self.certificate.as_ref() {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
