//! A copy of a whole store as one file: what is in it, and in which order?
//!
//! A tar, so that people can look into it:
//!
//! ```text
//! skep-backup    a line of JSON: the form of the archive, and the store's revision
//! records        for each record: length of the key u32, length of the bytes u32, key, bytes   (little endian)
//! files/NAME     the kept files, each named by the SHA-256 of what it holds
//! end            a line of JSON: how many records and files there are, and what the records add up to
//! ```
//!
//! The records are the store's own bytes with their checksums. An archive without its end was cut short, and is refused.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

/// The newest form that this version reads, and the one it writes.
pub(super) const FORM: u32 = 1;
pub(super) const HEAD: &str = "skep-backup";
pub(super) const RECORDS: &str = "records";
pub(super) const FILES: &str = "files/";
pub(super) const END: &str = "end";
/// More than any key or record has, in bytes: one that claims more is not believed.
const LONGEST: usize = 1 << 20;

/// The first entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) form: u32,
    pub(super) revision: u64,
}

/// The last entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) count: u64,
    pub(super) sum: u64,
    pub(super) logs: BTreeMap<String, u64>,
    pub(super) files: u64,
}

/// Adds a small entry.
pub(super) fn put(to: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = header(u64::try_from(bytes.len()).unwrap_or_default());
    to.append_data(&mut header, name, bytes)
}

/// The header of an entry of this length.
pub(super) fn header(length: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(length);
    header.set_mode(0o600);
    header
}

pub(super) fn write_record(to: &mut impl Write, key: &[u8], bytes: &[u8]) -> io::Result<()> {
    for length in [key.len(), bytes.len()] {
        let length = u32::try_from(length).map_err(io::Error::other)?;
        to.write_all(&length.to_le_bytes())?;
    }
    to.write_all(key)?;
    to.write_all(bytes)
}

/// The next record; none at the end.
pub(super) fn read_record(from: &mut impl Read) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut lengths = [0; 8];
    let first = loop {
        match from.read(&mut lengths) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    from.read_exact(lengths.get_mut(first..).unwrap_or_default())?;
    let mut part = |at: usize| {
        let length = lengths.get(at..).and_then(<[u8]>::first_chunk::<4>).map_or(0, |part| u32::from_le_bytes(*part));
        let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST);
        let length =
            length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a record's length makes no sense"))?;
        let mut bytes = vec![0; length];
        from.read_exact(&mut bytes)?;
        Ok::<_, io::Error>(bytes)
    };
    Ok(Some((part(0)?, part(4)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_and_one_cut_short_does_not() {
        let mut bytes = Vec::new();
        write_record(&mut bytes, b"kone", b"1").unwrap();
        write_record(&mut bytes, b"ktwo", b"").unwrap();
        let mut rest = bytes.as_slice();
        assert_eq!(read_record(&mut rest).unwrap(), Some((b"kone".to_vec(), b"1".to_vec())));
        assert_eq!(read_record(&mut rest).unwrap(), Some((b"ktwo".to_vec(), Vec::new())));
        assert_eq!(read_record(&mut rest).unwrap(), None);
        for cut in 1..8 {
            assert!(read_record(&mut &bytes[..cut]).is_err(), "{cut}");
        }
        assert!(read_record(&mut [0xff; 8].as_slice()).is_err());
    }
}
