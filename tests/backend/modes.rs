//! Who may read the files of a store.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use eidetica_backend_sqlite::Sqlite;
use eidetica_contract::{Backend, Keyspace, WriteBatch};

use super::children;

async fn write(store: &Sqlite) {
    let mut batch = WriteBatch::new();
    batch.put(Keyspace::new(0), "key", "value");
    store.commit(batch).await.unwrap();
    store.flush().await.unwrap();
}

/// The modes of all files in the directory, while the store is open.
fn modes(directory: &std::path::Path) -> Vec<(String, u32)> {
    let files = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let mode = |file: &std::fs::DirEntry| file.metadata().unwrap().permissions().mode() & 0o777;
    let mut modes: Vec<_> = files.map(|file| (file.file_name().into_string().unwrap(), mode(&file))).collect();
    modes.sort();
    modes
}

#[test]
fn only_the_owner_can_read_the_files_of_a_new_store_whatever_the_umask() {
    let directory = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 0; exec \"$0\" \"$@\""]);
    let child = children::command_below(shell, "backend::modes::child_makes_a_store", &directory.path().join("s.db"));
    children::finish({ child }.spawn().unwrap());
}

#[tokio::test]
#[ignore = "a child of another test"]
async fn child_makes_a_store() {
    let Some(path) = children::store() else { return };
    let directory = path.parent().unwrap();
    // That the umask really lets everybody in.
    std::fs::write(directory.join("other"), "").unwrap();
    let store = Sqlite::open(&path).await.unwrap();
    write(&store).await;
    let expected = [("other", 0o666), ("s.db", 0o600), ("s.db-shm", 0o600), ("s.db-wal", 0o600)];
    assert_eq!(modes(directory), expected.map(|(name, mode)| (name.to_owned(), mode)));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_there_keeps_the_mode_that_its_owner_gave_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.db");
    Sqlite::open(&path).await.unwrap().close().await.unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let store = Sqlite::open(&path).await.unwrap();
    write(&store).await;
    assert!(modes(directory.path()).iter().all(|(_, mode)| *mode == 0o640), "{:?}", modes(directory.path()));
    store.close().await.unwrap();
}
