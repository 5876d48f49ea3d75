//! What is declared here, handed over: as it stands now, one stack's words in order, again until it is taken.

use std::time::Duration;

use futures_util::stream::{StreamExt, TryStreamExt, iter};
use tokio::time::Instant;

use super::super::backoff::backoff;
use super::wire::{rename, take_secrets};
use super::{Ended, Link, Refused};
use crate::domain::{
    Deployment, DeploymentId, DeploymentPhase as Phase, Event, EventType, Stack, StackKey, Trigger, Version,
    VersionSource,
};
use crate::ledger::{Batch, LedgerError, RecordKey, Versioned, open_request};
use crate::ports::{FarError, HandOver, HandedOver, StoreError};

/// Stacks that are handed over at a time.
const AT_ONCE: usize = 8;
/// Deployments that are looked at in one go.
const PAGE: usize = 100;
/// What was refused is handed over again after at least so long.
const AGAIN: Duration = Duration::from_secs(10);

impl Link {
    /// Hands over what is due, until the link is lost.
    pub(super) async fn deliver(&self) -> Ended {
        let mut whole = self.whole.subscribe();
        if whole.wait_for(|whole| *whole).await.is_err() {
            return Ended::Again;
        }
        if let Err(ended) = self.all_that_differs() {
            return ended;
        }
        loop {
            if let Err(ended) = self.pass_claim_on().await {
                return ended;
            }
            let due = std::mem::take(&mut self.known().due);
            let mut left = due.clone();
            let handed = iter(due)
                .map(Ok)
                .try_for_each_concurrent(AT_ONCE, |key| async move { self.hand_over(&key).await })
                .await;
            if let Err(ended) = handed {
                // What was not answered is looked at again in the next session; so is what was.
                self.known().due.append(&mut left);
                return ended;
            }
            let next = self.next_again();
            let sleep = tokio::time::sleep_until(next.unwrap_or_else(Instant::now));
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep, if next.is_some() => self.those_refused(),
            }
        }
    }

    /// Stacks that the far Skep does not have as they stand here.
    fn all_that_differs(&self) -> Result<(), Ended> {
        let stacks = self.parts.ledger.stacks(Some(&self.name))?;
        let mut known = self.known();
        for found in stacks {
            let key = found.value.key;
            if known.handed.get(&key.name) != Some(&found.revision) {
                known.due.insert(key);
            }
        }
        Ok(())
    }

    fn next_again(&self) -> Option<Instant> {
        self.known().refused.values().map(|refused| refused.again).min()
    }

    fn those_refused(&self) {
        let (now, mut known) = (Instant::now(), self.known());
        let again: Vec<StackKey> =
            known.refused.iter().filter(|(_, refused)| refused.again <= now).map(|(key, _)| key.clone()).collect();
        known.due.extend(again);
    }

    /// Passes a person's order to claim the environment on, once.
    async fn pass_claim_on(&self) -> Result<(), Ended> {
        let Some(order) = self.parts.ledger.claim_order(&self.name)? else { return Ok(()) };
        let status = self.parts.ledger.environment_status(&self.name)?;
        if status.is_some_and(|status| status.value.handled_claim.as_ref() == Some(&order.token)) {
            return Ok(());
        }
        let refused = match self.far.claim(order.reason.as_deref()).await {
            Ok(()) => None,
            Err(error @ FarError::Refused { .. }) if !is_about_the_link(&error) && !error.passes() => Some(error),
            Err(error) => return Err(error.into()),
        };
        self.report_claimed(&order.token, refused.as_ref()).await?;
        let keys = self.parts.ledger.stack_keys(&self.name)?;
        self.known().due.extend(keys);
        Ok(())
    }

    /// Hands one stack over.
    async fn hand_over(&self, key: &StackKey) -> Result<(), Ended> {
        let Some(found) = self.parts.ledger.stack(key)? else {
            self.known().refused.remove(key);
            return Ok(());
        };
        match self.send(&found).await {
            Ok(HandedOver::Taken | HandedOver::Known) => {
                let mut known = self.known();
                known.handed.insert(key.name.clone(), found.revision);
                let was_refused = known.refused.remove(key).is_some_and(|it| it.shown);
                drop(known);
                // What was said of it meanwhile is taken back by what stands there.
                if was_refused { Err(Ended::Again) } else { Ok(()) }
            }
            Ok(HandedOver::Gone) => self.gone(&found).await,
            Ok(HandedOver::Behind { generation }) => match self.parts.declare.come_after(key, generation).await {
                Ok(()) => {
                    self.wake(key);
                    Ok(())
                }
                Err(error) => self.refused(&found.value, error.to_string()).await,
            },
            Ok(HandedOver::Unknown) => {
                let url = &self.relay.url;
                let version = env!("CARGO_PKG_VERSION");
                let text = format!(
                    "the Skep at {url} is newer, and answers with a word that this one, {version}, does not know: \
                     update this one"
                );
                self.refused(&found.value, text).await
            }
            Err(Ended::Lost(error @ FarError::Refused { .. })) if !is_about_the_link(&error) => match error.passes() {
                true => {
                    self.later(key, &error.to_string(), false);
                    Ok(())
                }
                false => self.refused(&found.value, error.to_string()).await,
            },
            Err(ended) => Err(ended),
        }
    }

    /// Sends it: first the deployments that never had their turn, then the stack with those that are to have it.
    async fn send(&self, found: &Versioned<Stack>) -> Result<HandedOver, Ended> {
        let stack = &found.value;
        let pinned = stack.control.pin.as_ref().map(|pin| &pin.deployment);
        let current: Vec<&DeploymentId> = [&stack.deployment].into_iter().chain(pinned).collect();
        let before = self.not_begun(&stack.key)?.into_iter().filter(|it| !current.contains(&&it.id));
        // Those that count go over each time: one restored from a backup may not have them any more.
        let mut last = Vec::new();
        for id in &current {
            last.extend(self.parts.ledger.deployment(id)?.map(|found| anew(found.value)));
        }
        for deployment in before {
            let answer = self.far.hand_over(&self.wrapped(found, vec![deployment], true)?).await?;
            if answer != HandedOver::Taken {
                return Ok(answer);
            }
        }
        Ok(self.far.hand_over(&self.wrapped(found, last, false)?).await?)
    }

    /// The deployments of a stack that nobody has begun, as far as is known here; the oldest first.
    fn not_begun(&self, key: &StackKey) -> Result<Vec<Deployment>, LedgerError> {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = self.parts.ledger.history(key, before.as_ref(), PAGE)?;
            let Some(last) = page.last() else { break };
            before = Some(last.value.id.clone());
            found.extend(page.into_iter().map(|found| found.value).filter(|it| it.phase == Phase::Pending));
        }
        found.reverse();
        Ok(found)
    }

    fn wrapped(
        &self,
        found: &Versioned<Stack>,
        mut deployments: Vec<Deployment>,
        more: bool,
    ) -> Result<HandOver, Ended> {
        let (sealer, far) = (self.parts.sealer.as_ref(), &self.relay.environment);
        let (mut stack, mut secrets) = (found.value.clone(), std::collections::BTreeMap::new());
        let unfit = |error: crate::ports::SealError| Ended::Lost(FarError::Unfit(error.to_string()));
        stack.key.environment = far.clone();
        stack.last_applied = None;
        stack.control.relay = None;
        rename(&mut stack.spec, &self.name, far);
        take_secrets(&mut stack.spec, sealer, &mut secrets).map_err(unfit)?;
        for deployment in &mut deployments {
            deployment.stack.environment = far.clone();
            deployment.handed = None;
            open_request(&mut deployment.origin, sealer);
            if let VersionSource::Spec(spec) = &mut deployment.version.source {
                rename(spec, &self.name, far);
                take_secrets(spec, sealer, &mut secrets).map_err(unfit)?;
            }
        }
        let claim = self.parts.ledger.claim_order(&self.name)?.map(|order| order.token);
        let near = self.parts.near.clone();
        Ok(HandOver { near, revision: found.revision, claim, stack, deployments, more, secrets })
    }

    /// The far Skep has nothing of a stack that is to be deleted.
    async fn gone(&self, found: &Versioned<Stack>) -> Result<(), Ended> {
        let key = &found.value.key;
        let now = self.parts.ambient.now();
        let event = Event {
            time: now,
            kind: EventType::StackDeleted,
            environment: key.environment.clone(),
            stack: Some(key.name.clone()),
            deployment: None,
            reason: "Deleted".to_owned(),
            message: "the stack is gone".to_owned(),
            actor: "controller".to_owned(),
            via: None,
        };
        let batch = Batch::new().expect(&RecordKey::Stack(key.clone()), Some(found.revision));
        let batch = self.cancelled(key, batch)?.delete_stack(key).event(&event);
        match self.parts.ledger.commit(batch).await {
            Ok(_) => {
                let mut known = self.known();
                known.handed.remove(&key.name);
                known.refused.remove(key);
                Ok(())
            }
            Err(LedgerError::Store(StoreError::Conflict { .. })) => {
                self.wake(key);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Deployments of a stack that is gone, and that nobody will end.
    pub(super) fn cancelled(&self, key: &StackKey, mut batch: Batch) -> Result<Batch, LedgerError> {
        for mut deployment in self.not_begun(key)? {
            deployment.phase = Phase::Cancelled;
            deployment.message = Some("the stack was deleted".to_owned());
            deployment.finished_at = Some(self.parts.ambient.now());
            batch = batch.put_deployment(&deployment);
        }
        Ok(batch)
    }

    fn later(&self, key: &StackKey, message: &str, shown: bool) {
        let mut known = self.known();
        let errors = known.refused.get(key).map_or(0, |refused| refused.errors).saturating_add(1);
        let wait = AGAIN + backoff(errors, self.parts.ambient.random());
        let refused = Refused { message: message.to_owned(), shown, errors, again: Instant::now() + wait };
        known.refused.insert(key.clone(), refused);
    }

    /// It says no. That is told once, shown, and tried again now and then: it may be mended there as well as here.
    async fn refused(&self, stack: &Stack, message: String) -> Result<(), Ended> {
        let (key, deployment) = (&stack.key, &stack.deployment);
        let trace_id = self.parts.ledger.deployment(deployment)?.map(|found| found.value.trace().trace_id());
        tracing::warn!(stack = %key, %deployment, trace_id, message, "the far Skep does not take a stack");
        self.later(key, &message, true);
        Ok(self.report_refused(key, &message).await?)
    }
}

/// A deployment as it was recorded, before anything came of it.
fn anew(deployment: Deployment) -> Deployment {
    let version = match deployment.version.source {
        source @ VersionSource::Spec(_) => {
            Version { source, revision: None, images: Vec::new(), digest: None, followed: Default::default() }
        }
        VersionSource::Kept(_) => deployment.version,
    };
    Deployment {
        version,
        phase: Phase::Pending,
        message: None,
        failure: None,
        rolled_back_by: None,
        plan: None,
        progress: None,
        services: Vec::new(),
        warnings: Vec::new(),
        finished_at: None,
        kept: deployment.kept.filter(|_| deployment.origin.trigger == Trigger::Rollback),
        ..deployment
    }
}

/// A refusal that is not about one stack.
fn is_about_the_link(error: &FarError) -> bool {
    matches!(error, FarError::Refused { code, .. } if code == "UNAUTHENTICATED")
}
