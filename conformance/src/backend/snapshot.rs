//! Reading: what a snapshot shows, and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use eidetica_contract::{Scan, WriteBatch};
use tokio::task::JoinSet;

use super::{Ground, ONE, OTHER, dump, put};
use crate::Case;
use crate::case::case;
use crate::transport::until;

pub(super) const CASES: &[Case] = &[
    case!(Backend, must "backend.snapshot.does-not-change",
        "A view of the store as it is now, which later commits do not change.", does_not_change),
    case!(Backend, must "backend.snapshot.shows-whole-commits",
        "Every snapshot shows the effect of a prefix of it, and a later snapshot never shows a shorter prefix than an earlier one.",
        shows_whole_commits, sees ["a commit landed between two looks"]),
    case!(Backend, must "backend.snapshot.many-keys-in-their-order",
        "The values of these keys, in the order of the keys; `None` for a key that is absent.", many_keys),
    case!(Backend, must "backend.snapshot.long-key-is-absent", "A key over the limit is simply absent.", long_key),
];

async fn does_not_change(ground: Ground) {
    let store = ground.fresh().await;
    let mut kept = vec![(store.snapshot().await, store.dump().await)];
    for n in 0..20u8 {
        let mut batch = put(ONE, vec![n], vec![n; 1000]);
        batch.put(OTHER, "k", vec![n]);
        if n % 3 == 0 {
            batch.delete_range(ONE, "", None);
        }
        store.commit(batch).await;
        if n % 4 == 0 {
            store.backend.flush().await.expect("a flush");
        }
        kept.push((store.snapshot().await, store.dump().await));
    }
    for (n, (view, expected)) in kept.iter().enumerate() {
        assert!(&dump(&**view).await == expected, "the snapshot after {n} commits has changed");
    }
}

/// A writer raises a number in two keyspaces; readers never see them differ, nor go back.
async fn shows_whole_commits(ground: Ground) {
    let store = ground.fresh().await;
    let both = |n: u32| {
        let mut batch = put(ONE, "n", n.to_be_bytes().to_vec());
        batch.put(OTHER, "n", n.to_be_bytes().to_vec());
        batch
    };
    store.commit(both(0)).await;
    let seen = Arc::new(AtomicU32::new(0));
    let mut readers = JoinSet::new();
    for _ in 0..3 {
        let (backend, seen) = (store.backend.clone(), seen.clone());
        readers.spawn(async move {
            let (mut last, mut moved) = (0, false);
            while last < 300 {
                let view = backend.snapshot().await.unwrap();
                let one = view.get(ONE, b"n").await.unwrap();
                let page = view.scan(Scan::prefix(OTHER, b"n")).await.unwrap();
                let other = page.rows.first().map(|row| row.1.clone());
                assert_eq!(one, other, "half of a commit is visible");
                let now = u32::from_be_bytes(one.unwrap()[..].try_into().unwrap());
                assert!(now >= last, "a later snapshot shows less: {now} after {last}");
                moved |= last != 0 && now != last && now != 300;
                last = now;
                seen.fetch_max(now, Ordering::AcqRel);
                tokio::task::yield_now().await;
            }
            moved
        });
    }
    for n in 1..=300 {
        store.commit(both(n)).await;
        tokio::task::yield_now().await;
        if n % 100 == 0 && n < 300 {
            // On a busy machine all commits might be done before anybody looks.
            until("somebody sees the commits", || {
                // No reader is done yet, but by a failed assertion, which is then the answer of this case.
                if let Some(Err(failed)) = readers.try_join_next() {
                    std::panic::resume_unwind(failed.into_panic());
                }
                seen.load(Ordering::Acquire) >= n
            })
            .await;
        }
    }
    if readers.join_all().await.contains(&true) {
        ground.saw("a commit landed between two looks");
    }
}

async fn many_keys(ground: Ground) {
    let store = ground.fresh().await;
    let mut batch = WriteBatch::new();
    for n in 0..50u8 {
        batch.put(ONE, vec![n], vec![n, n]);
    }
    store.commit(batch).await;
    let view = store.snapshot().await;
    let keys: Vec<Vec<u8>> = [30, 2, 200, 2, 49, 50, 0].into_iter().map(|n| vec![n]).collect();
    let asked: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let found = view.get_many(ONE, &asked).await.unwrap();
    let expected = [Some(30), Some(2), None, Some(2), Some(49), None, Some(0)];
    assert_eq!(found, expected.map(|n: Option<u8>| n.map(|n| vec![n, n].into())));
    assert_eq!(view.get_many(ONE, &[]).await.unwrap(), []);
    assert_eq!(view.get(OTHER, &[2]).await.unwrap(), None);
}

async fn long_key(ground: Ground) {
    let store = ground.fresh().await;
    let limits = store.backend.info().limits;
    // What a backend that cuts keys would take for it.
    store.put(vec![b'k'; limits.max_key], "v").await;
    let view = store.snapshot().await;
    for more in [1, 2, 1000] {
        let long = vec![b'k'; limits.max_key + more];
        assert_eq!(view.get(ONE, &long).await.unwrap(), None);
        assert!(view.scan(Scan::prefix(ONE, &long)).await.unwrap().rows.is_empty());
    }
}
