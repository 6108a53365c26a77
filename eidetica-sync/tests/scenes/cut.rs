//! A transfer that is cut goes on where it stopped.

use std::time::Duration;

use eidetica_core::Durability;
use eidetica_core::store::DocStore;
use eidetica_sync::schedule::Wish;
use eidetica_sync::sim;

use super::kit::*;

const ENTRIES: usize = 2_000;
const PAGE: u64 = 1 << 20;

/// The same transfer by one newcomer after the other, each cut at another of its messages.
#[test]
fn at_most_one_page_is_sent_again() {
    sim::run_within(Duration::from_secs(900), 1, async |world| {
        let mut dice = world.dice("bodies");
        let anna = Node::start(&world, "anna").await;
        let mut newcomers = Vec::new();
        for number in 0..40 {
            let mut node = Node::stopped(&world, &format!("ben {number}"), false).await;
            node.listens = false;
            newcomers.push(node);
        }
        let users: Vec<_> = newcomers.iter().map(|node| node.user.public()).collect();
        let database = anna.create(&users).await;
        let id = *database.root_id();
        for number in 0..ENTRIES {
            let body: Vec<u8> = (0..256).flat_map(|_| dice.number().to_be_bytes()).collect();
            let transaction = database.new_transaction().await.unwrap();
            let notes = transaction.get_store::<DocStore>("notes").await.unwrap();
            notes.set(&format!("{}", number % 100), body).await.unwrap();
            transaction.commit_with(Durability::Buffered).await.unwrap();
        }
        let mut whole = None;
        let mut cuts = 0;
        let mut worst = 0;
        for (number, node) in newcomers.iter_mut().enumerate() {
            node.begin().await;
            node.track(id, Wish::every(Duration::from_secs(3600))).await;
            // The first is not cut.
            if number > 0 {
                node.scissors.cut_after(number as i64 - 1);
            }
            while node.syncer().sync_with_peer(&anna.address(), Some(&id)).await.is_err() {}
            assert!(in_step(&[&anna, &*node], &id).await);
            let bytes = world.network.traffic("anna", &node.name).bytes;
            let whole = *whole.get_or_insert(bytes);
            assert!(whole > PAGE * 4, "{whole} bytes are no long transfer");
            assert!(bytes <= whole + PAGE + 20_000, "cut at {number}, {bytes} instead of {whole} bytes were sent");
            worst = worst.max(bytes - whole.min(bytes));
            let cut = number > 0 && node.scissors.sent() >= number as i64;
            node.end().await;
            if number > 0 && !cut {
                break;
            }
            cuts = number;
        }
        println!("cut at each of {cuts} messages; {worst} bytes more at worst, of {whole:?}");
        assert!(cuts > 6 && cuts < 39, "{cuts}");
    });
}
