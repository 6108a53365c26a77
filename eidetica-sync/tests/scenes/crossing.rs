//! Two that have much to tell each other, and both begin: one of them carries it.

use std::time::Duration;

use eidetica_core::store::DocStore;
use eidetica_core::{Database, Durability};
use eidetica_sync::schedule::Wish;
use eidetica_sync::sim::{self, Conditions, Dice, World};

use super::kit::*;

/// How many entries are lacking, of 16 KiB that cannot be compressed: three pages.
const ENTRIES: usize = 160;
const BODY: usize = 16 << 10;

async fn fill(database: &Database, dice: &mut Dice, name: &str, entries: usize) {
    for number in 0..entries {
        let mut body = vec![0; BODY];
        blake3::Hasher::new().update(&dice.number().to_be_bytes()).finalize_xof().fill(&mut body);
        let transaction = database.new_transaction().await.unwrap();
        transaction.get_store::<DocStore>("notes").await.unwrap().set(&format!("{name} {number}"), body).await.unwrap();
        transaction.commit_with(Durability::Buffered).await.unwrap();
    }
}

/// How much of what is lacking is with whom, and who begins how long after the other.
#[derive(Clone, Copy, Debug)]
struct Scene {
    annas: usize,
    bens: usize,
    /// `None`: Anna does not begin at all.
    anna_after: Option<Duration>,
    ben_after: Duration,
}

/// The bytes that go over the line until both have all.
async fn bytes(world: World, scene: Scene) -> u64 {
    let hourly = Wish::every(Duration::from_secs(3600));
    let (anna, ben) = (Node::start(&world, "anna").await, Node::start(&world, "ben").await);
    let database = anna.create(&[ben.user.public()]).await;
    let id = *database.root_id();
    anna.track(id, hourly).await;
    ben.track(id, hourly).await;
    ben.syncer().sync_with_peer(&anna.address(), Some(&id)).await.unwrap();
    anna.know(&ben, id).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut dice = world.dice("bodies");
    fill(&database, &mut dice, "anna", scene.annas).await;
    fill(&ben.open(&id).await, &mut dice, "ben", scene.bens).await;
    world.network.everywhere(Conditions::default().bandwidth(2 << 20));
    world.network.reset_traffic();
    let begin = async |node: &Node, peer: &Node, after: Duration| {
        tokio::time::sleep(after).await;
        node.syncer().sync_tree_with_peer(&peer.key(), &id).await.unwrap();
    };
    match scene.anna_after {
        Some(after) => drop(tokio::join!(begin(&anna, &ben, after), begin(&ben, &anna, scene.ben_after))),
        None => begin(&ben, &anna, scene.ben_after).await,
    }
    assert!(in_step(&[&anna, &ben], &id).await, "{scene:?}");
    world.network.total().bytes
}

#[test]
fn what_both_begin_to_carry_is_carried_once() {
    let millis = Duration::from_millis;
    for (annas, bens) in [(ENTRIES, 0), (ENTRIES / 2, ENTRIES / 2)] {
        let alone = Scene { annas, bens, anna_after: None, ben_after: Duration::ZERO };
        let alone = sim::run(1, move |world| bytes(world, alone));
        assert!(alone > (ENTRIES * BODY) as u64, "{alone}");
        for (anna_after, ben_after) in [(0, 0), (0, 400), (400, 0)] {
            let anna_after = Some(millis(anna_after));
            let scene = Scene { annas, bens, anna_after, ben_after: millis(ben_after) };
            let both = sim::run(1, move |world| bytes(world, scene));
            println!("{scene:?}: {both} bytes, alone {alone}");
            // A tenth: what both compare, and no page.
            assert!(both < alone + alone / 10, "{scene:?}: {both} bytes, and {alone} if one carries all");
        }
    }
}
