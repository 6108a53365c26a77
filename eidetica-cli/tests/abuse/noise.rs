//! What is no request, or never becomes one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::ground::{FILES, Ground, many, may_open, origin};
use super::raw::{Raw, garbage};

/// Connections that each send 16 KiB without a meaning, and sealed messages without one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn garbage_is_refused() {
    let ground = Ground::new().await;
    let socket = ground.socket();
    let (on, answered) = (ground.on(), Arc::new(AtomicUsize::new(0)));
    let attack = many(400, |number| {
        let (on, answered) = (on.clone(), answered.clone());
        async move {
            for turn in (0..).take_while(|_| on.is()) {
                let Some(mut raw) = Raw::from(origin(number, 100), socket).await else { continue };
                raw.say(garbage(number * 1000 + turn, 16 << 10)).await;
                assert!(!raw.rest(Duration::from_secs(2)).await.contains(" 200 "));
                let Some(mut raw) = Raw::from(origin(number, 100), socket).await else { continue };
                for kind in 0..10 {
                    let mut message = garbage(number * 10 + usize::from(kind), 200);
                    // Whole greetings have a test of their own.
                    (message[0], message[1]) = (kind, if kind == 1 { 2 } else { message[1] });
                    if let Some(answer) = raw.post(&message).await {
                        assert!(answer == [0] || answer == [8, 1], "{kind}: {answer:?}");
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
    });
    ground.stands("garbage", 24, false, attack).await;
    assert!(answered.load(Ordering::Relaxed) > 1000, "they did not come through");
    ground.end().await;
}

/// Heads that have no end, as fast as they are taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn endless_heads_are_refused() {
    let ground = Ground::new().await;
    let socket = ground.socket();
    let (on, most) = (ground.on(), Arc::new(AtomicUsize::new(0)));
    let attack = many(200, |number| {
        let (on, most) = (on.clone(), most.clone());
        async move {
            while on.is() {
                let Some(mut raw) = Raw::from(origin(number, 50), socket).await else { continue };
                let (line, mut sent) = ("y".repeat(4 << 10), 0);
                let many_lines = number.is_multiple_of(2);
                raw.say("POST /eidetica/v1 HTTP/1.1\r\nhost: peer\r\nx: ").await;
                while sent < 64 << 20 && raw.say(if many_lines { format!("{line}\r\nx: ") } else { line.clone() }).await
                {
                    sent += line.len();
                }
                most.fetch_max(sent, Ordering::Relaxed);
                // Memory is what this is about; how fast connections can be made is a matter of the machine.
                sleep(Duration::from_millis(100)).await;
            }
        }
    });
    ground.stands("endless heads", 64, true, attack).await;
    // What buffers of the system take is not in the process.
    let most = most.load(Ordering::Relaxed);
    assert!(most < 16 << 20, "{most} bytes of a head were taken");
    ground.end().await;
}

/// Three thousand connections that say nothing, or begin a request and go no further; the process may have 1,024 files.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn idle_connections_keep_nobody_out() {
    const CONNECTIONS: usize = 3000;
    if !may_open(CONNECTIONS as u64 + 500) {
        return;
    }
    let ground = Ground::new().await;
    let socket = ground.socket();
    let on = ground.on();
    let attack = async {
        let mut idle = Vec::new();
        for number in 0..CONNECTIONS {
            let Some(mut raw) = Raw::from(origin(number, 120), socket).await else { continue };
            if number.is_multiple_of(2) {
                raw.say("POST ").await;
            }
            idle.push(raw);
        }
        while on.is() {
            sleep(Duration::from_millis(10)).await;
        }
        let mut open = 0;
        for raw in &mut idle {
            open += usize::from(!raw.ended().await);
        }
        (idle.len(), open)
    };
    let (made, open) = ground.stands("idle connections", 64, true, attack).await;
    println!("{made} connections were made, {open} are open");
    assert!(made > CONNECTIONS * 9 / 10, "{made} connections were made");
    // Half of its files, and nobody who was pushed out is counted; some may just be on their way.
    assert!((256..=FILES / 2).contains(&open), "{open} connections are open");
    ground.end().await;
}
