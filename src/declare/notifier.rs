//! Notifiers: declared by manifest, deleted, and tried out.

use super::apply::{DocumentKind, Gather, plain};
use super::manifest::AskedNotifier;
use super::write::ATTEMPTS;
use super::{Ask, Code, Declare, DeclareError, Refusal, fields};
use crate::domain::{Access, EventType, Notifier, NotifierName, Place};
use crate::ledger::{Batch, RecordKey};

impl Declare {
    pub(super) fn apply_notifier(
        &self,
        gather: &mut Gather,
        asked: &AskedNotifier,
        ask: &Ask,
    ) -> Result<(), DeclareError> {
        let found = self.ledger.notifier(&asked.name)?;
        let (revision, created) = (found.as_ref().map(|it| it.revision), found.is_none());
        let before = found.map(|found| found.value);
        let (url, place) = asked.url.clone().unzip();
        let mut changes = Vec::new();
        let is = |same: &dyn Fn(&Notifier) -> bool| before.as_ref().is_some_and(same);
        for (field, same) in [
            ("type", is(&|it| it.kind == asked.kind)),
            ("url", is(&|it| it.url == url) || (created && url.is_none())),
            ("credential", is(&|it| it.credential == asked.credential) || (created && asked.credential.is_none())),
            ("environments", is(&|it| it.environments == asked.environments)),
            ("stacks", is(&|it| it.stacks == asked.stacks)),
            ("events", is(&|it| it.events == asked.events)),
        ] {
            if !same {
                changes.push(field.to_owned());
            }
        }
        if !changes.is_empty() {
            let now = self.now();
            let notifier = Notifier {
                name: asked.name.clone(),
                id: before.as_ref().map_or_else(|| self.ambient.new_id(), |it| it.id.clone()),
                kind: asked.kind,
                url,
                place,
                credential: asked.credential.clone(),
                environments: asked.environments.clone(),
                stacks: asked.stacks.clone(),
                events: asked.events.clone(),
                // It tells of what happens from now on.
                since: before.as_ref().map_or_else(|| self.ledger.newest_event(), |it| Ok(it.since))?,
                created_at: before.as_ref().map_or(now, |it| it.created_at),
                updated_at: now,
            };
            let message = format!("notifier `{}` was declared: {}", asked.name, changes.join(", "));
            let event = self.own_event(EventType::NotifierDeclared, message, ask);
            let key = RecordKey::Notifier(asked.name.clone());
            let batch = std::mem::take(&mut gather.batch);
            gather.batch = batch.expect(&key, revision).put_notifier(&notifier).event(&event);
        }
        gather.documents.push(plain(DocumentKind::Notifier, asked.name.to_string(), created, changes));
        Ok(())
    }

    /// Forgets a notifier, and what it still owes.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: there is none.
    pub async fn delete_notifier(&self, name: &str, ask: &Ask) -> Result<NotifierName, DeclareError> {
        self.permit(ask, Access::Administer, Place::Installation)?;
        self.check_ask(ask)?;
        let name = read_name(name)?;
        for _ in 0..ATTEMPTS {
            let Some(found) = self.ledger.notifier(&name)? else { return Err(self.no_such_notifier(&name)) };
            let message = format!("notifier `{name}` is gone");
            let event = self.own_event(EventType::NotifierDeleted, message, ask);
            let key = RecordKey::Notifier(name.clone());
            let batch = Batch::new().expect(&key, Some(found.revision)).delete_notifier(&name).event(&event);
            if self.committed(batch).await? {
                return Ok(name);
            }
        }
        let message = format!("notifier `{name}` is being changed by others all the time");
        Err(Refusal::new(Code::Conflict, message).hint("try again in a moment").into())
    }

    /// The notifier that is to be tried out, if the asker may.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: he may not, or there is none.
    pub fn notifier_to_test(&self, name: &str, ask: &Ask) -> Result<NotifierName, DeclareError> {
        self.permit(ask, Access::Administer, Place::Installation)?;
        let name = read_name(name)?;
        match self.ledger.notifier(&name)? {
            Some(_) => Ok(name),
            None => Err(self.no_such_notifier(&name)),
        }
    }

    fn no_such_notifier(&self, name: &NotifierName) -> DeclareError {
        let known: Vec<String> = match self.ledger.notifiers() {
            Ok(found) => found.into_iter().map(|found| found.value.name.to_string()).collect(),
            Err(error) => return error.into(),
        };
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        let hint = match fields::closest(name.as_str(), &names) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "see what there is: `skep notifier list`".to_owned(),
        };
        Refusal::new(Code::NotFound, format!("there is no notifier `{name}`")).field("name").hint(hint).into()
    }
}

fn read_name(text: &str) -> Result<NotifierName, DeclareError> {
    NotifierName::parse(text).map_err(|error| Refusal::new(Code::Invalid, error.to_string()).field("name").into())
}
