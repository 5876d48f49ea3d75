//! Which keys does a scan cover? Worked out once, for every adapter.

use std::ops::Bound;

use crate::ports::Scan;

/// From where to where.
pub(super) type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The bounds of a scan in a map whose keys are `zone` followed by the store's key; `None` when it covers nothing.
pub(super) fn bounds(scan: &Scan, zone: &[u8]) -> Option<Bounds> {
    let key = |text: &str| [zone, text.as_bytes()].concat();
    let prefix = key(&scan.prefix);
    let mut lower = Bound::Included(prefix.clone());
    let mut upper = successor(prefix.clone()).map_or(Bound::Unbounded, Bound::Excluded);
    if let Some(after) = scan.after.as_deref().map(key) {
        if scan.backwards {
            if after <= prefix {
                return None;
            }
            if !matches!(&upper, Bound::Excluded(end) if *end <= after) {
                upper = Bound::Excluded(after);
            }
        } else {
            if matches!(&upper, Bound::Excluded(end) if *end <= after) {
                return None;
            }
            if after >= prefix {
                lower = Bound::Excluded(after);
            }
        }
    }
    (scan.limit > 0).then_some((lower, upper))
}

/// The least key that is greater than every key with this prefix.
fn successor(mut prefix: Vec<u8>) -> Option<Vec<u8>> {
    while let Some(last) = prefix.pop() {
        if let Some(next) = last.checked_add(1) {
            prefix.push(next);
            return Some(prefix);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_never_cross() {
        let texts = ["", "a", "a/", "a/b", "a/b/c", "b", "a0", "\u{10ffff}"];
        for prefix in texts {
            for after in texts.map(Some).into_iter().chain([None]) {
                for backwards in [false, true] {
                    let scan =
                        Scan { prefix: prefix.into(), after: after.map(Into::into), backwards, limit: usize::MAX };
                    for zone in [&b""[..], b"k"] {
                        let map: std::collections::BTreeMap<Vec<u8>, ()> =
                            texts.iter().map(|text| ([zone, text.as_bytes()].concat(), ())).collect();
                        let found: Vec<Vec<u8>> = bounds(&scan, zone)
                            .map(|bounds| map.range::<Vec<u8>, _>(bounds).map(|(key, ())| key.clone()).collect())
                            .unwrap_or_default();
                        let wanted: Vec<Vec<u8>> = map
                            .keys()
                            .filter(|key| {
                                let key = &key[zone.len()..];
                                key.starts_with(prefix.as_bytes())
                                    && after.is_none_or(|after| {
                                        if backwards { key < after.as_bytes() } else { key > after.as_bytes() }
                                    })
                            })
                            .cloned()
                            .collect();
                        assert_eq!(found, wanted, "{scan:?}");
                    }
                }
            }
        }
    }
}
