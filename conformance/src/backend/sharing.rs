//! Who else may have the store open, and how one hears of them.

use eidetica_contract::ErrorKind;
use tokio::task::JoinSet;

use super::{Ground, ONE, kind, open_soon, put};
use crate::Case;
use crate::case::case;

pub(super) const CASES: &[Case] = &[
    case!(Backend, must "backend.sharing.an-open-store-is-locked",
        "Any other backend sees to it that a store is open once: it holds a lock for as long as it has the store open, and a second opening, by this process or another, answers [`ErrorKind::Locked`] and changes nothing.",
        an_open_store_is_locked, need Exclusive),
    case!(Backend, must "backend.sharing.handles-see-one-order",
        "A backend whose store several processes may have open says so in [`Capabilities::shared`], and then each of them sees one commit order.",
        handles_see_one_order, need Shared, sees ["conflict"]),
    case!(Backend, must "backend.sharing.others-are-heard",
        "A number that differs from an earlier answer if somebody else may have committed in between: another process, or another handle on the same store.",
        others_are_heard, need Shared),
    case!(Backend, must "backend.sharing.own-commits-are-not",
        "Commits through this handle do not change it.", own_commits_are_not),
];

async fn an_open_store_is_locked(ground: Ground) {
    let store = ground.fresh().await;
    store.put("k", "v").await;
    for _ in 0..3 {
        assert_eq!(kind(store.place.open().await), Some(ErrorKind::Locked));
    }
    store.put("more", "v").await;
    assert_eq!(store.dump().await.len(), 2);
    let store = store.reopen().await;
    assert_eq!(store.dump().await.len(), 2);
    drop(store.backend);
    open_soon(&*store.place).await;
}

async fn handles_see_one_order(ground: Ground) {
    let store = ground.fresh().await;
    store.put("count", vec![0]).await;
    let mut tasks = JoinSet::new();
    let (saw, mut conflicts) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..2 {
        let other = store.place.open().await.expect("a second handle");
        let saw = saw.clone();
        tasks.spawn(async move {
            for _ in 0..50 {
                loop {
                    let found = other.snapshot().await.unwrap().get(ONE, b"count").await.unwrap().unwrap();
                    tokio::task::yield_now().await;
                    let mut batch = put(ONE, "count", vec![found[0] + 1]);
                    batch.expect_value(ONE, "count", found);
                    match other.commit(batch).await {
                        Ok(()) => break,
                        Err(error) if error.kind() == ErrorKind::Conflict => drop(saw.send(())),
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
            other.close().await.unwrap();
        });
    }
    tasks.join_all().await;
    // Were they never at it at once, one is made to be late.
    let view = store.snapshot().await.get(ONE, b"count").await.unwrap().unwrap();
    let late = store.place.open().await.expect("another handle");
    store.put("count", vec![view[0]]).await;
    store.put("count", vec![view[0] + 1]).await;
    let mut batch = put(ONE, "count", "late");
    batch.expect_value(ONE, "count", view);
    assert_eq!(
        kind(late.commit(batch).await),
        Some(ErrorKind::Conflict),
        "a handle does not see what another has committed"
    );
    ground.saw("conflict");
    while conflicts.try_recv().is_ok() {}
    assert_eq!(store.get(ONE, b"count").await, Some(vec![101].into()), "an update was lost");
}

async fn others_are_heard(ground: Ground) {
    let store = ground.fresh().await;
    let other = store.place.open().await.expect("a second handle");
    for n in 0..20u8 {
        let before = store.backend.changed().await.expect("a number");
        other.commit(put(ONE, vec![n], vec![n])).await.expect("the other one commits");
        assert_ne!(store.backend.changed().await.expect("a number"), before, "a commit of another handle is not heard");
        assert_eq!(store.get(ONE, &[n]).await, Some(vec![n].into()));
    }
    other.close().await.expect("the other one closes");
}

async fn own_commits_are_not(ground: Ground) {
    let store = ground.fresh().await;
    store.put("k", "v").await;
    // It may change without a reason, now and then; not with each commit.
    let mut changes = 0;
    for n in 0..20u8 {
        let before = store.backend.changed().await.expect("a number");
        store.put(vec![n], vec![n]).await;
        changes += u32::from(store.backend.changed().await.expect("a number") != before);
    }
    assert!(changes < 5, "{changes} of 20 own commits count as somebody else's");
}
