//! redb over a disk that crashes, fills up and fails, in memory.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use eidetica_contract::{ErrorKind as Kind, Keyspace, WriteBatch};
use redb::Database;

use crate::disk::{Disk, Handle, Medium, OURS};
use crate::engine::{self, Engine};
use crate::tables;

const SPACE: Keyspace = Keyspace::new(3);

/// What a disk has been told since its last sync.
#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Default)]
struct State {
    /// What is certain.
    durable: Vec<u8>,
    /// What is read.
    cached: Vec<u8>,
    since: Vec<Change>,
    /// How many blocks may be written to that have never been written to.
    room: Option<usize>,
    used: BTreeMap<u64, ()>,
    sync_fails: bool,
    syncs: usize,
}

/// A disk in memory.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

impl Fake {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// What a crash may leave: what is certain, and any part of the rest, in any order, blocks torn apart.
    fn crashed(&self, random: &mut u64) -> Fake {
        let state = self.state();
        let all = next(random).is_multiple_of(4);
        // The length is one that the file has had; it does not depend on what else has reached the disk.
        let mut lengths = vec![state.durable.len()];
        for change in &state.since {
            if let Change::Length(length) = change {
                lengths.push(*length as usize);
            }
        }
        let length = if all { lengths[lengths.len() - 1] } else { lengths[next(random) as usize % lengths.len()] };
        let mut image = state.durable.clone();
        image.resize(state.cached.len().max(image.len()).max(length), 0);
        for change in &state.since {
            let Change::Write(offset, data) = change else { continue };
            for (index, part) in data.chunks(512).enumerate() {
                let at = *offset as usize + index * 512;
                if all || next(random).is_multiple_of(2) {
                    image.resize(image.len().max(at + part.len()), 0);
                    image[at..at + part.len()].copy_from_slice(part);
                }
            }
        }
        image.truncate(length);
        let fake = Fake::default();
        fake.state().durable = image.clone();
        fake.state().cached = image;
        fake
    }
}

impl Medium for Fake {
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let state = self.state();
        let there = state.cached.get(offset as usize..).unwrap_or_default();
        let read = there.len().min(out.len());
        out[..read].copy_from_slice(&there[..read]);
        Ok(read)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        for block in offset / 4096..(offset + data.len() as u64).div_ceil(4096) {
            if state.used.insert(block, ()).is_none()
                && let Some(room) = state.room
            {
                if room == 0 {
                    state.used.remove(&block);
                    return Err(ErrorKind::StorageFull.into());
                }
                state.room = Some(room - 1);
            }
        }
        let end = offset as usize + data.len();
        if state.cached.len() < end {
            state.cached.resize(end, 0);
        }
        state.cached[offset as usize..end].copy_from_slice(data);
        state.since.push(Change::Write(offset, data.to_vec()));
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.state().cached.len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut state = self.state();
        state.cached.resize(length as usize, 0);
        state.used.retain(|block, ()| block * 4096 < length);
        state.since.push(Change::Length(length));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.sync_fails {
            // As systems do: what could not be written counts as written.
            state.since.clear();
            return Err(io::Error::other("the disk is broken"));
        }
        state.durable = state.cached.clone();
        state.since.clear();
        state.syncs += 1;
        Ok(())
    }

    fn release(&self) -> io::Result<()> {
        Ok(())
    }
}

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

fn open(fake: &Fake, cache: usize) -> Engine {
    let new = fake.length().unwrap() <= OURS;
    if new {
        fake.set_length(OURS).unwrap();
        fake.sync().unwrap();
    }
    let disk = Arc::new(Disk::new(Box::new(fake.clone()), cache).unwrap());
    let database = Database::builder().set_cache_size(cache).create_with_backend(Handle(disk.clone())).unwrap();
    if new {
        tables::create(&database).unwrap();
    }
    Engine::new("memory".into(), engine::Kind::Writable(database), disk)
}

/// The rows of one commit: its number, and others that it overwrites, so that pages are freed and used again.
fn batch(number: u64, random: &mut u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(SPACE, "last", number.to_be_bytes().to_vec());
    for _ in 0..1 + next(random) % 6 {
        let key = (next(random) % 300).to_be_bytes().to_vec();
        batch.put(SPACE, key, vec![number as u8; (next(random) % 3000) as usize]);
    }
    batch
}

/// The number of the last commit that can be seen, after a look at every row.
fn last(engine: &Engine) -> u64 {
    let view = engine.begin_read().unwrap();
    let table = view.open_table(tables::of(SPACE)).unwrap();
    for row in table.range::<&[u8]>(..).unwrap() {
        let (key, value) = row.unwrap();
        assert!(key.value().len() == 8 || key.value() == b"last");
        assert!(value.value().len() <= 3000);
    }
    let last = table.get(&b"last"[..]).unwrap();
    last.map_or(0, |value| u64::from_be_bytes(value.value().try_into().unwrap()))
}

/// Power is cut at any moment, with any part of what was not synced on the disk.
#[test]
fn after_a_crash_there_is_a_prefix_that_holds_what_was_flushed() {
    let mut random = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into();
    println!("seed {random}");
    for cache in [1 << 20, 64 << 10] {
        let fake = Fake::default();
        let engine = open(&fake, cache);
        let (mut flushed, mut crashes) = (0, 0);
        for number in 1..=400 {
            engine.commit(&batch(number, &mut random)).unwrap();
            if next(&mut random).is_multiple_of(5) {
                engine.flush().unwrap();
                flushed = number;
            }
            if next(&mut random).is_multiple_of(8) {
                let found = last(&open(&fake.crashed(&mut random), cache));
                assert!((flushed..=number).contains(&found), "{found} is found, {flushed} was flushed of {number}");
                crashes += 1;
            }
        }
        assert!(crashes > 20);
    }
}

/// In the middle of a flush: redb believes that it has synced, and goes on, and nothing may come of it too early.
#[test]
fn what_is_owed_keeps_the_order() {
    let mut random = 7;
    let fake = Fake::default();
    let cache = 64 << 10;
    let engine = open(&fake, cache);
    for number in 1..=200 {
        engine.commit(&batch(number, &mut random)).unwrap();
        engine.flush().unwrap();
    }
    let syncs = fake.state().syncs;
    for number in 201..=260 {
        engine.disk.owe();
        let guard = engine.read();
        engine.write_durably(engine.database(&guard).unwrap()).unwrap();
        drop(guard);
        // Nobody has waited. These commits use the pages that redb takes for free by now.
        for _ in 0..3 {
            engine.commit(&batch(number, &mut random)).unwrap();
        }
        for _ in 0..3 {
            let found = last(&open(&fake.crashed(&mut random), cache));
            assert!((number.saturating_sub(2).max(200)..=number).contains(&found), "{found} is found after {number}");
        }
        assert_eq!(last(&engine), number);
        engine.settle().unwrap();
    }
    assert!(fake.state().syncs >= syncs + 60);
}

/// A header that speaks of a longer file must not reach the disk before the file is longer.
#[test]
fn a_file_that_grows_is_never_shorter_than_its_header_says() {
    let mut random = 11;
    let fake = Fake::default();
    let cache = 4 << 20;
    let engine = open(&fake, cache);
    let (mut grown, mut length) = (0, engine.disk.length());
    for number in 1..=24u64 {
        let mut rows = batch(number, &mut random);
        for row in 0..40u64 {
            let key = (1000 + number * 100 + row).to_be_bytes().to_vec();
            rows.put(SPACE, key, vec![1; 3000]);
        }
        engine.commit(&rows).unwrap();
        engine.disk.owe();
        let guard = engine.read();
        engine.write_durably(engine.database(&guard).unwrap()).unwrap();
        drop(guard);
        grown += usize::from(engine.disk.length() > length);
        length = engine.disk.length();
        for _ in 0..4 {
            let found = last(&open(&fake.crashed(&mut random), cache));
            assert!((number - 1..=number).contains(&found), "{found} is found after {number}");
        }
        engine.settle().unwrap();
    }
    assert!(grown > 2, "the file has hardly grown");
}

/// Nothing that was visible goes away, nothing that was refused is visible, and with room it all goes on.
#[test]
fn a_full_disk_hides_nothing() {
    let mut random = 3;
    for cache in [1 << 20, 64 << 10] {
        let fake = Fake::default();
        let engine = open(&fake, cache);
        let (mut done, mut flushed, mut refused) = (0, 0, 0);
        for number in 1..=600 {
            match number % 200 {
                60 => fake.state().room = Some(40),
                160 => fake.state().room = None,
                _ => {}
            }
            let full = |result: eidetica_contract::Result<()>| match result {
                Ok(()) => true,
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Full, "{error:?}");
                    false
                }
            };
            match full(engine.commit(&batch(number, &mut random))) {
                true => done = number,
                false => refused += 1,
            }
            if number % 3 == 0 && full(engine.flush()) {
                flushed = done;
            }
            assert_eq!(last(&engine), done);
            if number % 10 == 0 {
                let found = last(&open(&fake.crashed(&mut random), cache));
                assert!((flushed..=done).contains(&found), "{found} is found, {flushed} was flushed of {done}");
            }
        }
        assert!(refused > 50, "the disk has never been full");
        assert_eq!(flushed, 600);
        engine.close().unwrap();
        assert_eq!(last(&open(&fake, cache)), 600);
    }
}

/// What a sync has failed to write may be lost. Nothing builds on it any more, and no flush says otherwise.
#[test]
fn after_a_sync_that_failed_nothing_is_claimed() {
    let mut random = 5;
    let fake = Fake::default();
    let engine = open(&fake, 64 << 10);
    for number in 1..=50 {
        engine.commit(&batch(number, &mut random)).unwrap();
    }
    engine.flush().unwrap();
    engine.commit(&batch(51, &mut random)).unwrap();
    fake.state().sync_fails = true;
    assert_eq!(engine.flush().unwrap_err().kind(), Kind::Io);
    fake.state().sync_fails = false;
    for number in 52..=60 {
        let _ = engine.commit(&batch(number, &mut random));
        assert_eq!(engine.flush().unwrap_err().kind(), Kind::Io);
    }
    assert_eq!(engine.close().unwrap_err().kind(), Kind::Io);
    assert_eq!(last(&open(&fake.crashed(&mut random), 64 << 10)), 50, "the last state that was flushed is whole");
}
