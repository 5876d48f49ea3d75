//! The one admin token of this installation: it may do everything, and stands in a file of the data folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use super::error_response;
use crate::domain::Actor;

/// The file in the data folder that holds the bare token.
pub const TOKEN_FILE: &str = "admin.token";
/// A token in a file may not be shorter.
const SHORTEST: usize = 16;

/// Why the token could not be read or made.
#[derive(Debug, Error)]
pub enum AuthError {
    /// The file system said no.
    #[error("the token file `{path}` cannot be read or written: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// What is in the file is no token.
    #[error(
        "the token file `{0}` holds no token of at least 16 characters in one line; remove it to have a new one made"
    )]
    Unfit(PathBuf),
    /// No randomness.
    #[error("the system gave no random bytes for a token")]
    Entropy,
}

/// Knows the token by its digest.
pub struct Auth {
    digest: [u8; 32],
}

impl Auth {
    /// Takes this token.
    #[must_use]
    pub fn with_token(token: &str) -> Self {
        Self { digest: Sha256::digest(token.as_bytes()).into() }
    }

    /// Reads the token of a data folder; makes one (256 random bits, mode 0600, durable) where there is none.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn of_folder(folder: &Path) -> Result<Self, AuthError> {
        let path = folder.join(TOKEN_FILE);
        match read(&path) {
            Ok(token) => {
                let token = token.trim();
                if token.len() < SHORTEST || token.chars().any(|c| c.is_whitespace() || c.is_control()) {
                    return Err(AuthError::Unfit(path));
                }
                Ok(Self::with_token(token))
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                let mut bytes = Zeroizing::new([0_u8; 32]);
                getrandom::fill(bytes.as_mut_slice()).map_err(|_| AuthError::Entropy)?;
                let token = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
                write(folder, &path, &token).map_err(|cause| AuthError::Io { path, cause })?;
                Ok(Self::with_token(&token))
            }
            Err(cause) => Err(AuthError::Io { path, cause }),
        }
    }

    /// Who shows `Bearer TOKEN`. Takes the same time for every wrong token.
    ///
    /// # Errors
    /// [`Unauthenticated`] for none or another.
    pub fn bearer(&self, header: Option<&str>) -> Result<Actor, Unauthenticated> {
        let (scheme, token) = header.and_then(|text| text.trim().split_once(' ')).ok_or(Unauthenticated)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Unauthenticated);
        }
        let shown: [u8; 32] = Sha256::digest(token.trim().as_bytes()).into();
        if bool::from(shown.ct_eq(&self.digest)) { Ok(Actor::new("admin")) } else { Err(Unauthenticated) }
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others may read the token file; it should have mode 0600");
    }
    file.take(4096).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes the file beside its place first, so that a half-written token is never read.
fn write(folder: &Path, path: &Path, token: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let beside = folder.join(format!("{TOKEN_FILE}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

/// No token, or another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a valid token is needed: send it as `Authorization: Bearer TOKEN`; an admin makes one with `skep token create`, and the file admin.token of the data folder holds that of the admin"
)]
pub struct Unauthenticated;

impl ResponseError for Unauthenticated {
    fn status_code(&self) -> StatusCode {
        StatusCode::UNAUTHORIZED
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = error_response(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", &self.to_string());
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_it_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        Auth::of_folder(&folder.path().join("data")).unwrap();
        let path = folder.path().join("data").join(TOKEN_FILE);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert_eq!(text.trim().len(), 43);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let auth = Auth::of_folder(&folder.path().join("data")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert!(auth.bearer(Some(&format!("Bearer {}", text.trim()))).is_ok());
        assert!(auth.bearer(Some(&format!("bearer  {text}"))).is_ok());
        for bad in [None, Some(""), Some("Bearer "), Some("Bearer x"), Some(text.trim())] {
            assert_eq!(auth.bearer(bad), Err(Unauthenticated), "{bad:?}");
        }
    }

    #[test]
    fn a_file_without_a_token_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(TOKEN_FILE);
        for bad in ["", "\n", "short", "two words that are long enough", "two\nlines of some length\n"] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(Auth::of_folder(folder.path()), Err(AuthError::Unfit(_))), "{bad:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), bad);
        }
    }
}
