//! The main path: what was asked → the attempt → its objects → apply → judge → keep. Every branch ends in one exit.

use super::judge::Judged;
use super::pass::{Next, Pass, PassError};
use super::prepare::Prepared;
use super::steady::Kept;
use crate::domain::DeploymentPhase as Phase;

/// More turns than this in one pass mean that two rules disagree: the pass stops and looks again later.
const TURNS: u32 = 12;

/// One look at a stack. `None`: it is gone.
pub(super) async fn reconcile(pass: &mut Pass<'_>) -> Result<Option<Next>, PassError> {
    if let Some(deletion) = pass.stack.control.deletion.clone() {
        return match pass.delete(&deletion).await? {
            Some(next) => pass.conclude(next).await.map(Some),
            None => Ok(None),
        };
    }
    let outcome = if pass.take_up().await? { turn(pass).await } else { Ok(suspended(pass)) };
    match outcome {
        Ok(next) => pass.conclude(next).await.map(Some),
        Err(error) => {
            // What was learned before the error is kept; the error itself decides when to look again.
            pass.waiting.get_or_insert((crate::domain::Reason::EngineUnreachable, error.to_string()));
            pass.conclude(Next::Idle).await?;
            Err(error)
        }
    }
}

fn suspended(pass: &Pass<'_>) -> Next {
    pass.stack.control.suspension.as_ref().and_then(|suspension| suspension.until).map_or(Next::Idle, Next::At)
}

async fn turn(pass: &mut Pass<'_>) -> Result<Next, PassError> {
    for _ in 0..TURNS {
        let Some(attempt) = pass.attempt()? else { return Ok(Next::Idle) };
        pass.about.is_now(&attempt);
        if attempt.phase.is_terminal() {
            match pass.keep(&attempt).await? {
                Kept::Rest(next) => return Ok(next),
                Kept::Again => continue,
            }
        }
        let (tracer, of) = (pass.shared.tracer.clone(), attempt.clone());
        let rendition = match tracer.stage("prepare", &of, pass.prepare(attempt)).await? {
            Prepared::Ready(rendition) => rendition,
            Prepared::Wait(next) => return Ok(next),
            Prepared::Ended => continue,
        };
        let Some(attempt) = pass.attempt()? else { return Ok(Next::Idle) };
        if attempt.phase == Phase::Verifying || Pass::is_between_waves(&attempt) {
            match tracer.stage("judge", &of, pass.judge(attempt, &rendition)).await? {
                Judged::Wait(next) => return Ok(next),
                Judged::Ended => continue,
            }
        }
        match tracer.stage("apply", &of, pass.advance(attempt, &rendition)).await? {
            Kept::Rest(next) => return Ok(next),
            Kept::Again => {}
        }
    }
    tracing::error!(
        stack = %pass.stack.key,
        deployment = pass.about.deployment(),
        trace_id = pass.about.trace_id(),
        "a pass took more turns than any should"
    );
    Ok(Next::At(pass.now.checked_add(jiff::SignedDuration::from_secs(10)).unwrap_or(pass.now)))
}
