//! One record as bytes: is this what was written, under this key?
//!
//! ```text
//! form u8 │ crc32c u32 │ revision u64 │ payload          (little endian)
//! ```
//!
//! The checksum covers the key, the form, the revision and the payload, so that a record under another's key is found out.

/// The payload is the value.
const INLINE: u8 = 1;
/// The payload is the name of the kept file that has the value.
const SPILLED: u8 = 2;
const HEADER: usize = 13;

/// A record that passed its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) revision: u64,
    pub(super) body: Body<'a>,
    crc: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body<'a> {
    Inline(&'a [u8]),
    Spilled(&'a str),
}

impl<'a> Record<'a> {
    /// Reads a record; says what is wrong with it when something is.
    pub(super) fn decode(key: &[u8], bytes: &'a [u8]) -> Result<Self, String> {
        let name = || String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned();
        let parts = bytes.split_first_chunk::<HEADER>();
        let Some(([form, c0, c1, c2, c3, revision @ ..], payload)) = parts else {
            return Err(format!("the record `{}` is cut short", name()));
        };
        let crc = u32::from_le_bytes([*c0, *c1, *c2, *c3]);
        if crc != checksum(key, *form, *revision, payload) {
            return Err(format!("the record `{}` fails its checksum", name()));
        }
        let body = match *form {
            INLINE => Body::Inline(payload),
            SPILLED => Body::Spilled(std::str::from_utf8(payload).map_err(|error| format!("`{}`: {error}", name()))?),
            other => return Err(format!("the record `{}` has the unknown form {other}", name())),
        };
        Ok(Self { revision: u64::from_le_bytes(*revision), body, crc })
    }

    /// What this record adds to the sum over all records; see [`super::engine::Totals`].
    pub(super) fn mark(&self) -> u64 {
        mark(self.revision, self.crc)
    }
}

/// Writes a record; gives its bytes and its mark.
pub(super) fn encode(key: &[u8], revision: u64, body: Body<'_>) -> (Vec<u8>, u64) {
    let (form, payload) = match body {
        Body::Inline(value) => (INLINE, value),
        Body::Spilled(name) => (SPILLED, name.as_bytes()),
    };
    let crc = checksum(key, form, revision.to_le_bytes(), payload);
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.push(form);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&revision.to_le_bytes());
    bytes.extend_from_slice(payload);
    (bytes, mark(revision, crc))
}

fn checksum(key: &[u8], form: u8, revision: [u8; 8], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(key), &[form]);
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &revision), payload)
}

/// Spreads revision and checksum over 64 bits (the finaliser of splitmix64), so that marks can be added up.
fn mark(revision: u64, crc: u32) -> u64 {
    let mut mixed = revision.rotate_right(32) ^ u64::from(crc);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_as_itself() {
        for body in [Body::Inline(b"value"), Body::Inline(b""), Body::Spilled("abc")] {
            let (bytes, mark) = encode(b"kkey", 77, body);
            let record = Record::decode(b"kkey", &bytes).unwrap();
            assert_eq!((record.revision, record.body, record.mark()), (77, body, mark));
        }
    }

    #[test]
    fn any_flipped_bit_and_any_other_key_is_found_out() {
        let (bytes, _) = encode(b"kkey", 77, Body::Inline(b"value"));
        assert!(Record::decode(b"kkez", &bytes).is_err());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(Record::decode(b"kkey", &flipped).is_err(), "byte {at} bit {bit}");
            }
            assert!(Record::decode(b"kkey", &bytes[..at]).is_err());
        }
    }
}
