//! The same seed gives the same run, byte for byte, and another seed another one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{CallOptions, Caller, Result, Service, Transport};
use eidetica_core::entry::RawEntry;
use eidetica_core::store::DocStore;
use eidetica_core::{Database, Durability, Engine, SecretKey, crdt::Doc};
use eidetica_sync::sim::{self, Conditions, Crashing, Delay, World};

use super::transport::address;

/// Takes pages of entries: parts that are led by their length.
struct Ingesting(Database);

#[async_trait]
impl Service for Ingesting {
    async fn handle(&self, caller: Caller, message: Bytes) -> Result<Bytes> {
        let mut entries = Vec::new();
        let mut rest = message;
        while let Some(entry) = unpack(&mut rest) {
            entries.push(entry);
        }
        let database = self.0.clone();
        // Work that must finish runs in a task of its own.
        let work = tokio::spawn(async move { database.ingest(entries, &caller.origin.unwrap_or_default()).await });
        let outcomes = work.await.unwrap()?;
        Ok(format!("{outcomes:?}").into())
    }
}

pub fn pack(entry: &RawEntry, out: &mut Vec<u8>) {
    let mut part = |bytes: &[u8]| {
        out.extend((bytes.len() as u32).to_be_bytes());
        out.extend(bytes);
    };
    part(&entry.header);
    part(&(entry.bodies.len() as u32).to_be_bytes());
    entry.bodies.iter().for_each(|body| part(body.as_deref().unwrap_or_default()));
}

fn unpack(rest: &mut Bytes) -> Option<RawEntry> {
    let mut part = || {
        let len = rest.get(..4)?.try_into().map(u32::from_be_bytes).ok()? as usize;
        if rest.len() < 4 + len {
            return None;
        }
        let _ = rest.split_to(4);
        Some(rest.split_to(len))
    };
    let header = part()?;
    let bodies = part()?;
    let bodies = u32::from_be_bytes(bodies[..].try_into().ok()?);
    Some(RawEntry { header, bodies: (0..bodies).map(|_| part()).collect() })
}

/// A writer and two who receive, over a poor line, with a store that crashes: all that there is, at once.
async fn story(world: World) -> (u64, [u8; 32], Vec<String>) {
    world.network.everywhere(Conditions::hostile());
    let mut said = Vec::new();
    let mut dice = world.dice("story");
    let key = SecretKey::from_seed(&[7; 32]);
    let environment = world.environment("writer");
    let store = Crashing::memory(world.seed).flush_takes(Delay::Between(Duration::ZERO, Duration::from_millis(30)));
    let engine = Engine::open(Box::new(store.clone()), world.options(&environment)).await.unwrap();
    let database = engine.create_database(Doc::new(), &key).await.unwrap();
    let root = database.get_entry(database.root_id()).await.unwrap();
    let mut peers = Vec::new();
    for name in ["one", "two"] {
        let environment = world.environment(name);
        let store = Crashing::memory(world.seed ^ 1);
        let engine = Engine::open(Box::new(store), world.options(&environment)).await.unwrap();
        let database = engine.adopt_database(root.to_raw(), None).await.unwrap();
        let transport = world.network.transport(name);
        transport.listen(Arc::new(Ingesting(database.clone()))).await.unwrap();
        peers.push((name, database, transport, engine));
    }
    let writer = Arc::new(world.network.transport("writer"));
    // Many at once, from several tasks, and more than are proven without a thought.
    for round in 0..6 {
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..8u64 {
            let (database, pause) = (database.clone(), dice.below(20));
            tasks.spawn(async move {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let transaction = database.new_transaction().await.unwrap();
                let notes = transaction.get_store::<DocStore>("notes").await.unwrap();
                notes.set(&format!("{round} {task}"), task as i64).await.unwrap();
                let durability = if task % 2 == 0 { Durability::Flushed } else { Durability::Buffered };
                transaction.commit_with(durability).await.unwrap();
            });
        }
        tasks.join_all().await;
        let ids = database.difference(&database.get_tips().await.unwrap(), &[*database.root_id()]).await.unwrap();
        let mut entries = database.get_entries(&ids).await.unwrap();
        dice.shuffle(&mut entries);
        // All pages to both at once, so that much is proven at the same time as other work is done.
        let mut sends = tokio::task::JoinSet::new();
        for (name, chunk) in peers.iter().flat_map(|peer| entries.chunks(20).map(move |chunk| (peer.0, chunk))) {
            let mut page = Vec::new();
            chunk.iter().for_each(|entry| pack(&entry.to_raw(), &mut page));
            let writer = writer.clone();
            sends.spawn(async move {
                let options = CallOptions::timeout(Duration::from_secs(5));
                let channel = writer.dial(&address(name), options).await.map_err(|error| error.kind())?;
                channel.request(page.into(), options).await.map_err(|error| error.kind())
            });
        }
        while let Some(sent) = sends.join_next().await {
            said.push(format!("{:?}", sent.unwrap()));
        }
    }
    for (_, database, ..) in &peers {
        said.push(format!("{:?} {:?}", database.get_tips().await.unwrap(), database.waiting().await.unwrap()));
        said.push(format!("{:?}", database.verify().await.unwrap()));
    }
    store.crash();
    let reopened = store.reopen().await.unwrap();
    said.push(format!("{:?} at {:?}", store.survived().await, world.clock.elapsed()));
    let engine = Engine::open(Box::new(reopened), world.options(&environment)).await.unwrap();
    let database = engine.open_database(database.root_id(), None).await.unwrap();
    said.push(format!("{} {:?}", database.entry_count().await.unwrap(), database.get_tips().await.unwrap()));
    let (events, digest) = world.network.trace_digest();
    (events, digest, said)
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_another() {
    let mut digests = std::collections::BTreeSet::new();
    for seed in sim::seeds(4) {
        let (one, same) = (sim::run(seed, story), sim::run(seed, story));
        assert!(one.0 > 100, "{} events", one.0);
        assert_eq!(one.2, same.2, "what happened with seed {seed}");
        assert_eq!(one, same, "seed {seed}");
        assert!(digests.insert(one.1), "another seed has given the same trace as {seed}");
    }
}

/// Asks 300 times over a hostile line, 3 ms apart; what the network has seen, as text.
async fn asked(world: World, elsewhere: bool, conditions: Conditions) -> Vec<String> {
    struct Echo;
    #[async_trait]
    impl Service for Echo {
        async fn handle(&self, _: Caller, message: Bytes) -> Result<Bytes> {
            tokio::time::sleep(Duration::from_millis(60)).await;
            Ok(message)
        }
    }
    let network = &world.network;
    let (near, far) = (network.transport("near"), network.transport("far"));
    far.listen(Arc::new(Echo)).await.unwrap();
    let channel = near.dial(&address("far"), CallOptions::default()).await.unwrap();
    let aside = network.transport("aside").dial(&address("far"), CallOptions::default()).await.unwrap();
    network.both_ways("near", "far", conditions);
    let mut calls = tokio::task::JoinSet::new();
    let (channel, aside) =
        (Arc::<dyn eidetica_contract::Channel>::from(channel), Arc::<dyn eidetica_contract::Channel>::from(aside));
    for number in 0..300u32 {
        for channel in [Some(&channel), elsewhere.then_some(&aside)].into_iter().flatten() {
            let channel = channel.clone();
            calls.spawn(async move {
                let message = Bytes::from(number.to_be_bytes().to_vec());
                drop(channel.request(message, CallOptions::timeout(Duration::from_secs(9))).await);
            });
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    calls.join_all().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let events = network.trace();
    let of_the_line = events.iter().filter(|event| [&*event.from, &*event.to].contains(&"near"));
    // Numbers are given to the messages of all links.
    of_the_line.map(|event| format!("{:?} {:?} {:016x} {:?}", event.at, event.kind, event.hash, event.fate)).collect()
}

fn lines(seed: u64, elsewhere: bool, conditions: Conditions) -> Vec<String> {
    sim::run(seed, move |world| asked(world, elsewhere, conditions))
}

#[test]
fn every_fault_follows_from_the_seed() {
    let hostile = Conditions::hostile();
    let (one, other) = (lines(1, false, hostile), lines(2, false, hostile));
    assert_eq!(one, lines(1, false, hostile));
    for fate in
        ["Sent", "HeldBack", "Again", "Replayed", "Changed", "Lost", "Broken", "BrokenAtWork", "Arrived", "Unwanted"]
    {
        let of = |lines: &[String]| -> Vec<String> {
            lines
                .iter()
                .filter(|line| line.rsplit(' ').next().unwrap().split('(').next() == Some(fate))
                .cloned()
                .collect()
        };
        assert!(of(&one).len() > 1, "{fate} has not happened");
        assert_ne!(of(&one), of(&other), "{fate} does not depend on the seed");
    }
}

/// What goes over a link does not change what becomes of messages on another one.
#[test]
fn links_do_not_disturb_each_other() {
    // Nothing is at work on both here but the service, which does not care.
    let poor = Conditions::poor();
    assert_eq!(lines(1, false, poor), lines(1, true, poor));
}

/// One more kind of fault leaves all other messages what they were.
#[test]
fn one_chance_does_not_change_another() {
    let lost = |lines: &[String]| {
        lines.iter().filter(|line| line.contains("Request") && line.ends_with("Lost")).cloned().collect::<Vec<_>>()
    };
    let conditions = Conditions::default().loss(0.2);
    let (plain, more) = (lines(1, false, conditions), lines(1, false, conditions.duplication(0.5).tampering(0.2)));
    assert!(lost(&plain).len() > 20 && more.len() > plain.len());
    assert_eq!(lost(&plain), lost(&more));
}
