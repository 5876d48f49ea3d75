//! Deployments, with the requests that led to them.

use super::{Guard, PAGE};
use crate::api::guard::DeploymentFilter;
use crate::domain::{Deployment, DeploymentId, GitUrl, Source, StackKey, VersionSource};
use crate::ledger::{LedgerError, open_request};

/// A rollback brings back what another deployment kept, which may have been a rollback itself: so many are followed.
const KEPT_OF_KEPT: usize = 8;

impl Guard {
    /// A deployment.
    pub(in crate::api) fn deployment(&self, id: &DeploymentId) -> Result<Option<Deployment>, LedgerError> {
        let found = self.shelf.ledger.deployment(id)?.map(|found| found.value);
        Ok(found.filter(|deployment| self.sees(&deployment.stack)).map(|deployment| self.opened(deployment)))
    }

    /// Deployments of one stack, the newest first.
    pub(in crate::api) fn history(
        &self,
        key: &StackKey,
        before: Option<&DeploymentId>,
        limit: usize,
    ) -> Result<Vec<Deployment>, LedgerError> {
        Ok(self.records_of(key, before, limit)?.into_iter().map(|it| self.opened(it)).collect())
    }

    /// Deployments of all stacks, the newest first.
    pub(in crate::api) fn deployments(
        &self,
        before: Option<&DeploymentId>,
        limit: usize,
    ) -> Result<Vec<Deployment>, LedgerError> {
        Ok(self.records(before, limit)?.into_iter().map(|it| self.opened(it)).collect())
    }

    /// A deployment with the request as it came in.
    fn opened(&self, mut deployment: Deployment) -> Deployment {
        self.open(&mut deployment);
        deployment
    }

    /// Puts the request as it came in where it can be read.
    pub(super) fn open(&self, deployment: &mut Deployment) {
        open_request(&mut deployment.origin, self.shelf.sealer.as_ref());
    }

    fn records_of(
        &self,
        key: &StackKey,
        before: Option<&DeploymentId>,
        limit: usize,
    ) -> Result<Vec<Deployment>, LedgerError> {
        if !self.sees(key) {
            return Ok(Vec::new());
        }
        Ok(self.shelf.ledger.history(key, before, limit)?.into_iter().map(|found| found.value).collect())
    }

    fn records(&self, before: Option<&DeploymentId>, limit: usize) -> Result<Vec<Deployment>, LedgerError> {
        let (mut before, mut seen) = (before.cloned(), Vec::new());
        while seen.len() < limit {
            let page = self.shelf.ledger.deployments(before.as_ref(), limit.max(1))?;
            let Some(last) = page.last() else { break };
            before = Some(last.value.id.clone());
            seen.extend(page.into_iter().map(|found| found.value).filter(|found| self.sees(&found.stack)));
        }
        seen.truncate(limit);
        Ok(seen)
    }

    /// Deployments that fit, the newest first, from before `before` on.
    pub(in crate::api) fn search(
        &self,
        filter: &DeploymentFilter,
        mut before: Option<DeploymentId>,
        limit: usize,
    ) -> Result<Vec<Deployment>, LedgerError> {
        let mut found = Vec::new();
        while found.len() < limit {
            let page = match filter.one_stack() {
                Some(key) => self.records_of(&key, before.as_ref(), PAGE)?,
                None => self.records(before.as_ref(), PAGE)?,
            };
            let Some(last) = page.last() else { break };
            let over = filter.since.is_some_and(|since| last.created_at < since);
            before = Some(last.id.clone());
            for deployment in page {
                if filter.fits(&deployment) && self.is_of(&deployment, filter.repository.as_ref())? {
                    found.push(deployment);
                }
            }
            if over {
                break;
            }
        }
        found.truncate(limit);
        Ok(found.into_iter().map(|it| self.opened(it)).collect())
    }

    /// Whether a deployment's files come from this repository. Of one that brings kept files back: whether those did.
    fn is_of(&self, deployment: &Deployment, repository: Option<&GitUrl>) -> Result<bool, LedgerError> {
        let Some(repository) = repository else { return Ok(true) };
        let mut source = deployment.version.source.clone();
        for _ in 0..KEPT_OF_KEPT {
            source = match source {
                VersionSource::Spec(spec) => {
                    return Ok(matches!(&spec.source, Source::Git(git) if git.url.is_of(repository)));
                }
                VersionSource::Kept(id) => match self.shelf.ledger.deployment(&id)? {
                    Some(earlier) => earlier.value.version.source,
                    None => return Ok(false),
                },
            };
        }
        Ok(false)
    }
}
