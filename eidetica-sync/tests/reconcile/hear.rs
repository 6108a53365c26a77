//! Listening to a peer that may be told nothing: what it has comes in, and nothing that is here is said.

use eidetica_core::auth::{Right, Setting};
use eidetica_core::entry::VerifiedEntry;
use eidetica_core::{Database, Id};
use eidetica_sync::reconcile::{Limits, Options, Outcome, Request, Standoff, hear};

use super::kit::*;
use super::void::{member, setting};

/// A relay that had been removed and has its right again.
struct Scene {
    forge: Forge,
    granted: VerifiedEntry,
    removal: VerifiedEntry,
    restored: VerifiedEntry,
    relay: Database,
}

async fn scene(written: usize) -> Scene {
    let forge = Forge::new(1);
    let granted = setting(&forge, &forge.root, Setting::Grant(Right::WRITE));
    let removal = setting(&forge, &granted, Setting::Limit(Right::NONE));
    let restored = setting(&forge, &removal, Setting::Grant(Right::WRITE));
    let after = forge.chain(&restored, written, "after");
    let relay = forge.peer(&[&[granted.clone(), removal.clone(), restored.clone()], &after]).await;
    Scene { forge, granted, removal, restored, relay }
}

async fn listen(wire: &Wire<'_>, known: Vec<Id>, standoff: Option<Standoff>) -> Outcome {
    let options = Options { standoff, ..Options::default() };
    hear(wire.client, wire, known, &options, &|_| ()).await.unwrap()
}

/// No request names an entry beside these, or the heads that are here, or holds one.
fn assert_says_no_more_than(wire: &Wire<'_>, known: &[Id]) {
    let mut heads = blake3::Hasher::new();
    for id in known {
        heads.update(id.as_bytes());
    }
    for (request, _) in wire.said.lock().unwrap().iter() {
        match Request::parse(request).unwrap() {
            Request::Compare { digest, heads: Some(named), give: None, .. } => {
                assert_eq!((digest, &named[..]), (*heads.finalize().as_bytes(), known));
            }
            Request::Pull { have, except, .. } => {
                assert!(except.is_empty() && have.iter().all(|id| known.contains(id)), "{have:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_gives_the_right_back_comes_in_and_nothing_is_said() {
    // By many pages, too.
    for written in [0, 5, 600] {
        let Scene { forge, granted, removal, relay, .. } = scene(written).await;
        // What the relay must not hear of.
        let secret = forge.chain(&removal, 3, "secret");
        for known in [forge.root.id(), granted.id(), removal.id()] {
            let listener = forge.peer(&[&[granted.clone(), removal.clone()], &secret]).await;
            let mut wire = Wire::new(&listener, &relay);
            wire.limits = Limits { page: 16 << 10, ..Limits::default() };
            let outcome = listen(&wire, vec![known], None).await;
            assert!(outcome.complete && outcome.standoff.is_none(), "{outcome:?}");
            assert_eq!(outcome.received, 1 + written as u64);
            assert_eq!(outcome.frontier, relay.get_tips().await.unwrap());
            assert!(listener.now().right_of(member().public()).await.unwrap() >= Right::WRITE);
            assert_says_no_more_than(&wire, &[known]);
            // And once more there is nothing to be heard.
            let again = Wire::new(&listener, &relay);
            let outcome = listen(&again, outcome.frontier, None).await;
            assert!(outcome.complete && again.crossed().round_trips() == 1 && again.crossed().pages == 0);
        }
        assert_eq!(relay.entry_count().await.unwrap(), 4 + written as u64, "the relay has got something");
        assert_eq!(relay.known(&[secret[0].id()]).await.unwrap(), [false]);
    }
}

/// What both had, and the relay has lost in a crash, is no reason to send pages that cannot be taken in.
#[tokio::test]
async fn what_the_other_side_has_lost_is_no_ground() {
    let Scene { forge, granted, removal, restored, relay } = scene(0).await;
    let lost = forge.chain(&granted, 2, "lost");
    let listener = forge.peer(&[std::slice::from_ref(&granted), &lost, std::slice::from_ref(&removal)]).await;
    for known in [vec![lost[1].id()], vec![lost[1].id(), removal.id()]] {
        let mut known = known;
        known.sort_unstable();
        let wire = Wire::new(&listener, &relay);
        let outcome = listen(&wire, known.clone(), None).await;
        assert!(outcome.complete && outcome.loose == 0, "{outcome:?}");
        assert_says_no_more_than(&wire, &known);
    }
    assert_eq!(listener.known(&[restored.id()]).await.unwrap(), [true]);
}

/// Who was removed for good, and writes on, is listened to once, for a few pages; then not until it says that it has something else.
#[tokio::test]
async fn what_does_not_count_is_heard_once() {
    let forge = Forge::new(1);
    let granted = setting(&forge, &forge.root, Setting::Grant(Right::WRITE));
    let removal = setting(&forge, &granted, Setting::Limit(Right::NONE));
    let of_member = Forge { root: forge.root.clone(), key: member() };
    let written = of_member.chain(&granted, 2_000, "w");
    let relay = forge.peer(&[std::slice::from_ref(&granted), &written]).await;
    let listener = forge.peer(&[&[granted.clone(), removal.clone()]]).await;
    let mut wire = Wire::new(&listener, &relay);
    wire.limits = Limits { page: 16 << 10, ..Limits::default() };
    let outcome = listen(&wire, vec![granted.id()], None).await;
    assert!(!outcome.complete && outcome.received == 0 && outcome.void > 0, "{outcome:?}");
    let crossed = wire.crossed();
    assert!((8..=10).contains(&crossed.round_trips()) && crossed.entries < 1_000, "{crossed:?}");
    let standoff = outcome.standoff.expect("nothing that it has counts");
    let again = Wire::new(&listener, &relay);
    let outcome = listen(&again, vec![granted.id()], Some(standoff)).await;
    assert_eq!((outcome.standoff, again.crossed().round_trips()), (Some(standoff), 1));
    assert!(again.crossed().pages == 0 && outcome.void == 0, "{outcome:?}");
    hand_in(&relay, &of_member.chain(written.last().unwrap(), 1, "more")).await;
    let outcome = listen(&again, vec![granted.id()], Some(standoff)).await;
    assert!(outcome.void > 0 && outcome.standoff != Some(standoff), "{outcome:?}");
    assert_eq!(listener.get_tips().await.unwrap(), [removal.id()]);
}
