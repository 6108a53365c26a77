//! Entries that do not count on one side: answered as void, not offered over and over, and one state in the end.

use async_trait::async_trait;
use eidetica_contract::Result;
use eidetica_core::auth::{Right, Setting, SettingsDelta, Subject};
use eidetica_core::entry::{Header, Origin, VerifiedEntry};
use eidetica_core::store::doc::DocDelta;
use eidetica_core::{Database, SecretKey, Time};
use eidetica_sync::reconcile::{Ask, Options, Outcome, Reply, Request, exchange};

use super::kit::*;

pub fn member() -> SecretKey {
    SecretKey::from_seed(&[9; 32])
}

/// An entry of the owner that sets the right of the member.
pub fn setting(forge: &Forge, above: &VerifiedEntry, setting: Setting) -> VerifiedEntry {
    let header = Header {
        origin: Origin::Database(forge.root.id()),
        parents: vec![above.id()],
        height: above.header().height + 1,
        time: Time::from_number(above.header().time.number() + 1),
        author: forge.key.public(),
        stores: Vec::new(),
        signature: [0; 64],
    };
    let rights = vec![(Subject::Key(member().public()), setting)];
    let settings = SettingsDelta { rights, values: DocDelta::default() }.to_bytes();
    VerifiedEntry::sign(header, vec![("_settings".to_owned(), "settings".to_owned(), settings)], &forge.key).unwrap()
}

/// One side has what a member wrote beside its removal, the other has the removal.
struct Scene {
    forge: Forge,
    granted: VerifiedEntry,
    written: Vec<VerifiedEntry>,
    removal: VerifiedEntry,
}

impl Scene {
    fn new(written: usize) -> Scene {
        let forge = Forge::new(1);
        let granted = setting(&forge, &forge.root, Setting::Grant(Right::WRITE));
        let removal = setting(&forge, &granted, Setting::Limit(Right::NONE));
        let of_member = Forge { root: forge.root.clone(), key: member() };
        let written = of_member.chain(&granted, written, "w");
        Scene { forge, granted, written, removal }
    }

    async fn peers(&self) -> (Database, Database) {
        let granted = [self.granted.clone()];
        let one = self.forge.peer(&[&granted, &self.written]).await;
        (one, self.forge.peer(&[&granted, std::slice::from_ref(&self.removal)]).await)
    }
}

async fn round(one: &Database, other: &Database, options: &Options) -> (Outcome, Crossed) {
    let wire = Wire::new(one, other);
    let outcome = exchange(one, &wire, options, &|_| ()).await.unwrap();
    (outcome, wire.crossed())
}

#[tokio::test]
async fn a_removal_that_can_be_told_ends_what_it_strikes() {
    // Some pages of void entries, more than any other fruitless ones are asked for.
    for (count, list) in [(1, 1024), (40, 1024), (40, 0), (1500, 0)] {
        let scene = Scene::new(count);
        for turned in [false, true] {
            let (written, removed) = scene.peers().await;
            let (one, other) = if turned { (&removed, &written) } else { (&written, &removed) };
            let options = Options { list, page: 16 << 10, ..Options::default() };
            let (outcome, _) = round(one, other, &options).await;
            assert!(outcome.complete && outcome.standoff.is_none(), "{count} {list} {turned}: {outcome:?}");
            assert!(outcome.refused + outcome.refused_there == 0, "{outcome:?}");
            assert_same(one, other).await;
            assert_eq!(one.get_tips().await.unwrap(), [scene.removal.id()]);
            assert_eq!(one.entry_count().await.unwrap(), 3);
        }
    }
}

#[tokio::test]
async fn what_does_not_count_at_the_other_side_is_offered_once() {
    let scene = Scene::new(3);
    let (one, other) = scene.peers().await;
    // The removal cannot be told.
    let mut options = Options { pull: false, ..Options::default() };
    let (outcome, crossed) = round(&one, &other, &options).await;
    assert_eq!((outcome.void_there, outcome.refused_there, outcome.complete), (3, 0, false), "{outcome:?}");
    assert_eq!(crossed.entries, 3);
    let standoff = outcome.standoff.expect("both are apart by what does not count");
    assert_eq!(
        [standoff.own, standoff.theirs],
        [one.heads_digest().await.unwrap(), other.heads_digest().await.unwrap()]
    );

    options.standoff = outcome.standoff;
    options.remembered = Some(outcome.frontier);
    let (outcome, crossed) = round(&one, &other, &options).await;
    assert_eq!((outcome.standoff, crossed.entries, crossed.round_trips()), (options.standoff, 0, 1), "{outcome:?}");

    // Other heads: it might count now.
    let more = scene.forge.chain(&scene.removal, 1, "o");
    hand_in(&other, &more).await;
    let (outcome, crossed) = round(&one, &other, &options).await;
    assert_eq!((outcome.void_there, crossed.entries), (3, 3), "{outcome:?}");
    assert!(outcome.standoff.is_some() && outcome.standoff != options.standoff);

    // More may be carried than before: the removal can be told, after all.
    let both_ways = Options { standoff: outcome.standoff, ..Options::default() };
    let (outcome, _) = round(&one, &other, &both_ways).await;
    assert!(outcome.complete, "{outcome:?}");
    assert_same(&one, &other).await;
}

/// The other side gets something just after it has said what it has, so that the round carries nothing of it.
struct Growing<'a> {
    wire: Wire<'a>,
    there: &'a Database,
    coming: std::sync::Mutex<Vec<VerifiedEntry>>,
}

#[async_trait]
impl Ask for Growing<'_> {
    async fn ask(&self, request: Request) -> Result<Reply> {
        let transfers = matches!(request, Request::Trade { .. });
        if transfers {
            let coming = std::mem::take(&mut *self.coming.lock().unwrap());
            hand_in(self.there, &coming).await;
        }
        self.wire.ask(request).await
    }

    fn max_reply(&self) -> usize {
        self.wire.max_reply()
    }

    fn max_request(&self) -> usize {
        self.wire.max_request()
    }
}

/// Which may not be taken for all that it will ever have.
#[tokio::test]
async fn what_came_meanwhile_is_fetched_once_entries_were_void() {
    let scene = Scene::new(3);
    let (one, other) = scene.peers().await;
    hand_in(&one, &scene.forge.chain(&scene.granted, 1, "here")).await;
    let coming = scene.forge.chain(&scene.granted, 2, "there");
    let growing = Growing { wire: Wire::new(&one, &other), there: &other, coming: coming.clone().into() };
    let outcome = exchange(&one, &growing, &Options::default(), &|_| ()).await.unwrap();
    assert!(growing.coming.lock().unwrap().is_empty(), "nothing came meanwhile");
    assert!(outcome.void_there > 0 && outcome.complete, "{outcome:?}");
    assert_same(&one, &other).await;
}

/// More than there is room for waits for what stands on it, also where either side asks in turn, and so two sources bring it: once that
/// is known to count, it is fetched again.
#[tokio::test]
async fn any_length_of_void_entries_below_one_that_counts_is_fetched() {
    let mut scene = Scene::new(0);
    let of_member = Forge { root: scene.forge.root.clone(), key: member() };
    for at in 0..36 {
        let below = scene.written.last().unwrap_or(&scene.granted);
        let entry = of_member.sized(&[below], &format!("w {at}"), 1 << 20);
        scene.written.push(entry);
    }
    scene.written.push(scene.forge.sized(&[scene.written.last().unwrap()], "o", 10));
    let (written, removed) = scene.peers().await;
    let mut rounds = Vec::new();
    for turned in [false, true, false] {
        let (one, other) = if turned { (&removed, &written) } else { (&written, &removed) };
        rounds.push(round(one, other, &Options::default()).await.0);
    }
    assert!(rounds[2].complete, "{rounds:?}");
    assert_same(&written, &removed).await;
    assert_eq!(removed.entry_count().await.unwrap(), 3 + 37);
}
