//! The power is cut while the store on disk is written to: what was synced is there, and of what was written after it any
//! sectors or none. Every such disk must open with all that was acknowledged before.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use skep::ports::{Scan, Store, Transaction, Write};
use skep::store::sled::{LONGEST_INLINE, SledOptions, SledStore};

pub(crate) const WRITERS: u64 = 4;
/// What a disk writes at once.
const SECTOR: usize = 512;
/// Cuts between two syncs.
const EACH: u64 = 12;

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// One transaction of a writer: an entry of the log and a record of its own, now and then a large one.
pub(crate) fn work(writer: u64, number: u64) -> Transaction {
    let text = format!("{writer} {number}").into_bytes();
    let padded = |length: usize| {
        let mut value = text.clone();
        value.resize(length.max(text.len()), b' ');
        value
    };
    let record =
        padded(if number % 50 == 7 { LONGEST_INLINE + 1 } else { usize::try_from(number * 37 % 3000).unwrap() });
    Transaction {
        expects: vec![],
        writes: vec![
            Write::Append { log: "log".into(), value: text },
            Write::Put { key: format!("record/{writer}/{}", number % 40), value: record },
            Write::Delete { key: format!("record/{writer}/{}", (number + 13) % 40) },
        ],
    }
}

/// What a child was told and what it says of it: `writer number place-in-log revision` for each acknowledged transaction.
pub(crate) type Acknowledged = (u64, u64, u64, u64);

/// Every acknowledged transaction is there, none is there twice, and each is there whole.
pub(crate) fn verify(store: &SledStore, acknowledged: &[Acknowledged]) {
    let log = store.scan(&Scan::all("log/")).unwrap();
    let mut places = BTreeMap::new();
    for (at, entry) in log.iter().enumerate() {
        assert_eq!(entry.key, format!("log/{:016x}", at + 1), "the log has a gap");
        let text = String::from_utf8(entry.value.to_vec()).unwrap();
        assert_eq!(places.insert(text.clone(), entry.clone()), None, "`{text}` is there twice");
    }
    for (writer, number, place, revision) in acknowledged {
        let entry = places.get(&format!("{writer} {number}"));
        let entry = entry.unwrap_or_else(|| panic!("lost: {writer} {number}, acknowledged as {place} at {revision}"));
        assert_eq!((&entry.key, entry.revision), (&format!("log/{place:016x}"), *revision));
    }
    // Replay of the whole log gives exactly the records that are there.
    let mut records = BTreeMap::new();
    for entry in &log {
        let text = String::from_utf8(entry.value.to_vec()).unwrap();
        let (writer, number) = text.split_once(' ').unwrap();
        for write in work(writer.parse().unwrap(), number.parse().unwrap()).writes {
            match write {
                Write::Put { key, value } => drop(records.insert(key, (value, entry.revision))),
                Write::Delete { key } => drop(records.remove(&key)),
                Write::Append { .. } => {}
            }
        }
    }
    let found = store.scan(&Scan::all("record/")).unwrap();
    let found: BTreeMap<_, _> =
        found.into_iter().map(|entry| (entry.key, (entry.value.to_vec(), entry.revision))).collect();
    assert!(found == records, "the records are not what the log says");
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Which of the sectors that changed since the last sync are on the disk.
struct Survivors {
    dice: fastrand::Rng,
    cut: u64,
    /// Of ten, so many survive.
    of_ten: u32,
    /// All before (or after) this place in the file.
    place: u64,
}

impl Survivors {
    fn has(&mut self, at: u64) -> bool {
        match self.cut % 6 {
            // Nothing came through.
            0 => false,
            // What was written first, or what was written last: reordered as a whole.
            1 => at < self.place,
            2 => at >= self.place,
            // Some, in any order; a page may be torn.
            _ => self.dice.u32(..10) < self.of_ten,
        }
    }
}

/// Makes at least so many disks, and opens each; gives how many. Panics when something that was acknowledged is lost.
pub(crate) fn cuts(wanted: u64, seed: u64) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let images = folder.path().join("images");
    let (syncs, on) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let sync = {
        let (data, images, syncs, on) = (data.clone(), images.clone(), Arc::clone(&syncs), Arc::clone(&on));
        move |file: &fs::File| {
            file.sync_data()?;
            if on.load(Ordering::SeqCst) {
                copy(&data, &images.join(syncs.fetch_add(1, Ordering::SeqCst).to_string()));
            }
            Ok(())
        }
    };
    let store = SledStore::open_with(&data, &SledOptions { sync: Arc::new(sync), ..SledOptions::default() }).unwrap();
    let runtime = runtime();
    let mut all: Vec<Acknowledged> = Vec::new();
    let mut numbers = [0; WRITERS as usize];
    let mut write = |all: &mut Vec<Acknowledged>, count: usize| {
        for at in 0..count {
            let writer = at as u64 % WRITERS;
            let number = numbers[at % numbers.len()];
            numbers[at % numbers.len()] += 1;
            let done = runtime.block_on(store.commit(work(writer, number))).unwrap();
            all.push((writer, number, done.appended[0], done.revision));
        }
    };
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut made = 0;
    while made < wanted {
        // Far apart at times, so that the cuts meet the end of a segment and its cleaning too.
        write(&mut all, dice.usize(1..if made == 0 { 200 } else { 60 }));
        on.store(true, Ordering::SeqCst);
        let first = syncs.load(Ordering::SeqCst);
        write(&mut all, 1);
        let durable = all.clone();
        write(&mut all, dice.usize(1..4));
        on.store(false, Ordering::SeqCst);
        let (old, new) = (images.join(first.to_string()), images.join((first + 1).to_string()));
        for cut in 0..EACH {
            let disk = folder.path().join("disk");
            let length = fs::metadata(new.join("store/db")).unwrap().len();
            let survivors = Survivors { cut, of_ten: dice.u32(1..10), place: dice.u64(0..=length), dice: dice.fork() };
            cut_off(&old, &new, &disk, survivors);
            let opened = SledStore::open(&disk).unwrap_or_else(|error| panic!("cut {made}: {error}"));
            verify(&opened, &durable);
            drop(opened);
            fs::remove_dir_all(&disk).unwrap();
            made += 1;
        }
        fs::remove_dir_all(&images).unwrap();
    }
    made
}

/// The disk after a cut between two syncs: `old` with some of the sectors in which `new` differs. Kept files are synced
/// before a record names them, and stay.
fn cut_off(old: &Path, new: &Path, disk: &Path, mut survivors: Survivors) {
    copy(new, disk);
    let before = fs::File::open(old.join("store/db")).unwrap();
    let after = fs::File::options().read(true).write(true).open(disk.join("store/db")).unwrap();
    let (mut was, mut is) = ([0; SECTOR], [0; SECTOR]);
    for at in (0..before.metadata().unwrap().len()).step_by(SECTOR) {
        let length = before.read_at(&mut was, at).unwrap();
        let found = after.read_at(&mut is, at).unwrap();
        if was[..length] != is[..found] && !survivors.has(at) {
            after.write_all_at(&was[..length], at).unwrap();
        }
    }
    if survivors.cut == 0 {
        after.set_len(before.metadata().unwrap().len()).unwrap();
    }
    fs::copy(old.join("tip"), disk.join("tip")).unwrap();
}
