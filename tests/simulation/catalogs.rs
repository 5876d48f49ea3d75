//! Stacks that are declared by the files of a repository: through crashes, a repository that is away, and a person's pin.

use std::time::Duration;

use skep::declare::ApplyOptions;
use skep::domain::*;
use skep::sim::gate::At;

use crate::world::*;

const PLATFORM: &str = "https://git.example/platform.git";

fn manifest(name: &str, image: &str) -> String {
    inline(name, "", &format!("services:\n  web:\n    image: {image}\n"))
}

/// Commits the manifests of these stacks; the folder holds nothing else then.
fn push(world: &World, stacks: &[(&str, &str)]) -> Revision {
    let texts: Vec<(String, String)> =
        stacks.iter().map(|(name, image)| (format!("stacks/{name}.yml"), manifest(name, image))).collect();
    let files: Vec<(&str, &str)> = texts.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    // A branch that begins anew has no file of the commit before.
    world.source.delete_branch(PLATFORM, "main");
    world.source.commit(PLATFORM, "main", &files)
}

async fn follow(world: &World) {
    let catalog = format!(
        "kind: Catalog\nname: platform\nsource: {{ git: {PLATFORM}, ref: main, path: stacks/*.yml, poll: 1m }}\n\
         allow: {{ names: [\"*\"] }}\n"
    );
    world.declare.apply(&catalog, &ApplyOptions::default(), &ask()).await.unwrap();
}

fn stack(world: &World, name: &str) -> Option<Stack> {
    world.ledger.stack(&key(name)).unwrap().map(|found| found.value)
}

/// The image that a stack's service runs, once the stack is content with it.
fn runs(world: &World, name: &str) -> Option<String> {
    let stack = stack(world, name)?;
    let status = world.ledger.status(&key(name)).unwrap()?.value;
    let live = world.swarm.service(&format!("{name}_web"))?;
    (phase(&stack, &status) == StackPhase::Converged).then(|| live.spec.task_template.container_spec.image.clone())
}

fn history(world: &World, name: &str) -> Vec<Trigger> {
    let found = world.ledger.history(&key(name), None, 100).unwrap();
    found.into_iter().map(|found| found.value.origin.trigger).collect()
}

async fn all_run(world: &World, wanted: &[(&str, &str)]) {
    let all = |world: &World| wanted.iter().all(|(name, image)| runs(world, name).as_deref() == Some(*image));
    world.until(300, &format!("all run: {wanted:?}"), all).await;
}

#[tokio::test(start_paused = true)]
async fn a_push_that_adds_changes_and_deletes_survives_a_crash_anywhere() {
    for at in (1..=9).flat_map(|n| [At::BeforeWrite(n), At::AfterWrite(n), At::BeforeCommit(n), At::AfterCommit(n)]) {
        let mut world = World::running().await;
        push(&world, &[("shop", "app:1"), ("old", "app:1")]);
        follow(&world).await;
        all_run(&world, &[("shop", "app:1"), ("old", "app:1")]).await;
        world.kill();
        world.start(Some(at));
        push(&world, &[("shop", "app:2"), ("new", "app:1")]);
        let gate = world.gate();
        let _ = tokio::time::timeout(Duration::from_secs(90), gate.crashed.notified()).await;
        world.sleep(3).await;
        world.restart();
        all_run(&world, &[("shop", "app:2"), ("new", "app:1")]).await;
        world.until(120, "the old one is gone", |world| stack(world, "old").is_none()).await;
        world.sleep(30).await;
        assert!(world.swarm.service("old_web").is_none(), "{at:?}");
        // Each version was recorded once, by the catalog.
        let once = [Trigger::Catalog];
        assert_eq!((history(&world, "shop").len(), history(&world, "new")), (2, once.to_vec()), "{at:?}");
        assert!(history(&world, "shop").iter().all(|trigger| *trigger == Trigger::Catalog), "{at:?}");
        world.laws();
    }
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_is_away_deletes_nothing() {
    let world = World::running().await;
    push(&world, &[("shop", "app:1"), ("other", "app:1")]);
    follow(&world).await;
    all_run(&world, &[("shop", "app:1"), ("other", "app:1")]).await;
    let both = [("shop", "app:1"), ("other", "app:1")];
    for away in ["down", "hangs", "branch"] {
        match away {
            "down" => world.source.set_down(PLATFORM, true),
            "hangs" => world.source.hang(PLATFORM, true),
            _ => world.source.delete_branch(PLATFORM, "main"),
        }
        world.sleep(1200).await;
        all_run(&world, &both).await;
        assert_eq!((history(&world, "shop").len(), history(&world, "other").len()), (1, 1), "{away}");
        match away {
            "down" => world.source.set_down(PLATFORM, false),
            "hangs" => world.source.hang(PLATFORM, false),
            _ => drop(push(&world, &[("shop", "app:1")])),
        }
    }
    // There again, it is evidence.
    world.until(600, "the other one is gone", |world| stack(world, "other").is_none()).await;
    all_run(&world, &[("shop", "app:1")]).await;
    world.always();
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_moves_into_a_file_that_breaks_runs_on() {
    let world = World::running().await;
    push(&world, &[("shop", "app:1"), ("other", "app:1"), ("third", "app:1")]);
    follow(&world).await;
    all_run(&world, &[("shop", "app:1"), ("other", "app:1"), ("third", "app:1")]).await;
    let commit = |both: &str| {
        let third = manifest("third", "app:2");
        world.source.delete_branch(PLATFORM, "main");
        world.source.commit(PLATFORM, "main", &[("stacks/other.yml", both), ("stacks/third.yml", third.as_str())]);
    };
    let both = format!("{}---\n{}", manifest("shop", "app:2"), manifest("other", "app:1"));
    commit(&format!("{both}---\nkind: ["));
    all_run(&world, &[("shop", "app:1"), ("other", "app:1"), ("third", "app:2")]).await;
    world.sleep(1200).await;
    all_run(&world, &[("shop", "app:1"), ("other", "app:1"), ("third", "app:2")]).await;
    assert_eq!(world.ledger.catalog_status("platform").unwrap().unwrap().value.kept, [key("shop")]);
    // Mended, the file declares both.
    commit(&both);
    all_run(&world, &[("shop", "app:2"), ("other", "app:1")]).await;
    assert_eq!(stack(&world, "shop").unwrap().control.catalog.unwrap().file, "stacks/other.yml");
    world.always();
}

#[tokio::test(start_paused = true)]
async fn a_pin_holds_the_commits_of_a_catalog_back() {
    let world = World::running().await;
    push(&world, &[("shop", "app:1")]);
    follow(&world).await;
    all_run(&world, &[("shop", "app:1")]).await;
    push(&world, &[("shop", "app:2")]);
    all_run(&world, &[("shop", "app:2")]).await;
    world.declare.rollback(&key("shop"), None, None, &ask()).await.unwrap();
    all_run(&world, &[("shop", "app:1")]).await;
    let third = push(&world, &[("shop", "app:3")]);
    world.sleep(600).await;
    // It is declared, and shown, and waits.
    let shop = stack(&world, "shop").unwrap();
    assert_eq!(
        (shop.generation, shop.control.pin.is_some(), world.image_of("shop_web")),
        (3, true, "app:1".to_owned())
    );
    assert_eq!(shop.control.catalog.as_ref().map(|owner| owner.catalog.as_str()), Some("platform"), "{third:?}");
    world.declare.unpin(&key("shop"), &ask()).await.unwrap();
    all_run(&world, &[("shop", "app:3")]).await;
    world.laws();
}
