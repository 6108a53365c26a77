//! Whole nodes on every pair of a backend and a transport, and on mixed ones.

mod access;
mod mesh;
mod pair;

use std::sync::Arc;
use std::time::Duration;

use eidetica::auth::Permission;
use eidetica::crdt::Doc;
use eidetica::store::table::RowRange;
use eidetica::store::{SettingsStore, Table};
use eidetica::sync::{Address, RequestId, Syncer};
use eidetica::user::KeyId;
use eidetica::user::types::{SyncSettings, TrackedDatabase};
use eidetica::{Database, Id, Instance, User};
use tokio::time::{Instant, sleep};

use crate::run::Seen;
use crate::{BackendSubject, Budget, Case, Place, TransportSubject};

pub(crate) const CASES: &[&[Case]] = &[pair::CASES, mesh::CASES, access::CASES];

const TABLE: &str = "rows";

/// The backends and transports of a network. Nodes take the backends in turn, and use all of the transports.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) backends: Vec<Arc<dyn BackendSubject>>,
    pub(crate) transports: Vec<Arc<dyn TransportSubject>>,
    /// What the nodes of a mutant do not do, though they say so.
    pub(crate) without: Option<Act>,
}

/// What a node does for its user and others see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "teeth"), allow(dead_code, reason = "without mutants everybody does all of it"))]
pub(crate) enum Act {
    /// Lets in whoever has asked.
    Approves,
    /// Tells whoever has asked that it is not let in.
    Rejects,
    /// Takes the right of a key away.
    Removes,
    /// Keeps a database from those without a right.
    KeepsToItself,
}

impl Parts {
    pub(crate) fn name(&self) -> String {
        let backends: Vec<String> = self.backends.iter().map(|one| one.name()).collect();
        let transports: Vec<String> = self.transports.iter().map(|one| one.name()).collect();
        format!("{} over {}", backends.join(" + "), transports.join(" + "))
    }
}

/// What a case works on.
pub(crate) struct Ground {
    parts: Parts,
    pub(crate) seed: u64,
    pub(crate) budget: Budget,
    /// Nothing here takes as long, however busy the machine is.
    pub(crate) patience: Duration,
    seen: Seen,
}

impl Ground {
    pub(crate) fn new(parts: Parts, seed: u64, budget: Budget, patience: Duration, seen: Seen) -> Ground {
        Ground { parts, seed, budget, patience, seen }
    }

    pub(crate) fn saw(&self, witness: &'static str) {
        self.seen.note(witness);
    }

    /// A new node, the `number`th of its network. It listens.
    pub(crate) async fn node(&self, number: usize) -> Node {
        let backend = &self.parts.backends[number % self.parts.backends.len()];
        let place = backend.fresh().await.expect("a new place for a store");
        self.start(place, number).await
    }

    /// Opens the node in a place, and makes its user if there is none.
    pub(crate) async fn start(&self, place: Box<dyn Place>, number: usize) -> Node {
        let instance = Instance::open(crate::backend::open_soon(&*place).await).await.expect("the store opens");
        let name = format!("user {number}");
        if instance.list_users().await.expect("users can be listed").is_empty() {
            instance.create_user(&name, None).await.expect("a user is made");
        }
        let user = instance.login_user(&name, None).await.expect("the user is there");
        instance.enable_sync().await.expect("sync starts");
        let sync = instance.sync().expect("sync has started");
        for (label, transport) in self.parts.transports.iter().enumerate() {
            let builder = transport.listening().expect("a builder of a transport");
            sync.register_transport(format!("way {label}"), builder).await.expect("the transport is built");
        }
        sync.accept_connections().await.expect("it listens");
        let key = user.get_default_key().expect("the user has a key");
        Node { instance, user, key, sync, place, number, without: self.parts.without }
    }

    /// Waits until databases hold the same, and sees to it that they are sound.
    pub(crate) async fn converged(&self, databases: &[&Database]) {
        let deadline = Instant::now() + self.patience;
        loop {
            let mut digests = Vec::new();
            for database in databases {
                digests.push(database.heads_digest().await.expect("the heads can be read"));
            }
            if digests.windows(2).all(|pair| pair[0] == pair[1]) {
                break;
            }
            assert!(Instant::now() < deadline, "after {:?} they do not hold the same", self.patience);
            sleep(Duration::from_millis(10)).await;
        }
        let first = rows(databases[0]).await;
        for database in databases {
            assert!(rows(database).await == first, "the same entries, and other rows");
            assert!(database.verify().await.expect("it can be verified").is_clean(), "it has damage");
        }
    }

    /// Waits until something is so.
    pub(crate) async fn until<F: Future<Output = bool>>(&self, what: &str, so: impl Fn() -> F) {
        let deadline = Instant::now() + self.patience;
        while !so().await {
            assert!(Instant::now() < deadline, "after {:?} still not: {what}", self.patience);
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A device with a user.
pub(crate) struct Node {
    pub(crate) instance: Instance,
    pub(crate) user: User,
    pub(crate) key: KeyId,
    pub(crate) sync: Syncer,
    place: Box<dyn Place>,
    pub(crate) number: usize,
    without: Option<Act>,
}

impl Node {
    /// Where it is reached: nodes of a mixed network are dialled over one transport or another.
    pub(crate) async fn address(&self) -> Address {
        let all = self.sync.get_all_server_addresses_async().await.expect("it listens");
        all[self.number % all.len()].1.clone()
    }

    /// A database of this node's user, with so many rows.
    pub(crate) async fn database(&mut self, rows: usize) -> Database {
        let key = self.key;
        let database = self.user.create_database(Doc::new(), &key).await.expect("a database is made");
        for row in 0..rows {
            write(&database, &format!("first {row}"), "there").await;
        }
        if self.omits(Act::KeepsToItself) {
            let transaction = database.new_transaction().await.expect("a transaction");
            let settings = transaction.get_store::<SettingsStore>("_settings").await.expect("the settings");
            settings.set_global_permission(Some(Permission::Read)).await.expect("all may read it");
            transaction.commit().await.expect("the settings are changed");
        }
        database
    }

    fn omits(&self, act: Act) -> bool {
        self.without == Some(act)
    }

    /// Lets in whoever has made this request.
    pub(crate) async fn approve(&self, request: &RequestId) {
        if !self.omits(Act::Approves) {
            self.user.approve_bootstrap_request(&self.sync, request, &self.key).await.expect("it is approved");
        }
    }

    /// Does not let in whoever has made this request.
    pub(crate) async fn reject(&self, request: &RequestId) {
        if !self.omits(Act::Rejects) {
            self.user.reject_bootstrap_request(&self.sync, request, &self.key).await.expect("it is rejected");
        }
    }

    /// Takes the right of a key away.
    pub(crate) async fn remove(&self, database: &Database, key: &KeyId) {
        if !self.omits(Act::Removes) {
            let transaction = database.new_transaction().await.expect("a transaction");
            let settings = transaction.get_store::<SettingsStore>("_settings").await.expect("the settings");
            settings.revoke_auth_key(key).await.expect("the key is removed");
            transaction.commit().await.expect("the settings are changed");
        }
    }

    /// Has a database that another node has made, and is kept in step with it by hand or by itself.
    pub(crate) async fn track(&mut self, id: &Id, live: bool) {
        let interval_seconds = (!live).then_some(86_400);
        let sync_settings = SyncSettings { sync_on_commit: live, interval_seconds, ..SyncSettings::default() };
        let tracked = TrackedDatabase { database_id: *id, key_id: self.key, sync_settings };
        self.user.track_database(tracked).await.expect("the database is tracked");
    }

    /// The same device after its process has ended without closing anything.
    pub(crate) async fn kill(self, ground: &Ground) -> Node {
        let Node { instance, user, sync, place, number, .. } = self;
        drop((user, sync, instance));
        ground.start(place, number).await
    }

    pub(crate) async fn close(self) {
        self.instance.close().await.expect("it closes");
    }
}

/// Lets keys in, as writers.
pub(crate) async fn let_in(database: &Database, keys: &[KeyId]) {
    let transaction = database.new_transaction().await.expect("a transaction");
    let settings = transaction.get_store::<SettingsStore>("_settings").await.expect("the settings");
    for key in keys {
        settings.set_auth_key(key, Permission::Write, 0).await.expect("a key is let in");
    }
    transaction.commit().await.expect("the settings are changed");
}

pub(crate) async fn write(database: &Database, key: &str, value: &str) {
    let transaction = database.new_transaction().await.expect("a transaction");
    let table = transaction.get_store::<Table<Doc>>(TABLE).await.expect("the table");
    table.set(key, &[("value", value)].into_iter().collect()).await.expect("a row is written");
    transaction.commit().await.expect("the commit succeeds");
}

/// All rows, in the order of their keys.
pub(crate) async fn rows(database: &Database) -> Vec<(String, Doc)> {
    let Ok(table) = database.get_store_viewer::<Table<Doc>>(TABLE).await else { return Vec::new() };
    table.scan(RowRange::all()).await.expect("the rows can be read")
}
