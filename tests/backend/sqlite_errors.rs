//! What SQLite cannot do is said in a kind to act on, with the path, and without harm.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use eidetica::Instance;
use eidetica_backend_sqlite::Sqlite;
use eidetica_contract::{Backend, Error, ErrorKind, Keyspace, Maintenance, Registry, Scan, WriteBatch};
use rusqlite::Connection;
use tempfile::TempDir;

use super::two_processes::beside;

const SPACE: Keyspace = Keyspace::new(1);

/// Opening fails with this kind, and names the path.
async fn refused(path: &Path, kind: ErrorKind) -> Error {
    let error = impatient(path).await.err().unwrap_or_else(|| panic!("{} can be opened", path.display()));
    assert_eq!(error.kind(), kind, "{error:?}");
    assert_eq!(error.context("path"), Some(path.to_str().unwrap()), "{error:?}");
    error
}

async fn impatient(path: &Path) -> eidetica_contract::Result<Sqlite> {
    Sqlite::builder().path(path).lock_timeout(Duration::from_millis(50)).open().await
}

async fn put(store: &Sqlite, key: u32, bytes: usize) -> eidetica_contract::Result<()> {
    let mut batch = WriteBatch::new();
    batch.put(SPACE, key.to_be_bytes().to_vec(), vec![7; bytes]);
    store.commit(batch).await
}

async fn rows(store: &Sqlite) -> eidetica_contract::Result<usize> {
    let view = store.snapshot().await?;
    Ok(view.scan(Scan::new(SPACE).rows(usize::MAX).bytes(usize::MAX)).await?.rows.len())
}

/// A closed store of 500 rows.
async fn store_in(directory: &Path) -> PathBuf {
    let path = directory.join("store.db");
    let store = Sqlite::open(&path).await.unwrap();
    for key in 0..500 {
        put(&store, key, 300).await.unwrap();
    }
    store.close().await.unwrap();
    assert!(beside(&path).is_empty(), "a closed store is one file");
    path
}

fn change(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_place_where_no_store_can_be() {
    let directory = tempfile::tempdir().unwrap();
    refused(&directory.path().join("missing/store.db"), ErrorKind::NotFound).await;
    refused(directory.path(), ErrorKind::InvalidInput).await;
    let file = directory.path().join("file");
    std::fs::write(&file, "x").unwrap();
    refused(&file.join("store.db"), ErrorKind::InvalidInput).await;
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing was created");
}

#[tokio::test]
async fn what_is_not_ours_is_left_untouched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    std::fs::write(&path, "My notes. ".repeat(1000)).unwrap();
    untouched(&path, ErrorKind::Corrupted).await;

    let path = directory.path().join("another.db");
    change(&path, "PRAGMA journal_mode = WAL; CREATE TABLE songs (title TEXT); INSERT INTO songs VALUES ('x')");
    untouched(&path, ErrorKind::InvalidInput).await;

    // Also one that carries our name, but no version that ever was.
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path()).await;
    change(&path, "PRAGMA user_version = 0");
    untouched(&path, ErrorKind::InvalidInput).await;
}

#[tokio::test]
async fn a_newer_format_is_left_untouched() {
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path()).await;
    change(&path, "PRAGMA user_version = 2");
    let error = untouched(&path, ErrorKind::NewerFormat).await;
    assert_eq!((error.context("format"), error.context("known")), (Some("2"), Some("1")));
}

/// The newer version has crashed: only its log says that the file is newer. Then the log must stay as it is as well.
#[tokio::test]
async fn a_newer_format_in_the_log_is_left_untouched() {
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path()).await;
    let crashed = tempfile::tempdir().unwrap();
    let newer = Connection::open(&path).unwrap();
    newer.execute_batch("PRAGMA user_version = 2").unwrap();
    for name in ["store.db", "store.db-wal"] {
        std::fs::copy(directory.path().join(name), crashed.path().join(name)).unwrap();
    }
    drop(newer);
    let (path, log) = (crashed.path().join("store.db"), crashed.path().join("store.db-wal"));
    let before = (std::fs::read(&path).unwrap(), std::fs::read(&log).unwrap());
    assert!(!before.1.is_empty());
    refused(&path, ErrorKind::NewerFormat).await;
    assert!((std::fs::read(&path).unwrap(), std::fs::read(&log).unwrap()) == before, "something was touched");
}

/// Opening is refused; the file is the same to the byte, and nothing new lies beside it.
async fn untouched(path: &Path, kind: ErrorKind) -> Error {
    let (bytes, others) = (std::fs::read(path).unwrap(), beside(path));
    let error = refused(path, kind).await;
    assert!(std::fs::read(path).unwrap() == bytes, "the file was touched");
    assert_eq!(beside(path), others, "files have appeared");
    error
}

#[tokio::test]
async fn a_damaged_file_is_found_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path()).await;
    let whole = std::fs::read(&path).unwrap();

    let mut damaged = whole.clone();
    // Behind the first page, and so behind the description of the tables, which fill the pages up to here.
    let pages = 20 * 4096;
    damaged[pages..].fill(0x5a);
    std::fs::write(&path, damaged).unwrap();
    let store = impatient(&path).await.unwrap();
    assert_eq!(store.maintain(Maintenance::Check).await.unwrap_err().kind(), ErrorKind::Corrupted);
    assert_eq!(rows(&store).await.unwrap_err().kind(), ErrorKind::Corrupted);
    // The damage shows in the middle of a batch: what came before it must go as well.
    let intact = Keyspace::new(9);
    let mut batch = WriteBatch::new();
    batch.put(intact, "key", "value");
    batch.put(SPACE, 250_u32.to_be_bytes().to_vec(), "value");
    batch.put(intact, "key 2", "value");
    assert_eq!(store.commit(batch).await.unwrap_err().kind(), ErrorKind::Corrupted);
    assert_eq!(store.snapshot().await.unwrap().get(intact, b"key").await.unwrap(), None, "half of a batch is there");
    let mut batch = WriteBatch::new();
    batch.put(intact, "key 3", "value");
    store.commit(batch).await.expect("what is not damaged can be used on");
    assert_eq!(store.snapshot().await.unwrap().get(intact, b"key").await.unwrap(), None, "half of a batch came later");
    drop(store);

    for length in [whole.len() / 2, 4096, 1000, 10] {
        std::fs::write(&path, &whole[..length]).unwrap();
        remove_beside(&path);
        refused(&path, ErrorKind::Corrupted).await;
    }

    std::fs::write(&path, &whole).unwrap();
    remove_beside(&path);
    change(&path, "DROP TABLE k9");
    refused(&path, ErrorKind::Corrupted).await;
}

fn remove_beside(path: &Path) {
    for name in beside(path) {
        std::fs::remove_file(path.with_file_name(name)).unwrap();
    }
}

#[tokio::test]
async fn a_locked_store_says_so_and_works_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path()).await;
    let store = impatient(&path).await.unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = put(&store, 1000, 10).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Locked, true), "{error:?}");
    assert_eq!(error.context("path"), Some(path.to_str().unwrap()));
    assert_eq!(rows(&store).await.unwrap(), 500, "reading goes on");
    other.execute_batch("ROLLBACK").unwrap();
    put(&store, 1000, 10).await.unwrap();
    assert_eq!(rows(&store).await.unwrap(), 501);
    store.close().await.unwrap();

    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    refused(&path, ErrorKind::Locked).await;
    drop(other);
    impatient(&path).await.unwrap();
}

/// Somebody who waits long enough gets in.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_lock_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path()).await;
    let store = Sqlite::open(&path).await.unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = tokio::spawn(async move { put(&store, 1000, 10).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    other.execute_batch("ROLLBACK").unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_full_disk_loses_nothing() {
    let Some(disk) = Disk::new(2) else { return };
    let path = disk.path().join("store.db");
    let store = Sqlite::open(&path).await.unwrap();
    let filler = disk.path().join("filler");
    std::fs::write(&filler, vec![1; 512 << 10]).unwrap();
    let mut committed = 0;
    let error = loop {
        match put(&store, committed, 10_000).await {
            Ok(()) => committed += 1,
            Err(error) => break error,
        }
        assert!(committed < 1000, "the disk never becomes full");
    };
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Full, true), "{error:?}");
    assert_eq!(error.context("path"), Some(path.to_str().unwrap()));
    assert_eq!(rows(&store).await.unwrap(), committed as usize, "reading goes on");
    assert_eq!(put(&store, committed, 10_000).await.unwrap_err().kind(), ErrorKind::Full);

    std::fs::remove_file(filler).unwrap();
    put(&store, committed, 10_000).await.expect("after making room it works on");
    store.flush().await.unwrap();
    drop(store);
    let store = Sqlite::open(&path).await.unwrap();
    assert_eq!(rows(&store).await.unwrap(), committed as usize + 1);
    store.close().await.unwrap();

    std::fs::write(disk.path().join("filler"), vec![1; 4 << 20]).unwrap_err();
    refused(&disk.path().join("new.db"), ErrorKind::Full).await;
}

#[tokio::test]
async fn a_read_only_disk_can_be_read() {
    let Some(disk) = Disk::new(16) else { return };
    let path = store_in(disk.path()).await;
    let databases = disk.path().join("databases.db");
    let instance = Instance::open(Box::new(Sqlite::open(&databases).await.unwrap())).await.unwrap();
    instance.close().await.unwrap();
    disk.remount("ro");
    let store = Sqlite::open(&path).await.unwrap();
    assert_eq!(rows(&store).await.unwrap(), 500);
    let error = put(&store, 1000, 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error:?}");
    assert_eq!(error.context("path"), Some(path.to_str().unwrap()));
    store.flush().await.expect("there is nothing to make durable");
    store.maintain(Maintenance::Check).await.unwrap();
    assert_eq!(store.maintain(Maintenance::Compact).await.unwrap_err().kind(), ErrorKind::ReadOnly);
    store.close().await.unwrap();
    let new = disk.path().join("new.db");
    refused(&new, ErrorKind::ReadOnly).await;
    let error = Sqlite::open(&new).await.err().unwrap();
    assert!(error.message().contains("no SQLite store can be made here"), "{error}");
    // A store of databases counts its openings, so it says what to do instead.
    let store = Sqlite::open(&databases).await.unwrap();
    let error = Instance::open(Box::new(store)).await.err().unwrap();
    assert_eq!((error.kind(), error.context("path")), (ErrorKind::ReadOnly, databases.to_str()), "{error:?}");
    assert!(error.message().contains("even reading") && error.message().contains("copy it elsewhere"), "{error}");

    // After a crash the file alone is not all: what the log holds cannot be left out silently.
    disk.remount("rw");
    let store = Sqlite::open(&path).await.unwrap();
    put(&store, 1000, 10).await.unwrap();
    drop(store);
    std::fs::remove_file(disk.path().join("store.db-shm")).unwrap();
    disk.remount("ro");
    match Sqlite::open(&path).await {
        Ok(store) => assert_eq!(rows(&store).await.unwrap(), 501),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error:?}"),
    }
}

#[tokio::test]
async fn urls_open_stores() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::linked().unwrap();
    let url = format!("sqlite:{}", directory.path().join("store.db").display());
    for (url, durable) in [(url.as_str(), true), ("sqlite::memory:", false), ("memory:", false)] {
        let store = registry.open_backend(url).await.unwrap();
        assert_eq!(store.info().capabilities.durable, durable, "{url}");
        store.close().await.unwrap();
    }
    for url in ["sqlite:", "memory:name"] {
        assert_eq!(registry.open_backend(url).await.err().unwrap().kind(), ErrorKind::InvalidInput);
    }
}

/// A small disk.
pub(crate) struct Disk(TempDir);

impl Disk {
    /// `None` where disks cannot be mounted and somebody has said so openly.
    pub(crate) fn new(megabytes: u32) -> Option<Disk> {
        let directory = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory.path()).status();
        if mounted.as_ref().is_ok_and(|status| status.success()) {
            return Some(Disk(directory));
        }
        if std::env::var_os("EIDETICA_NO_TMPFS").is_some_and(|value| value == "1") {
            eprintln!("NOT TESTED, as EIDETICA_NO_TMPFS says: full and read-only disks");
            return None;
        }
        panic!("a small disk cannot be mounted (it takes root); set EIDETICA_NO_TMPFS=1 to do without: {mounted:?}");
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn remount(&self, mode: &str) {
        let status = Command::new("mount").arg("-o").arg(format!("remount,{mode}")).arg(self.path()).status().unwrap();
        assert!(status.success(), "cannot remount {mode}: a file is still open for writing");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
