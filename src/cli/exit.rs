//! What a command ends with: one table of codes, and the errors that carry them.

use std::fmt;

/// How a command ended, as its exit code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// Done; for `diff`: no difference.
    Done,
    /// The server, the network, or what was sent is at fault; for `diff`: there is a difference.
    Error,
    /// The command line makes no sense; for `diff`: any error.
    Usage,
    /// A stack, deployment or environment is not there.
    NotFound,
    /// Sign-in, permission or policy.
    Refused,
    /// Someone else was faster, or the thing is not in a state for it.
    Conflict,
    /// The deployment failed, or was cancelled; nothing was brought back.
    Failed,
    /// The deployment failed, and the last good version is back.
    RolledBack,
    /// The time to wait is up; the deployment goes on.
    TimedOut,
    /// A newer version came.
    Superseded,
    /// A person stopped waiting; the deployment goes on.
    Interrupted,
}

impl Exit {
    /// The code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::Conflict => 5,
            Self::Failed => 10,
            Self::RolledBack => 11,
            Self::TimedOut => 12,
            Self::Superseded => 13,
            Self::Interrupted => 130,
        }
    }

    /// What to type when nothing closer to the cause is known.
    pub(super) fn usual_next(self) -> &'static str {
        match self {
            Self::Usage => "see what it takes: `skep help COMMAND`",
            Self::NotFound => "see what there is: `skep get stacks`; another environment: -e NAME",
            Self::Refused => "use a token that may: --token TOKEN, or SKEP_TOKEN",
            Self::Conflict => "look at how it stands now, and do it again: `skep get stacks`",
            _ => "see whether everything works: `skep doctor`",
        }
    }

    /// For a code of the server, of a user error or of an error's extensions.
    pub(super) fn of_server(code: &str) -> Self {
        match code {
            "NOT_FOUND" => Self::NotFound,
            "UNAUTHENTICATED" | "FORBIDDEN" => Self::Refused,
            "CONFLICT" => Self::Conflict,
            _ => Self::Error,
        }
    }

    /// For the phase of a deployment; none while it goes on.
    pub(super) fn of_phase(phase: &str) -> Option<Self> {
        Some(match phase {
            "Converged" => Self::Done,
            "Failed" | "Cancelled" => Self::Failed,
            "RolledBack" => Self::RolledBack,
            "Superseded" => Self::Superseded,
            _ => return None,
        })
    }
}

/// What the long help says about codes.
pub(super) const CODES: &str = "Exit codes:
  0    done, no difference
  1    error (server, network, refused input); for diff: a difference
  2    usage; for diff: any error
  3    not found
  4    refused (sign-in, permission, policy)
  5    conflict (--expect-generation, or not in a state for it)
  10   the deployment failed
  11   the deployment failed and was rolled back
  12   timed out, still going on
  13   superseded by a newer version
  130  interrupted, the deployment goes on";

/// Why a command did not do what it should, and what to type next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CliError {
    pub(super) exit: Exit,
    /// Empty when there is nobody to tell.
    pub(super) message: String,
    pub(super) next: Option<String>,
}

impl CliError {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), next: None }
    }

    /// With what to type, or to do, next.
    pub(super) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// The same, unless something closer to the cause has been said.
    pub(super) fn or_next(mut self, next: impl Into<String>) -> Self {
        self.next.get_or_insert_with(|| next.into());
        self
    }

    /// Whoever read the output has gone away: nothing is left to say.
    pub(super) fn reader_gone() -> Self {
        Self::new(Exit::Done, "")
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_end_has_the_code_of_the_contract() {
        let table = [
            (Exit::Done, 0),
            (Exit::Error, 1),
            (Exit::Usage, 2),
            (Exit::NotFound, 3),
            (Exit::Refused, 4),
            (Exit::Conflict, 5),
            (Exit::Failed, 10),
            (Exit::RolledBack, 11),
            (Exit::TimedOut, 12),
            (Exit::Superseded, 13),
            (Exit::Interrupted, 130),
        ];
        for (exit, code) in table {
            assert_eq!(exit.code(), code, "{exit:?}");
            assert!(CODES.lines().any(|line| line.trim_start().starts_with(&format!("{code} "))), "{code} in the help");
        }
    }

    #[test]
    fn a_deployment_ends_only_in_its_terminal_phases() {
        use crate::domain::DeploymentPhase as Phase;
        for phase in [
            Phase::Pending,
            Phase::Fetching,
            Phase::Rendering,
            Phase::AwaitingApproval,
            Phase::Applying,
            Phase::Verifying,
            Phase::Converged,
            Phase::RollingBack,
            Phase::RolledBack,
            Phase::Failed,
            Phase::Superseded,
            Phase::Cancelled,
        ] {
            assert_eq!(Exit::of_phase(&format!("{phase:?}")).is_some(), phase.is_terminal(), "{phase:?}");
        }
    }
}
