//! What every adapter of the port `Store` must do: the same checks on the one in memory and the one on disk.

#![expect(clippy::unwrap_used, reason = "in the functions that the tests share; a test that cannot go on should stop")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use proptest::prelude::*;
use skep::domain::Kept;
use skep::ports::{Changed, Committed, Scan, Store, StoreError, Transaction, Watched, Write};
use skep::store::memory::MemoryStore;
use skep::store::sled::{LONGEST_INLINE, SledStore};

fn put(key: &str, value: &[u8]) -> Write {
    Write::Put { key: key.into(), value: value.into() }
}

fn delete(key: &str) -> Write {
    Write::Delete { key: key.into() }
}

fn append(log: &str, value: &[u8]) -> Write {
    Write::Append { log: log.into(), value: value.into() }
}

fn all(writes: impl Into<Vec<Write>>) -> Transaction {
    Transaction { expects: Vec::new(), writes: writes.into() }
}

fn if_at(key: &str, revision: Option<u64>, writes: impl Into<Vec<Write>>) -> Transaction {
    Transaction { expects: vec![(key.into(), revision)], writes: writes.into() }
}

async fn commit(store: &dyn Store, transaction: Transaction) -> Committed {
    store.commit(transaction).await.unwrap()
}

fn value(store: &dyn Store, key: &str) -> Option<Vec<u8>> {
    store.get(key).unwrap().map(|entry| entry.value.to_vec())
}

fn keys(store: &dyn Store, scan: &Scan) -> Vec<String> {
    store.scan(scan).unwrap().into_iter().map(|entry| entry.key).collect()
}

/// Runs a claim on both adapters.
macro_rules! contract {
    ($(async fn $name:ident($store:ident: Arc<dyn Store>) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn claim($store: Arc<dyn Store>) $body

            #[tokio::test]
            async fn in_memory() {
                claim(Arc::new(MemoryStore::new())).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_disk() {
                let folder = tempfile::tempdir().unwrap();
                claim(Arc::new(SledStore::open(folder.path()).unwrap())).await;
            }
        }
    )*};
}

contract! {
    async fn an_empty_store_has_revision_0_and_nothing(store: Arc<dyn Store>) {
        assert_eq!(store.revision(), 0);
        assert_eq!(store.get("a"), Ok(None));
        assert_eq!(store.scan(&Scan::all("")), Ok(vec![]));
    }

    async fn each_transaction_makes_one_revision_for_all_it_writes(store: Arc<dyn Store>) {
        assert_eq!(commit(&*store, all([put("a", b"1"), put("b", b"2")])).await.revision, 1);
        assert_eq!(commit(&*store, all([put("b", b"3"), delete("nothing")])).await.revision, 2);
        assert_eq!(commit(&*store, all([])).await.revision, 3);
        assert_eq!(store.revision(), 3);
        assert_eq!(store.get("a").unwrap().unwrap().revision, 1);
        assert_eq!(store.get("b").unwrap().unwrap().revision, 2);
        assert_eq!(value(&*store, "b").unwrap(), b"3");
    }

    async fn writes_take_effect_in_order_within_a_transaction(store: Arc<dyn Store>) {
        commit(&*store, all([put("a", b"1"), delete("a"), put("a", b"2"), put("b", b"1"), delete("b")])).await;
        assert_eq!((value(&*store, "a"), value(&*store, "b")), (Some(b"2".to_vec()), None));
        commit(&*store, all([delete("a"), delete("a")])).await;
        assert_eq!(store.scan(&Scan::all("")), Ok(vec![]));
    }

    async fn a_key_that_is_not_as_expected_is_a_conflict_and_nothing_is_written(store: Arc<dyn Store>) {
        commit(&*store, all([put("a", b"1")])).await;
        let wrong = [("a", None), ("a", Some(2)), ("a", Some(0)), ("b", Some(1)), ("b", Some(0))];
        for (key, revision) in wrong {
            let transaction = if_at(key, revision, [put("c", b"x"), delete("a"), append("log", b"x")]);
            assert_eq!(store.commit(transaction).await, Err(StoreError::Conflict { key: key.into() }));
        }
        assert_eq!((store.revision(), keys(&*store, &Scan::all(""))), (1, vec!["a".to_owned()]));
        commit(&*store, if_at("a", Some(1), [put("a", b"2")])).await;
        commit(&*store, if_at("b", None, [put("b", b"2"), delete("a")])).await;
        commit(&*store, if_at("a", None, [append("log", b"first")])).await;
        assert_eq!(keys(&*store, &Scan::all("")), ["b", "log/0000000000000001"]);
    }

    async fn a_large_value_of_a_refused_transaction_leaves_nothing(store: Arc<dyn Store>) {
        let large = vec![7; LONGEST_INLINE + 1];
        commit(&*store, all([put("a", b"1")])).await;
        assert!(store.commit(if_at("a", None, [put("b", &large)])).await.is_err());
        assert_eq!(value(&*store, "b"), None);
        store.collect(&BTreeSet::new(), 0).unwrap();
        commit(&*store, if_at("a", Some(1), [put("b", &large)])).await;
        assert_eq!(value(&*store, "b"), Some(large));
    }

    async fn what_could_never_be_written_is_refused(store: Arc<dyn Store>) {
        let long = "x".repeat(2000);
        for write in [put("", b""), put(&long, b""), delete(""), append("a/b", b""), append("", b""), append(&long, b"")] {
            let refused = store.commit(all([put("fine", b""), write])).await;
            assert!(matches!(refused, Err(StoreError::Unfit(_))), "{refused:?}");
        }
        assert_eq!((store.revision(), store.get(&long), store.get("")), (0, Ok(None), Ok(None)));
    }

    async fn a_scan_gives_what_begins_with_the_prefix_in_order(store: Arc<dyn Store>) {
        for key in ["stack/b/1", "stack/a/2", "stack/a/1", "stack/a", "stack/a0", "stacks", "status/a", "stack/a/"] {
            commit(&*store, all([put(key, key.as_bytes())])).await;
        }
        assert_eq!(keys(&*store, &Scan::all("stack/a/")), ["stack/a/", "stack/a/1", "stack/a/2"]);
        assert_eq!(keys(&*store, &Scan::all("")).len(), 8);
        assert_eq!(keys(&*store, &Scan::all("stack/a/3")), [""; 0]);
        let scan = |after: Option<&str>, backwards, limit| {
            keys(&*store, &Scan { prefix: "stack/a/".into(), after: after.map(Into::into), backwards, limit })
        };
        assert_eq!(scan(None, false, 2), ["stack/a/", "stack/a/1"]);
        assert_eq!(scan(None, true, 2), ["stack/a/2", "stack/a/1"]);
        assert_eq!(scan(None, false, 0), [""; 0]);
        assert_eq!(scan(Some("stack/a/"), false, 9), ["stack/a/1", "stack/a/2"]);
        assert_eq!(scan(Some("stack/a/1"), false, 9), ["stack/a/2"]);
        assert_eq!(scan(Some("stack/a/2"), false, 9), [""; 0]);
        assert_eq!(scan(Some("stack/a/2"), true, 9), ["stack/a/1", "stack/a/"]);
        assert_eq!(scan(Some("stack/a/"), true, 9), [""; 0]);
        // From outside of the prefix.
        assert_eq!(scan(Some("a"), false, 9).len(), 3);
        assert_eq!(scan(Some("z"), true, 9).len(), 3);
        assert_eq!(scan(Some("z"), false, 9), [""; 0]);
        assert_eq!(scan(Some("a"), true, 9), [""; 0]);
    }

    async fn a_scan_goes_through_many_keys_page_by_page(store: Arc<dyn Store>) {
        for round in 0..10 {
            let writes: Vec<Write> = (0..50).map(|at| put(&format!("k/{:04}", at * 10 + round), b"v")).collect();
            commit(&*store, all(writes)).await;
        }
        for backwards in [false, true] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = keys(&*store, &Scan { prefix: "k/".into(), after, backwards, limit: 7 });
                after = page.last().cloned();
                if after.is_none() {
                    break;
                }
                found.extend(page);
            }
            if backwards {
                found.reverse();
            }
            assert_eq!(found, (0..500).map(|at| format!("k/{at:04}")).collect::<Vec<_>>());
        }
    }

    async fn each_log_is_numbered_from_1_without_a_gap(store: Arc<dyn Store>) {
        let first = commit(&*store, all([append("a", b"x"), append("b", b"y"), append("a", b"z")])).await;
        assert_eq!(first.appended, [1, 1, 2]);
        assert!(store.commit(if_at("nothing", Some(1), [append("a", b"lost")])).await.is_err());
        assert_eq!(commit(&*store, all([append("a", b"w")])).await.appended, [3]);
        // Numbers are not given again.
        commit(&*store, all([delete("a/0000000000000003")])).await;
        assert_eq!(commit(&*store, all([append("a", b"v")])).await.appended, [4]);
        assert_eq!(
            keys(&*store, &Scan::all("")),
            ["a/0000000000000001", "a/0000000000000002", "a/0000000000000004", "b/0000000000000001"]
        );
        assert_eq!(value(&*store, "a/0000000000000002").unwrap(), b"z");
    }

    async fn a_watch_tells_every_change_from_now_on_in_order(store: Arc<dyn Store>) {
        commit(&*store, all([put("before", b"")])).await;
        let mut watch = store.watch();
        let large = vec![1; LONGEST_INLINE + 1];
        commit(&*store, all([put("a", b"1"), append("log", b"2"), put("l", &large)])).await;
        commit(&*store, all([delete("a"), delete("nothing")])).await;
        let changed = |key: &str, value: Option<&[u8]>| Changed { key: key.into(), value: value.map(Into::into) };
        let Some(Watched::Change(first)) = watch.next().await else { panic!("no change") };
        assert_eq!(first.revision, 2);
        assert_eq!(
            first.changed,
            [changed("a", Some(b"1")), changed("log/0000000000000001", Some(b"2")), changed("l", Some(&large))]
        );
        let Some(Watched::Change(second)) = watch.next().await else { panic!("no change") };
        assert_eq!((second.revision, &second.changed[..]), (3, &[changed("a", None)][..]));
    }

    async fn a_change_can_be_read_when_the_watch_tells_it(store: Arc<dyn Store>) {
        let mut watch = store.watch();
        let writer = tokio::spawn({
            let store = Arc::clone(&store);
            async move {
                for number in 0..200_u32 {
                    commit(&*store, all([put("a", &number.to_be_bytes())])).await;
                }
            }
        });
        for number in 0..200_u32 {
            let Some(Watched::Change(change)) = watch.next().await else { panic!("no change") };
            assert_eq!(change.revision, u64::from(number) + 1);
            assert_eq!(change.changed[0].value.as_deref(), Some(&number.to_be_bytes()[..]));
            assert!(store.get("a").unwrap().unwrap().revision >= change.revision);
            assert!(store.revision() >= change.revision);
        }
        writer.await.unwrap();
    }

    async fn a_watcher_that_is_too_slow_is_told_that_it_missed_some(store: Arc<dyn Store>) {
        let mut watch = store.watch();
        let writers = (0..64).map(|writer| {
            let store = Arc::clone(&store);
            async move {
                for number in 0..80_u32 {
                    commit(&*store, all([put(&format!("{writer}"), &number.to_be_bytes())])).await;
                }
            }
        });
        futures_util::future::join_all(writers).await;
        assert_eq!(watch.next().await, Some(Watched::Missed));
        let mut last = 0;
        while last < 64 * 80 {
            let Some(Watched::Change(change)) = watch.next().await else { panic!("missed more") };
            assert!(last == 0 || change.revision == last + 1);
            last = change.revision;
        }
    }

    async fn sixteen_writers_that_compare_and_set_lose_no_increment(store: Arc<dyn Store>) {
        commit(&*store, all([put("count", &0_u64.to_be_bytes())])).await;
        let increment = |store: Arc<dyn Store>| async move {
            loop {
                let entry = store.get("count").unwrap().unwrap();
                let count = u64::from_be_bytes(entry.value[..].try_into().unwrap());
                let next = (count + 1).to_be_bytes();
                match store.commit(if_at("count", Some(entry.revision), [put("count", &next)])).await {
                    Ok(_) => return,
                    Err(StoreError::Conflict { .. }) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let tasks: Vec<_> = (0..16)
            .map(|task| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    for _ in 0..(1000 / 16 + usize::from(task < 1000 % 16)) {
                        increment(Arc::clone(&store)).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(value(&*store, "count").unwrap(), 1000_u64.to_be_bytes());
        assert_eq!(store.revision(), 1001);
    }

    async fn a_reader_sees_a_transaction_whole_or_not_at_all(store: Arc<dyn Store>) {
        let write = |number: u32| all((0..40).map(|at| put(&format!("k/{at}"), &number.to_be_bytes())).collect::<Vec<_>>());
        commit(&*store, write(0)).await;
        let reader = {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                let mut last = 0;
                while last < 300 {
                    let found = store.scan(&Scan::all("k/")).unwrap();
                    assert_eq!(found.len(), 40);
                    assert!(found.iter().all(|entry| entry.value == found[0].value && entry.revision == found[0].revision));
                    let now = u32::from_be_bytes(found[0].value[..].try_into().unwrap());
                    assert!(now >= last && found[0].revision <= store.revision());
                    last = now;
                    std::thread::yield_now();
                }
            })
        };
        for number in 1..=300 {
            commit(&*store, write(number)).await;
        }
        reader.join().unwrap();
    }

    async fn a_value_of_any_size_reads_back_as_itself(store: Arc<dyn Store>) {
        let sizes = [0, 1, LONGEST_INLINE - 1, LONGEST_INLINE, LONGEST_INLINE + 1, 1_000_000];
        for (at, size) in sizes.into_iter().enumerate() {
            commit(&*store, all([put(&format!("k/{at}"), &vec![at as u8; size]), append("log", &vec![9; size])])).await;
        }
        let found = store.scan(&Scan::all("k/")).unwrap();
        assert!(found.iter().zip(sizes).enumerate().all(|(at, (entry, size))| *entry.value == vec![at as u8; size]));
        assert_eq!(value(&*store, "log/0000000000000006").unwrap().len(), 1_000_000);
        // What records need is not collected, what none needs any more is.
        store.collect(&BTreeSet::new(), 0).unwrap();
        assert_eq!(value(&*store, "k/5").unwrap().len(), 1_000_000);
        commit(&*store, all([put("k/5", b"small"), delete("log/0000000000000006")])).await;
        store.collect(&BTreeSet::new(), 0).unwrap();
        assert_eq!(value(&*store, "k/5").unwrap(), b"small");
        assert_eq!(value(&*store, "k/4").unwrap().len(), LONGEST_INLINE + 1);
    }

    async fn kept_bytes_read_back_by_their_name_until_they_are_collected(store: Arc<dyn Store>) {
        let name = store.keep(b"document".to_vec()).await.unwrap();
        assert_eq!(store.keep(b"document".to_vec()).await.unwrap(), name);
        let other = store.keep(Vec::new()).await.unwrap();
        assert_eq!((store.kept(&name), store.kept(&other)), (Ok(b"document".to_vec()), Ok(Vec::new())));
        assert_eq!(store.collect(&BTreeSet::new(), 3600), Ok(0));
        assert_eq!(store.collect(&BTreeSet::from([name.clone()]), 0), Ok(1));
        assert_eq!(store.kept(&name), Ok(b"document".to_vec()));
        assert_eq!(store.kept(&other), Err(StoreError::Missing(other.0.clone())));
        assert_eq!(store.collect(&BTreeSet::new(), 0), Ok(1));
        assert_eq!(store.kept(&name), Err(StoreError::Missing(name.0)));
        for wrong in ["", "../../format", "no such", &"g".repeat(64)] {
            assert_eq!(store.kept(&Kept(wrong.to_owned())), Err(StoreError::Missing(wrong.to_owned())));
        }
    }

    async fn a_commit_that_nobody_waits_for_any_more_does_no_harm(store: Arc<dyn Store>) {
        for _ in 0..20 {
            let mut commit = store.commit(all([append("log", b"x")]));
            let _ = futures_util::poll!(&mut commit);
        }
        let last = commit(&*store, all([append("log", b"x")])).await;
        assert_eq!(last.appended, [store.scan(&Scan::all("log/")).unwrap().len() as u64]);
    }
}

#[test]
fn a_commit_needs_no_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let large = vec![1; LONGEST_INLINE + 1];
    let committed = futures_executor(store.commit(all([put("a", b"1"), put("b", &large)])));
    assert_eq!(committed.unwrap().revision, 1);
}

/// Polls a future to its end on this thread, with nothing of tokio around it.
fn futures_executor<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(done) = future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            return done;
        }
        std::thread::park_timeout(Duration::from_secs(10));
    }
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let large = vec![3; LONGEST_INLINE + 1];
    commit(&store, all([put("a", b"1"), put("large", &large), append("log", b"x"), append("log", b"y")])).await;
    commit(&store, all([put("gone", b"1"), put("a", b"2")])).await;
    commit(&store, all([delete("gone")])).await;
    let kept = store.keep(b"document".to_vec()).await.unwrap();
    let before = store.scan(&Scan::all("")).unwrap();
    let mut watch = store.watch();
    drop(store);
    assert_eq!(watch.next().await, None);

    for _ in 0..3 {
        let store = SledStore::open(folder.path()).unwrap();
        assert_eq!((store.revision(), store.scan(&Scan::all("")).unwrap()), (3, before.clone()));
        assert_eq!(store.kept(&kept).unwrap(), b"document");
        assert_eq!(store.collect(&BTreeSet::from([kept.clone()]), 0), Ok(0));
    }
    let store = SledStore::open(folder.path()).unwrap();
    let next = commit(&store, if_at("a", Some(2), [append("log", b"z")])).await;
    assert_eq!(next, Committed { revision: 4, appended: vec![3] });
}

/// Figures, not a claim: `cargo test --test store_contract -- --ignored --nocapture figures`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures, proves nothing"]
async fn figures() {
    // Beside the target folder: a temporary folder may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = std::fs::File::create(folder.path().join("raw")).unwrap();
    let mut raw: Vec<_> = (0..1000)
        .map(|at| {
            let begun = std::time::Instant::now();
            std::os::unix::fs::FileExt::write_all_at(&file, &[1; 256], at * 256).unwrap();
            file.sync_data().unwrap();
            begun.elapsed()
        })
        .collect();
    raw.sort();
    println!("a raw append of 256 bytes and fdatasync: median {:?}, p99 {:?}", raw[500], raw[990]);
    let store = Arc::new(SledStore::open(folder.path()).unwrap());
    for (writers, commits) in [(1, 2000), (8, 1000), (64, 500)] {
        let begun = std::time::Instant::now();
        let tasks: Vec<_> = (0..writers)
            .map(|writer| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    let mut times = Vec::with_capacity(commits);
                    for number in 0..commits {
                        let begun = std::time::Instant::now();
                        commit(&*store, all([put(&format!("k/{writer}/{}", number % 100), &[1; 256])])).await;
                        times.push(begun.elapsed());
                    }
                    times
                })
            })
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await.unwrap());
        }
        let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
        times.sort();
        let (median, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        println!("{writers} writers: {rate:.0} commits/s, median {median:?}, p99 {p99:?}");
    }
    // The shape of 1000 stacks: records of some kilobytes, and their history.
    for stack in 0..1000 {
        let mut writes =
            vec![put(&format!("stack/default/{stack}"), &[1; 2000]), put(&format!("status/{stack}"), &[2; 6000])];
        writes.extend((0..10).map(|at| put(&format!("deployment/{stack:04}{at}"), &[3; 3000])));
        commit(&*store, all(writes)).await;
    }
    let memory = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        status.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_owned()
    };
    let size = || std::fs::metadata(folder.path().join("store/db")).unwrap().len();
    println!("12,000 records of 1000 stacks: file {} bytes, {}", size(), memory());
    let begun = std::time::Instant::now();
    drop(store);
    println!("closed in {:?}", begun.elapsed());
    let begun = std::time::Instant::now();
    let store = SledStore::open(folder.path()).unwrap();
    println!("opened in {:?}, file {} bytes", begun.elapsed(), size());
    let begun = std::time::Instant::now();
    assert_eq!(store.scan(&Scan::all("stack/")).unwrap().len(), 1000);
    println!("1000 stacks scanned in {:?}", begun.elapsed());
    drop(store);
    // As after a crash: the fingerprint does not fit.
    std::fs::write(folder.path().join("store/extra"), b"").unwrap();
    let begun = std::time::Instant::now();
    let store = SledStore::open(folder.path()).unwrap();
    println!("opened by way of a copy in {:?}, {}", begun.elapsed(), memory());
    drop(store);
}

/// One step of a made-up history. Keys and logs are few, so that steps meet.
#[derive(Debug, Clone)]
enum Step {
    Commit { expects: Vec<(u8, Expect)>, writes: Vec<(u8, u8, usize)> },
    Scan { prefix: u8, after: Option<u8>, backwards: bool, limit: usize },
    Reopen,
}

#[derive(Debug, Clone, Copy)]
enum Expect {
    Absent,
    Newest,
    Stale,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let expect = prop_oneof![1 => Just(Expect::Absent), 4 => Just(Expect::Newest), 1 => Just(Expect::Stale)];
    let size = prop_oneof![8 => 0_usize..200, 2 => 4000..LONGEST_INLINE, 1 => LONGEST_INLINE..LONGEST_INLINE + 100];
    let commit =
        (prop::collection::vec((0_u8..12, expect), 0..2), prop::collection::vec((0_u8..12, any::<u8>(), size), 0..6))
            .prop_map(|(expects, writes)| Step::Commit { expects, writes });
    let scan = (0_u8..4, prop::option::of(0_u8..12), any::<bool>(), 0_usize..20)
        .prop_map(|(prefix, after, backwards, limit)| Step::Scan { prefix, after, backwards, limit });
    prop::collection::vec(prop_oneof![12 => commit, 6 => scan, 1 => Just(Step::Reopen)], 1..60)
}

fn key(number: u8) -> String {
    format!("{}/{}", ["a", "ab", "b"][usize::from(number % 3)], number / 3)
}

fn transaction(store: &dyn Store, expects: &[(u8, Expect)], writes: &[(u8, u8, usize)]) -> Transaction {
    let expects = expects
        .iter()
        .map(|(number, expect)| {
            let newest = store.get(&key(*number)).unwrap().map(|entry| entry.revision);
            let expected = match expect {
                Expect::Absent => None,
                Expect::Newest => newest,
                Expect::Stale => Some(newest.unwrap_or_default().wrapping_sub(1)),
            };
            (key(*number), expected)
        })
        .collect();
    let writes = writes
        .iter()
        .map(|(number, seed, size)| match seed % 5 {
            0 => delete(&key(*number)),
            1 => append(["a", "log"][usize::from(number % 2)], &vec![*seed; *size]),
            _ => put(&key(*number), &vec![*seed; *size]),
        })
        .collect();
    Transaction { expects, writes }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_on_disk_does_what_the_one_in_memory_does(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let (model, mut store) = (MemoryStore::new(), Some(SledStore::open(folder.path()).unwrap()));
        for step in steps {
            let disk = store.take().unwrap();
            match step {
                Step::Commit { expects, writes } => {
                    let transaction = transaction(&model, &expects, &writes);
                    let wanted = futures_executor(model.commit(transaction.clone()));
                    prop_assert_eq!(futures_executor(disk.commit(transaction)), wanted);
                    store = Some(disk);
                }
                Step::Scan { prefix, after, backwards, limit } => {
                    let prefix = ["", "a", "a/", "ab/"][usize::from(prefix)].to_owned();
                    let scan = Scan { prefix, after: after.map(key), backwards, limit };
                    prop_assert_eq!(disk.scan(&scan).unwrap(), model.scan(&scan).unwrap());
                    store = Some(disk);
                }
                Step::Reopen => {
                    drop(disk);
                    store = Some(SledStore::open(folder.path()).unwrap());
                }
            }
            let disk = store.as_ref().unwrap();
            prop_assert_eq!(disk.revision(), model.revision());
        }
        let disk = store.take().unwrap();
        prop_assert_eq!(disk.scan(&Scan::all("")).unwrap(), model.scan(&Scan::all("")).unwrap());
    }
}
