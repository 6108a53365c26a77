//! That a flush reaches the disk, seen from outside: by the system calls of a process.

use std::path::Path;
use std::process::Command;

use eidetica_backend_sqlite::Sqlite;
use eidetica_contract::{Backend, Keyspace, Maintenance, WriteBatch};

use super::children;

const SPACE: Keyspace = Keyspace::new(0);
const ROUNDS: usize = 5;

#[test]
fn a_flush_reaches_the_disk_before_it_returns() {
    let directory = tempfile::tempdir().unwrap();
    let Some(trace) = trace("backend::durability::child_flushes", directory.path()) else { return };
    let of_the_log = |line: &String| line.contains("store.db-wal>") && syncs(std::slice::from_ref(line)) == 1;
    for round in 0..ROUNDS {
        let during_commit = between(&trace, &format!("begin {round}"), &format!("committed {round}"));
        // The first one starts the log, and SQLite syncs its header before anything rests on it.
        let allowed = if round == 0 { 1 } else { 0 };
        assert!(syncs(during_commit) <= allowed, "a commit waits for the disk: {during_commit:#?}");
        let during_flush = between(&trace, &format!("committed {round}"), &format!("flushed {round}"));
        assert!(during_flush.iter().any(of_the_log), "no sync of the log: {during_flush:#?}");
    }
    let first = between(&trace, "committed 0", "flushed 0");
    let of_the_directory = format!("<{}>)", directory.path().display());
    assert!(first.iter().any(|line| line.contains(&of_the_directory)), "the names are not synced: {first:#?}");

    assert_eq!(syncs(between(&trace, "idle", "idle end")), 0, "a flush after which nothing was committed syncs");
    assert_eq!(syncs(between(&trace, "together", "together end")), 1, "32 flushes at once share one sync");
    // Whatever moves the log away must make durable what was in it, since no later flush will.
    assert!(syncs(between(&trace, "compact", "compact end")) >= 2);
    // While another handle has the file open, closing leaves the log where it is.
    let during_close = between(&trace, "close", "close end");
    assert!(during_close.iter().any(of_the_log), "no sync of the log: {during_close:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is started by a_flush_reaches_the_disk_before_it_returns"]
async fn child_flushes() {
    let Some(path) = children::store() else { return };
    let store = std::sync::Arc::new(Sqlite::open(&path).await.unwrap());
    for round in 0..ROUNDS {
        mark(&format!("begin {round}"));
        put(&store, round).await;
        mark(&format!("committed {round}"));
        store.flush().await.unwrap();
        mark(&format!("flushed {round}"));
    }
    mark("idle");
    for _ in 0..10 {
        store.flush().await.unwrap();
    }
    mark("idle end");
    put(&store, ROUNDS).await;
    mark("together");
    let mut flushing = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let store = store.clone();
        flushing.spawn(async move { store.flush().await });
    }
    while let Some(done) = flushing.join_next().await {
        done.unwrap().unwrap();
    }
    mark("together end");
    mark("compact");
    store.maintain(Maintenance::Compact).await.unwrap();
    mark("compact end");
    let other = Sqlite::open(&path).await.unwrap();
    // Two: the first one starts the log, whose header SQLite syncs anyway.
    put(&store, ROUNDS + 1).await;
    put(&store, ROUNDS + 2).await;
    mark("close");
    store.close().await.unwrap();
    mark("close end");
    drop(other);
}

/// In memory nothing needs to survive: not one sync, from opening to closing.
/// What an earlier process has left in the log may be what its flush has failed to write: the system's cache shows it as
/// written. So the first flush writes it once more, and changes nothing by that.
#[tokio::test]
async fn the_first_flush_writes_anew_what_it_has_found() {
    let directory = tempfile::tempdir().unwrap();
    let (path, log) = (directory.path().join("store.db"), directory.path().join("store.db-wal"));
    let store = Sqlite::open(&path).await.unwrap();
    for number in 0..ROUNDS {
        put(&store, number).await;
    }
    drop(store);
    let before = std::fs::read(&log).unwrap();
    assert!(!before.is_empty());
    let written = || std::fs::metadata(&log).unwrap().modified().unwrap();
    let store = Sqlite::open(&path).await.unwrap();
    let found = written();
    // A snapshot that is held does not hinder it.
    let held = store.snapshot().await.unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    store.flush().await.unwrap();
    let anew = written();
    assert!(anew > found, "the log was written once more");
    assert!(std::fs::read(&log).unwrap() == before, "as it was");
    std::thread::sleep(std::time::Duration::from_millis(20));
    store.flush().await.unwrap();
    assert_eq!(written(), anew, "once is enough");
    let all = store.snapshot().await.unwrap().scan(eidetica_contract::Scan::new(SPACE)).await.unwrap();
    assert_eq!(all.rows.len(), ROUNDS);
    drop(held);
    store.close().await.unwrap();
}

#[test]
fn in_memory_never_waits_for_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let Some(trace) = trace("backend::durability::child_in_memory", directory.path()) else { return };
    let all = between(&trace, "open", "end");
    assert_eq!(syncs(all), 0, "{all:#?}");
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "trace"), "left behind: {left:?}");
}

#[tokio::test]
#[ignore = "is started by in_memory_never_waits_for_the_disk"]
async fn child_in_memory() {
    let Some(path) = children::store() else { return };
    let directory = path.parent().unwrap();
    let entries = || std::fs::read_dir(directory).unwrap().count();
    let before = entries();
    mark("open");
    for close in [true, false] {
        let store = Sqlite::in_memory().await.unwrap();
        assert_eq!(entries(), before + 1, "it lies in a directory below TMPDIR");
        put(&store, 1).await;
        store.flush().await.unwrap();
        let view = store.snapshot().await.unwrap();
        if close {
            store.close().await.unwrap();
            assert_eq!(entries(), before, "closing removes the directory");
        }
        drop(view);
        drop(store);
        assert_eq!(entries(), before, "dropping removes the directory");
    }
    mark("end");
}

async fn put(store: &Sqlite, number: usize) {
    let mut batch = WriteBatch::new();
    batch.put(SPACE, number.to_be_bytes().to_vec(), "value");
    store.commit(batch).await.unwrap();
}

/// Leaves a mark in the trace: a write that nobody else makes.
pub(crate) fn mark(text: &str) {
    std::fs::write("/dev/null", format!("MARK {text};")).unwrap();
}

/// The system calls of a child, in their order. `None` where this cannot be tested and somebody has said so openly.
pub(crate) fn trace(test: &str, directory: &Path) -> Option<Vec<String>> {
    let file = directory.join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-s", "200", "-e", "trace=fsync,fdatasync,write", "-o"]).arg(&file);
    let output = children::command_below(strace, test, &directory.join("store.db")).env("TMPDIR", directory).output();
    match output {
        Ok(output) if file.exists() => children::check(&output),
        _ if std::env::var_os("EIDETICA_NO_STRACE").is_some_and(|value| value == "1") => {
            eprintln!("NOT TESTED, as EIDETICA_NO_STRACE says: that a flush reaches the disk");
            return None;
        }
        other => panic!("strace is needed (apt-get install strace); set EIDETICA_NO_STRACE=1 to do without: {other:?}"),
    }
    let text = std::fs::read_to_string(file).unwrap();
    Some(joined(&text))
}

/// A call during which another thread runs is written in two lines. Only its end counts: then it has happened.
fn joined(text: &str) -> Vec<String> {
    let mut begun = std::collections::HashMap::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        let (thread, call) = line.split_once(' ').unwrap_or((line, ""));
        if let Some(start) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, start);
        } else if let Some((_, end)) = call.split_once(" resumed>") {
            lines.push(format!("{}{end}", begun.remove(thread).unwrap_or_default()));
        } else {
            lines.push(call.trim_start().to_owned());
        }
    }
    lines
}

/// What lies between two marks.
pub(crate) fn between<'a>(trace: &'a [String], from: &str, to: &str) -> &'a [String] {
    let find = |mark: &str| {
        let mark = format!("MARK {mark};");
        trace.iter().position(|line| line.contains(&mark)).unwrap_or_else(|| panic!("{mark} is not in the trace"))
    };
    &trace[find(from) + 1..find(to)]
}

pub(crate) fn syncs(trace: &[String]) -> usize {
    trace.iter().filter(|line| line.contains("sync(") && line.ends_with("= 0")).count()
}
