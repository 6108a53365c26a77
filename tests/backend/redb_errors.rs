//! What redb cannot do is said in a kind to act on, with the path, and without harm.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use eidetica_backend_redb::Redb;
use eidetica_contract::{Backend, Error, ErrorKind, Keyspace, Maintenance, Registry, Scan, WriteBatch};

use super::children;
use super::sqlite_errors::Disk;
use super::two_processes::beside;

const SPACE: Keyspace = Keyspace::new(1);

/// Opening fails with this kind, and names the path.
async fn refused(path: &Path, kind: ErrorKind) -> Error {
    let error = Redb::open(path).await.err().unwrap_or_else(|| panic!("{} can be opened", path.display()));
    assert_eq!(error.kind(), kind, "{error:?}");
    assert_eq!(error.context("path"), Some(path.to_str().unwrap()), "{error:?}");
    error
}

/// Opening is refused; the file is the same to the byte, and nothing new lies beside it.
async fn untouched(path: &Path, kind: ErrorKind) -> Error {
    let (bytes, others) = (std::fs::read(path).unwrap(), beside(path));
    let error = refused(path, kind).await;
    assert!(std::fs::read(path).unwrap() == bytes, "the file was touched");
    assert_eq!(beside(path), others, "files have appeared");
    error
}

async fn put(store: &Redb, key: u32, bytes: usize) -> eidetica_contract::Result<()> {
    let mut batch = WriteBatch::new();
    batch.put(SPACE, key.to_be_bytes().to_vec(), vec![7; bytes]);
    store.commit(batch).await
}

async fn rows(store: &Redb) -> eidetica_contract::Result<usize> {
    let view = store.snapshot().await?;
    Ok(view.scan(Scan::new(SPACE).rows(usize::MAX).bytes(usize::MAX)).await?.rows.len())
}

/// A closed store of 500 rows.
async fn store_in(directory: &Path) -> PathBuf {
    let path = directory.join("store.redb");
    let store = Redb::open(&path).await.unwrap();
    for key in 0..500 {
        put(&store, key, 300).await.unwrap();
    }
    store.close().await.unwrap();
    assert!(beside(&path).is_empty(), "a store is one file");
    path
}

#[tokio::test]
async fn a_place_where_no_store_can_be() {
    let directory = tempfile::tempdir().unwrap();
    refused(&directory.path().join("missing/store.redb"), ErrorKind::NotFound).await;
    refused(directory.path(), ErrorKind::InvalidInput).await;
    refused(Path::new("/dev/null"), ErrorKind::InvalidInput).await;
    let file = directory.path().join("file");
    std::fs::write(&file, "x").unwrap();
    refused(&file.join("store.redb"), ErrorKind::InvalidInput).await;
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing was created");
}

#[tokio::test]
async fn what_is_not_ours_is_left_untouched() {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in
        [("short.txt", b"My".to_vec()), ("notes.txt", b"My notes. ".repeat(1000)), ("zeros", vec![0; 9000])]
    {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        untouched(&path, ErrorKind::Corrupted).await;
    }
    let path = directory.path().join("another.redb");
    drop(redb::Database::create(&path).unwrap());
    untouched(&path, ErrorKind::InvalidInput).await;
}

#[tokio::test]
async fn a_newer_format_is_left_untouched() {
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path()).await;
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[16..20].copy_from_slice(&2u32.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    // One changed bit is no new format.
    untouched(&path, ErrorKind::Corrupted).await;
    bytes[20..24].copy_from_slice(&(!2u32).to_le_bytes());
    // Whatever else a newer one may look like.
    bytes[4096..].fill(0x77);
    std::fs::write(&path, &bytes).unwrap();
    let error = untouched(&path, ErrorKind::NewerFormat).await;
    assert_eq!((error.context("format"), error.context("known")), (Some("2"), Some("1")));
}

/// A crash may come while a store is made. Whoever opens it next makes it anew; nobody is asked to repair anything.
#[tokio::test]
async fn a_store_that_was_never_finished_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path()).await;
    let mut begun = std::fs::read(&path).unwrap();
    begun[24] = 0;
    let page = begun[..4096].to_vec();
    for found in [Vec::new(), page[..7].to_vec(), vec![0; 4096], page.clone(), begun[..9000].to_vec(), begun.clone()] {
        std::fs::write(&path, &found).unwrap();
        let store = Redb::open(&path).await.unwrap_or_else(|error| panic!("{} bytes: {error:?}", found.len()));
        assert_eq!(rows(&store).await.unwrap(), 0);
        put(&store, 1, 10).await.unwrap();
        store.close().await.unwrap();
        let store = Redb::open(&path).await.unwrap();
        assert_eq!(rows(&store).await.unwrap(), 1);
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_file_is_found_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path()).await;
    let whole = std::fs::read(&path).unwrap();
    let (mut checked, mut refused_at_once) = (0, 0);
    for damaged in 0..40 {
        let mut bytes = whole.clone();
        // Behind the header of redb, whose fields say where everything is; a page each time.
        let pages = bytes.len() / 4096;
        let page = 2 + damaged * 15_485_863 % (pages - 2);
        let used = bytes[page * 4096..(page + 1) * 4096].iter().any(|byte| *byte != 0);
        bytes[page * 4096..(page + 1) * 4096].fill(0x5a);
        std::fs::write(&path, bytes).unwrap();
        match Redb::open(&path).await {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupted, "{error:?}");
                refused_at_once += 1;
            }
            Ok(store) => {
                let all = rows(&store).await;
                match store.maintain(Maintenance::Check).await {
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupted, "{error:?}"),
                    Ok(()) => assert_eq!(all.as_ref().map(|rows| *rows).unwrap(), 500, "page {page} (used: {used})"),
                }
                checked += usize::from(all.is_err());
                if let Err(error) = all {
                    assert_eq!(error.kind(), ErrorKind::Corrupted, "{error:?}");
                }
                let _ = store.close().await;
            }
        }
    }
    println!("{checked} were found while reading, {refused_at_once} at opening");
    assert!(checked + refused_at_once > 5);
    for length in [whole.len() / 2, 8192, 5000, 4096, 30] {
        std::fs::write(&path, &whole[..length]).unwrap();
        refused(&path, ErrorKind::Corrupted).await;
    }
    // Nothing of it has left a lock behind.
    std::fs::write(&path, &whole).unwrap();
    let store = Redb::open(&path).await.unwrap();
    assert_eq!(rows(&store).await.unwrap(), 500);
    store.maintain(Maintenance::Check).await.unwrap();
}

/// A byte of a value that nothing but a checksum can tell.
#[tokio::test]
async fn a_check_finds_one_changed_byte() {
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path()).await;
    let mut bytes = std::fs::read(&path).unwrap();
    let store = Redb::open(&path).await.unwrap();
    let held = store.snapshot().await.unwrap();
    store.maintain(Maintenance::Check).await.expect("a snapshot does not hinder it");
    store.close().await.unwrap();
    drop(held);
    let at = bytes.windows(200).position(|part| part == [7; 200]).unwrap();
    bytes[at + 50] = 8;
    std::fs::write(&path, bytes).unwrap();
    let store = Redb::open(&path).await.unwrap();
    assert_eq!(rows(&store).await.unwrap(), 500);
    let error = store.maintain(Maintenance::Check).await.unwrap_err();
    assert_eq!((error.kind(), error.context("path")), (ErrorKind::Corrupted, path.to_str()), "{error:?}");
}

#[tokio::test]
async fn a_store_is_open_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path()).await;
    let store = Redb::open(&path).await.unwrap();
    assert!(!store.info().capabilities.shared);
    refused(&path, ErrorKind::Locked).await;
    let child = children::command("backend::redb_errors::child_is_locked_out", &path).output().unwrap();
    children::check(&child);
    put(&store, 1000, 10).await.unwrap();
    assert_eq!(rows(&store).await.unwrap(), 501);
    // A snapshot that is held keeps nobody out once the store is closed, or dropped.
    let held = store.snapshot().await.unwrap();
    store.close().await.unwrap();
    assert_eq!(held.get(SPACE, &[0; 4]).await.unwrap_err().kind(), ErrorKind::Closed);
    let store = Redb::open(&path).await.unwrap();
    let held = (held, store.snapshot().await.unwrap());
    put(&store, 1001, 10).await.unwrap();
    drop(store);
    assert_eq!(held.1.get(SPACE, &[0; 4]).await.unwrap_err().kind(), ErrorKind::Closed);
    let store = Redb::open(&path).await.unwrap();
    assert_eq!(rows(&store).await.unwrap(), 502);
}

#[tokio::test]
#[ignore = "is started by a_store_is_open_once"]
async fn child_is_locked_out() {
    let Some(path) = children::store() else { return };
    let error = refused(&path, ErrorKind::Locked).await;
    assert!(error.is_retryable() && error.message().contains("open already"), "{error}");
}

#[tokio::test]
async fn a_full_disk_loses_nothing() {
    let Some(disk) = Disk::new(8) else { return };
    let path = disk.path().join("store.redb");
    let store = Redb::builder(&path).page_cache(1 << 20).open().await.unwrap();
    let filler = disk.path().join("filler");
    std::fs::write(&filler, vec![1; 2 << 20]).unwrap();
    let (mut committed, mut flushed) = (0, 0);
    let error = loop {
        match put(&store, committed, 10_000).await {
            Ok(()) => committed += 1,
            Err(error) => break error,
        }
        if committed % 10 == 0 {
            match store.flush().await {
                Ok(()) => flushed = committed,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Full, "{error:?}"),
            }
        }
        assert!(committed < 2000, "the disk never becomes full");
    };
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Full, true), "{error:?}");
    assert_eq!(error.context("path"), Some(path.to_str().unwrap()));
    assert!(flushed > 100 && flushed < committed, "{flushed} of {committed} were flushed");
    assert_eq!(rows(&store).await.unwrap(), committed as usize, "what was visible stays visible");
    assert_eq!(put(&store, committed, 10).await.unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(store.flush().await.unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(store.maintain(Maintenance::Compact).await.unwrap_err().kind(), ErrorKind::Full);

    // As after a crash: what was flushed is there, and nothing that was not committed.
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("store.redb");
    std::fs::copy(&path, &copy).unwrap();
    let crashed = Redb::open(&copy).await.unwrap();
    let found = rows(&crashed).await.unwrap();
    assert!((flushed as usize..=committed as usize).contains(&found), "{flushed} <= {found} <= {committed}");
    crashed.close().await.unwrap();

    std::fs::remove_file(filler).unwrap();
    put(&store, committed, 10_000).await.expect("after making room it works on");
    store.flush().await.unwrap();
    assert_eq!(rows(&store).await.unwrap(), committed as usize + 1);
    store.maintain(Maintenance::Check).await.unwrap();
    store.close().await.unwrap();
    let store = Redb::open(&path).await.unwrap();
    assert_eq!(rows(&store).await.unwrap(), committed as usize + 1);
    store.close().await.unwrap();

    std::fs::write(disk.path().join("filler"), vec![1; 8 << 20]).unwrap_err();
    let new = disk.path().join("new.redb");
    refused(&new, ErrorKind::Full).await;
    assert!(!new.exists(), "what could not be made leaves nothing behind");
}

#[tokio::test]
async fn closing_on_a_full_disk_says_so_and_keeps_what_was_flushed() {
    let Some(disk) = Disk::new(4) else { return };
    let path = disk.path().join("store.redb");
    let store = Redb::open(&path).await.unwrap();
    put(&store, 0, 10).await.unwrap();
    store.flush().await.unwrap();
    std::fs::write(disk.path().join("filler"), vec![1; 4 << 20]).unwrap_err();
    put(&store, 1, 1 << 20).await.unwrap();
    assert_eq!(store.close().await.unwrap_err().kind(), ErrorKind::Full);
    store.close().await.unwrap();
    std::fs::remove_file(disk.path().join("filler")).unwrap();
    let store = Redb::open(&path).await.unwrap();
    assert_eq!(rows(&store).await.unwrap(), 1);
}

#[tokio::test]
async fn a_read_only_disk_can_be_read() {
    let Some(disk) = Disk::new(16) else { return };
    let path = store_in(disk.path()).await;
    let unclosed = disk.path().join("unclosed.redb");
    {
        let open = Redb::open(&path).await.unwrap();
        std::fs::copy(&path, &unclosed).unwrap();
        open.close().await.unwrap();
    }
    disk.remount("ro");
    let store = Redb::open(&path).await.unwrap();
    assert_eq!(rows(&store).await.unwrap(), 500);
    let error = put(&store, 1000, 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error:?}");
    assert_eq!(error.context("path"), Some(path.to_str().unwrap()));
    store.flush().await.expect("there is nothing to make durable");
    store.maintain(Maintenance::Check).await.unwrap();
    assert_eq!(store.maintain(Maintenance::Compact).await.unwrap_err().kind(), ErrorKind::ReadOnly);
    // Several may read.
    let other = Redb::open(&path).await.unwrap();
    assert_eq!(rows(&other).await.unwrap(), 500);
    other.close().await.unwrap();
    store.close().await.unwrap();
    let error = refused(&disk.path().join("new.redb"), ErrorKind::ReadOnly).await;
    assert!(error.message().contains("no redb store can be made here"), "{error}");
    let error = refused(&unclosed, ErrorKind::ReadOnly).await;
    assert!(error.message().contains("was not closed"), "{error}");
}

#[tokio::test]
async fn compacting_gives_space_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = Redb::open(&path).await.unwrap();
    for key in 0..200 {
        put(&store, key, 50_000).await.unwrap();
    }
    let held = store.snapshot().await.unwrap();
    let mut batch = WriteBatch::new();
    batch.delete_range(SPACE, 10u32.to_be_bytes().to_vec(), None);
    store.commit(batch).await.unwrap();
    store.maintain(Maintenance::Compact).await.expect("a snapshot that is held does not fail it");
    let all = held.scan(Scan::new(SPACE).rows(usize::MAX).bytes(usize::MAX)).await.unwrap();
    assert_eq!(all.rows.len(), 200, "and the snapshot stays what it is");
    drop((all, held));
    let before = std::fs::metadata(&path).unwrap().len();
    store.maintain(Maintenance::Compact).await.unwrap();
    let after = std::fs::metadata(&path).unwrap().len();
    assert!(before > 10_000_000 && after < 2_000_000, "{before} bytes, then {after}");
    assert_eq!(rows(&store).await.unwrap(), 10);
    store.maintain(Maintenance::Check).await.unwrap();
}

#[tokio::test]
async fn only_the_owner_can_read_a_new_store_and_an_old_one_keeps_its_mode() {
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path()).await;
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let store = Redb::open(&path).await.unwrap();
    put(&store, 1, 10).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(mode(), 0o640);
}

#[tokio::test]
async fn urls_open_stores() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::linked().unwrap();
    let url = format!("redb:{}", directory.path().join("store.redb").display());
    let store = registry.open_backend(&url).await.unwrap();
    assert_eq!(store.info().name, "redb");
    for backend in registry.backends() {
        let url = match backend.scheme() {
            "memory" => "memory:".to_owned(),
            scheme => format!("{scheme}:{}", directory.path().join(scheme).display()),
        };
        let store = registry.open_backend(&url).await.unwrap();
        assert_eq!(store.info().capabilities, backend.capabilities(), "{backend:?} says what it can do");
    }
    store.close().await.unwrap();
    assert_eq!(registry.open_backend("redb:").await.err().unwrap().kind(), ErrorKind::InvalidInput);
}
