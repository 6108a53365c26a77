//! Peers with one database, between which entries go as the case says.

use eidetica_core::auth::Permission;
use eidetica_core::crdt::Doc;
use eidetica_core::entry::RawEntry;
use eidetica_core::store::SettingsStore;
use eidetica_core::{Database, Durability, Engine, Memory, Options, SecretKey};

use super::Ground;
use crate::Dice;

pub(super) struct Peers<'a> {
    ground: &'a Ground,
    pub(super) all: Vec<Peer>,
    /// Everything that was written, in the order of its writing: the root first, and what lets the others in.
    pub(super) entries: Vec<RawEntry>,
}

pub(super) struct Peer {
    engine: Engine,
    pub(super) database: Database,
}

impl Ground {
    /// So many peers who may write, and change settings.
    pub(super) async fn peers(&self, count: u8) -> Peers<'_> {
        let key = |number: u8| {
            let mut seed = [number; 32];
            seed[..8].copy_from_slice(&self.seed.to_le_bytes());
            SecretKey::from_seed(&seed)
        };
        let engine = new_engine().await;
        let database = engine.create_database(Doc::new(), &key(0)).await.expect("a database is made");
        let transaction = database.new_transaction().await.expect("a transaction");
        let settings = transaction.get_store::<SettingsStore>("_settings").await.expect("the settings");
        for number in 1..count {
            settings.set_auth_key(&key(number).public(), Permission::Admin, 0).await.expect("a key is let in");
        }
        let grants = transaction.commit().await.expect("the settings are changed");
        let mut entries = Vec::new();
        for id in [*database.root_id(), grants] {
            entries.push(database.get_entry(&id).await.expect("the entry is there").to_raw());
        }
        let mut peers = Peers { ground: self, all: vec![Peer { engine, database }], entries };
        for number in 1..count {
            let peer = peers.newcomer(Some(key(number))).await;
            peer.take(peers.entries.clone()).await;
            peers.all.push(peer);
        }
        peers
    }
}

async fn new_engine() -> Engine {
    Engine::open(Box::new(Memory::new()), Options::default()).await.expect("an engine on a store in memory")
}

impl Peers<'_> {
    /// One that has the root alone.
    pub(super) async fn newcomer(&self, key: Option<SecretKey>) -> Peer {
        let engine = new_engine().await;
        let database = engine.adopt_database(self.entries[0].clone(), key).await.expect("a database becomes known");
        Peer { engine, database }
    }

    /// One of them does something.
    pub(super) async fn act(&mut self, number: usize, dice: &mut Dice) {
        let database = &self.all[number].database;
        let transaction = database.new_transaction().await.expect("a transaction");
        for _ in 0..1 + dice.below(2) {
            self.ground.kind.act(&transaction, dice).await.expect("what the kind can do");
        }
        self.commit(number, transaction).await;
    }

    pub(super) async fn commit(&mut self, number: usize, transaction: eidetica_core::Transaction) {
        let done = transaction.commit_with(Durability::Buffered).await.expect("a commit");
        if done.written {
            let entry = self.all[number].database.get_entry(&done.id).await.expect("the entry is there");
            self.entries.push(entry.to_raw());
        }
    }

    /// They do so many things, and hear of each other now and then: of this and that, in any order. True if some did so apart.
    pub(super) async fn live(&mut self, times: usize, dice: &mut Dice) -> bool {
        let mut apart = false;
        for _ in 0..times {
            let number = dice.below(self.all.len() as u64) as usize;
            self.act(number, dice).await;
            if dice.below(3) == 0 {
                let mut some = self.entries.clone();
                dice.shuffle(&mut some);
                some.truncate(dice.below(some.len() as u64 + 1) as usize);
                let peer = &self.all[dice.below(self.all.len() as u64) as usize];
                peer.take(some).await;
                apart |= peer.database.get_tips().await.expect("the heads").len() > 1;
            }
        }
        apart
    }

    /// All of them hear of everything.
    pub(super) async fn meet(&self) {
        for peer in &self.all {
            peer.take(self.entries.clone()).await;
        }
    }

    /// What all of them show, which is the same.
    pub(super) async fn shown(&self, why: &str) -> String {
        let first = self.show(&self.all[0]).await;
        for peer in &self.all[1..] {
            self.same(peer, &first, why).await;
        }
        first
    }

    pub(super) async fn show(&self, peer: &Peer) -> String {
        self.ground.kind.show(&peer.database.now()).await.expect("the store shows something")
    }

    /// A peer holds everything, shows this, and is sound.
    pub(super) async fn same(&self, peer: &Peer, expected: &str, why: &str) {
        let count = peer.database.entry_count().await.expect("a count");
        assert_eq!(count, self.entries.len() as u64, "{why}: a peer does not hold every entry");
        assert_eq!(self.show(peer).await, expected, "{why}: the same entries show something else");
        let report = peer.database.verify().await.expect("it can be verified");
        assert!(report.is_clean(), "{why}: the database is damaged: {report:?}");
    }

    pub(super) async fn close(self) {
        for peer in self.all {
            peer.engine.close().await.expect("it closes");
        }
    }
}

impl Peer {
    /// Entries come from elsewhere, together.
    pub(super) async fn take(&self, entries: Vec<RawEntry>) {
        if !entries.is_empty() {
            self.database.ingest(entries, "a peer").await.expect("entries are taken");
        }
    }
}
