//! The peers and relationships of a store.

use bytes::Bytes;
use eidetica_contract::{Address, Error, ErrorKind, PublicKey, Result};
use eidetica_core::{Engine, Id, LocalChange};

use super::contact::{Contact, check_address, check_display_name, check_name};
use super::info::{PeerName, SyncPeerInfo};
use super::record::{Forgotten, Learnt, PeerLimits, PeerRecord, Relationship};
use super::rows::{self, PEERS, PeerRow, RELATIONS, RelationRow, changed};

/// The peers and relationships of a store. Cheap to clone.
///
/// Nothing is held in memory, so any number of them on one store, also in several processes, see the same; what two change
/// at once is done one after the other. Every change is durable on return. Whatever the method: `Corrupted` for a row that cannot be
/// read, `NewerFormat` for one of a newer version; it names the row. Cancellation: a change is made whole or not at all,
/// unless the method says otherwise.
#[derive(Clone)]
pub struct Peers {
    engine: Engine,
    pub(super) limits: PeerLimits,
}

impl Peers {
    /// Those of this store.
    pub fn new(engine: Engine, limits: PeerLimits) -> Peers {
        Peers { engine, limits }
    }

    /// Declares that a database is synced with a peer, for good. Declared already: names, key and addresses are brought up
    /// to date, and addresses that were known stay.
    ///
    /// Errors: `TooLarge` for a text or address that is too long (256 bytes; 4 KiB); `Full` for more addresses than are kept.
    pub async fn declare(&self, info: &SyncPeerInfo) -> Result<PeerName> {
        let name = PeerName::of(&info.peer_pubkey);
        check_name(&name)?;
        info.display_name.as_deref().map_or(Ok(()), check_display_name)?;
        info.addresses.iter().try_for_each(check_address)?;
        let now = self.now();
        loop {
            let (before, row) = self.peer_row(&name).await?;
            let mut row = row.unwrap_or_else(|| PeerRow::new(&name, now));
            row.declared = true;
            if info.display_name.is_some() {
                row.declare_name(info.display_name.as_deref());
            }
            for address in &info.addresses {
                row.declare_address(address, now, &self.limits)?;
            }
            let peer = LocalChange { name: rows::peer(&name), before, after: Some(rows::write(&row)) };
            let (at, before, known) = self.relation_row(&name, &info.tree_id).await?;
            let since = known.map_or(now, |known| known.since.millis());
            let auth = info.auth.as_ref().map(|auth| *auth.key.as_bytes());
            let relation = RelationRow { text: name.to_string(), declared: true, auth, since, vouched: None };
            let relation = LocalChange { name: at, before, after: Some(rows::write(&relation)) };
            if changed(&self.engine, vec![peer, relation]).await? {
                return Ok(name);
            }
        }
    }

    /// Takes up what a peer tells of itself. It must have proven its key. Tells whether there is an address among it that was not
    /// known, and who was forgotten: of the peers that no database is synced with, those that were seen longest ago.
    pub async fn learn(&self, peer: PublicKey, contact: &Contact) -> Result<Learnt> {
        let name = PeerName::Key(peer);
        let now = self.now();
        let (is_first, is_new) = loop {
            let (before, row) = self.peer_row(&name).await?;
            let is_first = row.is_none();
            let mut row = row.unwrap_or_else(|| PeerRow::new(&name, now));
            let told = row.learn(contact, now, &self.limits);
            let change = LocalChange { name: rows::peer(&name), before, after: Some(rows::write(&row)) };
            if changed(&self.engine, vec![change]).await? {
                break (is_first, told);
            }
        };
        let forgotten = if is_first { self.forget_strangers(peer).await? } else { Forgotten::default() };
        Ok(Learnt { is_new, forgotten })
    }

    /// Notes that a database is synced with a peer because somebody here has joined it there: this stays until it is ended, whatever
    /// is learnt of others. Gives whether it was not known.
    pub async fn join(&self, peer: PublicKey, database: &Id) -> Result<bool> {
        let name = PeerName::Key(peer);
        loop {
            let (at, before, known) = self.relation_row(&name, database).await?;
            let is_new = known.is_none();
            if known.as_ref().is_some_and(|known| known.vouched.is_none()) {
                return Ok(false);
            }
            let since = known.map_or(self.now(), |known| known.since.millis());
            let relation = RelationRow { text: name.to_string(), declared: false, auth: None, since, vouched: None };
            let relation = LocalChange { name: at, before, after: Some(rows::write(&relation)) };
            if changed(&self.engine, vec![self.presence(&name).await?, relation]).await? {
                return Ok(is_new);
            }
        }
    }

    /// Notes that a database is synced with a peer, who has shown its right to it: that of a user key which vouches for it, or of
    /// its own. Tells whether this was not known, and what was forgotten: when a key brings more peers than it may, or all keys do,
    /// that which was seen longest ago.
    ///
    /// Errors: `Full` if as many peers are kept and all were seen within a day, or if as many databases were learnt of this
    /// one; then nothing has changed.
    pub async fn relate(&self, peer: PublicKey, database: &Id, vouched: PublicKey) -> Result<Learnt> {
        let name = PeerName::Key(peer);
        let now = self.now();
        let mut forgotten = Forgotten::default();
        loop {
            let (at, before, known) = self.relation_row(&name, database).await?;
            if known.is_some() {
                return Ok(Learnt { is_new: false, forgotten });
            }
            let others = self.engine.locals(&rows::relations(&name)).await?;
            // One that cannot be read takes a place, too.
            let learnt = |(name, row): &(String, Bytes)| {
                !RelationRow::parse(name, row).is_ok_and(|other| other.vouched.is_none())
            };
            let limit = self.limits.learnt_databases;
            if others.iter().filter(|other| learnt(other)).count() >= limit {
                let message = "more databases are synced with the peer than are learnt by contact; declare them";
                return Err(Error::new(ErrorKind::Full, message).with("peer", &name).with("limit", limit));
            }
            self.make_room(peer, vouched, &mut forgotten).await?;
            let (text, vouched) = (name.to_string(), Some(*vouched.as_bytes()));
            let relation = RelationRow { text, declared: false, auth: None, since: now, vouched };
            let relation = LocalChange { name: at, before, after: Some(rows::write(&relation)) };
            if changed(&self.engine, vec![self.presence(&name).await?, relation]).await? {
                return Ok(Learnt { is_new: true, forgotten });
            }
        }
    }

    /// Ends a relationship, declared or learnt, and forgets what both sides had. Gives whether there was one.
    pub async fn unrelate(&self, peer: &PeerName, database: &Id) -> Result<bool> {
        loop {
            let mut changes = vec![self.removal(rows::relation(peer, database)).await?];
            if let PeerName::Key(key) = peer {
                changes.push(self.removal(rows::lane(key, database)).await?);
            }
            let was = changes[0].before.is_some();
            if changed(&self.engine, changes).await? {
                return Ok(was);
            }
        }
    }

    /// Forgets a peer, its relationships, and what both sides had. This needs no row to be readable.
    ///
    /// Errors: `NotFound`. Cancellation: its relationships may be gone, or some of them.
    pub async fn remove(&self, peer: &PeerName) -> Result<()> {
        let mut found = false;
        for prefix in [rows::lanes(peer), rows::relations(peer)] {
            let names: Vec<String> = self.engine.locals(&prefix).await?.into_iter().map(|(name, _)| name).collect();
            found |= !names.is_empty();
            for names in names.chunks(256) {
                self.remove_rows(names).await?;
            }
        }
        found |= self.remove_rows(&[rows::peer(peer)]).await?;
        if found { Ok(()) } else { Err(unknown(peer)) }
    }

    /// Adds an address to a peer. Gives whether it was not declared before.
    ///
    /// Errors: `NotFound` for a peer that is not known; `TooLarge`; `Full`.
    pub async fn add_address(&self, peer: &PeerName, address: &Address) -> Result<bool> {
        check_address(address)?;
        let now = self.now();
        self.change_peer(peer, |row| row.declare_address(address, now, &self.limits)).await
    }

    /// Removes an address from a peer. Gives whether it was there. It may be learnt again.
    ///
    /// Errors: `NotFound` for a peer that is not known.
    pub async fn remove_address(&self, peer: &PeerName, address: &Address) -> Result<bool> {
        let remove = |row: &mut PeerRow| {
            let before = row.addresses.len();
            row.addresses.retain(|known| !known.is(address));
            Ok(row.addresses.len() < before)
        };
        self.change_peer(peer, remove).await
    }

    /// Sets what a peer is called by people; `None`: what it calls itself.
    ///
    /// Errors: `NotFound` for a peer that is not known; `TooLarge`.
    pub async fn set_display_name(&self, peer: &PeerName, name: Option<&str>) -> Result<()> {
        name.map_or(Ok(()), check_display_name)?;
        self.change_peer(peer, |row| {
            row.declare_name(name);
            Ok(())
        })
        .await
    }

    /// Notes that a peer was reached by an address, or was not, so that the next time the best one is tried first. A peer or
    /// address that is not known: nothing happens.
    pub async fn tried(&self, peer: PublicKey, address: &Address, worked: bool) -> Result<()> {
        let now = self.now();
        let change = |row: &mut PeerRow| {
            row.tried(address, worked, now);
            Ok(())
        };
        match self.change_peer(&PeerName::Key(peer), change).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// A peer; `None` if it is not known.
    pub async fn get(&self, peer: &PeerName) -> Result<Option<PeerRecord>> {
        Ok(self.peer_row(peer).await?.1.map(PeerRow::record))
    }

    /// All peers, by key.
    pub async fn list(&self) -> Result<Vec<PeerRecord>> {
        self.peers_readable_or_not().await?.into_iter().collect()
    }

    /// All relationships, by peer.
    pub async fn relationships(&self) -> Result<Vec<Relationship>> {
        self.relationships_below(RELATIONS).await?.into_iter().collect()
    }

    /// All peers and relationships that can be read, and an error for each row that cannot: so that one damaged row does not
    /// keep all the others from being synced.
    pub async fn readable(&self) -> Result<(Vec<PeerRecord>, Vec<Relationship>, Vec<Error>)> {
        let (mut peers, mut relationships, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for found in self.peers_readable_or_not().await? {
            found.map_or_else(|error| errors.push(error), |record| peers.push(record));
        }
        for found in self.relationships_below(RELATIONS).await? {
            found.map_or_else(|error| errors.push(error), |relationship| relationships.push(relationship));
        }
        Ok((peers, relationships, errors))
    }

    /// The relationships of a peer.
    pub async fn relationships_of(&self, peer: &PeerName) -> Result<Vec<Relationship>> {
        self.relationships_below(&rows::relations(peer)).await?.into_iter().collect()
    }

    /// The relationships of a database. Reads those of all.
    pub async fn relationships_for(&self, database: &Id) -> Result<Vec<Relationship>> {
        let all = self.relationships().await?;
        Ok(all.into_iter().filter(|relationship| relationship.database == *database).collect())
    }

    /// The relationship of a peer and a database; `None` if there is none.
    pub async fn relationship(&self, peer: &PeerName, database: &Id) -> Result<Option<Relationship>> {
        Ok(self.relation_row(peer, database).await?.2)
    }

    pub(super) fn now(&self) -> u64 {
        self.engine.environment().now().millis()
    }

    async fn peers_readable_or_not(&self) -> Result<Vec<Result<PeerRecord>>> {
        let rows = self.engine.locals(PEERS).await?;
        Ok(rows.into_iter().map(|(name, row)| Ok(PeerRow::parse(&name, &row)?.record())).collect())
    }

    async fn relationships_below(&self, prefix: &str) -> Result<Vec<Result<Relationship>>> {
        let rows = self.engine.locals(prefix).await?;
        Ok(rows.into_iter().map(|(name, row)| RelationRow::parse(&name, &row)).collect())
    }

    async fn peer_row(&self, peer: &PeerName) -> Result<(Option<Bytes>, Option<PeerRow>)> {
        let name = rows::peer(peer);
        let row = self.engine.local(&name).await?;
        let parsed = row.as_ref().map(|row| PeerRow::parse(&name, row)).transpose()?;
        Ok((row, parsed))
    }

    async fn relation_row(
        &self,
        peer: &PeerName,
        database: &Id,
    ) -> Result<(String, Option<Bytes>, Option<Relationship>)> {
        let name = rows::relation(peer, database);
        let row = self.engine.local(&name).await?;
        let parsed = row.as_ref().map(|row| RelationRow::parse(&name, row)).transpose()?;
        Ok((name, row, parsed))
    }

    async fn change_peer<T>(&self, peer: &PeerName, change: impl Fn(&mut PeerRow) -> Result<T>) -> Result<T> {
        loop {
            let (before, row) = self.peer_row(peer).await?;
            let mut row = row.ok_or_else(|| unknown(peer))?;
            let outcome = change(&mut row)?;
            let change = LocalChange { name: rows::peer(peer), before, after: Some(rows::write(&row)) };
            if changed(&self.engine, vec![change]).await? {
                return Ok(outcome);
            }
        }
    }

    async fn removal(&self, name: String) -> Result<LocalChange> {
        let before = self.engine.local(&name).await?;
        Ok(LocalChange { name, before, after: None })
    }

    async fn remove_rows(&self, names: &[String]) -> Result<bool> {
        loop {
            let mut changes = Vec::with_capacity(names.len());
            for name in names {
                changes.push(self.removal(name.clone()).await?);
            }
            let found = changes.iter().any(|change| change.before.is_some());
            if changed(&self.engine, changes).await? {
                return Ok(found);
            }
        }
    }

    /// The change that makes a peer known which is not yet.
    async fn presence(&self, peer: &PeerName) -> Result<LocalChange> {
        let (before, row) = self.peer_row(peer).await?;
        let row = row.unwrap_or_else(|| PeerRow::new(peer, self.now()));
        Ok(LocalChange { name: rows::peer(peer), before, after: Some(rows::write(&row)) })
    }
}

fn unknown(peer: &PeerName) -> Error {
    let message = "this peer is not known; `register_sync_peer` declares one";
    Error::new(ErrorKind::NotFound, message).with("reason", "unknown_peer").with("peer", peer)
}
