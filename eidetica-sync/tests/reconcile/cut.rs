//! Transfers that are cut off, at every place where they can be.

use eidetica_core::Database;
use eidetica_core::entry::VerifiedEntry;
use eidetica_sync::reconcile::{Options, exchange};

use super::kit::*;

/// Two peers, with about ten pages in each direction that has something to send.
struct Scene {
    forge: Forge,
    one: Vec<VerifiedEntry>,
    other: Vec<VerifiedEntry>,
    list: usize,
}

impl Scene {
    async fn peers(&self) -> (Database, Database) {
        (self.forge.peer(&[&self.one]).await, self.forge.peer(&[&self.other]).await)
    }

    fn options(&self) -> Options {
        Options { page: PAGE, list: self.list, ..Options::default() }
    }
}

/// About eleven entries.
const PAGE: usize = 4 << 10;
/// The most entries of a page.
const ON_A_PAGE: usize = 16;

fn wire<'a>(one: &'a Database, other: &'a Database) -> Wire<'a> {
    let mut wire = Wire::new(one, other);
    wire.limits.page = PAGE;
    wire
}

/// Cuts the way after so many requests, either before the next one arrives or before its answer does, and tries again until
/// everything is over. Nothing is sent twice but what was under way.
async fn cut_everywhere(scene: &Scene) {
    let (one, other) = scene.peers().await;
    let whole = wire(&one, &other);
    assert!(exchange(&one, &whole, &scene.options(), &|_| ()).await.unwrap().complete);
    let needed = whole.crossed().entries;
    assert!(whole.crossed().round_trips() >= 8, "{:?}", whole.crossed());
    for lose_reply in [false, true] {
        for cut in 0..whole.crossed().round_trips() {
            let (one, other) = scene.peers().await;
            let mut first = wire(&one, &other);
            (first.cut, first.lose_reply) = (Some(cut), lose_reply);
            exchange(&one, &first, &scene.options(), &|_| ()).await.unwrap_err();
            for db in [&one, &other] {
                assert_eq!(db.waiting().await.unwrap(), (0, 0), "nothing waits after a cut");
            }
            let second = wire(&one, &other);
            let outcome = exchange(&one, &second, &scene.options(), &|_| ()).await.unwrap();
            assert!(outcome.complete, "cut after {cut}: {outcome:?}");
            assert_same(&one, &other).await;
            let (before, after) = (first.crossed(), second.crossed());
            assert_eq!((before.needless, after.needless), (0, 0), "cut after {cut}");
            let again = before.entries + after.entries - needed;
            assert!(again <= ON_A_PAGE, "cut after {cut}: {again} entries sent again");
        }
    }
}

#[tokio::test]
async fn while_fetching() {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 120, "a");
    cut_everywhere(&Scene { one: chain[..10].to_vec(), other: chain, forge, list: 1024 }).await;
}

#[tokio::test]
async fn while_sending() {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 120, "a");
    cut_everywhere(&Scene { other: chain[..10].to_vec(), one: chain, forge, list: 1024 }).await;
}

/// Lists, a list on one side, and ranges.
#[tokio::test]
async fn in_both_directions() {
    for list in [1024, 40, 0] {
        let forge = Forge::new(1);
        let chain = forge.chain(&forge.root, 30, "a");
        let (left, right) = (forge.chain(&chain[20], 30, "l"), forge.chain(&chain[10], 80, "r"));
        let (one, other) = ([&chain[..], &left].concat(), [&chain[..], &right].concat());
        cut_everywhere(&Scene { forge, one, other, list }).await;
    }
}

/// Cut again and again, after the same number of requests each time: it comes to its end all the same.
#[tokio::test]
async fn again_and_again() {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 100, "a");
    let (left, right) = (forge.chain(&chain[20], 100, "l"), forge.chain(&chain[10], 100, "r"));
    let (one, other) = ([&chain[..], &left].concat(), [&chain[..], &right].concat());
    for list in [1024, 0] {
        let scene = Scene { forge: Forge::new(1), one: one.clone(), other: other.clone(), list };
        let (one, other) = scene.peers().await;
        let mut attempts = 0;
        loop {
            let mut wire = wire(&one, &other);
            wire.cut = Some(8);
            if exchange(&one, &wire, &scene.options(), &|_| ()).await.is_ok_and(|outcome| outcome.complete) {
                break;
            }
            attempts += 1;
            assert!(attempts < 30);
        }
        assert!(attempts > 0);
        assert_same(&one, &other).await;
    }
}
