//! What is old goes, what is needed stays.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use skep::domain::*;
use skep::ledger::{Batch, Once};

use crate::world::*;

const APP: &str = "services:\n  web:\n    image: app:1\n";
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A deployment like another one, so many days older, with a document of its own.
async fn older(world: &World, like: &Deployment, number: u32, days: i32) -> Deployment {
    let finished = like.created_at - DAY * days;
    let sealed = Sealed { digest: Digest::of(format!("{} {number}", like.stack).as_bytes()), sealed: "…".into() };
    let deployment = Deployment {
        id: DeploymentId(format!("00{number:08}")),
        created_at: finished,
        finished_at: Some(finished),
        kept: Some(sealed.kept_as()),
        ..like.clone()
    };
    world.ledger.commit(Batch::new().put_deployment(&deployment).put_kept(&sealed)).await.unwrap();
    deployment
}

fn ids(world: &World, key: &StackKey) -> BTreeSet<String> {
    world.ledger.history_ids(key, None, 1000).unwrap().into_iter().map(|id| id.0).collect()
}

#[tokio::test(start_paused = true)]
async fn old_deployments_go_with_what_was_kept_for_them() {
    let world = World::running().await;
    let v1 = world.apply(&inline("shop", "", APP)).await;
    world.ends_as(60, &v1, DeploymentPhase::Converged).await;
    let like = world.deployment(&v1);
    let mut all = Vec::new();
    for number in 0..160 {
        all.push(older(&world, &like, number, 40).await);
    }
    // One of the newest brings back what a very old one kept; another is the answer to a very old one's failure.
    let mut back = all[150].clone();
    back.version.source = VersionSource::Kept(all[3].id.clone());
    back.rollback_of = Some(all[5].id.clone());
    // One that has not ended, and one that is not so old.
    let mut open = all[7].clone();
    (open.phase, open.finished_at) = (DeploymentPhase::Pending, None);
    let mut young = all[9].clone();
    young.finished_at = Some(like.created_at - DAY * 3);
    for deployment in [&back, &open, &young] {
        world.ledger.commit(Batch::new().put_deployment(deployment)).await.unwrap();
    }
    // A stack that is gone.
    let gone = StackKey { name: StackName::parse("gone").unwrap(), ..key("shop") };
    let of_gone = Deployment { stack: gone.clone(), ..like.clone() };
    let (dead, late) = (older(&world, &of_gone, 500, 40).await, older(&world, &of_gone, 501, 10).await);
    let once = |days: i32| Once {
        request: "x".into(),
        deployments: Vec::new(),
        actor: Actor::new("admin"),
        at: like.created_at - DAY * days,
    };
    let marks =
        [("request/a/old", 40), ("request/a/young", 4), ("delivery/hook/old", 40), ("delivery/hook/older", 400)];
    for (name, days) in marks {
        world.ledger.commit(Batch::new().put_once(name, &once(days))).await.unwrap();
    }

    world.sleep(900).await;
    let left = ids(&world, &key("shop"));
    let expected: BTreeSet<String> = all[61..]
        .iter()
        .map(|it| it.id.0.clone())
        .chain([v1.0.clone()])
        .chain([&all[3], &all[5], &all[7], &all[9]].iter().map(|it| it.id.0.clone()))
        .collect();
    assert_eq!(left, expected);
    for deployment in &all {
        let stays = expected.contains(&deployment.id.0);
        assert_eq!(world.ledger.deployment(&deployment.id).unwrap().is_some(), stays, "{}", deployment.id);
        assert_eq!(world.ledger.kept(deployment.kept.as_ref().unwrap()).is_ok(), stays, "{}", deployment.id);
    }
    assert_eq!(ids(&world, &gone), [late.id.0.clone()].into());
    assert!(world.ledger.kept(dead.kept.as_ref().unwrap()).is_err());
    for (name, stays) in [marks[0].0, marks[1].0, marks[2].0, marks[3].0].into_iter().zip([false, true, true, false]) {
        assert_eq!(world.ledger.once(name).unwrap().is_some(), stays, "{name}");
    }
    assert_eq!(world.ledger.verify(None).unwrap(), Vec::<String>::new());
    // What runs goes on, and can still be gone back to.
    world.swarm.image("bad:1", skep::swarm::sim::Behaviour::Exit { after: std::time::Duration::from_secs(1), code: 1 });
    let bad = world.image("web", "bad:1").await;
    world.ends_as(120, &bad, DeploymentPhase::RolledBack).await;
}

#[tokio::test(start_paused = true)]
async fn a_round_is_measured_in_memory_and_written_nowhere() {
    let world = World::running().await;
    let name = EnvironmentName::default();
    let round = || world.inquiries().round(&name);
    world.until(30, "the first round is over", |world| world.inquiries().round(&name).is_some()).await;
    assert_eq!(round().map(|round| round.stacks), Some(0));
    world.apply(&inline("shop", "", &two("app:1", "job:1"))).await;
    world.apply(&inline("blog", "", &two("app:1", "job:1"))).await;
    world.until_phase(60, StackPhase::Converged).await;
    world.sleep(60).await;
    let (first, revision) = (round().unwrap().at, world.ledger.revision());
    world
        .until(400, "everything is listed again", |world| {
            world.inquiries().round(&name).is_some_and(|round| round.at > first)
        })
        .await;
    let second = round().unwrap();
    assert_eq!(second.stacks, 2);
    assert!(second.listing <= second.took && second.took < std::time::Duration::from_secs(5), "{second:?}");
    assert_eq!(world.ledger.revision(), revision);
    assert_eq!(world.inquiries().round(&EnvironmentName::parse("other").unwrap()), None);
}
