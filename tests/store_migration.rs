//! The way to a next format of the data folder: begun only when it is asked for, after a backup, and at every moment the version
//! before can open the folder and read everything.
#![expect(clippy::unwrap_used, reason = "tests: what fails here fails the test")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use skep::ports::{Scan, Store, StoreError, Transaction, Write};
use skep::store::sled::{FORMAT, Migration, Point, SledOptions, SledStore, review};

/// A next format: values that begin with `old` become `new old…`, which the version before takes as well.
fn migration(at: impl Fn(Point) -> Result<(), StoreError> + Send + Sync + 'static) -> Migration {
    let step = |_: &str, value: &[u8]| value.starts_with(b"old").then(|| [b"new ", value].concat());
    Migration { to: FORMAT + 1, readable_from: FORMAT, step: Arc::new(step), at: Arc::new(at) }
}

fn newer(data: &Path, at: impl Fn(Point) -> Result<(), StoreError> + Send + Sync + 'static) -> SledStore {
    SledStore::open_with(data, &SledOptions { migration: Some(migration(at)), ..SledOptions::default() }).unwrap()
}

async fn put(store: &SledStore, key: &str, value: &str) {
    let write = Write::Put { key: key.to_owned(), value: value.into() };
    store.commit(Transaction { expects: Vec::new(), writes: vec![write] }).await.unwrap();
}

fn values(store: &SledStore) -> Vec<String> {
    let all = store.scan(&Scan::all("")).unwrap();
    all.iter().map(|entry| String::from_utf8(entry.value.to_vec()).unwrap()).collect()
}

fn format(data: &Path) -> String {
    fs::read_to_string(data.join("format")).unwrap()
}

/// A folder of the version before, with some records; one of them is large.
async fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    for key in ["a", "b", "c"] {
        put(&store, key, &format!("old {key}")).await;
    }
    put(&store, "d", &format!("old {}", "x".repeat(20_000))).await;
    folder
}

#[tokio::test]
async fn nothing_is_written_in_the_new_format_before_it_is_asked_for() {
    let folder = folder().await;
    let store = newer(folder.path(), |_| Ok(()));
    assert_eq!(store.pending_format().unwrap(), Some(FORMAT + 1));
    put(&store, "e", "old e").await;
    assert!(values(&store).iter().all(|value| value.starts_with("old")));
    assert_eq!(format(folder.path()), format!("skep data format {FORMAT}\n"));

    let backup = store.advance().await.unwrap().expect("there was something to do");
    assert!(values(&store).iter().all(|value| value.starts_with("new old")));
    assert_eq!(format(folder.path()), format!("skep data format {} readable from {FORMAT}\n", FORMAT + 1));
    assert_eq!(store.pending_format().unwrap(), None);
    assert_eq!(store.advance().await.unwrap(), None, "once is enough");
    let kept = review(&mut fs::File::open(backup).unwrap()).unwrap();
    assert_eq!(kept.records, 5, "the backup is whole");
}

#[tokio::test]
async fn wherever_it_breaks_off_the_version_before_opens_the_folder_and_the_next_try_goes_through() {
    // Not at all, before, in the middle of, and after.
    for (point, nth) in [(Point::Before, 1), (Point::During, 1), (Point::During, 3), (Point::After, 1)] {
        let folder = folder().await;
        let seen = AtomicUsize::new(0);
        let store = newer(folder.path(), move |at| {
            let breaks = at == point && seen.fetch_add(1, Ordering::Relaxed) + 1 == nth;
            let broken = || StoreError::Io { path: "here".into(), reason: "it breaks off".into() };
            if breaks { Err(broken()) } else { Ok(()) }
        });
        assert!(store.advance().await.is_err(), "{point:?}");
        assert!(folder.path().join(format!("before-format-{}.tar", FORMAT + 1)).exists(), "{point:?}");
        drop(store);

        let before = SledStore::open(folder.path()).unwrap();
        let found = values(&before);
        assert_eq!(found.len(), 4, "{point:?}");
        assert!(found.iter().all(|value| value.contains("old ")), "{point:?}: {found:?}");
        assert_eq!(format(folder.path()), format!("skep data format {FORMAT}\n"), "it says whose format it is now");
        put(&before, "e", "old e").await;
        drop(before);

        let store = newer(folder.path(), |_| Ok(()));
        store.advance().await.unwrap().expect("there is something to do again");
        let found = values(&store);
        assert_eq!(found.len(), 5, "{point:?}");
        assert!(found.iter().all(|value| value.starts_with("new old")), "{point:?}: {found:?}");
    }
}

#[tokio::test]
async fn others_write_on_while_the_records_are_changed() {
    let folder = folder().await;
    // While the first record is being changed, somebody else changes the next one.
    let (tell, told) = std::sync::mpsc::channel();
    let store = newer(folder.path(), move |at| {
        if at == Point::During {
            let _ = tell.send(());
        }
        Ok(())
    });
    let store = Arc::new(store);
    let writer = {
        let store = store.clone();
        tokio::task::spawn_blocking(move || {
            told.recv().unwrap();
            tokio::runtime::Handle::current().block_on(async { put(&store, "c", "old c, changed").await });
        })
    };
    store.advance().await.unwrap();
    writer.await.unwrap();
    let found = values(&store);
    assert!(found.iter().any(|value| value.contains("c, changed")), "{found:?}");
}

#[test]
fn a_folder_that_only_newer_versions_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(SledStore::open(folder.path()).unwrap());
    fs::write(folder.path().join("format"), format!("skep data format {} readable from {}\n", FORMAT + 2, FORMAT + 1))
        .unwrap();
    let refused = SledStore::open(folder.path()).unwrap_err();
    assert!(matches!(refused, StoreError::Newer { found, .. } if found == FORMAT + 2), "{refused}");
}
