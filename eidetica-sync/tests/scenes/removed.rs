//! Whoever loses a right loses what is under way within a second, and is told so.

use std::time::Duration;

use eidetica_contract::{ErrorKind, PublicKey};
use eidetica_core::Database;
use eidetica_core::auth::{Permission, Right, Setting, Subject};
use eidetica_core::crdt::Doc;
use eidetica_core::entry::RawEntry;
use eidetica_core::store::SettingsStore;
use eidetica_sync::SyncEvent;
use eidetica_sync::schedule::Wish;
use eidetica_sync::sim::{self, Conditions, World};
use tokio::time::Instant;

use super::kit::*;

/// Within which the side that was removed knows it, and nothing more is given to it.
const SECOND: Duration = Duration::from_secs(1);

async fn remove(database: &Database, key: &PublicKey) {
    let transaction = database.new_transaction().await.unwrap();
    let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
    settings.remove(key).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn give_back(database: &Database, key: &PublicKey, permission: Permission) {
    let transaction = database.new_transaction().await.unwrap();
    let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
    settings.grant(key, permission, 0).await.unwrap();
    transaction.commit().await.unwrap();
}

/// What a node says of how a database stands with a peer.
fn said(node: &Node, peer: &Node, id: &eidetica_core::Id) -> Option<(ErrorKind, String)> {
    let status = node.syncer().handle(&peer.key(), id).status().ok()?;
    let removed = status.error_context("reason") == Some("removed");
    let told = status.last_error.map(|(_, kind, text)| (kind, text));
    // What code acts on and what people read say the same.
    assert_eq!(removed, told.as_ref().is_some_and(|(_, text)| text.contains("this device was removed")), "{told:?}");
    told
}

fn is_told(node: &Node, peer: &Node, id: &eidetica_core::Id) -> bool {
    said(node, peer, id).is_some_and(|(kind, text)| {
        kind == ErrorKind::PermissionDenied && text.contains("this device was removed from the database")
    })
}

/// Waits until a node is told that it was removed, on the clock of the world.
async fn told(node: &Node, peer: &Node, id: &eidetica_core::Id) -> Duration {
    let began = Instant::now();
    while !is_told(node, peer, id) {
        assert!(began.elapsed() < SECOND, "it is not told: {:?}", said(node, peer, id));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    began.elapsed()
}

/// Both ways of waiting for news: asked for, since the other side has no address; and called.
#[test]
fn who_waits_for_news_is_told_within_a_second() {
    for seed in sim::seeds(10) {
        sim::run(seed, async |world| {
            let (anna, ben, there) = two_in_step(&world, world.seed.is_multiple_of(2)).await;
            let id = *there.root_id();
            // A moment in the middle of a watch.
            tokio::time::sleep(Duration::from_millis(world.seed % 7 * 900 + 100)).await;
            set(&there, "before", "1").await;
            come_in_step(&[&anna, &ben], &id, Duration::from_secs(5)).await;

            remove(&there, &ben.user.public()).await;
            let took = told(&ben, &anna, &id).await;
            println!("told {took:?} after it was removed");
            set(&there, "after", "1").await;
            let here = ben.open(&id).await;
            let count = here.entry_count().await.unwrap();
            for _ in 0..4 {
                let error = ben.syncer().sync_with_peer(&anna.address(), Some(&id)).await.unwrap_err();
                assert_eq!((error.kind(), error.context("reason")), (ErrorKind::PermissionDenied, Some("removed")));
                tokio::time::sleep(Duration::from_secs(20)).await;
            }
            assert_eq!((here.entry_count().await.unwrap(), get(&here, "after").await), (count, None));
            // Nor does it ask for access by itself: somebody has to wish that.
            assert!(anna.syncer().access_book().requests().await.unwrap().is_empty());

            // What is given back is there again, by itself.
            give_back(&there, &ben.user.public(), Permission::Read).await;
            come_in_step(&[&anna, &ben], &id, Duration::from_secs(30)).await;
            assert_eq!(get(&here, "after").await.as_deref(), Some("1"));
        });
    }
}

/// Also if something else is looked at first, by which it is seen that the device may no longer.
#[test]
fn who_listens_for_others_is_told_all_the_same() {
    for seed in sim::seeds(10) {
        sim::run(seed, async |world| {
            let (anna, ben, there) = two_in_step(&world, false).await;
            let id = *there.root_id();
            let hears = ben.syncer().presence(&ben.open(&id).await).unwrap();
            let speaks = anna.syncer().presence(&there).unwrap();
            speaks.publish("first").unwrap();
            while hears.here().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokio::time::sleep(Duration::from_millis(world.seed % 10 * 300 + 200)).await;
            // What ben waits to hear is looked at when the removal is there, and before the watch has looked.
            speaks.publish("last").unwrap();
            remove(&there, &ben.user.public()).await;
            told(&ben, &anna, &id).await;
        });
    }
}

/// In the middle of a transfer over a slow line: not one page more.
#[test]
fn a_transfer_ends_within_a_second_of_the_removal() {
    for seed in sim::seeds(3) {
        sim::run(seed, transfer);
    }
}

/// How many there are to send, about: two seconds and a half of the line.
const ENTRIES: u64 = 1_200;

async fn transfer(world: World) {
    let (anna, ben) = (Node::start(&world, "anna").await, Node::start(&world, "ben").await);
    let there = anna.create(&[ben.user.public()]).await;
    let id = *there.root_id();
    let mut random = world.dice("texts");
    for at in 0..ENTRIES {
        // What shrinks to a half and no further, so that the line is slow for it.
        let text: String = (0..500).map(|_| format!("{:016x}", random.number())).collect();
        set(&there, &at.to_string(), &text).await;
    }
    let mut conditions = Conditions::default();
    conditions.bandwidth = Some(2 << 20);
    world.network.everywhere(conditions);
    ben.track(id, Wish::live()).await;
    let mut events = ben.syncer().events();
    ben.know(&anna, id).await;
    while !matches!(events.recv().await.unwrap(), SyncEvent::Progressed { progress, .. } if progress.received > 20) {}
    let here = ben.open(&id).await;
    assert!(here.entry_count().await.unwrap() < ENTRIES, "it is not in the middle of it");
    remove(&there, &ben.user.public()).await;
    let took = told(&ben, &anna, &id).await;
    let count = here.entry_count().await.unwrap();
    println!("told {took:?} after it was removed, with {count} entries of {ENTRIES}");
    assert!(count < ENTRIES, "{count}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(here.entry_count().await.unwrap(), count, "there was more to come");
}

/// Whoever is lowered to reading goes on reading, and what it writes reaches nobody.
#[test]
fn who_is_lowered_goes_on_with_what_is_left() {
    for seed in sim::seeds(5) {
        sim::run(seed, async |world| {
            let (anna, ben) = (Node::start(&world, "anna").await, Node::start(&world, "ben").await);
            let there = anna.create(&[ben.user.public()]).await;
            let id = *there.root_id();
            ben.track(id, Wish::live()).await;
            ben.know(&anna, id).await;
            come_in_step(&[&anna, &ben], &id, Duration::from_secs(30)).await;
            let here = ben.open(&id).await;
            // Beside the removal, cut off from it.
            world.network.partition(&["anna"], &["ben"]);
            let transaction = there.new_transaction().await.unwrap();
            let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
            settings.limit(&ben.user.public(), Permission::Read, 0).await.unwrap();
            transaction.commit().await.unwrap();
            set(&here, "backdated", "1").await;
            world.network.heal();
            come_in_step(&[&anna, &ben], &id, Duration::from_secs(150)).await;
            set(&there, "after", "1").await;
            come_in_step(&[&anna, &ben], &id, Duration::from_secs(30)).await;
            for database in [&there, &here] {
                assert_eq!(get(database, "backdated").await, None);
                assert_eq!(get(database, "after").await.as_deref(), Some("1"));
            }
        });
    }
}

/// Who reads what everybody may read is a stranger: he is not told what has become of a right that he never had, and gets nothing more.
#[test]
fn what_is_public_no_longer_ends_for_strangers_at_once() {
    for seed in sim::seeds(5) {
        sim::run(seed, async |world| {
            let (anna, eve) = (Node::start(&world, "anna").await, Node::start(&world, "eve").await);
            let rights = vec![
                (Subject::Key(anna.user.public()), Setting::Grant(Right::admin(u32::MAX))),
                (Subject::Everybody, Setting::Grant(Right::READ)),
            ];
            let there = anna.engine().create_database_with_rights(Doc::new(), rights, &anna.user).await.unwrap();
            let id = *there.root_id();
            anna.track(id, Wish::live()).await;
            set(&there, "before", "1").await;
            eve.track(id, Wish::live()).await;
            eve.know(&anna, id).await;
            come_in_step(&[&anna, &eve], &id, Duration::from_secs(30)).await;
            let here = eve.open(&id).await;
            let transaction = there.new_transaction().await.unwrap();
            let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
            settings.set_global_permission(None).await.unwrap();
            transaction.commit().await.unwrap();
            set(&there, "after", "1").await;
            let count = here.entry_count().await.unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!((here.entry_count().await.unwrap(), get(&here, "after").await), (count, None));
            let error = eve.syncer().sync_with_peer(&anna.address(), Some(&id)).await.unwrap_err();
            assert_eq!((error.kind(), error.context("reason")), (ErrorKind::PermissionDenied, Some("not_served")));
        });
    }
}

/// Anna, Ben who relays, and Cleo who reaches nobody but him; and what takes Ben's right away, which Cleo has from somebody.
async fn behind_a_removed_relay(world: &World) -> (Node, Node, Node, Database, RawEntry) {
    let (anna, ben, cleo, there) = three_in_a_row(world).await;
    let id = *there.root_id();
    world.network.partition(&["anna"], &["ben"]);
    remove(&there, &ben.user.public()).await;
    let heads = there.get_tips().await.unwrap();
    let removal = there.get_entry(&heads[0]).await.unwrap().to_raw();
    cleo.open(&id).await.ingest(vec![removal.clone()], "test").await.unwrap();
    (anna, ben, cleo, there, removal)
}

/// Nobody else can bring it to those behind him; before he has it himself they tell him nothing.
#[test]
fn a_relay_that_has_its_right_again_is_heard() {
    for seed in sim::seeds(10) {
        sim::run(seed, async |world| {
            let (anna, ben, cleo, there, removal) = behind_a_removed_relay(&world).await;
            let id = *there.root_id();
            let (relay, behind) = (ben.open(&id).await, cleo.open(&id).await);
            relay.ingest(vec![removal], "test").await.unwrap();
            set(&behind, "secret", "1").await;
            // He is listened to several times meanwhile.
            tokio::time::sleep(Duration::from_secs(world.seed % 4 * 40 + 2)).await;
            assert_eq!(get(&relay, "secret").await, None);
            let status = cleo.syncer().handle(&ben.key(), &id).status().unwrap();
            assert_eq!(status.last_error.map(|(_, kind, _)| kind), Some(ErrorKind::PermissionDenied));

            give_back(&there, &ben.user.public(), Permission::Write).await;
            set(&there, "after", "1").await;
            world.network.heal();
            world.network.partition(&["anna"], &["cleo"]);
            come_in_step(&[&anna, &ben, &cleo], &id, Duration::from_secs(150)).await;
            assert_eq!(get(&behind, "after").await.as_deref(), Some("1"));
            assert_eq!(get(&there, "secret").await.as_deref(), Some("1"));
            for (one, other) in [("anna", "cleo"), ("cleo", "anna")] {
                assert_eq!(world.network.traffic(one, other).arrived, 0, "they have met");
            }
        });
    }
}

/// Whoever was removed, and goes on writing, has others take in what does not count, or waits for the clock, about once a minute.
#[test]
fn who_is_removed_for_good_is_listened_to_now_and_then() {
    /// How often he writes, and how long each time.
    const WRITES: usize = 60;
    const BYTES: usize = 10_000;
    for seed in sim::seeds(4) {
        sim::run(seed, async |world| {
            let (_anna, ben, cleo, there, _) = behind_a_removed_relay(&world).await;
            let id = *there.root_id();
            let relay = ben.open(&id).await;
            if world.seed.is_multiple_of(2) {
                // What is as far ahead is not judged before its time.
                ben.environment.set_skew(3_600_000);
            }
            let before = world.network.traffic("ben", "cleo").bytes;
            let mut random = world.dice("texts");
            for at in 0..WRITES {
                let text: String = (0..BYTES / 16).map(|_| format!("{:016x}", random.number())).collect();
                set(&relay, &at.to_string(), &text).await;
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            let bytes = world.network.traffic("ben", "cleo").bytes - before;
            // Hexadecimal digits shrink to a half. Each time he writes all would be 60 * 61 / 2 of them, once a minute a twelfth of that.
            let once = (BYTES / 2) as u64;
            assert!((WRITES as u64 / 2 * once..WRITES as u64 * 8 * once).contains(&bytes), "{bytes} bytes");
            assert_eq!(get(&cleo.open(&id).await, "0").await, None);
        });
    }
}
