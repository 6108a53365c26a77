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
    let writer = world.network.transport("writer");
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
        for (name, ..) in &peers {
            let sends = entries.chunks(20).map(|chunk| {
                let mut page = Vec::new();
                chunk.iter().for_each(|entry| pack(&entry.to_raw(), &mut page));
                let (writer, name) = (&writer, *name);
                async move {
                    let options = CallOptions::timeout(Duration::from_secs(5));
                    let channel = writer.dial(&address(name), options).await.map_err(|error| error.kind())?;
                    channel.request(page.into(), options).await.map_err(|error| error.kind())
                }
            });
            for send in sends {
                said.push(format!("{:?}", send.await));
            }
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
