//! Running worlds: the clock, the seeds, the watchdog.

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use eidetica_core::Environment;
use eidetica_sync::sim;

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
