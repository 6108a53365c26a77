//! How many requests about databases are worked on at once.
//!
//! Each may hold a page, going or coming, and a page of a few kilobytes may unpack to eight megabytes. So the memory and the
//! processors that one peer gets are bounded, and others do not wait behind all that it has asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use eidetica_contract::{Error, ErrorKind, PublicKey, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many at once, of all peers.
const ALL: usize = 16;
/// How many of one peer. Its others wait, and take no place meanwhile.
const EACH: usize = 4;

/// The places of all peers.
pub(super) struct Places {
    all: Arc<Semaphore>,
    peers: Mutex<BTreeMap<PublicKey, Weak<Semaphore>>>,
}

/// The right to work on one request.
pub(super) struct Place {
    _all: OwnedSemaphorePermit,
    // Keeps the semaphore of the peer as well.
    _own: OwnedSemaphorePermit,
}

impl Places {
    pub fn new() -> Places {
        Places { all: Arc::new(Semaphore::new(ALL)), peers: Mutex::default() }
    }

    /// Waits for a place, in turn. Dropped while it waits, it has none.
    pub async fn take(&self, peer: PublicKey) -> Result<Place> {
        let closed = |error| Error::new(ErrorKind::Closed, "nothing is worked on any longer").caused_by(error);
        let _own = self.of(peer).acquire_owned().await.map_err(closed)?;
        let _all = self.all.clone().acquire_owned().await.map_err(closed)?;
        Ok(Place { _all, _own })
    }

    fn of(&self, peer: PublicKey) -> Arc<Semaphore> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = peers.get(&peer).and_then(Weak::upgrade) {
            return own;
        }
        // As many are alive as there are peers with requests under way.
        peers.retain(|_, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(EACH));
        peers.insert(peer, Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_with_many_requests_leaves_places_for_others() {
        let places = Places::new();
        let peer = |number| PublicKey::from_bytes([number; 32]);
        let soon = async |number| {
            let taken = timeout(Duration::from_secs(1), places.take(peer(number))).await;
            taken.ok().map(Result::unwrap)
        };
        let mut taken = Vec::new();
        for _ in 0..EACH {
            taken.push(soon(1).await.unwrap());
        }
        assert!(soon(1).await.is_none(), "one has no more than its share");
        for number in 2..=(ALL / EACH) as u8 {
            for _ in 0..EACH {
                taken.push(soon(number).await.unwrap());
            }
        }
        assert!(soon(100).await.is_none(), "all are taken");
        drop(taken.remove(0));
        assert!(soon(100).await.is_some());
        drop(taken);
        drop(soon(1).await.unwrap());
        assert_eq!(places.peers.lock().unwrap().len(), 1, "who has none is forgotten");
    }
}
