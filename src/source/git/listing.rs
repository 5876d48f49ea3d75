//! What a host says its refs are, and which commit a wanted ref means. Deciding is pure: text in, commit out.

use std::collections::BTreeMap;

use gix::protocol::handshake::Ref;
use gix::protocol::ls_refs::RefPrefixes;
use gix::protocol::transport::Service;
use gix::protocol::transport::client::blocking_io::Transport;
use semver::Version;

use crate::domain::{Range, tag_version};

/// The refs of a repository: full name to commit (annotated tags are peeled), `HEAD` included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::source) struct Listing(pub(in crate::source) BTreeMap<String, String>);

/// What a wanted ref turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source) enum Found {
    /// This commit.
    Commit(String),
    /// No ref, but perhaps the beginning of a commit's id; lower case.
    Short(String),
    /// Nothing; what there is instead.
    Nothing(String),
}

/// Asks the host for its `HEAD`, branches and tags, and what begins with `more`.
pub(in crate::source) fn ask(transport: &mut (dyn Transport + Send), more: Option<&str>) -> gix::Result<Listing> {
    let mut progress = gix::progress::Discard;
    let mut handshake =
        gix::protocol::handshake(&mut *transport, Service::UploadPack, |_| Ok(None), Vec::new(), &mut progress)?;
    let refs = match handshake.refs.take() {
        Some(refs) => refs,
        None => {
            let mut prefixes = RefPrefixes::new();
            prefixes.extend(["HEAD", "refs/heads/", "refs/tags/"].into_iter().chain(more).map(Into::into));
            let agent = ("agent", Some(concat!("git/skep-", env!("CARGO_PKG_VERSION")).into()));
            gix::protocol::LsRefsCommand::new(Some(prefixes), &handshake.capabilities, agent).invoke_blocking(
                &mut *transport,
                &mut progress,
                false,
            )?
        }
    };
    // The listing is here; whether the host hears the goodbye does not matter.
    gix::protocol::indicate_end_of_interaction(&mut *transport, false).ok();
    Ok(Listing(refs.iter().filter_map(named).collect()))
}

fn named(one: &Ref) -> Option<(String, String)> {
    let (name, object) = match one {
        Ref::Peeled { full_ref_name, object, .. }
        | Ref::Direct { full_ref_name, object }
        | Ref::Symbolic { full_ref_name, object, .. } => (full_ref_name, object),
        Ref::Unborn { .. } => return None,
    };
    Some((String::from_utf8(name.to_vec()).ok()?, object.to_string()))
}

/// Whether a text is a full commit id; gives it in lower case.
pub(in crate::source) fn full_commit(text: &str) -> Option<String> {
    (text.len() == 40 && is_hex(text)).then(|| text.to_ascii_lowercase())
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

impl Listing {
    /// What `wanted` means here: `HEAD` or `refs/…` by name, else a branch, a tag, the highest tag in a range of versions,
    /// or perhaps a short commit, in this order.
    pub(in crate::source) fn find(&self, wanted: &str) -> Found {
        let commit = |name: &str| self.0.get(name).map(|commit| Found::Commit(commit.clone()));
        let by_name = if wanted == "HEAD" || wanted.starts_with("refs/") {
            commit(wanted)
        } else {
            commit(&format!("refs/heads/{wanted}")).or_else(|| commit(&format!("refs/tags/{wanted}")))
        };
        by_name
            .or_else(|| self.highest(wanted).map(|(_, commit)| Found::Commit(commit.to_owned())))
            .or_else(|| {
                let short = (7..40).contains(&wanted.len()) && is_hex(wanted);
                short.then(|| Found::Short(wanted.to_ascii_lowercase()))
            })
            .unwrap_or_else(|| Found::Nothing(self.hint(wanted)))
    }

    fn highest(&self, wanted: &str) -> Option<(Version, &str)> {
        let range = Range::parse(wanted)?;
        let tags = self.0.iter().filter_map(|(name, commit)| Some((name.strip_prefix("refs/tags/")?, commit)));
        tags.filter_map(|(name, commit)| Some((tag_version(name)?, commit.as_str())))
            .filter(|(version, _)| range.holds(version))
            .max_by(|(a, _), (b, _)| a.cmp(b))
    }

    /// Names that are there, the nearest first.
    pub(in crate::source) fn hint(&self, wanted: &str) -> String {
        let near = |folder: &str| {
            let mut names: Vec<&str> = self.0.keys().filter_map(|name| name.strip_prefix(folder)).collect();
            if Range::parse(wanted).is_some() {
                names.sort_by_cached_key(|name| std::cmp::Reverse(tag_version(name)));
            } else {
                names.sort_by_cached_key(|name| distance(name, wanted));
            }
            let more = if names.len() > 5 { ", …" } else { "" };
            names.truncate(5);
            (!names.is_empty()).then(|| format!("{}{more}", names.join(", ")))
        };
        match (near("refs/heads/"), near("refs/tags/")) {
            (None, None) => "it has no branches and no tags yet".to_owned(),
            (Some(branches), None) => format!("its branches are {branches}"),
            (None, Some(tags)) => format!("its tags are {tags}"),
            (Some(branches), Some(tags)) => format!("its branches are {branches}; its tags are {tags}"),
        }
    }

    /// The commits refs stand at.
    pub(in crate::source) fn tips(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }
}

/// How many letters must change to make one name of the other; a name within the other is near.
fn distance(name: &str, wanted: &str) -> usize {
    if name.contains(wanted) || wanted.contains(name) {
        return 1;
    }
    let wanted: Vec<char> = wanted.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=wanted.len()).collect();
    for (i, a) in name.chars().take(64).enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        for (cell, b) in row.iter_mut().skip(1).zip(&wanted) {
            let best = (diagonal + usize::from(a != *b)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> Listing {
        Listing(names.iter().map(|name| ((*name).to_owned(), format!("commit of {name}"))).collect())
    }

    fn tags(names: &[&str]) -> Listing {
        listing(
            &names
                .iter()
                .map(|name| format!("refs/tags/{name}"))
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        )
    }

    fn found(listing: &Listing, wanted: &str) -> String {
        match listing.find(wanted) {
            Found::Commit(commit) => commit.trim_start_matches("commit of ").to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_order_of_trust() {
        let all = listing(&[
            "HEAD",
            "refs/heads/1.0.0",
            "refs/heads/main",
            "refs/tags/1.0.0",
            "refs/tags/main",
            "refs/tags/v1.0.0",
        ]);
        assert_eq!(found(&all, "HEAD"), "HEAD");
        assert_eq!(found(&all, "main"), "refs/heads/main");
        assert_eq!(found(&all, "refs/tags/main"), "refs/tags/main");
        assert_eq!(found(&all, "1.0.0"), "refs/heads/1.0.0");
        assert_eq!(found(&all, "v1.0.0"), "refs/tags/v1.0.0");
        assert_eq!(found(&all, "ABCDEF1"), r#"Short("abcdef1")"#);
        assert!(matches!(all.find("abcdef"), Found::Nothing(_)));
        assert!(matches!(all.find("refs/heads/none"), Found::Nothing(_)));
    }

    #[test]
    fn ranges_choose_the_highest_tag() {
        let all = tags(&[
            "1.2.0",
            "1.4.9",
            "v1.4.10",
            "1.5.0",
            "2.0.0-rc.1",
            "2.0.0",
            "v2.1.0",
            "v3",
            "nightly",
            "3.0.0-rc.2",
        ]);
        for (range, tag) in [
            (">=1.2 <2", "1.5.0"),
            (">= 1.2, < 2", "1.5.0"),
            ("~1.4", "v1.4.10"),
            ("1.4", "v1.4.10"),
            ("v1.4.x", "v1.4.10"),
            ("1.x", "1.5.0"),
            ("^1.2", "1.5.0"),
            ("1.4.9", "1.4.9"),
            ("=1.2.0", "1.2.0"),
            ("*", "v2.1.0"),
            ("~1.2 || ~2.0", "2.0.0"),
            (">=3.0.0-rc.1", "3.0.0-rc.2"),
            ("2.0.0-rc.1", "2.0.0-rc.1"),
        ] {
            assert_eq!(found(&all, range), format!("refs/tags/{tag}"), "{range}");
        }
        for none in [">=3", "main", ">", "1.2.", "~", "4.x || main"] {
            assert!(matches!(all.find(none), Found::Nothing(_)), "{none}");
        }
        // Seven digits are a number, too; without such a version they may be a commit.
        assert_eq!(found(&all, "1234567"), r#"Short("1234567")"#);
    }

    #[test]
    fn an_exact_version_finds_the_tag_with_a_v() {
        assert_eq!(found(&tags(&["v1.2.3", "v1.9.0"]), "1.2.3"), "refs/tags/v1.2.3");
    }

    #[test]
    fn the_hint_names_what_is_near() {
        let all = listing(&["refs/heads/main", "refs/heads/production", "refs/tags/v1.0.0", "refs/tags/v1.1.0"]);
        assert_eq!(all.hint("mian"), "its branches are main, production; its tags are v1.0.0, v1.1.0");
        assert_eq!(all.hint("~2"), "its branches are main, production; its tags are v1.1.0, v1.0.0");
        assert_eq!(listing(&[]).hint("x"), "it has no branches and no tags yet");
        let many = tags(&["a", "b", "c", "d", "e", "f"]);
        assert_eq!(many.hint("ff"), "its tags are f, a, b, c, d, …");
    }

    #[test]
    fn full_commits_have_forty_digits() {
        let id = "ABCDEF0123456789abcdef0123456789abcdef01";
        assert_eq!(full_commit(id).as_deref(), Some("abcdef0123456789abcdef0123456789abcdef01"));
        assert_eq!(full_commit(&id[1..]), None);
        assert_eq!(full_commit(&id.replace('A', "g")), None);
    }
}
