//! No entry travels that the other side has.

use std::time::Duration;

use eidetica_sync::schedule::Wish;
use eidetica_sync::sim;

use super::kit::*;
use super::tally::{Rounds, Tally};

const MINUTE: Duration = Duration::from_secs(60);

/// Two that dial each other, or one that dials the other; how many rounds there were and what they carried.
async fn pair(world: &sim::World, mutual: bool) -> (Node, Node, eidetica_core::Id) {
    let anna = Node::start(world, "anna").await;
    let mut ben = Node::stopped(world, "ben", false).await;
    ben.listens = mutual;
    ben.begin().await;
    let database = anna.create(&[ben.user.public()]).await;
    let id = *database.root_id();
    ben.track(id, Wish::live()).await;
    ben.know(&anna, id).await;
    if mutual {
        anna.know(&ben, id).await;
    }
    come_in_step(&[&anna, &ben], &id, MINUTE).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    (anna, ben, id)
}

fn count(seed: u64, mutual: bool, at_once: bool) -> Rounds {
    sim::run(seed, async move |world| {
        let (anna, ben, id) = pair(&world, mutual).await;
        let (here, there) = (anna.open(&id).await, ben.open(&id).await);
        let tallies = [Tally::of(anna.syncer()), Tally::of(ben.syncer())];
        if at_once {
            let mut tasks = tokio::task::JoinSet::new();
            for number in 0..64u64 {
                for database in [here.clone(), there.clone()] {
                    let mut dice = world.dice(&format!("{number}"));
                    tasks.spawn(async move {
                        tokio::time::sleep(Duration::from_millis(dice.below(200))).await;
                        set(&database, &format!("{number}"), "x").await;
                    });
                }
            }
            tasks.join_all().await;
        } else {
            for number in 0..64 {
                for database in [&here, &there] {
                    set(database, "key", &number.to_string()).await;
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    assert!(in_step(&[&anna, &ben], &id).await, "half a second is enough");
                }
            }
        }
        come_in_step(&[&anna, &ben], &id, MINUTE).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        tallies[0].rounds(&id).plus(tallies[1].rounds(&id))
    })
}

#[test]
fn one_after_the_other_each_entry_travels_once() {
    for mutual in [false, true] {
        let rounds = count(1, mutual, false);
        println!("one after the other, mutual: {mutual}: {rounds:?}");
        assert_eq!(rounds.travelled(), 128, "{rounds:?}");
        assert!(rounds.well <= 140 && rounds.failed == 0, "{rounds:?}");
    }
}

#[test]
fn at_once_hardly_any_entry_travels_twice() {
    for seed in sim::seeds(5) {
        for mutual in [false, true] {
            let rounds = count(seed, mutual, true);
            println!("at once, mutual: {mutual}: {rounds:?}");
            assert!(rounds.travelled() >= 128, "{rounds:?}");
            // What two rounds carry that cross each other.
            assert!(rounds.travelled() <= 128 + 16, "{rounds:?}");
        }
    }
}
