//! Typed statements about a stack, after the Kubernetes conventions: a status, a reason from a fixed list, a sentence.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConditionType {
    /// The summary: what is wanted runs.
    Ready,
    /// Work is under way.
    Reconciling,
    /// Nothing will change by itself; a person has to look.
    Stalled,
    /// The ref could be resolved and fetched.
    SourceReady,
    /// The images that are followed are found. Only of a stack that follows some.
    ImagesReady,
    /// The compose files could be rendered.
    Rendered,
    /// The engine has accepted every step.
    Applied,
    /// Every wanted task runs.
    Healthy,
    /// The desired version failed; the last good one runs.
    RolledBack,
    /// Live differs from what was applied.
    Drifted,
    /// There is a last good version, and what it needs is still there.
    RollbackReady,
    /// Nothing is written for now.
    Suspended,
}

/// Whether `True` is good news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polarity {
    /// `True` is good.
    Positive,
    /// `True` is abnormal; the condition is absent otherwise.
    Negative,
}

impl ConditionType {
    /// Whether `True` is good news for this type.
    #[must_use]
    pub fn polarity(self) -> Polarity {
        match self {
            Self::Ready
            | Self::SourceReady
            | Self::ImagesReady
            | Self::Rendered
            | Self::Applied
            | Self::Healthy
            | Self::RollbackReady => Polarity::Positive,
            Self::Reconciling | Self::Stalled | Self::RolledBack | Self::Drifted | Self::Suspended => {
                Polarity::Negative
            }
        }
    }
}

/// The three answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

/// Why a condition is as it is: a stable word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it; the message of the condition says the rest")]
pub enum Reason {
    Progressing,
    Succeeded,
    Suspended,
    SourceUnreachable,
    RefNotFound,
    AuthenticationFailed,
    RenderFailed,
    PreflightFailed,
    ImageMissing,
    NoSuitableNode,
    TaskFailed,
    HealthCheckFailed,
    DeadlineExceeded,
    InfrastructureUnavailable,
    EngineUnreachable,
    RelayUnreachable,
    NotAManager,
    Foreign,
    Conflict,
    RollingBack,
    RolledBack,
    RollbackFailed,
    NoLastGood,
    LastGoodUnreadable,
    Held,
    Pinned,
    Cancelled,
    Observing,
    DriftDetected,
    DriftCorrected,
    TasksMissing,
    Deleting,
    WaitingForPin,
    AwaitingApproval,
    DependencyNotReady,
    ScheduleClosed,
    RegistryUnreachable,
    NothingFits,
}

/// A typed statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Yes, no, unknown.
    pub status: ConditionStatus,
    /// The stable word.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
    /// The generation it was found at.
    pub observed_generation: u64,
    /// When `status` last changed.
    pub since: Timestamp,
}

/// Puts `condition` among `conditions`, one of a type, sorted by type. `since` is kept when the status did not change.
/// An abnormal-true condition that is not true is taken away. Returns whether anything changed.
pub fn set_condition(conditions: &mut Vec<Condition>, mut condition: Condition) -> bool {
    let place = conditions.iter().position(|known| known.kind == condition.kind);
    let absent = condition.kind.polarity() == Polarity::Negative && condition.status == ConditionStatus::False;
    match (place, absent) {
        (Some(at), true) => {
            conditions.remove(at);
            true
        }
        (None, true) => false,
        (Some(at), false) => {
            let known = &conditions[at];
            if known.status == condition.status {
                condition.since = known.since;
            }
            let changed = *known != condition;
            conditions[at] = condition;
            changed
        }
        (None, false) => {
            conditions.push(condition);
            conditions.sort_by_key(|known| known.kind);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: ConditionType, status: ConditionStatus, second: i64) -> Condition {
        let since = Timestamp::from_second(second).unwrap_or_default();
        Condition { kind, status, reason: Reason::Progressing, message: String::new(), observed_generation: 1, since }
    }

    #[test]
    fn since_moves_only_with_the_status() {
        let mut all = Vec::new();
        assert!(set_condition(&mut all, condition(ConditionType::Ready, ConditionStatus::False, 1)));
        assert!(!set_condition(&mut all, condition(ConditionType::Ready, ConditionStatus::False, 2)));
        assert_eq!(all[0].since.as_second(), 1);
        assert!(set_condition(&mut all, condition(ConditionType::Ready, ConditionStatus::True, 3)));
        assert_eq!(all[0].since.as_second(), 3);
    }

    #[test]
    fn an_abnormal_condition_is_absent_when_it_is_not_so() {
        let mut all = Vec::new();
        assert!(set_condition(&mut all, condition(ConditionType::Stalled, ConditionStatus::True, 1)));
        assert!(set_condition(&mut all, condition(ConditionType::Stalled, ConditionStatus::False, 2)));
        assert!(all.is_empty());
        assert!(!set_condition(&mut all, condition(ConditionType::Stalled, ConditionStatus::False, 3)));
    }
}
