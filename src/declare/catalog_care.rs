//! Catalogs as they are declared: the documents, a look at a person's word, an end; and whose the stacks of one are.

use super::apply::{Gather, plain};
use super::fields::closest;
use super::write::ATTEMPTS;
use super::{Ask, Code, Declare, DeclareError, DocumentKind, Refusal};
use crate::domain::{Access, Catalog, CatalogEntry, EventType, Place, Stack};
use crate::ledger::{Batch, RecordKey, Versioned};

impl Declare {
    /// Takes a document of `kind: Catalog` over. What stands in the repository is declared soon after, by the controller.
    pub(super) fn apply_catalog_document(
        &self,
        gather: &mut Gather,
        asked: &Catalog,
        ask: &Ask,
    ) -> Result<(), DeclareError> {
        let found = self.ledger.catalog(&asked.name)?;
        let (revision, created) = (found.as_ref().map(|it| it.revision), found.is_none());
        let before = found.as_ref().map(|found| &found.value);
        let mut changes = Vec::new();
        for (field, same) in [
            ("source", before.is_some_and(|it| it.source == asked.source)),
            ("prune", before.is_some_and(|it| it.prune == asked.prune)),
            ("pruneLimit", before.is_some_and(|it| it.prune_limit == asked.prune_limit)),
            ("allow", before.is_some_and(|it| (&it.environments, &it.names) == (&asked.environments, &asked.names))),
        ] {
            if !same {
                changes.push(field.to_owned());
            }
        }
        if !changes.is_empty() {
            let generation = before.map_or(0, |it| it.generation) + 1;
            let sync_token = before.and_then(|it| it.sync_token.clone());
            let catalog = Catalog { generation, sync_token, ..asked.clone() };
            let message = format!("catalog `{}` was declared: {}", asked.name, changes.join(", "));
            let event = self.own_event(EventType::CatalogDeclared, message, ask);
            let key = RecordKey::Catalog(asked.name.clone());
            gather.batch = std::mem::take(&mut gather.batch).expect(&key, revision).put_catalog(&catalog).event(&event);
        }
        gather.documents.push(plain(DocumentKind::Catalog, asked.name.clone(), created, changes));
        Ok(())
    }

    /// Has a catalog looked at now.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: not an admin of everything, or no such catalog.
    pub async fn sync_catalog(&self, name: &str, ask: &Ask) -> Result<Catalog, DeclareError> {
        self.permit(ask, Access::Administer, Place::Installation)?;
        self.check_ask(ask)?;
        for _ in 0..ATTEMPTS {
            let found = self.declared_catalog(name)?;
            let catalog = Catalog { sync_token: Some(self.ambient.new_id()), ..found.value };
            let key = RecordKey::Catalog(name.to_owned());
            if self.committed(Batch::new().expect(&key, Some(found.revision)).put_catalog(&catalog)).await? {
                return Ok(catalog);
            }
        }
        Err(changing(name))
    }

    /// Follows a catalog no more. Its stacks stay as they are declared, and belong to nobody.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: not an admin of everything, or no such catalog.
    pub async fn delete_catalog(&self, name: &str, ask: &Ask) -> Result<Catalog, DeclareError> {
        self.permit(ask, Access::Administer, Place::Installation)?;
        self.check_ask(ask)?;
        for _ in 0..ATTEMPTS {
            let found = self.declared_catalog(name)?;
            let key = RecordKey::Catalog(name.to_owned());
            let why = ask.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let event = self.own_event(EventType::CatalogDeleted, format!("catalog `{name}` is gone{why}"), ask);
            let mut batch = Batch::new().expect(&key, Some(found.revision)).delete_catalog(name).event(&event);
            for stack in self.ledger.stacks(None)? {
                let (mut stack, revision) = (stack.value, stack.revision);
                if stack.control.catalog.as_ref().is_some_and(|entry| entry.catalog == name) {
                    stack.control.catalog = None;
                    batch = batch.expect(&RecordKey::Stack(stack.key.clone()), Some(revision)).put_stack(&stack);
                }
            }
            if self.committed(batch).await? {
                return Ok(found.value);
            }
        }
        Err(changing(name))
    }

    fn declared_catalog(&self, name: &str) -> Result<Versioned<Catalog>, DeclareError> {
        if let Some(found) = self.ledger.catalog(name)? {
            return Ok(found);
        }
        let known: Vec<String> = self.ledger.catalogs()?.into_iter().map(|found| found.value.name).collect();
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        let hint = match closest(name, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "see what there is: `skep catalog list`".to_owned(),
        };
        Err(Refusal::new(Code::NotFound, format!("there is no catalog `{name}`")).field("name").hint(hint).into())
    }
}

fn changing(name: &str) -> DeclareError {
    let message = format!("the catalog `{name}` is being changed by others all the time");
    Refusal::new(Code::Conflict, message).hint("try again").into()
}

/// Refuses a write by another way on a stack that a catalog declares.
pub(super) fn not_of_catalog(stack: &Stack, hint: &str) -> Result<(), DeclareError> {
    let Some(entry) = &stack.control.catalog else { return Ok(()) };
    let message = format!("stack `{}` is declared by catalog `{}`, in `{}`", stack.key.name, entry.catalog, entry.file);
    Err(Refusal::new(Code::Conflict, message).field("stack").hint(hint).into())
}

/// Refuses a change of fields that the catalog's manifest names. Others are free to be set.
pub(super) fn not_catalogs_fields(stack: &Stack, changes: &[String]) -> Result<(), DeclareError> {
    let named = super::three_way::base(stack.last_applied.as_ref());
    match changes.iter().find(|path| named.contains_key(*path)) {
        Some(path) => not_of_catalog(stack, &format!("change `{path}` there; to go back now: `skep rollback`")),
        None => Ok(()),
    }
}

/// Whether `asked`, the catalog that a document comes from, may declare this stack.
pub(super) fn may_declare(stack: &Stack, asked: Option<&CatalogEntry>) -> Result<(), DeclareError> {
    match (&stack.control.catalog, asked) {
        (Some(owner), Some(asked)) if owner.catalog == asked.catalog => Ok(()),
        _ => not_of_catalog(stack, "change it there, or take it out of the catalog first"),
    }
}
