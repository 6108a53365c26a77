//! First messages in great numbers. Any 32 bytes are one, so they cost who sends them nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::ground::{Ground, many, origin};
use super::raw::{Raw, garbage};

/// Sends greetings from so many connections, of which so many share an origin. How many were answered by a handshake, and by a
/// refusal, and how many seconds it took.
async fn flood(ground: &Ground, what: &str, connections: usize, each: usize, strangers: bool) -> (usize, usize, usize) {
    let socket = ground.socket();
    let (on, began) = (ground.on(), Instant::now());
    let (taken, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let attack = many(connections, |number| {
        let (on, taken, refused) = (on.clone(), taken.clone(), refused.clone());
        async move {
            let Some(mut raw) = Raw::from(origin(number, each), socket).await else { return };
            let mut turn = 0;
            while on.is() {
                // Every fourth is none: too short, too long, or without a sense behind a proper beginning.
                let length = if turn % 4 == 3 { turn * 7 % 2000 } else { 32 };
                let greeting = [&[1, 1], &garbage(number * 100_000 + turn, length)[..]].concat();
                turn += 1;
                match raw.post(&greeting).await {
                    Some(answer) if answer[0] == 2 => taken.fetch_add(1, Ordering::Relaxed),
                    Some(answer) if answer == [0] => refused.fetch_add(1, Ordering::Relaxed),
                    Some(answer) => panic!("{answer:?}"),
                    None => return,
                };
            }
        }
    });
    ground.stands(what, 24, strangers, attack).await;
    let [taken, refused] = [taken, refused].map(|count| count.load(Ordering::Relaxed));
    println!("{what}: {taken} handshakes begun, {refused} refused");
    (taken, refused, began.elapsed().as_secs() as usize + 1)
}

/// From one origin, which gets its share and no more; devices from elsewhere are let in meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_origin_that_floods_gets_its_share() {
    let ground = Ground::new().await;
    let (taken, refused, seconds) = flood(&ground, "greetings of one origin", 16, 16, true).await;
    // 32 at once and 8 a second.
    assert!((32..=32 + 8 * seconds).contains(&taken), "{taken} handshakes were begun");
    assert!(refused > 1000, "{refused} were refused: that is no flood");
    ground.end().await;
}

/// From forty origins. Those who have a session do not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_from_everywhere_is_bounded() {
    let ground = Ground::new().await;
    let (taken, refused, seconds) = flood(&ground, "greetings of forty origins", 80, 2, false).await;
    // 512 at once and 256 a second, if the machine can do as many.
    assert!((512..=512 + 256 * seconds).contains(&taken), "{taken} handshakes were begun");
    assert!(refused > 100, "{refused} were refused: that is no flood");
    ground.end().await;
}
