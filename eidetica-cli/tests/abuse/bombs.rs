//! Small messages of a device that was let in, which become large when they are unpacked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::ground::{Ground, many, origin};
use super::insider::Device;

/// The most that a page with one entry may have, unpacked (`docs/spec/wire.md`, 9.1).
const LARGEST: usize = 8_455_168;

/// A request that gives a page (trade) of this database, which says that it has so many bytes.
fn trade(tag: &[u8; 16], said: u32, packed: &[u8]) -> Vec<u8> {
    let most = (1_u32 << 20).to_be_bytes();
    let head = [&[2], &tag[..], &[4, 8], &most, &[0, 0], &[1, 1]].concat();
    [&head[..], &said.to_be_bytes(), &(packed.len() as u32).to_be_bytes(), packed].concat()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 19).unwrap()
}

/// One entry whose header takes all there may be.
fn one_large_entry() -> Vec<u8> {
    let header = LARGEST - 5;
    let mut page = vec![0; LARGEST];
    page[..4].copy_from_slice(&(header as u32).to_be_bytes());
    page
}

/// Very many entries of a byte each, with very many bodies that are not there.
fn many_small_entries() -> Vec<u8> {
    let mut entry = vec![0, 0, 0, 1, 0x80, 128];
    entry.extend([0xff; 4].repeat(128));
    entry.repeat((2 << 20) / entry.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pages_that_swell_cost_no_more_than_a_few_of_them() {
    let ground = Ground::new().await;
    let device = Device::let_in(&ground).await;
    let mut line = device.line(2).await.unwrap();
    line.introduce(&device, &ground).await;
    let (tag, socket) = (device.tag(&ground), ground.socket());
    let (large, many_small) = (one_large_entry(), many_small_entries());
    let bombs = [
        trade(&tag, large.len() as u32, &packed(&large)),
        trade(&tag, many_small.len() as u32, &packed(&many_small)),
        // More than there may be; more than it says; less.
        trade(&tag, u32::MAX, &packed(&vec![0; 64 << 20])),
        trade(&tag, LARGEST as u32, &packed(&vec![0; 64 << 20])),
        trade(&tag, LARGEST as u32, &packed(&[0; 100])),
    ];
    assert!(bombs.iter().all(|bomb| bomb.len() < 16 << 10), "they are small");
    let (on, line, bombs, sent) = (ground.on(), Arc::new(line), Arc::new(bombs), Arc::new(AtomicUsize::new(0)));
    let attack = many(200, |number| {
        let (on, line, bombs, sent) = (on.clone(), line.clone(), bombs.clone(), sent.clone());
        async move {
            let Some(mut line) = line.also(origin(number, 50), socket).await else { return };
            for turn in (number..).take_while(|_| on.is()) {
                let (_, messages) = line.messages(bombs[turn % bombs.len()].clone()).unwrap();
                line.post(&messages[0].1).await;
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    ground.stands("pages that swell", 200, true, attack).await;
    let sent = sent.load(Ordering::Relaxed);
    println!("{sent} bombs were answered");
    assert!(sent > 200, "{sent} bombs were answered: that is no attack");
    ground.end().await;
}
