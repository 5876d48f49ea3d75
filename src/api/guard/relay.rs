//! What another Skep reads here: its own stacks, with what became of them. First as they stand, then every change.
//!
//! A change says only what to read; what is told is the record as it stands then, so that nothing older follows something
//! newer. Lines of the log are told once each, in order.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt, unfold};
use tokio::time::timeout;

use super::Guard;
use crate::domain::{
    Access, Deployment, DeploymentId, EnvironmentName, Event, Installation, Node, Place, Stack, StackKey, StackName,
    Variable, VersionSource,
};
use crate::ledger::{LedgerError, Note, Noted, RecordKey, read};
use crate::ports::{Finding, Follow, Greeting, InquiryError, OLDEST_PROTOCOL, PROTOCOL, Told};

/// Records that are read in one go.
const PAGE: usize = 200;

impl Guard {
    /// Who this is, to another Skep that may see the environment.
    pub(in crate::api) fn greeting(
        &self,
        environment: &EnvironmentName,
        now: jiff::Timestamp,
    ) -> Result<Option<Greeting>, LedgerError> {
        if self.environment(environment)?.is_none() {
            return Ok(None);
        }
        let ledger = &self.shelf.ledger;
        let instance = ledger.instance()?.unwrap_or_default();
        Ok(Some(Greeting {
            protocol: PROTOCOL,
            oldest: OLDEST_PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            far: Installation { instance, restored: ledger.restored()? },
            now,
            revision: ledger.revision(),
            sequence: self.newest_event()?,
        }))
    }

    /// Whether all that an environment needs is there and answers.
    pub(in crate::api) async fn doctor_of(&self, name: &EnvironmentName) -> Result<Vec<Finding>, super::GuardError> {
        if self.environment(name)?.is_none() {
            return Err(InquiryError::NotFound(format!("environment `{name}`")).into());
        }
        Ok(self.shelf.inquiries.doctor_of(name).await?)
    }

    /// What there is for this reader, and what comes. Ends when some changes were missed: the reader goes on from its mark.
    pub(in crate::api) fn told(&self, environment: EnvironmentName, from: Follow) -> BoxStream<'static, Told> {
        // Watch first: whatever is committed from here on is told.
        let watch = self.shelf.ledger.watch();
        let revision = self.shelf.ledger.revision();
        let beat = Duration::from_secs(from.beat.clamp(1, 60));
        let reader = Reader {
            guard: self.clone(),
            environment,
            near: from.near,
            after: from.after,
            sequence: from.sequence,
            revision,
            owned: BTreeSet::new(),
            nodes: Vec::new(),
            queue: VecDeque::new(),
            stage: Stage::Stacks,
        };
        unfold((reader, watch, beat), |(mut reader, mut watch, beat)| async move {
            loop {
                if let Some(told) = reader.queue.pop_front() {
                    return Some((told, (reader, watch, beat)));
                }
                let done = match reader.stage {
                    Stage::Live => match timeout(beat, watch.next()).await {
                        Ok(Some(Noted::Note(note))) => reader.note(&note),
                        Ok(Some(Noted::Missed) | None) => return None,
                        Err(_) => {
                            reader.beat();
                            Ok(())
                        }
                    },
                    _ => reader.read_on(),
                };
                if let Err(error) = done {
                    tracing::warn!(%error, "another Skep cannot be told what stands here");
                    return None;
                }
            }
        })
        .boxed()
    }
}

/// What is read next.
enum Stage {
    Stacks,
    /// Deployments before this one.
    Deployments(Option<DeploymentId>),
    Events,
    Live,
}

/// One reading.
struct Reader {
    guard: Guard,
    environment: EnvironmentName,
    near: Installation,
    after: Option<u64>,
    sequence: Option<u64>,
    /// Every change after it comes by the watch.
    revision: u64,
    /// The reader's stacks.
    owned: BTreeSet<StackName>,
    nodes: Vec<Arc<Node>>,
    queue: VecDeque<Told>,
    stage: Stage,
}

impl Reader {
    fn key(&self, name: &StackName) -> StackKey {
        StackKey { environment: self.environment.clone(), name: name.clone() }
    }

    /// Whether a stack was handed over by the reader.
    fn is_own(&self, stack: &Stack) -> bool {
        let mark = stack.control.relay.as_ref();
        mark.is_some_and(|mark| mark.near.as_ref() == Some(&self.near))
            && self.guard.grant.may(Access::See, Place::Stack(&stack.key))
    }

    /// Reads some of what stands.
    fn read_on(&mut self) -> Result<(), LedgerError> {
        let ledger = self.guard.shelf.ledger.clone();
        match &self.stage {
            Stage::Stacks => {
                for found in ledger.stacks(Some(&self.environment))? {
                    self.stack(&found.value.key.name)?;
                }
                self.environment(true)?;
                self.stage = match self.after {
                    Some(_) => Stage::Deployments(None),
                    None => Stage::Events,
                };
            }
            Stage::Deployments(before) => {
                let page = ledger.deployments(before.as_ref(), PAGE)?;
                let last = page.last().map(|found| found.value.id.clone());
                let after = self.after.unwrap_or_default();
                // The newest first, so that what is under way is seen first.
                for found in page.into_iter().filter(|found| found.revision > after) {
                    if self.may_be_told(&found.value.stack)? || self.handed(&found.value) {
                        self.deployment(found.value);
                    }
                }
                self.stage = match last {
                    Some(last) => Stage::Deployments(Some(last)),
                    None => Stage::Events,
                };
            }
            Stage::Events => {
                let from = match self.sequence {
                    Some(sequence) => sequence,
                    None => self.guard.newest_event()?,
                };
                let page = ledger.events(Some(from), false, PAGE)?;
                let last = page.last().map(|(sequence, _)| *sequence);
                for (sequence, event) in page {
                    let key = event.stack.as_ref().map(|name| self.key(name));
                    if let Some(key) = key.filter(|_| event.environment == self.environment)
                        && (self.may_be_told(&key)? || self.is_of_handed(&event)?)
                    {
                        self.event(sequence, &event);
                    }
                }
                self.sequence = Some(last.unwrap_or(from));
                if last.is_none() {
                    self.stage = Stage::Live;
                }
                let revision = if last.is_none() { self.revision } else { self.after.unwrap_or_default() };
                self.mark(revision, last.is_none());
            }
            Stage::Live => {}
        }
        Ok(())
    }

    /// Whether a stack that is there is the reader's. Of one that is gone it cannot be said: the reader knows.
    fn may_be_told(&self, key: &StackKey) -> Result<bool, LedgerError> {
        if key.environment != self.environment || !self.guard.sees(key) {
            return Ok(false);
        }
        let found = self.guard.shelf.ledger.stack(key)?;
        Ok(found.is_none_or(|found| self.is_own(&found.value)))
    }

    /// Whether the reader itself handed a deployment over, whoever the stack is. Of those that were overtaken before their
    /// stack came through it would otherwise learn nothing: the stack is its own only after them.
    fn handed(&self, deployment: &Deployment) -> bool {
        deployment.stack.environment == self.environment
            && deployment.handed.as_ref().is_some_and(|handed| handed.near == self.near)
            && self.guard.sees(&deployment.stack)
    }

    /// Whether a line of the log is about a deployment that the reader handed over.
    fn is_of_handed(&self, event: &Event) -> Result<bool, LedgerError> {
        let Some(id) = &event.deployment else { return Ok(false) };
        Ok(self.guard.shelf.ledger.deployment(id)?.is_some_and(|found| self.handed(&found.value)))
    }

    fn mark(&mut self, revision: u64, whole: bool) {
        self.queue.push_back(Told::Mark { revision, sequence: self.sequence.unwrap_or_default(), whole });
    }

    /// One stack as it stands.
    fn stack(&mut self, name: &StackName) -> Result<(), LedgerError> {
        let key = self.key(name);
        let found = self.guard.shelf.ledger.stack(&key)?.map(|found| found.value);
        let Some(stack) = found.filter(|stack| self.is_own(stack)) else {
            if self.owned.remove(name) {
                self.queue.push_back(Told::Left { name: name.clone() });
            }
            return Ok(());
        };
        self.owned.insert(name.clone());
        let status = self.guard.shelf.ledger.status(&key)?.map(|found| found.value);
        let status = status.and_then(|status| serde_json::to_value(status).ok());
        let revision = stack.control.relay.map_or(0, |mark| mark.revision);
        self.queue.push_back(Told::Stack { name: name.clone(), revision, status });
        Ok(())
    }

    fn deployment(&mut self, mut deployment: Deployment) {
        self.guard.open(&mut deployment);
        deployment.handed = None;
        if let VersionSource::Spec(spec) = &mut deployment.version.source {
            for variable in spec.variables.values_mut() {
                if let Variable::Secret(sealed) = variable {
                    sealed.sealed.clear();
                }
            }
        }
        if let Ok(deployment) = serde_json::to_value(deployment) {
            self.queue.push_back(Told::Deployment { deployment });
        }
    }

    /// What the reader itself handed over is no news to it.
    fn event(&mut self, sequence: u64, event: &Event) {
        if event.via == Some(crate::domain::Way::Relay) {
            return;
        }
        if let Ok(event) = serde_json::to_value(event) {
            self.queue.push_back(Told::Event { sequence, event });
        }
    }

    fn environment(&mut self, always: bool) -> Result<(), LedgerError> {
        let nodes = self.guard.nodes(&self.environment);
        if always || nodes != self.nodes {
            let status = self.guard.shelf.ledger.environment_status(&self.environment)?.map(|found| found.value);
            let status = status.and_then(|status| serde_json::to_value(status).ok());
            self.nodes.clone_from(&nodes);
            let nodes = nodes.iter().filter_map(|node| serde_json::to_value(node.as_ref()).ok()).collect();
            self.queue.push_back(Told::Environment { status, nodes });
        }
        Ok(())
    }

    fn beat(&mut self) {
        if self.environment(false).is_ok() && self.queue.is_empty() {
            self.queue.push_back(Told::Beat);
        }
    }

    /// What a transaction changed, as it stands now.
    fn note(&mut self, note: &Note) -> Result<(), LedgerError> {
        if note.revision <= self.revision {
            return Ok(());
        }
        let (mut names, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for (key, value) in &note.records {
            match key {
                RecordKey::Stack(key) | RecordKey::Status(key) if key.environment == self.environment => {
                    let there = if value.is_some() { &mut names } else { &mut gone };
                    there.insert(key.name.clone());
                }
                _ => {}
            }
        }
        // New ones first, so that what is told of them is theirs; those that are gone last, for the same reason.
        for name in names.difference(&gone) {
            self.stack(name)?;
        }
        for (key, value) in &note.records {
            match (key, value) {
                (RecordKey::Deployment(id), Some(_)) => {
                    let found = self.guard.shelf.ledger.deployment(id)?.map(|found| found.value);
                    let own = |it: &Deployment| it.stack.environment == self.environment && self.is_known(&it.stack);
                    if let Some(deployment) = found.filter(|it| own(it) || self.handed(it)) {
                        self.deployment(deployment);
                    }
                }
                (RecordKey::Event(sequence), Some(bytes)) if self.sequence.is_none_or(|seen| *sequence > seen) => {
                    let event: Event = read(key, bytes)?;
                    let of = event.stack.as_ref().map(|name| self.key(name));
                    let known = event.environment == self.environment && of.is_some_and(|key| self.is_known(&key));
                    if known || self.is_of_handed(&event)? {
                        self.event(*sequence, &event);
                    }
                    self.sequence = Some(*sequence);
                }
                (RecordKey::EnvironmentStatus(name), Some(_)) if *name == self.environment => self.environment(true)?,
                _ => {}
            }
        }
        for name in &gone {
            self.stack(name)?;
        }
        if !self.queue.is_empty() {
            self.mark(note.revision, true);
        }
        Ok(())
    }

    fn is_known(&self, key: &StackKey) -> bool {
        self.owned.contains(&key.name)
    }
}
