//! Random schedules: pushes, a person's words, faults, foreign hands and crashes in any order. Then the faults stop, and
//! everything must settle on what was asked last.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use skep::declare::{Ask, DeployRequest};
use skep::domain::*;
use skep::ports::SwarmError;
use skep::swarm::sim::{Behaviour, CallKind, SimNode, SimOptions};

use crate::gate::At;
use crate::world::*;

/// So many seeds by default; `SKEP_SEEDS=1000` runs more, `SKEP_SEED=17` one.
const SEEDS: u64 = 20;
const STEPS: usize = 40;

const WRITES: [CallKind; 6] = [
    CallKind::CreateNetwork,
    CallKind::CreateConfig,
    CallKind::CreateSecret,
    CallKind::CreateService,
    CallKind::UpdateService,
    CallKind::Remove,
];

fn compose(web: &str, worker: Option<&str>, setting: u64) -> String {
    let worker = worker.map(|image| format!("  worker:\n    image: {image}\n")).unwrap_or_default();
    format!(
        "services:\n  web:\n    image: {web}\n    configs: [settings]\n    deploy: {{ replicas: 2 }}\n{worker}\
         configs: {{ settings: {{ content: \"setting {setting}\" }} }}\n"
    )
}

struct Storm {
    world: World,
    rng: fastrand::Rng,
    log: Vec<String>,
}

impl Storm {
    async fn new(seed: u64) -> Self {
        let nodes = [SimNode::manager("node-1"), SimNode::worker("node-2")];
        let mut world = World::with(SimOptions::default().seed(seed).nodes(nodes)).await;
        world.swarm.image("missing:1", Behaviour::Missing);
        world.swarm.image("exit:1", Behaviour::Exit { after: Duration::from_secs(1), code: 1 });
        world.swarm.image("sick:1", Behaviour::Unhealthy { after: Duration::from_secs(3) });
        world.swarm.image("slow:1", Behaviour::Slow { ready_after: Duration::from_secs(20) });
        world.start(None);
        world.push(&compose("app:0", Some("job:0"), 0));
        world.apply(&from_git("main", "progressDeadline: 2m, totalDeadline: 20m")).await;
        Self { world, rng: fastrand::Rng::with_seed(seed), log: Vec::new() }
    }

    fn any<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.rng.usize(..of.len())]
    }

    fn push(&mut self) -> String {
        let web = self.any(&["app:1", "app:2", "app:3", "slow:1", "missing:1", "exit:1", "sick:1"]);
        let worker = self.any(&["job:1", "job:2", "exit:1", ""]);
        let setting = self.rng.u64(..3);
        self.world.push(&compose(web, Some(worker).filter(|image| !image.is_empty()), setting));
        format!("push {web} {worker} {setting}")
    }

    async fn words(&mut self) -> String {
        let (declare, stack) = (self.world.declare.clone(), key("shop"));
        let why = Ask { reason: Some("storm".into()), ..ask() };
        // What makes no sense just now is refused, and that is all.
        match self.rng.u32(..8) {
            0 => format!("rollback {}", declare.rollback(&stack, None, None, &why).await.is_ok()),
            1 => format!("unpin {}", declare.unpin(&stack, &why).await.is_ok()),
            2 => format!("release {}", declare.release_hold(&stack, &why).await.is_ok()),
            3 => format!("suspend {}", declare.suspend(&stack, None, &why).await.is_ok()),
            4 => format!("resume {}", declare.resume(&stack, &why).await.is_ok()),
            5 => format!("cancel {}", declare.cancel(&stack, None, &why).await.is_ok()),
            6 => format!("reconcile {}", declare.reconcile(&stack, &why).await.is_ok()),
            _ => {
                let image = self.any(&["job:3", "job:4", "sick:1"]).to_owned();
                let images = BTreeMap::from([("worker".to_owned(), image.clone())]);
                let request = DeployRequest { images, ..DeployRequest::default() };
                format!("deploy {image} {}", declare.deploy(&stack, &request, &why).await.is_ok())
            }
        }
    }

    fn fault(&mut self) -> String {
        let swarm = self.world.swarm.clone();
        let on = self.rng.bool();
        let kind = WRITES[self.rng.usize(..WRITES.len())];
        match self.rng.u32(..10) {
            0 => swarm.set_down(on),
            1 => swarm.no_quorum(on),
            2 => swarm.break_events(),
            3 => swarm.drop_events(self.rng.u64(1..4)),
            4 => swarm.lose_answer_next(kind),
            5 => swarm.fail_next(kind, SwarmError::Conflict { object: "service `x`".into() }),
            6 => swarm.fail_next(kind, SwarmError::Engine { endpoint: "sim".into(), reason: "busy".into() }),
            7 => self.world.source.set_down(URL, on),
            8 => self.world.source.hang(URL, on),
            _ if on => swarm.node_drain("node-2"),
            _ => swarm.node_activate("node-2"),
        }
        format!("fault {kind:?} {on}")
    }

    fn foreign(&mut self) -> String {
        let swarm = &self.world.swarm;
        let service = if self.rng.bool() { "shop_web" } else { "shop_worker" };
        let done = match self.rng.u32(..3) {
            0 => swarm.foreign_remove(&ObjectRef::new(ObjectKind::Service, service)).is_ok(),
            1 => swarm.foreign_update(service, |spec| drop(spec.labels.insert("x".into(), "y".into()))).is_ok(),
            _ => {
                swarm.foreign_update(service, |spec| spec.task_template.container_spec.image = "evil:1".into()).is_ok()
            }
        };
        format!("foreign {service} {done}")
    }

    fn crash(&mut self) -> String {
        let n = self.rng.u64(1..6);
        let at = match self.rng.u32(..5) {
            0 => Some(At::BeforeWrite(n)),
            1 => Some(At::AfterWrite(n)),
            2 => Some(At::BeforeCommit(n)),
            3 => Some(At::AfterCommit(n)),
            _ => None,
        };
        self.world.kill();
        self.world.start(at);
        format!("crash, and the next one at {at:?}")
    }

    async fn step(&mut self) {
        let did = match self.rng.u32(..12) {
            0..=3 => self.push(),
            4..=5 => self.words().await,
            6..=8 => self.fault(),
            9..=10 => self.foreign(),
            _ => self.crash(),
        };
        let wait = [5, 300, 4_000, 30_000, 90_000][self.rng.usize(..5)];
        let wait = self.rng.u64(..wait);
        self.log.push(format!("{} {did}; then {wait} ms", self.world.swarm.clock().now()));
        if std::env::var("SKEP_SEED").is_ok() {
            use std::io::Write as _;
            let mut out = std::io::stderr();
            writeln!(out, "{}", self.log[self.log.len() - 1]).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(wait)).await;
        self.world.always();
        if self.world.gate().is_shut() {
            self.world.restart();
        }
    }

    /// The faults stop, and one more good version is pushed.
    async fn settle(&mut self) {
        let (declare, stack) = (self.world.declare.clone(), key("shop"));
        self.world.swarm.set_down(false);
        self.world.swarm.no_quorum(false);
        self.world.swarm.drop_events(0);
        self.world.swarm.node_activate("node-2");
        self.world.source.set_down(URL, false);
        self.world.source.hang(URL, false);
        self.world.restart();
        let _ = declare.resume(&stack, &ask()).await;
        let _ = declare.unpin(&stack, &ask()).await;
        let images = BTreeMap::from([("worker".to_owned(), "job:9".to_owned())]);
        let request = DeployRequest { images, ..DeployRequest::default() };
        declare.deploy(&stack, &request, &ask()).await.unwrap();
        let revision = self.world.push(&compose("app:9", Some("job:9"), 9));
        self.world
            .until(3000, "the last push runs", |world| {
                world.phase() == StackPhase::Converged
                    && world.status().live.and_then(|live| live.revision) == Some(revision.clone())
            })
            .await;
        assert_eq!(self.world.image_of("shop_web"), "app:9");
        assert_eq!(self.world.image_of("shop_worker"), "job:9");
        self.world.sleep(900).await;
        self.world.laws();
        assert_eq!(self.world.swarm.names(ObjectKind::Config).len(), 2, "the claim and the one in use");
        assert_eq!(self.world.status().observed_generation, self.world.stack().unwrap().generation);
        let revision = self.world.ledger.revision();
        self.world.sleep(700).await;
        assert_eq!(
            self.world.ledger.revision(),
            revision,
            "settled, and yet something was written\n{}",
            self.world.report()
        );
    }
}

async fn storm(seed: u64) {
    let mut storm = Storm::new(seed).await;
    let steps = storm.rng.usize(5..STEPS);
    for _ in 0..steps {
        storm.step().await;
    }
    storm.log.push("settle".into());
    storm.settle().await;
}

fn run(seed: u64) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    catch_unwind(AssertUnwindSafe(|| runtime.block_on(storm(seed)))).is_ok()
}

#[test]
fn after_any_storm_everything_settles_on_what_was_asked_last() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds: Vec<u64> = match number("SKEP_SEED") {
        Some(seed) => {
            let _ =
                tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).try_init();
            vec![seed]
        }
        None => (0..number("SKEP_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let begun = std::time::Instant::now();
    let failed: Vec<u64> = seeds.into_iter().filter(|seed| !run(*seed)).collect();
    println!("{:?}", begun.elapsed());
    let Some(first) = failed.first() else { return };
    panic!(
        "seeds {failed:?} failed; replay with: SKEP_SEED={first} cargo test --features sim --test simulation storms -- --nocapture"
    );
}
