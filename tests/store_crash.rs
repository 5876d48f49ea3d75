//! The store on disk when things go wrong: killed, cut off from power, damaged, full, opened twice.

#![expect(clippy::unwrap_used, reason = "in the functions that the tests share; a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

#[path = "support/power.rs"]
mod power;

use futures_util::{FutureExt, StreamExt};
use power::{Acknowledged, WRITERS, copy, runtime, verify, work};
use skep::ports::{Entry, Scan, Store, StoreError, Transaction, Write};
use skep::store::sled::{LONGEST_INLINE, SledOptions, SledStore};

const CHILD: &str = "SKEP_TEST_STORE_CHILD";

fn put(key: &str, value: &[u8]) -> Transaction {
    Transaction { expects: vec![], writes: vec![Write::Put { key: key.into(), value: value.into() }] }
}

fn everything(store: &SledStore) -> Vec<Entry> {
    store.scan(&Scan::all("")).unwrap()
}

/// Not a claim but the child of those below: writes until it is killed or refused.
#[test]
fn child() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let (round, data) = told.split_once(' ').unwrap();
    let first = round.parse::<u64>().unwrap() * 1_000_000;
    let store = Arc::new(SledStore::open(Path::new(data)).unwrap());
    println!("\nopen");
    runtime().block_on(async {
        let writers = (0..WRITERS).map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for number in first.. {
                    match store.commit(work(writer, number)).await {
                        Ok(done) => {
                            let line = format!("ack {writer} {number} {} {}\n", done.appended[0], done.revision);
                            std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                        }
                        Err(error @ StoreError::Io { .. }) => {
                            println!("refused {error}");
                            assert!(matches!(store.commit(put("more", b"")).await, Err(StoreError::Io { .. })));
                            return;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        });
        for writer in futures_util::future::join_all(writers).await {
            writer.unwrap();
        }
    });
    println!("ended");
}

fn child_of(mut command: Command, round: u64, data: &Path) -> std::process::Child {
    command
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, format!("{round} {}", data.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn acknowledged(line: &str) -> Option<Acknowledged> {
    let mut parts = line.strip_prefix("ack ")?.split(' ').map(|part| part.parse::<u64>().ok());
    let mut next = || parts.next().flatten();
    // A last line that was cut short lacks a part, or has a part cut short: then it is not counted.
    Some((next()?, next()?, next()?, next()?))
}

/// All lines until the end, the last one only when it is whole.
fn lines(output: impl std::io::Read) -> Vec<String> {
    let mut text = String::new();
    BufReader::new(output).read_to_string(&mut text).unwrap();
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    text[..whole].lines().map(str::to_owned).collect()
}

/// Every file of a folder with its bytes.
fn bytes_of(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(bytes_of(&path));
        } else {
            found.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    found
}

/// Opens what must be refused as damaged, twice, and sees that no byte was touched.
fn refused_and_untouched(data: &Path) -> String {
    let before = bytes_of(data);
    let mut reasons = Vec::new();
    for _ in 0..2 {
        match SledStore::open(data) {
            Err(error @ StoreError::Damaged { .. }) => reasons.push(error.to_string()),
            other => panic!("{other:?}"),
        }
        assert!(bytes_of(data) == before, "something was changed");
    }
    assert_eq!(reasons[0], reasons[1]);
    reasons.remove(0)
}

/// A store with some hundred records that was closed properly.
fn filled(data: &Path) -> (Vec<Entry>, u64) {
    let store = SledStore::open(data).unwrap();
    for number in 0..300 {
        store.commit(work(number % WRITERS, number / WRITERS)).now_or_wait().unwrap();
    }
    (everything(&store), store.revision())
}

trait NowOrWait: Future + Sized {
    fn now_or_wait(self) -> Self::Output {
        runtime().block_on(self)
    }
}
impl<F: Future> NowOrWait for F {}

#[test]
fn every_acknowledged_write_survives_kill_9_and_none_is_applied_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(20_260_711);
    let mut all = Vec::new();
    for round in 0..12 {
        let mut process = child_of(Command::new(std::env::current_exe().unwrap()), round, folder.path());
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        // Some rounds are killed while the child opens the store, the others while it writes.
        if round % 4 != 3 {
            while line.trim() != "open" {
                line.clear();
                assert!(output.read_line(&mut line).unwrap() > 0, "the child could not open the store");
            }
            std::thread::sleep(Duration::from_millis(random.u64(1..400)));
        } else {
            std::thread::sleep(Duration::from_millis(random.u64(1..60)));
        }
        process.kill().unwrap();
        let new: Vec<_> = lines(output).iter().filter_map(|line| acknowledged(line)).collect();
        process.wait().unwrap();
        all.extend(new);
        let store = SledStore::open(folder.path()).unwrap();
        verify(&store, &all);
        if round % 2 == 0 {
            store.collect(&std::collections::BTreeSet::new(), 0).unwrap();
            verify(&store, &all);
        }
    }
    assert!(all.len() > 500, "only {} writes were acknowledged: this proves little", all.len());
}

#[test]
fn every_acknowledged_write_survives_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    // The largest file a process may write stands for the disk: 4.5 MiB, in blocks of 512 bytes.
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -f 9216; trap '' XFSZ; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    let mut process = child_of(shell, 0, folder.path());
    let said = lines(process.stdout.take().unwrap());
    assert!(process.wait().unwrap().success(), "{said:?}");
    assert!(said.iter().any(|line| line.starts_with("refused ")) && said.iter().any(|line| line == "ended"));
    let all: Vec<_> = said.iter().filter_map(|line| acknowledged(line)).collect();
    assert!(all.len() > 100);
    verify(&SledStore::open(folder.path()).unwrap(), &all);
}

/// `SKEP_CUTS=1000` makes so many cuts.
#[test]
fn every_acknowledged_write_survives_a_power_cut_between_any_two_syncs() {
    let cuts = std::env::var("SKEP_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(48);
    let made = power::cuts(cuts, 7);
    println!("{made} cuts of power: nothing that was acknowledged is lost");
}

#[test]
fn a_damaged_byte_is_refused_and_nothing_is_changed_or_it_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    let (entries, _) = filled(&good);
    let mut random = fastrand::Rng::with_seed(11);
    let end = {
        let bytes = fs::read(good.join("store/db")).unwrap();
        bytes.iter().rposition(|byte| *byte != 0).unwrap()
    };
    let mut refused = 0;
    for round in 0..40 {
        let data = folder.path().join("data");
        copy(&good, &data);
        // The newest part of the log is where sled would take damage for the trace of a crash.
        let at = if round % 2 == 0 { random.usize(0..=end) } else { random.usize(end.saturating_sub(3000)..=end) };
        let file = fs::File::options().read(true).write(true).open(data.join("store/db")).unwrap();
        let mut byte = [0];
        file.read_at(&mut byte, at as u64).unwrap();
        file.write_all_at(&[byte[0] ^ 1 << random.u8(0..8)], at as u64).unwrap();
        let before = bytes_of(&data);
        match SledStore::open(&data) {
            Ok(store) => assert!(everything(&store) == entries, "byte {at}: something is lost"),
            Err(StoreError::Damaged { .. }) => {
                assert!(bytes_of(&data) == before, "byte {at}: something was changed");
                refused += 1;
            }
            Err(error) => panic!("byte {at}: {error}"),
        }
        fs::remove_dir_all(&data).unwrap();
    }
    assert!(refused >= 15, "only {refused} were refused: this proves little");
}

#[test]
fn a_damaged_newest_record_is_refused_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    for number in 0..20 {
        store.commit(put("a", format!("the value number {number}").as_bytes())).now_or_wait().unwrap();
    }
    drop(store);
    let path = folder.path().join("store/db");
    let mut bytes = fs::read(&path).unwrap();
    let needle = b"the value number 19";
    let at = bytes.windows(needle.len()).rposition(|part| part == needle).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let reason = refused_and_untouched(folder.path());
    assert!(reason.contains("nothing was changed"), "{reason}");
}

#[test]
fn a_damaged_or_missing_file_of_a_large_value_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    store.commit(put("a", &vec![7; LONGEST_INLINE + 1])).now_or_wait().unwrap();
    drop(store);
    let (path, mut bytes) = bytes_of(&folder.path().join("files")).pop_first().unwrap();
    // Also after a proper close: the fingerprint covers sled's files only.
    bytes[5] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(SledStore::open(folder.path()), Err(StoreError::Damaged { .. })));
    assert_eq!(fs::read(&path).unwrap(), bytes);
    fs::remove_file(&path).unwrap();
    assert!(matches!(SledStore::open(folder.path()), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_damaged_kept_file_is_said_to_be_and_kept_anew_when_it_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let name = store.keep(b"document".to_vec()).now_or_wait().unwrap();
    let (path, _) = bytes_of(&folder.path().join("files")).pop_first().unwrap();
    fs::write(&path, b"documend").unwrap();
    assert!(matches!(store.kept(&name), Err(StoreError::Damaged { .. })));
    assert_eq!(store.keep(b"document".to_vec()).now_or_wait().unwrap(), name);
    assert_eq!(store.kept(&name).unwrap(), b"document");
}

#[test]
fn an_older_state_of_the_log_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let store = SledStore::open(&data).unwrap();
    store.commit(put("a", b"1")).now_or_wait().unwrap();
    drop(store);
    copy(&data.join("store"), &folder.path().join("old"));
    let store = SledStore::open(&data).unwrap();
    store.commit(put("a", b"2")).now_or_wait().unwrap();
    drop(store);
    fs::remove_dir_all(data.join("store")).unwrap();
    copy(&folder.path().join("old"), &data.join("store"));
    assert!(refused_and_untouched(&data).contains("ends at revision 1, but 2 was acknowledged"));
}

#[test]
fn a_missing_or_garbled_part_of_the_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    filled(&good);
    let data = folder.path().join("data");
    type Damage = (&'static str, fn(&Path));
    let damages: [Damage; 6] = [
        ("`format` is missing", |data| fs::remove_file(data.join("format")).unwrap()),
        ("`format` makes no sense", |data| fs::write(data.join("format"), "skep data format 1").unwrap()),
        ("`tip` is missing", |data| fs::remove_file(data.join("tip")).unwrap()),
        ("`tip` makes no sense", |data| fs::write(data.join("tip"), [0; 33]).unwrap()),
        ("`store` is missing", |data| fs::remove_dir_all(data.join("store")).unwrap()),
        ("acknowledged", |data| fs::write(data.join("store/db"), b"").unwrap()),
    ];
    for (wanted, damage) in damages {
        copy(&good, &data);
        damage(&data);
        if wanted == "acknowledged" {
            // What sled makes of an empty log is its affair; that it is refused and left is ours.
            refused_and_untouched(&data);
        } else {
            let reason = refused_and_untouched(&data);
            assert!(reason.contains(wanted), "{reason}");
        }
        fs::remove_dir_all(&data).unwrap();
    }
}

#[test]
fn a_newer_format_is_refused_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    fs::write(folder.path().join("format"), "skep data format 2\n").unwrap();
    let before = bytes_of(folder.path());
    let path = folder.path().display().to_string();
    assert_eq!(SledStore::open(folder.path()).unwrap_err(), StoreError::Newer { path, found: 2, known: 1 });
    assert!(bytes_of(folder.path()) == before);
}

#[test]
fn a_first_start_that_was_cut_short_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    drop(SledStore::open(&data).unwrap());
    // As if the power went before the store got its name, and before the format was written.
    for also_format in [false, true] {
        fs::rename(data.join("store"), data.join("store.new")).unwrap();
        fs::write(data.join("store.new/db"), b"half").unwrap();
        if also_format {
            fs::remove_dir(data.join("files")).unwrap();
            fs::remove_file(data.join("format")).unwrap();
        }
        let store = SledStore::open(&data).unwrap();
        assert_eq!(store.revision(), 0);
    }
    SledStore::open(&data).unwrap().commit(put("a", b"")).now_or_wait().unwrap();
    assert_eq!(SledStore::open(&data).unwrap().revision(), 1);
}

#[test]
fn a_second_opener_is_told_that_the_folder_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let locked = StoreError::Locked(folder.path().display().to_string());
    assert_eq!(SledStore::open(folder.path()).unwrap_err(), locked);
    // What it says of it is of no interest here.
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.stderr(Stdio::null());
    let mut process = child_of(command, 0, folder.path());
    let mut output = String::new();
    process.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(!process.wait().unwrap().success() && !output.contains("\nopen\n"));
    store.commit(put("a", b"1")).now_or_wait().unwrap();
    drop(store);
    assert_eq!(SledStore::open(folder.path()).unwrap().revision(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_or_shown_anything_before_the_sync() {
    let folder = tempfile::tempdir().unwrap();
    let (entered, at_sync) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let gated = Arc::new(AtomicBool::new(false));
    let sync = {
        let (gate, gated) = (Mutex::new(gate), Arc::clone(&gated));
        move |file: &fs::File| {
            if gated.load(Ordering::SeqCst) {
                entered.send(file.metadata()?.len()).unwrap();
                gate.lock().unwrap().recv().unwrap();
            }
            file.sync_data()
        }
    };
    let options = SledOptions { sync: Arc::new(sync), ..SledOptions::default() };
    let store = Arc::new(SledStore::open_with(folder.path(), &options).unwrap());
    store.commit(put("a", b"old")).await.unwrap();
    gated.store(true, Ordering::SeqCst);
    let mut watch = store.watch();
    let before = everything(&store);
    let commit = |transaction: Transaction| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.commit(transaction).await })
    };
    let append = Write::Append { log: "log".into(), value: vec![] };
    let replace = Write::Put { key: "a".into(), value: b"the new value".to_vec() };
    let first = commit(Transaction { expects: vec![], writes: vec![replace, append.clone()] });
    tokio::task::block_in_place(|| at_sync.recv_timeout(Duration::from_secs(30))).unwrap();
    // sled has it by now, and its bytes are in the file; nobody may be told or shown it yet.
    let file = fs::read(folder.path().join("store/db")).unwrap();
    assert!(file.windows(13).any(|part| part == b"the new value"));
    let second = commit(Transaction { expects: vec![], writes: vec![append] });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!first.is_finished() && !second.is_finished());
    assert_eq!((everything(&store), store.revision()), (before, 1));
    assert_eq!(store.get("log/0000000000000001"), Ok(None));
    assert_eq!(watch.next().now_or_never(), None);
    go.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap().appended, [1]);
    assert!(watch.next().await.is_some());
    // The second waits for a sync of its own.
    tokio::task::block_in_place(|| at_sync.recv_timeout(Duration::from_secs(30))).unwrap();
    assert!(!second.is_finished());
    assert_eq!((store.revision(), everything(&store).len()), (2, 2));
    assert_eq!(watch.next().now_or_never(), None);
    go.send(()).unwrap();
    assert_eq!(second.await.unwrap().unwrap().appended, [2]);
    assert_eq!((store.revision(), everything(&store).len()), (3, 3));
    gated.store(false, Ordering::SeqCst);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_acknowledges_nothing_and_ends_all_writing_until_reopened() {
    let folder = tempfile::tempdir().unwrap();
    let failing = Arc::new(AtomicBool::new(false));
    let sync = {
        let failing = Arc::clone(&failing);
        move |file: &fs::File| {
            if failing.load(Ordering::SeqCst) { Err(std::io::Error::other("no space left")) } else { file.sync_data() }
        }
    };
    let options = SledOptions { sync: Arc::new(sync), ..SledOptions::default() };
    let store = Arc::new(SledStore::open_with(folder.path(), &options).unwrap());
    store.commit(put("a", b"old")).await.unwrap();
    let mut watch = store.watch();
    failing.store(true, Ordering::SeqCst);
    let attempts = (0..20).map(|_| store.commit(put("a", b"new")));
    for outcome in futures_util::future::join_all(attempts).await {
        let Err(StoreError::Io { reason, .. }) = outcome else { panic!("{outcome:?}") };
        assert!(reason.contains("no space left"), "{reason}");
    }
    // Also when the disk is well again: nobody knows what it holds.
    failing.store(false, Ordering::SeqCst);
    assert!(matches!(store.commit(put("b", b"")).await, Err(StoreError::Io { .. })));
    assert!(matches!(store.commit(put("b", &vec![0; LONGEST_INLINE + 1])).await, Err(StoreError::Io { .. })));
    assert!(matches!(store.keep(vec![1]).await, Err(StoreError::Io { .. })));
    assert_eq!((store.revision(), &*store.get("a").unwrap().unwrap().value), (1, &b"old"[..]));
    assert_eq!(watch.next().now_or_never(), None);
    drop(store);
    // What was not acknowledged may be there or not, but whole.
    let store = SledStore::open(folder.path()).unwrap();
    let found = store.get("a").unwrap().unwrap();
    assert!((&*found.value, found.revision) == (b"old", 1) || &*found.value == b"new");
    store.commit(put("a", b"newer")).await.unwrap();
}

#[test]
fn sled_never_writes_files_of_its_own_that_nobody_syncs() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    // The worst case: leaves full of the longest keys and values that stay in records, written over and deleted.
    let key = |number: u32| format!("{}{number:04}", "k".repeat(1000));
    for _ in 0..40 {
        let writes = (0..20)
            .map(|_| match random.u8(0..4) {
                0 => Write::Delete { key: key(random.u32(0..200)) },
                _ => Write::Put { key: key(random.u32(0..200)), value: vec![random.u8(..); LONGEST_INLINE] },
            })
            .collect();
        store.commit(Transaction { expects: vec![], writes }).now_or_wait().unwrap();
    }
    assert_eq!(fs::read_dir(folder.path().join("store/blobs")).unwrap().count(), 0);
    drop(store);
    let store = SledStore::open(folder.path()).unwrap();
    assert_eq!(fs::read_dir(folder.path().join("store/blobs")).unwrap().count(), 0);
    assert!(everything(&store).len() > 50);
}
