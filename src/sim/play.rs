//! Plays a schedule: act after act, with the time between them, and the laws looked at throughout. Then everything is mended,
//! and must settle on what was asked last.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::draft::Draft;
use super::gate::At;
use super::invariants::Breach;
use super::schedule::{Act, Fate, Hand, Schedule, Trouble, Way, Word};
use super::story;
use super::world::{Answer, Request, World, plain_service};
use crate::domain::{EnvironmentName, ObjectKind, ObjectRef, StackKey};
use crate::ports::{StoreError, SwarmError};
use crate::swarm::sim::{CallKind, SimSwarm};

/// After an engine hung, errors in a row may have led to waits of so long.
const HUNG: SignedDuration = SignedDuration::from_secs(320);
/// Errors that repeat are answered by waits of at most so long.
const BACKED_OFF: SignedDuration = SignedDuration::from_secs(310);

/// What a schedule came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The schedule's seed.
    pub seed: u64,
    /// Acts played.
    pub steps: u64,
    /// Faults that were put in, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Lives of Skep that ended.
    pub crashes: u64,
    /// Deployments that were recorded.
    pub deployments: u64,
    /// The first law that was broken.
    pub breach: Option<Breach>,
    /// What happened, line by line, if it was to be told.
    pub story: Vec<String>,
}

/// Plays a schedule in a runtime of its own, in virtual time.
#[must_use]
pub fn play(schedule: &Schedule, told: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let Ok(runtime) = runtime else {
        return Outcome {
            seed: schedule.seed,
            steps: 0,
            faults: BTreeMap::new(),
            crashes: 0,
            deployments: 0,
            breach: None,
            story: vec!["no runtime can be started".to_owned()],
        };
    };
    runtime.block_on(async {
        let mut player = Player::new(schedule).await;
        player.play(schedule).await;
        player.outcome(schedule, told)
    })
}

/// A schedule under way.
pub(super) struct Player {
    pub(super) world: World,
    pub(super) lines: Vec<(Timestamp, String)>,
    steps: u64,
    faults: BTreeMap<&'static str, u64>,
    requests: u64,
    last: Option<(Request, String, Option<Answer>)>,
    disk_full: Option<Timestamp>,
    hung: BTreeMap<EnvironmentName, Timestamp>,
}

impl Player {
    async fn new(schedule: &Schedule) -> Self {
        let world = World::new(schedule).await;
        Self {
            world,
            lines: Vec::new(),
            steps: 0,
            faults: BTreeMap::new(),
            requests: 0,
            last: None,
            disk_full: None,
            hung: BTreeMap::new(),
        }
    }

    async fn play(&mut self, schedule: &Schedule) {
        self.world.start(None);
        for number in 0..self.world.homes.len() {
            self.version(number, Draft::good(0)).await;
        }
        self.wait(15_000).await;
        for timed in &schedule.acts {
            if self.world.laws.is_broken() {
                return;
            }
            self.steps += 1;
            self.act(&timed.act).await;
            self.wait(timed.wait).await;
        }
        if !self.world.laws.is_broken() {
            self.say("everything is well again, and a good version is asked for".to_owned());
            self.settle(schedule.seed).await;
        }
    }

    fn outcome(mut self, schedule: &Schedule, told: bool) -> Outcome {
        let breach = self.world.laws.breaches().into_iter().next();
        let story = if told { story::tell(&mut self, breach.as_ref()) } else { Vec::new() };
        let deployments = self.world.ledger.deployments(None, usize::MAX).map_or(0, |all| all.len() as u64);
        let Self { steps, faults, world, .. } = self;
        Outcome { seed: schedule.seed, steps, faults, crashes: world.crashes, deployments, breach, story }
    }

    pub(super) fn say(&mut self, line: String) {
        self.lines.push((self.world.now(), line));
    }

    fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    /// Lets time pass, and looks at the laws.
    pub(super) async fn wait(&mut self, milliseconds: u64) {
        let mut left = milliseconds;
        while left > 0 && !self.world.laws.is_broken() {
            let slice = left.min(1_000);
            tokio::time::sleep(Duration::from_millis(slice)).await;
            left -= slice;
            self.age(slice);
            if self.world.has_died() {
                self.say("Skep has died; another one begins".to_owned());
                self.world.kill();
                self.world.start(None);
            }
        }
    }

    /// Time has passed for all stacks for which it counts.
    fn age(&self, milliseconds: u64) {
        let now = self.world.now();
        let recently = |since: Option<&Timestamp>, span: SignedDuration| {
            since.is_some_and(|since| now.duration_since(*since) < span)
        };
        let disk = recently(self.disk_full.as_ref(), BACKED_OFF);
        let blocked = |key: &StackKey| {
            let name = &key.environment;
            disk || self.world.laws.is_claimed(name) || recently(self.hung.get(name), HUNG)
        };
        let span = SignedDuration::from_millis(i64::try_from(milliseconds).unwrap_or(i64::MAX));
        self.world.laws.passes(span, blocked);
    }

    async fn act(&mut self, act: &Act) {
        match act {
            Act::Version(stack, draft) => self.version(*stack, draft.clone()).await,
            Act::Image(stack, service, image) => self.image(*stack, service, image).await,
            Act::Say(stack, word) => self.word(*stack, *word).await,
            Act::Again => self.again().await,
            Act::Torn(stack, draft, written) => self.torn(*stack, draft, *written).await,
            Act::Engine(environment, trouble) => self.engine(*environment, *trouble),
            Act::Git(way) => self.git(*way),
            Act::Disk(full) => self.disk(*full),
            Act::Hand(stack, hand) => self.hand(*stack, *hand),
            Act::Node(environment, node, fate) => self.node(*environment, *node, *fate),
            Act::Claim(environment, taken) => self.claim(*environment, *taken),
            Act::Crash(at) => self.crash(*at),
        }
    }

    /// Sends a request under a fresh key.
    pub(super) async fn request(&mut self, request: Request, words: String) -> Option<Answer> {
        self.requests += 1;
        let key = format!("request {}", self.requests);
        let answer = self.world.send(&request, &key).await;
        let became = match &answer {
            None => "refused",
            Some(answer) if answer.changed => "recorded",
            Some(_) => "nothing changes",
        };
        self.say(format!("ada: {words} ({became})"));
        self.last = Some((request, key, answer.clone()));
        answer
    }

    /// A new version of the files: pushed, or applied. The manifest comes with the first one.
    pub(super) async fn version(&mut self, number: usize, draft: Draft) {
        let words = format!("{} as {}", self.world.homes[number].key, draft.words());
        self.world.homes[number].draft = draft.clone();
        let home = &self.world.homes[number];
        if home.place.git {
            self.world.source.commit(&home.url, "main", &[("stack.yml", &draft.text())]);
            self.say(format!("ada: git push {words}"));
            let home = &self.world.homes[number];
            if !matches!(self.world.ledger.stack(&home.key), Ok(None)) {
                return;
            }
        }
        let manifest = self.world.manifest(&self.world.homes[number], &draft);
        self.request(Request::Apply(manifest), format!("apply {words}")).await;
    }

    async fn image(&mut self, number: usize, service: &str, image: &str) {
        let key = self.world.homes[number].key.clone();
        let images = BTreeMap::from([(service.to_owned(), image.to_owned())]);
        self.request(Request::Deploy(key.clone(), images), format!("deploy {key} --image {service}={image}")).await;
    }

    pub(super) async fn word(&mut self, number: usize, word: Word) {
        let home = &self.world.homes[number];
        let words = format!("{word:?} {}", home.key);
        let until = match word {
            Word::RollbackFor(minutes) | Word::SuspendFor(minutes) => self.world.in_minutes(minutes),
            _ => self.world.now(),
        };
        let request = match word {
            Word::Declare => Request::Apply(self.world.manifest(home, &home.draft)),
            word => Request::Say(home.key.clone(), word, until),
        };
        self.request(request, words).await;
    }

    /// The same request under the same key leads to the same, and to nothing new.
    async fn again(&mut self) {
        let Some((request, key, first)) = self.last.clone() else { return };
        let before = self.recorded();
        let second = self.world.send(&request, &key).await;
        self.say("ada: the same request once more".to_owned());
        let Some(first) = first else {
            // It was refused the first time, so this is the first one that counts.
            self.last = Some((request, key, second));
            return;
        };
        let other = second
            .as_ref()
            .is_some_and(|second| first.changed && first.deployment.is_some() && second.deployment != first.deployment);
        if other || self.recorded() != before {
            let text = format!("`{key}` led to {first:?} first, and to {second:?} when it came again");
            self.world.laws.breach(super::invariants::Law::Acknowledged, text);
        }
    }

    /// How many deployments are on record that a person asked for.
    fn recorded(&self) -> usize {
        let all = self.world.ledger.deployments(None, usize::MAX).unwrap_or_default();
        all.into_iter().filter(|found| found.value.origin.actor != crate::domain::Actor::controller()).count()
    }

    async fn torn(&mut self, number: usize, draft: &Draft, written: bool) {
        self.fault("crash in a request");
        let home = &self.world.homes[number];
        let request = match home.place.git {
            true => {
                let image = draft.services.values().next().map_or("app:7", |part| part.image.as_str()).to_owned();
                Request::Deploy(home.key.clone(), BTreeMap::from([("web".to_owned(), image)]))
            }
            false => Request::Apply(self.world.manifest(home, draft)),
        };
        self.requests += 1;
        let key = format!("request {}", self.requests);
        let before = self.recorded();
        self.say(format!("Skep dies while it takes a request ({})", if written { "written" } else { "not written" }));
        self.world.send_and_die(&request, &key, written).await;
        let left = self.recorded();
        let answer = self.world.send(&request, &key).await;
        self.say("ada: the same request once more".to_owned());
        if left > before + 1 || (left > before && self.recorded() != left) {
            self.world.laws.breach(super::invariants::Law::Acknowledged, format!("`{key}` was applied twice"));
        }
        self.last = Some((request, key, answer));
    }

    fn engine(&mut self, number: usize, trouble: Trouble) {
        let (name, swarm) = self.world.swarm(number);
        self.say(format!("engine of {name}: {trouble:?}"));
        let broken = |reason: &str| SwarmError::Unreachable { endpoint: "sim".into(), reason: reason.into() };
        let kind = match trouble {
            Trouble::Down(on) => {
                swarm.set_down(on);
                "engine down"
            }
            Trouble::Hang(on) => {
                let until = if on { Timestamp::MAX } else { self.world.now() };
                self.hung.insert(name.clone(), until);
                swarm.hang(on);
                "engine hangs"
            }
            Trouble::NoQuorum(on) => {
                swarm.no_quorum(on);
                "no quorum"
            }
            Trouble::NotAManager(on) => {
                swarm.not_a_manager(on);
                "not a manager"
            }
            Trouble::BreakEvents => {
                swarm.break_events();
                "event stream broken"
            }
            Trouble::DropEvents(count) => {
                swarm.drop_events(count);
                "events dropped"
            }
            Trouble::DoubleEvents(count) => {
                swarm.duplicate_events(count);
                "events doubled"
            }
            Trouble::Fail(kind) => {
                swarm.fail_next(kind, SwarmError::Engine { endpoint: "sim".into(), reason: "raft is busy".into() });
                "API error"
            }
            Trouble::Timeout(kind) => {
                swarm.fail_next(kind, broken("timed out"));
                "timeout"
            }
            Trouble::LoseAnswer(kind) => {
                swarm.lose_answer_next(kind);
                "answer lost"
            }
            Trouble::Conflict(kind) => {
                swarm.fail_next(kind, SwarmError::Conflict { object: "an object".into() });
                "conflict"
            }
            Trouble::Stale(seconds) => {
                swarm.stale_reads(Duration::from_secs(seconds.into()));
                self.world.laws.blurs(&name, SignedDuration::from_secs(i64::from(seconds) + 5));
                "stale reads"
            }
        };
        self.world.laws.deafens(&name, SignedDuration::from_secs(400));
        self.fault(kind);
    }

    fn git(&mut self, way: Way) {
        for home in &self.world.homes {
            self.world.source.set_down(&home.url, way == Way::Down);
            self.world.source.hang(&home.url, way == Way::Hangs);
        }
        match way {
            Way::Down => self.fault("git unreachable"),
            Way::Hangs => self.fault("git hangs"),
            Way::Well => {}
        }
        self.say(format!("git: {way:?}"));
    }

    fn disk(&mut self, full: bool) {
        let error = StoreError::Io { path: "data".into(), reason: "no space left on device".into() };
        self.world.store.refuse(full.then_some(error));
        if full {
            self.disk_full = Some(Timestamp::MAX);
            self.fault("disk full");
        } else if self.disk_full.is_some() {
            self.disk_full = Some(self.world.now());
        }
        self.say(format!("disk {}", if full { "full" } else { "well" }));
    }

    fn hand(&mut self, number: usize, hand: Hand) {
        let key = self.world.homes[number].key.clone();
        let Some(swarm) = self.world.swarms.get(&key.environment).cloned() else { return };
        let full = |service: &str| format!("{}_{service}", key.name);
        let stack = key.to_string();
        let done = match hand {
            Hand::Remove(name) => remove(&swarm, &full(name)),
            Hand::Label(name) => {
                swarm.foreign_update(&full(name), |spec| drop(spec.labels.insert("x".into(), "y".into()))).is_ok()
            }
            Hand::ImageOf(name) => {
                let change = |spec: &mut crate::domain::ServiceSpec| {
                    spec.task_template.container_spec.image = "evil:1".into();
                };
                swarm.foreign_update(&full(name), change).is_ok()
            }
            Hand::Scale(name) => {
                let change = |spec: &mut crate::domain::ServiceSpec| {
                    if let Some(replicated) = &mut spec.mode.replicated {
                        replicated.replicas = Some(4);
                    }
                };
                swarm.foreign_update(&full(name), change).is_ok()
            }
            Hand::Back(name) => swarm.foreign_rollback(&full(name)).is_ok(),
            Hand::Squat(name) => {
                remove(&swarm, &full(name));
                let mut spec = plain_service(&full(name));
                // Nobody's, another stack's, or that of a stack of the same name that another Skep keeps.
                let labels: &[(&str, &str)] = match name {
                    "web" => &[],
                    "worker" => &[(crate::domain::NAMESPACE_LABEL, "elsewhere")],
                    _ => &[(crate::domain::INSTANCE_LABEL, "skep-z"), (crate::domain::STACK_LABEL, &stack)],
                };
                spec.labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
                self.world.foreign(&swarm, &spec);
                true
            }
            Hand::Leave(name) => World::is_strange(&swarm, &full(name)) && remove(&swarm, &full(name)),
        };
        self.world.laws.meddles(&key.environment);
        self.fault("foreign hand");
        self.say(format!("somebody on the Swarm of {key}: {hand:?} ({})", if done { "done" } else { "no such thing" }));
    }

    fn node(&mut self, number: usize, node: usize, fate: Fate) {
        let (name, swarm) = self.world.swarm(number);
        let host = format!("node-{}", node + 1);
        match fate {
            Fate::Down => swarm.node_down(&host),
            Fate::Up => swarm.node_up(&host),
            Fate::Drain => swarm.node_drain(&host),
            Fate::Activate => swarm.node_activate(&host),
        }
        self.world.laws.meddles(&name);
        self.fault(if matches!(fate, Fate::Up | Fate::Activate) { "node back" } else { "node lost" });
        self.say(format!("{host} of {name}: {fate:?}"));
    }

    pub(super) fn claim(&mut self, number: usize, taken: bool) {
        let (name, swarm) = self.world.swarm(number);
        let spec = crate::domain::ConfigSpec {
            name: "skep-claim-9".to_owned(),
            key: "claim".to_owned(),
            labels: [
                (crate::domain::INSTANCE_LABEL.to_owned(), "skep-b".to_owned()),
                ("dev.skep.claim".to_owned(), "9".to_owned()),
            ]
            .into(),
            data: b"mine".to_vec(),
            templating: None,
        };
        let done = match taken {
            true => swarm.foreign_config(&spec).is_ok(),
            false => swarm.foreign_remove(&ObjectRef::new(ObjectKind::Config, "skep-claim-9")).is_ok(),
        };
        if done {
            self.world.laws.claims(&name, taken);
            self.fault("claim of another Skep");
            self.say(format!("another Skep {} {name}", if taken { "takes" } else { "lets go of" }));
            if !taken {
                // It is known by an event, or by the next listing at the latest.
                self.hung.insert(name, self.world.now());
            }
        }
    }

    fn crash(&mut self, at: Option<At>) {
        self.fault("crash");
        self.say(match at {
            Some(at) => format!("Skep is killed; the next one will die {at:?}"),
            None => "Skep is killed, and begins anew".to_owned(),
        });
        self.world.kill();
        self.world.start(at);
    }

    /// Nothing goes wrong any more.
    pub(super) fn mend(&mut self) {
        self.git(Way::Well);
        self.disk(false);
        for number in 0..2 {
            let (name, swarm) = self.world.swarm(number);
            swarm.mend();
            if self.hung.get(&name) == Some(&Timestamp::MAX) {
                self.hung.insert(name.clone(), self.world.now());
            }
            for node in 1..=3 {
                swarm.node_up(&format!("node-{node}"));
                swarm.node_activate(&format!("node-{node}"));
            }
            if self.world.laws.is_claimed(&name) {
                self.claim(number, false);
            }
        }
        for home in 0..self.world.homes.len() {
            let key = self.world.homes[home].key.clone();
            let Some(swarm) = self.world.swarms.get(&key.environment) else { continue };
            for service in ["web", "worker", "cron", "mail"] {
                let full = format!("{}_{service}", key.name);
                if World::is_strange(swarm, &full) {
                    remove(swarm, &full);
                }
            }
        }
    }
}

fn remove(swarm: &SimSwarm, service: &str) -> bool {
    swarm.foreign_remove(&ObjectRef::new(ObjectKind::Service, service)).is_ok()
}

/// Whether calls of this kind are counted in rounds of listing.
pub(super) fn is_round(kind: CallKind) -> bool {
    matches!(kind, CallKind::List | CallKind::Tasks)
}
