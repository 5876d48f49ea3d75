//! Requests of outside senders. What a payload holds nobody here knows, so it is sealed in the record of each deployment that it
//! led to.

use serde_json::{Value, json};

use crate::domain::{Origin, Sealed};
use crate::ports::{SealError, Sealer};

/// A request as it stands in records.
///
/// # Errors
/// [`SealError`] when it cannot be sealed.
pub fn sealed_request(request: &Value, sealer: &dyn Sealer) -> Result<Sealed, SealError> {
    sealer.seal(request.to_string().as_bytes())
}

/// Puts a sealed request where it can be read. One that does not open says so in its place.
pub fn open_request(origin: &mut Origin, sealer: &dyn Sealer) {
    let Some(sealed) = origin.sealed_request.take() else { return };
    let read = |bytes: &[u8]| serde_json::from_slice(bytes).map_err(|_| SealError::Unreadable);
    let opened = sealer.open(&sealed).and_then(|clear| read(clear.expose()));
    origin.original_request = opened.unwrap_or_else(|error| json!({ "unreadable": error.to_string() }));
}

/// Seals the request of an outside sender that was told in the clear.
///
/// # Errors
/// [`SealError`] when it cannot be sealed.
pub fn seal_request(origin: &mut Origin, sealer: &dyn Sealer) -> Result<(), SealError> {
    if origin.trigger == crate::domain::Trigger::Hook && !origin.original_request.is_null() {
        origin.sealed_request = Some(sealed_request(&origin.original_request, sealer)?);
        origin.original_request = Value::Null;
    }
    Ok(())
}
