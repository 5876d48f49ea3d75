//! Logs: what Skep did and what services wrote, in one stream, masked and bounded.

use std::time::Duration;

use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use skep::domain::*;
use skep::ports::{BoxStream, InquiryError, LogLine, LogOf, LogQuery, LogSource};
use skep::swarm::sim::{Behaviour, CallKind};

use crate::world::*;

const SECRET: &str = "hunter2hunter2";

fn follow() -> LogQuery {
    LogQuery { follow: true, tail: 100, since: None, service: None }
}

fn read() -> LogQuery {
    LogQuery { follow: false, ..follow() }
}

fn deployment(id: &DeploymentId) -> LogOf {
    LogOf::Deployment(id.clone())
}

/// A shop that knows a secret, and whose containers tell it.
fn manifest(image: &str, secret: &str) -> String {
    let compose = format!("services:\n  web:\n    image: {image}\n    environment: {{ KEY: \"${{KEY}}\" }}\n");
    inline("shop", "", &compose) + &format!("variables: {{ KEY: {{ value: {secret}, secret: true }} }}\n")
}

impl World {
    async fn log(&self, of: &LogOf, query: &LogQuery) -> BoxStream<'static, LogLine> {
        self.inquiries().logs(of, query).await.unwrap_or_else(|error| panic!("{error}\n{}", self.report()))
    }

    /// The whole log, as raw text without times.
    async fn text(&self, of: &LogOf, query: &LogQuery) -> Vec<String> {
        all(self.log(of, query).await).await
    }
}

fn raw(line: &LogLine) -> String {
    format!("{}: {}", line.source, line.text)
}

/// Reads to the end, which has to come.
async fn all(log: BoxStream<'static, LogLine>) -> Vec<String> {
    let lines = tokio::time::timeout(Duration::from_secs(600), log.collect::<Vec<_>>()).await.expect("it ends");
    lines.iter().map(raw).collect()
}

/// Reads until a line holds this.
async fn until(log: &mut BoxStream<'static, LogLine>, what: &str) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let line = tokio::time::timeout(Duration::from_secs(600), log.next()).await;
        let line = line.unwrap_or_else(|_| panic!("no `{what}` in {seen:#?}"));
        seen.push(raw(&line.unwrap_or_else(|| panic!("it ended without `{what}`: {seen:#?}"))));
        if seen.last().is_some_and(|line| line.contains(what)) {
            return seen;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_followed_from_its_first_step_to_its_end() {
    let world = World::running().await;
    world.swarm.lines("app:1", &["starting", &format!("the key is {SECRET}!")]);
    let id = world.apply(&manifest("app:1", SECRET)).await;
    let lines = world.text(&deployment(&id), &follow()).await;
    let at = |what: &str| {
        lines.iter().position(|line| line.contains(what)).unwrap_or_else(|| panic!("no `{what}` in {lines:#?}"))
    };
    assert!(at("skep: DeploymentCreated") < at("skep: StepApplied: service `shop_web`"), "{lines:#?}");
    assert!(at("StepApplied: service `shop_web`") < at("web.1@node-1: starting"), "{lines:#?}");
    assert_eq!(at("web.1@node-1: the key is ***!"), at("web.1@node-1: starting") + 1);
    assert!(at("the key is") < at("skep: Converged"), "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains(SECRET)), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.contains("starting")).count(), 1, "{lines:#?}");
    assert_eq!(world.deployment(&id).phase, DeploymentPhase::Converged);
    // Read afterwards, it is the same; and what is followed then has ended at once.
    let again = world.text(&deployment(&id), &read()).await;
    assert_eq!(again.iter().collect::<std::collections::BTreeSet<_>>(), lines.iter().collect());
    assert_eq!(world.text(&deployment(&id), &follow()).await, again);
}

#[tokio::test(start_paused = true)]
async fn a_stack_is_followed_over_its_deployments() {
    let world = World::running().await;
    world.swarm.lines("app:1", &["first"]);
    world.swarm.image("app:2", Behaviour::Exit { after: Duration::from_millis(500), code: 3 });
    world.swarm.lines("app:2", &["second", "another2another2"]);
    let v1 = world.apply(&manifest("app:1", SECRET)).await;
    world.ended(60, &v1).await;
    let mut log = world.log(&LogOf::Stack(key("shop")), &follow()).await;
    until(&mut log, "skep: Converged").await;
    let v2 = world.apply(&manifest("app:2", "another2another2")).await;
    let failing = until(&mut log, "skep: RolledBack").await;
    assert!(failing.iter().any(|line| line == "web.1@node-1: second"), "{failing:#?}");
    assert!(failing.iter().any(|line| line == "web.1@node-1: ***"), "{failing:#?}");
    assert!(failing.iter().any(|line| line == "web.1@node-1: first"), "the old version is back: {failing:#?}");
    // Who comes now is told the whole story of the version that failed.
    let story = world.text(&LogOf::Stack(key("shop")), &read()).await;
    assert!(story.iter().any(|line| line == "web.1@node-1: second"), "{story:#?}");
    // It goes on until the stack is gone.
    world.declare.delete(&key("shop"), false, &ask()).await.unwrap();
    world.until(120, "the stack is gone", |world| world.stack().is_none()).await;
    all(log).await;

    // The story of the version that failed holds its rollback, and ends with it.
    let lines = world.text(&deployment(&v2), &read()).await;
    assert!(lines.iter().any(|line| line.starts_with("skep: RolledBack")), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn an_old_deployment_tells_nothing_of_the_next() {
    let world = World::running().await;
    world.swarm.lines("app:1", &["first"]);
    world.swarm.lines("app:2", &["second"]);
    let v1 = world.apply(&manifest("app:1", SECRET)).await;
    world.ended(60, &v1).await;
    let v2 = world.apply(&manifest("app:2", SECRET)).await;
    world.ended(60, &v2).await;
    let (old, new) = (world.text(&deployment(&v1), &read()).await, world.text(&deployment(&v2), &read()).await);
    assert!(old.iter().any(|line| line.ends_with(": first")), "{old:#?}");
    assert!(!old.iter().any(|line| line.ends_with(": second")), "{old:#?}");
    assert!(new.iter().any(|line| line.ends_with(": second")), "{new:#?}");
    assert!(!new.iter().any(|line| line.ends_with(": first")), "{new:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_wanted_of_a_log_is_all_that_comes() {
    let world = World::running().await;
    world.swarm.lines("app:1", &["one", "two", "three"]);
    world.swarm.lines("job:1", &["job"]);
    let id = world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.ended(60, &id).await;
    let query = LogQuery { service: Some("web".into()), tail: 2, ..read() };
    let lines = world.log(&deployment(&id), &query).await.collect::<Vec<_>>().await;
    assert_eq!(lines.len(), 2, "{lines:#?}");
    let LogSource::Service { service, task: Some(_), slot: Some(1 | 2), node: Some(node) } = &lines[0].source else {
        panic!("{lines:#?}")
    };
    assert_eq!((service.as_str(), node.starts_with("node-")), ("web", true));
    let none = LogQuery { tail: 0, ..query.clone() };
    assert_eq!(world.text(&deployment(&id), &none).await, Vec::<String>::new());
    let now: Timestamp = world.deployment(&id).finished_at.unwrap() + SignedDuration::from_secs(1);
    assert_eq!(world.text(&deployment(&id), &LogQuery { since: Some(now), ..read() }).await, Vec::<String>::new());

    let wrong = LogQuery { service: Some("wbe".into()), ..read() };
    let refused = world.inquiries().logs(&deployment(&id), &wrong).await.err();
    assert_eq!(refused, Some(InquiryError::NotFound("service `wbe` of stack `default/shop`".into())));
    let nothing = LogOf::Deployment(DeploymentId("no".into()));
    assert!(matches!(world.inquiries().logs(&nothing, &read()).await.err(), Some(InquiryError::NotFound(_))));
    let nothing = LogOf::Stack(key("no"));
    assert!(matches!(world.inquiries().logs(&nothing, &follow()).await.err(), Some(InquiryError::NotFound(_))));
}

#[tokio::test(start_paused = true)]
async fn followers_are_bounded_and_leave_nothing_behind() {
    let world = World::running().await;
    let id = world.apply(&manifest("app:1", SECRET)).await;
    world.ended(60, &id).await;
    let of = LogOf::Stack(key("shop"));
    let mut logs = Vec::new();
    let busy = loop {
        match world.inquiries().logs(&of, &follow()).await {
            Ok(log) => logs.push(log),
            Err(error) => break error,
        }
    };
    assert_eq!((busy, logs.len()), (InquiryError::Busy, 64));
    // Readers that read to the end are not turned away for that.
    assert!(!world.text(&of, &read()).await.is_empty());
    drop(logs);
    let log = world.log(&of, &follow()).await;
    // Nobody reads it, and nobody is held up.
    let v2 = world.apply(&manifest("app:2", SECRET)).await;
    world.ends_as(60, &v2, DeploymentPhase::Converged).await;
    drop(log);
    world.sleep(20).await;
    world.swarm.forget_calls();
    world.sleep(60).await;
    assert_eq!(world.swarm.calls().get(&CallKind::ServiceLogs), None);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_goes_and_comes_is_followed_without_a_double() {
    let world = World::running().await;
    world.swarm.lines("app:1", &["first"]);
    world.swarm.lines("app:2", &["second"]);
    let v1 = world.apply(&manifest("app:1", SECRET)).await;
    world.ended(60, &v1).await;
    let mut log = world.log(&LogOf::Stack(key("shop")), &follow()).await;
    until(&mut log, "skep: Converged").await;
    world.sleep(5).await;
    world.swarm.set_down(true);
    until(&mut log, "what `web` writes cannot be read for now").await;
    world.sleep(60).await;
    world.swarm.set_down(false);
    world.sleep(120).await;
    world.apply(&manifest("app:2", SECRET)).await;
    let seen = until(&mut log, "skep: Converged").await;
    assert_eq!(seen.iter().filter(|line| line.ends_with(": second")).count(), 1, "{seen:#?}");
    assert!(!seen.iter().any(|line| line.ends_with(": first")), "{seen:#?}");
}

#[tokio::test(start_paused = true)]
async fn without_its_secrets_nothing_of_a_service_is_shown() {
    let mut world = World::running().await;
    world.swarm.lines("app:1", &[SECRET]);
    let id = world.apply(&manifest("app:1", SECRET)).await;
    world.ended(60, &id).await;
    world.lose_kept(&id).await;
    world.restart();
    world.sleep(30).await;
    for query in [read(), follow()] {
        let lines = world.text(&deployment(&id), &query).await;
        assert!(lines.iter().any(|line| line.contains("what the services wrote is not shown")), "{lines:#?}");
        assert!(lines.iter().all(|line| !line.contains(SECRET)), "{lines:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_version_wrote_is_kept_for_the_newest_of_them() {
    let world = World::running().await;
    world.swarm.lines("app:1", &["first"]);
    let v1 = world.apply(&manifest("app:1", SECRET)).await;
    world.ended(60, &v1).await;
    let mut failed = Vec::new();
    for version in 2..14 {
        let image = format!("app:{version}");
        let said: Vec<String> = (0..40).map(|n| format!("{version} says {n} and {SECRET}")).collect();
        world.swarm.image(&image, Behaviour::Exit { after: Duration::from_millis(500), code: 3 });
        world.swarm.lines(&image, &said.iter().map(String::as_str).collect::<Vec<_>>());
        failed.push(world.apply(&manifest(&image, SECRET)).await);
        world.ends_as(300, failed.last().unwrap(), DeploymentPhase::RolledBack).await;
    }
    // Twenty are kept: these, and of their rollbacks.
    let kept = world.ledger.outputs(&key("shop")).unwrap();
    let (of_failed, others): (Vec<_>, Vec<_>) = kept.into_iter().partition(|id| failed.contains(id));
    assert_eq!((of_failed, others.len()), (failed[2..].to_vec(), 10));
    // The engine forgets all of it.
    world.declare.delete(&key("shop"), false, &ask()).await.unwrap();
    world.until(120, "the stack is gone", |world| world.stack().is_none()).await;
    let last = failed.last().unwrap();
    let lines = world.text(&deployment(last), &LogQuery { tail: 1000, ..read() }).await;
    let said = |n: u32| format!("web.1@node-1: 13 says {n} and ***");
    for n in [0, 39] {
        assert!(lines.contains(&said(n)), "{n}: {lines:#?}");
    }
    assert!(lines.iter().all(|line| !line.contains(SECRET) && !line.contains("first")), "{lines:#?}");
    let few = world.text(&deployment(last), &LogQuery { tail: 2, service: Some("web".into()), ..read() }).await;
    assert_eq!(few, [said(38), said(39)]);
    // Of an older one only the evidence is left.
    let oldest = world.text(&deployment(&failed[0]), &LogQuery { tail: 1000, ..read() }).await;
    assert!(oldest.contains(&"web.1@node-1: 2 says 39 and ***".to_owned()), "{oldest:#?}");
    assert!(!oldest.contains(&"web.1@node-1: 2 says 0 and ***".to_owned()), "{oldest:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_version_wrote_until_it_converged_is_kept() {
    let world = World::running().await;
    world.swarm.lines("app:1", &["first", SECRET]);
    let v1 = world.apply(&manifest("app:1", SECRET)).await;
    world.ended(60, &v1).await;
    assert_eq!(world.ledger.outputs(&key("shop")).unwrap(), std::slice::from_ref(&v1));
    // What makes no tasks has written nothing.
    let labelled =
        manifest("app:1", SECRET).replace("    environment:", "    deploy: { labels: { a: b } }\n    environment:");
    let same = world.apply(&labelled).await;
    world.ended(60, &same).await;
    assert_eq!(world.ledger.outputs(&key("shop")).unwrap(), std::slice::from_ref(&v1));
    world.declare.delete(&key("shop"), false, &ask()).await.unwrap();
    world.until(120, "the stack is gone", |world| world.stack().is_none()).await;
    let lines = world.text(&deployment(&v1), &read()).await;
    assert!(lines.contains(&"web.1@node-1: first".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"web.1@node-1: ***".to_owned()), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_version_wrote_that_was_left_half_way_is_kept() {
    for left in ["superseded", "cancelled", "deleted"] {
        let world = World::running().await;
        let v1 = world.apply(&manifest("app:1", SECRET)).await;
        world.ended(60, &v1).await;
        world.swarm.image("app:2", Behaviour::Slow { ready_after: Duration::from_secs(60) });
        world.swarm.lines("app:2", &["second", SECRET]);
        let v2 = world.apply(&manifest("app:2", SECRET)).await;
        world.until(60, "it is watched", |world| world.deployment(&v2).phase == DeploymentPhase::Verifying).await;
        world.sleep(10).await;
        let phase = match left {
            "superseded" => {
                world.apply(&manifest("app:3", SECRET)).await;
                DeploymentPhase::Superseded
            }
            "cancelled" => {
                world.declare.cancel(&key("shop"), None, &ask()).await.unwrap();
                DeploymentPhase::Cancelled
            }
            _ => {
                world.declare.delete(&key("shop"), false, &ask()).await.unwrap();
                DeploymentPhase::Cancelled
            }
        };
        world.ends_as(10, &v2, phase).await;
        assert!(world.ledger.outputs(&key("shop")).unwrap().contains(&v2), "{left}: {}", world.report());
        world.sleep(120).await;
        if left != "deleted" {
            world.declare.delete(&key("shop"), false, &ask()).await.unwrap();
        }
        world.until(120, "the stack is gone", |world| world.stack().is_none()).await;
        let lines = world.text(&deployment(&v2), &read()).await;
        assert!(lines.contains(&"web.1@node-1: second".to_owned()), "{lines:#?}");
        assert!(lines.contains(&"web.1@node-1: ***".to_owned()), "{lines:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_version_before_still_writes_is_not_kept_as_that_of_one_left_half_way() {
    let world = World::running().await;
    let compose = |db: &str, web: &str| {
        let waits = "depends_on: { db: { condition: service_healthy } }";
        inline("shop", "", &format!("services:\n  db: {{ image: {db} }}\n  web: {{ image: {web}, {waits} }}\n"))
    };
    world.swarm.image("web:1", Behaviour::Exit { after: Duration::from_secs(60), code: 1 });
    world.swarm.lines("web:1", &["of the version before"]);
    world.swarm.image("db:2", Behaviour::Slow { ready_after: Duration::from_secs(200) });
    world.swarm.lines("db:2", &["of this version"]);
    let v1 = world.apply(&compose("db:1", "web:1")).await;
    world.ended(50, &v1).await;
    let before = world.swarm.tasks_of("shop_web").len();
    let v2 = world.apply(&compose("db:2", "web:2")).await;
    world.until(120, "it came up again", |world| world.swarm.tasks_of("shop_web").len() > before).await;
    world.sleep(5).await;
    world.declare.delete(&key("shop"), false, &ask()).await.unwrap();
    world.ends_as(10, &v2, DeploymentPhase::Cancelled).await;
    world.until(120, "the stack is gone", |world| world.stack().is_none()).await;
    let lines = world.text(&deployment(&v2), &read()).await;
    assert!(lines.iter().any(|line| line.contains("of this version")), "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains("of the version before")), "{lines:#?}");
}
