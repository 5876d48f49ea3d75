//! Why a conversation or a look at the local copy failed, and what that means to the caller.
//!
//! The transports are Skep's own, so the true cause is noted where it happens ([`Cause`]). Only what a program or a host
//! says in words is judged by its words.

use std::io;

use crate::domain::GitUrl;
use crate::outbound::ssh::says_untrusted;
use crate::ports::SourceError;

/// How an attempt ended, inside this adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// As the port says it.
    Source(SourceError),
    /// The local copy is damaged; a fresh one may mend it.
    Damaged(String),
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl Failure {
    /// The port's word for it, when nothing more can be done here.
    pub(super) fn into_source(self, url: &GitUrl) -> SourceError {
        match self {
            Self::Source(error) => error,
            Self::Damaged(reason) => local(url, format!("{reason}; a fresh copy did not mend it")),
        }
    }
}

/// What a transport saw. The first one counts; what follows is its echo.
#[derive(Debug, Clone)]
pub(super) enum Cause {
    /// An http answer other than success.
    Status(u16),
    /// Not allowed by this installation.
    Forbidden(String),
    /// Over a limit.
    TooLarge(String),
    /// No connection, silence, or a program that cannot be started.
    Network(String),
    /// What ssh or git said on its error output.
    Said(String),
}

/// [`SourceError::Unreachable`].
pub(super) fn unreachable(url: &GitUrl, reason: impl Into<String>) -> SourceError {
    SourceError::Unreachable { url: url.to_string(), reason: reason.into() }
}

/// [`SourceError::Local`].
pub(super) fn local(url: &GitUrl, reason: impl Into<String>) -> SourceError {
    SourceError::Local { url: url.to_string(), reason: reason.into() }
}

/// [`SourceError::Forbidden`].
pub(super) fn forbidden(url: &GitUrl, reason: impl Into<String>) -> SourceError {
    SourceError::Forbidden { url: url.to_string(), reason: reason.into() }
}

/// [`SourceError::NoSuchRef`].
pub(super) fn no_such_ref(url: &GitUrl, wanted: &str, hint: impl Into<String>) -> SourceError {
    SourceError::NoSuchRef { url: url.to_string(), wanted: wanted.to_owned(), hint: hint.into() }
}

/// An error together with whether it is certain that the local copy has no part in it.
pub(super) struct Explained {
    /// The port's word for it.
    pub(super) error: SourceError,
    /// False when the bytes made no sense to somebody: the host's fault, or that of a damaged local copy.
    pub(super) certain: bool,
}

/// What an error of the library means, given what the transport saw.
pub(super) fn explain(url: &GitUrl, cause: Option<Cause>, error: &gix::Error) -> Explained {
    let sure = |error| Explained { error, certain: true };
    let name = || url.to_string();
    match cause {
        Some(Cause::Status(code @ (401 | 403 | 407))) => {
            sure(SourceError::Unauthorized { url: name(), reason: format!("it answered {code}") })
        }
        Some(Cause::Status(code @ (404 | 410))) => {
            sure(SourceError::NotFound { url: name(), reason: format!("it answered {code}") })
        }
        Some(Cause::Status(code)) => sure(unreachable(url, format!("it answered {code}"))),
        Some(Cause::Forbidden(reason)) => sure(forbidden(url, reason)),
        Some(Cause::TooLarge(reason)) => sure(SourceError::TooLarge { url: name(), reason }),
        Some(Cause::Network(reason)) => sure(unreachable(url, reason)),
        Some(Cause::Said(text)) => match by_words(url, &text) {
            Some(error) => sure(error),
            None => Explained { error: unreachable(url, text), certain: false },
        },
        None => {
            if let Some(reason) = local_trouble(error) {
                return sure(local(url, reason));
            }
            let text = chain(error);
            // The host's words or the library's own: not certain either way.
            let error =
                by_words(url, &text).unwrap_or_else(|| unreachable(url, format!("its answer makes no sense ({text})")));
            Explained { error, certain: false }
        }
    }
}

/// Whether a host's error says that it has no such object.
pub(super) fn says_no_such_commit(error: &SourceError) -> bool {
    let (SourceError::Unreachable { reason, .. } | SourceError::NotFound { reason, .. }) = error else { return false };
    let reason = reason.to_lowercase();
    ["not our ref", "no such remote ref", "unadvertised object", "matched any of the"]
        .iter()
        .any(|w| reason.contains(w))
}

fn by_words(url: &GitUrl, text: &str) -> Option<SourceError> {
    const MISSING: [&str; 6] = [
        "repository not found",
        "repository does not exist",
        "does not appear to be a git repository",
        "not a git repository",
        "looking for could not be found",
        "project not found",
    ];
    const REFUSED: [&str; 5] = [
        "permission denied",
        "authentication failed",
        "access denied",
        "too many authentication failures",
        "dubious ownership",
    ];
    let words = text.to_lowercase();
    let has = |list: &[&str]| list.iter().any(|word| words.contains(word));
    if says_untrusted(text) {
        let reason = format!("{text}; check the host's key and add it to the known hosts of ssh");
        return Some(SourceError::HostKey { url: url.to_string(), reason });
    }
    if has(&REFUSED) {
        return Some(SourceError::Unauthorized { url: url.to_string(), reason: text.to_owned() });
    }
    if has(&MISSING) {
        return Some(SourceError::NotFound { url: url.to_string(), reason: text.to_owned() });
    }
    None
}

/// An error number of the operating system can only come from the disk: the transports note their own.
fn local_trouble(error: &gix::Error) -> Option<String> {
    error.iter_errors().find_map(|error| {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(io) = error.downcast_ref::<io::Error>()
                && io.raw_os_error().is_some()
                && !matches!(io.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::NotFound)
            {
                return Some(format!("{io}; check the disk and the rights of the data folder"));
            }
            next = error.source();
        }
        None
    })
}

/// The first line of each error in a chain, without repetitions, for people.
pub(super) fn chain(error: &gix::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for error in error.iter_errors() {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default().trim().to_owned();
            if !line.is_empty() && !parts.iter().any(|part| part.contains(&line)) {
                parts.push(line);
            }
            next = error.source();
        }
    }
    plain(&parts.join(": "))
}

/// Text from outside made fit for a message: no control characters, not endless.
pub(super) fn plain(text: &str) -> String {
    const MOST: usize = 400;
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let clean = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    match clean.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean,
    }
}
