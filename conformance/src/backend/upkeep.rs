//! Housekeeping, and what a backend says of itself.

use eidetica_contract::{ErrorKind, Maintenance};

use super::{Ground, ONE, dump, kind};
use crate::Case;
use crate::case::case;

pub(super) const CASES: &[Case] = &[
    case!(Backend, must "backend.upkeep.says-the-same", "Constant while the store is open; never waits.", says_the_same),
    case!(Backend, must "backend.upkeep.limits-are-enough",
        "What this backend is and what it can do.", limits_are_enough),
    case!(Backend, must "backend.upkeep.compacts",
        "Does one piece of housekeeping. The contents of the store stay what they are, after an error, too. It works while snapshots are held.", compacts,
        need Compact),
    case!(Backend, must "backend.upkeep.checks",
        "Does one piece of housekeeping. The contents of the store stay what they are, after an error, too. It works while snapshots are held.", checks,
        need Check),
    case!(Backend, must "backend.upkeep.refuses-to-compact",
        "`Unsupported` for a job that is not among the [`Capabilities`] or that this version does not know, before anything is done",
        refuses_to_compact, unless Compact),
    case!(Backend, must "backend.upkeep.refuses-to-check",
        "`Unsupported` for a job that is not among the [`Capabilities`] or that this version does not know, before anything is done",
        refuses_to_check, unless Check),
];

async fn says_the_same(ground: Ground) {
    let store = ground.fresh().await;
    let before = store.backend.info();
    assert!(!before.name.is_empty(), "it has no name");
    store.put("k", "v").await;
    store.backend.flush().await.expect("a flush");
    assert_eq!(store.backend.info(), before);
}

/// What the engine writes has keys and values up to the defaults.
async fn limits_are_enough(ground: Ground) {
    let limits = ground.fresh().await.backend.info().limits;
    let needed = eidetica_contract::Limits::default();
    assert!(limits.max_key >= needed.max_key && limits.max_value >= needed.max_value, "{limits:?} is too little");
}

async fn compacts(ground: Ground) {
    works(&ground, Maintenance::Compact).await;
}

async fn checks(ground: Ground) {
    works(&ground, Maintenance::Check).await;
}

async fn refuses_to_compact(ground: Ground) {
    is_refused(&ground, Maintenance::Compact).await;
}

async fn refuses_to_check(ground: Ground) {
    is_refused(&ground, Maintenance::Check).await;
}

async fn works(ground: &Ground, job: Maintenance) {
    let store = ground.fresh().await;
    store.backend.maintain(job).await.expect("on an empty store");
    for n in 0..40u8 {
        store.put(vec![n], vec![n; 10_000]).await;
    }
    let mut batch = eidetica_contract::WriteBatch::new();
    batch.delete_range(ONE, vec![10], Some(vec![30].into()));
    store.commit(batch).await;
    let (view, before) = (store.snapshot().await, store.dump().await);
    store.backend.maintain(job).await.expect("with a snapshot held");
    assert!(store.dump().await == before, "it has changed what is in the store");
    assert!(dump(&*view).await == before, "it has changed what a snapshot shows");
    drop(view);
    store.backend.maintain(job).await.expect("without one");
    assert!(store.dump().await == before, "it has changed what is in the store");
    store.put("after", "v").await;
}

async fn is_refused(ground: &Ground, job: Maintenance) {
    let store = ground.fresh().await;
    store.put("k", "v").await;
    let before = store.dump().await;
    assert_eq!(kind(store.backend.maintain(job).await), Some(ErrorKind::Unsupported));
    assert_eq!(store.dump().await, before);
}
