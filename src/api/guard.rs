//! The one guard before everything that is read: queries, connections, nodes, every event of a subscription, REST, plans,
//! logs and figures come through a [`Guard`], which knows what its caller may see. What he may not see is not there.
//!
//! Resolvers and calls cannot reach the ledger or the inquiries but through it. Writing is guarded in the same words where
//! it happens: in `declare`.

mod deployments;
mod readiness;
mod relay;
mod running;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(super) use self::readiness::Readiness;
use super::caller::Caller;
use super::feed::Feed;
use super::roster::{self, From, Order, Page, Roster, StackFilter};
use crate::domain::{
    Access, ApiToken, Catalog, CatalogStatus, Credential, CredentialName, Deployment, DeploymentId, DeploymentPhase,
    Environment, EnvironmentName, EnvironmentStatus, Event, EventType, GitUrl, Grant, Node, Notifier, NotifierStatus,
    Outlook, Place, Repository, RepositoryStatus, Round, Stack, StackKey, StackName, StackStatus, Wanted, outlook,
};
use crate::ledger::{Hook, HookDelivery, Ledger, LedgerError};
use crate::ports::{
    Ambient, BoxStream, CommitInfo, CompareAnswer, CredentialAnswer, Finding, Inquiries, InquiryError, LogLine, LogOf,
    LogQuery, PlanAnswer, RenderAnswer, Sealer, TaskAnswer,
};

/// Records that are looked at in one go, for a list of which some may not be seen.
const PAGE: usize = 500;

/// What there is to be read. Only a [`Guard`] gives it out.
#[derive(Clone)]
pub(super) struct Shelf {
    ledger: Ledger,
    inquiries: Arc<dyn Inquiries>,
    /// Opens what is sealed and may be read.
    sealer: Arc<dyn Sealer>,
    /// The time.
    ambient: Arc<dyn Ambient>,
    /// One backup is taken at a time: each is as large as the store.
    backups: Arc<Semaphore>,
    roster: Roster,
}

/// The caller may not do this anywhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{actor}` may not: it takes the right {access:?}, over everything")]
pub(super) struct Forbidden {
    actor: String,
    access: Access,
}

/// Why something is not given out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum GuardError {
    /// The caller may not.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The store failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The world gave no answer.
    #[error(transparent)]
    Inquiry(#[from] InquiryError),
}

impl Shelf {
    pub(super) fn new(
        ledger: Ledger,
        inquiries: Arc<dyn Inquiries>,
        sealer: Arc<dyn Sealer>,
        ambient: Arc<dyn Ambient>,
        feed: Feed,
    ) -> Self {
        let roster = Roster::new(ledger.clone(), feed);
        Self { ledger, inquiries, sealer, ambient, backups: Arc::new(Semaphore::new(1)), roster }
    }

    /// What this caller may read.
    pub(super) fn guard(&self, caller: &Caller) -> Guard {
        let (shelf, grant) = (self.clone(), Arc::clone(&caller.grant));
        Guard { shelf, grant, actor: Arc::from(caller.actor.name.as_str()) }
    }

    /// The store's revision.
    pub(super) fn revision(&self) -> u64 {
        self.ledger.revision()
    }
}

/// Which deployments are looked for. What is not said fits all.
#[derive(Debug, Clone, Default)]
pub(super) struct DeploymentFilter {
    pub(super) environment: Option<EnvironmentName>,
    pub(super) stack: Option<StackName>,
    /// The repository the files come from.
    pub(super) repository: Option<GitUrl>,
    /// The first digits of the commit.
    pub(super) commit: Option<String>,
    pub(super) phase: Option<DeploymentPhase>,
    /// Recorded then or later.
    pub(super) since: Option<Timestamp>,
    /// Recorded before.
    pub(super) until: Option<Timestamp>,
}

impl DeploymentFilter {
    /// The only stack whose deployments can fit.
    fn one_stack(&self) -> Option<StackKey> {
        let (environment, name) = self.environment.clone().zip(self.stack.clone())?;
        Some(StackKey { environment, name })
    }

    /// All but the repository, for which other records may be needed.
    fn fits(&self, it: &Deployment) -> bool {
        let revision = it.version.revision.as_ref();
        self.environment.as_ref().is_none_or(|name| it.stack.environment == *name)
            && self.stack.as_ref().is_none_or(|name| it.stack.name == *name)
            && self.commit.as_ref().is_none_or(|commit| revision.is_some_and(|it| it.0.starts_with(commit)))
            && self.phase.is_none_or(|phase| it.phase == phase)
            && self.since.is_none_or(|since| it.created_at >= since)
            && self.until.is_none_or(|until| it.created_at < until)
    }
}

/// A part of the log.
pub(super) struct Look {
    /// The events that the caller sees.
    pub(super) events: Vec<(u64, Event)>,
    /// The sequence to go on from; none at the log's end.
    pub(super) last: Option<u64>,
}

/// What one caller may read. Cheap to clone.
#[derive(Clone)]
pub(super) struct Guard {
    shelf: Shelf,
    grant: Arc<Grant>,
    actor: Arc<str>,
}

impl Guard {
    /// What the caller may do.
    pub(super) fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Whether a stack, there or not, is the caller's to see.
    pub(super) fn sees(&self, key: &StackKey) -> bool {
        self.grant.may(Access::See, Place::Stack(key))
    }

    fn sees_environment(&self, name: &EnvironmentName) -> bool {
        self.grant.may(Access::See, Place::Environment(name))
    }

    fn sees_event(&self, event: &Event) -> bool {
        let key = event.stack.clone().map(|name| StackKey { environment: event.environment.clone(), name });
        self.grant.sees_event(event.kind, &event.environment, key.as_ref())
    }

    /// Refuses a caller who may not do this over everything.
    pub(super) fn everywhere(&self, access: Access) -> Result<(), Forbidden> {
        match self.grant.may(access, Place::Installation) {
            true => Ok(()),
            false => Err(Forbidden { actor: self.actor.to_string(), access }),
        }
    }

    /// A stack with its status.
    pub(super) fn stack(&self, key: &StackKey) -> Result<Option<(Stack, StackStatus)>, LedgerError> {
        let found = match self.sees(key) {
            true => self.shelf.ledger.stack(key)?,
            false => None,
        };
        found.map(|found| self.with_status(found.value)).transpose()
    }

    /// What happens next with a stack; `None`: nothing has to, it is not known, or the stack is not there.
    pub(super) fn outlook(&self, key: &StackKey) -> Result<Option<Outlook>, LedgerError> {
        let Some((stack, status)) = self.stack(key)? else { return Ok(None) };
        let attempt = match &status.attempt {
            Some(attempt) => self.shelf.ledger.deployment(&attempt.id)?.map(|found| found.value),
            None => None,
        };
        Ok(outlook(&stack, &status, attempt.as_ref(), self.shelf.ambient.now()))
    }

    /// A stack the caller has in hand, with its status.
    pub(super) fn with_status(&self, stack: Stack) -> Result<(Stack, StackStatus), LedgerError> {
        let status = self.shelf.ledger.status(&stack.key)?.map(|found| found.value).unwrap_or_default();
        Ok((stack, status))
    }

    /// Stacks of one environment, or of all, by environment and name.
    pub(super) fn stacks(&self, environment: Option<&EnvironmentName>) -> Result<Vec<Stack>, LedgerError> {
        let found = self.shelf.ledger.stacks(environment)?.into_iter().map(|found| found.value);
        Ok(found.filter(|stack| self.sees(&stack.key)).collect())
    }

    /// A page of stacks, and the revision it is of.
    pub(super) async fn page(
        &self,
        filter: &StackFilter,
        order: Order,
        from: &From,
        size: usize,
    ) -> Result<(u64, Page), LedgerError> {
        let (revision, lines) = self.shelf.roster.lines().await?;
        let seen = lines.iter().filter(|line| self.sees(&line.key));
        Ok((revision, roster::page(seen, filter, order, from, size)))
    }

    /// An environment with what is known of its connection.
    pub(super) fn environment(
        &self,
        name: &EnvironmentName,
    ) -> Result<Option<(Environment, Option<EnvironmentStatus>)>, LedgerError> {
        if !self.sees_environment(name) {
            return Ok(None);
        }
        let found = self.shelf.ledger.environment(name)?.map(|found| found.value);
        found.map(|environment| self.with_connection(environment)).transpose()
    }

    /// An environment the caller has in hand, with what is known of its connection.
    pub(super) fn with_connection(
        &self,
        environment: Environment,
    ) -> Result<(Environment, Option<EnvironmentStatus>), LedgerError> {
        let status = self.shelf.ledger.environment_status(&environment.name)?;
        Ok((environment, status.map(|status| status.value)))
    }

    /// Environments, by name.
    pub(super) fn environments(&self) -> Result<Vec<(Environment, Option<EnvironmentStatus>)>, LedgerError> {
        let found = self.shelf.ledger.environments()?.into_iter().map(|found| found.value);
        found.filter(|it| self.sees_environment(&it.name)).map(|it| self.with_connection(it)).collect()
    }

    /// The nodes of an environment's Swarm.
    pub(super) fn nodes(&self, name: &EnvironmentName) -> Vec<Arc<Node>> {
        if self.sees_environment(name) { self.shelf.inquiries.nodes(name) } else { Vec::new() }
    }

    /// How long the newest round over an environment took; none before the first, or when another Skep keeps it.
    pub(super) fn round(&self, name: &EnvironmentName) -> Option<Round> {
        self.shelf.inquiries.round(name).filter(|_| self.sees_environment(name))
    }

    /// All that the log tells of one deployment, the oldest first. It is read from its end, up to where the deployment was
    /// recorded.
    pub(super) fn events_of(&self, id: &DeploymentId) -> Result<Vec<(u64, Event)>, LedgerError> {
        let (mut found, mut before, mut over) = (Vec::new(), None, false);
        loop {
            let page = self.shelf.ledger.events(before, true, PAGE)?;
            let Some((oldest, _)) = page.last() else { break };
            before = Some(*oldest);
            // What was written together with the record may stand before it, in the page that follows.
            let last = over;
            let of = page.into_iter().filter(|(_, event)| event.deployment.as_ref() == Some(id));
            for (sequence, event) in of {
                over |= event.kind == EventType::DeploymentCreated;
                if self.sees_event(&event) {
                    found.push((sequence, event));
                }
            }
            if last {
                break;
            }
        }
        found.reverse();
        Ok(found)
    }

    /// One look at the log after (or, backwards, before) a sequence.
    pub(super) fn events(&self, from: Option<u64>, backwards: bool) -> Result<Look, LedgerError> {
        let mut events = self.shelf.ledger.events(from, backwards, PAGE)?;
        let last = events.last().map(|(sequence, _)| *sequence);
        events.retain(|(_, event)| self.sees_event(event));
        Ok(Look { events, last })
    }

    /// The number of the log's newest line, whoever may see it; 0 of an empty log.
    pub(super) fn newest_event(&self) -> Result<u64, LedgerError> {
        Ok(self.shelf.ledger.events(None, true, 1)?.first().map_or(0, |(sequence, _)| *sequence))
    }

    /// One line of the log.
    pub(super) fn event(&self, sequence: u64) -> Result<Option<(u64, Event)>, LedgerError> {
        let found = self.shelf.ledger.events(sequence.checked_sub(1), false, 1)?;
        Ok(found.into_iter().find(|(number, event)| *number == sequence && self.sees_event(event)))
    }

    /// All credentials, by name.
    pub(super) fn credentials(&self) -> Result<Vec<Credential>, GuardError> {
        self.everywhere(Access::Administer)?;
        Ok(self.shelf.ledger.credentials()?.into_iter().map(|found| found.value).collect())
    }

    /// All notifiers, by name, with how far each has come and how much it still owes.
    pub(super) fn notifiers(&self) -> Result<Vec<(Notifier, NotifierStatus, usize)>, GuardError> {
        self.everywhere(Access::Administer)?;
        let ledger = &self.shelf.ledger;
        let found = ledger.notifiers()?.into_iter().map(|found| found.value);
        found
            .map(|notifier| {
                let (status, _) = ledger.notifier_status(&notifier)?;
                let owed = ledger.owes(&notifier, &status)?;
                Ok((notifier, status, owed))
            })
            .collect()
    }

    /// All tokens, by name, with when each was last used.
    pub(super) fn tokens(&self) -> Result<Vec<(ApiToken, Option<Timestamp>)>, GuardError> {
        self.everywhere(Access::Administer)?;
        let found = self.shelf.ledger.tokens()?.into_iter().map(|found| found.value);
        found
            .map(|token| {
                let used = self.shelf.ledger.token_used(&token.name)?;
                Ok((token, used))
            })
            .collect()
    }

    /// All catalogs, by name, with what is known of them.
    pub(super) fn catalogs(&self) -> Result<Vec<(Catalog, CatalogStatus)>, GuardError> {
        self.everywhere(Access::Administer)?;
        let found = self.shelf.ledger.catalogs()?.into_iter().map(|found| found.value);
        found
            .map(|catalog| {
                let status = self.shelf.ledger.catalog_status(&catalog.name)?;
                Ok((catalog, status.map(|status| status.value).unwrap_or_default()))
            })
            .collect()
    }

    /// What is known of a repository of images. Asked for by who sees a stack that follows it.
    pub(super) fn repository(&self, repository: &Repository) -> Result<Option<RepositoryStatus>, LedgerError> {
        self.shelf.ledger.repository_status(repository)
    }

    /// All hooks, by name.
    pub(super) fn hooks(&self) -> Result<Vec<Hook>, GuardError> {
        self.everywhere(Access::Administer)?;
        Ok(self.shelf.ledger.hooks()?.into_iter().map(|found| found.value).collect())
    }

    /// The newest deliveries of a hook, the newest first.
    pub(super) fn deliveries(&self, hook: &str, limit: usize) -> Result<Vec<HookDelivery>, GuardError> {
        self.everywhere(Access::Administer)?;
        Ok(self.shelf.ledger.deliveries(hook, limit)?)
    }

    /// What deploying a version would do, with these versions of single services.
    pub(super) async fn plan(
        &self,
        key: &StackKey,
        wanted: Option<&Wanted>,
        images: &BTreeMap<String, String>,
    ) -> Result<PlanAnswer, GuardError> {
        if !self.grant.may(Access::Diff, Place::Stack(key)) {
            return Err(InquiryError::NotFound(format!("stack `{key}`")).into());
        }
        Ok(self.shelf.inquiries.plan_images(key, wanted, images).await?)
    }

    /// What a version's files come to.
    pub(super) async fn render(
        &self,
        key: &StackKey,
        wanted: Option<&Wanted>,
        images: &BTreeMap<String, String>,
    ) -> Result<RenderAnswer, GuardError> {
        if !self.grant.may(Access::Diff, Place::Stack(key)) {
            return Err(InquiryError::NotFound(format!("stack `{key}`")).into());
        }
        Ok(self.shelf.inquiries.render(key, wanted, images).await?)
    }

    /// Where the objects of two deployments differ.
    pub(super) async fn compare(&self, from: &DeploymentId, to: &DeploymentId) -> Result<CompareAnswer, GuardError> {
        for id in [from, to] {
            let found = self.deployment(id)?.filter(|it| self.grant.may(Access::Diff, Place::Stack(&it.stack)));
            found.ok_or_else(|| InquiryError::NotFound(format!("deployment `{id}`")))?;
        }
        Ok(self.shelf.inquiries.compare(from, to).await?)
    }

    /// The author and the title of the commit of a deployment; none when it has none, or its repository is not here.
    pub(super) async fn commit(&self, id: &DeploymentId) -> Result<Option<CommitInfo>, GuardError> {
        match self.deployment(id)? {
            Some(_) => Ok(self.shelf.inquiries.commit(id).await?),
            None => Ok(None),
        }
    }

    /// The tasks of a stack's services.
    pub(super) async fn tasks(&self, key: &StackKey) -> Result<Vec<TaskAnswer>, GuardError> {
        if !self.sees(key) {
            return Err(InquiryError::NotFound(format!("stack `{key}`")).into());
        }
        Ok(self.shelf.inquiries.tasks(key).await?)
    }

    /// What taking a stack over would do, as it would be declared.
    pub(super) async fn adoption(&self, stack: &Stack) -> Result<PlanAnswer, GuardError> {
        if !self.grant.may(Access::Diff, Place::Stack(&stack.key)) {
            return Err(InquiryError::NotFound(format!("stack `{}`", stack.key)).into());
        }
        Ok(self.shelf.inquiries.adoption(stack).await?)
    }

    /// What Skep did and what services wrote. A log that the caller may not read is not there.
    pub(super) async fn logs(&self, of: &LogOf, query: &LogQuery) -> Result<BoxStream<'static, LogLine>, GuardError> {
        let key = match of {
            LogOf::Stack(key) => Some(key.clone()).filter(|key| self.sees(key)),
            LogOf::Deployment(id) => self.deployment(id)?.map(|found| found.stack),
        };
        if !key.is_some_and(|key| self.grant.may(Access::Logs, Place::Stack(&key))) {
            let what = match of {
                LogOf::Stack(key) => format!("stack `{key}`"),
                LogOf::Deployment(id) => format!("deployment `{id}`"),
            };
            return Err(InquiryError::NotFound(what).into());
        }
        Ok(self.shelf.inquiries.logs(of, query).await?)
    }

    /// Whether all that is needed is there and answers.
    pub(super) async fn doctor(&self) -> Result<Vec<Finding>, GuardError> {
        self.everywhere(Access::Administer)?;
        Ok(self.shelf.inquiries.doctor().await?)
    }

    /// Everything there is, as an archive, and the place it takes among backups until it is dropped.
    pub(super) async fn backup(&self) -> Result<(Box<dyn Read + Send>, OwnedSemaphorePermit), GuardError> {
        self.everywhere(Access::Administer)?;
        let place = Arc::clone(&self.shelf.backups).try_acquire_owned().map_err(|_| InquiryError::Busy)?;
        tracing::info!(actor = %self.actor, "a backup is taken");
        let ledger = self.shelf.ledger.clone();
        let taken = tokio::task::spawn_blocking(move || ledger.export()).await;
        let archive = taken.map_err(|error| InquiryError::Failed(error.to_string()))??;
        Ok((archive, place))
    }

    /// Whether a credential opens a repository.
    pub(super) async fn test_credential(
        &self,
        name: &CredentialName,
        url: &GitUrl,
    ) -> Result<CredentialAnswer, GuardError> {
        self.everywhere(Access::Administer)?;
        Ok(self.shelf.inquiries.test_credential(name, url).await?)
    }
}
