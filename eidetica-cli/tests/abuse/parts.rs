//! Large messages of devices that nobody knows, of which the last part never comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::ground::{Ground, many, origin};
use super::insider::Device;

/// The largest message that is taken of a stranger (`docs/spec/wire.md`, chapter 8).
const LARGEST: usize = 2 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parts_of_strangers_fill_their_room_alone() {
    let ground = Ground::new().await;
    let devices: Arc<Vec<Device>> = Arc::new((0..24).map(|_| Device::new(&ground)).collect());
    let (on, taken) = (ground.on(), Arc::new(AtomicUsize::new(0)));
    let attack = many(devices.len(), |number| {
        let (on, devices, taken) = (on.clone(), devices.clone(), taken.clone());
        async move {
            let Some(mut line) = devices[number].line_of(origin(number, 8), 128 << 10).await else { return };
            while on.is() {
                taken.fetch_add(line.begin(LARGEST).await, Ordering::Relaxed);
            }
        }
    });
    ground.stands("parts of strangers", 72, true, attack).await;
    let taken = taken.load(Ordering::Relaxed) >> 20;
    println!("{taken} MiB were taken");
    // All that strangers may have together is 32 MiB.
    assert!((16..=32).contains(&taken), "{taken} MiB were taken");
    ground.end().await;
}
