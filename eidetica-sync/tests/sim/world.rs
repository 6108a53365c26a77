//! Running worlds: the clock, the seeds, the watchdog.

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{CallOptions, Caller, ErrorKind, Result, Service, Transport};
use eidetica_core::crdt::Doc;
use eidetica_core::store::DocStore;
use eidetica_core::{Durability, Environment, SecretKey};
use eidetica_sync::sim::{self, Host, check};

#[test]
fn a_year_passes_in_a_moment_and_hosts_may_be_wrong_about_it() {
    let begun = Instant::now();
    sim::run(1, async |world| {
        let (right, wrong) = (world.environment("right"), world.environment("wrong"));
        wrong.set_skew(-7_000);
        let before = right.now();
        tokio::time::sleep(Duration::from_secs(365 * 86_400)).await;
        assert_eq!(right.now().millis() - before.millis(), 365 * 86_400_000);
        assert_eq!(right.now().millis() - wrong.now().millis(), 7_000);
        wrong.set_skew(i64::MIN);
        assert_eq!(wrong.now().millis(), 0);
        wrong.set_skew(i64::MAX);
        assert!(wrong.now().millis() < 1 << 48);
    });
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn randomness_is_that_of_the_seed_and_the_host() {
    let draw = |seed, host: &'static str| {
        sim::run(seed, async move |world| {
            let environment = world.environment(host);
            let mut bytes = [[0; 40]; 2];
            environment.random(&mut bytes[0]).unwrap();
            environment.random(&mut bytes[1]).unwrap();
            assert_ne!(bytes[0], bytes[1]);
            bytes
        })
    };
    assert_eq!(draw(1, "a"), draw(1, "a"));
    assert_ne!(draw(1, "a"), draw(1, "b"));
    assert_ne!(draw(1, "a"), draw(2, "a"));
}

#[test]
fn what_a_world_panics_with_comes_out() {
    let failed = catch_unwind(|| sim::run(3, async |_| panic!("as it was told")));
    assert_eq!(failed.unwrap_err().downcast_ref::<&str>(), Some(&"as it was told"));
}

#[test]
fn a_world_that_does_not_end_is_given_up_with_its_seed() {
    let stuck = catch_unwind(|| {
        sim::run_within(Duration::from_millis(50), 77, async |_| std::thread::sleep(Duration::from_secs(2)));
    });
    let message = stuck.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("EIDETICA_SEED=77"), "{message}");
}

#[test]
fn a_host_comes_back_with_its_clock_and_what_was_flushed() {
    struct Silent;
    #[async_trait]
    impl Service for Silent {
        async fn handle(&self, _: Caller, message: Bytes) -> Result<Bytes> {
            Ok(message)
        }
    }
    let lost: usize = sim::seeds(8)
        .map(|seed| {
            sim::run(seed, async |world| {
                let mut host = Host::start(&world, "anna").await.unwrap();
                host.environment.set_skew(3_000);
                let key = SecretKey::generate(&*host.environment).unwrap();
                let mut database = host.engine.create_database(Doc::new(), &key).await.unwrap();
                let mut lost = 0;
                for round in 0..6 {
                    let transport = host.transport();
                    transport.listen(Arc::new(Silent)).await.unwrap();
                    let old = database.clone();
                    for number in 0..5 {
                        let transaction = database.new_transaction().await.unwrap();
                        transaction.get_store::<DocStore>("notes").await.unwrap().set("number", number).await.unwrap();
                        let durability = if number == 0 { Durability::Flushed } else { Durability::Buffered };
                        transaction.commit_with(durability).await.unwrap();
                    }
                    if round % 3 == 2 {
                        host.restart().await.unwrap();
                    } else {
                        lost += host.crash().await.unwrap().lost;
                    }
                    assert!(transport.addresses().is_empty());
                    let dialled = transport.dial(&transport.address(), CallOptions::default()).await;
                    assert_eq!(dialled.map(drop).unwrap_err().kind(), ErrorKind::Closed);
                    assert_eq!(old.get_entry(old.root_id()).await.unwrap_err().kind(), ErrorKind::Closed);
                    assert_eq!(host.environment.now().millis() - world.clock.now().millis(), 3_000);
                    database = host.engine.open_database(old.root_id(), Some(key.clone())).await.unwrap();
                    let held = database.entry_count().await.unwrap() as usize;
                    assert!(held + lost > 5 * (round + 1) && held > round + 1, "{held} held, {lost} lost");
                }
                check::all(&database, &mut world.dice("check")).await.unwrap();
                lost
            })
        })
        .sum();
    assert!(lost > 0 || std::env::var_os("EIDETICA_SEED").is_some());
}
