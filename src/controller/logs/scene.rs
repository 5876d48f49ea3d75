//! Whose log it is, from when, until when, and who writes it.

use std::sync::Arc;

use jiff::Timestamp;

use super::super::environment::{Connection, Observed};
use super::super::shared::Shared;
use super::{MOST_SERVICES, failed};
use crate::domain::{Deployment, DeploymentId, ObjectKind, StackKey};
use crate::ledger::LedgerError;
use crate::ports::{InquiryError, LogOf, LogQuery};

/// Newer deployments that are looked at for the one that went to work after this one.
const NEWER: usize = 50;

/// A service that writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::controller) struct Writer {
    /// Its name in the compose file.
    pub(in crate::controller) name: String,
    /// Its engine id.
    pub(in crate::controller) id: String,
}

/// What is read.
pub(super) struct Scene {
    pub(super) shared: Arc<Shared>,
    pub(super) key: StackKey,
    /// The deployment, when it is about one, as it stood at the beginning.
    pub(super) deployment: Option<Deployment>,
    /// Only this service.
    pub(super) service: Option<String>,
    /// Nothing that was written before.
    pub(super) since: Timestamp,
    /// Nothing that services wrote later: then the next deployment went to work.
    pub(super) until: Option<Timestamp>,
    /// It is followed.
    follow: bool,
    /// Nothing more will come of it.
    pub(super) is_over: bool,
}

impl Scene {
    pub(super) fn of(shared: Arc<Shared>, of: &LogOf, query: &LogQuery) -> Result<Self, InquiryError> {
        let scene = match of {
            LogOf::Deployment(id) => Self::of_deployment(shared, id, query)?,
            LogOf::Stack(key) => Self::of_stack(shared, key, query)?,
        };
        scene.check_service()?;
        Ok(scene)
    }

    fn of_deployment(shared: Arc<Shared>, id: &DeploymentId, query: &LogQuery) -> Result<Self, InquiryError> {
        let found = shared.ledger.deployment(id).map_err(failed)?;
        let deployment = found.ok_or_else(|| InquiryError::NotFound(format!("deployment `{id}`")))?.value;
        let newer = shared.ledger.history_after(&deployment.stack, id, NEWER).map_err(failed)?.into_iter();
        // Its own rollback is a part of its story.
        let next = newer.map(|newer| newer.value).filter(|newer| newer.rollback_of.as_ref() != Some(id));
        let until = next.filter_map(|next| Some(next.progress?.started_at)).min();
        Ok(Self {
            key: deployment.stack.clone(),
            service: query.service.clone(),
            since: query.since.map_or(deployment.known_since(), |since| since.max(deployment.known_since())),
            until,
            follow: query.follow,
            is_over: deployment.phase.is_terminal(),
            deployment: Some(deployment),
            shared,
        })
    }

    fn of_stack(shared: Arc<Shared>, key: &StackKey, query: &LogQuery) -> Result<Self, InquiryError> {
        if shared.ledger.stack(key).map_err(failed)?.is_none() {
            return Err(InquiryError::NotFound(format!("stack `{key}`")));
        }
        let newest = shared.ledger.history(key, None, 1).map_err(failed)?.pop().map(|found| found.value);
        // A rollback is the end of the story that it answers.
        let answered = match newest.as_ref().and_then(|newest| newest.rollback_of.as_ref()) {
            Some(failed_one) => shared.ledger.deployment(failed_one).map_err(failed)?.map(|found| found.value),
            None => None,
        };
        let begun = answered.or(newest).map_or_else(|| shared.ambient.now(), |newest| newest.known_since());
        Ok(Self {
            key: key.clone(),
            deployment: None,
            service: query.service.clone(),
            since: query.since.unwrap_or(begun),
            until: None,
            follow: query.follow,
            is_over: false,
            shared,
        })
    }

    /// A service nobody knows of is a slip of the pen.
    fn check_service(&self) -> Result<(), InquiryError> {
        let Some(service) = &self.service else { return Ok(()) };
        let names = self.names().map_err(failed)?;
        let of_deployment = self.deployment.iter().flat_map(|it| it.services.iter().map(|service| &service.service));
        let mut known = names.iter().map(|(name, _)| name).chain(of_deployment).peekable();
        // While nothing has been applied nobody can know.
        if known.peek().is_none() || known.any(|name| name == service) {
            return Ok(());
        }
        Err(InquiryError::NotFound(format!("service `{service}` of stack `{}`", self.key)))
    }

    /// The services that the stack owns, by their names in the compose file, with their full ones.
    fn names(&self) -> Result<Vec<(String, String)>, LedgerError> {
        let status = self.shared.ledger.status(&self.key)?.map(|found| found.value).unwrap_or_default();
        let prefix = format!("{}_", self.key.name);
        let services = status.inventory.0.into_keys().filter(|object| object.kind == ObjectKind::Service);
        let short = |full: &str| full.strip_prefix(&prefix).unwrap_or(full).to_owned();
        Ok(services.map(|object| (short(&object.name), object.name)).collect())
    }

    /// The environment.
    pub(super) fn observed(&self) -> Option<Arc<Observed>> {
        self.shared.environments.get(&self.key.environment)
    }

    /// The environment, while its engine answers.
    pub(super) fn environment(&self) -> Option<Arc<Observed>> {
        self.observed().filter(|environment| environment.is_connected())
    }

    /// Why nothing can be asked of the engine; none when it is only a matter of time, and there is time.
    pub(super) fn silence(&self) -> Option<String> {
        match self.observed().map(|environment| environment.connection()) {
            None if self.follow => None,
            None => Some(format!("there is no environment `{}`", self.key.environment)),
            Some(Connection::Lost(error)) => Some(error.to_string()),
            Some(Connection::Unknown) if !self.follow => Some("the engine has not been asked yet".to_owned()),
            Some(Connection::Unknown | Connection::Connected(_)) => None,
        }
    }

    /// The services that are there now and wanted, and how many more there are than are read.
    pub(super) fn writers(&self) -> Result<(Vec<Writer>, usize), LedgerError> {
        let Some(environment) = self.environment() else { return Ok((Vec::new(), 0)) };
        let snapshot = environment.snapshot();
        let wanted = |name: &str| self.service.as_ref().is_none_or(|service| service == name);
        let names = self.names()?.into_iter().filter(|(name, _)| wanted(name));
        let mut writers: Vec<Writer> = names
            .filter_map(|(name, full)| Some(Writer { name, id: snapshot.services.get(&full)?.id.clone() }))
            .collect();
        let more = writers.len().saturating_sub(MOST_SERVICES);
        writers.truncate(MOST_SERVICES);
        Ok((writers, more))
    }

    /// Whether a line of a service of this time belongs to it.
    pub(super) fn takes(&self, time: Option<Timestamp>) -> bool {
        time.is_none_or(|time| time >= self.since && self.until.is_none_or(|until| time < until))
    }

    /// Whether nothing more will come of it, as things stand now.
    pub(super) fn ends(&self) -> Result<bool, LedgerError> {
        match &self.deployment {
            None => Ok(self.shared.ledger.stack(&self.key)?.is_none()),
            Some(deployment) => {
                let found = self.shared.ledger.deployment(&deployment.id)?;
                Ok(found.is_none_or(|found| found.value.phase.is_terminal()))
            }
        }
    }
}
