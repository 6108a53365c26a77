//! Who gives way when more peers are learnt than are kept.

use std::collections::{BTreeMap, BTreeSet};

use eidetica_contract::{Error, ErrorKind, PublicKey, Result};
use eidetica_core::Id;

use super::book::Peers;
use super::info::PeerName;
use super::record::{Forgotten, PeerRecord, Relationship};

/// A peer that was seen within this time gives way to nobody: otherwise two that are both here would take turns. One day in
/// milliseconds, since a peer that is always here is noted anew with each session, and not more often than once an hour.
const LATELY: u64 = 24 * 3_600_000;

/// The peers that have shown a right, and that nobody here has declared or joined.
struct Crowd {
    /// When each was seen last. One whose row cannot be read was never seen.
    seen: BTreeMap<PublicKey, u64>,
    /// What each has shown, and who has vouched for it.
    shown: BTreeMap<PublicKey, Vec<(Id, PublicKey)>>,
    /// What the newest one has shown already, which is not among the others; `None` if it needs no place.
    newest: Option<Vec<(Id, PublicKey)>>,
}

impl Crowd {
    /// All but the newest one.
    fn beside(newest: PublicKey, peers: Vec<PeerRecord>, relationships: Vec<Relationship>) -> Crowd {
        let declared = peers.iter().filter(|record| record.declared).filter_map(|record| record.name.key().ok());
        let mut chosen: BTreeSet<PublicKey> = declared.collect();
        let mut shown = BTreeMap::<PublicKey, Vec<(Id, PublicKey)>>::new();
        for Relationship { peer, database, vouched, .. } in relationships {
            match (peer, vouched) {
                (PeerName::Key(peer), Some(key)) => shown.entry(peer).or_default().push((database, key)),
                (PeerName::Key(peer), None) => drop(chosen.insert(peer)),
                (PeerName::Text(_), _) => {}
            }
        }
        let shown_before = shown.remove(&newest).unwrap_or_default();
        let newest = (!chosen.contains(&newest)).then_some(shown_before);
        shown.retain(|peer, _| !chosen.contains(peer));
        let seen = peers.into_iter().filter_map(|record| {
            let seen = record.seen.unwrap_or(record.since).millis();
            Some((record.name.key().ok()?, seen))
        });
        Crowd { seen: seen.collect(), shown, newest }
    }

    fn vouched_by(&self, key: &PublicKey) -> Vec<PublicKey> {
        let of_key = self.shown.iter().filter(|(_, shown)| shown.iter().any(|(_, by)| by == key));
        of_key.map(|(peer, _)| *peer).collect()
    }

    /// Who of these has to go so that there is a place for one more; `None` if one of them was seen lately.
    fn losers(&self, mut among: Vec<PublicKey>, places: usize, now: u64) -> Option<Vec<PublicKey>> {
        let surplus = (among.len() + 1).saturating_sub(places);
        let seen = |peer: &PublicKey| self.seen.get(peer).copied().unwrap_or(0);
        among.sort_by_key(|peer| (seen(peer), *peer));
        among.truncate(surplus);
        // The clock may have been set back since.
        let all_long_ago = among.len() == surplus && among.iter().all(|peer| now.abs_diff(seen(peer)) >= LATELY);
        all_long_ago.then_some(among)
    }
}

impl Peers {
    /// Sees to it that one more peer has a place, for which this key vouches. Notes who and what was forgotten for it.
    ///
    /// Errors: `Full` if all that would have to go were seen within a day.
    pub(super) async fn make_room(
        &self,
        newest: PublicKey,
        vouched: PublicKey,
        forgotten: &mut Forgotten,
    ) -> Result<()> {
        let (peers, relationships, _) = self.readable().await?;
        let crowd = Crowd::beside(newest, peers, relationships);
        let Some(shown) = &crowd.newest else { return Ok(()) };
        let (of_key, of_all) = (shown.iter().any(|(_, by)| *by == vouched), !shown.is_empty());
        let (now, limits) = (self.now(), &self.limits);
        let full = |message: &'static str, limit: usize| {
            let error = Error::new(ErrorKind::Full, message).with("peer", newest).with("vouched", vouched);
            error.with("limit", limit)
        };
        let message = "as many devices as are kept for one key were here within a day; declare the peer to keep it";
        let of_key = match of_key {
            true => Vec::new(),
            false => crowd
                .losers(crowd.vouched_by(&vouched), limits.learnt_per_key, now)
                .ok_or_else(|| full(message, limits.learnt_per_key))?,
        };
        let message = "as many peers as are learnt by contact were here within a day; declare the peer to keep it";
        let others = crowd.shown.keys().filter(|peer| !of_key.contains(peer)).copied().collect();
        let of_all = match of_all {
            true => Vec::new(),
            false => crowd.losers(others, limits.learnt, now).ok_or_else(|| full(message, limits.learnt))?,
        };
        for peer in of_key {
            let shown = &crowd.shown[&peer];
            // What another key vouches for is nothing that this one has brought.
            if shown.iter().all(|(_, by)| *by == vouched) {
                self.forget(peer, forgotten).await?;
                continue;
            }
            for (database, _) in shown.iter().filter(|(_, by)| *by == vouched) {
                if self.unrelate(&peer.into(), database).await? {
                    forgotten.relationships.push((peer, *database));
                }
            }
        }
        for peer in of_all {
            self.forget(peer, forgotten).await?;
        }
        Ok(())
    }

    /// Forgets peers that no database is synced with until there are no more than are kept: those seen longest ago, and not the
    /// one that has just come. They take no place of others.
    pub(super) async fn forget_strangers(&self, newest: PublicKey) -> Result<Forgotten> {
        let (peers, relationships, _) = self.readable().await?;
        let related: BTreeSet<PeerName> = relationships.into_iter().map(|found| found.peer).collect();
        let strangers = peers.into_iter().filter(|record| !record.declared && !related.contains(&record.name));
        let mut strangers: Vec<(bool, u64, PublicKey)> = strangers
            .filter_map(|record| {
                let key = record.name.key().ok()?;
                Some((key == newest, record.seen.unwrap_or(record.since).millis(), key))
            })
            .collect();
        strangers.sort_unstable();
        let surplus = strangers.len().saturating_sub(self.limits.strangers);
        let mut forgotten = Forgotten::default();
        for (_, _, peer) in strangers.into_iter().take(surplus) {
            self.forget(peer, &mut forgotten).await?;
        }
        Ok(forgotten)
    }

    async fn forget(&self, peer: PublicKey, forgotten: &mut Forgotten) -> Result<()> {
        match self.remove(&peer.into()).await {
            // Another process was faster.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            done => done?,
        }
        forgotten.peers.push(peer);
        Ok(())
    }
}
