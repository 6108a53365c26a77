//! Each rung of the ladder, counted in bytes and round trips.

use eidetica_sync::reconcile::Options;

use super::kit::*;

#[tokio::test]
async fn nothing_new() {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 100, "a");
    let (one, other) = (forge.peer(&[&chain]).await, forge.peer(&[&chain]).await);
    let (outcome, crossed) = sync(&one, &other, &Options::default()).await;
    assert_eq!((outcome.sent, outcome.received), (0, 0));
    assert_eq!(outcome.frontier, [chain[99].id()]);
    println!("{crossed:?}");
    assert_eq!(crossed.round_trips(), 1);
    assert!(crossed.messages[0].0 <= 150 && crossed.messages[0].1 <= 150);
}

#[tokio::test]
async fn one_is_behind() {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 5000, "a");
    let (one, other) = (forge.peer(&[&chain[..10]]).await, forge.peer(&[&chain]).await);
    let (outcome, crossed) = sync(&one, &other, &Options::default()).await;
    println!("{crossed:?}");
    assert_eq!((outcome.sent, outcome.received), (0, 4990));
    assert_eq!(crossed.needless, 0);
    assert_same(&one, &other).await;

    let one = forge.peer(&[&chain[..10]]).await;
    let (outcome, crossed) = sync(&other, &one, &Options::default()).await;
    println!("{crossed:?}");
    assert_eq!((outcome.sent, outcome.received), (4990, 0));
    assert_eq!(crossed.needless, 0);
    assert_same(&one, &other).await;
}

#[tokio::test]
async fn both_have_something() {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 1000, "a");
    let (left, right) = (forge.chain(&chain[500], 100, "l"), forge.chain(&chain[300], 100, "r"));
    let one = forge.peer(&[&chain, &left, &[forge.entry(&[&left[99], &chain[999]], "m")]]).await;
    let other = forge.peer(&[&chain, &right, &[forge.entry(&[&right[99], &chain[999]], "n")]]).await;
    let (outcome, crossed) = sync(&one, &other, &Options::default()).await;
    println!("{crossed:?}");
    assert_eq!((outcome.sent, outcome.received), (101, 101));
    assert_eq!(crossed.needless, 0);
    assert_same(&one, &other).await;
}

#[tokio::test]
async fn by_ranges() {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 1000, "a");
    let (left, right) = (forge.chain(&chain[500], 100, "l"), forge.chain(&chain[300], 100, "r"));
    let one = forge.peer(&[&chain, &left, &[forge.entry(&[&left[99], &chain[999]], "m")]]).await;
    let other = forge.peer(&[&chain, &right, &[forge.entry(&[&right[99], &chain[999]], "n")]]).await;
    let (outcome, crossed) = sync(&one, &other, &Options { list: 0, ..Options::default() }).await;
    println!("{crossed:?}");
    assert_eq!((outcome.sent, outcome.received), (101, 101));
    assert_eq!(crossed.needless, 0);
    assert_same(&one, &other).await;
}
