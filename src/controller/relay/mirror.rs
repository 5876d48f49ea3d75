//! What became of the stacks there, written here: statuses, deployments and the log, in one transaction with how far they
//! were read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::report::{ATTEMPTS, is_stale};
use super::wire::{deployment, forgiving, merged};
use super::{Ended, Link};
use crate::domain::{
    Claim, DeploymentId, EnvironmentStatus, Event, EventType, Node, RelayCursor, Stack, StackKey, StackName,
    StackStatus,
};
use crate::ledger::{Batch, LedgerError, RecordKey, Versioned, seal_request};
use crate::ports::{BoxStream, FarError, Greeting, StoreError, Told};

/// So many records are written at once where the cursor does not have to go with them.
const AT_ONCE: usize = 200;

/// What was told since the last mark.
#[derive(Default)]
struct Gathered {
    stacks: BTreeMap<StackName, Option<Value>>,
    left: BTreeSet<StackName>,
    deployments: Vec<Value>,
    events: Vec<Value>,
    environment: Option<Option<Value>>,
}

impl Gathered {
    fn len(&self) -> usize {
        self.stacks.len() + self.deployments.len()
    }
}

/// How far reading has come.
struct Progress {
    cursor: RelayCursor,
    revision: Option<u64>,
    /// Lines of the log from then or before are known: the far Skep was restored from a backup.
    known_until: Option<Timestamp>,
}

impl Link {
    /// The cursor to go on from; none to begin with what is there now.
    pub(super) fn cursor(&self, greeting: &Greeting) -> Result<Option<Versioned<RelayCursor>>, LedgerError> {
        let found = self.parts.ledger.relay_cursor(&self.name)?;
        Ok(found.map(|mut found| {
            if found.value.far != greeting.far {
                // Another installation, or one that was restored: everything is read again.
                (found.value.revision, found.value.sequence) = (0, 0);
            }
            found
        }))
    }

    /// Reads what is told and writes it down, until the link is lost.
    pub(super) async fn read(
        &self,
        mut told: BoxStream<'static, Result<Told, FarError>>,
        found: Option<Versioned<RelayCursor>>,
        since: &mut Option<Instant>,
    ) -> Ended {
        let Some(far) = self.known().greeting.as_ref().map(|greeting| greeting.far.clone()) else {
            return Ended::Again;
        };
        let revision = found.as_ref().map(|found| found.revision);
        let before = found.map(|found| found.value);
        let restored = before.as_ref().filter(|before| before.far != far);
        let mut progress = Progress {
            known_until: restored.and_then(|before| before.time),
            cursor: RelayCursor {
                far,
                revision: before.as_ref().map_or(0, |it| it.revision),
                sequence: before.as_ref().map_or(0, |it| it.sequence),
                time: before.and_then(|it| it.time),
            },
            revision,
        };
        let mut gathered = Gathered::default();
        let mut seen = BTreeSet::new();
        loop {
            let next = match told.next().await {
                Some(Ok(next)) => next,
                Some(Err(error)) => return error.into(),
                None => {
                    let reason = "it ended the conversation".to_owned();
                    return FarError::Unreachable { url: self.relay.url.clone(), reason }.into();
                }
            };
            match next {
                Told::Stack { name, revision, status } => {
                    seen.insert(name.clone());
                    gathered.left.remove(&name);
                    self.known().handed.insert(name.clone(), revision);
                    gathered.stacks.insert(name, status);
                }
                Told::Left { name } => {
                    gathered.stacks.remove(&name);
                    gathered.left.insert(name);
                }
                Told::Deployment { deployment } => gathered.deployments.push(deployment),
                Told::Event { event, .. } => gathered.events.push(event),
                Told::Environment { status, nodes } => {
                    let nodes: Vec<Arc<Node>> =
                        nodes.into_iter().filter_map(|node| serde_json::from_value(node).ok().map(Arc::new)).collect();
                    self.known().nodes = nodes;
                    gathered.environment = Some(status);
                }
                Told::Mark { revision, sequence, whole } => {
                    let gathered = std::mem::take(&mut gathered);
                    (progress.cursor.revision, progress.cursor.sequence) = (revision, sequence);
                    if let Err(error) = self.write(gathered, &mut progress, true).await {
                        return error.into();
                    }
                    if whole && !*self.whole.borrow() {
                        if let Err(error) = self.are_fresh(&seen).await {
                            return error.into();
                        }
                        *since = Some(Instant::now());
                        self.whole.send_replace(true);
                    }
                }
                Told::Beat | Told::Unknown => {}
            }
            if gathered.len() >= AT_ONCE && gathered.events.is_empty() {
                let gathered = std::mem::take(&mut gathered);
                if let Err(error) = self.write(gathered, &mut progress, false).await {
                    return error.into();
                }
            }
        }
    }

    /// Stacks that nothing was told of: the far Skep does not have them yet.
    async fn are_fresh(&self, seen: &BTreeSet<StackName>) -> Result<(), LedgerError> {
        let keys = self.parts.ledger.stack_keys(&self.name)?;
        let new: Vec<StackKey> = keys.into_iter().filter(|key| !seen.contains(&key.name)).collect();
        self.fresh(&new).await
    }

    /// Writes what was gathered; with `mark`, also how far that is.
    async fn write(&self, gathered: Gathered, progress: &mut Progress, mark: bool) -> Result<(), LedgerError> {
        for name in &gathered.left {
            self.known().handed.remove(name);
            self.wake(&self.key(name));
        }
        for attempt in 1..=ATTEMPTS {
            let (batch, time) = self.batch(&gathered, progress)?;
            let cursor = RelayCursor { time, ..progress.cursor.clone() };
            let key = RecordKey::Relay(self.name.clone());
            let batch = match mark {
                true => batch.expect(&key, progress.revision).put_relay_cursor(&self.name, &cursor),
                false => batch,
            };
            if batch.is_empty() {
                return Ok(());
            }
            match self.parts.ledger.commit(batch).await {
                Ok(committed) => {
                    if mark {
                        (progress.cursor, progress.revision) = (cursor, Some(committed.revision));
                    }
                    return Ok(());
                }
                Err(LedgerError::Store(StoreError::Conflict { .. })) if attempt < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn key(&self, name: &StackName) -> StackKey {
        StackKey { environment: self.name.clone(), name: name.clone() }
    }

    /// What there is to be written, and the time of the last line of the log.
    fn batch(&self, gathered: &Gathered, progress: &Progress) -> Result<(Batch, Option<Timestamp>), LedgerError> {
        let mut stacks: BTreeMap<StackName, Option<Versioned<Stack>>> = BTreeMap::new();
        let mut batch = Batch::new();
        let (mut gone, mut time) = (BTreeSet::new(), progress.cursor.time);
        for told in &gathered.events {
            let Some(mut event) = self.event_from(told) else { continue };
            let Some(name) = event.stack.clone() else { continue };
            time = time.max(Some(event.time));
            let Some(found) = self.stack(&mut stacks, &name)? else { continue };
            if progress.known_until.is_some_and(|until| event.time <= until) {
                continue;
            }
            event.environment = self.name.clone();
            batch = batch.event(&event);
            if event.kind == EventType::StackDeleted && found.value.control.deletion.is_some() {
                gone.insert(name);
            } else if event.reason == "Expired" {
                batch = self.expired(&found, &event, batch);
                // Another line of the same piece has to read it as it will be.
                stacks.insert(name, Some(found));
            }
        }
        for name in &gone {
            if let Some(found) = self.stack(&mut stacks, name)? {
                let key = found.value.key;
                batch = batch.expect(&RecordKey::Stack(key.clone()), Some(found.revision));
                batch = self.cancelled(&key, batch)?.delete_stack(&key);
            }
        }
        for (name, told) in gathered.stacks.iter().filter(|(name, _)| !gone.contains(*name)) {
            if let Some(found) = self.stack(&mut stacks, name)? {
                batch = self.status(&found, told.as_ref(), batch)?;
            }
        }
        let mut latest: BTreeMap<DeploymentId, &Value> = BTreeMap::new();
        for told in &gathered.deployments {
            if let Some(id) = told.get("id").and_then(Value::as_str) {
                latest.insert(DeploymentId(id.to_owned()), told);
            }
        }
        for (id, told) in latest {
            let known = self.parts.ledger.deployment(&id)?;
            let Some(mut read) = deployment(told, known.as_ref().map(|known| &known.value)) else { continue };
            if known.is_none() && seal_request(&mut read.origin, self.parts.sealer.as_ref()).is_err() {
                // What cannot be sealed is not kept.
                read.origin.original_request = serde_json::Value::Null;
            }
            let declared = self.stack(&mut stacks, &read.stack.name)?;
            if declared.is_none() && known.is_none() {
                continue;
            }
            let (revision, known) = known.map_or((None, None), |known| (Some(known.revision), Some(known.value)));
            let names = (&self.relay.environment, &self.name);
            let spec = declared.as_ref().map(|found| &found.value.spec);
            let record = merged(read, known.as_ref(), spec, names);
            if known.as_ref() != Some(&record) {
                batch = batch.expect(&RecordKey::Deployment(id), revision).put_deployment(&record);
            }
        }
        if let Some(told) = &gathered.environment {
            let told = told.as_ref().and_then(environment_status);
            batch = self.connection(batch, told.as_ref(), None)?;
        }
        Ok((batch, time))
    }

    /// A stack as it is declared here, read once for a piece.
    fn stack(
        &self,
        stacks: &mut BTreeMap<StackName, Option<Versioned<Stack>>>,
        name: &StackName,
    ) -> Result<Option<Versioned<Stack>>, LedgerError> {
        if let Some(found) = stacks.get(name) {
            return Ok(found.clone());
        }
        let found = self.parts.ledger.stack(&self.key(name))?;
        stacks.insert(name.clone(), found.clone());
        Ok(found)
    }

    /// A pin or suspension has ended there by itself: so it has here.
    fn expired(&self, found: &Versioned<Stack>, event: &Event, batch: Batch) -> Batch {
        let mut stack = found.value.clone();
        let over = |until: Option<Timestamp>| until.is_some_and(|until| until <= event.time);
        match event.kind {
            EventType::Resumed if stack.control.suspension.as_ref().is_some_and(|it| over(it.until)) => {
                stack.control.suspension = None;
            }
            EventType::Unpinned if stack.control.pin.as_ref().is_some_and(|it| over(it.until)) => {
                stack.control.pin = None;
            }
            _ => return batch,
        }
        batch.expect(&RecordKey::Stack(stack.key.clone()), Some(found.revision)).put_stack(&stack)
    }

    fn status(&self, found: &Versioned<Stack>, told: Option<&Value>, batch: Batch) -> Result<Batch, LedgerError> {
        let key = &found.value.key;
        let known = self.parts.ledger.status(key)?;
        let (revision, known) = known.map_or((None, None), |known| (Some(known.revision), Some(known.value)));
        let base = known.clone().filter(|known| !is_stale(known)).unwrap_or_default();
        let mut status = match told {
            Some(told) => forgiving::<StackStatus>(&base, told).unwrap_or(base),
            None => StackStatus::default(),
        };
        self.overlay(key, &mut status, found.value.generation);
        if known.as_ref() == Some(&status) {
            return Ok(batch);
        }
        Ok(batch
            .expect(&RecordKey::Stack(key.clone()), Some(found.revision))
            .expect(&RecordKey::Status(key.clone()), revision)
            .put_status(key, &status))
    }

    /// A line of the log from its JSON. Of a kind that this version does not know, it is told as a change of phase: the
    /// sentence says the rest.
    fn event_from(&self, told: &Value) -> Option<Event> {
        if let Ok(event) = serde_json::from_value(told.clone()) {
            return Some(event);
        }
        let base = Event {
            time: self.parts.ambient.now(),
            kind: EventType::PhaseChanged,
            environment: self.name.clone(),
            stack: None,
            deployment: None,
            reason: String::new(),
            message: String::new(),
            actor: "controller".to_owned(),
            via: None,
        };
        forgiving(&base, told)
    }
}

fn environment_status(told: &Value) -> Option<EnvironmentStatus> {
    let base = EnvironmentStatus {
        connected: false,
        since: Timestamp::UNIX_EPOCH,
        message: None,
        engine: None,
        api: None,
        nodes: 0,
        claim: Claim::Unknown,
        handled_claim: None,
    };
    forgiving(&base, told)
}
