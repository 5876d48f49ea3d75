//! Catalogs: a repository's manifests become stacks.
//!
//! All that one commit leads to (stacks, deployments, events, what is known of the catalog) is one transaction, so that a crash
//! leaves either all of it or nothing. A file that cannot be taken holds the stacks that it declared before, and no others.
//! Nothing is deleted but on evidence: the whole set was read, the stack is in no file of it, and no file is broken, for a broken
//! one, old or new, may be where the stack has moved; and never more stacks at once than the catalog says. Until then what is
//! missing is kept, and it is said which file that waits for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::apply::{ApplyOptions, Gather};
use super::manifest::{Body, Document, Manifest};
use super::write::ATTEMPTS;
use super::{Ask, Code, Declare, DeclareError, References, Refusal};
use crate::domain::{
    Actor, BrokenManifest, Catalog, CatalogCommit, CatalogEntry, CatalogStatus, Deletion, EnvironmentName, EventType,
    Stack, StackKey, Trigger,
};
use crate::ledger::{Batch, RecordKey, Versioned};

/// Files by their paths; of one that cannot be read, why.
pub type CatalogFiles = BTreeMap<String, Result<String, String>>;

/// What is gathered from one commit.
struct Set<'c> {
    catalog: &'c Catalog,
    ask: Ask,
    batch: Batch,
    specs: BTreeMap<StackKey, crate::domain::StackSpec>,
    /// Which file declares which stack.
    declared: BTreeMap<StackKey, String>,
    broken: Vec<BrokenManifest>,
    changed: u64,
    deleted: u64,
}

impl Set<'_> {
    fn broken(&mut self, file: &str, refusals: &[Refusal]) {
        for refusal in refusals {
            let message = match &refusal.hint {
                Some(hint) => format!("{}; {hint}", refusal.message),
                None => refusal.message.clone(),
            };
            self.broken.push(BrokenManifest { file: file.to_owned(), line: refusal.line, message });
        }
    }

    /// Notes the files of these refusals as broken; whether that is news.
    fn breaks(&mut self, refusals: &[Refusal]) -> bool {
        let known = self.broken.len();
        for refusal in refusals {
            if let Some(file) = refusal.file.as_deref().filter(|file| !self.is_broken(file)) {
                self.broken(file, std::slice::from_ref(refusal));
            }
        }
        self.broken.len() > known
    }

    fn is_broken(&self, file: &str) -> bool {
        self.broken.iter().any(|broken| broken.file == file)
    }

    /// What a deletion waits for, in words: a file that is broken, and how many more there are.
    fn waits_for(&self) -> Option<String> {
        let mut files: Vec<&str> = self.broken.iter().map(|broken| broken.file.as_str()).collect();
        files.sort_unstable();
        files.dedup();
        let (first, others) = files.split_first()?;
        Some(match others.len() {
            0 => format!("`{first}`"),
            more => format!("`{first}` (or one of {more} more)"),
        })
    }
}

impl Declare {
    /// Declares what stands in a catalog's files at a commit; gives what is known of the catalog then. Where nothing differs
    /// from what was declared before, nothing is written.
    ///
    /// # Errors
    /// [`DeclareError::Refused`] when the catalog is gone or has changed meanwhile; nothing is written then.
    pub async fn apply_catalog(
        &self,
        catalog: &Catalog,
        commit: &CatalogCommit,
        files: &CatalogFiles,
    ) -> Result<CatalogStatus, DeclareError> {
        for _ in 0..ATTEMPTS {
            let known = self.ledger.catalog_status(&catalog.name)?;
            let found = self.same_catalog(catalog)?;
            let set = self.gather_catalog(catalog, commit, files)?;
            let before = known.map(|known| known.value).unwrap_or_default();
            let (batch, status) = self.finish_catalog(set, commit, files.len(), &before)?;
            if batch.is_empty() {
                return Ok(status);
            }
            let batch = batch.expect(&RecordKey::Catalog(catalog.name.clone()), Some(found.revision));
            if self.committed(batch).await? {
                return Ok(status);
            }
        }
        let message = format!("the stacks of catalog `{}` are being changed by others all the time", catalog.name);
        Err(Refusal::new(Code::Conflict, message).hint("it is tried again").into())
    }

    /// Writes down that a catalog could not be read; what was declared from it stays.
    ///
    /// # Errors
    /// The store failed.
    pub async fn catalog_failed(&self, catalog: &Catalog, why: &str) -> Result<(), DeclareError> {
        let before = self.ledger.catalog_status(&catalog.name)?;
        let revision = before.as_ref().map(|before| before.revision);
        let before = before.map(|before| before.value).unwrap_or_default();
        let status = CatalogStatus {
            observed_generation: catalog.generation,
            handled_token: catalog.sync_token.clone(),
            error: Some(why.to_owned()),
            ..before.clone()
        };
        if status == before {
            return Ok(());
        }
        let mut batch = Batch::new().put_catalog_status(&catalog.name, &status);
        if status.error != before.error {
            let message = format!("catalog `{}` cannot be read: {why}", catalog.name);
            batch = batch.event(&self.own_event(EventType::CatalogRefused, message, &controller(catalog, "")));
        }
        let found = self.ledger.catalog(&catalog.name)?;
        let Some(found) = found else { return Ok(()) };
        // Whoever was faster knows better.
        self.committed(
            batch
                .expect(&RecordKey::Catalog(catalog.name.clone()), Some(found.revision))
                .expect(&RecordKey::CatalogStatus(catalog.name.clone()), revision),
        )
        .await
        .map(drop)
    }

    fn same_catalog(&self, catalog: &Catalog) -> Result<Versioned<Catalog>, DeclareError> {
        match self.ledger.catalog(&catalog.name)? {
            Some(found) if found.value == *catalog => Ok(found),
            _ => {
                let message = format!("the catalog `{}` has changed meanwhile", catalog.name);
                Err(Refusal::new(Code::Conflict, message).into())
            }
        }
    }

    fn gather_catalog<'c>(
        &self,
        catalog: &'c Catalog,
        commit: &CatalogCommit,
        files: &CatalogFiles,
    ) -> Result<Set<'c>, DeclareError> {
        let mut set = Set {
            catalog,
            ask: controller(catalog, commit.revision.short()),
            batch: Batch::new(),
            specs: BTreeMap::new(),
            declared: BTreeMap::new(),
            broken: Vec::new(),
            changed: 0,
            deleted: 0,
        };
        let documents = self.read_catalog(&mut set, files)?;
        loop {
            self.gather_documents(&mut set, commit, &documents)?;
            let manifest = Manifest { documents: documents.iter().map(|(_, document)| document.clone()).collect() };
            let batch = std::mem::take(&mut set.batch);
            match self.without_circles(&manifest, &set.specs, batch, &set.ask.grant) {
                Ok(batch) => {
                    set.batch = batch;
                    return Ok(set);
                }
                // The files of those that would wait for each other are broken; all others are taken.
                Err(DeclareError::Refused(refusals)) if set.breaks(&refusals) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gathers what the documents of files that are not broken declare, from the beginning.
    fn gather_documents(
        &self,
        set: &mut Set<'_>,
        commit: &CatalogCommit,
        documents: &[(String, Document)],
    ) -> Result<(), DeclareError> {
        let catalog = set.catalog;
        (set.batch, set.specs, set.changed) = (Batch::new(), BTreeMap::new(), 0);
        for (file, document) in documents {
            let Body::Stack(key, spec) = &document.body else { continue };
            if set.is_broken(file) {
                continue;
            }
            let entry = CatalogEntry { catalog: catalog.name.clone(), file: file.clone() };
            let options = ApplyOptions { file: Some(file.clone()), catalog: Some(entry), ..ApplyOptions::default() };
            let original = json!({
                "catalog": catalog.name, "file": file, "commit": commit.revision, "author": commit.author,
                "title": commit.title, "manifest": document.original,
            });
            let ask = Ask { original: Some(original), ..set.ask.clone() };
            let mut gather = Gather { batch: Batch::new(), documents: Vec::new(), specs: BTreeMap::new() };
            match self.apply_stack(&mut gather, document, key, spec, &ask, &options) {
                Ok(()) => {
                    set.changed += u64::from(gather.documents.iter().any(|document| !document.changes.is_empty()));
                    set.batch = std::mem::take(&mut set.batch).and(gather.batch);
                    set.specs.extend(gather.specs);
                }
                Err(DeclareError::Refused(refusals)) => set.broken(file, &refusals),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The documents of all files that can be read. What is wrong with the others is noted.
    fn read_catalog(&self, set: &mut Set<'_>, files: &CatalogFiles) -> Result<Vec<(String, Document)>, DeclareError> {
        let environments: BTreeSet<EnvironmentName> =
            self.ledger.environments()?.into_iter().map(|found| found.value.name).collect();
        let mut documents = Vec::new();
        for (file, text) in files {
            let read = match text {
                Ok(text) => {
                    Manifest::read(text, Some(file), &References::default(), self.sealer.as_ref(), &self.limits)
                }
                Err(why) => Err(Refusal::new(Code::Invalid, why.clone()).into()),
            };
            let manifest = match read {
                Ok(manifest) => manifest,
                Err(DeclareError::Refused(refusals)) => {
                    set.broken(file, &refusals);
                    continue;
                }
                Err(error) => return Err(error),
            };
            documents.extend(manifest.documents.into_iter().map(|document| (file.clone(), document)));
        }
        // A stack belongs to the file that declares it, for as long as that does: another one that names it is wrong.
        let mut owners = Vec::new();
        let mut others = Vec::new();
        for (file, document) in documents {
            let owns = self.owns(set.catalog, &file, &document)?;
            if owns { &mut owners } else { &mut others }.push((file, document));
        }
        let mut taken = Vec::new();
        for (file, document) in owners.into_iter().chain(others) {
            match of_catalog(set, &document, &environments) {
                Ok(key) => {
                    set.declared.insert(key, file.clone());
                    taken.push((file, document));
                }
                Err(refusal) => set.broken(&file, &[*refusal]),
            }
        }
        taken.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(taken)
    }

    /// Whether a document declares a stack that its file has declared before.
    fn owns(&self, catalog: &Catalog, file: &str, document: &Document) -> Result<bool, DeclareError> {
        let Body::Stack(key, _) = &document.body else { return Ok(false) };
        let entry = self.ledger.stack(key)?.and_then(|found| found.value.control.catalog);
        Ok(entry.is_some_and(|entry| entry.catalog == catalog.name && entry.file == file))
    }

    /// What is to be deleted, and what is known of the catalog then. The batch is empty when nothing differs.
    fn finish_catalog(
        &self,
        mut set: Set<'_>,
        commit: &CatalogCommit,
        files: usize,
        before: &CatalogStatus,
    ) -> Result<(Batch, CatalogStatus), DeclareError> {
        let (catalog, gone) = (set.catalog, self.missing(&set)?);
        let mut status = CatalogStatus {
            observed_generation: catalog.generation,
            handled_token: catalog.sync_token.clone(),
            commit: Some(commit.clone()),
            applied_at: before.applied_at,
            files: files as u64,
            ..CatalogStatus::default()
        };
        let limit = usize::try_from(catalog.prune_limit).unwrap_or(usize::MAX);
        let because = match set.waits_for() {
            Some(files) => {
                Some(format!("nothing is deleted while {files} is broken, which could declare them: mend it"))
            }
            None if catalog.prune && gone.len() > limit => {
                Some(format!("one commit may delete {limit} of them; raise the catalog's `pruneLimit` to let it"))
            }
            None => None,
        };
        if because.is_none() {
            self.let_go(&mut set, gone)?;
        } else {
            status.kept = gone.into_iter().map(|found| found.value.key).collect();
            status.kept_because = because.filter(|_| !status.kept.is_empty());
        }
        status.broken = std::mem::take(&mut set.broken);
        if set.batch.is_empty() && status == *before {
            return Ok((Batch::new(), status));
        }
        status.applied_at = Some(self.now());
        let told = CatalogStatus {
            applied_at: before.applied_at,
            handled_token: before.handled_token.clone(),
            ..status.clone()
        };
        let batch = std::mem::take(&mut set.batch).put_catalog_status(&catalog.name, &status);
        // That somebody asked for a look is no news.
        if set.changed == 0 && set.deleted == 0 && told == *before {
            return Ok((batch, status));
        }
        let kind = match status.broken.is_empty() && status.kept.is_empty() {
            true => EventType::CatalogApplied,
            false => EventType::CatalogRefused,
        };
        let event = self.own_event(kind, told_of(&set, &status, commit), &set.ask);
        Ok((batch.event(&event), status))
    }

    /// The catalog's stacks that no file declares any more, and whose own file is not broken.
    fn missing(&self, set: &Set<'_>) -> Result<Vec<Versioned<Stack>>, DeclareError> {
        let mut stacks = self.ledger.stacks(None)?;
        stacks.retain(|found| {
            let Stack { key, control, .. } = &found.value;
            let entry = control.catalog.as_ref().filter(|entry| entry.catalog == set.catalog.name);
            let stays = |file: &str| set.declared.contains_key(key) || set.is_broken(file);
            control.deletion.is_none() && entry.is_some_and(|entry| !stays(&entry.file))
        });
        Ok(stacks)
    }

    /// Deletes stacks, or, where nothing is to be deleted, lets them belong to nobody.
    fn let_go(&self, set: &mut Set<'_>, stacks: Vec<Versioned<Stack>>) -> Result<(), DeclareError> {
        for found in stacks {
            let (mut stack, revision) = (found.value, found.revision);
            let message = if set.catalog.prune {
                let (actor, since) = (set.ask.actor.clone(), self.now());
                stack.control.deletion = Some(Deletion { keep_running: false, release: false, actor, since });
                set.deleted += 1;
                format!("the stack is to be deleted: catalog `{}` declares it no more", set.catalog.name)
            } else {
                stack.control.catalog = None;
                format!("catalog `{}` declares the stack no more; it stays, and belongs to nobody", set.catalog.name)
            };
            let event = self.event(&stack.key, &set.ask, EventType::StackChanged, message);
            let batch = std::mem::take(&mut set.batch).expect(&RecordKey::Stack(stack.key.clone()), Some(revision));
            set.batch = self.put(batch, &stack, None)?.event(&event);
        }
        Ok(())
    }
}

/// Who declares what stands in a commit.
fn controller(catalog: &Catalog, commit: &str) -> Ask {
    let at = if commit.is_empty() { String::new() } else { format!("@{commit}") };
    Ask::new(Actor::new(format!("catalog/{}{at}", catalog.name)), Trigger::Catalog)
}

/// The stack of a document that the catalog may declare, and that no other file declares.
fn of_catalog(
    set: &Set<'_>,
    document: &Document,
    environments: &BTreeSet<EnvironmentName>,
) -> Result<StackKey, Box<Refusal>> {
    let refuse = |field, message, hint: &str| {
        Err(Box::new(document.refuse(Code::Invalid, field, message, Some(hint.to_owned()))))
    };
    let Body::Stack(key, _) = &document.body else {
        return refuse("kind", "a catalog holds stacks alone".to_owned(), "apply the other kinds with `skep apply`");
    };
    if !set.catalog.allows(key) {
        let message = format!("catalog `{}` may not declare stack `{key}`", set.catalog.name);
        return refuse("name", message, "the catalog's `allow` says which environments and names it may use");
    }
    if !environments.contains(&key.environment) {
        let message = format!("there is no environment `{}`", key.environment);
        return refuse("environment", message, "declare it with a document of `kind: Environment`");
    }
    if let Some(other) = set.declared.get(key) {
        let message = format!("stack `{key}` is declared in `{other}` already");
        return refuse("name", message, "take one of the two away");
    }
    Ok(key.clone())
}

/// One sentence about a commit.
fn told_of(set: &Set<'_>, status: &CatalogStatus, commit: &CatalogCommit) -> String {
    let mut message = format!(
        "catalog `{}` is at {} ({}): {} of {} stacks changed, {} to be deleted",
        set.catalog.name,
        commit.revision.short(),
        commit.title,
        set.changed,
        set.declared.len(),
        set.deleted
    );
    if let Some(first) = status.broken.first() {
        let line = first.line.map(|line| format!(":{line}")).unwrap_or_default();
        message.push_str(&format!("; nothing is taken from `{}{line}`: {}", first.file, first.message));
        if let more @ 1.. = status.broken.len() - 1 {
            message.push_str(&format!(" (and {more} more)"));
        }
    }
    if let Some(why) = &status.kept_because {
        let names: Vec<String> = status.kept.iter().take(5).map(ToString::to_string).collect();
        message.push_str(&format!("; {} stacks are kept ({}): {why}", status.kept.len(), names.join(", ")));
    }
    message
}
