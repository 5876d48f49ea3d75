//! Credentials: declared by manifest, set value by value, deleted when nothing uses them. Values come in, and never go out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::apply::{DocumentKind, Gather, plain};
use super::manifest::{AskedCredential, Document};
use super::three_way::{Leaves, base, differences};
use super::write::ATTEMPTS;
use super::{Ask, Code, Declare, DeclareError, Refusal, check, fields};
use crate::domain::{
    Access, Credential, CredentialHost, CredentialName, CredentialType, EnvironmentName, EventType, NotifierName,
    Place, Sealed, SecretBytes, Source, StackKey,
};
use crate::keys;
use crate::ledger::{Batch, HookSecret, RecordKey, Versioned, open_values};

/// Values of a credential to be set. What is left out stays as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct SetCredential {
    /// Its name.
    pub name: String,
    /// What it is for; needed for a new one.
    pub kind: Option<CredentialType>,
    /// Where it may go, all of it.
    pub hosts: Option<Vec<String>>,
    /// Stacks that it may go into, all of them.
    pub stacks: Option<Vec<String>>,
    /// Values by key.
    pub data: BTreeMap<String, SecretBytes>,
    /// Keys whose values are forgotten.
    pub remove: Vec<String>,
}

/// What stands written of a credential after a use-case.
#[derive(Debug, Clone, PartialEq)]
pub struct Keyed {
    /// The credential.
    pub credential: Credential,
    /// The fields that changed, as dotted paths.
    pub changes: Vec<String>,
}

/// Who names a credential.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum CredentialUser {
    Stack(StackKey),
    Environment(EnvironmentName),
    Hook(String),
    Catalog(String),
    Notifier(NotifierName),
}

impl std::fmt::Display for CredentialUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stack(key) => write!(f, "stack `{key}`"),
            Self::Environment(name) => write!(f, "environment `{name}`"),
            Self::Hook(name) => write!(f, "hook `{name}`"),
            Self::Catalog(name) => write!(f, "catalog `{name}`"),
            Self::Notifier(name) => write!(f, "notifier `{name}`"),
        }
    }
}

impl Declare {
    /// Takes a document over, three-way: a value that was set since, and that the document does not change, stays.
    pub(super) fn apply_credential(
        &self,
        gather: &mut Gather,
        document: &Document,
        asked: &AskedCredential,
        ask: &Ask,
    ) -> Result<(), DeclareError> {
        let found = self.ledger.credential(&asked.name)?;
        let created = found.is_none();
        let (before, revision) = apart(found);
        let (hosts, stacks, data) = (asked.hosts.clone(), asked.stacks.clone(), asked.data.clone());
        let wanted = Credential { hosts, stacks, data, ..self.fresh(asked) };
        let said = leaves(&wanted);
        let mut credential = before.clone().unwrap_or_else(|| self.fresh(asked));
        let last = credential.last_applied.clone();
        for path in differences(&base(last.as_ref()), &said) {
            take_over(&path, &wanted, &mut credential);
        }
        self.check_credential(&credential, |key, message, hint| document.refuse(Code::Invalid, key, message, hint))?;
        if let Some(key) = unproved(before.as_ref(), &credential, &asked.data) {
            let (message, hint) = farther(&key);
            let field = if asked.kind.is_for_stacks() { "stacks" } else { "hosts" };
            return Err(document.refuse(Code::Invalid, field, message, Some(hint)).into());
        }
        let changes = differences(&before.as_ref().map(leaves).unwrap_or_default(), &leaves(&credential));
        credential.last_applied = Some(said.into_iter().collect::<serde_json::Map<_, _>>().into());
        if !changes.is_empty() || credential.last_applied != last {
            if !changes.is_empty() {
                credential.updated_at = self.now();
            }
            let batch = std::mem::take(&mut gather.batch);
            gather.batch = self.write_credential(batch, &credential, revision, &changes, created, ask);
        }
        gather.documents.push(plain(DocumentKind::Credential, asked.name.to_string(), created, changes));
        Ok(())
    }

    fn fresh(&self, asked: &AskedCredential) -> Credential {
        self.new_credential(&asked.name, asked.kind)
    }

    fn new_credential(&self, name: &CredentialName, kind: CredentialType) -> Credential {
        Credential {
            name: name.clone(),
            id: self.ambient.new_id(),
            kind,
            hosts: Vec::new(),
            stacks: Vec::new(),
            data: BTreeMap::new(),
            last_applied: None,
            created_at: self.now(),
            updated_at: self.now(),
        }
    }

    /// Sets values of a credential, which is made when there is none.
    ///
    /// # Errors
    /// [`DeclareError::Refused`] with everything that is wrong; nothing is written then.
    pub async fn set_credential(&self, set: &SetCredential, ask: &Ask) -> Result<Keyed, DeclareError> {
        self.permit(ask, Access::Administer, Place::Installation)?;
        let name = credential_name(&set.name)?;
        let hosts = set.hosts.as_ref().map(|hosts| read_hosts(hosts)).transpose()?;
        let stacks = set.stacks.as_ref().map(|stacks| read_stacks(stacks)).transpose()?;
        self.check_sizes(&set.data)?;
        self.change_credential(&name, ask, |before| {
            let mut credential = match (before.clone(), set.kind) {
                (Some(before), _) => before,
                (None, Some(kind)) => self.new_credential(&name, kind),
                (None, None) => {
                    let message = format!("there is no credential `{name}` yet: say its type");
                    let types = CredentialType::ALL.map(|(name, _)| name).join(", ");
                    return Err(Refusal::new(Code::Invalid, message)
                        .field("type")
                        .hint(format!("one of {types}"))
                        .into());
                }
            };
            credential.kind = set.kind.unwrap_or(credential.kind);
            if let Some(hosts) = &hosts {
                credential.hosts.clone_from(hosts);
            }
            if let Some(stacks) = &stacks {
                credential.stacks.clone_from(stacks);
            }
            let mut given = BTreeMap::new();
            for (key, value) in &set.data {
                let value = keys::tidy(credential.kind, key, value.clone());
                given.insert(key.clone(), self.sealer.seal(value.expose())?);
            }
            credential.data.extend(given.clone());
            for key in &set.remove {
                credential.data.remove(key);
            }
            if let Some(key) = unproved(before.as_ref(), &credential, &given) {
                let (message, hint) = farther(&key);
                let field = if credential.kind.is_for_stacks() { "stacks" } else { "hosts" };
                return Err(Refusal::new(Code::Invalid, message).field(field).hint(hint).into());
            }
            Ok(credential)
        })
        .await
    }

    /// Accepts the key of a host, as a line of a known_hosts file: the word of a person who has compared it. Another key of
    /// the same type that the host had before is forgotten.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: no such credential, not one for ssh, not such a line.
    pub async fn trust_host(&self, name: &str, line: &str, ask: &Ask) -> Result<Keyed, DeclareError> {
        self.permit(ask, Access::Administer, Place::Installation)?;
        let name = credential_name(name)?;
        let Some(key) = keys::ssh::HostKey::parse(line) else {
            let refusal = Refusal::new(Code::Invalid, "that is not the key of one host").field("line");
            return Err(refusal.hint("write `host type key`, as the message about the unknown key has it").into());
        };
        self.change_credential(&name, ask, |before| {
            let Some(mut credential) = before else { return Err(self.no_such_credential(&name)) };
            if credential.kind != CredentialType::SshKey {
                let message = format!("the credential `{name}` is of type {}, not SshKey", credential.kind);
                return Err(Refusal::new(Code::Invalid, message).field("name").into());
            }
            let known = credential.data.get("knownHosts").map(|sealed| self.sealer.open(sealed)).transpose()?;
            let known = known.as_ref().and_then(SecretBytes::expose_text).unwrap_or_default();
            let text = keys::ssh::accept(known, &key);
            credential.data.insert("knownHosts".to_owned(), self.sealer.seal(text.as_bytes())?);
            Ok(credential)
        })
        .await
    }

    /// Deletes a credential that nothing names any more.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: there is none, or it is in use.
    pub async fn delete_credential(&self, name: &str, ask: &Ask) -> Result<Credential, DeclareError> {
        self.permit(ask, Access::Administer, Place::Installation)?;
        self.check_ask(ask)?;
        let name = credential_name(name)?;
        for _ in 0..ATTEMPTS {
            let Some(found) = self.ledger.credential(&name)? else { return Err(self.no_such_credential(&name)) };
            let users = self.credential_users()?.remove(&name).unwrap_or_default();
            if !users.is_empty() {
                let named: Vec<String> = users.iter().take(10).map(ToString::to_string).collect();
                let message = format!("the credential `{name}` is in use by {}", named.join(", "));
                let hint = "have them name another one, or none, then delete it";
                return Err(Refusal::new(Code::Conflict, message).field("name").hint(hint).into());
            }
            let event = self.own_event(EventType::CredentialDeleted, format!("credential `{name}` is gone"), ask);
            let key = RecordKey::Credential(name.clone());
            let batch = Batch::new().expect(&key, Some(found.revision)).delete_credential(&name).event(&event);
            if self.committed(batch).await? {
                return Ok(found.value);
            }
        }
        Err(busy(&name))
    }

    /// Who names which credential.
    ///
    /// # Errors
    /// [`DeclareError::Ledger`].
    pub fn credential_users(&self) -> Result<BTreeMap<CredentialName, Vec<CredentialUser>>, DeclareError> {
        let mut users: BTreeMap<CredentialName, Vec<CredentialUser>> = BTreeMap::new();
        for stack in self.ledger.stacks(None)? {
            let source = match stack.value.spec.source {
                Source::Git(git) => git.credential,
                Source::Inline(_) => None,
            };
            let names: BTreeSet<CredentialName> = source.into_iter().chain(stack.value.spec.decryption).collect();
            for name in names {
                users.entry(name).or_default().push(CredentialUser::Stack(stack.value.key.clone()));
            }
        }
        for environment in self.ledger.environments()? {
            for name in environment.value.credentials() {
                users
                    .entry(name.clone())
                    .or_default()
                    .push(CredentialUser::Environment(environment.value.name.clone()));
            }
        }
        for hook in self.ledger.hooks()? {
            if let HookSecret::Credential { credential } = hook.value.secret {
                users.entry(credential).or_default().push(CredentialUser::Hook(hook.value.name));
            }
        }
        for catalog in self.ledger.catalogs()? {
            if let Some(name) = catalog.value.source.credential {
                users.entry(name).or_default().push(CredentialUser::Catalog(catalog.value.name));
            }
        }
        for notifier in self.ledger.notifiers()? {
            if let Some(credential) = notifier.value.credential {
                users.entry(credential).or_default().push(CredentialUser::Notifier(notifier.value.name));
            }
        }
        Ok(users)
    }

    async fn change_credential<F>(&self, name: &CredentialName, ask: &Ask, change: F) -> Result<Keyed, DeclareError>
    where
        F: Fn(Option<Credential>) -> Result<Credential, DeclareError> + Send + Sync,
    {
        self.check_ask(ask)?;
        for _ in 0..ATTEMPTS {
            let (before, revision) = apart(self.ledger.credential(name)?);
            let created = before.is_none();
            let known = before.as_ref().map(leaves).unwrap_or_default();
            let mut credential = change(before)?;
            self.check_credential(&credential, |key, message, hint| {
                let mut refusal = Refusal::new(Code::Invalid, message).field(key);
                refusal.hint = hint;
                refusal
            })?;
            let changes = differences(&known, &leaves(&credential));
            if changes.is_empty() {
                return Ok(Keyed { credential, changes });
            }
            credential.updated_at = self.now();
            let batch = self.write_credential(Batch::new(), &credential, revision, &changes, created, ask);
            if self.committed(batch).await? {
                return Ok(Keyed { credential, changes });
            }
        }
        Err(busy(name))
    }

    fn write_credential(
        &self,
        batch: Batch,
        credential: &Credential,
        revision: Option<u64>,
        changes: &[String],
        created: bool,
        ask: &Ask,
    ) -> Batch {
        let batch = batch.expect(&RecordKey::Credential(credential.name.clone()), revision).put_credential(credential);
        let name = &credential.name;
        let (kind, message) = match (created, changes) {
            (true, _) => {
                let message = format!("credential `{name}` of type {} was declared", credential.kind);
                (EventType::CredentialDeclared, message)
            }
            (false, []) => return batch,
            (false, changes) => {
                (EventType::CredentialChanged, format!("credential `{name}` changes {}", changes.join(", ")))
            }
        };
        batch.event(&self.own_event(kind, message, ask))
    }

    /// Refuses what could not be used, or could go anywhere.
    fn check_credential(
        &self,
        credential: &Credential,
        refuse: impl Fn(&str, String, Option<String>) -> Refusal,
    ) -> Result<(), DeclareError> {
        let mut refusals = Vec::new();
        if credential.hosts.is_empty() && credential.kind.needs_hosts() {
            let message = format!("a credential of type {} names the hosts it may go to", credential.kind);
            let hint = "add for example `hosts: [git.example.org]`".to_owned();
            refusals.push(refuse("hosts", message, Some(hint)));
        }
        if !credential.stacks.is_empty() && !credential.kind.is_for_stacks() {
            let message = format!("a credential of type {} goes into no stack", credential.kind);
            let hint = "remove `stacks`: it is for the types Age and Opaque".to_owned();
            refusals.push(refuse("stacks", message, Some(hint)));
        }
        let values = open_values(credential, self.sealer.as_ref())?;
        for wrong in keys::check(credential.kind, &values) {
            let field = if wrong.key.is_empty() { "data".to_owned() } else { format!("data.{}", wrong.key) };
            refusals.push(refuse(&field, wrong.message, wrong.hint));
        }
        let size = serde_json::to_vec(credential).map_or(usize::MAX, |bytes| bytes.len());
        if size > self.limits.record_bytes {
            let message = format!("the credential would be larger than {} bytes", self.limits.record_bytes);
            refusals.push(refuse("data", message, Some("split it".to_owned())));
        }
        if refusals.is_empty() { Ok(()) } else { Err(DeclareError::Refused(refusals)) }
    }

    fn check_sizes(&self, data: &BTreeMap<String, SecretBytes>) -> Result<(), DeclareError> {
        match data.iter().find(|(_, value)| value.expose().len() > self.limits.value_bytes) {
            Some((key, _)) => {
                let message = format!("the value of `{key}` is larger than {} bytes", self.limits.value_bytes);
                Err(Refusal::new(Code::TooLarge, message).field(format!("data.{key}")).into())
            }
            None => Ok(()),
        }
    }

    /// The refusal for a credential that is not there, naming one that is like it.
    fn no_such_credential(&self, name: &CredentialName) -> DeclareError {
        let known: Vec<String> = match self.ledger.credentials() {
            Ok(found) => found.into_iter().map(|found| found.value.name.to_string()).collect(),
            Err(error) => return error.into(),
        };
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        let hint = match fields::closest(name.as_str(), &names) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("make it: `skep credential set {name} --type …`"),
        };
        Refusal::new(Code::NotFound, format!("there is no credential `{name}`")).field("name").hint(hint).into()
    }
}

fn apart(found: Option<Versioned<Credential>>) -> (Option<Credential>, Option<u64>) {
    found.map_or((None, None), |found| (Some(found.value), Some(found.revision)))
}

/// Every field by its path in a manifest, values as digests.
fn leaves(credential: &Credential) -> Leaves {
    let mut leaves = Leaves::new();
    leaves.insert("type".to_owned(), json!(credential.kind));
    leaves.insert("hosts".to_owned(), json!(credential.hosts));
    if !credential.stacks.is_empty() {
        leaves.insert("stacks".to_owned(), json!(credential.stacks));
    }
    for (key, sealed) in &credential.data {
        leaves.insert(format!("data.{key}"), Value::from(sealed.digest.as_str()));
    }
    leaves
}

fn take_over(path: &str, wanted: &Credential, credential: &mut Credential) {
    match path.split_once('.') {
        Some(("data", key)) => match wanted.data.get(key) {
            Some(sealed) => drop(credential.data.insert(key.to_owned(), sealed.clone())),
            None => drop(credential.data.remove(key)),
        },
        _ if path == "type" => credential.kind = wanted.kind,
        _ if path == "stacks" => credential.stacks.clone_from(&wanted.stacks),
        _ => credential.hosts.clone_from(&wanted.hosts),
    }
}

fn credential_name(text: &str) -> Result<CredentialName, DeclareError> {
    CredentialName::parse(text).map_err(|error| Refusal::new(Code::Invalid, error.to_string()).field("name").into())
}

fn read_hosts(hosts: &[String]) -> Result<Vec<CredentialHost>, DeclareError> {
    let refused = |message| DeclareError::from(Refusal::new(Code::Invalid, message).field("hosts"));
    hosts.iter().map(|host| CredentialHost::parse(host).map_err(refused)).collect()
}

fn read_stacks(stacks: &[String]) -> Result<Vec<String>, DeclareError> {
    let refused = |message: String| {
        let refusal = Refusal::new(Code::Invalid, message).field("stacks");
        DeclareError::from(refusal.hint(super::manifest::STACKS_HINT))
    };
    stacks.iter().map(|stack| check::stacks(stack).map(|()| stack.clone()).map_err(refused)).collect()
}

/// What to say of [`unproved`].
fn farther(key: &str) -> (String, String) {
    let message = format!("the credential would go where it did not go before, and its `{key}` was not given along");
    (message, "give its secret values again, together with its hosts and stacks".to_owned())
}

/// Values that are no secret: who changes where a credential goes need not know them.
const OPEN: [&str; 7] = ["ca", "cert", "knownHosts", "username", "appId", "installationId", "apiUrl"];

/// The secret value that has to come along, because the credential is to go where it did not go before. Otherwise whoever
/// may change a credential could have its values sent to himself.
fn unproved(before: Option<&Credential>, after: &Credential, given: &BTreeMap<String, Sealed>) -> Option<String> {
    let before = before?;
    let farther = after.hosts.iter().any(|host| !before.hosts.contains(host))
        || (after.hosts.is_empty() && !before.hosts.is_empty())
        || after.stacks.iter().any(|stack| !before.stacks.contains(stack))
        || (after.data.contains_key("apiUrl") && after.data.get("apiUrl") != before.data.get("apiUrl"));
    let mut secrets = after.data.iter().filter(|(key, _)| !OPEN.contains(&key.as_str()));
    let missing = secrets.find(|(key, sealed)| given.get(*key) != Some(*sealed));
    missing.filter(|_| farther).map(|(key, _)| key.clone())
}

fn busy(name: &CredentialName) -> DeclareError {
    let message = format!("credential `{name}` is being changed by others all the time");
    Refusal::new(Code::Conflict, message).hint("try again in a moment").into()
}
