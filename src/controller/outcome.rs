//! What a pass found, as conditions: one function for all paths.

use super::pass::Pass;
use crate::domain::{
    ConditionStatus as Is, ConditionType as Kind, DeploymentPhase as Phase, EventType, Reason, Target, TargetKind,
    target,
};

/// Sets the summary conditions (`Ready`, `Reconciling`, `Stalled`, `RolledBack`, `Suspended`, `RollbackReady`), the
/// target and the observed generation from what the pass has found.
pub(super) fn summarise(pass: &mut Pass<'_>) {
    let kind = target(&pass.stack, &pass.status);
    let version = match kind {
        TargetKind::Desired => pass.status.desired.clone(),
        TargetKind::LastGood => pass.status.last_good.as_ref().map(|good| good.version.clone()),
        TargetKind::Pinned => pinned(pass),
        TargetKind::Nothing => None,
    };
    pass.status.target = Some(Target { kind, version });
    pass.tell_way_back();
    if let Some(suspension) = pass.stack.control.suspension.clone() {
        let text = format!("{} suspended it: {}", suspension.actor.name, suspension.reason);
        pass.say(Kind::Suspended, Is::True, Reason::Suspended, text);
    } else {
        pass.say(Kind::Suspended, Is::False, Reason::Suspended, "");
    }
    let (ready, reason, message) = ready(pass, kind);
    let under_way = pass.status.attempt.as_ref().is_some_and(|attempt| !attempt.phase.is_terminal());
    let stalled = pass.stalled.clone();
    pass.say(Kind::Ready, ready, reason, &message);
    pass.say(
        Kind::Reconciling,
        if under_way && stalled.is_none() { Is::True } else { Is::False },
        Reason::Progressing,
        &message,
    );
    tell_stalled(pass, stalled.as_ref());
    match &stalled {
        Some((reason, text)) => pass.say(Kind::Stalled, Is::True, *reason, text),
        None => pass.say(Kind::Stalled, Is::False, Reason::Progressing, ""),
    }
    let back = kind == TargetKind::LastGood && !under_way;
    let why = pass.status.held.last().map(|held| held.reason.clone()).unwrap_or_default();
    pass.say(Kind::RolledBack, if back { Is::True } else { Is::False }, Reason::RolledBack, why);
    let taken_up = pass.status.seen.as_ref() == Some(&pass.stack.deployment) || pass.stack.control.pin.is_some();
    let under_way = under_way && !planted!("a generation is observed at once");
    if !under_way
        && taken_up
        && (ready == Is::True || stalled.is_some() || back || planted!("a generation is observed at once"))
    {
        pass.status.observed_generation = pass.stack.generation;
    }
}

/// Tells when a stack can no longer be kept, and when it can again. A deployment that came to nothing leaves its stack
/// stalled as well, and was told of already.
fn tell_stalled(pass: &mut Pass<'_>, now: Option<&(Reason, String)>) {
    let by_itself = |reason: Reason| matches!(reason, Reason::Foreign | Reason::LastGoodUnreadable);
    let before =
        pass.status.condition(Kind::Stalled).filter(|known| known.status == Is::True).map(|known| known.reason);
    let (before, now) = (before.filter(|it| by_itself(*it)), now.filter(|(reason, _)| by_itself(*reason)));
    match (before, now) {
        (None, Some((reason, text))) => pass.event(EventType::Stalled, None, &format!("{reason:?}"), text.clone()),
        (Some(_), None) => pass.event(EventType::Recovered, None, "Recovered", "what was in the way is gone"),
        _ => {}
    }
}

fn pinned(pass: &Pass<'_>) -> Option<crate::domain::Pointer> {
    let pin = pass.stack.control.pin.as_ref()?;
    let good = pass.status.last_good.as_ref().map(|good| good.version.clone());
    good.filter(|version| version.deployment == pin.deployment || version.deployment == pin.version_of)
}

fn ready(pass: &mut Pass<'_>, target: TargetKind) -> (Is, Reason, String) {
    if let Some((reason, text)) = &pass.stalled {
        return (Is::False, *reason, text.clone());
    }
    if let Some((reason, text)) = &pass.waiting {
        let unknown = matches!(reason, Reason::EngineUnreachable | Reason::NotAManager);
        return (if unknown { Is::Unknown } else { Is::False }, *reason, text.clone());
    }
    let Some(attempt) = pass.status.attempt.clone() else {
        return (Is::Unknown, Reason::Progressing, "nothing has been deployed yet".into());
    };
    let message = pass
        .deployment(&attempt.id)
        .ok()
        .flatten()
        .and_then(|deployment| deployment.message.clone())
        .unwrap_or_default();
    let unhealthy = pass.status.condition(Kind::Healthy).filter(|healthy| healthy.status == Is::False).cloned();
    match attempt.phase {
        Phase::RollingBack => (Is::False, Reason::RollingBack, message),
        phase if !phase.is_terminal() => {
            let reason = if attempt.automatic_rollback { Reason::RollingBack } else { Reason::Progressing };
            (Is::Unknown, reason, message)
        }
        Phase::Failed => (Is::False, Reason::TaskFailed, message),
        _ => match (unhealthy, target) {
            (Some(unhealthy), _) => (Is::False, unhealthy.reason, unhealthy.message),
            (None, TargetKind::LastGood) => (Is::False, Reason::RolledBack, rolled_back(pass)),
            (None, TargetKind::Pinned) => (Is::True, Reason::Pinned, message),
            (None, _) => (Is::True, Reason::Succeeded, message),
        },
    }
}

fn rolled_back(pass: &Pass<'_>) -> String {
    let desired = pass.status.desired.as_ref().and_then(|desired| desired.digest.as_ref());
    let held = pass.status.held.iter().rev().find(|held| held.version.digest.as_ref() == desired);
    match held {
        Some(held) => format!("the last good version runs; the one asked for is held: {}", held.reason),
        None => "the last good version runs".to_owned(),
    }
}
