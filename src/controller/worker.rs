//! Who looks at which stack, and when it is looked at again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::backoff;
use super::environment::Observed;
use super::glance::Glance;
use super::pass::{Next, Pass, PassError};
use super::queue::{Priority, Taken};
use super::reconcile;
use super::shared::Shared;
use crate::domain::{Deployment, DeploymentId, StackKey, TraceContext};
use crate::telemetry::Look;

/// A pass never asks for another one sooner than this: rules that disagree cost little.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);

/// A pass that takes longer than this is broken off and begun anew: no call it makes should.
const LONGEST_PASS: Duration = Duration::from_secs(300);

/// Which deployment a look works on, as far as it has come: for what the log says of how the look ended.
#[derive(Debug, Clone, Default)]
pub(super) struct About(Arc<Mutex<Option<Subject>>>);

/// A deployment, and the trace it is part of.
type Subject = (DeploymentId, Option<TraceContext>);

impl About {
    /// From now on it is this one.
    pub(super) fn is_now(&self, deployment: &Deployment) {
        let now = (deployment.id.clone(), deployment.origin.trace);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    fn get(&self) -> Option<Subject> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The deployment's id.
    pub(super) fn deployment(&self) -> Option<String> {
        self.get().map(|(id, _)| id.to_string())
    }

    /// The deployment's trace, as 32 hex digits.
    pub(super) fn trace_id(&self) -> Option<String> {
        self.get().map(|(id, request)| TraceContext::of_deployment(&id, request.as_ref()).trace_id())
    }
}

/// Takes keys from an environment's queue, and looks at each in a task of its own.
pub(super) async fn work(shared: Arc<Shared>, environment: Arc<Observed>, cancel: CancellationToken) {
    loop {
        let place = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            place = environment.workers.clone().acquire_owned() => place,
        };
        let Ok(place) = place else { return };
        let taken = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            taken = environment.queue.next() => taken,
        };
        let (shared, environment) = (shared.clone(), environment.clone());
        shared.tasks.clone().spawn(async move {
            let Taken { key, priority, waited } = taken;
            let (begun, about) = (Instant::now(), About::default());
            let look = look(shared.clone(), environment.clone(), key.clone(), priority, about.clone());
            let how = tokio::spawn(look).await.unwrap_or_else(|_| {
                tracing::error!(
                    stack = %key,
                    deployment = about.deployment(),
                    trace_id = about.trace_id(),
                    "a pass panicked; the stack is looked at again in a minute"
                );
                environment.queue.add(&key, Instant::now() + Duration::from_secs(60), Priority::Resync);
                Look::Panicked
            });
            shared.meters.looked(&environment.name, waited, begun.elapsed(), how);
            environment.rounds.looked(&key, shared.ambient.now());
            environment.queue.done(&key);
            drop(place);
        });
    }
}

/// One look, and when the next one is due.
async fn look(
    shared: Arc<Shared>,
    environment: Arc<Observed>,
    key: StackKey,
    priority: Priority,
    about: About,
) -> Look {
    let outcome = tokio::time::timeout(LONGEST_PASS, one_pass(&shared, &environment, &key, priority, &about)).await;
    let mut errors = shared.errors.lock().unwrap_or_else(PoisonError::into_inner);
    match outcome {
        Ok(Ok(next)) => {
            errors.remove(&key);
            if let Some(Next::At(at)) = next {
                let wait = at.duration_since(shared.ambient.now());
                let wait = Duration::try_from(wait).unwrap_or(Duration::ZERO).max(SHORTEST_WAIT);
                environment.queue.add(&key, Instant::now() + wait, Priority::Event);
            }
            Look::Done
        }
        Ok(Err(error)) if error.is_conflict() => {
            tracing::debug!(
                stack = %key,
                deployment = about.deployment(),
                trace_id = about.trace_id(),
                %error,
                "somebody else wrote meanwhile; the stack is looked at again"
            );
            environment.queue.add(&key, Instant::now() + SHORTEST_WAIT, Priority::Event);
            Look::Conflict
        }
        Ok(Err(error)) => {
            // What it made was not recorded, and what is rendered for that must not cut the wait short.
            shared.renditions.forget_jobs_of(&key);
            let count = errors.entry(key.clone()).or_insert(0);
            *count += 1;
            let wait = backoff(*count, shared.ambient.random());
            let wait = if planted!("an error is answered at once") { SHORTEST_WAIT } else { wait };
            tracing::warn!(
                stack = %key,
                deployment = about.deployment(),
                trace_id = about.trace_id(),
                %error,
                errors = *count,
                ?wait,
                "a pass broke off"
            );
            environment.queue.add(&key, Instant::now() + wait, Priority::Event);
            shared.meters.look_failed(&environment.name, error.class());
            Look::Failed
        }
        Err(_) => {
            tracing::error!(
                stack = %key,
                deployment = about.deployment(),
                trace_id = about.trace_id(),
                "a pass took too long and was broken off"
            );
            environment.queue.add(&key, Instant::now() + Duration::from_secs(10), Priority::Event);
            Look::TimedOut
        }
    }
}

async fn one_pass(
    shared: &Shared,
    environment: &Arc<Observed>,
    key: &StackKey,
    priority: Priority,
    about: &About,
) -> Result<Option<Next>, PassError> {
    if priority == Priority::Resync
        && let Some(glance) = Glance::at(environment)
        && environment.at_rest.holds(&glance, &shared.ledger, key)?
    {
        return Ok(Some(Next::Idle));
    }
    tracing::trace!(stack = %key, "a pass begins");
    environment.at_rest.forget(key);
    match Pass::load(shared, environment.clone(), key)? {
        Some(mut pass) => {
            pass.about = about.clone();
            let next = reconcile::reconcile(&mut pass).await?;
            if next == Some(Next::Idle) && pass.is_at_rest() {
                environment.at_rest.note(&pass);
            }
            Ok(next)
        }
        None => {
            shared.sources.leave(key);
            environment.tasks.leave(key);
            shared.renditions.forget(key);
            Ok(None)
        }
    }
}
