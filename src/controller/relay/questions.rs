//! Questions about what another Skep keeps are asked there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::super::inquiries::{Answers, failed};
use super::super::shared::Shared;
use super::Link;
use super::log::{FarLog, Standing};
use super::wire::{rename, take_secrets};
use crate::domain::{
    CredentialName, DeploymentId, EnvironmentName, GitUrl, Node, Round, Stack, StackKey, StackName, Wanted,
};
use crate::ports::{
    Area, BoxFuture, BoxStream, CommitInfo, CompareAnswer, CredentialAnswer, FarError, Finding, Health, Inquiries,
    InquiryError, LogLine, LogOf, LogQuery, PlanAnswer, Question, RenderAnswer, RunningStack, TaskAnswer,
};

/// A clock that is off by more than this, in seconds, confuses whoever compares logs.
const SKEW: i64 = 5;
/// What was just declared is on its way for this long at most, as far as whoever asks for its log is concerned.
const COMES_THROUGH: Duration = Duration::from_secs(15);

/// Answers what can be answered here, and asks the far Skeps the rest.
pub(in crate::controller) struct Routed {
    local: Answers,
    shared: Arc<Shared>,
}

fn inquiry(error: FarError) -> InquiryError {
    match error {
        FarError::Refused { code, message, .. } if code == "NOT_FOUND" => InquiryError::NotFound(message),
        FarError::Refused { code, .. } if code == "BUSY" => InquiryError::Busy,
        FarError::Refused { code, .. } if code == "TIMED_OUT" => InquiryError::TimedOut,
        error => InquiryError::Failed(error.to_string()),
    }
}

impl Link {
    /// How it stands with what a log is of, by the records here. What cannot be read goes on; of an environment that is kept
    /// elsewhere by now nothing more comes this way.
    fn standing(&self, of: LogOf) -> impl Fn() -> Standing + use<> {
        let (ledger, name, relay) = (self.parts.ledger.clone(), self.name.clone(), self.relay.clone());
        move || {
            let environment = ledger.environment(&name);
            if environment.is_ok_and(|found| found.and_then(|found| found.value.relay).as_ref() != Some(&relay)) {
                return Standing::Elsewhere;
            }
            match &of {
                LogOf::Stack(key) => match ledger.stack(key) {
                    Ok(None) => Standing::Gone,
                    _ => Standing::UnderWay,
                },
                LogOf::Deployment(id) => match ledger.deployment(id) {
                    Ok(None) => Standing::Gone,
                    Ok(Some(found)) if found.value.phase.is_terminal() => Standing::Over,
                    _ => Standing::UnderWay,
                },
            }
        }
    }

    async fn ask<T: DeserializeOwned>(&self, question: &Question) -> Result<T, InquiryError> {
        let answer = self.far.ask(question).await.map_err(inquiry)?;
        let unknown =
            |_| InquiryError::Failed("the far Skep's answer is one that this version does not know".to_owned());
        serde_json::from_value(answer).map_err(unknown)
    }

    fn there(&self, key: &StackKey) -> StackKey {
        StackKey { environment: self.relay.environment.clone(), name: key.name.clone() }
    }

    async fn adoption(&self, stack: &Stack) -> Result<PlanAnswer, InquiryError> {
        let (mut stack, mut secrets) = (stack.clone(), BTreeMap::new());
        stack.key = self.there(&stack.key);
        stack.last_applied = None;
        rename(&mut stack.spec, &self.name, &self.relay.environment);
        take_secrets(&mut stack.spec, self.parts.sealer.as_ref(), &mut secrets).map_err(failed)?;
        self.ask(&Question::Adoption { stack: Box::new(stack), secrets }).await
    }

    async fn logs(&self, mine: &LogOf, query: &LogQuery) -> Result<BoxStream<'static, LogLine>, InquiryError> {
        let of = match mine {
            LogOf::Stack(key) => LogOf::Stack(self.there(key)),
            LogOf::Deployment(id) => LogOf::Deployment(id.clone()),
        };
        let mut news = self.parts.ledger.watch();
        let end = Instant::now() + COMES_THROUGH;
        loop {
            match self.far.logs(&of, query).await.map_err(inquiry) {
                Err(InquiryError::NotFound(_)) => {}
                Err(error) => return Err(error),
                Ok(lines) => {
                    let (far, ambient) = (Arc::clone(&self.far), Arc::clone(&self.parts.ambient));
                    let standing = Box::new(self.standing(mine.clone()));
                    return Ok(FarLog { far, ambient, of, query: query.clone(), standing }.read(lines));
                }
            }
            // It was acknowledged here, and has not come through yet: that is written down here, too.
            let noted = timeout_at(end, news.next()).await;
            if !matches!(noted, Ok(Some(_))) {
                return Err(InquiryError::NotFound("what this is the log of has not come through yet; it".to_owned()));
            }
        }
    }

    /// How the far Skep is, and what it says of its environment.
    async fn doctor(&self) -> Vec<Finding> {
        let finding = |area, health, message: String, mend: Option<&str>| Finding {
            area,
            subject: self.name.to_string(),
            health,
            message,
            mend: mend.map(str::to_owned),
        };
        let before = self.parts.ambient.now();
        let greeting = match self.far.greet().await {
            Ok(greeting) => greeting,
            Err(error) => {
                let mend = match &error {
                    FarError::Unreachable { .. } => "see that the Skep there runs, and what is between here and there",
                    FarError::Unfit(_) => "see what the message says: the credential, the address, or the version",
                    FarError::Refused { .. } => {
                        "see that the credential's token holds there: role Operator, over the whole environment"
                    }
                };
                return vec![finding(Area::Relay, Health::Bad, error.to_string(), Some(mend))];
            }
        };
        let waiting = self.known().refused.values().filter(|it| it.shown).count();
        let text = format!("{} answers: Skep {}", self.relay.url, greeting.version);
        let mut findings = vec![match waiting {
            0 => finding(Area::Relay, Health::Good, text, None),
            count => {
                let text = format!("{text}; it does not take {count} stacks");
                let mend = "see their conditions: `skep get stacks`";
                finding(Area::Relay, Health::Doubtful, text, Some(mend))
            }
        }];
        let off = greeting.now.as_second() - before.as_second();
        findings.push(match off.abs() > SKEW {
            false => finding(Area::Clock, Health::Good, "the far Skep's clock agrees with this one".to_owned(), None),
            true => {
                let text = format!("the far Skep's clock is off by {off} s");
                finding(Area::Clock, Health::Doubtful, text, Some("let both machines set their clocks by NTP"))
            }
        });
        match self.ask::<Vec<Finding>>(&Question::Doctor).await {
            Ok(there) => findings.extend(
                there.into_iter().map(|it| Finding { subject: format!("{} ({} there)", self.name, it.subject), ..it }),
            ),
            Err(error) => {
                findings.push(finding(Area::Engine, Health::Bad, error.to_string(), Some("ask `skep doctor` there")));
            }
        }
        findings
    }
}

impl Routed {
    pub(in crate::controller) fn new(shared: Arc<Shared>) -> Self {
        Self { local: Answers::new(shared.clone()), shared }
    }

    fn link(&self, environment: &EnvironmentName) -> Option<Arc<Link>> {
        self.shared.relays.get(environment)
    }

    fn link_of(&self, of: &LogOf) -> Result<Option<Arc<Link>>, InquiryError> {
        match of {
            LogOf::Stack(key) => Ok(self.link(&key.environment)),
            LogOf::Deployment(id) => {
                let found = self.shared.ledger.deployment(id).map_err(failed)?;
                Ok(found.and_then(|found| self.link(&found.value.stack.environment)))
            }
        }
    }
}

impl Inquiries for Routed {
    fn plan<'a>(
        &'a self,
        stack: &'a StackKey,
        wanted: Option<&'a Wanted>,
    ) -> BoxFuture<'a, Result<PlanAnswer, InquiryError>> {
        const NONE: &BTreeMap<String, String> = &BTreeMap::new();
        self.plan_images(stack, wanted, NONE)
    }

    fn plan_images<'a>(
        &'a self,
        stack: &'a StackKey,
        wanted: Option<&'a Wanted>,
        images: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<PlanAnswer, InquiryError>> {
        let Some(link) = self.link(&stack.environment) else { return self.local.plan_images(stack, wanted, images) };
        Box::pin(async move {
            let stack = link.there(stack);
            link.ask(&Question::Plan { stack, wanted: wanted.cloned(), images: images.clone() }).await
        })
    }

    fn render<'a>(
        &'a self,
        stack: &'a StackKey,
        wanted: Option<&'a Wanted>,
        images: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<RenderAnswer, InquiryError>> {
        let Some(link) = self.link(&stack.environment) else { return self.local.render(stack, wanted, images) };
        Box::pin(async move {
            let stack = link.there(stack);
            link.ask(&Question::Render { stack, wanted: wanted.cloned(), images: images.clone() }).await
        })
    }

    fn adoption<'a>(&'a self, stack: &'a Stack) -> BoxFuture<'a, Result<PlanAnswer, InquiryError>> {
        let Some(link) = self.link(&stack.key.environment) else { return self.local.adoption(stack) };
        Box::pin(async move { link.adoption(stack).await })
    }

    /// Of a far Skep's stacks that one has the files; it is not asked.
    fn needs_cli<'a>(&'a self, stack: &'a Stack) -> BoxFuture<'a, Result<bool, InquiryError>> {
        if self.link(&stack.key.environment).is_some() {
            return Box::pin(async { Ok(false) });
        }
        self.local.needs_cli(stack)
    }

    fn running<'a>(
        &'a self,
        environment: &'a EnvironmentName,
        stack: Option<&'a StackName>,
    ) -> BoxFuture<'a, Result<Vec<RunningStack>, InquiryError>> {
        if self.link(environment).is_some() {
            let why = format!("environment `{environment}` is another Skep's: ask that one");
            return Box::pin(async { Err(InquiryError::Failed(why)) });
        }
        self.local.running(environment, stack)
    }

    fn compare<'a>(
        &'a self,
        from: &'a DeploymentId,
        to: &'a DeploymentId,
    ) -> BoxFuture<'a, Result<CompareAnswer, InquiryError>> {
        Box::pin(async move {
            match self.link_of(&LogOf::Deployment(from.clone()))? {
                Some(link) => link.ask(&Question::Compare { from: from.clone(), to: to.clone() }).await,
                None => self.local.compare(from, to).await,
            }
        })
    }

    fn commit<'a>(&'a self, deployment: &'a DeploymentId) -> BoxFuture<'a, Result<Option<CommitInfo>, InquiryError>> {
        Box::pin(async move {
            match self.link_of(&LogOf::Deployment(deployment.clone()))? {
                Some(link) => link.ask(&Question::Commit { deployment: deployment.clone() }).await,
                None => self.local.commit(deployment).await,
            }
        })
    }

    fn logs<'a>(
        &'a self,
        of: &'a LogOf,
        query: &'a LogQuery,
    ) -> BoxFuture<'a, Result<BoxStream<'static, LogLine>, InquiryError>> {
        Box::pin(async move {
            match self.link_of(of)? {
                Some(link) => link.logs(of, query).await,
                None => self.local.logs(of, query).await,
            }
        })
    }

    fn test_credential<'a>(
        &'a self,
        name: &'a CredentialName,
        url: &'a GitUrl,
    ) -> BoxFuture<'a, Result<CredentialAnswer, InquiryError>> {
        self.local.test_credential(name, url)
    }

    fn tasks<'a>(&'a self, stack: &'a StackKey) -> BoxFuture<'a, Result<Vec<TaskAnswer>, InquiryError>> {
        let Some(link) = self.link(&stack.environment) else { return self.local.tasks(stack) };
        Box::pin(async move { link.ask(&Question::Tasks { stack: link.there(stack) }).await })
    }

    fn doctor(&self) -> BoxFuture<'_, Result<Vec<Finding>, InquiryError>> {
        Box::pin(async move {
            let links = self.shared.relays.list();
            let there = join_all(links.iter().map(|link| link.doctor()));
            let (here, there) = tokio::join!(self.local.doctor(), there);
            let mut findings = here?;
            findings.extend(there.into_iter().flatten());
            findings.sort_by(|a, b| (a.area, &a.subject).cmp(&(b.area, &b.subject)));
            Ok(findings)
        })
    }

    fn doctor_of<'a>(&'a self, name: &'a EnvironmentName) -> BoxFuture<'a, Result<Vec<Finding>, InquiryError>> {
        let Some(link) = self.link(name) else { return self.local.doctor_of(name) };
        Box::pin(async move { Ok(link.doctor().await) })
    }

    /// The rounds of a far Skep are its own.
    fn round(&self, environment: &EnvironmentName) -> Option<Round> {
        if self.link(environment).is_some() { None } else { self.local.round(environment) }
    }

    fn nodes(&self, environment: &EnvironmentName) -> Vec<Arc<Node>> {
        self.link(environment).map_or_else(|| self.local.nodes(environment), |link| link.nodes())
    }
}
