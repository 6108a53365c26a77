//! What other processes change in the same store: wishes, databases, peers and relationships.
//!
//! Databases are followed by their pulses, and requests for access are read anew each time. The rest is held in memory here,
//! so it is compared with the rows whenever somebody else has written to the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use eidetica_contract::{Address, ErrorKind, PublicKey, Result};
use eidetica_core::Id;

use super::shared::Shared;
use crate::schedule::Wish;

/// How often it is asked whether somebody else has written to the store.
const POLL: Duration = Duration::from_millis(250);

/// What was last seen.
#[derive(Default, PartialEq)]
pub(crate) struct Seen {
    wishes: BTreeMap<Id, Wish>,
    databases: Vec<Id>,
    peers: BTreeMap<PublicKey, BTreeSet<Address>>,
    relationships: BTreeSet<(PublicKey, Id)>,
    /// Peers that were declared, or that some database is synced with: those that are no strangers.
    known: BTreeSet<PublicKey>,
}

/// What this process itself has written since it last looked. It has nothing to do about that; but when another process takes
/// it away, it must have been there.
#[derive(Default)]
pub(crate) struct Written {
    pub peers: BTreeSet<PublicKey>,
    pub relationships: BTreeSet<(PublicKey, Id)>,
}

/// Keeps up with other processes, until the store is closed. Ends at once where a store is not shared.
pub(crate) async fn follow(shared: Arc<Shared>) {
    if !shared.engine.backend_info().capabilities.shared {
        return;
    }
    let mut known = None;
    loop {
        tokio::time::sleep(POLL).await;
        let changed = match shared.engine.changed_elsewhere().await {
            Ok(changed) if known == Some(changed) => continue,
            Ok(changed) => shared.catch_up().await.map(|()| changed),
            Err(error) => Err(error),
        };
        match changed {
            Ok(changed) => known = Some(changed),
            Err(error) if error.kind() == ErrorKind::Closed => return,
            // It is tried again with the next beat.
            Err(error) => tracing::warn!(%error, "what other processes have changed cannot be read for now"),
        }
    }
}

impl Shared {
    /// Notes what there is, without doing anything about it.
    pub async fn look_around(&self) -> Result<()> {
        let mut seen = self.seen.lock().await;
        *seen = self.look().await?;
        Ok(())
    }

    /// Goes by what has changed in the store since it was last looked at, whoever has changed it.
    pub async fn catch_up(&self) -> Result<()> {
        let mut seen = self.seen.lock().await;
        // Before the look: what is written after it stays for the next time.
        let written = std::mem::take(&mut *self.written());
        for peer in written.peers {
            seen.peers.entry(peer).or_default();
        }
        seen.relationships.extend(written.relationships);
        let found = self.look().await?;
        if found.wishes != seen.wishes || found.databases != seen.databases {
            self.reload_wishes().await?;
        }
        for (peer, addresses) in &found.peers {
            if seen.peers.get(peer) != Some(addresses) {
                self.note_dialable(*peer).await?;
                self.tell(|schedule, now| schedule.contact(now, *peer));
            }
        }
        found.known.iter().for_each(|peer| self.desk.set_known(*peer, true));
        seen.known.difference(&found.known).for_each(|peer| self.desk.set_known(*peer, false));
        self.tell(|schedule, now| {
            for (peer, database) in found.relationships.difference(&seen.relationships) {
                schedule.relate(now, *peer, *database);
            }
            for (peer, database) in seen.relationships.difference(&found.relationships) {
                schedule.unrelate(now, *peer, *database);
            }
        });
        seen.peers.keys().filter(|peer| !found.peers.contains_key(peer)).for_each(|peer| self.forget_peer(*peer));
        *seen = found;
        Ok(())
    }

    async fn look(&self) -> Result<Seen> {
        let (records, relationships, _) = self.peers.readable().await?;
        let (mut peers, mut known) = (BTreeMap::new(), BTreeSet::new());
        for record in records {
            let Ok(peer) = record.name.key() else { continue };
            if record.declared {
                known.insert(peer);
            }
            peers.insert(peer, record.addresses.into_iter().map(|known| known.address).collect());
        }
        let relationships = relationships.into_iter().filter_map(|one| Some((one.peer.key().ok()?, one.database)));
        let relationships: BTreeSet<(PublicKey, Id)> = relationships.collect();
        known.extend(relationships.iter().map(|(peer, _)| *peer));
        Ok(Seen {
            wishes: self.host.wishes().await?,
            databases: self.engine.databases().await?,
            peers,
            relationships,
            known,
        })
    }
}
