use std::time::Duration;

use eidetica::Instance;
use eidetica::backend::database::Memory;
use tokio::time::Instant;

use super::kit::why;
use crate::local::counting::Shared;
use crate::local::kit::Held;

/// A clock of its own for the store, so that only the waits move the one of the test.
async fn store(held: &std::sync::Arc<Held>, backend: &Shared) -> Instance {
    Instance::open_with(Box::new(backend.clone()), held.options()).await.unwrap()
}

async fn time(instance: &Instance, name: &str, password: &str) -> (String, Duration) {
    let begin = Instant::now();
    let reason = match instance.login_user(name, Some(password)).await {
        Ok(_) => "right".to_owned(),
        error => why(error).1,
    };
    (reason, begin.elapsed())
}

/// Within a tenth of it: the paused clock also moves by what hashing takes.
#[track_caller]
fn about(found: (String, Duration), reason: &str, millis: u64) {
    let wanted = Duration::from_millis(millis);
    assert_eq!(found.0, reason);
    assert!(found.1 >= wanted && found.1 <= wanted + Duration::from_millis(100), "{:?} instead of {wanted:?}", found.1);
}

#[tokio::test(start_paused = true)]
async fn each_wrong_password_makes_the_next_attempt_wait_twice_as_long() {
    let (held, backend) = (Held::new(), Shared::at_once(Memory::new()));
    let instance = store(&held, &backend).await;
    instance.create_user("alice", Some("secret")).await.unwrap();
    instance.create_user("bob", Some("secret")).await.unwrap();
    for wait in [0, 250, 500, 1000, 2000] {
        about(time(&instance, "alice", "wrong").await, "wrong_password", wait);
        // A name that nobody has is treated alike, and others do not wait.
        about(time(&instance, "nobody", "wrong").await, "unknown_user", wait);
        about(time(&instance, "bob", "secret").await, "right", 0);
    }
    // Another process, and one after a restart, wait like this one.
    let later = store(&held, &backend).await;
    about(time(&later, "alice", "wrong").await, "wrong_password", 4000);
    about(time(&instance, "alice", "wrong").await, "wrong_password", 8000);
    for _ in 0..3 {
        let (reason, wait) = time(&instance, "alice", "wrong").await;
        assert!(reason == "wrong_password" && wait <= Duration::from_millis(30_100), "{wait:?}");
    }
    about(time(&instance, "alice", "wrong").await, "wrong_password", 30_000);
    // Time that has passed counts; and who gets in starts afresh.
    held.advance(Duration::from_secs(20));
    about(time(&later, "alice", "secret").await, "right", 10_000);
    about(time(&instance, "alice", "wrong").await, "wrong_password", 0);
    held.advance(Duration::from_secs(3600));
    about(time(&instance, "alice", "wrong").await, "wrong_password", 0);
    about(time(&instance, "alice", "secret").await, "right", 250);
}

#[tokio::test(start_paused = true)]
async fn many_guesses_at_once_are_no_faster_than_one_after_the_other() {
    let (held, backend) = (Held::new(), Shared::at_once(Memory::new()));
    let instance = store(&held, &backend).await;
    instance.create_user("alice", Some("secret")).await.unwrap();
    let begin = Instant::now();
    let guesses: Vec<_> = (0..6)
        .map(|number| {
            let instance = instance.clone();
            tokio::spawn(async move { instance.login_user("alice", Some(&format!("guess {number}"))).await.is_ok() })
        })
        .collect();
    for guess in guesses {
        assert!(!guess.await.unwrap());
    }
    let wanted = Duration::from_millis(250 + 500 + 1000 + 2000 + 4000);
    assert!(begin.elapsed() >= wanted, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_old_password_of_a_change_is_no_way_around() {
    let (held, backend) = (Held::new(), Shared::at_once(Memory::new()));
    let instance = store(&held, &backend).await;
    instance.create_user("alice", Some("secret")).await.unwrap();
    let mut user = instance.login_user("alice", Some("secret")).await.unwrap();
    for _ in 0..3 {
        assert!(user.change_password(Some("wrong"), Some("x")).await.is_err());
    }
    about(time(&instance, "alice", "wrong").await, "wrong_password", 1000);
}
