//! Bodies that are too large, or have no end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::ground::{Ground, many, may_open, origin};
use super::raw::{Raw, endless, head};

/// Ten gibibytes are announced, and sent, as long as anybody takes them; and the same without a word on the length.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn huge_bodies_are_not_taken() {
    let ground = Ground::new().await;
    let socket = ground.socket();
    let (on, sent, most) = (ground.on(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let attack = many(100, |number| {
        let (on, sent, most) = (on.clone(), sent.clone(), most.clone());
        async move {
            let piece = vec![b'x'; 64 << 10];
            let chunk = [b"10000\r\n", &piece[..], b"\r\n"].concat();
            while on.is() {
                let Some(mut raw) = Raw::from(origin(number, 25), socket).await else { continue };
                let announced = number.is_multiple_of(2);
                raw.say(if announced { head(10_u64 << 30) } else { endless() }).await;
                let mut of_this = 0;
                while on.is() && raw.say(if announced { &piece } else { &chunk }).await {
                    of_this += piece.len();
                }
                sent.fetch_add(of_this, Ordering::Relaxed);
                most.fetch_max(of_this, Ordering::Relaxed);
            }
        }
    });
    ground.stands("huge bodies", 160, true, attack).await;
    let [sent, most] = [sent, most].map(|count| count.load(Ordering::Relaxed) >> 20);
    println!("{sent} MiB went out, at most {most} MiB of one body");
    assert!(sent > 100, "only {sent} MiB were sent: that is no attack");
    assert!(most < 32, "{most} MiB of one body were taken");
    ground.end().await;
}

/// The largest message (`HttpLimits::max_message`).
const LARGEST: usize = 4 << 20;

/// As much as is allowed, but for the last byte, from more connections than there are places for large messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn large_bodies_that_stop_before_their_end_are_few() {
    let ground = Ground::new().await;
    let socket = ground.socket();
    let on = ground.on();
    let attack = many(400, |number| {
        let on = on.clone();
        async move {
            let Some(mut raw) = Raw::from(origin(number, 100), socket).await else { return };
            let (piece, mut left) = (vec![b'x'; 64 << 10], LARGEST - 1);
            raw.say(head(LARGEST)).await;
            while on.is() {
                let some = left.min(piece.len());
                // Where nothing is taken, this waits for a while.
                if some == 0 || !raw.say(&piece[..some]).await {
                    sleep(Duration::from_millis(50)).await;
                } else {
                    left -= some;
                }
            }
        }
    });
    // 64 MiB for the messages that are large, and what a connection may have read ahead.
    ground.stands("large bodies that stop", 224, true, attack).await;
    ground.end().await;
}

/// Sixty kibibytes at once, and then a byte a second, from 400 connections of each of two origins.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bodies_that_drip_cost_little() {
    if !may_open(1500) {
        return;
    }
    let ground = Ground::new().await;
    let socket = ground.socket();
    let (on, dripping) = (ground.on(), Arc::new(AtomicUsize::new(0)));
    let attack = many(800, |number| {
        let (on, dripping) = (on.clone(), dripping.clone());
        async move {
            let Some(mut raw) = Raw::from(origin(number, 400), socket).await else { return };
            let piece = [b"f000\r\n", &vec![b'x'; 0xf000][..], b"\r\n"].concat();
            raw.say(endless()).await;
            raw.say(piece).await;
            // Whose connection is closed learns that with the second drop after it: so there are three, however short the
            // attack.
            let mut drops = 0;
            while on.is() || drops < 3 {
                sleep(Duration::from_secs(1)).await;
                if !raw.say("1\r\nx\r\n").await {
                    return;
                }
                drops += 1;
            }
            dripping.fetch_add(1, Ordering::Relaxed);
        }
    });
    ground.stands("bodies that drip", 72, true, attack).await;
    let dripping = dripping.load(Ordering::Relaxed);
    // Each origin has 128 connections, and who sends a body is not pushed out.
    assert!((200..=256).contains(&dripping), "{dripping} were let drip");
    ground.end().await;
}
