//! Versions and ranges of them, as people write them in refs, image tags and dependencies.

use semver::{BuildMetadata, VersionReq};

/// A tag as a version: `1.2.3` or `v1.2.3`, all three numbers.
#[must_use]
pub fn tag_version(tag: &str) -> Option<semver::Version> {
    semver::Version::parse(tag.strip_prefix(['v', 'V']).unwrap_or(tag)).ok()
}

/// A range of versions, alternatives between `||`. Comparators stand beside each other with a space or a comma. A version
/// without a sign means itself: `1.4.2` is only `1.4.2`, `1.4` is every `1.4.x`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range(Vec<VersionReq>);

impl Range {
    /// Reads a range; `None` when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.split("||").map(alternative).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Whether a version is in it. What follows a `+` does not count.
    #[must_use]
    pub fn holds(&self, version: &semver::Version) -> bool {
        let plain = semver::Version { build: BuildMetadata::EMPTY, ..version.clone() };
        self.0.iter().any(|range| range.matches(&plain))
    }
}

fn alternative(text: &str) -> Option<VersionReq> {
    let mut comparators: Vec<String> = Vec::new();
    let mut sign = String::new();
    for word in text.split([' ', ',', '\t']).filter(|word| !word.is_empty()) {
        let digits = word.trim_start_matches(['<', '>', '=', '~', '^']);
        sign.push_str(&word[..word.len() - digits.len()]);
        if digits.is_empty() {
            continue;
        }
        let digits = digits.strip_prefix(['v', 'V']).unwrap_or(digits);
        if !digits.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '*' | 'x' | 'X')) {
            return None;
        }
        let sign = std::mem::take(&mut sign);
        comparators.push(if sign.is_empty() && !digits.contains(['*', 'x', 'X']) {
            format!("={digits}")
        } else {
            format!("{sign}{digits}")
        });
    }
    if comparators.is_empty() || !sign.is_empty() {
        return None;
    }
    VersionReq::parse(&comparators.join(",")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_people_mean_by_them() {
        for (range, inside, outside) in [
            (">=1.2 <2", "1.9.0", "2.0.0"),
            ("~1.4", "1.4.9", "1.5.0"),
            ("1.4", "1.4.3", "1.40.0"),
            ("1.4.2", "1.4.2", "1.4.3"),
            ("^1 || ^3", "v3.1.0", "2.0.0"),
            (">= 1.2, < 1.3", "1.2.7", "1.3.0"),
        ] {
            let holds = |tag| Range::parse(range).unwrap().holds(&tag_version(tag).unwrap());
            assert!(holds(inside) && !holds(outside), "{range}");
        }
        assert!(["main", "", ">=", "1.x.y", "v"].iter().all(|text| Range::parse(text).is_none()));
    }
}
