//! Sessions that hold no longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use eidetica::Instance;
use eidetica::store::SettingsStore;

use super::ground::{Ground, WITHIN, many, origin};
use super::insider::{Device, Line};

/// Asks where the heads are: `compare` with a digest of nothing.
fn compare(tag: &[u8; 16]) -> Vec<u8> {
    [&[2], &tag[..], &[1], &[0; 32], &[1, 1], &(1_u32 << 20).to_be_bytes(), &[0, 0]].concat()
}

/// What is answered to a key whose right was taken away, and to who has to introduce himself first.
const REMOVED: u8 = 10;
const INTRODUCE_FIRST: u8 = 6;

/// The longest that another process takes to take a right, on a busy machine.
const REVOKING: Duration = Duration::from_secs(30);

/// Sends messages of sessions that are gone again and again, and expects nothing but the one refusal.
async fn hammer(ground: &Ground, what: &str, line: Line, messages: Vec<Vec<u8>>) {
    let (socket, count) = (ground.socket(), Arc::new(AtomicUsize::new(0)));
    let (on, line, messages) = (ground.on(), Arc::new(line), Arc::new(messages));
    let attack = many(64, |number| {
        let (on, line, messages, count) = (on.clone(), line.clone(), messages.clone(), count.clone());
        async move {
            let Some(mut line) = line.also(origin(number, 16), socket).await else { return };
            for turn in (number..).take_while(|_| on.is()) {
                let answer = line.post(&messages[turn % messages.len()]).await;
                assert_eq!(answer.as_deref(), Some(&[0][..]));
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    ground.stands(what, 24, true, attack).await;
    let count = count.load(Ordering::Relaxed);
    println!("{what}: {count} refusals");
    assert!(count > 1000, "{count} refusals: that is no attack");
}

/// The messages of so many requests, sealed for a session as long as it holds.
fn sealed(line: &Line, payload: &[u8], count: usize) -> Vec<Vec<u8>> {
    let one = |_| line.messages(payload.to_vec()).unwrap().1[0].1.to_vec();
    (0..count).map(one).collect()
}

/// A peer that is removed: its session ends, and so does what it had sealed already.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_session_of_a_peer_that_was_removed_is_worth_nothing() {
    let ground = Ground::new().await;
    let device = Device::let_in(&ground).await;
    let mut line = device.line(2).await.unwrap();
    line.introduce(&device, &ground).await;
    let ask = compare(&device.tag(&ground));
    let reply = line.ask(ask.clone()).await.unwrap();
    assert_eq!(reply[..2], [2, 2], "it is told that the heads differ: {reply:?}");
    let before = sealed(&line, &ask, 200);
    let used = before[0].clone();
    assert_ne!(line.post(&used).await.unwrap(), [0]);
    assert_eq!(line.post(&used).await.unwrap(), [0], "a frame is taken once");
    let remove = ["peers", "remove", &device.key().to_string()];
    tokio::task::block_in_place(|| ground.place.run(&remove).ok());
    // The process that serves looks four times a second at what others have changed in its store.
    let began = Instant::now();
    while line.ask(ask.clone()).await.is_some() {
        assert!(began.elapsed() < WITHIN, "it is still served");
    }
    hammer(&ground, "messages of a peer that was removed", line, before).await;
    ground.end().await;
}

/// Of one device eight sessions are kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_that_were_pushed_out_are_worth_nothing() {
    let ground = Ground::new().await;
    let device = Device::let_in(&ground).await;
    let ask = compare(&device.tag(&ground));
    let mut first = device.line(2).await.unwrap();
    first.introduce(&device, &ground).await;
    let before = sealed(&first, &ask, 200);
    for origin in 3..11 {
        let mut line = device.line(origin).await.unwrap();
        line.introduce(&device, &ground).await;
    }
    hammer(&ground, "messages of a session that was pushed out", first, before).await;
    ground.end().await;
}

/// A key that has lost its right: the session is there, and gives nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_of_a_key_without_a_right_gives_nothing() {
    let ground = Ground::new().await;
    let device = Device::let_in(&ground).await;
    let mut line = device.line(2).await.unwrap();
    line.introduce(&device, &ground).await;
    let ask = compare(&device.tag(&ground));
    assert_eq!(line.ask(ask.clone()).await.unwrap()[0], 2);
    // It is told that it was removed, since it proves that this is about itself: for as long as its session is there, which ends soon after. So
    // it asks all the while, however long it takes to take the right.
    let told = async {
        loop {
            match line.ask(ask.clone()).await.expect("it is told before its session ends")[0] {
                2 => tokio::time::sleep(Duration::from_millis(5)).await,
                REMOVED => break,
                other => panic!("it is told {other}"),
            }
        }
    };
    let told = async { tokio::time::timeout(REVOKING + WITHIN, told).await.expect("it is still served") };
    tokio::join!(revoke(&ground, &device), told);
    let (socket, on) = (ground.socket(), ground.on());
    let (line, count, tried) = (Arc::new(line), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let attack = many(64, |number| {
        let (on, line, ask, count, tried) = (on.clone(), line.clone(), ask.clone(), count.clone(), tried.clone());
        async move {
            let Some(mut line) = line.also(origin(number, 16), socket).await else { return };
            while on.is() {
                tried.fetch_add(1, Ordering::Relaxed);
                // A frame may come too late for the window while others overtake it; and the device is a stranger now, of whom
                // so much is taken and no more.
                if let Some(reply) = line.ask(ask.clone()).await {
                    // Once it is a stranger it is to introduce itself before it is told anything.
                    assert!(reply[..] == [REMOVED] || reply[..] == [INTRODUCE_FIRST], "{reply:?}");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
    ground.stands("requests of a key without a right", 24, true, attack).await;
    let (count, tried) = (count.load(Ordering::Relaxed), tried.load(Ordering::Relaxed));
    println!("{count} of {tried} requests were answered that nothing is served");
    assert!(tried > 200, "{tried} requests: that is no attack");
    ground.end().await;
}

/// Takes the right of the user of a device, in another process of the same store.
async fn revoke(ground: &Ground, device: &Device) {
    let instance = Instance::open_url(ground.place.store()).await.unwrap();
    let user = instance.login_user("default", None).await.unwrap();
    let database = user.open_database(&ground.id).await.unwrap();
    let transaction = database.new_transaction().await.unwrap();
    let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
    settings.revoke_auth_key(&device.user_key()).await.unwrap();
    transaction.commit().await.unwrap();
    instance.close().await.unwrap();
}
