//! What Skep did, from the log of events.

use jiff::{SignedDuration, Timestamp};

use super::scene::Scene;
use super::word;
use crate::domain::Event;
use crate::ledger::{Ledger, LedgerError};
use crate::ports::LogLine;

/// Events that are read in one go.
const PAGE: usize = 500;
/// Events that are looked at for one log.
const MOST: usize = 50_000;
/// Events are in the order they were written, and two hands write them: their times may be off by a little.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);

/// What was done so far, and the number of the newest event.
pub(super) fn past(scene: &Scene) -> Result<(Vec<LogLine>, u64), LedgerError> {
    let ledger = &scene.shared.ledger;
    let newest = ledger.events(None, true, 1)?.first().map_or(0, |(sequence, _)| *sequence);
    let mut from = before(ledger, earlier(scene.since), newest)?;
    let finished = scene.deployment.as_ref().and_then(|deployment| deployment.finished_at);
    let end = finished.and_then(|end| end.checked_add(MARGIN).ok());
    let (mut lines, mut seen) = (Vec::new(), 0);
    while seen < MOST {
        let page = ledger.events(Some(from), false, PAGE)?;
        let Some((last, event)) = page.last() else { break };
        from = *last;
        seen += page.len();
        let over = end.is_some_and(|end| event.time > end);
        lines.extend(page.iter().filter_map(|(_, event)| line(scene, event)));
        if over {
            break;
        }
    }
    Ok((lines, newest.max(from)))
}

/// What was done after an event, and the number of the newest one now.
pub(super) fn after(scene: &Scene, mut from: u64) -> Result<(Vec<LogLine>, u64), LedgerError> {
    let mut lines = Vec::new();
    loop {
        let page = scene.shared.ledger.events(Some(from), false, PAGE)?;
        let Some((last, _)) = page.last() else { return Ok((lines, from)) };
        from = *last;
        lines.extend(page.iter().filter_map(|(_, event)| line(scene, event)));
    }
}

fn earlier(time: Timestamp) -> Timestamp {
    time.checked_sub(MARGIN).unwrap_or(time)
}

/// The number behind which all events are that happened since.
fn before(ledger: &Ledger, since: Timestamp, newest: u64) -> Result<u64, LedgerError> {
    let (mut low, mut high) = (0, newest);
    while low < high {
        let middle = low + (high - low) / 2;
        match ledger.events(Some(middle), false, 1)?.first() {
            Some((sequence, event)) if event.time < since => low = *sequence,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// An event as a line, if it belongs to the scene.
fn line(scene: &Scene, event: &Event) -> Option<LogLine> {
    if scene.service.is_some() || event.time < scene.since {
        return None;
    }
    let wanted = match &scene.deployment {
        Some(deployment) => event.deployment.as_ref().is_some_and(|of| {
            *of == deployment.id || Some(of) == deployment.rolled_back_by.as_ref() || answers(scene, of)
        }),
        None => event.environment == scene.key.environment && event.stack.as_ref() == Some(&scene.key.name),
    };
    let text = || match event.message.as_str() {
        "" => format!("{:?}: {}", event.kind, event.reason),
        message => format!("{:?}: {message}", event.kind),
    };
    wanted.then(|| word(event.time, text()))
}

/// Whether this is the rollback that answers the scene's deployment, which began after the scene did.
fn answers(scene: &Scene, id: &crate::domain::DeploymentId) -> bool {
    let Some(deployment) = scene.deployment.as_ref().filter(|it| !it.phase.is_terminal() && *id > it.id) else {
        return false;
    };
    let found = scene.shared.ledger.deployment(id).ok().flatten();
    found.is_some_and(|found| found.value.rollback_of.as_ref() == Some(&deployment.id))
}
