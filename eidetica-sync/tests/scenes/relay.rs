//! A relay: what two want from each other who never meet.

use std::time::Duration;

use eidetica_core::Durability;
use eidetica_core::store::{Cells, StoreHandle, StoreType};
use eidetica_sync::sim::{self, Conditions, check};

use super::kit::*;

/// A kind of store that not everybody has.
struct Scores(Cells);

impl StoreType for Scores {
    const KIND: &'static str = "test.scores";

    fn open(handle: StoreHandle) -> Self {
        Scores(Cells::new(handle))
    }
}

async fn score(database: &eidetica_core::Database, player: &str, score: u8) {
    let transaction = database.new_transaction().await.unwrap();
    transaction.get_store::<Scores>("scores").await.unwrap().0.put(player.as_bytes(), vec![score]).await.unwrap();
    transaction.commit_with(Durability::Buffered).await.unwrap();
}

async fn best(database: &eidetica_core::Database, player: &str) -> Option<u8> {
    let scores = database.get_store_viewer::<Scores>("scores").await.ok()?;
    scores.0.get(player.as_bytes()).await.unwrap().iter().map(|live| live.value[0]).max()
}

#[test]
fn two_who_never_meet_have_the_same_by_a_third_that_does_not_know_what() {
    for seed in sim::seeds(8) {
        sim::run(seed, relay);
    }
}

async fn relay(world: sim::World) {
    let mut dice = world.dice("relay");
    if world.seed.is_multiple_of(2) {
        world.network.everywhere(Conditions::poor());
    }
    let (anna, mut ben, cleo, there) = three_in_a_row(&world).await;
    let id = *there.root_id();
    let here = cleo.open(&id).await;
    for number in 0..6u8 {
        let (one, other) = if dice.chance(0.5) { (&there, &here) } else { (&here, &there) };
        score(one, "one", number + 1).await;
        set(one, "note", &number.to_string()).await;
        match dice.below(4) {
            0 => ben.crash().await,
            1 => ben.end().await,
            2 => {
                tokio::time::sleep(Duration::from_millis(dice.below(300))).await;
                ben.crash().await;
            }
            _ => {}
        }
        score(other, "other", number + 1).await;
        tokio::time::sleep(Duration::from_millis(dice.below(3_000))).await;
        if !ben.runs() {
            ben.begin().await;
        }
        come_in_step(&[&anna, &ben, &cleo], &id, Duration::from_secs(150)).await;
        for database in [&there, &here] {
            assert_eq!(best(database, "one").await, Some(number + 1));
            assert_eq!(best(database, "other").await, Some(number + 1));
        }
    }
    let between = ben.open(&id).await;
    check::history(&between).await.unwrap();
    assert!(between.verify().await.unwrap().is_clean());
    for (one, other) in [("anna", "cleo"), ("cleo", "anna")] {
        assert_eq!(world.network.traffic(one, other).arrived, 0, "they have met");
    }
}
