//! The end of a store.

use eidetica_contract::{ErrorKind, Maintenance};
use tokio::task::JoinSet;

use super::{Ground, ONE, kind, put};
use crate::Case;
use crate::case::case;

pub(super) const CASES: &[Case] = &[
    case!(Backend, must "backend.closing.everything-says-so",
        "Once [`close`](Backend::close) has begun, every method but [`info`](Backend::info) and `close` itself answers [`ErrorKind::Closed`]; `info` answers what it has always answered.",
        everything_says_so),
    case!(Backend, must "backend.closing.twice-is-fine",
        "Calling it again succeeds and does nothing, after an error as well.", twice_is_fine),
    case!(Backend, must "backend.closing.late-commits-leave-nothing",
        "Calls that began before come to their end or answer `Closed`; a commit that answers `Closed` has written nothing.",
        late_commits, need Durable),
];

async fn everything_says_so(ground: Ground) {
    let store = ground.fresh().await;
    store.put("k", "v").await;
    let info = store.backend.info();
    store.backend.close().await.expect("it closes");
    assert_eq!(store.backend.info(), info);
    let closed = Some(ErrorKind::Closed);
    assert_eq!(kind(store.backend.commit(put(ONE, "late", "v")).await), closed, "commit");
    assert_eq!(kind(store.backend.flush().await), closed, "flush");
    assert_eq!(kind(store.backend.snapshot().await), closed, "snapshot");
    // Where one process owns the store, the number is always the same and needs nothing that is closed.
    if info.capabilities.shared {
        assert_eq!(kind(store.backend.changed().await), closed, "changed");
    }
    for (job, declared) in
        [(Maintenance::Compact, info.capabilities.compact), (Maintenance::Check, info.capabilities.check)]
    {
        if declared {
            assert_eq!(kind(store.backend.maintain(job).await), closed, "{job:?}");
        }
    }
}

async fn twice_is_fine(ground: Ground) {
    let store = ground.fresh().await;
    let view = store.snapshot().await;
    for _ in 0..3 {
        store.backend.close().await.expect("it closes");
    }
    // A snapshot that is held answers `Closed`, or stays usable.
    let late = view.get(ONE, b"k").await;
    assert!(late.as_ref().is_ok_and(Option::is_none) || kind(late) == Some(ErrorKind::Closed));
}

async fn late_commits(ground: Ground) {
    let mut store = ground.fresh().await;
    for round in 0..5u8 {
        let mut tasks = JoinSet::new();
        for n in 0..16u8 {
            let backend = store.backend.clone();
            tasks.spawn(async move {
                tokio::task::yield_now().await;
                (n, backend.commit(put(ONE, vec![round, n], vec![n; 5000])).await)
            });
        }
        tokio::task::yield_now().await;
        let closed = store.backend.close().await;
        let told = tasks.join_all().await;
        closed.expect("it closes");
        let late = store.backend.commit(put(ONE, vec![round, 200], "late")).await;
        assert_eq!(kind(late), Some(ErrorKind::Closed), "a store that was closed takes a commit");
        store = store.reopen().await;
        assert_eq!(store.get(ONE, &[round, 200]).await, None, "a commit that answered `Closed` is there");
        for (n, result) in told {
            let there = store.get(ONE, &[round, n]).await.is_some();
            match result {
                Ok(()) => assert!(there, "a commit that succeeded before the end is gone"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
                    assert!(!there, "a commit that answered `Closed` is there");
                }
            }
        }
    }
}
