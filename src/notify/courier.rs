//! The courier of one notifier: reads the log from its cursor on, sends, waits, and moves the cursor.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::form::{self, Request};
use super::message::{self, Facts, Message};
use super::opened::{self, Opened};
use super::status::{self, Next, Repository, Telling};
use super::verdict::{self, Verdict};
use super::{News, NotifyParts};
use crate::domain::{
    Deployment, GitUrl, Masker, Notifier, NotifierStatus, NotifierType, SecretBytes, Source, Stack, StackKey,
    StackStatus, Variable, VersionSource,
};
use crate::ledger::{Batch, LedgerError, Owed, RecordKey};
use crate::ports::{NotifierAnswer, OpenCredential, StoreError};

/// The cursor is written when it has come so far without a message.
const WRITE_EVERY: u64 = 200;
/// When the store fails, it is asked again after this time.
const STORE_AGAIN: Duration = Duration::from_secs(5);
/// Deployments that are looked through for a repository to try.
const RECENT: usize = 200;

/// What became of one message.
enum Tried {
    /// It was sent.
    Sent(Verdict),
    /// There is nothing to be sent, rightly.
    Nothing(String),
}

pub(super) struct Courier {
    parts: Arc<NotifyParts>,
    notifier: Notifier,
    revision: u64,
    news: News,
    /// Events up to this one were looked at.
    seen: u64,
    status: NotifierStatus,
    status_revision: Option<u64>,
}

impl Courier {
    pub(super) fn new(parts: Arc<NotifyParts>, notifier: Notifier, revision: u64, news: News) -> Self {
        let status = NotifierStatus::of(&notifier, None);
        Self { parts, notifier, revision, news, seen: 0, status, status_revision: None }
    }

    /// Works until it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            self.news.events.borrow_and_update();
            match self.work().await {
                Ok(()) => {
                    if self.news.events.changed().await.is_err() {
                        return;
                    }
                }
                Err(LedgerError::Store(StoreError::Conflict { .. })) => {
                    // It was declared anew, and another courier is at work, or about to be; or this one was not alone.
                    match self.parts.ledger.notifier(&self.notifier.name) {
                        Ok(Some(found)) if found.revision == self.revision => {}
                        _ => return,
                    }
                }
                Err(error) => {
                    tracing::error!(notifier = %self.notifier.name, %error, "the notifier waits for the store");
                    tokio::time::sleep(STORE_AGAIN).await;
                }
            }
        }
    }

    /// Tells of everything there is to tell.
    async fn work(&mut self) -> Result<(), LedgerError> {
        (self.status, self.status_revision) = self.parts.ledger.notifier_status(&self.notifier)?;
        self.seen = self.seen.max(self.status.cursor);
        loop {
            let page = self.parts.ledger.owed(&self.notifier, self.seen)?;
            for owed in page.owed {
                self.settle(&owed).await?;
                self.seen = owed.sequence;
            }
            let Some(last) = page.last else { return Ok(()) };
            self.seen = last;
            if self.seen.saturating_sub(self.status.cursor) >= WRITE_EVERY {
                self.write(self.seen).await?;
            }
        }
    }

    /// Sends one message until it is taken, or given up.
    async fn settle(&mut self, owed: &Owed) -> Result<(), LedgerError> {
        self.wait_as_before(owed).await;
        loop {
            self.news.keys.borrow_and_update();
            self.still()?;
            let tried = self.attempt(owed).await?;
            let now = self.parts.ambient.now();
            let verdict = match tried {
                Tried::Nothing(why) => {
                    let (notifier, event, trace_id) = (&self.notifier.name, owed.sequence, trace_id(owed));
                    tracing::debug!(%notifier, event, trace_id, why, "there is nothing to tell");
                    self.status.attempts = 0;
                    return Ok(());
                }
                Tried::Sent(verdict) => verdict,
            };
            let (after, why) = match verdict {
                Verdict::Delivered => {
                    self.status.delivered += 1;
                    self.status.last_success = Some(now);
                    return self.done(owed).await;
                }
                Verdict::GivenUp { why } => return self.give_up(owed, now, why).await,
                Verdict::Again { after, why } => (after, why),
            };
            self.status.attempts = self.status.attempts.saturating_add(1);
            let options = &self.parts.options;
            let own = || {
                let random = self.parts.ambient.random();
                verdict::backoff(self.status.attempts, options.first_wait, options.longest_wait, random)
            };
            let wait = after.unwrap_or_else(own);
            let again = later(now, wait);
            if again > later(owed.event.time, options.age) {
                return self
                    .give_up(owed, now, format!("{why}; given up after {} attempts", self.status.attempts))
                    .await;
            }
            let (notifier, event, trace_id) = (&self.notifier.name, owed.sequence, trace_id(owed));
            tracing::warn!(%notifier, event, trace_id, why, ?wait, "a message was not taken");
            self.failed(now, why);
            self.status.next_attempt_at = Some(again);
            self.write(self.status.cursor).await?;
            self.sleep(wait).await;
        }
    }

    /// Waits on after a restart, as the receiver asked, unless something was mended meanwhile.
    async fn wait_as_before(&mut self, owed: &Owed) {
        let (Some(until), Some(failed)) = (self.status.next_attempt_at, self.status.last_error_at) else { return };
        if self.status.attempts == 0 || self.notifier.updated_at > failed || owed.event.time > failed {
            return;
        }
        let left = until.duration_since(self.parts.ambient.now());
        if let Ok(left) = Duration::try_from(left) {
            self.sleep(left).await;
        }
    }

    /// Sleeps, until a credential changes at the latest.
    async fn sleep(&mut self, wait: Duration) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            Ok(()) = self.news.keys.changed() => {}
        }
    }

    async fn give_up(&mut self, owed: &Owed, now: Timestamp, why: String) -> Result<(), LedgerError> {
        let (notifier, event, trace_id) = (&self.notifier.name, owed.sequence, trace_id(owed));
        tracing::warn!(%notifier, event, trace_id, why, "a message was given up");
        self.status.given_up += 1;
        self.failed(now, why);
        self.done(owed).await
    }

    fn failed(&mut self, now: Timestamp, why: String) {
        self.status.last_error = Some(why);
        self.status.last_error_at = Some(now);
    }

    async fn done(&mut self, owed: &Owed) -> Result<(), LedgerError> {
        self.status.attempts = 0;
        self.status.next_attempt_at = None;
        self.write(owed.sequence).await
    }

    /// Writes how far it has come; only as long as the notifier is what it was.
    async fn write(&mut self, cursor: u64) -> Result<(), LedgerError> {
        self.status.cursor = cursor;
        let name = &self.notifier.name;
        let batch = Batch::new()
            .expect(&RecordKey::Notifier(name.clone()), Some(self.revision))
            .expect(&RecordKey::NotifierStatus(name.clone()), self.status_revision)
            .put_notifier_status(name, &self.status);
        self.status_revision = Some(self.parts.ledger.commit(batch).await?.revision);
        Ok(())
    }

    /// Nothing is sent for a notifier that was deleted, or declared anew, a moment ago.
    fn still(&self) -> Result<(), LedgerError> {
        let key = RecordKey::Notifier(self.notifier.name.clone());
        match self.parts.ledger.revision_of(&key)? {
            Some(revision) if revision == self.revision => Ok(()),
            _ => Err(StoreError::Conflict { key: key.to_string() }.into()),
        }
    }

    async fn attempt(&self, owed: &Owed) -> Result<Tried, LedgerError> {
        let message = self.message(owed)?;
        let opened = match opened::open(&self.parts, &self.notifier) {
            Ok(opened) => opened,
            Err(why) => return Ok(Tried::Sent(Verdict::Again { after: None, why })),
        };
        let stack = self.stack(owed)?;
        if self.notifier.kind.is_status() {
            return Ok(self.tell(&opened, owed, stack.as_ref(), &message).await);
        }
        let request = plain(&self.parts, self.notifier.kind, &opened, &message);
        Ok(Tried::Sent(match send(&self.parts, self.notifier.kind, &opened, &request).await {
            Ok(sent) => sent.verdict,
            Err(why) => Verdict::Again { after: None, why },
        }))
    }

    /// Tells a git host, in as many requests as that takes. Each attempt begins with the first of them.
    async fn tell(&self, opened: &Opened, owed: &Owed, stack: Option<&Stack>, message: &Message) -> Tried {
        let kind = self.notifier.kind;
        let place = repository_of(owed.deployment.as_ref(), stack).ok_or("the stack has no repository".to_owned());
        let (repository, token) = match place.and_then(|url| repository(kind, opened, url)) {
            Ok(found) => found,
            Err(why) => return Tried::Nothing(why),
        };
        let ca = opened.ca.as_deref();
        let telling = Telling { kind, repository: &repository, transition: owed.transition, message, token, ca };
        let again = |why| Tried::Sent(Verdict::Again { after: None, why });
        let mut answers = Vec::new();
        loop {
            let request = match telling.next(&answers) {
                Next::Send(request) => request,
                Next::Done => return Tried::Sent(Verdict::Delivered),
                Next::Nothing(why) => return Tried::Nothing(why.to_owned()),
                Next::Senseless => return again("its answer about the deployment makes no sense".to_owned()),
            };
            match send(&self.parts, kind, opened, &request).await {
                Ok(Sent { verdict: Verdict::Delivered, body, .. }) => answers.push(body),
                Ok(Sent { verdict, .. }) => return Tried::Sent(verdict),
                Err(why) => return again(why),
            }
        }
    }

    fn stack(&self, owed: &Owed) -> Result<Option<Stack>, LedgerError> {
        let Some(name) = owed.event.stack.clone() else { return Ok(None) };
        let key = StackKey { environment: owed.event.environment.clone(), name };
        Ok(self.parts.ledger.stack(&key)?.map(|found| found.value))
    }

    fn message(&self, owed: &Owed) -> Result<Message, LedgerError> {
        let stack = self.stack(owed)?;
        let status = match &stack {
            Some(stack) => self.parts.ledger.status(&stack.key)?.map(|found| found.value).unwrap_or_default(),
            None => StackStatus::default(),
        };
        let digest = owed.deployment.as_ref().and_then(|deployment| deployment.version.digest.as_ref());
        let held = digest.is_some_and(|digest| status.is_held(digest));
        let returns = stack.as_ref().is_none_or(|stack| status.may_go_back(&stack.spec.policy));
        let facts = Facts {
            instance: &self.parts.instance,
            sequence: owed.sequence,
            event: &owed.event,
            transition: owed.transition,
            deployment: owed.deployment.as_ref(),
            stack: stack.as_ref(),
            held,
            returns,
            public_url: self.parts.options.public_url.as_deref(),
        };
        Ok(message::message(&facts).masked(&self.masker(stack.as_ref(), owed.deployment.as_ref())))
    }

    /// Hides the secret values of the stack's variables, should one have come into a text.
    fn masker(&self, stack: Option<&Stack>, deployment: Option<&Deployment>) -> Masker {
        let asked = deployment.and_then(|it| match &it.version.source {
            VersionSource::Spec(spec) => Some(spec.as_ref()),
            VersionSource::Kept(_) => None,
        });
        let specs = stack.map(|stack| &stack.spec).into_iter().chain(asked);
        let sealed = specs.flat_map(|spec| spec.variables.values()).filter_map(|variable| match variable {
            Variable::Secret(sealed) => Some(sealed),
            Variable::Plain(_) => None,
        });
        let values: Vec<SecretBytes> = sealed.filter_map(|sealed| self.parts.sealer.open(sealed).ok()).collect();
        Masker::new(&values)
    }
}

/// The trace of the deployment that a message is about, for the log.
fn trace_id(owed: &Owed) -> Option<String> {
    owed.deployment.as_ref().map(|deployment| deployment.trace().trace_id())
}

fn later(from: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| from.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

/// A message to the notifier's one address.
fn plain(parts: &NotifyParts, kind: NotifierType, opened: &Opened, message: &Message) -> Request {
    let now = parts.ambient.now();
    let (url, ca) = (opened.url.as_deref().unwrap_or_default(), opened.ca.as_deref());
    match kind {
        NotifierType::Slack => Request::post(url, "application/json", &form::slack(message), ca),
        NotifierType::CloudEvents => {
            let body = form::cloud_event(message, &parts.instance);
            let request = Request::post(url, "application/cloudevents+json; charset=utf-8", &body, ca);
            form::signed(request, message, opened.key.as_ref(), now)
        }
        _ => {
            let body = form::webhook(message, &parts.instance, now);
            form::signed(Request::post(url, "application/json", &body, ca), message, opened.key.as_ref(), now)
        }
    }
}

/// Where the commit of a deployment is.
fn repository_of<'a>(deployment: Option<&'a Deployment>, stack: Option<&'a Stack>) -> Option<&'a GitUrl> {
    let source = match deployment.map(|it| &it.version.source) {
        Some(VersionSource::Spec(spec)) => Some(&spec.source),
        _ => stack.map(|stack| &stack.spec.source),
    };
    match source {
        Some(Source::Git(git)) => Some(&git.url),
        _ => None,
    }
}

/// The repository as the host's API knows it, and the token for it. It goes nowhere but to the hosts it names.
fn repository<'o>(kind: NotifierType, opened: &'o Opened, url: &GitUrl) -> Result<(Repository, &'o str), String> {
    let open = opened.credential.as_deref().ok_or("there is no credential")?;
    let no_such = || format!("{url} is no repository of such a host");
    let repository = Repository::of(kind, url, opened.url.as_deref()).ok_or_else(no_such)?;
    if !is_for(open, url) {
        return Err(format!("the credential is not for {}", url.host()));
    }
    if opened.url.is_some() {
        let api = reqwest::Url::parse(repository.api()).map_err(|_| "the address of the API cannot be read")?;
        let host = api.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = api.port_or_known_default().unwrap_or_default();
        open.for_host(host, port).map_err(|error| error.to_string())?;
    }
    Ok((repository, open.needed("token").map_err(|error| error.to_string())?))
}

/// Whether a credential names the host of a repository.
fn is_for(open: &OpenCredential, url: &GitUrl) -> bool {
    open.hosts.iter().any(|host| host.is(url.host(), url.port()) || host.is(url.host(), 443))
}

/// An answer, and what it means.
struct Sent {
    verdict: Verdict,
    status: u16,
    body: Vec<u8>,
}

/// Sends, and says what the answer means.
async fn send(parts: &NotifyParts, kind: NotifierType, opened: &Opened, request: &Request) -> Result<Sent, String> {
    match parts.post.send(request).await {
        Ok(mut answer) => {
            answer.said = opened.masker.mask(&answer.said);
            let verdict = verdict::of(kind, &answer, parts.ambient.now());
            Ok(Sent { verdict, status: answer.status, body: answer.body })
        }
        Err(why) => Err(opened.masker.mask(&why)),
    }
}

/// Tries a notifier out. Of a commit's status, the repository of a stack it is for is asked for, and nothing is set.
pub(super) async fn test(parts: &NotifyParts, notifier: &Notifier) -> NotifierAnswer {
    let failed = |message: String| NotifierAnswer { delivered: false, status: None, message };
    let opened = match opened::open(parts, notifier) {
        Ok(opened) => opened,
        Err(why) => return failed(why),
    };
    let kind = notifier.kind;
    let request = if kind.is_status() {
        match look(parts, notifier, &opened) {
            Ok(request) => request,
            Err(why) => return failed(why),
        }
    } else {
        let (id, now) = (format!("test-{}", parts.ambient.new_id()), parts.ambient.now());
        let message = message::test(id, notifier.name.as_str(), now, parts.options.public_url.as_deref());
        plain(parts, kind, &opened, &message)
    };
    match send(parts, kind, &opened, &request).await {
        Ok(Sent { verdict: Verdict::Delivered, status, .. }) => {
            let message = format!("it answered {status}");
            NotifierAnswer { delivered: true, status: Some(status), message }
        }
        Ok(Sent { verdict: Verdict::Again { why, .. } | Verdict::GivenUp { why }, status, .. }) => {
            NotifierAnswer { delivered: false, status: Some(status), message: why }
        }
        Err(why) => failed(why),
    }
}

/// Asks for the newest deployment's repository that the notifier is for.
fn look(parts: &NotifyParts, notifier: &Notifier, opened: &Opened) -> Result<Request, String> {
    let found = parts.ledger.deployments(None, RECENT).map_err(|error| error.to_string())?;
    let mut last = "no stack with a commit was deployed yet that it is for".to_owned();
    for deployment in found.into_iter().map(|found| found.value) {
        let key = &deployment.stack;
        if !notifier.is_for(&key.environment, &key.name) || deployment.version.revision.is_none() {
            continue;
        }
        let stack = parts.ledger.stack(key).map_err(|error| error.to_string())?.map(|found| found.value);
        let Some(url) = repository_of(Some(&deployment), stack.as_ref()) else { continue };
        match repository(notifier.kind, opened, url) {
            Ok((repository, token)) => {
                return Ok(status::look(notifier.kind, &repository, token, opened.ca.as_deref()));
            }
            Err(why) => last = why,
        }
    }
    Err(last)
}
