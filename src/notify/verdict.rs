//! What an answer means, and how long to wait before the next attempt. Values in, values out.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;

use super::http::Answer;
use crate::domain::NotifierType;

/// The longest wait that a receiver may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken.
    Delivered,
    /// It is to be tried again, not before this time from now if the receiver said so.
    Again {
        /// What the receiver asked for.
        after: Option<Duration>,
        /// Why it was not taken.
        why: String,
    },
    /// This message will never be taken.
    GivenUp {
        /// Why.
        why: String,
    },
}

/// What an answer means.
///
/// What is wrong with one message (a commit that is not there, a body that is refused) is not tried again. What is wrong
/// with the receiver, or with what was declared of it, is: it may be mended. Of a commit's status the address is the
/// message's own, so that a refusal says nothing of the next.
#[must_use]
pub fn of(kind: NotifierType, answer: &Answer, now: Timestamp) -> Verdict {
    let Answer { status, said, .. } = answer;
    let why = match said.as_str() {
        "" => format!("it answered {status}"),
        said => format!("it answered {status}: {said}"),
    };
    let after = asked(answer, now);
    match status {
        200..300 => Verdict::Delivered,
        // It has that state already: GitLab takes each only once.
        400 if kind == NotifierType::GitLabStatus && said.contains("Cannot transition status") => Verdict::Delivered,
        408 | 425 | 429 | 500.. => Verdict::Again { after, why },
        // What signs in is not the message's: it may be renewed.
        401 => Verdict::Again { after, why },
        403 if after.is_some() || said.to_lowercase().contains("rate limit") => Verdict::Again { after, why },
        300..400 => match kind.is_status() {
            true => Verdict::GivenUp { why: format!("{why}; redirects are not followed") },
            false => Verdict::Again { after, why: format!("{why}; redirects are not followed: name that address") },
        },
        400 | 405 | 406 | 409 | 411..=417 | 422 => Verdict::GivenUp { why },
        _ if kind.is_status() => Verdict::GivenUp { why },
        _ => Verdict::Again { after, why },
    }
}

/// How long the receiver asked to wait: `Retry-After` (RFC 9110, 10.2.3), or GitHub's word that no request is left until
/// then.
fn asked(answer: &Answer, now: Timestamp) -> Option<Duration> {
    let until = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
    let wait = match answer.retry_after.as_deref().map(str::trim) {
        Some(text) => match text.parse::<u64>() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => rfc2822::DateTimeParser::new().parse_timestamp(text).ok().map(until),
        },
        None => answer.limit_resets.and_then(|second| Timestamp::from_second(second).ok()).map(until),
    };
    wait.map(|wait| wait.min(LONGEST_ASKED))
}

/// The wait after so many attempts in vain: twice as long each time up to the longest, the second half of it by chance.
#[must_use]
pub fn backoff(attempts: u32, first: Duration, longest: Duration, random: u64) -> Duration {
    let doubled = first.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(longest);
    let half = doubled / 2;
    let chance = u32::try_from(random % 1000).unwrap_or(0);
    half + half * chance / 1000
}
