//! Couriers over a store in memory, a clock that stands still, and a receiver that does as it is told.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::form::Request;
use super::http::{Answer, Post};
use super::message::{self, Facts, Message};
use super::status::Repository;
use super::verdict::Verdict;
use super::*;
use crate::declare::{ApplyOptions, Ask, Declare, Limits};
use crate::domain::{
    Actor, Deployment, DeploymentPhase, Environment, EnvironmentName, Event, EventType, Failure, FailureClass, GitUrl,
    Kept, NotifierStatus, NotifierType, Progress, Revision, Stack, StackKey, StackName, Transition, Trigger,
};
use crate::ledger::{Batch, LedgerKeyring};
use crate::ports::{Committed, Entry, Scan, Store, StoreError, Transaction, Watched};
use crate::seal::KeyFile;
use crate::store::memory::MemoryStore;

const COMMIT: &str = "1481a2de7b2a7d02428ad93446ab166be7793fbb";
const MARKED: &str = "marked-secret-of-a-variable-77ab";

fn start() -> Timestamp {
    "2026-01-31T12:00:00Z".parse().unwrap()
}

/// The clock of tokio, which tests move.
struct Clock(Instant, AtomicU64);

impl Ambient for Clock {
    fn now(&self) -> Timestamp {
        start() + SignedDuration::try_from(self.0.elapsed()).unwrap()
    }

    fn new_id(&self) -> String {
        format!("{:026}", self.1.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn random(&self) -> u64 {
        500
    }
}

/// What the receiver does next.
#[derive(Clone)]
enum Act {
    Answer(u16),
    Body(u16, &'static str),
    Wait(u16, &'static str),
    Break,
    Hang,
}

/// Takes everything, unless there is a script for the address.
#[derive(Default)]
struct Receiver {
    scripts: Mutex<Vec<(&'static str, VecDeque<Act>)>>,
    got: Mutex<Vec<(Duration, Request)>>,
    since: Mutex<Option<Instant>>,
    arrived: tokio::sync::Notify,
}

impl Receiver {
    fn script(&self, address: &'static str, acts: &[Act]) {
        self.scripts.lock().unwrap().push((address, acts.iter().cloned().collect()));
    }

    fn at(&self, address: &str) -> Vec<(Duration, Request)> {
        self.got.lock().unwrap().iter().filter(|(_, request)| request.url.starts_with(address)).cloned().collect()
    }

    /// The bodies that came there, once there are so many.
    async fn bodies(&self, address: &str, count: usize) -> Vec<Value> {
        let all = || self.at(address).iter().map(|(_, it)| serde_json::from_slice(&it.body).unwrap()).collect();
        let waited = tokio::time::timeout(Duration::from_secs(3 * 24 * 3600), async {
            loop {
                let arrived = self.arrived.notified();
                if self.at(address).len() >= count {
                    return;
                }
                arrived.await;
            }
        });
        assert!(waited.await.is_ok(), "only {:?}", self.at(address).len());
        all()
    }
}

impl Post for Receiver {
    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(async move {
            let since = *self.since.lock().unwrap().get_or_insert_with(Instant::now);
            self.got.lock().unwrap().push((since.elapsed(), request.clone()));
            self.arrived.notify_waiters();
            let next = {
                let mut scripts = self.scripts.lock().unwrap();
                let script = scripts.iter_mut().find(|(address, _)| request.url.starts_with(address));
                // The last act goes on.
                script.and_then(|(_, acts)| if acts.len() > 1 { acts.pop_front() } else { acts.front().cloned() })
            };
            let answer = |status| Answer { status, said: "so it is".into(), ..Answer::default() };
            match next.unwrap_or(Act::Answer(200)) {
                Act::Answer(status) => Ok(answer(status)),
                Act::Body(status, body) => Ok(Answer { body: body.into(), ..answer(status) }),
                Act::Wait(status, after) => Ok(Answer { retry_after: Some(after.into()), ..answer(status) }),
                Act::Break => Err("no connection".to_owned()),
                Act::Hang => std::future::pending().await,
            }
        })
    }
}

/// A store that loses its disk for a moment, just when the cursor is to be written.
struct Losing(MemoryStore, AtomicBool);

impl Store for Losing {
    fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.0.get(key)
    }
    fn scan(&self, scan: &Scan) -> Result<Vec<Entry>, StoreError> {
        self.0.scan(scan)
    }
    fn revision(&self) -> u64 {
        self.0.revision()
    }
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Committed, StoreError>> {
        let cursor = transaction.expects.iter().any(|(key, _)| key.starts_with("notifier-status/"));
        if cursor && self.1.swap(false, Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::Io { path: "x".into(), reason: "gone".into() }) });
        }
        self.0.commit(transaction)
    }
    fn watch(&self) -> crate::ports::BoxStream<'static, Watched> {
        self.0.watch()
    }
    fn keep(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<Kept, StoreError>> {
        self.0.keep(bytes)
    }
    fn kept(&self, name: &Kept) -> Result<Vec<u8>, StoreError> {
        self.0.kept(name)
    }
    fn collect(&self, wanted: &BTreeSet<Kept>, age: u64) -> Result<u64, StoreError> {
        self.0.collect(wanted, age)
    }
}

struct World {
    store: Arc<Losing>,
    ledger: Ledger,
    declare: Declare,
    ambient: Arc<dyn Ambient>,
    sealer: Arc<dyn Sealer>,
    receiver: Arc<Receiver>,
    working: Option<CancellationToken>,
}

const STACK: &str = "\
kind: Stack
name: shop
source: { git: https://git.example.org/team/shop.git, ref: main }
variables: { KEY: { value: marked-secret-of-a-variable-77ab, secret: true } }
";

const HOOK: &str = "\
kind: Credential
name: key
type: Opaque
data: { secret: its-a-secret-to-everybody }
---
kind: Notifier
name: team
type: Webhook
url: https://team.example.org/in
credential: key
";

impl World {
    async fn new(manifest: &str) -> Self {
        let store = Arc::new(Losing(MemoryStore::new(), AtomicBool::new(false)));
        let ledger = Ledger::new(Arc::clone(&store) as Arc<dyn Store>);
        let ambient: Arc<dyn Ambient> = Arc::new(Clock(Instant::now(), AtomicU64::new(0)));
        let sealer: Arc<dyn Sealer> = Arc::new(KeyFile::from_bytes([7; 32]));
        let declare = Declare::new(ledger.clone(), Arc::clone(&sealer), Arc::clone(&ambient), Limits::default());
        let environment = Environment { endpoints: vec!["unix:///x".into()], ..Environment::default() };
        ledger.commit(Batch::new().put_environment(&environment)).await.unwrap();
        let receiver = Arc::new(Receiver::default());
        let mut world = Self { store, ledger, declare, ambient, sealer, receiver, working: None };
        world.apply(STACK).await;
        world.apply(manifest).await;
        world.work();
        world
    }

    /// Begins to work, as after a start; whoever worked before has crashed.
    fn work(&mut self) {
        self.crash();
        let keyring = LedgerKeyring::new(self.ledger.clone(), Arc::clone(&self.sealer));
        let couriers = Couriers::new(NotifyParts {
            ledger: self.ledger.clone(),
            ambient: Arc::clone(&self.ambient),
            sealer: Arc::clone(&self.sealer),
            keyring: Arc::new(keyring),
            post: Arc::clone(&self.receiver) as Arc<dyn Post>,
            instance: "01instance".into(),
            options: NotifyOptions { public_url: Some("https://skep.example.org".into()), ..NotifyOptions::default() },
        });
        let cancel = CancellationToken::new();
        tokio::spawn(couriers.run(cancel.clone()));
        self.working = Some(cancel);
    }

    fn crash(&mut self) {
        if let Some(working) = self.working.take() {
            working.cancel();
        }
    }

    async fn apply(&self, manifest: &str) {
        let ask = Ask::new(Actor::new("ada"), Trigger::Api);
        self.declare.apply(manifest, &ApplyOptions::default(), &ask).await.unwrap();
    }

    fn deployment(&self) -> Deployment {
        let stack = self.ledger.stack(&shop()).unwrap().unwrap().value;
        let mut deployment = self.ledger.deployment(&stack.deployment).unwrap().unwrap().value;
        deployment.version.revision = Some(Revision(COMMIT.into()));
        deployment
    }

    /// Moves the deployment on as the controller does: the record and its event in one transaction.
    async fn enter(&self, deployment: &mut Deployment, phase: DeploymentPhase, text: &str) {
        let event = entered(deployment, phase, self.ambient.now(), text);
        self.ledger.commit(Batch::new().put_deployment(deployment).event(&event)).await.unwrap();
    }

    async fn start_and_converge(&self) {
        let mut deployment = self.deployment();
        for phase in [DeploymentPhase::Fetching, DeploymentPhase::Applying, DeploymentPhase::Verifying] {
            self.enter(&mut deployment, phase, "goes on").await;
        }
        // The Swarm changed under the plan: the same phase once more is no news.
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.enter(&mut deployment, DeploymentPhase::Applying, "goes on").await;
        self.enter(&mut deployment, DeploymentPhase::Converged, "all 2 tasks run").await;
    }

    fn status(&self, name: &str) -> NotifierStatus {
        let name = NotifierName::parse(name).unwrap();
        let notifier = self.ledger.notifier(&name).unwrap().unwrap().value;
        self.ledger.notifier_status(&notifier).unwrap().0
    }

    /// The status once it is so.
    async fn until(&self, name: &str, is: impl Fn(&NotifierStatus) -> bool) -> NotifierStatus {
        let mut changes = self.ledger.watch();
        loop {
            let status = self.status(name);
            if is(&status) {
                return status;
            }
            let next = tokio::time::timeout(Duration::from_secs(3 * 24 * 3600), changes.next()).await;
            assert!(next.is_ok(), "{status:?}");
        }
    }
}

fn shop() -> StackKey {
    StackKey { environment: EnvironmentName::default(), name: StackName::parse("shop").unwrap() }
}

fn event(kind: EventType, deployment: Option<&Deployment>, time: Timestamp, reason: &str, text: &str) -> Event {
    Event {
        time,
        kind,
        environment: EnvironmentName::default(),
        stack: Some(shop().name),
        deployment: deployment.map(|it| it.id.clone()),
        reason: reason.into(),
        message: text.into(),
        actor: "controller".into(),
        via: None,
    }
}

fn entered(deployment: &mut Deployment, phase: DeploymentPhase, now: Timestamp, text: &str) -> Event {
    let kind = match phase {
        DeploymentPhase::Converged => EventType::Converged,
        DeploymentPhase::RolledBack => EventType::RolledBack,
        DeploymentPhase::Failed => EventType::Failed,
        DeploymentPhase::Superseded => EventType::Superseded,
        DeploymentPhase::Cancelled => EventType::Cancelled,
        _ => EventType::PhaseChanged,
    };
    deployment.phase = phase;
    if phase == DeploymentPhase::Applying && deployment.progress.is_none() {
        deployment.progress = Some(Progress {
            started_at: now,
            progress_deadline: now,
            total_deadline: now,
            waiting_since: None,
            applied: false,
            applied_at: None,
            healthy_most: 0,
            healthy_since: None,
            baking_since: None,
            newest_task: None,
            held_back: Default::default(),
            services: BTreeMap::new(),
        });
    }
    if phase.is_terminal() {
        deployment.finished_at = Some(now);
    }
    event(kind, Some(deployment), now, &format!("{phase:?}"), text)
}

fn words(bodies: &[Value]) -> Vec<&str> {
    bodies.iter().map(|body| body["event"].as_str().unwrap()).collect()
}

const TEAM: &str = "https://team.example.org";

#[tokio::test(start_paused = true)]
async fn each_transition_is_told_once() {
    let world = World::new(HOOK).await;
    world.start_and_converge().await;
    let bodies = world.receiver.bodies(TEAM, 2).await;
    let status = world.until("team", |status| status.delivered == 2).await;
    assert_eq!(words(&bodies), ["Started", "Converged"]);
    assert_eq!((status.attempts, status.given_up, status.last_error), (0, 0, None));
    assert_eq!(bodies[0]["url"], format!("https://skep.example.org/deployments/{}", world.deployment().id));
    assert_eq!(bodies[0]["revision"], COMMIT);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.receiver.at(TEAM).len(), 2, "nothing more comes");
}

#[tokio::test(start_paused = true)]
async fn a_body_is_signed_and_says_when_it_was_sent() {
    use hmac::{Hmac, KeyInit, Mac};
    let world = World::new(HOOK).await;
    world.start_and_converge().await;
    let bodies = world.receiver.bodies(TEAM, 1).await;
    let (_, request) = world.receiver.at(TEAM).remove(0);
    let header = |name: &str| request.headers.iter().find(|(it, _)| *it == name).unwrap().1.clone();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"its-a-secret-to-everybody").unwrap();
    mac.update(&request.body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(header("x-skep-signature-256"), format!("sha256={hex}"));
    assert_eq!(header("x-skep-delivery"), bodies[0]["id"].as_str().unwrap());
    assert_eq!(header("x-skep-event"), "Started");
    let sent: Timestamp = bodies[0]["sentAt"].as_str().unwrap().parse().unwrap();
    assert_eq!(header("x-skep-timestamp"), sent.as_second().to_string());
    assert!(!format!("{request:?}").contains("example.org"), "what is sent is not printed");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_is_sent_again_under_the_same_id_with_longer_waits() {
    let world = World::new(HOOK).await;
    world.receiver.script(TEAM, &[Act::Answer(500), Act::Break, Act::Answer(404), Act::Answer(503), Act::Answer(204)]);
    world.start_and_converge().await;
    let status = world.until("team", |status| status.attempts == 2).await;
    assert_eq!(status.last_error.as_deref(), Some("no connection"));
    assert!(status.next_attempt_at.is_some());
    let name = NotifierName::parse("team").unwrap();
    let notifier = world.ledger.notifier(&name).unwrap().unwrap().value;
    assert_eq!(world.ledger.owes(&notifier, &status).unwrap(), 2, "both are pending");
    let bodies = world.receiver.bodies(TEAM, 6).await;
    assert_eq!(words(&bodies), ["Started", "Started", "Started", "Started", "Started", "Converged"]);
    let ids: BTreeSet<&str> = bodies[..5].iter().map(|body| body["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 1);
    let times: Vec<Duration> = world.receiver.at(TEAM).into_iter().map(|(time, _)| time).collect();
    let waits: Vec<u128> = times.windows(2).take(4).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    // The half of it is by chance, which is a half here.
    assert_eq!(waits, [750, 1500, 3000, 6000]);
    let status = world.until("team", |status| status.delivered == 2).await;
    assert_eq!((status.attempts, status.next_attempt_at), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_asks_for_time_gets_it_also_after_a_restart() {
    let mut world = World::new(HOOK).await;
    let acts = [Act::Wait(429, "120"), Act::Wait(503, "Sat, 31 Jan 2026 12:10:00 GMT"), Act::Answer(200)];
    world.receiver.script(TEAM, &acts);
    world.start_and_converge().await;
    world.until("team", |status| status.attempts == 2).await;
    let at = |n: usize| world.receiver.at(TEAM)[n].0.as_secs();
    assert_eq!(at(1), 120);
    world.work();
    world.receiver.bodies(TEAM, 3).await;
    let third = world.receiver.at(TEAM)[2].0.as_secs();
    assert!((599..=600).contains(&third), "{third}");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_given_up_and_the_next_one_is_told() {
    let world = World::new(HOOK).await;
    world.receiver.script(TEAM, &[Act::Answer(500)]);
    let mut deployment = world.deployment();
    world.enter(&mut deployment, DeploymentPhase::Applying, "goes on").await;
    let status = world.until("team", |status| status.given_up == 1).await;
    assert!(status.last_error.as_deref().unwrap().contains("given up after"), "{status:?}");
    let age = NotifyOptions::default().age;
    let last = world.receiver.at(TEAM).last().unwrap().0;
    assert!(last <= age && last + Duration::from_secs(301) >= age, "{last:?}");
    world.receiver.scripts.lock().unwrap().clear();
    world.enter(&mut deployment, DeploymentPhase::Converged, "all run").await;
    let status = world.until("team", |status| status.delivered == 1).await;
    assert_eq!(status.given_up, 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_refused_for_good_keeps_no_other_back() {
    let world = World::new(HOOK).await;
    world.receiver.script(TEAM, &[Act::Answer(422), Act::Answer(200)]);
    world.start_and_converge().await;
    let bodies = world.receiver.bodies(TEAM, 2).await;
    assert_eq!(words(&bodies), ["Started", "Converged"]);
    let status = world.until("team", |status| status.delivered == 1).await;
    assert_eq!((status.given_up, status.last_error.as_deref()), (1, Some("it answered 422: so it is")));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_holds_up_nobody_else() {
    let other = HOOK.replace("name: team", "name: zoo").replace("team.example.org", "zoo.example.org");
    let world = World::new(HOOK).await;
    world.apply(other.split_once("---\n").unwrap().1).await;
    world.receiver.script(TEAM, &[Act::Hang]);
    world.start_and_converge().await;
    let bodies = world.receiver.bodies("https://zoo.example.org", 2).await;
    assert_eq!(words(&bodies), ["Started", "Converged"]);
    assert_eq!(world.receiver.at(TEAM).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_the_answer_loses_nothing() {
    let mut world = World::new(HOOK).await;
    world.receiver.script(TEAM, &[Act::Hang, Act::Answer(200)]);
    world.start_and_converge().await;
    world.receiver.bodies(TEAM, 1).await;
    world.crash();
    world.work();
    let bodies = world.receiver.bodies(TEAM, 3).await;
    assert_eq!(words(&bodies), ["Started", "Started", "Converged"]);
    assert_eq!(bodies[0]["id"], bodies[1]["id"]);
    world.until("team", |status| status.delivered == 2).await;
    // And after all was told, a start tells nothing again.
    world.work();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.receiver.at(TEAM).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_that_could_not_be_written_sends_again_under_the_same_id() {
    let world = World::new(HOOK).await;
    world.store.1.store(true, Ordering::SeqCst);
    world.start_and_converge().await;
    let bodies = world.receiver.bodies(TEAM, 3).await;
    assert_eq!(words(&bodies), ["Started", "Started", "Converged"]);
    assert_eq!(bodies[0]["id"], bodies[1]["id"]);
    assert_ne!(bodies[1]["id"], bodies[2]["id"]);
}

#[tokio::test(start_paused = true)]
async fn a_notifier_tells_of_what_it_is_for_from_when_it_is_declared_until_it_is_deleted() {
    let world = World::new(STACK).await;
    let mut deployment = world.deployment();
    world.enter(&mut deployment, DeploymentPhase::Applying, "goes on").await;
    let (key, team) = HOOK.split_once("---\n").unwrap();
    world.apply(key).await;
    world.apply(&format!("{team}stacks: [sho*]\nevents: [Converged, DriftCorrected]\n")).await;
    world.apply(&team.replace("name: team", "name: blog").replace("team.example", "blog.example")).await;
    world.apply(&format!("{}stacks: [blog]\n", team.replace("name: team", "name: blog"))).await;
    world.enter(&mut deployment, DeploymentPhase::Converged, "all run").await;
    let corrected = event(EventType::DriftCorrected, None, world.ambient.now(), "DriftCorrected", "service shop_web");
    world.ledger.commit(Batch::new().event(&corrected)).await.unwrap();
    let bodies = world.receiver.bodies(TEAM, 2).await;
    assert_eq!(words(&bodies), ["Converged", "DriftCorrected"]);
    assert_eq!(bodies[1]["url"], "https://skep.example.org/stacks/default/shop");
    world.until("team", |status| status.delivered == 2).await;
    let ask = Ask::new(Actor::new("ada"), Trigger::Api);
    let name = world.declare.delete_notifier("team", &ask).await.unwrap();
    world.ledger.commit(Batch::new().event(&corrected)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.receiver.got.lock().unwrap().len(), 2);
    let left = world.store.scan(&Scan::all("notifier-status/")).unwrap();
    assert!(left.iter().all(|entry| !entry.key.ends_with(name.as_str())), "nothing of it is left");
}

#[tokio::test(start_paused = true)]
async fn what_was_mended_is_tried_at_once() {
    let world = World::new(&HOOK.replace("data: { secret: its-a-secret-to-everybody }", "data: { a: b, c: d }")).await;
    world.start_and_converge().await;
    let status = world.until("team", |status| status.attempts == 9).await;
    assert!(status.last_error.as_deref().unwrap().contains("it holds no `secret`"), "{status:?}");
    let before = world.ambient.now();
    world.apply(HOOK.split_once("---\n").unwrap().0).await;
    world.receiver.bodies(TEAM, 2).await;
    assert!(world.ambient.now().duration_since(before) < SignedDuration::from_secs(2));
}

const STATUS: &str = "\
kind: Credential
name: git
type: GitToken
hosts: [git.example.org]
data: { token: a-token-for-git }
---
kind: Notifier
name: commits
type: GiteaStatus
credential: git
";

#[tokio::test(start_paused = true)]
async fn the_commit_of_a_deployment_gets_its_status() {
    let world = World::new(STATUS).await;
    let api = "https://git.example.org/api/v1/repos/team/shop/statuses/";
    world.start_and_converge().await;
    let bodies = world.receiver.bodies(api, 2).await;
    let states: Vec<&str> = bodies.iter().map(|body| body["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["pending", "success"]);
    assert_eq!(bodies[1]["context"], "skep/default/shop");
    assert_eq!(bodies[1]["description"], "converged: all 2 tasks run");
    let (_, request) = world.receiver.at(api).remove(0);
    assert_eq!(request.url, format!("{api}{COMMIT}"));
    assert!(request.headers.contains(&("authorization", "token a-token-for-git".into())));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_on_github_is_made_once_and_gets_its_statuses() {
    let world = World::new(&STATUS.replace("GiteaStatus", "GitHubDeployment")).await;
    let base = "https://git.example.org/api/v3/repos/team/shop/deployments";
    let id = world.deployment().id;
    // There is none; its answer is lost when it is made; then it is there.
    world.receiver.script(
        base,
        &[
            Act::Body(200, "[]"),
            Act::Break,
            Act::Body(200, "[{\"id\": 42, \"sha\": \"x\"}]"),
            Act::Answer(201),
            Act::Body(200, "[{\"id\": 42}]"),
            Act::Answer(201),
        ],
    );
    world.start_and_converge().await;
    world.until("commits", |status| status.delivered == 2).await;
    let all = world.receiver.at(base);
    let asked: Vec<(bool, &str)> = all.iter().map(|(_, it)| (it.posts, &it.url[base.len()..])).collect();
    let find = format!("?sha={COMMIT}&environment=default%2Fshop&task=skep%3A{id}&per_page=1");
    let status = "/42/statuses";
    assert_eq!(asked, [(false, &*find), (true, ""), (false, &*find), (true, status), (false, &*find), (true, status)]);
    let body = |n: usize| -> Value { serde_json::from_slice(&all[n].1.body).unwrap() };
    let made = body(1);
    assert_eq!((&made["ref"], &made["environment"]), (&json!(COMMIT), &json!("default/shop")));
    assert_eq!((&made["auto_merge"], &made["required_contexts"]), (&json!(false), &json!([])));
    assert_eq!((&body(3)["state"], &body(5)["state"]), (&json!("in_progress"), &json!("success")));
    assert_eq!(body(5)["log_url"], format!("https://skep.example.org/deployments/{id}"));
}

#[tokio::test(start_paused = true)]
async fn a_token_goes_nowhere_but_to_its_hosts_and_what_has_no_commit_is_passed_over() {
    let world = World::new(&STATUS.replace("hosts: [git.example.org]", "hosts: [other.example.org]")).await;
    let text = "kind: Stack\nname: text\ninline: 'services: { web: { image: a } }'\n";
    world.apply(text).await;
    world.start_and_converge().await;
    // The same repository for a notifier that may: when that has come, the other has had its turn.
    world
        .apply(
            &STATUS
                .replace("name: git", "name: right")
                .replace("credential: git", "credential: right")
                .replace("name: commits", "name: yes"),
        )
        .await;
    world.start_and_converge().await;
    world.receiver.bodies("https://git.example.org", 1).await;
    let all: Vec<_> = world.receiver.got.lock().unwrap().iter().map(|(_, it)| it.url.clone()).collect();
    assert!(all.iter().all(|url| url.starts_with("https://git.example.org/api/v1/")), "{all:?}");
    let status = world.status("commits");
    assert_eq!((status.delivered, status.given_up, status.attempts), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn no_secret_comes_into_a_message() {
    let world = World::new(HOOK).await;
    let mut deployment = world.deployment();
    deployment.origin.reason = Some(format!("because of {MARKED}"));
    world.enter(&mut deployment, DeploymentPhase::Applying, "goes on").await;
    deployment.failure = Some(Failure::new(FailureClass::ExitCode, format!("it said {MARKED}")));
    world.enter(&mut deployment, DeploymentPhase::Failed, &format!("it said {MARKED}")).await;
    let bodies = world.receiver.bodies(TEAM, 2).await;
    let all = Value::Array(bodies).to_string();
    assert!(!all.contains(MARKED) && all.contains("because of ***") && all.contains("it said ***"), "{all}");
}

struct Pieces {
    stack: Stack,
    deployment: Deployment,
}

impl Pieces {
    async fn new() -> Self {
        let world = World::new(STACK).await;
        let stack = world.ledger.stack(&shop()).unwrap().unwrap().value;
        Self { deployment: world.deployment(), stack }
    }

    fn told(&self, event: &Event, held: bool) -> Option<Message> {
        let deployment = event.deployment.as_ref().map(|_| &self.deployment);
        let transition = Transition::of(event, deployment)?;
        let facts = Facts {
            instance: "01instance",
            sequence: 7,
            event,
            transition,
            deployment,
            stack: Some(&self.stack),
            held,
            public_url: None,
        };
        Some(message::message(&facts))
    }

    fn line(&self, event: &Event, held: bool) -> String {
        let told = self.told(event, held).unwrap();
        format!("{}: {} / {} / {}", told.event, told.what, told.why, told.next)
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_rolled_back_is_told_twice_and_one_that_is_not_says_so() {
    let mut it = Pieces::new().await;
    let at = |second: i64| start() + SignedDuration::from_secs(second);
    let mut events = vec![entered(&mut it.deployment, DeploymentPhase::Applying, at(1), "3 steps")];
    events.push(entered(&mut it.deployment, DeploymentPhase::RollingBack, at(2), "web exits; bringing … back"));
    events.push(event(EventType::Failed, Some(&it.deployment), at(2), "ExitCode", "web exits"));
    it.deployment.failure = Some(Failure::new(FailureClass::ExitCode, "web exits"));
    it.deployment.rolled_back_by = Some(crate::domain::DeploymentId("01back".into()));
    let told = |it: &Pieces, events: &[Event]| -> Vec<String> {
        events.iter().filter_map(|event| it.told(event, true)).map(|it| it.event).collect()
    };
    let mut good = events.clone();
    good.push(entered(
        &mut it.deployment,
        DeploymentPhase::RolledBack,
        at(9),
        "web exits; the last good version is back",
    ));
    // The answer is the same however late it is asked for.
    assert_eq!(told(&it, &good), ["Started", "Failed", "RolledBack"]);
    let lines: Vec<String> =
        good.iter().filter(|event| it.told(event, true).is_some()).map(|event| it.line(event, true)).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    Started: default/shop: the deployment of commit 1481a2de7b2a has started / asked for by ada (Api) / Its tasks are judged; it converges, or the last good version comes back.
    Failed: default/shop: commit 1481a2de7b2a has failed / web exits / The last good version is being brought back; this one is held.
    RolledBack: default/shop: commit 1481a2de7b2a has failed, and the last good version is back / web exits; the last good version is back / The version that failed is held until `skep release-hold shop`; a newer one is deployed by itself.
    ");
    events.push(entered(&mut it.deployment, DeploymentPhase::Failed, at(9), "web exits; and the rollback failed"));
    assert_eq!(told(&it, &events), ["Started", "Failed", "RollbackFailed"]);
    // The rollback itself is told with what it answers.
    it.deployment.rollback_of = Some(crate::domain::DeploymentId("01bad".into()));
    assert_eq!(told(&it, &events), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn every_message_says_what_why_and_what_next() {
    let mut it = Pieces::new().await;
    let mut lines = Vec::new();
    let waits =
        entered(&mut it.deployment, DeploymentPhase::AwaitingApproval, start(), "waits for approval of 2 steps");
    lines.push(it.line(&waits, false));
    let same = entered(&mut it.deployment, DeploymentPhase::Converged, start(), "this version runs already");
    lines.push(it.line(&same, false));
    it.deployment.failure = Some(Failure::new(FailureClass::Render, "line 3: no such key"));
    let bad = entered(&mut it.deployment, DeploymentPhase::Failed, start(), "line 3: no such key");
    lines.push(it.line(&bad, false));
    it.deployment.failure = Some(Failure::new(FailureClass::EngineUnreachable, "no answer"));
    let gone = entered(&mut it.deployment, DeploymentPhase::Failed, start(), "no answer");
    lines.push(it.line(&gone, false));
    lines.push(it.line(&gone, true));
    for (phase, text) in
        [(DeploymentPhase::Superseded, "01new came after it"), (DeploymentPhase::Cancelled, "it was cancelled")]
    {
        let event = entered(&mut it.deployment, phase, start(), text);
        lines.push(it.line(&event, false));
    }
    for (kind, text) in [
        (EventType::DriftCorrected, "service shop_web differs at /Mode"),
        (EventType::Stalled, "network shop_x belongs to someone else"),
        (EventType::Recovered, "it is kept again"),
    ] {
        lines.push(it.line(&event(kind, None, start(), "x", text), false));
    }
    insta::assert_snapshot!(lines.join("\n"), @r"
    AwaitingApproval: default/shop: the deployment of commit 1481a2de7b2a waits for approval / waits for approval of 2 steps / Nothing, until a person says `skep approve 00000000000000000000000001`.
    Unchanged: default/shop: commit 1481a2de7b2a runs already / this version runs already / Nothing: it is kept so.
    Failed: default/shop: commit 1481a2de7b2a has failed / line 3: no such key / Nothing was changed on the Swarm: what ran before runs on. Mend it, and deploy again.
    Failed: default/shop: commit 1481a2de7b2a has failed / no answer / It is tried again by itself, when the obstacle is gone.
    Failed: default/shop: commit 1481a2de7b2a has failed / no answer / It is held: nothing by itself. A newer version, or `skep release-hold shop`, tries again.
    Superseded: default/shop: the deployment of commit 1481a2de7b2a was left for a newer one / 01new came after it / The newer version is being deployed.
    Cancelled: default/shop: the deployment of commit 1481a2de7b2a was cancelled / it was cancelled / What was there before goes on.
    DriftCorrected: default/shop: what somebody else changed on the Swarm was undone / service shop_web differs at /Mode / The stack is watched on.
    Stalled: default/shop is not kept: something is in the way / network shop_x belongs to someone else / A person has to look at `skep get stack shop`.
    Recovered: default/shop is kept again / it is kept again / Nothing needs to be done.
    ");
    for quiet in [EventType::DeploymentCreated, EventType::StepApplied, EventType::Held, EventType::Waiting] {
        assert_eq!(it.told(&event(quiet, Some(&it.deployment), start(), "x", "x"), false), None, "{quiet:?}");
    }
    it.deployment.origin.trigger = Trigger::Drift;
    let corrected = entered(&mut it.deployment, DeploymentPhase::Converged, start(), "all run");
    assert_eq!(it.told(&corrected, false), None, "a correction is told when it is done");
}

#[tokio::test(start_paused = true)]
async fn slack_gets_text_that_means_nothing_but_itself() {
    let mut it = Pieces::new().await;
    it.deployment.failure = Some(Failure::new(FailureClass::ExitCode, "x"));
    let text = format!("<!channel> & <https://x|y> {}", "long ".repeat(1000));
    let event = entered(&mut it.deployment, DeploymentPhase::Failed, start(), &text);
    let mut told = it.told(&event, false).unwrap();
    told.url = Some("https://skep.example.org/deployments/01x".into());
    let body = form::slack(&told);
    let shown = body.to_string();
    assert!(!shown.contains("<!channel>") && shown.contains("&lt;!channel&gt; &amp; &lt;https://x|y&gt;"), "{shown}");
    assert!(
        body["blocks"][0]["text"]["text"]
            .as_str()
            .unwrap()
            .starts_with(":x: <https://skep.example.org/deployments/01x|*default/shop: commit")
    );
    for block in body["blocks"].as_array().unwrap() {
        let text = block["text"]["text"].as_str().or_else(|| block["elements"][0]["text"].as_str()).unwrap();
        assert!(text.chars().count() <= 3000);
    }
    assert!(body["text"].as_str().unwrap().starts_with("default/shop: commit 1481a2de7b2a has failed"));
    let trace = told.trace_id.clone().unwrap();
    assert_eq!(trace, it.deployment.trace().trace_id());
    assert!(shown.contains(&format!("trace `{trace}`")), "{shown}");
    assert_eq!(form::webhook(&told, "01instance", start())["traceId"], trace.as_str());
    assert_eq!(form::cloud_event(&told, "01instance")["data"]["traceId"], trace.as_str());
}

#[tokio::test(start_paused = true)]
async fn a_cloud_event_has_what_the_specification_wants() {
    let mut it = Pieces::new().await;
    let event = entered(&mut it.deployment, DeploymentPhase::Converged, start(), "all run");
    let told = it.told(&event, false).unwrap();
    let body = form::cloud_event(&told, "01instance");
    assert_eq!(body["specversion"], "1.0");
    assert_eq!((&body["id"], &body["source"]), (&json!(told.id), &json!("urn:skep:01instance")));
    assert_eq!((&body["type"], &body["subject"]), (&json!("dev.skep.Unchanged"), &json!("default/shop")));
    assert_eq!((&body["time"], &body["datacontenttype"]), (&json!("2026-01-31T12:00:00Z"), &json!("application/json")));
    assert_eq!(body["data"]["deploymentId"], told.deployment_id.unwrap().as_str());
    // Names of attributes: lower-case letters and digits.
    for name in body.as_object().unwrap().keys() {
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_git_host_is_asked_in_its_own_words() {
    let mut it = Pieces::new().await;
    let event = entered(&mut it.deployment, DeploymentPhase::Failed, start(), &"why ".repeat(100));
    let mut told = it.told(&event, false).unwrap();
    told.url = Some("https://skep.example.org/deployments/01x".into());
    let ask = |kind, url: &str, transition| {
        let repository = Repository::of(kind, &GitUrl::parse(url).unwrap(), None).unwrap();
        let request = status::set(kind, &repository, transition, &told, "tkn", None).unwrap();
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        (request, body)
    };
    let (request, body) = ask(NotifierType::GitHubStatus, "ssh://git@github.com/o/r.git", Transition::Failed);
    assert_eq!(request.url, format!("https://api.github.com/repos/o/r/statuses/{COMMIT}"));
    assert!(request.headers.contains(&("authorization", "Bearer tkn".into())));
    assert!(request.headers.contains(&("x-github-api-version", "2022-11-28".into())));
    assert_eq!((&body["state"], &body["context"]), (&json!("failure"), &json!("skep/default/shop")));
    assert_eq!(body["target_url"], "https://skep.example.org/deployments/01x");
    assert_eq!(body["description"].as_str().unwrap().chars().count(), 140);
    let (request, body) = ask(NotifierType::GitLabStatus, "https://lab.example.org:8443/g/s/r", Transition::Started);
    assert_eq!(request.url, format!("https://lab.example.org:8443/api/v4/projects/g%2Fs%2Fr/statuses/{COMMIT}"));
    assert!(request.headers.contains(&("private-token", "tkn".into())));
    assert_eq!(body["state"], "running");
    let (_, body) = ask(NotifierType::GitLabStatus, "https://lab.example.org/g/r", Transition::Superseded);
    assert_eq!(body["state"], "canceled");
    let (request, body) = ask(NotifierType::GiteaStatus, "ssh://git@tea.example.org:2222/o/r", Transition::RolledBack);
    assert_eq!(request.url, format!("https://tea.example.org/api/v1/repos/o/r/statuses/{COMMIT}"));
    assert_eq!(body["state"], "failure");
    let look = status::look(
        NotifierType::GitLabStatus,
        &Repository::of(
            NotifierType::GitLabStatus,
            &GitUrl::parse("https://lab.example.org/g/r").unwrap(),
            Some("http://127.0.0.1:1/api/v4/"),
        )
        .unwrap(),
        "tkn",
        None,
    );
    assert_eq!((look.posts, look.url.as_str()), (false, "http://127.0.0.1:1/api/v4/projects/g%2Fr"));
    for no in
        ["file:///srv/o/r", "https://h/r", "https://h/a/b/c", "https://h/../r", "https://h/o/r?x", "https://h/o/%2e"]
    {
        assert_eq!(Repository::of(NotifierType::GitHubStatus, &GitUrl::parse(no).unwrap(), None), None, "{no}");
    }
    told.revision = None;
    let repository = Repository::of(NotifierType::GiteaStatus, &GitUrl::parse("https://h/o/r").unwrap(), None).unwrap();
    assert_eq!(status::set(NotifierType::GiteaStatus, &repository, Transition::Failed, &told, "tkn", None), None);
}

#[test]
fn an_answer_means_one_thing() {
    use NotifierType::{GitHubStatus, GitLabStatus, Slack, Webhook};
    let answer = |status, said: &str| Answer { status, said: said.into(), ..Answer::default() };
    let of = |kind, answer: &Answer| match verdict::of(kind, answer, start()) {
        Verdict::Delivered => "taken",
        Verdict::Again { .. } => "again",
        Verdict::GivenUp { .. } => "given up",
    };
    for (kind, status, wanted) in [
        (Webhook, 200, "taken"),
        (Webhook, 204, "taken"),
        (GitHubStatus, 201, "taken"),
        (Slack, 404, "again"),
        (Slack, 410, "again"),
        (Slack, 400, "given up"),
        (Webhook, 401, "again"),
        (Webhook, 302, "again"),
        (Webhook, 500, "again"),
        (Webhook, 429, "again"),
        (GitHubStatus, 404, "given up"),
        (GitHubStatus, 401, "given up"),
        (GitHubStatus, 422, "given up"),
        (GitHubStatus, 301, "given up"),
        (GitHubStatus, 502, "again"),
        (GitLabStatus, 400, "given up"),
    ] {
        assert_eq!(of(kind, &answer(status, "")), wanted, "{kind} {status}");
    }
    assert_eq!(
        of(GitLabStatus, &answer(400, "{\"message\":\"Cannot transition status via :run from :running\"}")),
        "taken"
    );
    let limited = Answer { limit_resets: Some(start().as_second() + 90), ..answer(403, "API rate limit exceeded") };
    let Verdict::Again { after, .. } = verdict::of(GitHubStatus, &limited, start()) else { panic!("{limited:?}") };
    assert_eq!(after, Some(Duration::from_secs(90)));
    for (text, seconds) in
        [("30", Some(30)), ("Sat, 31 Jan 2026 12:01:00 GMT", Some(60)), ("999999", Some(3600)), ("soon", None)]
    {
        let asked = Answer { retry_after: Some(text.into()), ..answer(503, "") };
        let Verdict::Again { after, .. } = verdict::of(Webhook, &asked, start()) else { panic!("{text}") };
        assert_eq!(after.map(|it| it.as_secs()), seconds, "{text}");
    }
}

#[test]
fn waits_grow_to_the_longest_and_differ() {
    let wait = |attempts, random| verdict::backoff(attempts, Duration::from_secs(1), Duration::from_secs(300), random);
    assert_eq!(wait(1, 0), Duration::from_millis(500));
    assert_eq!(wait(3, 0), Duration::from_secs(2));
    assert_eq!(wait(100, 999).as_millis(), 299_850);
    assert!(
        (0..1000).all(|random| wait(5, random) >= Duration::from_secs(8) && wait(5, random) < Duration::from_secs(16))
    );
}
