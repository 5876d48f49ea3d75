//! Catalogs: what a commit's files lead to.

use std::collections::BTreeMap;

use super::*;
use crate::domain::{Catalog, CatalogCommit, CatalogStatus, EventType, Revision, StackKey, Trigger};

const PLATFORM: &str = "\
kind: Catalog
name: platform
source: { git: https://example.org/platform.git, ref: main, path: stacks/*.yml }
pruneLimit: 1
allow: { environments: [default], names: [\"web-*\", shop] }
";

fn stack(name: &str, image: &str) -> String {
    format!("kind: Stack\nname: {name}\ninline: |\n  services: {{ web: {{ image: \"demo:{image}\" }} }}\n")
}

fn commit(n: u8) -> CatalogCommit {
    let revision = Revision(format!("{n:040x}"));
    CatalogCommit { revision, author: "Ada".into(), title: format!("commit {n}") }
}

fn key(name: &str) -> StackKey {
    StackKey { environment: EnvironmentName::default(), name: StackName::parse(name).unwrap() }
}

struct Platform(World);

impl Platform {
    async fn new() -> Self {
        let world = World::new().await;
        world.apply(PLATFORM).await.unwrap();
        Self(world)
    }

    fn catalog(&self) -> Catalog {
        self.0.ledger.catalog("platform").unwrap().unwrap().value
    }

    async fn at(&self, n: u8, files: &[(&str, &str)]) -> Result<CatalogStatus, DeclareError> {
        let files: CatalogFiles =
            files.iter().map(|(file, text)| ((*file).to_owned(), Ok((*text).to_owned()))).collect();
        self.0.declare.apply_catalog(&self.catalog(), &commit(n), &files).await
    }

    fn stacks(&self) -> BTreeMap<String, Stack> {
        let all = self.0.ledger.stacks(None).unwrap().into_iter();
        all.map(|found| (found.value.key.name.to_string(), found.value)).collect()
    }

    fn stack(&self, name: &str) -> Stack {
        self.0.ledger.stack(&key(name)).unwrap().unwrap().value
    }

    /// The controller has removed what is to be deleted.
    async fn sweep(&self) {
        for stack in self.stacks().values().filter(|stack| stack.control.deletion.is_some()) {
            self.0.ledger.commit(Batch::new().delete_stack(&stack.key)).await.unwrap();
        }
    }

    fn last_event(&self) -> (EventType, String) {
        let event = self.0.ledger.events(None, true, 1).unwrap().remove(0).1;
        (event.kind, event.message)
    }
}

fn code(error: DeclareError) -> (Code, String) {
    let refusal = &error.refusals()[0];
    (refusal.code, refusal.to_string())
}

#[tokio::test]
async fn a_commit_adds_changes_renames_and_deletes() {
    let platform = Platform::new().await;
    let (shop, a, changed) = (stack("shop", "1"), stack("web-a", "1"), stack("web-a", "2"));
    let status = platform.at(1, &[("stacks/shop.yml", &shop), ("stacks/a.yml", &a)]).await.unwrap();
    assert_eq!((status.files, &status.commit, status.observed_generation), (2, &Some(commit(1)), 1));
    assert!(status.is_settled(&platform.catalog(), &commit(1).revision));
    let made = platform.stack("web-a");
    assert_eq!(made.control.catalog.as_ref().unwrap().file, "stacks/a.yml");
    let deployment = platform.0.ledger.deployment(&made.deployment).unwrap().unwrap().value;
    assert_eq!(deployment.origin.trigger, Trigger::Catalog);
    assert_eq!(deployment.origin.actor.name, "catalog/platform@000000000000");
    let original = &deployment.origin.original_request;
    assert_eq!((&original["title"], &original["file"]), (&"commit 1".into(), &"stacks/a.yml".into()));

    // The same once more writes nothing.
    let revision = platform.0.ledger.revision();
    platform.at(1, &[("stacks/shop.yml", &shop), ("stacks/a.yml", &a)]).await.unwrap();
    assert_eq!(platform.0.ledger.revision(), revision);

    platform.at(2, &[("stacks/shop.yml", &shop), ("stacks/a.yml", &changed)]).await.unwrap();
    assert_eq!((platform.stack("web-a").generation, platform.stack("shop").generation), (2, 1));
    let (kind, message) = platform.last_event();
    assert_eq!(kind, EventType::CatalogApplied);
    assert!(message.contains("(commit 2): 1 of 2 stacks changed, 0 to be deleted"), "{message}");

    // A file that moves takes its stack along.
    platform.at(3, &[("stacks/shop.yml", &shop), ("stacks/moved.yml", &changed)]).await.unwrap();
    assert_eq!(platform.stack("web-a").control.catalog.unwrap().file, "stacks/moved.yml");
    assert_eq!(platform.stack("web-a").generation, 2);

    // A stack that is renamed is another one.
    let renamed = stack("web-b", "2");
    platform.at(4, &[("stacks/shop.yml", &shop), ("stacks/moved.yml", &renamed)]).await.unwrap();
    assert!(platform.stack("web-a").control.deletion.is_some());
    assert_eq!((platform.stack("web-b").generation, platform.stack("shop").control.deletion), (1, None));
    platform.sweep().await;

    platform.at(5, &[("stacks/moved.yml", &renamed)]).await.unwrap();
    let gone = platform.stack("shop").control.deletion.unwrap();
    assert_eq!((gone.actor.name.as_str(), gone.keep_running), ("catalog/platform@000000000000", false));
}

#[tokio::test]
async fn a_broken_file_holds_its_own_stacks_and_no_others() {
    let platform = Platform::new().await;
    let (shop, a, b) = (stack("shop", "1"), stack("web-a", "1"), stack("web-b", "1"));
    let files = [("stacks/a.yml", a.as_str()), ("stacks/b.yml", &b), ("stacks/shop.yml", &shop)];
    platform.at(1, &files).await.unwrap();
    let changed = stack("web-b", "2");
    for broken in ["kind: Stack\nname: web-a\n", "kind: [", "", "kind: Hook\nname: h\n", &stack("other", "1")] {
        let status = platform.at(2, &[("stacks/a.yml", broken), ("stacks/b.yml", &changed)]).await.unwrap();
        assert!(!status.is_settled(&platform.catalog(), &commit(2).revision));
        assert!(!status.broken.is_empty() && status.broken.iter().all(|it| it.file == "stacks/a.yml"), "{status:?}");
        assert_eq!(platform.stack("web-b").generation, 2, "{broken}");
        assert_eq!((platform.stack("web-a").generation, platform.stack("web-a").control.deletion), (1, None));
        // Its file is gone: it could be what the broken one was to declare as well.
        assert_eq!((platform.stack("shop").control.deletion, &status.kept), (None, &vec![key("shop")]), "{broken}");
    }
    assert_eq!(platform.last_event().0, EventType::CatalogRefused);
    assert!(!platform.stacks().contains_key("other"), "the catalog may not declare it");
    // Nothing is written for as long as it stays so.
    let revision = platform.0.ledger.revision();
    platform.at(2, &[("stacks/a.yml", &stack("other", "1")), ("stacks/b.yml", &changed)]).await.unwrap();
    assert_eq!(platform.0.ledger.revision(), revision);
    // With the last file whole, it is evidence.
    platform.at(3, &[("stacks/a.yml", &a), ("stacks/b.yml", &changed)]).await.unwrap();
    assert!(platform.stack("shop").control.deletion.is_some());
}

#[tokio::test]
async fn nothing_is_deleted_without_evidence_or_beyond_the_limit() {
    let platform = Platform::new().await;
    let (a, b, c) = (stack("web-a", "1"), stack("web-b", "1"), stack("web-c", "1"));
    let all = [("stacks/a.yml", a.as_str()), ("stacks/b.yml", &b), ("stacks/c.yml", &c)];
    platform.at(1, &all).await.unwrap();
    let deleted = |platform: &Platform| platform.stacks().values().filter(|it| it.control.deletion.is_some()).count();
    // A new file that is broken could be where the stack has gone.
    let status = platform.at(2, &[all[0], all[1], ("stacks/new.yml", "kind: [")]).await.unwrap();
    assert_eq!((deleted(&platform), status.kept), (0, vec![key("web-c")]));
    assert!(status.kept_because.unwrap().contains("is broken"));
    // Two at once are more than the limit of one.
    let status = platform.at(3, &[all[0]]).await.unwrap();
    assert_eq!((deleted(&platform), status.kept.len()), (0, 2));
    assert!(status.kept_because.unwrap().contains("pruneLimit"));
    // Until a person raises it.
    platform.0.apply(&PLATFORM.replace("pruneLimit: 1", "pruneLimit: 2")).await.unwrap();
    let status = platform.at(3, &[all[0]]).await.unwrap();
    assert_eq!((deleted(&platform), status.kept.len(), status.observed_generation), (2, 0, 2));
    // Where nothing is to be deleted, the stack stays and belongs to nobody.
    platform.sweep().await;
    platform.0.apply(&PLATFORM.replace("pruneLimit: 1", "prune: false")).await.unwrap();
    platform.at(4, &[("stacks/b.yml", &b)]).await.unwrap();
    assert_eq!((deleted(&platform), platform.stack("web-a").control.catalog), (0, None));
}

#[tokio::test]
async fn a_stack_that_may_have_moved_into_a_broken_file_is_kept() {
    let platform = Platform::new().await;
    let (a, b, shop) = (stack("web-a", "1"), stack("web-b", "1"), stack("shop", "1"));
    let shops = ("stacks/shop.yml", shop.as_str());
    platform.at(1, &[("stacks/a.yml", a.as_str()), ("stacks/b.yml", &b), shops]).await.unwrap();
    // One commit moves it into a file that is another one's already, and that breaks; or is emptied, or cannot be read at all.
    // One that names it and cannot be taken for another reason holds it as well.
    let both = format!("{a}---\n{b}");
    for (n, (broken, named)) in [
        (Ok(format!("{both}---\nkind: [")), false),
        (Ok(format!("{both}---\n{}", stack("other", "1"))), true),
        (Ok(String::new()), false),
        (Err("it is not text in UTF-8".to_owned()), false),
    ]
    .into_iter()
    .enumerate()
    {
        let files = [("stacks/b.yml".to_owned(), broken), ("stacks/shop.yml".to_owned(), Ok(stack("shop", "2")))];
        let commit = commit(2 + u8::try_from(n).unwrap());
        let status = platform.0.declare.apply_catalog(&platform.catalog(), &commit, &files.into()).await.unwrap();
        let deleted = platform.stacks().into_values().filter(|it| it.control.deletion.is_some()).count();
        let kept = if named { Vec::new() } else { vec![key("web-a")] };
        assert_eq!((deleted, &status.broken[0].file, &status.kept), (0, &"stacks/b.yml".to_owned(), &kept), "{n}");
        // It is held, and nothing else is but what the broken file declared.
        assert_eq!(["shop", "web-a", "web-b"].map(|name| platform.stack(name).generation), [2, 1, 1], "{n}");
        let (kind, message) = platform.last_event();
        assert_eq!(kind, EventType::CatalogRefused);
        let told = "1 stacks are kept (default/web-a): nothing is deleted while `stacks/b.yml` is broken";
        assert!(named || message.contains(told), "{message}");
    }
    // Mended, it is the new file's.
    let status = platform.at(8, &[("stacks/b.yml", &both), shops]).await.unwrap();
    assert!(status.kept.is_empty() && status.broken.is_empty(), "{status:?}");
    assert_eq!(platform.stack("web-a").control.catalog.unwrap().file, "stacks/b.yml");
    // Or the mended file does not declare it: then it is gone.
    let status = platform.at(9, &[("stacks/b.yml", &b), shops]).await.unwrap();
    assert!(status.kept.is_empty() && platform.stack("web-a").control.deletion.is_some(), "{status:?}");
}

#[tokio::test]
async fn each_field_has_one_owner() {
    let platform = Platform::new().await;
    let shop =
        "kind: Stack\nname: shop\nsource: { git: https://example.org/shop.git, ref: v1 }\nimages: { web: \"1\" }\n";
    platform.at(1, &[("stacks/shop.yml", shop)]).await.unwrap();
    let declare = &platform.0.declare;
    let request = |wanted: Option<&str>, images: &[(&str, &str)]| DeployRequest {
        wanted: wanted.map(str::to_owned),
        images: images.iter().map(|(service, tag)| ((*service).to_owned(), (*tag).to_owned())).collect(),
        variables: BTreeMap::new(),
    };
    let revision = platform.0.ledger.revision();
    for refused in [
        declare.deploy(&key("shop"), &request(Some("v2"), &[]), &ask()).await.map(drop),
        declare.deploy(&key("shop"), &request(None, &[("web", "2")]), &ask()).await.map(drop),
        declare.delete(&key("shop"), false, &ask()).await.map(drop),
        declare.release(&key("shop"), &ask()).await.map(drop),
        platform.0.apply(&shop.replace("v1", "v2")).await.map(drop),
    ] {
        let (code, message) = code(refused.unwrap_err());
        assert_eq!(code, Code::Conflict);
        assert!(message.contains("declared by catalog `platform`, in `stacks/shop.yml`"), "{message}");
    }
    assert_eq!(platform.0.ledger.revision(), revision);
    // What the manifest does not name is free, and the next commit leaves it.
    declare.deploy(&key("shop"), &request(None, &[("worker", "7")]), &ask()).await.unwrap();
    platform.at(2, &[("stacks/shop.yml", &shop.replace("v1", "v2"))]).await.unwrap();
    let spec = platform.stack("shop").spec;
    let image = |service: &str| spec.images[service].named();
    assert_eq!((spec.source.wanted(), image("worker"), image("web")), ("v2", Some("7"), Some("1")));
    // Another catalog does not get it.
    let other = PLATFORM.replace("platform", "other");
    platform.0.apply(&other).await.unwrap();
    let catalog = platform.0.ledger.catalog("other").unwrap().unwrap().value;
    let files = [("stacks/x.yml".to_owned(), Ok(shop.to_owned()))].into();
    let status = declare.apply_catalog(&catalog, &commit(9), &files).await.unwrap();
    assert!(status.broken[0].message.contains("declared by catalog `platform`"), "{status:?}");
    // Without the catalog it is everybody's.
    declare.delete_catalog("platform", &ask()).await.unwrap();
    assert_eq!(platform.stack("shop").control.catalog, None);
    declare.deploy(&key("shop"), &request(Some("v3"), &[]), &ask()).await.unwrap();
}

#[tokio::test]
async fn two_files_may_not_declare_one_stack_and_circles_break_their_files_alone() {
    let platform = Platform::new().await;
    let a = stack("web-a", "1");
    let status = platform.at(1, &[("stacks/a.yml", &a), ("stacks/b.yml", &a)]).await.unwrap();
    assert_eq!(status.broken[0].file, "stacks/b.yml");
    assert!(status.broken[0].message.contains("declared in `stacks/a.yml` already"));
    let waits = |name: &str, other: &str| format!("{}dependsOn: [{{ stack: {other} }}]\n", stack(name, "1"));
    let (a, b) = (waits("web-a", "web-b"), waits("web-b", "web-a"));
    // All others are taken: a new one, and what is new of one that was there.
    let (c, d) = (stack("web-c", "2"), waits("web-d", "web-c"));
    let files = [("stacks/a.yml", a.as_str()), ("stacks/b.yml", &b), ("stacks/c.yml", &c), ("stacks/d.yml", &d)];
    let status = platform.at(2, &files).await.unwrap();
    let broken: Vec<&str> = status.broken.iter().map(|broken| broken.file.as_str()).collect();
    assert_eq!(broken, ["stacks/a.yml", "stacks/b.yml"]);
    assert!(status.broken.iter().all(|broken| broken.message.contains("would wait for itself")), "{status:?}");
    assert!(platform.stack("web-a").spec.depends_on.is_empty());
    assert_eq!(platform.stacks().keys().map(String::as_str).collect::<Vec<_>>(), ["web-a", "web-c", "web-d"]);
}

#[tokio::test]
async fn a_new_file_takes_no_stack_from_the_file_that_declares_it() {
    let platform = Platform::new().await;
    let shop = stack("shop", "1");
    platform.at(1, &[("stacks/shop.yml", &shop)]).await.unwrap();
    // A copy whose name was left as it was, and which comes first in the order of the files.
    let copy = stack("shop", "2");
    let status = platform.at(2, &[("stacks/aaa.yml", &copy), ("stacks/shop.yml", &shop)]).await.unwrap();
    assert_eq!(status.broken.iter().map(|broken| broken.file.as_str()).collect::<Vec<_>>(), ["stacks/aaa.yml"]);
    assert_eq!((platform.stack("shop").generation, platform.stacks().len()), (1, 1));
    // Moved to it, the stack is its own.
    let status = platform.at(3, &[("stacks/aaa.yml", &copy)]).await.unwrap();
    assert_eq!((status.broken.len(), platform.stack("shop").generation), (0, 2));
}

#[tokio::test]
async fn a_catalog_that_changed_meanwhile_declares_nothing() {
    let platform = Platform::new().await;
    let old = platform.catalog();
    platform.0.apply(&PLATFORM.replace("[\"web-*\", shop]", "[web-a]")).await.unwrap();
    let files = [("stacks/shop.yml".to_owned(), Ok(stack("shop", "1")))].into();
    let refused = platform.0.declare.apply_catalog(&old, &commit(1), &files).await.unwrap_err();
    assert_eq!(code(refused).0, Code::Conflict);
    assert!(platform.stacks().is_empty());
    // A repository that cannot be read is said once.
    let catalog = platform.catalog();
    for _ in 0..2 {
        platform.0.declare.catalog_failed(&catalog, "it is not there").await.unwrap();
    }
    let told = platform.0.ledger.events(None, false, 100).unwrap();
    assert_eq!(told.iter().filter(|(_, event)| event.kind == EventType::CatalogRefused).count(), 1);
    let status = platform.0.ledger.catalog_status("platform").unwrap().unwrap().value;
    assert_eq!(status.error.as_deref(), Some("it is not there"));
}
