//! The kit for tests of applications keeps what it says.

use std::time::Duration;

use eidetica::auth::Permission;
use eidetica::store::DocStore;
use eidetica::testing::{self, Peer, Testbed};
use eidetica::{Database, Durability, ErrorKind, Result};

async fn set(database: &Database, key: &str, value: &str, durability: Durability) -> Result<()> {
    let transaction = database.new_transaction().await?;
    transaction.get_store::<DocStore>("notes").await?.set(key, value).await?;
    transaction.commit_with(durability).await.map(drop)
}

async fn get(database: &Database, key: &str) -> Result<String> {
    database.get_store_viewer::<DocStore>("notes").await?.get_string(key).await
}

/// Two devices that share a database: hers, his.
async fn shared(testbed: &Testbed, permission: Permission) -> Result<(Peer, Peer, Database, Database)> {
    let (mut anna, ben) = testbed.pair().await?;
    let hers = anna.create_database("notes").await?;
    let his = anna.share(&hers, &ben, permission).await?;
    Ok((anna, ben, hers, his))
}

#[test]
fn what_one_writes_the_other_has_by_itself() -> Result<()> {
    testing::run(async |testbed| {
        let (_anna, _ben, hers, his) = shared(&testbed, Permission::Write).await?;
        assert_eq!(his.get_name().await?, "notes");
        for (from, to, key) in [(&hers, &his, "hers"), (&his, &hers, "his")] {
            set(from, key, "hello", Durability::Flushed).await?;
            testing::until("it has come", to, async || Ok(get(to, key).await.is_ok())).await?;
        }
        testing::in_step([&hers, &his]).await
    })
}

#[test]
fn permissions_are_those_of_everywhere() -> Result<()> {
    testing::run(async |testbed| {
        let (_anna, _ben, _hers, his) = shared(&testbed, Permission::Read).await?;
        let refused = set(&his, "his", "hello", Durability::Flushed).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
        Ok(())
    })
}

#[test]
fn a_cut_keeps_them_apart_and_waiting_for_it_fails_without_taking_time() -> Result<()> {
    let began = std::time::Instant::now();
    testing::run(async |testbed| {
        let (_anna, _ben, hers, his) = shared(&testbed, Permission::Write).await?;
        testbed.network().partition(&["anna"], &["ben"]);
        set(&hers, "greeting", "hello", Durability::Flushed).await?;
        let late = testing::in_step([&hers, &his]).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Timeout);
        let counts: Vec<u64> = late.context("entries").unwrap().split(", ").map(|n| n.parse().unwrap()).collect();
        assert_eq!(counts[0], counts[1] + 1);
        let late = testing::until("it has come", &his, async || Ok(get(&his, "greeting").await.is_ok())).await;
        assert_eq!(late.unwrap_err().context("waited_for"), Some("it has come"));

        testbed.network().heal();
        testing::in_step([&hers, &his]).await?;
        assert_eq!(get(&his, "greeting").await?, "hello");
        Ok::<_, eidetica::Error>(())
    })?;
    // Half an hour has passed in there.
    assert!(began.elapsed() < Duration::from_secs(60));
    Ok(())
}

#[test]
fn the_clock_goes_on_only_while_everybody_waits() -> Result<()> {
    testing::run(async |testbed| {
        let anna = testbed.peer("anna").await?;
        let then = testbed.now();
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(testbed.now(), then);
        testbed.pass(Duration::from_secs(3600)).await;
        assert_eq!(testbed.now().millis() - then.millis(), 3_600_000);
        assert_eq!(anna.instance.engine().environment().now(), testbed.now());
        anna.set_clock_ahead(-1000);
        assert_eq!(anna.instance.engine().environment().now().millis(), testbed.now().millis() - 1000);
        Ok(())
    })
}

#[test]
fn a_restart_keeps_everything_and_a_crash_what_was_flushed() -> Result<()> {
    testing::run(async |testbed| {
        let (anna, ben, hers, his) = shared(&testbed, Permission::Write).await?;
        set(&his, "flushed", "yes", Durability::Flushed).await?;
        testing::in_step([&hers, &his]).await?;
        let (device, id) = (ben.instance.device_id(), *his.root_id());

        let ben = ben.restart().await?;
        assert_eq!(ben.instance.device_id(), device);
        let closed = set(&his, "closed", "yes", Durability::Flushed).await.unwrap_err();
        assert_eq!(closed.kind(), ErrorKind::Closed);
        let his = ben.user.open_database(&id).await?;
        assert_eq!(get(&his, "flushed").await?, "yes");

        let ben = ben.crash().await?;
        let his = ben.user.open_database(&id).await?;
        assert_eq!(get(&his, "flushed").await?, "yes");
        // And the two find each other again.
        set(&hers, "after", "hello", Durability::Flushed).await?;
        testing::in_step([&hers, &his]).await?;
        assert_eq!(get(&his, "after").await?, "hello");
        drop(anna);
        Ok(())
    })
}

#[test]
fn a_crash_may_lose_what_was_not_flushed() {
    let lost = (1..=8).filter(|seed| {
        let survived: Result<bool> = testing::run_seeded(*seed, async |testbed| {
            let mut anna = testbed.peer("anna").await?;
            let hers = anna.create_database("notes").await?;
            set(&hers, "buffered", "yes", Durability::Buffered).await?;
            let anna = anna.crash().await?;
            let hers = anna.user.open_database(hers.root_id()).await?;
            Ok(get(&hers, "buffered").await.is_ok())
        });
        !survived.unwrap()
    });
    let lost = lost.count();
    assert!((1..8).contains(&lost), "{lost} of 8");
}

#[test]
fn a_name_is_given_once() -> Result<()> {
    testing::run(async |testbed| {
        let _anna = testbed.peer("anna").await?;
        assert_eq!(testbed.peer("anna").await.unwrap_err().kind(), ErrorKind::Locked);
        assert_eq!(testbed.peer("").await.unwrap_err().kind(), ErrorKind::InvalidInput);
        Ok(())
    })
}

/// As an application would that has tokio's own macro.
#[tokio::test(start_paused = true)]
async fn it_works_on_a_runtime_of_the_test() -> Result<()> {
    let (_anna, _ben, hers, his) = shared(&Testbed::new(), Permission::Write).await?;
    set(&hers, "greeting", "hello", Durability::Flushed).await?;
    testing::in_step([&hers, &his]).await
}
