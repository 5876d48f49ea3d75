//! What containers do, by script.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::ContainerSpec;
use crate::ports::{EngineCheck, ImageError, ResolvedImage};

/// What the containers of an image do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// They start and run until told to stop.
    Run,
    /// They start as always, but are healthy only after this long.
    Slow {
        /// From `starting` to `running`.
        ready_after: Duration,
    },
    /// They run, then end.
    Exit {
        /// From `running` to the end.
        after: Duration,
        /// With 0 the task is `complete`, with any other `failed`.
        code: i64,
    },
    /// They are never healthy: `starting` until the check gives up, then `failed`.
    Unhealthy {
        /// From `starting` to the failure.
        after: Duration,
    },
    /// They are never healthy and end with 0 when told to: for a moment `running`, then `complete`. With start-first the
    /// good task has been told to stop by then.
    UnhealthyExitZero {
        /// From `starting` to that moment.
        after: Duration,
    },
    /// They are healthy first, and later not: killed, and `failed` (`complete` if they end with 0).
    ExitAfterHealthy {
        /// From `running` to the end.
        after: Duration,
        /// The exit code.
        code: i64,
    },
    /// The kernel kills them for their memory.
    OutOfMemory {
        /// From `running` to the end.
        after: Duration,
    },
    /// The image is not there: `rejected`.
    Missing,
    /// The preparation fails with this text: `rejected`.
    Rejected {
        /// The engine's words, such as a registry's refusal.
        error: String,
    },
    /// The pull never ends: `preparing` for ever.
    PullHangs,
    /// The start fails with this text: `failed` without ever running.
    StartFails {
        /// The engine's words.
        error: String,
    },
}

/// How the pull of an image ends.
pub(super) enum Pull {
    Done,
    Never,
    Rejected(String),
}

/// The way a container comes up.
pub(super) enum Start {
    /// Running after this long; `None` is the usual time.
    Running(Option<Duration>),
    Failed {
        after: Duration,
        error: String,
        code: Option<i64>,
    },
}

/// The end of a container nobody told to stop.
pub(super) struct End {
    pub(super) after: Duration,
    pub(super) code: i64,
    pub(super) error: String,
}

const UNHEALTHY: &str = "task: non-zero exit (137): dockerexec: unhealthy container";
const SOON: Duration = Duration::from_millis(100);
const AT_ONCE: Duration = Duration::from_millis(5);

impl Behaviour {
    /// Reads a word: `run`, `exit:CODE[:AFTER]`, `unhealthy[:AFTER]`, `unhealthy-zero[:AFTER]`,
    /// `healthy-exit:CODE[:AFTER]`, `slow:AFTER`, `oom[:AFTER]`, `missing`, `hang`, `reject:TEXT`, `start-fails:TEXT`.
    /// `AFTER` is such as `500ms`, `3s` or `2m`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let (name, rest) = word.split_once(':').unwrap_or((word, ""));
        let after =
            |text: &str, usual: u64| if text.is_empty() { Some(Duration::from_secs(usual)) } else { span(text) };
        let coded = || {
            let (code, time) = rest.split_once(':').unwrap_or((rest, ""));
            Some((code.parse().ok()?, after(time, 0)?))
        };
        Some(match name {
            "run" => Self::Run,
            "exit" => coded().map(|(code, after)| Self::Exit { after, code })?,
            "healthy-exit" => coded().map(|(code, after)| Self::ExitAfterHealthy { after, code })?,
            "unhealthy" => Self::Unhealthy { after: after(rest, 3)? },
            "unhealthy-zero" => Self::UnhealthyExitZero { after: after(rest, 3)? },
            "slow" => Self::Slow { ready_after: after(rest, 10)? },
            "oom" => Self::OutOfMemory { after: after(rest, 1)? },
            "missing" => Self::Missing,
            "hang" => Self::PullHangs,
            "reject" => Self::Rejected { error: rest.to_owned() },
            "start-fails" => Self::StartFails { error: rest.to_owned() },
            _ => return None,
        })
    }

    pub(super) fn pull(&self, image: &str) -> Pull {
        match self {
            Self::Missing => Pull::Rejected(format!("No such image: {image}")),
            Self::Rejected { error } => Pull::Rejected(error.clone()),
            Self::PullHangs => Pull::Never,
            _ => Pull::Done,
        }
    }

    pub(super) fn start(&self) -> Start {
        match self {
            Self::Slow { ready_after } => Start::Running(Some(*ready_after)),
            Self::UnhealthyExitZero { after } => Start::Running(Some(*after)),
            Self::Unhealthy { after } => Start::Failed { after: *after, error: UNHEALTHY.to_owned(), code: Some(137) },
            Self::StartFails { error } => Start::Failed { after: SOON, error: error.clone(), code: Some(127) },
            _ => Start::Running(None),
        }
    }

    pub(super) fn end(&self) -> Option<End> {
        let end = |after: &Duration, code: i64| End {
            after: (*after).max(AT_ONCE),
            code,
            error: if code == 0 { String::new() } else { format!("task: non-zero exit ({code})") },
        };
        match self {
            Self::Exit { after, code } => Some(end(after, *code)),
            Self::OutOfMemory { after } => Some(end(after, 137)),
            Self::UnhealthyExitZero { .. } => Some(end(&SOON, 0)),
            Self::ExitAfterHealthy { after, code } => {
                let mut end = end(after, *code);
                if *code != 0 {
                    end.error.push_str(": dockerexec: unhealthy container");
                }
                Some(end)
            }
            _ => None,
        }
    }

    /// What its health checks come to, the oldest first.
    pub(super) fn checks(&self, output: &str) -> Vec<EngineCheck> {
        let check = |exit_code: i64| EngineCheck { time: None, exit_code, output: output.to_owned() };
        match self {
            Self::Unhealthy { .. } | Self::UnhealthyExitZero { .. } => vec![check(1), check(1), check(1)],
            Self::ExitAfterHealthy { .. } => vec![check(0), check(1), check(1)],
            _ => Vec::new(),
        }
    }

    /// What such a container writes, unless the script has lines for its image.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = match self {
            Self::Exit { code, .. } => format!("exiting with {code}"),
            Self::Unhealthy { .. } | Self::UnhealthyExitZero { .. } | Self::ExitAfterHealthy { .. } => {
                "health check failed".to_owned()
            }
            Self::OutOfMemory { .. } => "allocating".to_owned(),
            Self::Run | Self::Slow { .. } => "ready".to_owned(),
            Self::Missing | Self::Rejected { .. } | Self::PullHangs | Self::StartFails { .. } => return Vec::new(),
        };
        vec!["starting".to_owned(), line]
    }
}

fn span(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match &text[digits.len()..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" | "" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number * 60)),
        _ => None,
    }
}

/// Who behaves how.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) usual: Behaviour,
    pub(super) images: BTreeMap<String, Behaviour>,
    pub(super) lines: BTreeMap<String, Vec<String>>,
    /// What the health checks of an image write.
    pub(super) checks: BTreeMap<String, String>,
    /// What registries say of an image.
    pub(super) registry: BTreeMap<String, Result<ResolvedImage, ImageError>>,
}

/// Whether `image` is the one scripted as `known`: the same reference, or the same but for its digest.
fn by_image<'a, T>(table: &'a BTreeMap<String, T>, image: &str) -> Option<&'a T> {
    table.get(image).or_else(|| table.get(image.split_once('@')?.0))
}

impl Script {
    /// What a container of this spec does: `SIM=word` in its environment, arguments or command comes first, then what is
    /// scripted for the image, then the usual.
    pub(super) fn behaviour(&self, container: &ContainerSpec) -> Behaviour {
        let words = container.env.iter().chain(&container.args).chain(&container.command);
        words
            .filter_map(|word| word.strip_prefix("SIM="))
            .find_map(Behaviour::parse)
            .or_else(|| by_image(&self.images, &container.image).cloned())
            .unwrap_or_else(|| self.usual.clone())
    }

    pub(super) fn checks(&self, container: &ContainerSpec) -> Vec<EngineCheck> {
        let output = by_image(&self.checks, &container.image).map_or("no answer on port 8080", String::as_str);
        self.behaviour(container).checks(output)
    }

    pub(super) fn lines(&self, container: &ContainerSpec) -> Vec<String> {
        let scripted = by_image(&self.lines, &container.image).cloned();
        scripted.unwrap_or_else(|| self.behaviour(container).lines())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_in_the_environment_says_what_a_container_does() {
        let second = Duration::from_secs(1);
        assert_eq!(Behaviour::parse("exit:3"), Some(Behaviour::Exit { after: Duration::ZERO, code: 3 }));
        assert_eq!(Behaviour::parse("exit:0:1s"), Some(Behaviour::Exit { after: second, code: 0 }));
        assert_eq!(Behaviour::parse("slow:1000ms"), Some(Behaviour::Slow { ready_after: second }));
        assert_eq!(Behaviour::parse("unhealthy:60s"), Behaviour::parse("unhealthy:1m"));
        assert_eq!(Behaviour::parse("dance"), None);
        assert_eq!(Behaviour::parse("exit:x"), None);
    }

    #[test]
    fn an_image_is_known_with_and_without_its_digest() {
        let images = BTreeMap::from([("app:bad".to_owned(), Behaviour::Missing)]);
        let script = Script {
            usual: Behaviour::Run,
            images,
            lines: BTreeMap::new(),
            checks: BTreeMap::new(),
            registry: BTreeMap::new(),
        };
        let of = |image: &str| script.behaviour(&ContainerSpec { image: image.into(), ..ContainerSpec::default() });
        assert_eq!(of("app:bad@sha256:00"), Behaviour::Missing);
        assert_eq!(of("app:good"), Behaviour::Run);
    }
}
