//! A stack's status: what was found. Only the controller writes it. And the two pure functions over it: which version is
//! worked towards, and the one word for people.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    AdoptedNames, Condition, ConditionStatus, ConditionType, DeploymentId, DeploymentPhase, Digest, FollowedStatus,
    FollowedVersions, ImageChoice, Inventory, Kept, OnFailure, Policy, Reason, Revision, SourceStatus, Stack, Trigger,
};

/// What was found of a stack.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StackStatus {
    /// The newest generation that became Ready or Stalled.
    pub observed_generation: u64,
    /// What the last look at the source found.
    pub source: Option<SourceStatus>,
    /// What is known of the images that are followed, by service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub followed: BTreeMap<String, FollowedStatus>,
    /// The newest version asked for, as far as it is known.
    pub desired: Option<Pointer>,
    /// The version being worked towards.
    pub target: Option<Target>,
    /// The version that runs, as far as it is known.
    pub live: Option<Pointer>,
    /// The newest converged version.
    pub last_good: Option<LastGood>,
    /// Versions that failed here and are not tried again by themselves.
    pub held: Vec<Held>,
    /// The newest deployment and where it stands.
    pub attempt: Option<Attempt>,
    /// When it was taken up, moved on by suspended time: deadlines before the first write count from here.
    #[serde(default)]
    pub attempt_since: Option<Timestamp>,
    /// Objects owned.
    pub inventory: Inventory,
    /// Engine ids of jobs' services that were removed before their tasks had ended: nothing else runs until they have.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ending: BTreeSet<String>,
    /// Names that configs and secrets had before the stack was taken over, and keep.
    #[serde(default, skip_serializing_if = "AdoptedNames::is_empty")]
    pub adopted: AdoptedNames,
    /// The irreversible version that has begun to write since the last one converged: what ran before it does not come back
    /// by itself, whatever newer versions say of themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point_of_no_return: Option<DeploymentId>,
    /// Typed statements.
    pub conditions: Vec<Condition>,
    /// Foreign changes found, and what was done.
    pub drift: DriftStatus,
    /// The last `reconcile` request that was honoured.
    pub handled_reconcile: Option<String>,
    /// The last `release-hold` request that was honoured.
    pub handled_release: Option<String>,
    /// The newest declared deployment that was taken up.
    pub seen: Option<DeploymentId>,
    /// The deployment that waits before its first write while what runs is put right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<DeploymentId>,
    /// Since when a suspension has been honoured: that time is not counted by any deadline.
    pub suspended_since: Option<Timestamp>,
}

/// A version by what tells it apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pointer {
    /// The commit.
    pub revision: Option<Revision>,
    /// The images.
    pub images: Vec<ImageChoice>,
    /// What followed images were found to be.
    #[serde(default, skip_serializing_if = "FollowedVersions::is_empty")]
    pub followed: FollowedVersions,
    /// Keyed digest, once rendered.
    pub digest: Option<Digest>,
    /// The deployment it came with.
    pub deployment: DeploymentId,
    /// The generation it belongs to.
    pub generation: u64,
}

/// Why the target is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetKind {
    /// The desired version.
    Desired,
    /// The last good one, because the desired one is held.
    LastGood,
    /// A person's pin.
    Pinned,
    /// Nothing: the desired one is held, and there is nothing to go back to, or the policy says to hold.
    Nothing,
}

/// What is worked towards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Why it is this.
    pub kind: TargetKind,
    /// Which it is.
    pub version: Option<Pointer>,
}

/// The newest converged version. Never evicted, and what it needs is never collected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastGood {
    /// Which it is.
    pub version: Pointer,
    /// Where its sealed desired objects are.
    pub kept: Kept,
    /// When it converged.
    pub since: Timestamp,
}

/// A version that failed here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// Which it is.
    pub version: Pointer,
    /// Why, in one sentence.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// The newest deployment of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its id.
    pub id: DeploymentId,
    /// Where it stands.
    pub phase: DeploymentPhase,
    /// What set it off.
    pub trigger: Trigger,
    /// It answers the failure of another.
    pub automatic_rollback: bool,
}

/// Foreign changes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DriftStatus {
    /// What differs now, one line for each change; empty when nothing does.
    pub found: Vec<String>,
    /// Digest of what differs, with its values, keyed as all digests are: the same difference is told once, whatever else the
    /// engine writes to its objects meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Digest>,
    /// All of it stays as it is: the policy is to report it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stays: bool,
    /// How often in a row drift was corrected; set back when it stays away.
    pub corrections: u32,
    /// When it was last corrected.
    pub corrected_at: Option<Timestamp>,
}

/// The one word for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the contract; see `phase`")]
pub enum StackPhase {
    Pending,
    Progressing,
    Converged,
    RollingBack,
    RolledBack,
    Degraded,
    Failed,
    Suspended,
    Unknown,
}

/// Which version is to be worked towards: a pure function of spec, pin, held and last good.
///
/// A pin comes first. A desired version that is held is answered with the last good one, unless the policy holds, the
/// version cannot be gone back past, or there is none.
#[must_use]
pub fn target(stack: &Stack, status: &StackStatus) -> TargetKind {
    if stack.control.pin.is_some() {
        return TargetKind::Pinned;
    }
    let desired = status.desired.as_ref().and_then(|desired| desired.digest.as_ref());
    let held = desired.is_some_and(|digest| status.is_held(digest));
    if !held {
        return TargetKind::Desired;
    }
    let may_return = status.may_go_back(&stack.spec.policy);
    if may_return && status.last_good.is_some() { TargetKind::LastGood } else { TargetKind::Nothing }
}

impl StackStatus {
    /// Whether the last good version may come back by itself.
    #[must_use]
    pub fn may_go_back(&self, policy: &Policy) -> bool {
        let passed = self.point_of_no_return.is_some();
        policy.on_failure == OnFailure::Rollback && !policy.irreversible && !passed
    }

    /// Whether the version of this digest is held.
    #[must_use]
    pub fn is_held(&self, digest: &Digest) -> bool {
        self.held.iter().any(|held| held.version.digest.as_ref() == Some(digest))
    }

    /// A condition's status; `None` when it is not there.
    #[must_use]
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    fn is(&self, kind: ConditionType, status: ConditionStatus) -> bool {
        self.condition(kind).is_some_and(|condition| condition.status == status)
    }
}

/// The one word for a stack: a pure function of what was declared and what was found.
#[must_use]
pub fn phase(stack: &Stack, status: &StackStatus) -> StackPhase {
    use DeploymentPhase as Phase;
    if stack.control.suspension.is_some() {
        return StackPhase::Suspended;
    }
    // What is known of a stack behind a relay that cannot be reached is what was last heard, whatever it says.
    if status.condition(ConditionType::Ready).is_some_and(|ready| ready.reason == Reason::RelayUnreachable) {
        return StackPhase::Unknown;
    }
    let Some(attempt) = &status.attempt else { return StackPhase::Pending };
    match attempt.phase {
        Phase::Pending if !attempt.automatic_rollback => return StackPhase::Pending,
        Phase::RollingBack => return StackPhase::RollingBack,
        phase if !phase.is_terminal() => {
            return if attempt.automatic_rollback { StackPhase::RollingBack } else { StackPhase::Progressing };
        }
        _ => {}
    }
    if status.is(ConditionType::Ready, ConditionStatus::Unknown) {
        return StackPhase::Unknown;
    }
    if attempt.id != stack.deployment && stack.generation > status.observed_generation {
        return StackPhase::Pending;
    }
    let stalled = status.is(ConditionType::Stalled, ConditionStatus::True);
    if !stalled && attempt.phase != Phase::Failed && status.is(ConditionType::Healthy, ConditionStatus::False) {
        return StackPhase::Degraded;
    }
    match attempt.phase {
        _ if stalled => StackPhase::Failed,
        _ if target(stack, status) == TargetKind::LastGood => StackPhase::RolledBack,
        Phase::Failed => StackPhase::Failed,
        Phase::RolledBack => StackPhase::RolledBack,
        Phase::Cancelled | Phase::Superseded => StackPhase::Pending,
        _ => StackPhase::Converged,
    }
}
