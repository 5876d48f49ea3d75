//! Short forms for people.

use std::time::Duration;

use jiff::Timestamp;

use super::console::clean;
use super::model::{Image, Version};

/// Nothing to show.
pub(super) const NONE: &str = "-";

/// How long ago something was: `12s`, `3m`, `4h`, `2d`. Never negative: clocks differ.
pub(super) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A span to the second: `12s`, `3m05s`, `1h02m`.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// The span between two points in time.
pub(super) fn between(from: Timestamp, to: Timestamp) -> String {
    span(Duration::try_from(to.duration_since(from)).unwrap_or_default())
}

/// A commit's first characters.
pub(super) fn short(revision: &str) -> String {
    let hex = revision.len() == 40 && revision.chars().all(|c| c.is_ascii_hexdigit());
    clean(if hex { revision.get(..8).unwrap_or(revision) } else { revision })
}

/// `web=app:2 api=app:3`, without registry and digest.
pub(super) fn images(images: &[Image]) -> String {
    let one = |image: &Image| {
        let name = image.image.split('@').next().unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or_default();
        format!("{}={}", clean(&image.service), clean(name))
    };
    images.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// What tells a version apart: its commit or, without one, its images.
pub(super) fn version(revision: Option<&str>, of: &[Image]) -> String {
    match revision {
        Some(revision) => short(revision),
        None if of.is_empty() => NONE.to_owned(),
        None => images(of),
    }
}

/// The same for a version that may not be known.
pub(super) fn known(of: Option<&Version>) -> String {
    of.map_or_else(|| NONE.to_owned(), |it| version(it.revision.as_deref(), &it.images))
}

/// Text or a dash.
pub(super) fn or_none(text: Option<&str>) -> String {
    text.map(clean).filter(|text| !text.is_empty()).unwrap_or_else(|| NONE.to_owned())
}

/// `1 stack`, `2 stacks`.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_rough_and_never_negative() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for (since, shown) in [
            ("2026-01-31T12:00:05Z", "0s"),
            ("2026-01-31T11:58:01Z", "119s"),
            ("2026-01-31T11:58:00Z", "2m"),
            ("2026-01-31T10:00:00Z", "2h"),
            ("2026-01-29T12:00:00Z", "2d"),
        ] {
            assert_eq!(age(since.parse().unwrap(), now), shown, "{since}");
        }
    }

    #[test]
    fn spans_are_exact() {
        for (seconds, shown) in [(0, "0s"), (59, "59s"), (65, "1m05s"), (3_720, "1h02m")] {
            assert_eq!(span(Duration::from_secs(seconds)), shown);
        }
    }

    #[test]
    fn versions_are_short() {
        let web = Image { service: "web".into(), image: "registry.example.org:5000/team/app:1.4@sha256:00".into() };
        assert_eq!(version(Some("0123456789abcdef0123456789abcdef01234567"), &[]), "01234567");
        assert_eq!(version(None, std::slice::from_ref(&web)), "web=app:1.4");
        assert_eq!(version(None, &[]), "-");
    }

    #[test]
    fn things_are_counted() {
        assert_eq!((count(1, "stack"), count(0, "stack")), ("1 stack".into(), "0 stacks".into()));
    }
}
