//! What a service's image is to be: a version by its name, or the newest one that a rule finds among the tags of its
//! repository. The choice itself is a pure function of the rule, of what the registry says, and of what failed here.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::{Range, registry_of, tag_version};

/// How large the program of a pattern may become, in bytes.
const PATTERN_SIZE: usize = 1 << 18;
/// So many tags are named where people are told what there is.
const NAMED: usize = 5;

/// The desired version of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ImageWish {
    /// A tag (`1.4.2`), a digest (`sha256:…`), or a whole image reference.
    Named(String),
    /// Whatever a rule finds.
    Followed(FollowedImage),
}

impl ImageWish {
    /// The version, if it is named.
    #[must_use]
    pub fn named(&self) -> Option<&str> {
        match self {
            Self::Named(version) => Some(version),
            Self::Followed(_) => None,
        }
    }

    /// What is followed, if it is.
    #[must_use]
    pub fn followed(&self) -> Option<&FollowedImage> {
        match self {
            Self::Named(_) => None,
            Self::Followed(followed) => Some(followed),
        }
    }
}

/// An image that is followed in its registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowedImage {
    /// Which of its versions.
    pub rule: FollowRule,
    /// How often the registry is asked, when nothing tells of a push.
    pub poll: SignedDuration,
}

/// Which version of an image is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FollowRule {
    /// The newest tag in a range of versions.
    Semver(String),
    /// Whatever this tag points at.
    Digest(String),
    /// The newest tag that fits a regular expression.
    Pattern(String),
}

impl FollowRule {
    /// Its word in a manifest.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Semver(_) => "semver",
            Self::Digest(_) => "digest",
            Self::Pattern(_) => "pattern",
        }
    }

    /// What stands behind the word.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Semver(text) | Self::Digest(text) | Self::Pattern(text) => text,
        }
    }

    /// Whether it makes sense.
    ///
    /// # Errors
    /// What it should look like.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Semver(text) => match Range::parse(text) {
                Some(_) => Ok(()),
                None => Err(format!("`{text}` is not a range of versions; write for example \"~1.4\" or \">=1.4 <2\"")),
            },
            Self::Digest(tag) if is_tag(tag) => Ok(()),
            Self::Digest(tag) => Err(format!("`{tag}` is not a tag: letters, digits, `_`, `.`, `-`, at most 128")),
            Self::Pattern(text) => pattern(text).map(drop).map_err(|why| {
                format!("`{text}` is not a regular expression: {why}; write for example \"^build-(?<n>[0-9]+)$\"")
            }),
        }
    }

    /// The tag it is about, if it is about one.
    #[must_use]
    pub fn one_tag(&self) -> Option<&str> {
        match self {
            Self::Digest(tag) => Some(tag),
            Self::Semver(_) | Self::Pattern(_) => None,
        }
    }

    /// The tags that fit, the newest first. The order is one of the rule's own:
    ///
    /// - `semver`: by version; of two tags that say the same version (`1.4.2`, `v1.4.2`) the one without the letter.
    /// - `pattern`: by the named groups, one after the other, as numbers where both are, a number after any other text;
    ///   then by the whole tag as text.
    #[must_use]
    pub fn newest_first<'t>(&self, tags: impl Iterator<Item = &'t str>) -> Vec<&'t str> {
        match self {
            Self::Semver(text) => {
                let Some(range) = Range::parse(text) else { return Vec::new() };
                let mut found: Vec<(semver::Version, &str)> =
                    tags.filter_map(|tag| Some((tag_version(tag)?, tag))).filter(|(it, _)| range.holds(it)).collect();
                found.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.cmp(y)));
                found.into_iter().map(|(_, tag)| tag).collect()
            }
            Self::Digest(wanted) => tags.filter(|tag| tag == wanted).collect(),
            Self::Pattern(text) => {
                let Ok(pattern) = pattern(text) else { return Vec::new() };
                let mut found: Vec<(Vec<Part>, &str)> =
                    tags.filter_map(|tag| Some((parts(&pattern, tag)?, tag))).collect();
                found.sort_by(|a, b| b.cmp(a));
                found.into_iter().map(|(_, tag)| tag).collect()
            }
        }
    }
}

impl fmt::Display for FollowRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.word(), self.text())
    }
}

/// What a named group of a pattern caught. A number is greater than any other text.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Text(String),
    Number(Digits),
}

/// A whole number of any length, without zeros in front.
#[derive(Debug, PartialEq, Eq)]
struct Digits(String);

impl Ord for Digits {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Digits {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn pattern(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).size_limit(PATTERN_SIZE).build();
    built.map_err(|error| error.to_string().lines().last().unwrap_or_default().trim().to_owned())
}

fn parts(pattern: &Regex, tag: &str) -> Option<Vec<Part>> {
    let caught = pattern.captures(tag)?;
    let named = pattern.capture_names().flatten();
    let part = |name: &str| {
        let text = caught.name(name).map_or("", |it| it.as_str());
        if !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()) {
            Part::Number(Digits(text.trim_start_matches('0').to_owned()))
        } else {
            Part::Text(text.to_owned())
        }
    };
    Some(named.map(part).collect())
}

/// Whether a text is the name of a tag.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    (1..=128).contains(&text.len()) && text.chars().all(good) && !text.starts_with(['.', '-'])
}

/// Where an image is kept: a registry, and the name in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repository {
    /// The registry, as images name it: `docker.io`, `registry.example.org:5000`.
    pub host: String,
    /// The name in it: `team/web`; on Docker Hub `library/nginx`.
    pub path: String,
}

impl Repository {
    /// That of an image, whatever its tag and digest.
    #[must_use]
    pub fn of_image(image: &str) -> Self {
        let name = name_of(image);
        let host = registry_of(name);
        let rest = name.strip_prefix(host).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name);
        let host = if host == "index.docker.io" { "docker.io" } else { host };
        let path = if host == "docker.io" && !rest.contains('/') { format!("library/{rest}") } else { rest.to_owned() };
        Self { host: host.to_owned(), path }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

impl TryFrom<String> for Repository {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once('/') {
            Some((host, path)) if !host.is_empty() && !path.is_empty() => {
                Ok(Self { host: host.to_owned(), path: path.to_owned() })
            }
            _ => Err(format!("`{text}` is no repository of images")),
        }
    }
}

impl From<Repository> for String {
    fn from(it: Repository) -> Self {
        it.to_string()
    }
}

/// An image without its tag and digest, as it is written.
#[must_use]
pub fn name_of(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    // A colon in front of the last slash belongs to a port.
    let last = image.rfind('/').map_or(0, |slash| slash + 1);
    match image.get(last..).and_then(|last| last.find(':')) {
        Some(colon) => image.get(..last + colon).unwrap_or(image),
        None => image,
    }
}

/// What a followed image was found to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowedVersion {
    /// The tag.
    pub tag: String,
    /// What it pointed at, where that is what is followed: `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl fmt::Display for FollowedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.digest {
            Some(digest) => write!(f, "{}@{}", self.tag, digest.get(..19).unwrap_or(digest)),
            None => f.write_str(&self.tag),
        }
    }
}

/// The versions that were found for the followed images of a stack, by service.
pub type FollowedVersions = BTreeMap<String, FollowedVersion>;

/// What is known of an image that a stack follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowedStatus {
    /// The rule this was found by.
    pub rule: FollowRule,
    /// Where the image is.
    pub repository: Repository,
    /// The version that is to run by the rule, of the newest look that found one.
    pub version: Option<FollowedVersion>,
    /// Since when it is that one.
    pub since: Option<Timestamp>,
    /// Newer versions that are passed over, because they failed here.
    pub skipped: Vec<String>,
    /// Why there is none, or why it could not be looked at anew.
    pub error: Option<String>,
}

/// What is known of a repository of images that is followed, by whatever stacks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryStatus {
    /// When the newest look that was answered began.
    pub checked_at: Option<Timestamp>,
    /// When the next one is due.
    pub next_at: Option<Timestamp>,
    /// How many tags there are, if they were asked for.
    pub tags: Option<u64>,
    /// Why the newest look failed, if it did.
    pub error: Option<String>,
    /// Until when its registry asked to be left alone, if that is what it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_alone_until: Option<Timestamp>,
}

/// What a registry said of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// All its tags, if they were asked for.
    pub tags: Option<Arc<BTreeSet<String>>>,
    /// What single tags point at, if that was asked for; none: there is no such tag.
    pub digests: BTreeMap<String, Option<String>>,
}

/// A version that failed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The tag.
    pub tag: String,
    /// What it pointed at then, if that is known.
    pub digest: Option<String>,
}

/// What a rule finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// This version.
    Version(FollowedVersion),
    /// Nothing fits; what there is instead.
    Nothing(String),
    /// What fits has failed here, all of it.
    AllFailed,
    /// It has to be asked first: the tags, if they are not known, and what these tags point at.
    Ask(BTreeSet<String>),
}

/// What is chosen, and what was passed over for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The choice.
    pub choice: Choice,
    /// Tags that would have been chosen before, and failed here, the newest first.
    pub skipped: Vec<String>,
    /// Tags of which it is worth knowing what they point at: pushed anew, they are tried anew.
    pub watched: BTreeSet<String>,
}

/// Chooses a version: the newest that fits and has not failed here. `good` is what runs well; it stays what is wanted for as
/// long as it fits and nothing newer does, also when its tag is taken away, so that nothing goes back by itself.
///
/// A version failed by its digest: when its tag points at something else by now, it is as new as any other.
#[must_use]
pub fn choose(rule: &FollowRule, seen: &Seen, failed: &[Failed], good: Option<&FollowedVersion>) -> Chosen {
    if let Some(tag) = rule.one_tag() {
        return choose_digest(tag, seen, failed, good);
    }
    let mut chosen = Chosen { choice: Choice::Ask(BTreeSet::new()), skipped: Vec::new(), watched: BTreeSet::new() };
    let Some(tags) = &seen.tags else { return chosen };
    let kept = good.map(|good| good.tag.as_str()).filter(|good| !tags.contains(*good));
    let found = rule.newest_first(tags.iter().map(String::as_str).chain(kept));
    for tag in &found {
        let known: Vec<&Failed> = failed.iter().filter(|failed| failed.tag == *tag).collect();
        if known.is_empty() {
            chosen.choice = Choice::Version(FollowedVersion { tag: (*tag).to_owned(), digest: None });
            return chosen;
        }
        chosen.watched.insert((*tag).to_owned());
        let anew = known.iter().all(|failed| failed.digest.is_some());
        match seen.digests.get(*tag) {
            Some(Some(digest)) if anew && known.iter().all(|failed| failed.digest.as_ref() != Some(digest)) => {
                // What it points at now tells it from what failed.
                let digest = Some(digest.clone());
                chosen.choice = Choice::Version(FollowedVersion { tag: (*tag).to_owned(), digest });
                return chosen;
            }
            None if anew => {
                chosen.choice = Choice::Ask(chosen.watched.clone());
                return chosen;
            }
            _ => chosen.skipped.push((*tag).to_owned()),
        }
    }
    chosen.choice = if found.is_empty() { Choice::Nothing(instead(rule, tags)) } else { Choice::AllFailed };
    chosen
}

fn choose_digest(tag: &str, seen: &Seen, failed: &[Failed], good: Option<&FollowedVersion>) -> Chosen {
    let watched = BTreeSet::from([tag.to_owned()]);
    let mut skipped = Vec::new();
    let choice = match seen.digests.get(tag) {
        None => Choice::Ask(watched.clone()),
        Some(None) => match good.filter(|good| good.tag == tag && good.digest.is_some()) {
            Some(good) => Choice::Version(good.clone()),
            None => Choice::Nothing(format!("there is no tag `{tag}`")),
        },
        Some(Some(digest)) => {
            let is_it = |failed: &Failed| failed.tag == tag && failed.digest.as_ref() == Some(digest);
            if failed.iter().any(is_it) {
                skipped.push(FollowedVersion { tag: tag.to_owned(), digest: Some(digest.clone()) }.to_string());
                match good.filter(|good| good.tag == tag && good.digest.is_some()) {
                    Some(good) => Choice::Version(good.clone()),
                    None => Choice::AllFailed,
                }
            } else {
                Choice::Version(FollowedVersion { tag: tag.to_owned(), digest: Some(digest.clone()) })
            }
        }
    };
    Chosen { choice, skipped, watched }
}

/// What there is when nothing fits.
fn instead(rule: &FollowRule, tags: &BTreeSet<String>) -> String {
    if tags.is_empty() {
        return "it has no tags".to_owned();
    }
    let named: Vec<&str> = match rule {
        FollowRule::Semver(_) => {
            let mut versions: Vec<(semver::Version, &str)> =
                tags.iter().filter_map(|tag| Some((tag_version(tag)?, tag.as_str()))).collect();
            versions.sort_by(|a, b| b.cmp(a));
            versions.into_iter().map(|(_, tag)| tag).take(NAMED).collect()
        }
        FollowRule::Digest(_) | FollowRule::Pattern(_) => Vec::new(),
    };
    let (named, newest) = if named.is_empty() {
        (tags.iter().rev().map(String::as_str).take(NAMED).collect(), "")
    } else {
        (named, ", the newest versions first")
    };
    format!("of {} tags none fits; there are {}{newest}", tags.len(), named.join(", "))
}

#[cfg(test)]
mod tests;
